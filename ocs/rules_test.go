package ocs_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

func TestRequestRules(t *testing.T) {
	t.Run("B-003 unknown context", func(t *testing.T) {
		w := newWorld(t, "nope@x", ocstest.Prepaid(10_000_000))
		w.refused(w.initial(ask(rgOnNet)), ocs.UnknownContext)
		if w.store.Session(w.id) != nil {
			t.Error("a session was opened")
		}
	})
	t.Run("B-006 any numbers", func(t *testing.T) {
		t.Attr("proves", "B-006")
		w := voice(t)
		w.number = 7
		w.initial(ask(rgOnNet))
		w.want(w.update(again(seconds(rgOnNet, 10))), 0, 60, false)
		w.number = 20
		w.ok(w.terminate(seconds(rgOnNet, 10)))
		w.ledger("9.80", "0", "0.20")
	})
	t.Run("B-007 out of order", func(t *testing.T) {
		t.Attr("proves", "B-007")
		w := voice(t)
		w.initial(ask(rgOnNet))
		first, second := w.step(ocs.Update, again(seconds(rgOnNet, 10))), w.step(ocs.Update, again(seconds(rgOnNet, 10)))
		w.want(w.do(second), 0, 60, false)
		w.ok(w.do(first)) // debited, and the younger grant stays
		w.ledger("9.20", "0.60", "0.20")
		if o := w.do(first); !o.Replayed {
			t.Errorf("%+v", o)
		}
		w.pass(time.Minute)
		w.ok(w.terminate(seconds(rgOnNet, 60)))
		w.ledger("9.20", "0", "0.80")
	})
	t.Run("B-007 after a final report of the target", func(t *testing.T) {
		w := voice(t)
		w.initial(ask(rgOnNet))
		first, second := w.step(ocs.Update, again(seconds(rgOnNet, 10))), w.step(ocs.Update, seconds(rgOnNet, 10))
		second.Items[0].Final = true
		w.do(second)
		w.ok(w.do(first))
		w.ledger("9.80", "0", "0.20")
	})
}

func TestRequestTimes(t *testing.T) {
	t.Run("B-010 event time", func(t *testing.T) {
		for at, want := range map[string]string{"12:00:05": "9.90", "11:59:58": "9.95", "13:30:00": "9.90"} {
			w := voice(t)
			w.at("11:59:50")
			w.initial(ask(rgEvening))
			w.at("12:00:10") // 13:30 is too far in the future to be believed
			s := w.step(ocs.Terminate, seconds(rgEvening, 5))
			s.At, _ = time.Parse(time.RFC3339, "2026-11-23T"+at+"Z")
			w.do(s)
			if a, _ := ocstest.Totals(w.store.Account(w.account.Key)); a != cash(want) {
				t.Errorf("%s: available %v, want %s", at, a, want)
			}
		}
	})
	t.Run("B-024 served, outcome gone", func(t *testing.T) {
		w := voice(t)
		w.initial(ask(rgOnNet))
		first := w.step(ocs.Update, seconds(rgOnNet, 1))
		w.do(first)
		for range ocs.OutcomesKept {
			w.update(seconds(rgOnNet, 1))
		}
		w.ledger("9.83", "0", "0.17")
		w.refused(w.do(first), ocs.OutcomeGone)
		w.ledger("9.83", "0", "0.17")
		w.number = 100
		w.update(seconds(rgOnNet, 1))
		w.number = 30 // below the window of 64
		w.refused(w.update(seconds(rgOnNet, 1)), ocs.OutcomeGone)
		w.ledger("9.82", "0", "0.18")
	})
	t.Run("B-020 numbers are counted by type", func(t *testing.T) {
		w := voice(t)
		w.initial(ask(rgOnNet))
		for _, kind := range []ocs.StepType{ocs.Update, ocs.Terminate} {
			w.number = 0
			if o := w.do(w.step(kind, seconds(rgOnNet, 5))); o.Refusal != "" || o.Replayed {
				t.Errorf("%v: %+v", kind, o)
			}
		}
		w.ledger("9.90", "0", "0.10")
	})
}

