package ocs_test

import (
	"testing"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

func TestTrace8DebitAndReversal(t *testing.T) {
	t.Attr("proves", "B-173")
	w := voice(t)
	o := w.event(ocs.DirectDebit, messages(1, nil))
	if o.Refusal != "" || o.Cost != 300_000 || o.Items[0].Granted.Quantity != 1 {
		t.Fatalf("%+v", o)
	}
	token := o.Items[0].RefundToken
	w.ledger("9.70", "0", "0.30")
	w.refused(w.event(ocs.RefundAccount, ocstest.For(rgMessage, nil, ocstest.Wish(ocs.Events, 1))), ocs.RefundNotLinked)
	tooMuch := messages(0, token)
	tooMuch.Requested = ocstest.Wish(ocs.Amount, 9_990_000)
	w.refused(w.event(ocs.RefundAccount, tooMuch), ocs.RefundTooLarge) // B-175
	w.refused(w.event(ocs.RefundAccount, messages(2, token)), ocs.RefundTooLarge)
	o = w.event(ocs.RefundAccount, messages(1, token))
	if o.Refusal != "" || o.Cost != -300_000 || o.Items[0].Granted.Quantity != 1 {
		t.Errorf("%+v", o)
	}
	w.ledger("10.00", "0", "0")
	w.refused(w.event(ocs.RefundAccount, messages(1, token)), ocs.RefundNotLinked) // B-174

	t.Run("B-176 an event leaves no session", func(t *testing.T) {
		t.Attr("proves", "B-176")
		w := voice(t)
		event := w.step(ocs.Event, messages(1, nil))
		event.Payer = []ocs.Identity{w.payer}
		if o := w.do(event); o.Refusal != "" || w.store.Session(w.id) != nil {
			t.Errorf("%+v", o)
		}
		w.refused(w.update(again(seconds(rgOnNet, 1))), ocs.UnknownSession)
		w.refused(w.terminate(seconds(rgOnNet, 1)), ocs.UnknownSession)
		w.ledger("9.70", "0", "0.30")
	})
	t.Run("B-173 insufficient", func(t *testing.T) {
		w := newWorld(t, ocstest.Voice, ocstest.Prepaid(500_000))
		w.refused(w.event(ocs.DirectDebit, messages(1, nil), ocstest.For(rgOnNet, nil, ocstest.Wish(ocs.Seconds, 30))), ocs.CreditLimit)
		w.ledger("0.50", "0", "0")
	})
	t.Run("B-177 free", func(t *testing.T) {
		w := voice(t)
		w.refused(w.event(ocs.DirectDebit, ask(rgFree)), ocs.Free)
	})
	t.Run("partly, then the rest", func(t *testing.T) {
		w := voice(t)
		token := w.event(ocs.DirectDebit, messages(3, nil)).Items[0].RefundToken
		w.event(ocs.RefundAccount, messages(1, token))
		w.ledger("9.40", "0", "0.60")
		w.refused(w.event(ocs.RefundAccount, messages(3, token)), ocs.RefundTooLarge)
		w.event(ocs.RefundAccount, messages(0, token))
		w.ledger("10.00", "0", "0")
	})
	t.Run("of another payer", func(t *testing.T) {
		w := voice(t)
		token := w.event(ocs.DirectDebit, messages(1, nil)).Items[0].RefundToken
		w.payer = ocstest.NewPayer()
		w.store.AddAccount(t, ocstest.Prepaid(0), w.payer)
		w.refused(w.event(ocs.RefundAccount, messages(1, token)), ocs.RefundNotLinked)
	})
}

func TestTrace9EnquiryAndCheck(t *testing.T) {
	t.Attr("proves", "B-171")
	t.Attr("proves", "B-172")
	w := newWorld(t, ocstest.Voice, ocstest.Prepaid(0))
	if o := w.event(ocs.PriceEnquiry, ocstest.For(rgOnNet, nil, ocstest.Wish(ocs.Seconds, 60))); o.Refusal != "" || o.Cost != 600_000 {
		t.Errorf("B-171: %+v", o)
	}
	w.refused(w.event(ocs.PriceEnquiry, ask(999)), ocs.Unrated)
	w.ledger("0", "0", "0")

	w = voice(t)
	check := func(money ocs.Money) ocs.Outcome {
		return w.event(ocs.CheckBalance, ocstest.For(rgOnNet, nil, ocstest.Wish(ocs.Amount, int64(money))))
	}
	if o := check(5_000_000); o.Refusal != "" || o.NoCredit {
		t.Errorf("%+v", o)
	}
	if o := check(50_000_000); o.Refusal != "" || !o.NoCredit {
		t.Errorf("%+v", o)
	}
	w.number = 0
	w.initial(ocstest.For(rgOnNet, nil, ocstest.Wish(ocs.Amount, 6_000_000)))
	w.ledger("4.00", "6.00", "0")
	if o := check(5_000_000); !o.NoCredit {
		t.Errorf("B-172: frozen money counted: %+v", o)
	}
	foreign := ocstest.For(rgOnNet, nil, ocstest.Wish(ocs.Amount, 1))
	foreign.Currency = 978
	w.refused(w.event(ocs.CheckBalance, foreign), ocs.ForeignCurrency)
	w.ledger("4.00", "6.00", "0")
}
