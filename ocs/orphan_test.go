package ocs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// from has a step come from a client with an Origin-State-Id.
func (w *world) from(host string, state uint32, s ocs.Step) ocs.Outcome {
	w.t.Helper()
	s.Client = ocs.Client{Host: host, Realm: "example", State: state}
	return w.do(s)
}

// restarts tells the store what the engine tells it in its own time.
func (w *world) restarts(host string, state uint32) {
	w.t.Helper()
	if err := w.store.ClientStarted(context.Background(), strings.ToLower(host), state); err != nil {
		w.t.Fatal(err)
	}
	w.ClientState(host, state)
}

// opened is a call whose client showed that Origin-State-Id.
func opened(t *testing.T, state uint32) *world {
	w := voice(t)
	w.from("a.example", state, w.step(ocs.Initial, ask(rgOnNet)))
	w.ledger("9.40", "0.60", "0")
	return w
}

// swept looks for orphans once.
func (w *world) swept(t *testing.T, want int) {
	t.Helper()
	if got := w.Sweep(context.Background()); got != want {
		t.Errorf("%d sessions ended, want %d", got, want)
	}
	ocstest.MustBalance(t, w.store)
}

func TestOrphans(t *testing.T) {
	t.Run("A-016 freezes come back after the grace", func(t *testing.T) {
		t.Attr("proves", "A-016")
		w := opened(t, 10)
		w.restarts("a.example", 11)
		w.pass(ocs.OrphanGrace - time.Second)
		w.swept(t, 0)
		w.ledger("9.40", "0.60", "0")
		w.pass(time.Second)
		w.swept(t, 1)
		w.ledger("10.00", "0", "0")
		w.swept(t, 0)
	})
	t.Run("A-016 a CCR-T within the grace counts", func(t *testing.T) {
		t.Attr("proves", "A-016")
		w := opened(t, 10)
		w.pass(20 * time.Second)
		w.restarts("A.Example", 11)
		w.pass(10 * time.Second)
		w.ok(w.from("a.example", 10, w.step(ocs.Terminate, seconds(rgOnNet, 25))))
		w.ledger("9.75", "0", "0.25")
		w.pass(time.Minute)
		w.swept(t, 0)
		w.ledger("9.75", "0", "0.25")
	})
	for name, c := range map[string]struct {
		session, seen uint32
		host          string
	}{
		"0 means nothing":                 {10, 0, "a.example"},
		"a lower one is ignored":          {10, 9, "a.example"},
		"the same one":                    {10, 10, "a.example"},
		"a session without one":           {0, 11, "a.example"},
		"another client":                  {10, 11, "b.example"},
		"a session of the new one":        {11, 11, "a.example"},
		"another one behind the relay":    {10, 99, "relay.example"},
		"a name that only begins like it": {10, 11, "a.example.com"},
	} {
		t.Run("A-016 "+name, func(t *testing.T) {
			t.Attr("proves", "A-016")
			w := opened(t, c.session)
			w.restarts(c.host, c.seen)
			w.pass(time.Minute)
			w.swept(t, 0)
			w.ledger("9.40", "0.60", "0")
		})
	}
}

// What counts is who the client of the session was in its latest request, and the
// latest Origin-State-Id that it showed there.
func TestOrphansAfterLaterRequests(t *testing.T) {
	t.Run("a client that still knows its session", func(t *testing.T) {
		w := opened(t, 10)
		w.restarts("a.example", 11)
		w.want(w.from("a.example", 11, w.step(ocs.Update, again(seconds(rgOnNet, 0)))), 0, 60, false)
		w.pass(time.Minute)
		w.swept(t, 0)
	})
	t.Run("one that is left out in mid-session stays known", func(t *testing.T) {
		w := opened(t, 10)
		w.from("a.example", 0, w.step(ocs.Update, again(seconds(rgOnNet, 0))))
		w.restarts("a.example", 11)
		w.pass(time.Minute)
		w.swept(t, 1)
	})
	t.Run("a session that moved to another host meanwhile", func(t *testing.T) {
		w := opened(t, 10)
		stale := w.store
		list := &listed{Store: stale}
		w.restarts("a.example", 11)
		w.pass(time.Minute)
		list.fixed, _ = stale.Expired(context.Background(), 10, nil)
		if len(list.fixed) != 1 || list.fixed[0].Restarted != 11 || list.fixed[0].Host != "a.example" {
			t.Fatalf("%+v", list.fixed)
		}
		w.from("b.example", 3, w.step(ocs.Update, again(seconds(rgOnNet, 0))))
		tariff := fixtureTariff(t)
		w.Driver = ocstest.StartWith(t, list, func() *ocs.Tariff { return tariff }, ocs.EngineConfig{Sweep: -1})
		w.swept(t, 0)
		w.ledger("9.40", "0.60", "0")
	})
}

// listed is a store whose list of sessions to end is out of date.
type listed struct {
	ocs.Store
	fixed []ocs.Expiry
}

func (l *listed) Expired(context.Context, int, []ocs.SessionRef) ([]ocs.Expiry, error) {
	return l.fixed, nil
}

// starts is a store that notes what it is told of clients.
type starts struct {
	ocs.Store
	told  chan string
	fails atomic.Int32 // so often first
	never string       // a host that cannot be stored
}

