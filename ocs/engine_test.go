package ocs_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// gate lets a test hold a store's transactions until everything is queued.
type gate struct {
	held  chan struct{} // closed when the first transaction has begun
	open  chan struct{} // close it to let all go on
	first sync.Once
}

func newGate() *gate { return &gate{held: make(chan struct{}), open: make(chan struct{})} }

func (g *gate) wait() {
	g.first.Do(func() { close(g.held) })
	<-g.open
}

// fleet is a store with accounts of 10.00 each.
type fleet struct {
	*ocstest.Memory
	payers   []ocs.Identity
	accounts []ocs.AccountKey
}

func newFleet(t *testing.T, n int) *fleet {
	f := &fleet{Memory: ocstest.NewMemory()}
	for range n {
		payer := ocstest.NewPayer()
		f.payers = append(f.payers, payer)
		f.accounts = append(f.accounts, f.AddAccount(t, ocstest.Prepaid(10_000_000), payer).Key)
	}
	return f
}

func (f *fleet) initial(n int) *ocs.Step {
	return &ocs.Step{SessionID: ocstest.NewSession(), Type: ocs.Initial, Service: ocstest.Voice,
		Payer: []ocs.Identity{f.payers[n]}, Items: []ocs.Item{ask(rgOnNet)}}
}

func (f *fleet) initials() []*ocs.Step {
	var steps []*ocs.Step
	for n := range f.payers {
		steps = append(steps, f.initial(n))
	}
	return steps
}

// oneLane puts everything into one queue.
var oneLane = ocs.EngineConfig{Lanes: 1, Sweep: -1}

// submitHeld submits a first step, and the others while its transaction is
// held, so that they are one batch; their sessions must be known, so that they
// go straight to the lane. It returns the outcomes of the others.
func submitHeld(t *testing.T, d *ocstest.Driver, g *gate, first *ocs.Step, rest []*ocs.Step) []ocs.Outcome {
	t.Helper()
	var wait sync.WaitGroup
	wait.Add(1 + len(rest))
	d.Submit(first, func(ocs.Outcome) { wait.Done() })
	<-g.held
	outcomes := make([]ocs.Outcome, len(rest))
	for n, s := range rest {
		d.Submit(s, func(o ocs.Outcome) {
			outcomes[n] = o
			wait.Done()
		})
	}
	close(g.open)
	wait.Wait()
	return outcomes
}

func TestResolveFails(t *testing.T) {
	f := newFleet(t, 2)
	broken := &brokenResolve{Store: f}
	d := ocstest.Start(t, broken, oneLane)
	if o := d.Do(*f.initial(0)); o.Refusal != "" {
		t.Fatalf("%+v", o)
	}
	broken.away.Store(true)
	if o := d.Do(*f.initial(1)); o.Refusal != ocs.Unavailable {
		t.Errorf("%+v", o)
	}
}

// An account that cannot be read takes nobody else's look-up with it.
func TestOneLookUpFails(t *testing.T) {
	f := newFleet(t, 5)
	store := &brokenResolve{Store: f, gate: newGate(), unreadable: f.payers[2]}
	d := ocstest.Start(t, store, oneLane)
	outcomes := submitHeld(t, d, store.gate, f.initial(0), f.initials()[1:])
	for n, o := range outcomes {
		want := ocs.Refusal("")
		if f.payers[n+1] == store.unreadable {
			want = ocs.Unavailable
		}
		if o.Refusal != want {
			t.Errorf("payer %d: refused %q, want %q", n+1, o.Refusal, want)
		}
	}
}

// A first request with the Session-Id of another payer is refused, and the requests of
// the one whose session it is are served afterwards, although the engine, started anew,
// has heard of the session by that request.
func TestSomebodyElsesSessionID(t *testing.T) {
	f := newFleet(t, 2)
	first := f.initial(0)
	ocstest.Start(t, f, oneLane).Do(*first)
	d := ocstest.Start(t, f, oneLane)
	foreign := f.initial(1)
	foreign.SessionID = first.SessionID
	if o := d.Do(*foreign); o.Refusal != ocs.SessionExists {
		t.Errorf("%+v", o)
	}
	if o := d.Do(ocs.Step{SessionID: first.SessionID, Type: ocs.Terminate, Number: 1, Items: []ocs.Item{seconds(rgOnNet, 10)}}); o.Refusal != "" || o.Cost != 100_000 {
		t.Errorf("%+v", o)
	}
}

type brokenResolve struct {
	ocs.Store
	unreadable ocs.Identity // fails the look-ups that it is among
	gate       *gate        // when set, holds every look-up
	away       atomic.Bool
	lookups    atomic.Int32
}

