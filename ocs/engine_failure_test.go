package ocs_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

func TestHalves(t *testing.T) {
	f := newFleet(t, 40)
	d := ocstest.Start(t, f, oneLane)
	steps := f.initials()
	d.All(steps...)
	bad := f.accounts[17]
	g := newGate()
	var transactions atomic.Int32
	f.Before = func(wants []ocs.Want) error {
		g.wait()
		transactions.Add(1)
		for _, w := range wants {
			if w.Account == bad {
				return errors.New("this account's row is locked")
			}
		}
		return nil
	}
	var updates []*ocs.Step
	for _, s := range steps[1:] {
		updates = append(updates, &ocs.Step{SessionID: s.SessionID, Type: ocs.Update, Number: 1, Items: []ocs.Item{again(seconds(rgOnNet, 10))}})
	}
	first := &ocs.Step{SessionID: steps[0].SessionID, Type: ocs.Update, Number: 1}
	for n, o := range submitHeld(t, d, g, first, updates) {
		want := ocs.Refusal("")
		if n == 16 {
			want = ocs.Unavailable
		}
		if o.Refusal != want || o.Replayed {
			t.Errorf("step %d: %+v", n, o)
		}
	}
	// The first step, then 39 in one, of which one half fails each time.
	if n := transactions.Load(); n < 8 || n > 14 {
		t.Errorf("%d transactions: the batch was not halved", n)
	}
	ocstest.MustBalance(t, f)
}

func TestDatabaseAway(t *testing.T) {
	f := newFleet(t, 200)
	d := ocstest.Start(t, f, oneLane)
	steps := f.initials()
	d.All(steps...)
	g := newGate()
	var transactions atomic.Int32
	f.Before = func([]ocs.Want) error {
		g.wait()
		transactions.Add(1)
		return errors.New("connection refused")
	}
	var ends []*ocs.Step
	for _, s := range steps[1:] {
		ends = append(ends, &ocs.Step{SessionID: s.SessionID, Type: ocs.Terminate, Number: 1})
	}
	for _, o := range submitHeld(t, d, g, &ocs.Step{SessionID: steps[0].SessionID, Type: ocs.Terminate, Number: 1}, ends) {
		if o.Refusal != ocs.Unavailable {
			t.Errorf("%+v", o)
		}
	}
	if n := transactions.Load(); n > 13 { // the first step, then as many as may fail in a row
		t.Errorf("%d transactions were tried for 200 steps", n)
	}
}

func TestCommitOutcomeUnknown(t *testing.T) {
	f := newFleet(t, 1)
	var transactions atomic.Int32
	f.After = func([]ocs.Want) error {
		if transactions.Add(1) == 1 {
			return fmt.Errorf("connection lost at COMMIT: %w", ocs.ErrOutcomeUnknown)
		}
		return nil
	}
	d := ocstest.Start(t, f, oneLane)
	s := f.initial(0)
	if o := d.Do(*s); o.Refusal != ocs.Unavailable {
		t.Errorf("%+v", o)
	}
	if n := transactions.Load(); n != 1 {
		t.Errorf("tried %d times", n)
	}
	if o := d.Do(*s); o.Refusal != "" || !o.Replayed || o.Items[0].Granted.Quantity != 60 {
		t.Errorf("the repeat: %+v", o)
	}
	ocstest.MustBalance(t, f)
}

// After an unknown commit nothing of the batch is tried again, not even in
// halves: it would look like a repeat.
func TestCommitOutcomeUnknownForABatch(t *testing.T) {
	f := newFleet(t, 10)
	d := ocstest.Start(t, f, oneLane)
	steps := f.initials()
	d.All(steps...)
	g := newGate()
	f.Before = func([]ocs.Want) error { g.wait(); return nil }
	f.After = func(wants []ocs.Want) error {
		if len(wants) > 1 {
			return ocs.ErrOutcomeUnknown
		}
		return nil
	}
	var ends []*ocs.Step
	for _, s := range steps[1:] {
		ends = append(ends, &ocs.Step{SessionID: s.SessionID, Type: ocs.Terminate, Number: 1, Items: []ocs.Item{seconds(rgOnNet, 5)}})
	}
	for _, o := range submitHeld(t, d, g, &ocs.Step{SessionID: steps[0].SessionID, Type: ocs.Update, Number: 1}, ends) {
		if o.Refusal != ocs.Unavailable {
			t.Errorf("%+v", o)
		}
	}
	f.After = nil
	for _, o := range d.All(ends...) {
		if o.Refusal != "" || !o.Replayed || o.Cost != 50_000 {
			t.Errorf("repeated: %+v", o)
		}
	}
	ocstest.MustBalance(t, f)
}

// A step on which a rule breaks takes no other with it, and nothing of it is
// stored.
func TestBrokenInvariant(t *testing.T) {
	f := newFleet(t, 20)
	d := ocstest.Start(t, f, oneLane)
	f.Change(f.accounts[5], func(a *ocs.Account) { a.Balances[0].Frozen = a.Balances[0].Amount + 1 })
	for n, o := range d.All(f.initials()...) {
		want := ocs.Refusal("")
		if n == 5 {
			want = ocs.Internal
		}
		if o.Refusal != want || o.Replayed {
			t.Errorf("step %d: %+v", n, o)
		}
	}
	f.Change(f.accounts[5], func(a *ocs.Account) { a.Balances[0].Frozen = 0 })
	ocstest.MustBalance(t, f)
}
