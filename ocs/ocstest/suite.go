package ocstest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"gygate/ocs"
)

// Exercise proves a store: the whole charging engine runs on it, and the books
// are checked after each case. open gives a fresh, empty store for each.
func Exercise(t *testing.T, open func(testing.TB) (ocs.Store, Seeder)) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, *bench)
	}{
		{"Prepaid", exercisePrepaid},
		{"Resolve", exerciseResolve},
		{"Repeats", exerciseRepeats},
		{"RefusedInitial", exerciseRefused},
		{"Events", exerciseEvents},
		{"Blocked", exerciseBlocked},
		{"UnknownSession", exerciseUnknown},
		{"Expiry", exerciseExpiry},
		{"FinalUnitsOverNodes", exerciseFinalUnits},
		{"ReratingOverNodes", exerciseRerating},
		{"SessionsLeftOut", exerciseSkip},
		{"OneAccountManySessions", exerciseHotAccount},
		{"Random", exerciseRandom},
	} {
		t.Run(c.name, func(t *testing.T) {
			store, seeder := open(t)
			c.run(t, &bench{store: store, Seeder: seeder})
			MustBalance(t, seeder)
		})
	}
}

// bench is the store under test.
type bench struct {
	Seeder
	store ocs.Store
}

// config is for steps that follow each other faster than real ones: reports are
// not held against the clock, and nothing expires unless asked to.
func (b *bench) config() ocs.EngineConfig {
	p := ocs.DefaultPolicy()
	p.ClockTolerance = 24 * time.Hour
	return ocs.EngineConfig{Policy: p, Sweep: -1}
}

// Totals are an account's money: what may be reserved, what is frozen.
func Totals(a ocs.Account) (available, frozen ocs.Money) {
	for _, b := range a.Balances {
		if b.Unit == ocs.Amount {
			available += ocs.Money(b.Amount - b.Frozen)
			frozen += ocs.Money(b.Frozen)
		}
	}
	return available, frozen
}

func (b *bench) holds(t *testing.T, key ocs.AccountKey, available, frozen ocs.Money) {
	t.Helper()
	books := b.Books(t)
	i := slices.IndexFunc(books.Accounts, func(a ocs.Account) bool { return a.Key == key })
	if i < 0 {
		t.Fatalf("account %v is gone", key)
	}
	if a, f := Totals(books.Accounts[i]); a != available || f != frozen {
		t.Errorf("available %v, frozen %v; want %v, %v", a, f, available, frozen)
	}
}

func exercisePrepaid(t *testing.T, b *bench) {
	payer := NewPayer()
	account := b.AddAccount(t, Prepaid(10_000_000), payer)
	d := Start(t, b.store, b.config())
	ctx, id := context.Background(), NewSession()
	view, err := d.Authenticate(ctx, ocs.AuthenticateRequest{Payer: []ocs.Identity{payer}, Service: Voice})
	if err != nil || view.Available != 10_000_000 || view.Account != account.Key {
		t.Fatalf("authenticate: %+v, %v", view, err)
	}
	got, err := d.Reserve(ctx, ocs.ReserveRequest{Key: ocs.RequestKey{Session: id, Number: 0}, Payer: []ocs.Identity{payer},
		Service: Voice, RatingGroup: OnNet})
	if err != nil || got.Granted != (ocs.Units{Kind: ocs.Seconds, Quantity: 60}) || got.Frozen != 600_000 {
		t.Fatalf("reserve: %+v, %v", got, err)
	}
	b.holds(t, account.Key, 9_400_000, 600_000)
	receipt, err := d.Debit(ctx, ocs.DebitRequest{Key: ocs.RequestKey{Session: id, Number: 1}, RatingGroup: OnNet,
		Used: ocs.Units{Kind: ocs.Seconds, Quantity: 42}})
	if err != nil || receipt.Debited != 420_000 {
		t.Fatalf("debit: %+v, %v", receipt, err)
	}
	b.holds(t, account.Key, 9_400_000, 180_000)
	for range 2 { // a repeat moves nothing
		receipt, err = d.Refund(ctx, ocs.RefundRequest{Key: ocs.RequestKey{Session: id, Number: 2}})
		if err != nil || receipt.Refunded != 180_000 || receipt.Cost != 420_000 {
			t.Fatalf("refund: %+v, %v", receipt, err)
		}
	}
	b.holds(t, account.Key, 9_580_000, 0)
}

