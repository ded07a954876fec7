package ocs_test

import (
	"testing"
	"time"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

func TestRatingConditionChange(t *testing.T) {
	t.Run("B-119 another group from that moment", func(t *testing.T) {
		t.Attr("proves", "B-119")
		w := voice(t)
		w.want(w.initial(ask(rgOnNet)), 0, 60, false)
		w.pass(20 * time.Second)
		left := seconds(rgOnNet, 20)
		left.Rerated = true
		o := w.update(left, ask(rgInterval))
		w.want(o, 1, 60, false)
		if o.Items[0].Granted != nil || o.Items[0].Debited != 200_000 || o.Items[0].Refunded != 400_000 {
			t.Errorf("%+v", o.Items[0])
		}
		w.ledger("9.15", "0.65", "0.20")
		w.pass(30 * time.Second)
		if o := w.terminate(seconds(rgInterval, 30)); o.Cost != 850_000 {
			t.Errorf("%+v", o)
		}
		w.ledger("9.15", "0", "0.85")
	})
	// forwarded is a call to the neighbours that is forwarded overseas after 20 s.
	forwarded := func(t *testing.T, rerated bool) *world {
		w := voice(t)
		s := w.step(ocs.Initial, ask(104))
		s.Called = "8613800000002"
		w.want(w.do(s), 0, 60, false)
		w.pass(20 * time.Second)
		report := again(seconds(104, 20))
		report.Rerated = rerated
		s = w.step(ocs.Update, report)
		s.Called = "441632960001"
		w.want(w.do(s), 0, 60, false)
		w.pass(30 * time.Second)
		w.ok(w.update(seconds(104, 30)))
		return w
	}
	t.Run("B-119 another destination in the same group", func(t *testing.T) {
		t.Attr("proves", "B-119")
		w := forwarded(t, true) // 20 s at 0.01, then 30 s at 0.02
		w.ledger("9.20", "0", "0.80")
		if o := w.terminate(seconds(104, 0)); o.Cost != 800_000 {
			t.Errorf("%+v", o)
		}
	})
	t.Run("a destination alone changes no price", func(t *testing.T) {
		w := forwarded(t, false)
		w.ledger("9.50", "0", "0.50")
	})
	t.Run("a destination without a price", func(t *testing.T) {
		w := voice(t)
		s := w.step(ocs.Initial, ask(103))
		s.Called = "441632960001"
		w.want(w.do(s), 0, 60, false)
		w.pass(20 * time.Second)
		report := again(seconds(103, 20))
		report.Rerated = true
		s = w.step(ocs.Update, report)
		s.Called = "999"
		if o := w.do(s); o.Refusal != "" || o.Items[0].Refusal != ocs.Unrated || o.Items[0].Debited != 400_000 {
			t.Errorf("%+v", o)
		}
		w.ledger("9.60", "0", "0.40")
	})
}

// B-078: the unit of a target stays what it was.
func TestUnitStays(t *testing.T) {
	t.Attr("proves", "B-078")
	w := voice(t)
	w.want(w.initial(ask(rgOnNet)), 0, 60, false)
	for range 3 {
		w.pass(10 * time.Second)
		if i := w.want(w.update(again(seconds(rgOnNet, 10))), 0, 60, false); i.Granted.Kind != ocs.Seconds {
			t.Errorf("%+v", i)
		}
	}
	for _, other := range []ocs.UnitKind{ocs.Octets, ocs.Events, ocs.Amount} {
		o := w.update(ocstest.For(rgOnNet, nil, ocstest.Wish(other, 5)))
		if o.Refusal != "" || o.Items[0].Refusal != ocs.UnitMismatch || o.Items[0].Granted != nil {
			t.Errorf("%v: %+v", other, o)
		}
	}
}
