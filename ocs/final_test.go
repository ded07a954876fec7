package ocs_test

import (
	"testing"
	"time"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// withOptions is a world whose services have options.
func withOptions(t *testing.T, service string, account ocs.Account, options ocs.ServiceOptions) *world {
	t.Helper()
	w := newWorld(t, service, account)
	base := fixtureTariff(t)
	contexts := base.Contexts()
	switch options.FinalAction {
	case ocs.FinalRedirect:
		options.Redirect = &ocs.Redirect{Type: 2, Address: "http://topup.example"}
	case ocs.FinalRestrict:
		options.FilterIDs = []string{"walled-garden"}
	}
	for i := range contexts {
		contexts[i].ServiceOptions = options
	}
	tariff, err := ocs.NewTariff(base.Entries(), contexts)
	if err != nil {
		t.Fatal(err)
	}
	w.Driver = ocstest.StartWith(t, w.store, func() *ocs.Tariff { return tariff }, ocs.EngineConfig{Sweep: -1})
	return w
}

// empty is the report of a client that waits: neither use nor a wish.
func empty(group uint32) ocs.Item { return ocstest.For(group, nil, nil) }

func TestAfterFinalUnits(t *testing.T) {
	// starve brings a session to where its final units are used up.
	starve := func(t *testing.T, options ocs.ServiceOptions) *world {
		w := withOptions(t, ocstest.Voice, ocstest.Prepaid(200_000), options)
		w.want(w.initial(ask(rgOnNet)), 0, 20, true)
		w.pass(20 * time.Second)
		o := w.update(seconds(rgOnNet, 20))
		w.ok(o)
		if v := o.Items[0].ValidFor; v != 300*time.Second {
			t.Errorf("the answer to the final report is valid for %v", v)
		}
		w.ledger("0", "0", "0.20")
		return w
	}
	t.Run("B-134 nothing is reserved", func(t *testing.T) {
		t.Attr("proves", "B-134")
		starve(t, ocs.ServiceOptions{})
		starve(t, ocs.ServiceOptions{FinalAction: ocs.FinalRedirect})
	})
	t.Run("B-135 B-138 tried again when the validity ends", func(t *testing.T) {
		t.Attr("proves", "B-135")
		t.Attr("proves", "B-138")
		w := starve(t, ocs.ServiceOptions{})
		w.pass(300 * time.Second)
		if o := w.update(empty(rgOnNet)); o.Refusal != "" || o.Items[0].Refusal != ocs.NoBalance || o.Items[0].Granted != nil {
			t.Errorf("still empty: %+v", o)
		}
		w.pass(300 * time.Second)
		w.store.TopUp(w.account.Key, 0, 5_000_000)
		w.want(w.update(empty(rgOnNet)), 0, 60, false)
		w.ledger("4.40", "0.60", "0.20")
	})
	t.Run("B-197 asked for with a wish", func(t *testing.T) {
		w := starve(t, ocs.ServiceOptions{})
		w.store.TopUp(w.account.Key, 0, 5_000_000)
		w.want(w.update(ask(rgOnNet)), 0, 60, false)
	})
	t.Run("D-052 the group left out", func(t *testing.T) {
		w := starve(t, ocs.ServiceOptions{FinalAction: ocs.FinalRedirect})
		w.store.TopUp(w.account.Key, 0, 5_000_000)
		item := empty(rgOnNet)
		item.Target = ""
		w.want(w.update(item), 0, 60, false)
	})
	t.Run("an empty report of a group with credit is no wish", func(t *testing.T) {
		w := voice(t)
		w.initial(ask(rgOnNet))
		o := w.update(empty(rgOnNet))
		w.ok(o)
		if o.Items[0].ValidFor != 0 {
			t.Errorf("valid for %v", o.Items[0].ValidFor)
		}
		w.ledger("10.00", "0", "0")
	})
	t.Run("a group that ended by FINAL waits for nothing", func(t *testing.T) {
		w := starve(t, ocs.ServiceOptions{})
		end := empty(rgOnNet)
		end.Final = true
		w.ok(w.update(end))
		w.store.TopUp(w.account.Key, 0, 5_000_000)
		w.ok(w.update(empty(rgOnNet)))
		w.ledger("5.00", "0", "0.20")
	})
}

func TestNoCreditInMidSession(t *testing.T) {
	// drain has an update find nothing left.
	drain := func(t *testing.T, service string, options ocs.ServiceOptions) ocs.ItemOutcome {
		w := withOptions(t, service, ocstest.Prepaid(600_000), options)
		w.initial(ocstest.For(7, nil, ocstest.Wish(ocs.Amount, 600_000)))
		o := w.update(ask(rgOnNet))
		if o.Refusal != "" || len(o.Items) != 1 {
			t.Fatalf("%+v", o)
		}
		w.ledger("0", "0.60", "0")
		return o.Items[0]
	}
	t.Run("a code alone", func(t *testing.T) {
		i := drain(t, ocstest.Voice, ocs.ServiceOptions{})
		if i.Refusal != ocs.NotAvailable || i.Granted != nil || i.Final || i.ValidFor != 0 {
			t.Errorf("%+v", i)
		}
	})
	t.Run("B-136 zero units and the end", func(t *testing.T) {
		t.Attr("proves", "B-136")
		i := drain(t, ocstest.Voice, ocs.ServiceOptions{ZeroGrant: true})
		if i.Refusal != "" || i.Granted == nil || i.Granted.Quantity != 0 || !i.Final || i.FinalAction != ocs.FinalTerminate || i.ValidFor != 0 {
			t.Errorf("%+v", i)
		}
	})
	t.Run("B-132 the code and where to go", func(t *testing.T) {
		i := drain(t, ocstest.Data, ocs.ServiceOptions{FinalAction: ocs.FinalRedirect})
		if i.Refusal != ocs.NotAvailable || i.Granted != nil || !i.Final || i.FinalAction != ocs.FinalRedirect || i.ValidFor == 0 {
			t.Errorf("%+v", i)
		}
	})
	t.Run("zero units and where to go", func(t *testing.T) {
		i := drain(t, ocstest.Data, ocs.ServiceOptions{ZeroGrant: true, FinalAction: ocs.FinalRestrict})
		if i.Refusal != "" || i.Granted == nil || i.Granted.Quantity != 0 || i.FinalAction != ocs.FinalRestrict || i.ValidFor == 0 {
			t.Errorf("%+v", i)
		}
	})
}

func TestNoCreditAtTheStart(t *testing.T) {
	t.Run("B-137 voice is refused whatever the final action", func(t *testing.T) {
		t.Attr("proves", "B-137")
		for _, options := range []ocs.ServiceOptions{{}, {ZeroGrant: true}, {ZeroGrant: true, FinalAction: ocs.FinalRedirect}} {
			w := withOptions(t, ocstest.Voice, ocstest.Prepaid(0), options)
			o := w.initial(ask(rgOnNet))
			w.refused(o, ocs.NoBalance)
			for _, i := range o.Items {
				if i.Final {
					t.Errorf("%+v", i)
				}
			}
		}
	})
	t.Run("B-095 data is told where to go, and revived", func(t *testing.T) {
		t.Attr("proves", "B-095")
		for _, action := range []ocs.FinalAction{ocs.FinalTerminate, ocs.FinalRedirect} {
			w := withOptions(t, ocstest.Data, ocstest.Prepaid(0), ocs.ServiceOptions{FinalAction: action, ZeroGrant: true})
			o := w.initial(ask(rgData))
			i := o.Items[0]
			if redirected := action == ocs.FinalRedirect; o.Refusal != "" || i.Refusal != ocs.NoBalance || i.Granted != nil ||
				i.Final != redirected || i.FinalAction != action || (i.ValidFor > 0) != redirected {
				t.Errorf("%v: %+v", action, o)
			}
			if s := w.store.Session(w.id); s == nil || !s.Open() {
				t.Error("the session is not open")
			}
			w.store.TopUp(w.account.Key, 0, 20_000_000)
			w.want(w.update(ask(rgData)), 0, 100*megabyte, false)
		}
		w := newWorld(t, ocstest.Voice, ocstest.Prepaid(0))
		w.refused(w.initial(ask(rgOnNet)), ocs.NoBalance)
		if w.store.Session(w.id) != nil {
			t.Error("voice has opened a session")
		}
	})
	t.Run("a final grant says what follows", func(t *testing.T) {
		w := withOptions(t, ocstest.Data, ocstest.Prepaid(200_000), ocs.ServiceOptions{FinalAction: ocs.FinalRestrict})
		if i := w.want(w.initial(ask(rgData)), 0, 20*megabyte, true); i.FinalAction != ocs.FinalRestrict {
			t.Errorf("%+v", i)
		}
	})
}

// B-140: what is less than the least useful grant is refused, or folded into the
// grant before it.
func TestLeastUsefulGrant(t *testing.T) {
	t.Attr("proves", "B-140")
	w := newWorld(t, ocstest.Voice, ocstest.Prepaid(30_000))
	w.refused(w.initial(ask(rgOnNet)), ocs.CreditLimit)
	w = newWorld(t, ocstest.Voice, ocstest.Prepaid(620_000))
	w.want(w.initial(ask(rgOnNet)), 0, 62, true)
	w.ledger("0", "0.62", "0")
}