func TestSessionRules(t *testing.T) {
	t.Run("B-033 CCR-I on an open session", func(t *testing.T) {
		w := voice(t)
		w.initial(ask(rgOnNet))
		w.refused(w.initial(ask(rgOnNet)), ocs.SessionExists)
		w.ledger("9.40", "0.60", "0")
	})
	t.Run("B-046 another client", func(t *testing.T) {
		w := voice(t)
		s := w.step(ocs.Initial, ask(rgOnNet))
		s.Client = ocs.Client{Host: "a.example", Realm: "example"}
		w.do(s)
		s.Client.Host = "b.example"
		w.refused(w.do(s), ocs.SessionExists)
		u := w.step(ocs.Update, again(seconds(rgOnNet, 10)))
		u.Client = ocs.Client{Host: "b.example", Realm: "EXAMPLE"}
		w.want(w.do(u), 0, 60, false)
		if c := w.store.Session(w.id).Client; c.Host != "b.example" {
			t.Errorf("the session's client is %+v", c)
		}
		u.Number, u.Client.Realm = 9, "elsewhere"
		w.refused(w.do(u), ocs.UnknownSession)
		w.ledger("9.30", "0.60", "0.10")
	})
	t.Run("B-032 unknown session", func(t *testing.T) {
		w := voice(t)
		w.refused(w.update(seconds(rgOnNet, 60)), ocs.UnknownSession)
		w.refused(w.terminate(seconds(rgOnNet, 0)), ocs.UnknownSession)
		if n := len(w.store.Orphans()); n != 1 {
			t.Errorf("%d orphan records, want 1", n)
		}
		w.ledger("10.00", "0", "0")
	})
	t.Run("B-041 Tcc", func(t *testing.T) {
		w := data(t)
		w.initial(ask(rgData))
		if d := w.store.Session(w.id).Deadline; !d.Equal(w.now.Add(time.Hour)) {
			t.Errorf("deadline %v", d)
		}
		w.pass(time.Minute)
		w.update(again(octets(rgData, 1)))
		if d := w.store.Session(w.id).Deadline; !d.Equal(w.now.Add(time.Hour)) {
			t.Errorf("deadline %v", d)
		}
	})
}

func TestSessionParts(t *testing.T) {
	t.Run("B-050 sub-sessions", func(t *testing.T) {
		w := voice(t)
		for sub := range uint64(3) {
			s := w.step(ocs.Initial, ask(rgOnNet))
			s.SubSession, s.Number = sub, 0
			w.want(w.do(s), 0, 60, false)
		}
		w.ledger("8.20", "1.80", "0")
		s := w.step(ocs.Terminate, seconds(rgOnNet, 10))
		s.SubSession = 2
		w.ok(w.do(s))
		w.ledger("8.70", "1.20", "0.10")
	})
	t.Run("B-061 another subscriber", func(t *testing.T) {
		w := voice(t)
		w.initial(ask(rgOnNet))
		other := ocstest.NewPayer()
		w.store.AddAccount(t, ocstest.Prepaid(1_000_000), other)
		s := w.step(ocs.Update, again(seconds(rgOnNet, 10)))
		for _, id := range []ocs.Identity{other, ocstest.NewPayer()} {
			s.Payer = []ocs.Identity{id}
			w.refused(w.do(s), ocs.PayerChanged)
		}
		w.ledger("9.40", "0.60", "0")
		s.Payer = []ocs.Identity{w.payer}
		w.want(w.do(s), 0, 60, false)
	})
}

