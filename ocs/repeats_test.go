package ocs_test

import (
	"reflect"
	"testing"
	"time"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// charged is the part of an outcome that a repeat gives again.
func charged(o ocs.Outcome) ocs.Outcome {
	o.Replayed, o.Mismatch = false, false
	return o
}

// B-020: every type of request, sent again at once and after others.
func TestRepeatsOfEveryType(t *testing.T) {
	t.Attr("proves", "B-020")
	w := voice(t)
	token := w.event(ocs.DirectDebit, messages(1, nil)).Items[0].RefundToken
	event := func(action ocs.EventAction, item ocs.Item) ocs.Step {
		s := w.step(ocs.Event, item)
		s.SessionID, s.Action, s.Payer = ocstest.NewSession(), action, []ocs.Identity{w.payer}
		return s
	}
	final := seconds(rgOffNet, 5)
	final.Final = true
	steps := []ocs.Step{
		w.step(ocs.Initial, ask(rgOnNet), ask(rgOffNet), ask(999)),
		w.step(ocs.Update, again(seconds(rgOnNet, 50)), final),
		w.step(ocs.Update, again(seconds(rgOnNet, 10))),
		event(ocs.DirectDebit, messages(2, nil)),
		event(ocs.RefundAccount, messages(1, token)),
		event(ocs.CheckBalance, messages(1, nil)),
		event(ocs.PriceEnquiry, messages(3, nil)),
		w.step(ocs.Terminate, seconds(rgOnNet, 3)),
	}
	refused := w.step(ocs.Initial, ask(rgFree))
	refused.SessionID = ocstest.NewSession()
	steps = append(steps, refused)
	first := make([]ocs.Outcome, len(steps))
	again := func(n int) {
		rows := len(w.store.Books(t).Journal)
		o := w.do(steps[n])
		if !o.Replayed || o.Mismatch || !reflect.DeepEqual(charged(o), charged(first[n])) {
			t.Errorf("%v, number %d:\n%+v, repeated\n%+v", steps[n].Type, steps[n].Number, first[n], o)
		}
		if got := len(w.store.Books(t).Journal); got != rows {
			t.Errorf("%v, number %d: a repeat wrote %d journal rows", steps[n].Type, steps[n].Number, got-rows)
		}
	}
	for n := range steps {
		w.pass(10 * time.Second)
		if first[n] = w.do(steps[n]); first[n].Replayed {
			t.Fatalf("%+v", first[n])
		}
		again(n)
	}
	w.pass(23 * time.Hour)
	for n := range steps {
		again(n)
	}
}

// B-023: a repeat that asks something else gets the first one's answer, and leaves
// one record of what it reported, however often it comes.
func TestRepeatThatDiffers(t *testing.T) {
	t.Attr("proves", "B-023")
	w := voice(t)
	w.initial(ask(rgOnNet))
	w.pass(time.Minute)
	s := w.step(ocs.Update, again(seconds(rgOnNet, 60)))
	first := w.do(s)
	s.Content, s.Items = [16]byte{1}, []ocs.Item{again(seconds(rgOnNet, 90))}
	for range 2 {
		if o := w.do(s); !o.Replayed || !o.Mismatch || !reflect.DeepEqual(charged(o), charged(first)) {
			t.Errorf("%+v, then %+v", first, o)
		}
	}
	w.ledger("8.80", "0.60", "0.60")
	records := w.store.Orphans()
	if len(records) != 1 || !records[0].Mismatch || records[0].SessionID != w.id || records[0].Key.Number != s.Number ||
		len(records[0].Used) != 1 || records[0].Used[0].Units.Quantity != 90 {
		t.Errorf("%+v", records)
	}
}

// B-024: the last 16 outcomes and a window of 64 numbers.
func TestWindowOfNumbers(t *testing.T) {
	w := voice(t)
	w.initial(ask(rgOnNet))
	var updates []ocs.Step
	for range 3 * ocs.OutcomesKept {
		s := w.step(ocs.Update, seconds(rgOnNet, 1))
		w.ok(w.do(s))
		updates = append(updates, s)
	}
	for n, s := range updates {
		o := w.do(s)
		if kept := n >= len(updates)-ocs.OutcomesKept; !o.Replayed || (o.Refusal == "") != kept || (o.Refusal == ocs.OutcomeGone) == kept {
			t.Errorf("number %d of %d: %+v", s.Number, len(updates), o)
		}
	}
	w.ledger("9.52", "0", "0.48")
}
