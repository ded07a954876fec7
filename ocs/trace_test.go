package ocs_test

import (
	"testing"
	"time"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// The ledger lines of the conformance traces 1 to 12.

func TestTrace1NormalCall(t *testing.T) {
	w := voice(t)
	i := w.want(w.initial(ask(rgOnNet)), 0, 60, false)
	if i.ValidFor != 300*time.Second || i.Threshold != 10 {
		t.Errorf("valid for %v, threshold %d", i.ValidFor, i.Threshold)
	}
	w.ledger("9.40", "0.60", "0")
	w.at("08:01:02")
	o := w.update(again(seconds(rgOnNet, 50)))
	w.want(o, 0, 60, false)
	if o.Cost != 500_000 || o.Items[0].Debited != 500_000 || o.Items[0].Refunded != 100_000 || o.Items[0].Reserved != 600_000 {
		t.Errorf("%+v", o)
	}
	w.ledger("8.90", "0.60", "0.50")
	w.at("08:01:44")
	o = w.terminate(seconds(rgOnNet, 42))
	w.ok(o)
	if o.Cost != 920_000 || o.Available != 9_080_000 || o.Currency != 156 {
		t.Errorf("%+v", o)
	}
	w.ledger("9.08", "0", "0.92")
	if w.store.Session(w.id).Open() {
		t.Error("the session is still open")
	}
}

func TestTrace2Refused(t *testing.T) {
	change := func(f func(*ocs.Account)) func(*world) {
		return func(w *world) { w.store.Change(w.account.Key, f) }
	}
	for _, c := range []struct {
		name    string
		balance string
		before  func(*world)
		group   uint32
		want    ocs.Refusal
	}{
		{"B-140 three seconds", "0.03", nil, rgOnNet, ocs.CreditLimit},
		{"B-031 B-137 nothing at all", "0", nil, rgOnNet, ocs.NoBalance},
		{"B-150 blocked", "10", change(func(a *ocs.Account) { a.Blocked = &ocs.Flag{} }), rgOnNet, ocs.Blocked},
		{"lost before blocked", "10", change(func(a *ocs.Account) { a.Lost, a.Blocked = &ocs.Flag{}, &ocs.Flag{} }), rgOnNet, ocs.Lost},
		{"closed before lost", "10", change(func(a *ocs.Account) { a.Lost, a.Closed = &ocs.Flag{}, true }), rgOnNet, ocs.Closed},
		{"not yet valid", "10", change(func(a *ocs.Account) { a.ValidFrom = morning.Add(time.Second) }), rgOnNet, ocs.NotYetValid},
		{"expired at the very second", "10", change(func(a *ocs.Account) { a.ValidUntil = morning }), rgOnNet, ocs.Expired},
		{"below threshold", "0.99", change(func(a *ocs.Account) { a.Threshold = 1_000_000 }), rgOnNet, ocs.BelowThreshold},
		{"threshold met exactly", "1.00", change(func(a *ocs.Account) { a.Threshold = 1_000_000 }), rgOnNet, ""},
		{"B-151 free number", "10", nil, rgFree, ocs.Free},
		{"B-154 no price", "10", nil, 999, ocs.Unrated},
		{"B-154 no price for the prefix", "10", nil, 103, ocs.Unrated},
		{"money of another service", "10", change(func(a *ocs.Account) { a.Balances[0].Services = []string{"other@x"} }), rgOnNet, ocs.NotAvailable},
		{"money of another target", "10", change(func(a *ocs.Account) { a.Balances[0].Targets = []uint32{5} }), rgOnNet, ocs.NotAvailable},
		{"balance expired", "10", change(func(a *ocs.Account) { a.Balances[0].ValidUntil = morning }), rgOnNet, ocs.NoBalance},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, ocstest.Voice, ocstest.Prepaid(cash(c.balance)))
			if c.before != nil {
				c.before(w)
			}
			s := w.step(ocs.Initial, ask(c.group))
			o := w.do(s)
			if c.want == "" {
				w.want(o, 0, 60, false)
				return
			}
			w.refused(o, c.want)
			w.ledger(c.balance, "0", "0")
			if w.store.Session(w.id) != nil {
				t.Error("a refused first request left a session")
			}
			if o := w.update(seconds(rgOnNet, 5)); o.Refusal != ocs.UnknownSession {
				t.Errorf("the update after it: %q", o.Refusal)
			}
			w.store.TopUp(w.account.Key, 0, 50_000_000)
			if o := w.do(s); o.Refusal != c.want || !o.Replayed {
				t.Errorf("repeated after a top-up: %+v", o)
			}
		})
	}
}