func TestUnitRules(t *testing.T) {
	t.Run("B-073 no wish, no grant", func(t *testing.T) {
		t.Attr("proves", "B-073")
		w := voice(t)
		w.initial(ask(rgOnNet))
		w.ok(w.update(seconds(rgOnNet, 60)))
		w.ledger("9.40", "0", "0.60")
		if !w.store.Session(w.id).Open() {
			t.Error("the session is closed")
		}
	})
	t.Run("B-074 CCR-T grants nothing", func(t *testing.T) {
		t.Attr("proves", "B-074")
		w := voice(t)
		w.initial(ask(rgOnNet))
		w.ok(w.terminate(again(seconds(rgOnNet, 10))))
		w.ledger("9.90", "0", "0.10")
	})
	t.Run("B-076 B-078 another unit", func(t *testing.T) {
		w := voice(t)
		o := w.initial(ocstest.For(rgOnNet, nil, ocstest.Wish(ocs.Octets, 5)))
		w.refused(o, ocs.UnitMismatch)
		w.initial(ask(rgOnNet))
		u := seconds(rgOnNet, 10)
		u.Requested = ocstest.Wish(ocs.Amount, 5)
		if o := w.update(u); o.Items[0].Refusal != ocs.UnitMismatch || o.Items[0].Granted != nil {
			t.Errorf("%+v", o)
		}
	})
	t.Run("B-077 money", func(t *testing.T) {
		t.Attr("proves", "B-077")
		w := voice(t)
		money := func(n int64) *ocs.Units { return ocstest.Wish(ocs.Amount, n) }
		w.want(w.initial(ocstest.For(rgOnNet, nil, money(2_500_000))), 0, 2_500_000, false)
		w.ledger("7.50", "2.50", "0")
		w.want(w.update(ocstest.For(rgOnNet, ocstest.Used(ocs.Amount, 1_230_001), money(8_000_000))), 0, 8_000_000, false)
		w.ledger("0.769999", "8.00", "1.230001")
		if o := w.terminate(ocstest.For(rgOnNet, ocstest.Used(ocs.Amount, 1_000_000), nil)); o.Cost != 2_230_001 {
			t.Errorf("%+v", o)
		}
		w.ledger("7.769999", "0", "2.230001")
		w.number, w.id = 0, ocstest.NewSession()
		w.refused(w.initial(ocstest.For(rgOnNet, nil, money(7_770_000))), ocs.CreditLimit)
	})
}

// Reports of more than was granted.
func TestReportRules(t *testing.T) {
	t.Run("B-080 more than granted", func(t *testing.T) {
		t.Attr("proves", "B-080")
		w := voice(t)
		w.initial(ask(rgOnNet))
		w.pass(73 * time.Second)
		w.want(w.update(again(seconds(rgOnNet, 73))), 0, 60, false)
		w.ledger("8.67", "0.60", "0.73")

		w = newWorld(t, ocstest.Voice, ocstest.Prepaid(650_000))
		w.initial(ocstest.For(rgOnNet, nil, ocstest.Wish(ocs.Seconds, 60)))
		w.pass(73 * time.Second)
		if o := w.terminate(seconds(rgOnNet, 73)); o.Items[0].Debited != 650_000 || o.Items[0].Overrun != 80_000 {
			t.Errorf("%+v", o)
		}
		w.ledger("0", "0", "0.65")
	})
	t.Run("B-080 D-017 absurd use", func(t *testing.T) {
		t.Attr("proves", "D-017")
		w := voice(t)
		w.initial(ask(rgOnNet))
		w.pass(30 * time.Second)
		if o := w.terminate(seconds(rgOnNet, 40_000_000)); o.Items[0].Capped != 39_999_970 || o.Cost != 300_000 {
			t.Errorf("%+v", o)
		}
		w.ledger("9.70", "0", "0.30")
	})
	t.Run("B-080 running totals instead of what is new", func(t *testing.T) {
		w := voice(t)
		w.initial(ask(rgOnNet))
		for _, total := range []int64{60, 120} {
			w.pass(time.Minute)
			w.want(w.update(again(seconds(rgOnNet, total))), 0, 60, false)
		}
		w.pass(time.Minute)
		if o := w.terminate(seconds(rgOnNet, 180)); o.Items[0].Capped != 180 || o.Cost != 1_800_000 {
			t.Errorf("%+v", o)
		}
		w.ledger("8.20", "0", "1.80")
	})
}

