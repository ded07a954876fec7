package ocs_test

import (
	"fmt"
	"testing"
	"time"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// Requirements on the credit-control server that the traces do not already
// name, each under its number.

func TestDuplicates(t *testing.T) {
	node := func(t *testing.T, f *fleet) *ocstest.Driver { return ocstest.Start(t, f, ocs.EngineConfig{Sweep: -1}) }
	t.Run("B-021 a copy while the original is under way", func(t *testing.T) {
		t.Attr("proves", "B-021")
		f := newFleet(t, 1)
		g := newGate()
		f.Before = func([]ocs.Want) error { g.wait(); return nil }
		d := node(t, f)
		s, answers := f.initial(0), make(chan ocs.Outcome, 2)
		d.Submit(s, func(o ocs.Outcome) { answers <- o })
		<-g.held
		d.Submit(s, func(o ocs.Outcome) { answers <- o })
		close(g.open)
		first, second := <-answers, <-answers
		if first.Replayed || !second.Replayed || *first.Items[0].Granted != *second.Items[0].Granted {
			t.Errorf("%+v, then %+v", first, second)
		}
		ocstest.MustBalance(t, f)
	})
	t.Run("B-022 B-025 copies at two nodes at once", func(t *testing.T) {
		f := newFleet(t, 50)
		one, two := node(t, f), node(t, f)
		steps := f.initials()
		atOne := make(chan []ocs.Outcome, 1)
		go func() { atOne <- one.All(steps...) }()
		b := two.All(steps...)
		for n, a := range <-atOne {
			if a.Replayed == b[n].Replayed || a.Refusal != "" || b[n].Refusal != "" {
				t.Errorf("%+v and %+v", a, b[n])
			}
		}
		ocstest.MustBalance(t, f)
		for _, key := range f.accounts {
			if _, frozen := ocstest.Totals(f.Account(key)); frozen != 600_000 {
				t.Errorf("frozen %v", frozen)
			}
		}
	})
}

func TestStateMachine(t *testing.T) {
	t.Run("B-030 B-034 B-038 accepted I, U, T", func(t *testing.T) {
		t.Attr("proves", "B-030")
		t.Attr("proves", "B-034")
		t.Attr("proves", "B-038")
		w := voice(t)
		w.want(w.initial(ocstest.For(rgOnNet, nil, ocstest.Wish(ocs.Seconds, 60))), 0, 60, false)
		w.ledger("9.40", "0.60", "0")
		if s := w.store.Session(w.id); !s.Open() || !s.Deadline.Equal(w.now.Add(600*time.Second)) {
			t.Errorf("%+v", s)
		}
		w.pass(time.Minute)
		w.want(w.update(ocstest.For(rgOnNet, ocstest.Used(ocs.Seconds, 50), ocstest.Wish(ocs.Seconds, 60))), 0, 60, false)
		w.ledger("8.90", "0.60", "0.50")
		if s := w.store.Session(w.id); !s.Deadline.Equal(w.now.Add(600 * time.Second)) {
			t.Errorf("deadline %v", s.Deadline)
		}
		w.ok(w.terminate(seconds(rgOnNet, 42)))
		w.ledger("9.08", "0", "0.92")
	})
	t.Run("B-040 B-043 Tcc", func(t *testing.T) {
		t.Attr("proves", "B-040")
		w := voice(t)
		w.initial(ask(rgOnNet))
		w.pass(600 * time.Second)
		w.do(ocs.Step{SessionID: w.id, Type: ocs.Expire})
		w.ledger("10.00", "0", "0")
		w.refused(w.update(again(seconds(rgOnNet, 60))), ocs.UnknownSession)
	})
	t.Run("B-042 only what succeeds restarts Tcc", func(t *testing.T) {
		t.Attr("proves", "B-042")
		w := voice(t)
		s := w.step(ocs.Initial, ask(rgOnNet))
		w.do(s)
		before := w.store.Session(w.id).Deadline
		w.pass(500 * time.Second)
		w.do(s)
		w.refused(w.initial(ask(rgOnNet)), ocs.SessionExists)
		if after := w.store.Session(w.id).Deadline; !after.Equal(before) {
			t.Errorf("deadline moved from %v to %v", before, after)
		}
	})
	t.Run("B-044 expiry races the report", func(t *testing.T) {
		f := newFleet(t, 1)
		policy := ocs.DefaultPolicy()
		policy.Supervision = time.Nanosecond
		one := ocstest.Start(t, f, ocs.EngineConfig{Policy: policy, Sweep: -1})
		two := ocstest.Start(t, f, ocs.EngineConfig{Policy: policy, Sweep: -1})
		var charged ocs.Money
		for range 300 {
			s := f.initial(0)
			one.Do(*s)
			raced := make(chan ocs.Outcome, 1)
			go func() { raced <- two.Do(ocs.Step{SessionID: s.SessionID, Type: ocs.Expire}) }()
			o := one.Do(ocs.Step{SessionID: s.SessionID, Type: ocs.Terminate, Number: 1, Items: []ocs.Item{seconds(rgOnNet, 1)}})
			<-raced
			switch o.Refusal {
			case "":
				charged += o.Cost
			case ocs.UnknownSession:
			default:
				t.Errorf("%+v", o)
			}
		}
		ocstest.MustBalance(t, f)
		if a, frozen := ocstest.Totals(f.Account(f.accounts[0])); a != 10_000_000-charged || frozen != 0 {
			t.Errorf("available %v, frozen %v after charging %v", a, frozen, charged)
		}
	})
}

func TestIdentities(t *testing.T) {
	raw := []struct {
		kind ocs.IdentityKind
		text string
	}{
		{ocs.E164, "+8613800000001"}, {ocs.IMSI, "460001234567890"}, {ocs.SIPURI, "sip:alice@ims.example"},
		{ocs.NAI, "alice@realm.example"}, {ocs.Private, "private-7"},
	}
	f := &fleet{Memory: ocstest.NewMemory()}
	for _, r := range raw {
		id, ok := ocs.NormalizeIdentity(r.kind, r.text)
		if !ok {
			t.Fatalf("%+v", r)
		}
		f.payers = append(f.payers, id)
	}
	f.accounts = []ocs.AccountKey{f.AddAccount(t, ocstest.Prepaid(100_000_000), f.payers...).Key}
	d := ocstest.Start(t, f, ocs.EngineConfig{Sweep: -1})
	initial := func(ids ...ocs.Identity) ocs.Outcome {
		s := f.initial(0)
		s.Payer = ids
		return d.Do(*s)
	}
	t.Run("B-053 all five kinds", func(t *testing.T) {
		for _, id := range f.payers {
			if o := initial(id); o.Refusal != "" || o.Account != f.accounts[0] {
				t.Errorf("%+v: %+v", id, o)
			}
		}
	})
	t.Run("B-054 several, in any order", func(t *testing.T) {
		t.Attr("proves", "B-054")
		for _, ids := range [][]ocs.Identity{{f.payers[0], f.payers[1]}, {f.payers[1], f.payers[0]}} {
			if o := initial(ids...); o.Account != f.accounts[0] {
				t.Errorf("%+v", o)
			}
		}
	})
	t.Run("B-056 spellings of a number", func(t *testing.T) {
		for text, want := range map[string]ocs.Refusal{
			"8613800000001": "", "+8613800000001": "", "tel:+8613800000001": "", "13800000001": ocs.UnknownSubscriber,
		} {
			id, ok := ocs.NormalizeIdentity(ocs.E164, text)
			if o := initial(id); !ok || o.Refusal != want {
				t.Errorf("%s: %+v", text, o)
			}
		}
	})
	t.Run("B-058 unknown subscriber leaves nothing", func(t *testing.T) {
		s := f.initial(0)
		s.Payer = []ocs.Identity{ocstest.NewPayer()}
		for range 2 {
			if o := d.Do(*s); o.Refusal != ocs.UnknownSubscriber || o.Replayed || f.Session(s.SessionID) != nil {
				t.Errorf("%+v", o)
			}
		}
	})
	ocstest.MustBalance(t, f)
}

func TestGrants(t *testing.T) {
	for _, c := range []struct {
		name    string
		wish    *ocs.Units
		granted int64
	}{
		{"B-070 you decide", ocstest.Wish(ocs.Unspecified, 0), 60},
		{"B-071 less than the slice", ocstest.Wish(ocs.Seconds, 30), 30},
		{"B-071 more than the slice", ocstest.Wish(ocs.Seconds, 600), 60},
		{"B-072 zero units", ocstest.Wish(ocs.Seconds, 0), 60},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := voice(t)
			w.want(w.initial(ocstest.For(rgOnNet, nil, c.wish)), 0, c.granted, false)
		})
	}
	t.Run("B-075 B-090 one result for each target", func(t *testing.T) {
		w := voice(t)
		o := w.initial(ask(rgOnNet), ask(rgOffNet), ask(rgOnNet))
		if len(o.Items) != 2 || o.Items[0].Target != "100" || o.Items[1].Target != "101" {
			t.Errorf("%+v", o.Items)
		}
		w.ledger("8.80", "1.20", "0")
	})
	t.Run("B-088 idle report keeps the session", func(t *testing.T) {
		t.Attr("proves", "B-088")
		w := voice(t)
		w.initial(ask(rgOnNet))
		w.pass(100 * time.Second)
		o := w.update(seconds(rgOnNet, 10))
		w.ok(o)
		if s := w.store.Session(w.id); o.Items[0].ValidFor != 0 || !s.Open() || !s.Deadline.Equal(w.now.Add(600*time.Second)) {
			t.Errorf("%+v, %+v", o, s)
		}
		w.ledger("9.90", "0", "0.10")
	})
	t.Run("B-216 debit and refund are the freeze and the overrun", func(t *testing.T) {
		for _, used := range []int64{0, 1, 59, 60, 61, 119, 500} {
			w := newWorld(t, ocstest.Voice, ocstest.Prepaid(1_000_000))
			i := w.want(w.initial(ask(rgInterval)), 0, 60, true)
			w.pass(time.Duration(used) * time.Second)
			o := w.terminate(seconds(rgInterval, used)).Items[0]
			if o.Debited+o.Refunded-i.Reserved < 0 || o.Debited+o.Overrun != ocstest.Price(ocstest.OffNet, used) {
				t.Error(fmt.Sprint(used), i, o)
			}
		}
	})
}