func (s *starts) ClientStarted(_ context.Context, host string, state uint32) error {
	if s.fails.Add(-1) >= 0 || host == s.never {
		return errors.New("connection refused")
	}
	s.told <- fmt.Sprint(host, " ", state)
	return nil
}

// A client whose start cannot be stored keeps no other one's from being stored.
func TestClientThatCannotBeStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &starts{Store: newFleet(t, 1), told: make(chan string, 8), never: "bad.example"}
		d := ocstest.Start(t, store, oneLane)
		d.ClientState("bad.example", 1)
		d.ClientState("good.example", 1)
		if got := <-store.told; got != "good.example 1" {
			t.Errorf("told %q", got)
		}
		tried := store.fails.Load()
		time.Sleep(time.Minute)
		if store.fails.Load() > tried-30 || len(store.told) != 0 {
			t.Errorf("tried %d times in a minute, told %d", tried-store.fails.Load(), len(store.told))
		}
	})
}

// A rise is stored once, whoever tells it, and not forgotten when the database is
// away.
func TestClientState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		store := &starts{Store: f, told: make(chan string, 2*ocs.ClientsMax)}
		store.fails.Store(3)
		d := ocstest.Start(t, store, oneLane)
		for range 2 {
			d.ClientState("A.example", 5)
		}
		d.ClientState("a.example", 4)
		d.ClientState("a.example", 0)
		d.ClientState("", 7)
		s := f.initial(0)
		s.Client = ocs.Client{Host: "a.EXAMPLE", State: 6}
		d.Do(*s)
		if got := <-store.told; got != "a.example 6" { // the 5 is out of date before the database is back
			t.Errorf("told %q", got)
		}
		synctest.Wait()
		if len(store.told) != 0 {
			t.Errorf("told %q, too", <-store.told)
		}
		for n := range ocs.ClientsMax + 10 { // more than are remembered: each is stored all the same
			d.ClientState(fmt.Sprintf("c%d.example", n), 1)
			synctest.Wait()
		}
		if n := len(store.told); n != ocs.ClientsMax+10 {
			t.Errorf("%d clients stored", n)
		}
	})
}

// stuck is a store in which some sessions cannot be ended.
type stuck struct {
	ocs.Store
	bad map[ocs.SessionKey]bool
}

func (s *stuck) Transact(ctx context.Context, lane int, want []ocs.Want, decide func(*ocs.WorkingSet)) error {
	for _, w := range want {
		if w.Step.Type == ocs.Expire && s.bad[w.Step.Session] {
			return errors.New("broken row")
		}
	}
	return s.Store.Transact(ctx, lane, want, decide)
}

// Sessions that cannot be ended do not keep the others from their turn, and are
// tried again.
func TestSweeperIsNotStarved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, ocs.SweepMax+40)
		store := &stuck{Store: f, bad: make(map[ocs.SessionKey]bool)}
		d := ocstest.Start(t, store, ocs.EngineConfig{Sweep: -1, BatchMax: 1})
		for n, s := range f.initials() {
			d.Do(*s)
			store.bad[ocs.KeyOf(s.SessionID)] = n < ocs.SweepMax
		}
		time.Sleep(600 * time.Second) // the bubble's clock
		ended := 0
		for range 4 {
			ended += d.Sweep(t.Context())
		}
		if ended != 40 {
			t.Errorf("%d sessions ended, want 40", ended)
		}
		clear(store.bad)
		time.Sleep(time.Minute)
		for range 2 {
			ended += d.Sweep(t.Context())
		}
		if ended != ocs.SweepMax+40 {
			t.Errorf("%d sessions ended in the end", ended)
		}
		ocstest.MustBalance(t, f)
	})
}

// B-045: an account that is closed in mid-session ends the session: at the next
// request, or when the sweeper comes by.
func TestAccountClosedInMidSession(t *testing.T) {
	for _, service := range []string{ocstest.Voice, ocstest.Data} {
		begin := func(t *testing.T) *world {
			t.Attr("proves", "B-045")
			w := newWorld(t, service, ocstest.Prepaid(10_000_000))
			w.initial(ask(rgOnNet), ask(rgOffNet))
			w.ledger("8.80", "1.20", "0")
			w.store.Close(t, w.account.Key)
			w.pass(10 * time.Second)
			return w
		}
		over := func(t *testing.T, w *world) {
			t.Helper()
			if w.store.Session(w.id).Open() {
				t.Error("the session is still open")
			}
			w.refused(w.update(again(seconds(rgOnNet, 1))), ocs.UnknownSession)
			w.ok(w.terminate(seconds(rgOnNet, 2)))
		}
		t.Run(service+" at the next request", func(t *testing.T) {
			w := begin(t)
			w.refused(w.update(again(seconds(rgOnNet, 10))), ocs.Closed)
			w.ledger("9.90", "0", "0.10")
			over(t, w)
			w.ledger("9.88", "0", "0.12")
		})
		t.Run(service+" by the sweeper", func(t *testing.T) {
			w := begin(t)
			if n := w.Sweep(context.Background()); n != 1 {
				t.Errorf("%d sessions ended", n)
			}
			w.ledger("10.00", "0", "0")
			over(t, w)
			w.ledger("9.98", "0", "0.02")
		})
	}
}