// Reports that do not match what was granted in another way than by being more.
func TestReportForms(t *testing.T) {
	t.Run("B-081 less than granted", func(t *testing.T) {
		t.Attr("proves", "B-081")
		w := voice(t)
		w.initial(ask(rgOnNet))
		w.terminate(seconds(rgOnNet, 1))
		w.ledger("9.99", "0", "0.01")
	})
	t.Run("B-082 several reports in one", func(t *testing.T) {
		t.Attr("proves", "B-082")
		w := voice(t)
		w.at("11:59:30")
		w.initial(ask(rgEvening))
		w.at("12:00:20")
		split := seconds(rgEvening, 40)
		split.Used[0].Tariff = ocs.TariffBefore
		split.Used = append(split.Used, ocs.Usage{Units: ocs.Units{Kind: ocs.Seconds, Quantity: 20}, Tariff: ocs.TariffAfter})
		w.terminate(split)
		w.ledger("9.20", "0", "0.80")
	})
	t.Run("B-084 D-023 units nobody granted", func(t *testing.T) {
		t.Attr("proves", "D-023")
		w := voice(t)
		w.initial(ask(rgOnNet))
		u := seconds(rgOnNet, 10)
		u.Used = append(ocstest.Used(ocs.Octets, 999), u.Used...)
		u.Used = append(u.Used, ocs.Usage{Units: ocs.Units{Kind: ocs.Amount, Quantity: 5}})
		w.terminate(u)
		w.ledger("9.90", "0", "0.10")
	})
	t.Run("B-085 zero use", func(t *testing.T) {
		t.Attr("proves", "B-085")
		w := voice(t)
		w.initial(ask(rgOnNet))
		w.want(w.update(again(seconds(rgOnNet, 0))), 0, 60, false)
		w.ledger("9.40", "0.60", "0")
	})
}

func TestTargetRules(t *testing.T) {
	t.Run("B-087 FINAL", func(t *testing.T) {
		t.Attr("proves", "B-087")
		w := voice(t)
		w.initial(ask(rgOnNet), ask(rgOffNet))
		end := again(seconds(rgOffNet, 10))
		end.Final = true
		w.ok(w.update(end))
		w.ledger("9.30", "0.60", "0.10")
	})
	t.Run("B-089 exposure", func(t *testing.T) {
		t.Attr("proves", "B-089")
		w := voice(t)
		w.initial(ask(rgOnNet))
		w.want(w.update(again(seconds(rgOnNet, 50))), 0, 60, false)
		w.ledger("8.90", "0.60", "0.50")
	})
	t.Run("B-096 B-097 new groups in an update", func(t *testing.T) {
		t.Attr("proves", "B-096")
		w := voice(t)
		w.initial(ask(rgOnNet))
		o := w.update(ask(rgOffNet), ask(999), ask(rgFree))
		w.want(o, 0, 60, false)
		if o.Items[1].Refusal != ocs.Unrated || o.Items[2].Refusal != ocs.Free {
			t.Errorf("%+v", o.Items)
		}
		w.ledger("8.80", "1.20", "0")
	})
	t.Run("B-098 two items of one target", func(t *testing.T) {
		t.Attr("proves", "B-098")
		w := voice(t)
		w.initial(ask(rgOnNet))
		o := w.update(seconds(rgOnNet, 10), again(seconds(rgOnNet, 5)))
		w.want(o, 0, 60, false)
		if len(o.Items) != 1 {
			t.Errorf("%d items answered", len(o.Items))
		}
		w.ledger("9.25", "0.60", "0.15")
	})
}

