package ocs_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// updates are a second request of each session.
func updates(begun []*ocs.Step) (list []*ocs.Step) {
	for _, s := range begun {
		list = append(list, &ocs.Step{SessionID: s.SessionID, Type: ocs.Update, Number: 1, Items: []ocs.Item{again(seconds(rgOnNet, 10))}})
	}
	return list
}

// The batch that finds the database out of reach is not tried in parts, and what has
// waited behind it is refused with it, not kept waiting for as many tries again.
func TestOutOfReach(t *testing.T) {
	f := newFleet(t, 100)
	config := oneLane
	config.BatchMax = 10
	d := ocstest.Start(t, f, config)
	begun := f.initials()
	d.All(begun...)
	g := newGate()
	var transactions atomic.Int32
	f.Before = func([]ocs.Want) error {
		g.wait()
		transactions.Add(1)
		return fmt.Errorf("connect: %w", ocs.ErrUnreachable)
	}
	steps := updates(begun)
	for n, o := range submitHeld(t, d, g, steps[0], steps[1:]) {
		if o.Refusal != ocs.Unavailable {
			t.Errorf("step %d: %+v", n+1, o)
		}
	}
	if n := transactions.Load(); n != 1 {
		t.Errorf("%d transactions were tried", n)
	}
	f.Before = nil
	for n, o := range d.All(steps...) {
		if o.Refusal != "" || o.Replayed {
			t.Errorf("the repeat of step %d: %+v", n, o)
		}
	}
	ocstest.MustBalance(t, f)
}

// lockWait is how long the store of these tests waits for an account that is held.
const lockWait = 2 * time.Second

// holding makes transactions of these accounts wait, and fail.
func holding(g *gate, held ...ocs.AccountKey) func([]ocs.Want) error {
	return func(wants []ocs.Want) error {
		g.wait()
		if slices.ContainsFunc(wants, func(w ocs.Want) bool { return slices.Contains(held, w.Account) }) {
			time.Sleep(lockWait)
			return fmt.Errorf("lock timeout: %w", ocs.ErrLocked)
		}
		return nil
	}
}

// secondSteps begins a session of each account and sends its second request, all but the
// first in one batch, while these accounts are held. It returns the outcomes of that batch
// and how long it took.
func (f *fleet) secondSteps(t *testing.T, held ...ocs.AccountKey) ([]ocs.Outcome, time.Duration) {
	t.Helper()
	d := ocstest.Start(t, f, oneLane)
	begun := f.initials()
	d.All(begun...)
	g := newGate()
	f.Before = holding(g, held...)
	steps, began := updates(begun), time.Now()
	outcomes := submitHeld(t, d, g, steps[0], steps[1:])
	return outcomes, time.Since(began)
}

// An account that somebody holds is waited for by its batch, and once more alone: the
// others of the batch are answered.
func TestLockedAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 40)
		outcomes, took := f.secondSteps(t, f.accounts[17])
		for n, o := range outcomes {
			want := ocs.Refusal("")
			if n+1 == 17 {
				want = ocs.Unavailable
			}
			if o.Refusal != want || o.Replayed {
				t.Errorf("step %d: %+v", n+1, o)
			}
		}
		if took.Truncate(lockWait) != 2*lockWait {
			t.Errorf("the batch took %v", took)
		}
		ocstest.MustBalance(t, f)
	})
}

// Neither the other steps of its account nor slow commits keep the others from being
// answered.
func TestLockedAccountOfManySteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 40)
		d := ocstest.Start(t, f, oneLane)
		begun := append(f.initials(), f.initial(1), f.initial(1))
		d.All(begun...)
		g := newGate()
		locked := holding(g, f.accounts[1])
		f.Before = func(wants []ocs.Want) error {
			time.Sleep(50 * time.Millisecond)
			return locked(wants)
		}
		steps := updates(begun)
		for n, o := range submitHeld(t, d, g, steps[0], steps[1:]) {
			want := ocs.Refusal("")
			if n == 0 || n >= 39 {
				want = ocs.Unavailable
			}
			if o.Refusal != want || o.Replayed {
				t.Errorf("step %d: %+v", n+1, o)
			}
		}
		ocstest.MustBalance(t, f)
	})
}