func exerciseResolve(t *testing.T, b *bench) {
	number, imsi, other := NewPayer(), NewPayer(), NewPayer()
	imsi.Kind = ocs.IMSI
	account := b.AddAccount(t, Prepaid(5_000_000), number, imsi)
	b.AddAccount(t, Prepaid(5_000_000), other)
	d := Start(t, b.store, b.config())
	initial := func(ids ...ocs.Identity) ocs.Outcome {
		return d.Do(ocs.Step{SessionID: NewSession(), Type: ocs.Initial, Service: Voice, Payer: ids,
			Items: []ocs.Item{For(OnNet, nil, Wish(0, 0))}})
	}
	for _, c := range []struct {
		ids  []ocs.Identity
		want ocs.Refusal
	}{
		{[]ocs.Identity{number, imsi}, ""},
		{[]ocs.Identity{imsi, number}, ""},
		{[]ocs.Identity{NewPayer(), number}, ""},
		{[]ocs.Identity{number, other}, ocs.IdentityConflict},
		{[]ocs.Identity{NewPayer()}, ocs.UnknownSubscriber},
		{nil, ocs.NoIdentity},
	} {
		if o := initial(c.ids...); o.Refusal != c.want {
			t.Errorf("%v: %q, want %q", c.ids, o.Refusal, c.want)
		}
	}
	b.holds(t, account.Key, 3_200_000, 1_800_000)

	// Another node knows nothing of the session but what the store has.
	id := NewSession()
	d.Do(ocs.Step{SessionID: id, Type: ocs.Initial, Service: Voice, Payer: []ocs.Identity{number},
		Items: []ocs.Item{For(OnNet, nil, Wish(0, 0))}})
	node := Start(t, b.store, b.config())
	if o := node.Do(ocs.Step{SessionID: id, Type: ocs.Update, Number: 1, Payer: []ocs.Identity{other},
		Items: []ocs.Item{For(OnNet, Used(ocs.Seconds, 10), nil)}}); o.Refusal != ocs.PayerChanged {
		t.Errorf("another subscriber's update: %q", o.Refusal)
	}
	if o := node.Do(ocs.Step{SessionID: id, Type: ocs.Terminate, Number: 2,
		Items: []ocs.Item{For(OnNet, Used(ocs.Seconds, 10), nil)}}); o.Refusal != "" || o.Cost != 100_000 {
		t.Errorf("terminate at another node: %+v", o)
	}
}

// sameAnswer compares what is stored of two outcomes.
func sameAnswer(a, b ocs.Outcome) bool {
	same := a.Refusal == b.Refusal && a.Cost == b.Cost && a.Available == b.Available && len(a.Items) == len(b.Items)
	for i := range a.Items {
		same = same && a.Items[i].Debited == b.Items[i].Debited && a.Items[i].Reserved == b.Items[i].Reserved &&
			(a.Items[i].Granted == nil) == (b.Items[i].Granted == nil)
	}
	return same
}

