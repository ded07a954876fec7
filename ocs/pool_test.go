package ocs_test

import (
	"testing"
	"time"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// pooled is a session whose two groups share a pool: 10 MB at 0.02 and 20 MB at
// 0.01 a megabyte, of an account that has nothing else left.
func pooled(t *testing.T) *world {
	t.Helper()
	w := withOptions(t, ocstest.Data, ocstest.Prepaid(400_000), ocs.ServiceOptions{Pool: true})
	o := w.initial(ocstest.For(rgVideo, nil, ocstest.Wish(ocs.Octets, 10*megabyte)),
		ocstest.For(rgData, nil, ocstest.Wish(ocs.Octets, 20*megabyte)))
	shares := make([]*ocs.PoolShare, 2)
	for n := range shares {
		if shares[n] = o.Items[n].Pool; shares[n] == nil || shares[n].ID != shares[0].ID {
			t.Fatalf("shares %+v, %+v", shares[0], o.Items[n].Pool)
		}
	}
	if shares[0].Multiplier != 2*shares[1].Multiplier {
		t.Errorf("weights %d and %d, want 2 to 1", shares[0].Multiplier, shares[1].Multiplier)
	}
	w.ledger("0", "0.40", "0")
	w.pass(time.Minute)
	return w
}

func TestPool(t *testing.T) {
	t.Run("B-099 any mix up to its worth", func(t *testing.T) {
		t.Attr("proves", "B-099")
		w := pooled(t) // 40 MB at 0.01, of which 20 MB were granted
		o := w.update(octets(rgData, 40*megabyte))
		w.ok(o)
		if o.Items[0].Overrun != 0 {
			t.Errorf("%+v", o)
		}
		w.ledger("0", "0", "0.40")
		w.ok(w.terminate(octets(rgVideo, 0)))

		w = pooled(t) // 15 MB at 0.02 and 10 MB at 0.01
		w.ok(w.update(octets(rgVideo, 15*megabyte)))
		w.ledger("0", "0.10", "0.30")
		o = w.terminate(octets(rgData, 10*megabyte))
		w.ok(o)
		if o.Items[0].Overrun != 0 || o.Cost != 400_000 {
			t.Errorf("%+v", o)
		}
		w.ledger("0", "0", "0.40")
	})
	t.Run("more than its worth is an overrun", func(t *testing.T) {
		w := pooled(t)
		if o := w.terminate(octets(rgData, 41*megabyte)); o.Items[0].Overrun != 10_000 || o.Cost != 410_000 {
			t.Errorf("%+v", o)
		}
		w.ledger("0", "0", "0.40")
	})
	t.Run("a report leaves the others' freezes", func(t *testing.T) {
		w := pooled(t)
		w.want(w.update(again(octets(rgVideo, 5*megabyte))), 0, 5*megabyte, true)
		w.ledger("0", "0.30", "0.10")
	})
	t.Run("before what is free", func(t *testing.T) {
		w := pooled(t)
		w.store.TopUp(w.account.Key, 0, 1_000_000)
		w.ok(w.update(octets(rgData, 40*megabyte)))
		w.ledger("1.00", "0", "0.40")
	})
	t.Run("not from a balance the group may not use", func(t *testing.T) {
		aimed, free := cashPot(200_000), cashPot(200_000)
		aimed.Targets = []uint32{rgVideo}
		w := withOptions(t, ocstest.Data, pots(aimed, free), ocs.ServiceOptions{Pool: true})
		w.initial(ocstest.For(rgVideo, nil, ocstest.Wish(ocs.Octets, 10*megabyte)), ocstest.For(rgData, nil, ocstest.Wish(ocs.Octets, 20*megabyte)))
		if o := w.update(octets(rgData, 30*megabyte)); o.Items[0].Overrun != 100_000 {
			t.Errorf("%+v", o)
		}
		w.ledger("0", "0.20", "0.20")
	})
	t.Run("B-100 one share in a grant, and only of a plain price", func(t *testing.T) {
		t.Attr("proves", "B-100")
		account := pots(cashPot(10_000_000), &ocs.Balance{Unit: ocs.Seconds, Amount: 900, Targets: []uint32{rgOffNet}})
		w := withOptions(t, ocstest.Data, account, ocs.ServiceOptions{Pool: true})
		money := ocstest.For(7, nil, ocstest.Wish(ocs.Amount, 5))
		o := w.initial(ask(rgOnNet), ask(rgInterval), ask(rgEvening), ask(rgOffNet), money)
		for n, pooled := range []bool{true, false, false, false, false} {
			if i := o.Items[n]; i.Granted == nil || (i.Pool != nil) != pooled {
				t.Errorf("%+v", i)
			}
		}
	})
	t.Run("only where the service has one", func(t *testing.T) {
		w := data(t)
		if o := w.initial(ask(rgData)); o.Items[0].Pool != nil {
			t.Errorf("%+v", o)
		}
	})
}