func TestTrace2fDataRefusedInItems(t *testing.T) {
	w := newWorld(t, ocstest.Data, ocstest.Prepaid(0))
	o := w.initial(ask(rgData))
	if o.Refusal != "" || o.Items[0].Refusal != ocs.NoBalance {
		t.Fatalf("%+v", o)
	}
	if s := w.store.Session(w.id); s == nil || !s.Open() {
		t.Error("the session is not open")
	}
	w.store.TopUp(w.account.Key, 0, 20_000_000)
	w.want(w.update(ask(rgData)), 0, 100*megabyte, false)
}

func TestTrace3FinalUnit(t *testing.T) {
	w := newWorld(t, ocstest.Voice, ocstest.Prepaid(1_000_000))
	w.want(w.initial(ask(rgOnNet)), 0, 60, false)
	w.ledger("0.40", "0.60", "0")
	w.pass(62 * time.Second)
	if i := w.want(w.update(again(seconds(rgOnNet, 50))), 0, 50, true); i.Threshold != 0 {
		t.Errorf("a final grant has the threshold %d", i.Threshold)
	}
	w.ledger("0", "0.50", "0.50")
	w.pass(50 * time.Second)
	if o := w.terminate(seconds(rgOnNet, 50)); o.Cost != 1_000_000 {
		t.Errorf("%+v", o)
	}
	w.ledger("0", "0", "1.00")
}

func TestTrace3bEmptiedByAnother(t *testing.T) {
	w := newWorld(t, ocstest.Voice, ocstest.Prepaid(1_000_000))
	w.initial(ask(rgOnNet))
	other := w.step(ocs.Initial, ocstest.For(rgOnNet, nil, ocstest.Wish(ocs.Amount, 400_000)))
	other.SessionID = ocstest.NewSession()
	w.do(other)
	w.ledger("0", "1.00", "0")
	o := w.update(again(seconds(rgOnNet, 60)))
	if o.Refusal != "" || o.Items[0].Refusal != ocs.NotAvailable || o.Items[0].Granted != nil {
		t.Errorf("%+v", o)
	}
	w.ledger("0", "0.40", "0.60")
	w.ok(w.terminate(seconds(rgOnNet, 0)))
}

func TestTrace3dOverrun(t *testing.T) {
	w := newWorld(t, ocstest.Voice, ocstest.Prepaid(500_000))
	w.want(w.initial(ask(rgOnNet)), 0, 50, true)
	o := w.terminate(seconds(rgOnNet, 53))
	if o.Refusal != "" || o.Cost != 530_000 || o.Items[0].Overrun != 30_000 || o.Items[0].Debited != 500_000 {
		t.Errorf("%+v", o)
	}
	w.ledger("0", "0", "0.50")
	if a := w.store.Account(w.account.Key); a.Debt != 30_000 {
		t.Errorf("debt %v", a.Debt)
	}
}

func TestTrace3eFoldIn(t *testing.T) {
	for _, c := range []struct {
		balance  string
		asked    int64
		quantity int64
		final    bool
	}{
		{"0.62", 0, 62, true},
		{"0.64", 0, 64, true},
		{"0.65", 0, 60, false},
		{"0.60", 0, 60, true},
		{"0.20", 60, 20, true},
		{"0.05", 0, 5, true},
		{"10", 30, 30, false},
		{"10", 600, 60, false},
		{"0.62", 600, 62, true},
		{"0.32", 30, 30, true},
		{"10", 2, 2, false},
	} {
		w := newWorld(t, ocstest.Voice, ocstest.Prepaid(cash(c.balance)))
		w.want(w.initial(ocstest.For(rgOnNet, nil, ocstest.Wish(ocs.Seconds, c.asked))), 0, c.quantity, c.final)
	}
}

