package ocs_test

import (
	"testing"
	"time"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// as has a step come from a client with habits.
func (w *world) as(h ocs.Habits, s ocs.Step) ocs.Outcome {
	w.t.Helper()
	s.Habits = h
	return w.do(s)
}

func TestNoFree(t *testing.T) {
	noFree := ocs.Habits{NoFree: true}
	t.Run("D-004 slices at no price", func(t *testing.T) {
		t.Attr("proves", "D-004")
		w := voice(t)
		w.want(w.as(noFree, w.step(ocs.Initial, ask(rgFree))), 0, 60, false)
		w.ledger("10.00", "0", "0")
		w.pass(time.Minute)
		w.want(w.as(noFree, w.step(ocs.Update, ocstest.For(rgFree, ocstest.Used(ocs.Seconds, 60), ocstest.Wish(ocs.Seconds, 30)))), 0, 30, false)
		o := w.as(noFree, w.step(ocs.Terminate, seconds(rgFree, 10)))
		w.ok(o)
		if o.Cost != 0 {
			t.Errorf("%+v", o)
		}
		w.ledger("10.00", "0", "0")

		w = voice(t) // the others get the code
		w.refused(w.initial(ask(rgFree)), ocs.Free)
	})
	t.Run("a bundle is not spent on what is free", func(t *testing.T) {
		w := newWorld(t, ocstest.Voice, pots(cashPot(1_000_000), &ocs.Balance{Unit: ocs.Seconds, Amount: 100}))
		w.as(noFree, w.step(ocs.Initial, ask(rgFree)))
		w.pass(time.Minute)
		w.as(noFree, w.step(ocs.Terminate, seconds(rgFree, 60)))
		if got := w.left(); got[1] != 100 {
			t.Errorf("%d s left in the bundle", got[1])
		}
	})
	t.Run("B-177 a free event", func(t *testing.T) {
		t.Attr("proves", "B-177")
		w := voice(t)
		w.refused(w.event(ocs.DirectDebit, ask(rgFree)), ocs.Free)
		s := w.step(ocs.Event, ocstest.For(rgFree, nil, ocstest.Wish(ocs.Seconds, 5)))
		s.SessionID, s.Payer = ocstest.NewSession(), []ocs.Identity{w.payer}
		if i := w.want(w.as(noFree, s), 0, 5, false); i.RefundToken != nil {
			t.Errorf("%+v", i)
		}
		w.ledger("10.00", "0", "0")
		if n := len(w.store.Books(t).Journal); n != 1 {
			t.Errorf("%d journal rows, want the opening alone", n)
		}
	})
}

// B-036 as the standard has it, and as most clients need it.
func TestLateTerminate(t *testing.T) {
	for _, strict := range []bool{false, true} {
		h := ocs.Habits{NoLateTerminate: strict}
		w := voice(t)
		w.as(h, w.step(ocs.Initial, ask(rgOnNet)))
		w.store.Block(t, w.account.Key)
		w.pass(33 * time.Second)
		w.refused(w.as(h, w.step(ocs.Update, again(seconds(rgOnNet, 33)))), ocs.Blocked)
		w.pass(3 * time.Second)
		o := w.as(h, w.step(ocs.Terminate, seconds(rgOnNet, 3)))
		if !strict {
			w.ok(o)
			w.ledger("9.64", "0", "0.36")
			continue
		}
		t.Attr("proves", "B-036")
		w.refused(o, ocs.UnknownSession)
		w.ledger("9.67", "0", "0.33")
		if n := len(w.store.Orphans()); n != 1 {
			t.Errorf("%d orphan records", n)
		}
	}
}

func TestInterimUse(t *testing.T) {
	interim := ocs.Habits{Interim: true}
	t.Run("D-056 charged, whatever the clock says", func(t *testing.T) {
		t.Attr("proves", "D-056")
		w := voice(t)
		w.want(w.as(interim, w.step(ocs.Initial, again(seconds(rgOnNet, 400)))), 0, 60, false)
		w.ledger("5.40", "0.60", "4.00")
		w.pass(60 * time.Second) // and later reports are held against the clock as ever
		if i := w.want(w.as(interim, w.step(ocs.Update, again(seconds(rgOnNet, 60)))), 0, 60, false); i.Capped != 0 {
			t.Errorf("%+v", i)
		}
		if o := w.as(interim, w.step(ocs.Terminate, seconds(rgOnNet, 4000))); o.Items[0].Capped != 4000 {
			t.Errorf("%+v", o)
		}
		w.ledger("5.40", "0", "4.60")
	})
	t.Run("of a payer who is refused", func(t *testing.T) {
		w := voice(t)
		w.store.Block(t, w.account.Key)
		s := w.step(ocs.Initial, again(seconds(rgOnNet, 20)))
		w.refused(w.as(interim, s), ocs.Blocked)
		w.ledger("9.80", "0", "0.20")
		if o := w.as(interim, s); !o.Replayed || o.Refusal != ocs.Blocked {
			t.Errorf("repeated: %+v", o)
		}
		w.refused(w.update(seconds(rgOnNet, 1)), ocs.UnknownSession)
		w.ledger("9.80", "0", "0.20")
	})
	t.Run("of a bundle, and refused", func(t *testing.T) {
		w := newWorld(t, ocstest.Voice, pots(cashPot(0), &ocs.Balance{Unit: ocs.Seconds, Amount: 20}))
		w.refused(w.as(interim, w.step(ocs.Initial, again(seconds(rgOnNet, 20)))), ocs.NoBalance)
		if got := w.left(); got[1] != 0 || w.store.Session(w.id) == nil || w.store.Session(w.id).Open() {
			t.Errorf("%v left, session %+v", got, w.store.Session(w.id))
		}
	})
	t.Run("recorded for the others", func(t *testing.T) {
		w := voice(t)
		w.store.Block(t, w.account.Key)
		w.refused(w.initial(again(seconds(rgOnNet, 20))), ocs.Blocked)
		w.ledger("10.00", "0", "0")
		if o := w.store.Orphans(); len(o) != 1 || o[0].Used[0].Units.Quantity != 20 {
			t.Errorf("%+v", o)
		}
	})
	t.Run("D-055 a large report in mid-session", func(t *testing.T) {
		t.Attr("proves", "D-055")
		w := voice(t)
		w.initial(ask(rgOnNet))
		w.pass(590 * time.Second)
		w.want(w.update(again(seconds(rgOnNet, 590))), 0, 60, false)
		w.ledger("3.50", "0.60", "5.90")
		w.pass(600 * time.Second)
		w.do(ocs.Step{SessionID: w.id, Type: ocs.Expire})
		w.refused(w.update(again(seconds(rgOnNet, 600))), ocs.UnknownSession)
		if o := w.store.Orphans(); len(o) != 1 || o[0].Used[0].Units.Quantity != 600 {
			t.Errorf("%+v", o)
		}
		w.ledger("4.10", "0", "5.90")
	})
}

// A refusal at the command level ends the session (RFC 8506 §7, Table 6): B-035
// for credit and price, too, where the units stand at the command.
func TestCommandLevel(t *testing.T) {
	for name, wish := range map[string]*ocs.Units{"no credit": ocstest.Wish(ocs.Amount, 50_000_000), "another unit": ocstest.Wish(ocs.Octets, 5)} {
		t.Run(name, func(t *testing.T) {
			t.Attr("proves", "B-035")
			w := voice(t)
			first := w.step(ocs.Initial, ocstest.For(rgOnNet, nil, ocstest.Wish(0, 0)))
			first.CommandLevel = true
			w.want(w.do(first), 0, 60, false)
			w.pass(33 * time.Second)
			s := w.step(ocs.Update, ocstest.For(rgOnNet, ocstest.Used(ocs.Seconds, 33), wish))
			s.CommandLevel = true
			if o := w.do(s); o.Refusal == "" || o.Cost != 330_000 {
				t.Errorf("%+v", o)
			}
			w.ledger("9.67", "0", "0.33")
			if w.store.Session(w.id).Open() {
				t.Error("the session is still open")
			}
			w.refused(w.update(again(seconds(rgOnNet, 1))), ocs.UnknownSession)
			w.ok(w.terminate(seconds(rgOnNet, 2)))
			w.ledger("9.65", "0", "0.35")
		})
	}
	t.Run("data without a part for its refusal", func(t *testing.T) {
		w := newWorld(t, ocstest.Data, ocstest.Prepaid(0))
		s := w.step(ocs.Initial, ask(rgData))
		s.CommandLevel = true
		w.refused(w.do(s), ocs.NoBalance)
		if w.store.Session(w.id) != nil {
			t.Error("a session was opened")
		}
	})
}

// B-151: what is free altogether has no session, whatever the service; B-152: what
// is free in part has one.
func TestFreeAltogether(t *testing.T) {
	for _, service := range []string{ocstest.Voice, ocstest.Data} {
		t.Run(service, func(t *testing.T) {
			t.Attr("proves", "B-151")
			t.Attr("proves", "B-152")
			w := newWorld(t, service, ocstest.Prepaid(10_000_000))
			w.refused(w.initial(ask(rgFree)), ocs.Free)
			w.ledger("10.00", "0", "0")
			if w.store.Session(w.id) != nil {
				t.Error("a session was opened")
			}
			w.refused(w.terminate(seconds(rgFree, 5)), ocs.UnknownSession)

			w = newWorld(t, service, ocstest.Prepaid(10_000_000))
			o := w.initial(ask(rgFree), ask(rgOnNet))
			w.want(o, 1, 60, false)
			if o.Items[0].Refusal != ocs.Free || o.Items[0].Granted != nil {
				t.Errorf("%+v", o.Items[0])
			}
			if o := w.update(ask(rgFree)); o.Refusal != "" || o.Items[0].Refusal != ocs.Free || !w.store.Session(w.id).Open() {
				t.Errorf("in mid-session: %+v", o)
			}
		})
	}
}
