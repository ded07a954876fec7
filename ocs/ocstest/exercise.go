package ocstest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gygate/ocs"
)

// Seeder is what Exercise needs of a store beside ocs.Store.
type Seeder interface {
	// AddAccount creates an account with balances (their ids are given by the
	// store, their opening amounts credited in the journal) under identities,
	// and returns it with its key and the balances' ids.
	AddAccount(t testing.TB, a ocs.Account, ids ...ocs.Identity) ocs.Account
	// Block blocks an account.
	Block(t testing.TB, key ocs.AccountKey)
	// Books takes a snapshot; the journal in the order in which it was written.
	Books(t testing.TB) Books
}

// The services and rating groups of Tariff.
const (
	Voice    = "32276@3gpp.org" // refuses as a whole
	Data     = "32251@3gpp.org" // refuses inside the items
	OnNet    = 100              // 0.01 a second
	OffNet   = 101              // 0.60 a minute begun, connection fee 0.05
	Volume   = 10               // 0.01 per 1,000,000 octets
	Message  = 8                // 0.30 an event
	Unpriced = 999
	FreeCall = 112 // costs nothing
)

// Currency is that of Tariff's prices and the accounts of Exercise: CNY.
const Currency ocs.Currency = 156

// Tariff is what Exercise charges by.
func Tariff(t testing.TB) *ocs.Tariff {
	t.Helper()
	entry := func(id string, group uint32, unit ocs.UnitKind, price ocs.Money) ocs.TariffEntry {
		return ocs.TariffEntry{ID: id, Version: 1, Service: ocs.AnyService, RatingGroup: group, Unit: unit, Currency: Currency, Price: price}
	}
	offNet := entry("off-net", OffNet, ocs.Seconds, 600_000)
	offNet.First, offNet.Following, offNet.Per, offNet.Fee = 60, 60, 60, 50_000
	volume := entry("volume", Volume, ocs.Octets, 10_000)
	volume.Per = 1_000_000
	tariff, err := ocs.NewTariff([]ocs.TariffEntry{
		entry("on-net", OnNet, ocs.Seconds, 10_000), offNet, volume,
		entry("message", Message, ocs.Events, 300_000),
		entry("free", FreeCall, ocs.Seconds, 0),
	}, []ocs.ServiceContext{
		{Name: Voice, DefaultRatingGroup: OnNet, Unit: ocs.Seconds},
		{Name: Data, DefaultRatingGroup: Volume, Unit: ocs.Octets, ItemRefusals: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	return tariff
}

// Price is what use of a rating group costs by Tariff, computed another way
// than the engine does.
func Price(group uint32, used int64) ocs.Money {
	switch {
	case used == 0:
		return 0
	case group == OnNet:
		return ocs.Money(used * 10_000)
	case group == OffNet:
		minutes := (used + 59) / 60
		return ocs.Money(50_000 + minutes*600_000)
	case group == Volume:
		return ocs.Money((used + 99) / 100) // 10,000 for 1,000,000: one for each hundred begun
	}
	panic("no such price")
}

// Driver runs steps through an engine and waits for their outcomes.
type Driver struct {
	*ocs.Engine
	t testing.TB
}

// Start runs an engine on a store until the test ends.
func Start(t testing.TB, store ocs.Store, config ocs.EngineConfig) *Driver {
	t.Helper()
	tariff := Tariff(t)
	return StartWith(t, store, func() *ocs.Tariff { return tariff }, config)
}

// StartWith is Start with a tariff of one's own.
func StartWith(t testing.TB, store ocs.Store, tariff func() *ocs.Tariff, config ocs.EngineConfig) *Driver {
	t.Helper()
	engine := ocs.NewEngine(store, tariff, config)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return &Driver{engine, t}
}

// Do carries out one step.
func (d *Driver) Do(s ocs.Step) ocs.Outcome { return d.All(&s)[0] }

// All submits steps one right after the other and waits for all outcomes.
func (d *Driver) All(steps ...*ocs.Step) []ocs.Outcome {
	d.t.Helper()
	outcomes := make([]ocs.Outcome, len(steps))
	answers := make([]atomic.Int32, len(steps))
	var wait sync.WaitGroup
	wait.Add(len(steps))
	for i, s := range steps {
		d.Submit(s, func(o ocs.Outcome) {
			if answers[i].Add(1) > 1 {
				panic("a step was answered twice")
			}
			outcomes[i] = o
			wait.Done()
		})
	}
	wait.Wait()
	return outcomes
}

// Wish asks for quota; 0 leaves the quantity open.
func Wish(unit ocs.UnitKind, quantity int64) *ocs.Units {
	return &ocs.Units{Kind: unit, Quantity: quantity}
}

// Used reports use.
func Used(unit ocs.UnitKind, quantity int64) []ocs.Usage {
	return []ocs.Usage{{Units: ocs.Units{Kind: unit, Quantity: quantity}}}
}

// For is an item for a rating group.
func For(group uint32, used []ocs.Usage, wish *ocs.Units) ocs.Item {
	return ocs.Item{Target: ocs.Target(fmt.Sprint(group)), RatingGroup: group, Used: used, Requested: wish}
}

// session numbers sessions of the whole test binary, so that their ids are
// unique in a shared database.
var session atomic.Int64

// NewSession returns a Session-Id nobody has.
func NewSession() string {
	return fmt.Sprintf("client.example;%d;%d", time.Now().UnixNano(), session.Add(1))
}

// NewPayer returns an identity nobody has.
func NewPayer() ocs.Identity {
	return ocs.Identity{Kind: ocs.E164, Value: fmt.Sprintf("%d%04d", time.Now().UnixMicro()%1e11, session.Add(1)%1e4)}
}

// Prepaid is an account of the test currency with one balance of money.
func Prepaid(money ocs.Money) ocs.Account {
	return ocs.Account{Currency: Currency, Balances: []*ocs.Balance{{Unit: ocs.Amount, Amount: int64(money)}}}
}

// MustBalance fails the test when the books are wrong.
func MustBalance(t testing.TB, s Seeder) {
	t.Helper()
	if err := CheckBooks(s.Books(t)); err != nil {
		t.Fatalf("the books are wrong:\n%v", err)
	}
}