func exerciseRepeats(t *testing.T, b *bench) {
	payer := NewPayer()
	b.AddAccount(t, Prepaid(10_000_000), payer)
	d := Start(t, b.store, b.config())
	id := NewSession()
	steps := []ocs.Step{
		{SessionID: id, Type: ocs.Initial, Payer: []ocs.Identity{payer}, Service: Voice,
			Items: []ocs.Item{For(OnNet, nil, Wish(0, 0)), For(OffNet, nil, Wish(0, 0))}},
		{SessionID: id, Type: ocs.Update, Number: 1, Items: []ocs.Item{For(OnNet, Used(ocs.Seconds, 50), Wish(0, 0))}},
		{SessionID: id, Type: ocs.Terminate, Number: 2, Items: []ocs.Item{For(OnNet, Used(ocs.Seconds, 7), nil)}},
	}
	for _, s := range steps {
		both := d.All(&s, &s) // the copy arrives while the first is under way
		later := Start(t, b.store, b.config()).Do(s)
		if both[0].Refusal != "" || both[0].Replayed || !both[1].Replayed || !later.Replayed ||
			!sameAnswer(both[0], both[1]) || !sameAnswer(both[0], later) {
			t.Errorf("%v: %+v, then %+v, then %+v", s.Type, both[0], both[1], later)
		}
		MustBalance(t, b)
	}
	differs := steps[2]
	differs.Content = [16]byte{1}
	if o := d.Do(differs); !o.Mismatch || !o.Replayed {
		t.Errorf("a repeat with other content: %+v", o)
	}
}

func exerciseRefused(t *testing.T, b *bench) {
	payer := NewPayer()
	b.AddAccount(t, Prepaid(30_000), payer) // three seconds: fewer than the minimum
	d := Start(t, b.store, b.config())
	s := ocs.Step{SessionID: NewSession(), Type: ocs.Initial, Payer: []ocs.Identity{payer}, Service: Voice,
		Items: []ocs.Item{For(OnNet, nil, Wish(0, 0))}}
	if o := d.Do(s); o.Refusal != ocs.CreditLimit || o.Replayed {
		t.Errorf("%+v", o)
	}
	if o := d.Do(s); o.Refusal != ocs.CreditLimit || !o.Replayed {
		t.Errorf("repeated: %+v", o)
	}
	s.Type, s.Number = ocs.Update, 1
	if o := d.Do(s); o.Refusal != ocs.UnknownSession {
		t.Errorf("update: %+v", o)
	}
}

func exerciseEvents(t *testing.T, b *bench) {
	payer := NewPayer()
	account := b.AddAccount(t, Prepaid(10_000_000), payer)
	d := Start(t, b.store, b.config())
	event := func(action ocs.EventAction, item ocs.Item) ocs.Step {
		return ocs.Step{SessionID: NewSession(), Type: ocs.Event, Action: action, Service: Voice,
			Payer: []ocs.Identity{payer}, Items: []ocs.Item{item}}
	}
	debit := event(ocs.DirectDebit, For(Message, nil, Wish(ocs.Events, 1)))
	paid := d.Do(debit)
	if repeat := d.Do(debit); paid.Refusal != "" || !repeat.Replayed || len(paid.Items) != 1 ||
		string(repeat.Items[0].RefundToken) != string(paid.Items[0].RefundToken) {
		t.Fatalf("debit %+v, repeated %+v", paid, repeat)
	}
	b.holds(t, account.Key, 9_700_000, 0)
	item := For(Message, nil, Wish(ocs.Events, 1))
	item.RefundToken = paid.Items[0].RefundToken
	back := event(ocs.RefundAccount, item)
	if o := d.Do(back); o.Refusal != "" || o.Cost != -300_000 {
		t.Errorf("refund: %+v", o)
	}
	if o := d.Do(back); !o.Replayed {
		t.Errorf("refund repeated: %+v", o)
	}
	if o := d.Do(event(ocs.RefundAccount, item)); o.Refusal != ocs.RefundNotLinked {
		t.Errorf("the token used again: %+v", o)
	}
	b.holds(t, account.Key, 10_000_000, 0)
}