func TestTrace4TopUp(t *testing.T) {
	w := newWorld(t, ocstest.Voice, ocstest.Prepaid(1_000_000))
	w.initial(ask(rgOnNet))
	w.pass(50 * time.Second)
	w.want(w.update(again(seconds(rgOnNet, 50))), 0, 50, true)
	w.store.TopUp(w.account.Key, 0, 5_000_000)
	w.ledger("5.00", "0.50", "0.50")
	w.pass(20 * time.Second)
	w.want(w.update(again(seconds(rgOnNet, 20))), 0, 60, false)
	w.ledger("4.70", "0.60", "0.70")
}

func TestTrace5BlockedInMidCall(t *testing.T) {
	t.Run("5a CCR-T", func(t *testing.T) {
		w := voice(t)
		w.initial(ask(rgOnNet))
		w.store.Block(t, w.account.Key)
		w.pass(33 * time.Second)
		w.ok(w.terminate(seconds(rgOnNet, 33)))
		w.ledger("9.67", "0", "0.33")
	})
	t.Run("5b B-035 B-036 CCR-U", func(t *testing.T) {
		w := voice(t)
		w.initial(ask(rgOnNet), ask(rgOffNet))
		w.store.Block(t, w.account.Key)
		w.pass(33 * time.Second)
		w.refused(w.update(again(seconds(rgOnNet, 33))), ocs.Blocked)
		w.ledger("9.67", "0", "0.33")
		w.pass(3 * time.Second)
		last := w.step(ocs.Terminate, seconds(rgOnNet, 3))
		w.ok(w.do(last))
		w.ledger("9.64", "0", "0.36")
		if o := w.do(last); !o.Replayed || o.Refusal != "" {
			t.Errorf("repeated: %+v", o)
		}
		w.refused(w.terminate(seconds(rgOnNet, 3)), ocs.UnknownSession)
	})
	t.Run("B-036 too late", func(t *testing.T) {
		w := voice(t)
		w.initial(ask(rgOnNet))
		w.store.Block(t, w.account.Key)
		w.update(again(seconds(rgOnNet, 33)))
		w.pass(60 * time.Second)
		w.refused(w.terminate(seconds(rgOnNet, 3)), ocs.UnknownSession)
		if n := len(w.store.Orphans()); n != 1 {
			t.Errorf("%d orphan records", n)
		}
	})
	t.Run("B-200 data", func(t *testing.T) {
		w := data(t)
		w.initial(ask(rgData))
		w.store.Block(t, w.account.Key)
		o := w.update(again(octets(rgData, 33*megabyte)))
		if o.Refusal != "" || o.Items[0].Refusal != ocs.Blocked || o.Items[0].Granted != nil {
			t.Errorf("%+v", o)
		}
		w.ledger("19.67", "0", "0.33")
		w.ok(w.terminate(octets(rgData, 0)))
	})
}

func TestTrace6Repeats(t *testing.T) {
	w := voice(t)
	first := w.step(ocs.Initial, ask(rgOnNet))
	w.do(first)
	w.pass(50 * time.Second)
	update := w.step(ocs.Update, again(seconds(rgOnNet, 50)))
	w.do(update)
	w.ledger("8.90", "0.60", "0.50")
	deadline := w.store.Session(w.id).Deadline
	w.pass(20 * time.Second)
	for _, s := range []ocs.Step{first, update} {
		if o := w.do(s); !o.Replayed || o.Items[0].Granted.Quantity != 60 {
			t.Errorf("%+v", o)
		}
	}
	w.ledger("8.90", "0.60", "0.50")
	if !w.store.Session(w.id).Deadline.Equal(deadline) {
		t.Error("B-042: a repeat renewed the deadline")
	}
	other := update
	other.Content, other.Items = [16]byte{1}, []ocs.Item{again(seconds(rgOnNet, 90))}
	if o := w.do(other); !o.Replayed || !o.Mismatch || o.Cost != 500_000 {
		t.Errorf("B-023: %+v", o)
	}
	last := w.step(ocs.Terminate, seconds(rgOnNet, 10))
	w.do(last)
	w.pass(23 * time.Hour)
	if o := w.do(last); !o.Replayed || o.Cost != 600_000 {
		t.Errorf("6g: %+v", o)
	}
	if o := w.do(update); !o.Replayed || o.Items[0].Granted == nil {
		t.Errorf("an update repeated after the end: %+v", o)
	}
	w.ledger("9.40", "0", "0.60")
}