func (b *brokenResolve) Resolve(ctx context.Context, l []ocs.Lookup) ([]ocs.Resolved, error) {
	if b.gate != nil {
		b.gate.wait()
	}
	if b.away.Load() {
		return nil, errors.New("connection refused")
	}
	for _, one := range l {
		if b.unreadable != (ocs.Identity{}) && slices.Contains(one.Identities, b.unreadable) {
			return nil, errors.New("cannot scan")
		}
	}
	b.lookups.Add(int32(len(l)))
	return b.Store.Resolve(ctx, l)
}

func TestCacheIsBounded(t *testing.T) {
	f := newFleet(t, 3)
	store := &brokenResolve{Store: f}
	config := oneLane
	config.CacheMax = 2
	d := ocstest.Start(t, store, config)
	var sessions []*ocs.Step
	for _, s := range f.initials() {
		d.Do(*s)
		sessions = append(sessions, s)
	}
	for n, want := range []int32{4, 4} { // the oldest is looked up, then remembered
		if o := d.Do(ocs.Step{SessionID: sessions[0].SessionID, Type: ocs.Update, Number: uint32(n + 1)}); o.Refusal != "" {
			t.Errorf("%+v", o)
		}
		if got := store.lookups.Load(); got != want {
			t.Errorf("%d look-ups, want %d", got, want)
		}
	}
}

// Steps of one session, sent without waiting for answers, are served in order;
// a CCR-T right behind its CCR-I finds the session.
func TestOrderInSession(t *testing.T) {
	f := newFleet(t, 20)
	d := ocstest.Start(t, f, ocs.EngineConfig{Sweep: -1})
	var steps []*ocs.Step
	for _, s := range f.initials() {
		steps = append(steps, s)
		for n := uint32(1); n < 10; n++ {
			steps = append(steps, &ocs.Step{SessionID: s.SessionID, Type: ocs.Update, Number: n, Items: []ocs.Item{again(seconds(rgOnNet, 5))}})
		}
		steps = append(steps, &ocs.Step{SessionID: s.SessionID, Type: ocs.Terminate, Number: 10, Items: []ocs.Item{seconds(rgOnNet, 5)}})
	}
	var mu sync.Mutex
	served := make(map[string]uint32)
	var wait sync.WaitGroup
	wait.Add(len(steps))
	for _, s := range steps {
		d.Submit(s, func(o ocs.Outcome) {
			defer wait.Done()
			mu.Lock()
			defer mu.Unlock()
			if o.Refusal != "" || served[s.SessionID] != s.Number {
				t.Errorf("number %d after %d: %q", s.Number, served[s.SessionID], o.Refusal)
			}
			served[s.SessionID]++
		})
	}
	wait.Wait()
	for _, key := range f.accounts {
		if a, frozen := ocstest.Totals(f.Account(key)); a != 9_500_000 || frozen != 0 {
			t.Errorf("available %v, frozen %v", a, frozen)
		}
	}
	ocstest.MustBalance(t, f)
}

// A step of a known session waits behind one of the same session that has to be
// looked up.
func TestOrderBehindALookUp(t *testing.T) {
	f := newFleet(t, 1)
	store := &brokenResolve{Store: f}
	d := ocstest.Start(t, store, oneLane)
	first := f.initial(0)
	d.Do(*first)
	store.gate = newGate()
	answers := make(chan ocs.Outcome, 2)
	d.Submit(&ocs.Step{SessionID: first.SessionID, Type: ocs.Update, Number: 1, Payer: []ocs.Identity{ocstest.NewPayer(), f.payers[0]},
		Items: []ocs.Item{again(seconds(rgOnNet, 50))}}, func(o ocs.Outcome) { answers <- o })
	<-store.gate.held
	d.Submit(&ocs.Step{SessionID: first.SessionID, Type: ocs.Terminate, Number: 2,
		Items: []ocs.Item{seconds(rgOnNet, 10)}}, func(o ocs.Outcome) { answers <- o })
	close(store.gate.open)
	for _, want := range []ocs.Money{500_000, 600_000} {
		if o := <-answers; o.Refusal != "" || o.Cost != want {
			t.Errorf("%+v, want a cost of %v", o, want)
		}
	}
}