// When many are held, the batch is given up before its clients have.
func TestManyLockedAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 40)
		outcomes, took := f.secondSteps(t, f.accounts[1:]...)
		for n, o := range outcomes {
			if o.Refusal != ocs.Unavailable {
				t.Errorf("step %d: %+v", n+1, o)
			}
		}
		if took.Truncate(lockWait) != 3*lockWait { // the first after ocs.tryingMax
			t.Errorf("the batch took %v", took)
		}
	})
}

// moved is a store that may connect anew, or be out of reach of look-ups.
type moved struct {
	ocs.Store
	gate    *gate
	away    atomic.Bool
	epoch   atomic.Uint64
	rises   atomic.Bool // with the next look-up
	lookups atomic.Int32
	started chan string
}

func (m *moved) ClientStarted(_ context.Context, host string, _ uint32) error {
	m.started <- host
	return nil
}

func (m *moved) Epoch() uint64 { return m.epoch.Load() }

func (m *moved) Resolve(ctx context.Context, l []ocs.Lookup) ([]ocs.Resolved, error) {
	m.lookups.Add(1)
	if m.away.Load() {
		m.gate.wait()
		return nil, fmt.Errorf("connect: %w", ocs.ErrUnreachable)
	}
	if m.rises.Swap(false) {
		m.epoch.Add(1)
	}
	return m.Store.Resolve(ctx, l)
}

// Likewise look-ups: one try, and what waits behind it is refused with it.
func TestLookupsOutOfReach(t *testing.T) {
	f := newFleet(t, 100)
	store := &moved{Store: f, gate: newGate()}
	store.away.Store(true)
	d := ocstest.Start(t, store, oneLane)
	steps := f.initials()
	for n, o := range submitHeld(t, d, store.gate, steps[0], steps[1:]) {
		if o.Refusal != ocs.Unavailable {
			t.Errorf("step %d: %+v", n+1, o)
		}
	}
	if n := store.lookups.Load(); n != 1 {
		t.Errorf("%d look-ups were tried", n)
	}
	store.away.Store(false)
	for n, o := range d.All(steps...) {
		if o.Refusal != "" {
			t.Errorf("the repeat of step %d: %+v", n, o)
		}
	}
}

// Over a new connection nothing is taken for known: neither who pays for an identity,
// nor whose a session is.
func TestNewEpochForgetsPayers(t *testing.T) {
	f := newFleet(t, 1)
	store := &moved{Store: f}
	d := ocstest.Start(t, store, oneLane)
	first := f.initial(0)
	serve := func(s *ocs.Step, lookups int32) {
		t.Helper()
		if o := d.Do(*s); o.Refusal != "" {
			t.Errorf("%+v", o)
		}
		if n := store.lookups.Swap(0); n != lookups {
			t.Errorf("%d look-ups, want %d", n, lookups)
		}
	}
	serve(first, 1)
	serve(f.initial(0), 0)
	store.epoch.Add(1)
	serve(f.initial(0), 1)
	serve(updates([]*ocs.Step{first})[0], 1)
	store.epoch.Add(1)
	store.rises.Store(true)
	serve(f.initial(0), 2) // what the first found may be of the server before
	serve(f.initial(0), 0)
}

// Nor that the start of a client is stored.
func TestNewEpochStoresClientsAgain(t *testing.T) {
	f := newFleet(t, 1)
	store := &moved{Store: f, started: make(chan string, 8)}
	d := ocstest.Start(t, store, oneLane)
	for range 2 {
		d.ClientState("c.example", 1)
		d.ClientState("c.example", 1)
		<-store.started
		store.epoch.Add(1)
		d.Do(*f.initial(0))
	}
	if n := len(store.started); n != 0 {
		t.Errorf("stored %d times more", n)
	}
}

// A session that may not have begun is not remembered: its Session-Id is free for
// somebody else's.
func TestFailedInitialIsForgotten(t *testing.T) {
	f := newFleet(t, 2)
	d := ocstest.Start(t, f, oneLane)
	d.All(f.initials()...) // now the payers are known
	f.Before = func([]ocs.Want) error { return fmt.Errorf("connect: %w", ocs.ErrUnreachable) }
	s := f.initial(0)
	if o := d.Do(*s); o.Refusal != ocs.Unavailable {
		t.Errorf("%+v", o)
	}
	f.Before = nil
	other := f.initial(1)
	other.SessionID = s.SessionID
	other.Payer = append(other.Payer, ocstest.NewPayer()) // one more that nobody knows: it is looked up
	if o := d.Do(*other); o.Refusal != "" {
		t.Errorf("%+v", o)
	}
}