func TestTrace7TwoRatingGroups(t *testing.T) {
	t.Attr("proves", "B-101")
	w := data(t)
	o := w.initial(ask(rgData), ask(rgVideo))
	for n := range 2 {
		if i := w.want(o, n, 100*megabyte, false); i.ValidFor != 1800*time.Second || i.Threshold != 10*megabyte {
			t.Errorf("%+v", i)
		}
	}
	w.ledger("17.00", "3.00", "0")
	w.want(w.update(again(octets(rgVideo, 90*megabyte))), 0, 100*megabyte, false)
	w.ledger("15.20", "3.00", "1.80")

	both := []ocs.Step{w.step(ocs.Update, again(octets(rgData, 90*megabyte))), w.step(ocs.Update, ask(30))}
	outcomes := w.All(&both[1], &both[0]) // U#3 overtakes U#2 (B-101)
	if outcomes[0].Refusal != "" || outcomes[0].Items[0].Refusal != ocs.Unrated {
		t.Errorf("rating group 30: %+v", outcomes[0])
	}
	w.want(outcomes[1], 0, 100*megabyte, false)
	w.ledger("14.30", "3.00", "2.70")

	w.ok(w.update(octets(rgData, 5*megabyte))) // idle: no wish for quota (B-088)
	w.ledger("15.25", "2.00", "2.75")
	w.ok(w.terminate(octets(rgVideo, 30*megabyte)))
	w.ledger("16.65", "0", "3.35")
}

func TestTrace7Variants(t *testing.T) {
	t.Run("7b D-058 one of two groups terminated", func(t *testing.T) {
		t.Attr("proves", "D-058")
		w := data(t)
		w.initial(ask(rgData), ask(rgVideo))
		if o := w.terminate(octets(rgData, 10*megabyte)); len(o.Items) != 1 {
			t.Errorf("%+v", o)
		}
		w.ledger("19.90", "0", "0.10")
	})
	t.Run("7d B-037 money for one group", func(t *testing.T) {
		w := newWorld(t, ocstest.Data, ocstest.Prepaid(1_000_000))
		o := w.initial(ask(rgData), ask(rgVideo))
		w.want(o, 0, 100*megabyte, true)
		if o.Items[1].Refusal != ocs.NotAvailable {
			t.Errorf("%+v", o.Items[1])
		}
		w.ledger("0", "1.00", "0")
	})
	t.Run("7e D-034 group and service", func(t *testing.T) {
		t.Attr("proves", "D-034")
		for _, c := range [][2]ocs.Target{{"10", "10/7"}, {"10/7", "10"}} {
			w := data(t)
			granted, reported := ask(rgData), octets(rgData, 10*megabyte)
			granted.Target, reported.Target = c[0], c[1]
			w.initial(granted)
			if o := w.terminate(reported); o.Cost != 100_000 || o.Items[0].Target != c[1] {
				t.Errorf("%+v", o)
			}
			w.ledger("19.90", "0", "0.10")
		}
	})
	t.Run("B-091 four buckets", func(t *testing.T) {
		t.Attr("proves", "B-091")
		w := data(t)
		var items []ocs.Item
		for _, target := range []ocs.Target{"10", "/7", "10/7", "10/7,8"} {
			i := ask(rgData)
			i.Target = target
			items = append(items, i)
		}
		if o := w.initial(items...); len(o.Items) != 4 {
			t.Errorf("%+v", o)
		}
		w.ledger("16.00", "4.00", "0")
	})
}

