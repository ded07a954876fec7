package ocs_test

import (
	"testing"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// unlinked asks for a refund without a debit, up to a cap.
func unlinked(cap ocs.Money, wish *ocs.Units) ocs.Item {
	i := ocstest.For(rgMessage, nil, wish)
	i.Unlinked = cap
	return i
}

func TestUnlinkedRefunds(t *testing.T) {
	t.Run("B-175 up to the cap of the client", func(t *testing.T) {
		t.Attr("proves", "B-175")
		w := voice(t)
		s := w.step(ocs.Event, unlinked(300_000, ocstest.Wish(ocs.Events, 1)))
		s.SessionID, s.Action, s.Payer = ocstest.NewSession(), ocs.RefundAccount, []ocs.Identity{w.payer}
		o := w.do(s)
		if o.Refusal != "" || o.Cost != -300_000 || *o.Items[0].Granted != (ocs.Units{Kind: ocs.Events, Quantity: 1}) || o.Available != 10_300_000 {
			t.Errorf("%+v", o)
		}
		if o := w.do(s); !o.Replayed || o.Cost != -300_000 {
			t.Errorf("repeated: %+v", o)
		}
		w.ledger("10.30", "0", "0")
		w.refused(w.event(ocs.RefundAccount, unlinked(299_999, ocstest.Wish(ocs.Events, 1))), ocs.RefundTooLarge)
		w.refused(w.event(ocs.RefundAccount, unlinked(300_000, ocstest.Wish(ocs.Amount, 300_001))), ocs.RefundTooLarge)
		w.refused(w.event(ocs.RefundAccount, unlinked(0, ocstest.Wish(ocs.Events, 1))), ocs.RefundNotLinked)
		w.ledger("10.30", "0", "0")

		token := w.event(ocs.DirectDebit, messages(1, nil)).Items[0].RefundToken
		tooMuch := messages(0, token)
		tooMuch.Requested, tooMuch.Unlinked = ocstest.Wish(ocs.Amount, 9_990_000), 50_000_000
		w.refused(w.event(ocs.RefundAccount, tooMuch), ocs.RefundTooLarge) // a linked one is capped by its debit
		w.ledger("10.00", "0", "0.30")
	})
	t.Run("the cap is one for the request", func(t *testing.T) {
		w := voice(t)
		other := unlinked(300_000, ocstest.Wish(ocs.Events, 1))
		other.Target = "8/1"
		w.refused(w.event(ocs.RefundAccount, unlinked(300_000, ocstest.Wish(ocs.Events, 1)), other), ocs.RefundTooLarge)
		w.ledger("10.00", "0", "0")
	})
	t.Run("what cannot be refunded", func(t *testing.T) {
		w := voice(t)
		for want, item := range map[ocs.Refusal]ocs.Item{
			ocs.RefundNotLinked: unlinked(300_000, nil),
			ocs.UnitMismatch:    unlinked(300_000, ocstest.Wish(ocs.Octets, 1)),
		} {
			w.refused(w.event(ocs.RefundAccount, item), want)
		}
		foreign := unlinked(300_000, ocstest.Wish(ocs.Amount, 1))
		foreign.Currency = 978
		w.refused(w.event(ocs.RefundAccount, foreign), ocs.ForeignCurrency)
		w.store.Change(w.account.Key, func(a *ocs.Account) { a.Balances[0].Services = []string{"other@x"} })
		w.refused(w.event(ocs.RefundAccount, unlinked(300_000, ocstest.Wish(ocs.Events, 1))), ocs.RefundNotLinked)
		w.ledger("10.00", "0", "0")
	})
	t.Run("to the balance that is of most use", func(t *testing.T) {
		soon, aimed, general := cashPot(0), cashPot(0), cashPot(0)
		soon.ValidUntil = morning.AddDate(0, 0, 1)
		aimed.Services = []string{ocstest.Voice}
		w := newWorld(t, ocstest.Voice, pots(soon, general, aimed))
		w.event(ocs.RefundAccount, unlinked(300_000, ocstest.Wish(ocs.Events, 1)))
		if got := w.left(); got[0] != 0 || got[1] != 300_000 || got[2] != 0 {
			t.Errorf("%v", got)
		}
	})
}

// B-174: a debit comes back once, by its token, in whichever session it is asked.
func TestLinkedRefunds(t *testing.T) {
	t.Attr("proves", "B-174")
	w := voice(t)
	token := w.event(ocs.DirectDebit, messages(1, nil)).Items[0].RefundToken
	if len(token) == 0 {
		t.Fatal("no Refund-Information")
	}
	w.ledger("9.70", "0", "0.30")
	if o := w.event(ocs.RefundAccount, messages(1, token)); o.Refusal != "" || o.Cost != -300_000 || o.Items[0].Granted.Quantity != 1 {
		t.Errorf("%+v", o)
	}
	w.ledger("10.00", "0", "0")
	w.refused(w.event(ocs.RefundAccount, messages(1, token)), ocs.RefundNotLinked)
	w.ledger("10.00", "0", "0")
}
