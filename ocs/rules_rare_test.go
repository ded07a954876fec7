package ocs_test

import (
	"math"
	"testing"
	"time"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// Rarer paths of the rules.
func TestRareCases(t *testing.T) {
	t.Run("D-056 use in a first request", func(t *testing.T) {
		w := voice(t)
		s := w.step(ocs.Initial, again(seconds(rgOnNet, 20)))
		s.Verbs = ocs.VerbsOf(ocs.Initial, 0) | ocs.VerbDebit
		w.want(w.do(s), 0, 60, false)
		w.ledger("9.20", "0.60", "0.20")

		w = newWorld(t, ocstest.Voice, ocstest.Prepaid(220_000))
		s = w.step(ocs.Initial, again(seconds(rgOnNet, 20)))
		s.Verbs = ocs.VerbsOf(ocs.Initial, 0) | ocs.VerbDebit
		w.refused(w.do(s), ocs.CreditLimit) // charged, refused, and over
		w.ledger("0.02", "0", "0.20")
		w.refused(w.update(seconds(rgOnNet, 1)), ocs.UnknownSession)
	})
	t.Run("use of a target without a price", func(t *testing.T) {
		w := data(t)
		w.initial(ask(rgData))
		if o := w.update(octets(999, 5)); o.Items[0].Refusal != ocs.Unrated {
			t.Errorf("%+v", o)
		}
		if n := len(w.store.Orphans()); n != 1 {
			t.Errorf("%d orphan records", n)
		}
		w.ledger("19.00", "1.00", "0")
	})
	t.Run("use of a target never granted", func(t *testing.T) {
		w := data(t)
		w.initial()
		w.ok(w.update(ocstest.For(rgData, append(ocstest.Used(ocs.Seconds, 7), ocstest.Used(ocs.Octets, 3*megabyte)...), nil)))
		w.ledger("19.97", "0", "0.03")
		w.ok(w.terminate(ocstest.For(5, ocstest.Used(ocs.Amount, 40_000), nil)))
		w.ledger("19.93", "0", "0.07")
	})
	t.Run("late use paid by a bundle", func(t *testing.T) {
		w := newWorld(t, ocstest.Voice, ocs.Account{Currency: ocstest.Currency, Balances: []*ocs.Balance{
			{Unit: ocs.Amount, Amount: 100_000}, {Unit: ocs.Seconds, Amount: 65}}})
		w.want(w.initial(ask(rgOnNet)), 0, 60, false)
		first, second := w.step(ocs.Update, again(seconds(rgOnNet, 10))), w.step(ocs.Update, again(seconds(rgOnNet, 0)))
		w.want(w.do(second), 0, 60, false)
		w.ok(w.do(first)) // 5 s are free, 5 s come out of the younger freeze
		w.ledger("0.10", "0", "0")
	})
	t.Run("an account that ends in mid-session", func(t *testing.T) {
		w := voice(t)
		w.store.Change(w.account.Key, func(a *ocs.Account) { a.ValidUntil = w.now.Add(time.Minute) })
		w.initial(ask(rgOnNet))
		w.pass(time.Minute)
		w.refused(w.update(again(seconds(rgOnNet, 60))), ocs.Expired)
		w.ledger("9.40", "0", "0.60")
	})
	t.Run("nothing is opened for data without items", func(t *testing.T) {
		w := newWorld(t, ocstest.Data, ocstest.Prepaid(0))
		w.refused(w.initial(), ocs.NoBalance)
	})
}

func TestRareEvents(t *testing.T) {
	t.Run("reversal of money and units together", func(t *testing.T) {
		w := newWorld(t, ocstest.Voice, ocs.Account{Currency: ocstest.Currency, Balances: []*ocs.Balance{
			{Unit: ocs.Amount, Amount: 1_000_000}, {Unit: ocs.Events, Amount: 1}}})
		token := w.event(ocs.DirectDebit, messages(3, nil)).Items[0].RefundToken
		w.ledger("0.40", "0", "0.60")
		w.refused(w.event(ocs.RefundAccount, messages(1, token)), ocs.RefundTooLarge)
		both := messages(3, token)
		twice := both
		twice.Target = "8/1"
		w.refused(w.event(ocs.RefundAccount, both, twice), ocs.RefundNotLinked)
		if o := w.event(ocs.RefundAccount, both); o.Refusal != "" || o.Cost != -600_000 {
			t.Errorf("%+v", o)
		}
		w.ledger("1.00", "0", "0")
		if b := w.store.Account(w.account.Key).Balances[1]; b.Amount != 1 {
			t.Errorf("%d events left", b.Amount)
		}
	})
	t.Run("a closed account gets nothing back", func(t *testing.T) {
		w := voice(t)
		token := w.event(ocs.DirectDebit, messages(1, nil)).Items[0].RefundToken
		w.store.Change(w.account.Key, func(a *ocs.Account) { a.Closed = true })
		w.refused(w.event(ocs.RefundAccount, messages(1, token)), ocs.Closed)
		w.refused(w.event(ocs.DirectDebit, messages(1, nil)), ocs.Closed)
	})
	t.Run("events nobody can mean", func(t *testing.T) {
		w := voice(t)
		for _, wish := range []*ocs.Units{ocstest.Wish(ocs.Events, -1), ocstest.Wish(ocs.Events, math.MaxInt64), ocstest.Wish(ocs.Octets, 1)} {
			for _, action := range []ocs.EventAction{ocs.DirectDebit, ocs.CheckBalance, ocs.PriceEnquiry} {
				w.refused(w.event(action, ocstest.For(rgMessage, nil, wish)), ocs.UnitMismatch)
			}
		}
		w.refused(w.event(ocs.EventAction(9), messages(1, nil)), ocs.UnitMismatch)
		w.ledger("10.00", "0", "0")
	})
	t.Run("money at once", func(t *testing.T) {
		w := voice(t)
		if o := w.event(ocs.DirectDebit, ocstest.For(rgMessage, nil, ocstest.Wish(ocs.Amount, 123))); o.Refusal != "" || o.Cost != 123 {
			t.Errorf("%+v", o)
		}
		if o := w.event(ocs.CheckBalance, ask(rgFree)); o.Refusal != "" || o.NoCredit {
			t.Errorf("%+v", o)
		}
		w.ledger("9.999877", "0", "0.000123")
	})
}

// messages asks for events of the operator's service, or for their reversal.
func messages(n int64, token []byte) ocs.Item {
	i := ocstest.For(rgMessage, nil, ocstest.Wish(ocs.Events, n))
	i.RefundToken = token
	return i
}