func TestTrace10Restart(t *testing.T) {
	w := voice(t)
	w.initial(ask(rgOnNet))
	deadline := w.store.Session(w.id).Deadline
	tariff := fixtureTariff(t)
	w.Driver = ocstest.StartWith(t, w.store, func() *ocs.Tariff { return tariff }, ocs.EngineConfig{Sweep: -1})
	if !w.store.Session(w.id).Deadline.Equal(deadline) || !deadline.Equal(w.now.Add(600*time.Second)) {
		t.Errorf("B-043: deadline %v", deadline)
	}
	w.at("08:01:02")
	w.want(w.update(again(seconds(rgOnNet, 50))), 0, 60, false)
	w.at("08:01:44")
	w.terminate(seconds(rgOnNet, 42))
	w.ledger("9.08", "0", "0.92")

	t.Run("10c after Tcc", func(t *testing.T) {
		t.Attr("proves", "B-040")
		w := voice(t)
		w.initial(ask(rgOnNet))
		expire := ocs.Step{SessionID: w.id, Type: ocs.Expire}
		w.pass(599 * time.Second)
		w.do(expire)
		w.ledger("9.40", "0.60", "0")
		w.pass(time.Second)
		w.do(expire)
		w.do(expire)
		w.ledger("10.00", "0", "0")
		w.refused(w.terminate(seconds(rgOnNet, 60)), ocs.UnknownSession)
		if orphans := w.store.Orphans(); len(orphans) != 1 || orphans[0].Used[0].Units.Quantity != 60 {
			t.Errorf("orphan use: %+v", orphans)
		}
		w.ledger("10.00", "0", "0")
	})
}

func TestTrace12TariffChange(t *testing.T) {
	t.Run("12a B-121 volume", func(t *testing.T) {
		w := data(t)
		w.at("11:58:00")
		i := w.want(w.initial(ask(rgDataSwitch)), 0, 100*megabyte, false)
		if want := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC); !i.SwitchAt.Equal(want) {
			t.Errorf("switch at %v", i.SwitchAt)
		}
		w.ledger("18.00", "2.00", "0")
		w.at("12:01:30")
		split := again(octets(rgDataSwitch, 40*megabyte))
		split.Used[0].Tariff = ocs.TariffBefore
		split.Used = append(split.Used, ocs.Usage{Units: ocs.Units{Kind: ocs.Octets, Quantity: 50 * megabyte}, Tariff: ocs.TariffAfter})
		if i := w.want(w.update(split), 0, 100*megabyte, false); !i.SwitchAt.IsZero() {
			t.Errorf("switch at %v", i.SwitchAt)
		}
		w.ledger("16.60", "2.00", "1.40")
		w.at("12:05:00")
		w.terminate(octets(rgDataSwitch, 30*megabyte))
		w.ledger("18.00", "0", "2.00")
	})
	t.Run("12b B-083 indeterminate", func(t *testing.T) {
		t.Attr("proves", "B-083")
		w := data(t)
		w.at("11:58:00")
		w.initial(ask(rgDataSwitch))
		w.at("12:01:30")
		rest := octets(rgDataSwitch, 4*megabyte)
		rest.Used[0].Tariff = ocs.TariffIndeterminate
		w.terminate(rest)
		w.ledger("19.96", "0", "0.04")
	})
	t.Run("12d B-120 B-124 voice", func(t *testing.T) {
		w := voice(t)
		w.at("11:59:30")
		w.want(w.initial(ask(rgEvening)), 0, 60, false)
		w.ledger("8.80", "1.20", "0")
		w.at("12:00:30")
		s := w.step(ocs.Update, again(seconds(rgEvening, 50)))
		w.pass(8 * time.Second) // on the wire: Event-Timestamp counts (B-010)
		w.want(w.do(s), 0, 60, false)
		w.ledger("8.00", "1.20", "0.80")
		w.at("12:01:12")
		if o := w.terminate(seconds(rgEvening, 42)); o.Cost != 1_640_000 {
			t.Errorf("%+v", o)
		}
		w.ledger("8.36", "0", "1.64")
	})
}