// One account's steps in one transaction are applied one after the other.
func TestOneAccountInABatch(t *testing.T) {
	f := newFleet(t, 1)
	config := oneLane
	config.BatchMax = 64
	config.Policy = ocs.DefaultPolicy()
	config.Policy.ClockTolerance = time.Hour // the test reports faster than the clock
	d := ocstest.Start(t, f, config)
	first := f.initial(0)
	d.Do(*first)
	g := newGate()
	f.Before = func([]ocs.Want) error { g.wait(); return nil }
	var updates []*ocs.Step
	for n := range uint32(150) {
		updates = append(updates, &ocs.Step{SessionID: first.SessionID, Type: ocs.Update, Number: n + 2, Items: []ocs.Item{again(seconds(rgOnNet, 1))}})
	}
	submitHeld(t, d, g, &ocs.Step{SessionID: first.SessionID, Type: ocs.Update, Number: 1}, updates)
	largest := 0
	for _, n := range f.Batches() {
		largest = max(largest, n)
	}
	if largest < 2 || largest > 64 {
		t.Errorf("batches of %v steps", f.Batches())
	}
	if a, frozen := ocstest.Totals(f.Account(f.accounts[0])); a != 7_900_000 || frozen != 600_000 {
		t.Errorf("available %v, frozen %v", a, frozen)
	}
	ocstest.MustBalance(t, f)
}

func TestBusy(t *testing.T) {
	f := newFleet(t, 1)
	d := ocstest.Start(t, f, ocs.EngineConfig{Lanes: 1, QueueMax: 2, BatchMax: 1, Sweep: -1})
	first := f.initial(0)
	d.Do(*first)
	g := newGate()
	f.Before = func([]ocs.Want) error { g.wait(); return nil }
	answers := make(chan ocs.Outcome, 10)
	submit := func(n uint32) {
		d.Submit(&ocs.Step{SessionID: first.SessionID, Type: ocs.Update, Number: n}, func(o ocs.Outcome) { answers <- o })
	}
	submit(1)
	<-g.held
	for n := uint32(2); n < 6; n++ { // two wait, two find the queue full
		submit(n)
	}
	for range 2 {
		if o := <-answers; o.Refusal != ocs.Busy {
			t.Errorf("%+v", o)
		}
	}
	close(g.open)
	for range 3 {
		if o := <-answers; o.Refusal != "" {
			t.Errorf("%+v", o)
		}
	}
}

// When its context ends the engine answers what it has taken, and nothing more.
func TestShutdownDrains(t *testing.T) {
	f := newFleet(t, 100)
	tariff := ocstest.Tariff(t)
	engine := ocs.NewEngine(f, func() *ocs.Tariff { return tariff }, ocs.EngineConfig{Sweep: -1, BatchMax: 4})
	answers := make(chan ocs.Outcome, 200)
	for _, s := range f.initials() { // accepted before it even runs
		engine.Submit(s, func(o ocs.Outcome) { answers <- o })
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if err := engine.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if n := len(answers); n != 100 {
		t.Fatalf("%d of 100 answered", n)
	}
	for range 100 {
		if o := <-answers; o.Refusal != "" {
			t.Errorf("%+v", o)
		}
	}
	engine.Submit(f.initial(0), func(o ocs.Outcome) { answers <- o })
	if o := <-answers; o.Refusal != ocs.Busy {
		t.Errorf("%+v", o)
	}
	if engine.Run(ctx) == nil {
		t.Error("it ran twice")
	}
}

func TestBadPolicyIsNamed(t *testing.T) {
	policy := ocs.DefaultPolicy()
	policy.Validity = time.Second
	f := newFleet(t, 1)
	engine := ocs.NewEngine(f, nil, ocs.EngineConfig{Policy: policy})
	answers := make(chan ocs.Outcome, 1)
	engine.Submit(f.initial(0), func(o ocs.Outcome) { answers <- o })
	if err := engine.Run(context.Background()); err == nil {
		t.Error("a validity of one second was accepted")
	}
	if o := <-answers; o.Refusal != ocs.Unavailable {
		t.Errorf("%+v", o)
	}
}

// B-040, B-043: the sweeper of any node ends silent sessions at their deadline,
// by the store's clock.
func TestSweeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 300) // more than one look
		tariff := ocstest.Tariff(t)
		ctx, stop := context.WithCancel(context.Background())
		var nodes sync.WaitGroup
		var engines []*ocs.Engine
		for range 2 {
			e := ocs.NewEngine(f, func() *ocs.Tariff { return tariff }, ocs.EngineConfig{})
			engines = append(engines, e)
			nodes.Go(func() {
				if err := e.Run(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		for n := range f.payers {
			engines[n%2].Submit(f.initial(n), func(ocs.Outcome) {})
		}
		frozen := func() (n int) {
			for _, key := range f.accounts {
				if _, m := ocstest.Totals(f.Account(key)); m > 0 {
					n++
				}
			}
			return n
		}
		time.Sleep(599 * time.Second) // the bubble's clock
		if n := frozen(); n != 300 {
			t.Errorf("%d of 300 sessions frozen before the deadline", n)
		}
		time.Sleep(3 * time.Second)
		if n := frozen(); n != 0 {
			t.Errorf("%d of 300 sessions frozen after the deadline", n)
		}
		stop()
		nodes.Wait()
		ocstest.MustBalance(t, f)
	})
}
