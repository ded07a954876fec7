package ocs_test

import (
	"testing"
	"time"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// B-110: a grant is valid for at least half a minute, however soon the account or
// a balance ends; B-041: the session is supervised for twice the largest validity.
func TestValidityAndSupervision(t *testing.T) {
	ending := func(d time.Duration) *world {
		soon := cashPot(1_000_000)
		soon.Targets, soon.ValidUntil = []uint32{rgData}, morning.Add(d)
		w := newWorld(t, ocstest.Data, pots(soon, cashPot(10_000_000)))
		base := fixtureTariff(t)
		contexts := base.Contexts()
		for i := range contexts {
			contexts[i].Validity, contexts[i].Supervision = 900*time.Second, 0
		}
		tariff, err := ocs.NewTariff(base.Entries(), contexts)
		if err != nil {
			t.Fatal(err)
		}
		w.Driver = ocstest.StartWith(t, w.store, func() *ocs.Tariff { return tariff }, ocs.EngineConfig{Sweep: -1})
		return w
	}
	t.Run("B-041 300 s and 900 s", func(t *testing.T) {
		t.Attr("proves", "B-041")
		w := ending(300 * time.Second)
		o := w.initial(ask(rgData), ask(rgVideo))
		if a, b := w.want(o, 0, 100*megabyte, false), w.want(o, 1, 100*megabyte, false); a.ValidFor != 300*time.Second || b.ValidFor != 900*time.Second {
			t.Errorf("valid for %v and %v", a.ValidFor, b.ValidFor)
		}
		if d := w.store.Session(w.id).Deadline; !d.Equal(w.now.Add(1800 * time.Second)) {
			t.Errorf("supervised for %v", d.Sub(w.now))
		}
		w = voice(t)
		w.initial(ask(rgOnNet))
		if d := w.store.Session(w.id).Deadline; !d.Equal(w.now.Add(600 * time.Second)) {
			t.Errorf("supervised for %v", d.Sub(w.now))
		}
	})
	t.Run("B-110 never less than the least", func(t *testing.T) {
		for _, d := range []time.Duration{time.Second, 29 * time.Second, 31 * time.Second} {
			w := ending(d)
			if i := w.want(w.initial(ask(rgData)), 0, 100*megabyte, false); i.ValidFor != max(d, ocs.ValidityMin) {
				t.Errorf("%v: valid for %v", d, i.ValidFor)
			}
			w.pass(10 * time.Second)
			w.terminate(octets(rgData, 100*megabyte)) // what was frozen is debited, over or not
			w.ledger("10.00", "0", "1.00")
		}
	})
}

// B-121: a volume grant across a change of price is frozen at the dearer one.
func TestVolumeAcrossASwitch(t *testing.T) {
	t.Attr("proves", "B-121")
	w := newWorld(t, ocstest.Data, ocstest.Prepaid(1_000_000))
	w.at("11:58:00")
	i := w.want(w.initial(ask(rgDataSwitch)), 0, 50*megabyte, true)
	if want := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC); !i.SwitchAt.Equal(want) {
		t.Errorf("switch at %v", i.SwitchAt)
	}
	w.ledger("0", "1.00", "0")
}

// B-120, B-124: seconds are split by the clock, at the very second; no switch is
// announced.
func TestSecondsAcrossASwitch(t *testing.T) {
	t.Attr("proves", "B-120")
	t.Attr("proves", "B-124")
	w := voice(t)
	w.at("11:59:40")
	if i := w.want(w.initial(ask(rgEvening)), 0, 60, false); !i.SwitchAt.IsZero() {
		t.Errorf("%+v", i)
	}
	w.at("11:59:50")
	w.want(w.update(again(seconds(rgEvening, 0))), 0, 60, false)
	w.at("12:00:10") // 10 s at 0.01, 10 s at 0.02
	if o := w.terminate(seconds(rgEvening, 20)); o.Cost != 300_000 {
		t.Errorf("%+v", o)
	}
	w.ledger("9.70", "0", "0.30")
}

// B-010: the Event-Timestamp dates the use, not when it comes.
func TestEventTimestampDatesTheUse(t *testing.T) {
	t.Attr("proves", "B-010")
	for _, c := range []struct{ event, arrives, cost string }{
		{"11:59:58", "12:00:03", "0.05"}, // used before the switch
		{"12:00:05", "12:00:06", "0.10"},
		{"13:30:00", "12:00:06", "0.10"}, // too far ahead to be believed: it counts as now
		{"", "12:00:06", "0.10"},
	} {
		w := voice(t)
		w.at("11:59:50")
		w.initial(ask(rgEvening))
		w.at(c.arrives)
		s := w.step(ocs.Terminate, seconds(rgEvening, 5))
		s.At = time.Time{}
		if c.event != "" {
			at, err := time.Parse(time.RFC3339, "2026-11-23T"+c.event+"Z")
			if err != nil {
				t.Fatal(err)
			}
			s.At = at
		}
		if o := w.do(s); o.Cost != cash(c.cost) {
			t.Errorf("%+v: cost %v", c, o.Cost)
		}
	}
}
