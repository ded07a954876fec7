package ocs_test

import (
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Rating groups of the fixtures F1 (voice) and F2 (data).
const (
	rgOnNet      = 100 // 0.01 a second
	rgOffNet     = 101 // 0.01 a second
	rgInterval   = 102 // 0.60 a minute begun, fee 0.05
	rgEvening    = 110 // 0.01 a second, 0.02 from 20:00 in Shanghai
	rgFree       = 112
	rgMessage    = 8  // 0.30 an event
	rgData       = 10 // 0.01 a megabyte
	rgVideo      = 20 // 0.02 a megabyte
	rgDataSwitch = 11 // 0.01 a megabyte, 0.02 from 20:00 in Shanghai
)

const megabyte = 1_000_000

// world is one account at a service with the clock in the test's hand.
type world struct {
	*ocstest.Driver
	t       *testing.T
	store   *ocstest.Memory
	clock   sync.Mutex // of those who move now: the engine reads it, too
	now     time.Time
	account ocs.Account
	payer   ocs.Identity
	service string
	id      string
	number  uint32
}

func fixtureTariff(t testing.TB) *ocs.Tariff {
	t.Helper()
	entry := func(id string, group uint32, unit ocs.UnitKind, price ocs.Money, per int64) ocs.TariffEntry {
		return ocs.TariffEntry{ID: id, Version: 1, Service: ocs.AnyService, RatingGroup: group, Unit: unit,
			Currency: ocstest.Currency, Price: price, Per: per}
	}
	evening := func(e ocs.TariffEntry) ocs.TariffEntry {
		e.Zone = "Asia/Shanghai"
		e.Bands = []ocs.Band{{From: 20 * time.Hour, Price: 2 * e.Price}}
		return e
	}
	interval := entry("interval", rgInterval, ocs.Seconds, 600_000, 60)
	interval.First, interval.Following, interval.Fee = 60, 60, 50_000
	abroad := entry("abroad", 103, ocs.Seconds, 20_000, 1)
	abroad.Prefix = "44"
	far := entry("far", 104, ocs.Seconds, 20_000, 1)
	far.Prefix = "44"
	tariff, err := ocs.NewTariff([]ocs.TariffEntry{
		entry("on-net", rgOnNet, ocs.Seconds, 10_000, 1),
		entry("off-net", rgOffNet, ocs.Seconds, 10_000, 1),
		interval, abroad, far, entry("near", 104, ocs.Seconds, 10_000, 1),
		evening(entry("evening", rgEvening, ocs.Seconds, 10_000, 1)),
		entry("free", rgFree, ocs.Seconds, 0, 1),
		entry("message", rgMessage, ocs.Events, 300_000, 1),
		entry("data", rgData, ocs.Octets, 10_000, megabyte),
		entry("video", rgVideo, ocs.Octets, 20_000, megabyte),
		evening(entry("data-switch", rgDataSwitch, ocs.Octets, 10_000, megabyte)),
	}, []ocs.ServiceContext{
		{Name: ocstest.Voice, DefaultRatingGroup: rgOnNet, Unit: ocs.Seconds},
		{Name: ocstest.Data, DefaultRatingGroup: rgData, Unit: ocs.Octets, ItemRefusals: true,
			Validity: 1800 * time.Second, Supervision: 3600 * time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	return tariff
}

func newWorld(t *testing.T, service string, account ocs.Account) *world {
	return newWorldWith(t, service, account, ocs.DefaultPolicy())
}

func newWorldWith(t *testing.T, service string, account ocs.Account, policy ocs.Policy) *world {
	t.Helper()
	w := &world{
		t: t, store: ocstest.NewMemory(), payer: ocstest.NewPayer(), service: service, id: ocstest.NewSession(),
		now: morning,
	}
	w.store.Now = func() time.Time {
		w.clock.Lock()
		defer w.clock.Unlock()
		return w.now
	}
	w.account = w.store.AddAccount(t, account, w.payer)
	tariff := fixtureTariff(t)
	w.Driver = ocstest.StartWith(t, w.store, func() *ocs.Tariff { return tariff }, ocs.EngineConfig{Policy: policy, Sweep: -1})
	return w
}

// voice is fixture F1: 10.00 at the voice service.
func voice(t *testing.T) *world { return newWorld(t, ocstest.Voice, ocstest.Prepaid(10_000_000)) }

// data is fixture F2: 20.00 at the data service.
func data(t *testing.T) *world { return newWorld(t, ocstest.Data, ocstest.Prepaid(20_000_000)) }

// at sets the clock to a time of the fixture's day.
func (w *world) at(clock string) {
	w.t.Helper()
	day, err := time.Parse(time.RFC3339, "2026-11-23T"+clock+"Z")
	if err != nil {
		w.t.Fatal(err)
	}
	w.pass(day.Sub(w.now))
}

func (w *world) pass(d time.Duration) {
	w.clock.Lock()
	defer w.clock.Unlock()
	w.now = w.now.Add(d)
}

// step fills in a step of the world's session, with the next number.
func (w *world) step(kind ocs.StepType, items ...ocs.Item) ocs.Step {
	s := ocs.Step{SessionID: w.id, Type: kind, Number: w.number, Service: w.service, At: w.now, Items: items}
	if kind == ocs.Initial {
		s.Payer = []ocs.Identity{w.payer}
	}
	w.number++
	return s
}

func (w *world) initial(items ...ocs.Item) ocs.Outcome { return w.do(w.step(ocs.Initial, items...)) }
func (w *world) update(items ...ocs.Item) ocs.Outcome  { return w.do(w.step(ocs.Update, items...)) }
func (w *world) terminate(items ...ocs.Item) ocs.Outcome {
	return w.do(w.step(ocs.Terminate, items...))
}

func (w *world) event(action ocs.EventAction, items ...ocs.Item) ocs.Outcome {
	s := w.step(ocs.Event, items...)
	s.SessionID, s.Action, s.Payer = ocstest.NewSession(), action, []ocs.Identity{w.payer}
	return w.do(s)
}

// do carries out a step and checks the books after it.
func (w *world) do(s ocs.Step) ocs.Outcome {
	w.t.Helper()
	o := w.Do(s)
	ocstest.MustBalance(w.t, w.store)
	return o
}

// ledger checks available, frozen and spent, in money.
func (w *world) ledger(available, frozen, spent string) {
	w.t.Helper()
	a, f := ocstest.Totals(w.store.Account(w.account.Key))
	var s, credits ocs.Money
	money := make(map[int64]bool)
	for _, b := range w.account.Balances {
		money[b.ID] = b.Unit == ocs.Amount
	}
	for _, row := range w.store.Books(w.t).Journal {
		switch {
		case !money[row.Balance]:
		case row.ReversalOf != nil:
			s -= ocs.Money(row.Credited)
		default:
			s += ocs.Money(row.Debited)
			credits += ocs.Money(row.Credited)
		}
	}
	if a != cash(available) || f != cash(frozen) || s != cash(spent) {
		w.t.Errorf("ledger is %v / %v / %v, want %s / %s / %s", a, f, s, available, frozen, spent)
	}
	if a+f+s != credits {
		w.t.Errorf("available %v + frozen %v + spent %v is not what was credited: %v", a, f, s, credits)
	}
}

func cash(s string) ocs.Money {
	m, err := ocs.ParseMoney(s)
	if err != nil {
		panic(err)
	}
	return m
}

// want checks a granted item: quantity, and whether it is the final one.
func (w *world) want(o ocs.Outcome, item int, quantity int64, final bool) ocs.ItemOutcome {
	w.t.Helper()
	if o.Refusal != "" || item >= len(o.Items) {
		w.t.Fatalf("refused or without item %d: %+v", item, o)
	}
	i := o.Items[item]
	switch {
	case i.Refusal != "":
		w.t.Errorf("item refused: %q", i.Refusal)
	case i.Granted == nil:
		w.t.Errorf("nothing granted, want %d", quantity)
	case i.Granted.Quantity != quantity || i.Final != final:
		w.t.Errorf("granted %d, final %v; want %d, %v", i.Granted.Quantity, i.Final, quantity, final)
	}
	return i
}

// refused checks that the step as a whole was refused.
func (w *world) refused(o ocs.Outcome, want ocs.Refusal) {
	w.t.Helper()
	if o.Refusal != want {
		w.t.Errorf("refusal %q, want %q", o.Refusal, want)
	}
	for _, i := range o.Items {
		if i.Granted != nil {
			w.t.Errorf("a refused step grants %v", *i.Granted)
		}
	}
}

// ok checks that neither step nor items are refused and nothing is granted.
func (w *world) ok(o ocs.Outcome) {
	w.t.Helper()
	if o.Refusal != "" {
		w.t.Errorf("refused: %q", o.Refusal)
	}
	for _, i := range o.Items {
		if i.Refusal != "" || i.Granted != nil {
			w.t.Errorf("item: %+v", i)
		}
	}
}

func ask(group uint32) ocs.Item { return ocstest.For(group, nil, ocstest.Wish(0, 0)) }

func seconds(group uint32, n int64) ocs.Item {
	return ocstest.For(group, ocstest.Used(ocs.Seconds, n), nil)
}

func octets(group uint32, n int64) ocs.Item {
	return ocstest.For(group, ocstest.Used(ocs.Octets, n), nil)
}

// again adds the wish for the next quota to a report.
func again(i ocs.Item) ocs.Item {
	i.Requested = ocstest.Wish(0, 0)
	return i
}