func exerciseBlocked(t *testing.T, b *bench) {
	payer := NewPayer()
	account := b.AddAccount(t, Prepaid(10_000_000), payer)
	d := Start(t, b.store, b.config())
	id := NewSession()
	d.Do(ocs.Step{SessionID: id, Type: ocs.Initial, Payer: []ocs.Identity{payer}, Service: Voice,
		Items: []ocs.Item{For(OnNet, nil, Wish(0, 0))}})
	b.Block(t, account.Key)
	if o := d.Do(ocs.Step{SessionID: id, Type: ocs.Update, Number: 1,
		Items: []ocs.Item{For(OnNet, Used(ocs.Seconds, 33), Wish(0, 0))}}); o.Refusal != ocs.Blocked || o.Cost != 330_000 {
		t.Errorf("update: %+v", o)
	}
	b.holds(t, account.Key, 9_670_000, 0)
	last := ocs.Step{SessionID: id, Type: ocs.Terminate, Number: 2, Items: []ocs.Item{For(OnNet, Used(ocs.Seconds, 3), nil)}}
	if o := d.Do(last); o.Refusal != "" || o.Cost != 360_000 {
		t.Errorf("the late final report: %+v", o)
	}
	last.Number = 3
	if o := d.Do(last); o.Refusal != ocs.UnknownSession {
		t.Errorf("a second one: %+v", o)
	}
	b.holds(t, account.Key, 9_640_000, 0)
}

func exerciseUnknown(t *testing.T, b *bench) {
	d := Start(t, b.store, b.config())
	s := ocs.Step{SessionID: NewSession(), Type: ocs.Terminate, Number: 4,
		Items: []ocs.Item{For(OnNet, Used(ocs.Seconds, 60), nil)}}
	for range 2 {
		if o := d.Do(s); o.Refusal != ocs.UnknownSession || o.Replayed {
			t.Errorf("%+v", o)
		}
	}
}

func exerciseExpiry(t *testing.T, b *bench) {
	payer := NewPayer()
	account := b.AddAccount(t, Prepaid(10_000_000), payer)
	config := b.config()
	config.Policy.Supervision = time.Nanosecond
	config.Sweep = 10 * time.Millisecond
	node, other := Start(t, b.store, config), Start(t, b.store, config)
	id := NewSession()
	node.Do(ocs.Step{SessionID: id, Type: ocs.Initial, Payer: []ocs.Identity{payer}, Service: Voice,
		Items: []ocs.Item{For(OnNet, nil, Wish(0, 0))}})
	report := ocs.Step{SessionID: id, Type: ocs.Terminate, Number: 1, Items: []ocs.Item{For(OnNet, Used(ocs.Seconds, 60), nil)}}
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	for b.openSessions(t) > 0 {
		select {
		case <-limit.C:
			t.Fatal("nobody ended the silent session")
		case <-time.After(time.Millisecond):
		}
	}
	if o := other.Do(report); o.Refusal != ocs.UnknownSession {
		t.Errorf("a report after the end: %+v", o)
	}
	b.holds(t, account.Key, 10_000_000, 0)
}

func (b *bench) openSessions(t *testing.T) int {
	open := 0
	for _, s := range b.Books(t).Sessions {
		if s.Open() {
			open++
		}
	}
	return open
}

// exerciseHotAccount sends 200 first requests at once to an account that can
// pay for 16 full slices and one of 40 s.
func exerciseHotAccount(t *testing.T, b *bench) {
	payer := NewPayer()
	account := b.AddAccount(t, Prepaid(10_000_000), payer)
	d := Start(t, b.store, b.config())
	var steps []*ocs.Step
	for range 200 {
		steps = append(steps, &ocs.Step{SessionID: NewSession(), Type: ocs.Initial, Service: Voice,
			Payer: []ocs.Identity{payer}, Items: []ocs.Item{For(OnNet, nil, Wish(ocs.Seconds, 60))}})
	}
	var granted int64
	for _, o := range d.All(steps...) {
		switch {
		case o.Refusal == "":
			granted += o.Items[0].Granted.Quantity
		case !errors.Is(o.Refusal, ocs.NotAvailable):
			t.Errorf("refused with %q", o.Refusal)
		}
	}
	if granted != 1000 {
		t.Errorf("%d seconds granted, want 1000", granted)
	}
	b.holds(t, account.Key, 0, 10_000_000)
}

func exerciseRandom(t *testing.T, b *bench) {
	Random(t, b.store, b.Seeder, RandomConfig{Seed: 1, Rounds: 60, CheckEvery: 20})
}