func TestItemRules(t *testing.T) {
	t.Run("B-152 one free item", func(t *testing.T) {
		w := voice(t)
		o := w.initial(ask(rgFree), ask(rgOnNet))
		w.want(o, 1, 60, false)
		if o.Items[0].Refusal != ocs.Free {
			t.Errorf("%+v", o.Items[0])
		}
	})
	t.Run("quantities nobody can mean", func(t *testing.T) {
		w := data(t)
		w.initial(ask(rgData))
		for _, n := range []int64{math.MaxInt64, -5, math.MinInt64} {
			if o := w.update(again(octets(rgData, n))); o.Items[0].Refusal != ocs.UnitMismatch {
				t.Errorf("%d: %+v", n, o)
			}
		}
		if o := w.update(ocstest.For(rgData, nil, ocstest.Wish(ocs.Octets, -1))); o.Items[0].Refusal != ocs.UnitMismatch {
			t.Errorf("%+v", o)
		}
		w.ledger("20.00", "0", "0")
	})
	t.Run("targets are bounded", func(t *testing.T) {
		w := newWorld(t, ocstest.Voice, ocstest.Prepaid(1_000_000_000))
		w.initial()
		var last ocs.Outcome
		for n := range ocs.TargetsMax + 1 {
			i := ask(rgOnNet)
			i.Target = ocs.Target(fmt.Sprintf("100/%d", n))
			last = w.Do(w.step(ocs.Update, i))
		}
		if last.Items[0].Refusal != ocs.Internal {
			t.Errorf("%+v", last)
		}
	})
}

// B-215 through the whole engine: reports of any size cost what they cost at
// once, with a connection fee and minutes begun.
func TestSplitReports(t *testing.T) {
	for _, reports := range [][]int64{{130}, {7, 53, 70}, {60, 60, 10}, {1, 1, 1, 127}} {
		w := voice(t)
		w.initial(ask(rgInterval))
		for _, n := range reports {
			w.pass(time.Duration(n) * time.Second)
			w.update(again(seconds(rgInterval, n)))
		}
		w.terminate(seconds(rgInterval, 0))
		w.ledger("8.15", "0", "1.85")
	}
}

func TestPolicyCheck(t *testing.T) {
	for name, change := range map[string]func(*ocs.Policy){
		"slice":     func(p *ocs.Policy) { p.SliceSeconds = 0 },
		"minimum":   func(p *ocs.Policy) { p.MinimumOctets = p.SliceOctets + 1 },
		"too large": func(p *ocs.Policy) { p.SliceOctets = 1 << 62 },
		"money":     func(p *ocs.Policy) { p.SliceMoney = 0 },
		"validity":  func(p *ocs.Policy) { p.Validity = 29 * time.Second },
		"retention": func(p *ocs.Policy) { p.Retention = 0 },
		"tolerance": func(p *ocs.Policy) { p.ClockTolerance = -1 },
	} {
		p := ocs.DefaultPolicy()
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
		change(&p)
		if p.Check() == nil {
			t.Errorf("%s: not refused", name)
		}
	}
}

// A price withdrawn from the tariff still ends the sessions that began with it.
func TestPinnedPrice(t *testing.T) {
	price := func(version int, price ocs.Money, from time.Time) ocs.TariffEntry {
		return ocs.TariffEntry{ID: "on-net", Version: version, Service: ocs.AnyService, RatingGroup: rgOnNet,
			Unit: ocs.Seconds, Currency: ocstest.Currency, Price: price, ValidFrom: from}
	}
	contexts := []ocs.ServiceContext{{Name: ocstest.Voice}}
	w := voice(t)
	change := w.now.Add(10 * time.Second)
	both, err := ocs.NewTariff([]ocs.TariffEntry{price(1, 10_000, time.Time{}), price(2, 50_000, change)}, contexts)
	if err != nil {
		t.Fatal(err)
	}
	current := both
	w.Driver = ocstest.StartWith(t, w.store, func() *ocs.Tariff { return current }, ocs.EngineConfig{Sweep: -1})
	w.initial(ask(rgOnNet))
	w.pass(30 * time.Second)
	w.update(again(seconds(rgOnNet, 30)))
	w.ledger("9.10", "0.60", "0.30")
	if current, err = ocs.NewTariff([]ocs.TariffEntry{price(2, 50_000, time.Time{})}, contexts); err != nil {
		t.Fatal(err)
	}
	w.terminate(seconds(rgOnNet, 0))
	w.ledger("9.70", "0", "0.30")
}
