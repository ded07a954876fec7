package ocs_test

import (
	"testing"
	"time"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// A step moves a target once, whatever names its items have; the books see to it
// after every step.
func TestStepMovesTargetOnce(t *testing.T) {
	service := func(i ocs.Item, target ocs.Target) ocs.Item { i.Target = target; return i }
	t.Run("a service and its group begin together", func(t *testing.T) {
		w := voice(t)
		w.want(w.initial(ask(rgOffNet)), 0, 60, false)
		w.pass(10 * time.Second)
		o := w.update(again(service(seconds(rgOnNet, 5), "100/8")), again(seconds(rgOnNet, 7)))
		w.want(o, 0, 60, false)
		w.want(o, 1, 60, false)
		w.ledger("8.08", "1.80", "0.12")
	})
	t.Run("both in the first request, with use", func(t *testing.T) {
		w := voice(t)
		s := w.step(ocs.Initial, again(service(seconds(rgOnNet, 5), "100/8")), again(seconds(rgOnNet, 7)))
		s.Habits.Interim = true
		o := w.do(s)
		w.want(o, 0, 60, false)
		w.want(o, 1, 60, false)
		w.ledger("8.68", "1.20", "0.12")
	})
	starving := func(t *testing.T) *world {
		w := newWorld(t, ocstest.Data, ocstest.Prepaid(1_000_000))
		w.want(w.initial(ask(rgData)), 0, 100*megabyte, true)
		w.ok(w.update(octets(rgData, 100*megabyte)))
		w.store.Credit(t, w.account.Key, w.account.Balances[0].ID, 2_000_000)
		return w
	}
	t.Run("a service of a group without credit, beside the group", func(t *testing.T) {
		w := starving(t)
		w.ok(w.update(service(octets(rgData, 10*megabyte), "10/7"), octets(rgData, 20*megabyte)))
		w.ledger("1.70", "0", "1.30")
	})
	t.Run("two services of a group without credit", func(t *testing.T) {
		w := starving(t)
		w.ok(w.update(service(octets(rgData, 10*megabyte), "10/7"), service(octets(rgData, 20*megabyte), "10/8")))
		w.ledger("1.70", "0", "1.30")
	})
	t.Run("a debit of two services", func(t *testing.T) {
		w := voice(t)
		message := ocstest.For(rgMessage, nil, ocstest.Wish(ocs.Events, 1))
		o := w.event(ocs.DirectDebit, message, service(message, "8/9"))
		if o.Refusal != "" || o.Cost != 600_000 {
			t.Errorf("%+v", o)
		}
		w.ledger("9.40", "0", "0.60")
		o = w.event(ocs.DirectDebit, message, service(ask(999), "999"))
		w.refused(o, ocs.Unrated)
		w.ledger("9.40", "0", "0.60")
	})
}
