package pgstore

import (
	"errors"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"gygate/ocs"
	"gygate/ocs/ocstest"
	"gygate/sql"
)

// sampleAccount adds an account with 100 money.
func sampleAccount(t testing.TB, l *ledger) ocs.Account {
	t.Helper()
	return l.AddAccount(t, ocstest.Prepaid(100), ocstest.NewPayer())
}

// want names one step of a session that was made for the test.
func want(a ocs.Account, session string, kind ocs.StepType, number uint32) ocs.Want {
	return ocs.Want{Account: a.Key, Step: ocs.StepKey{Session: ocs.KeyOf(session), Type: kind, Number: number}}
}

// openSession puts a session with a freeze of the account's first balance in the
// set, with the journal row that says so.
func openSession(set *ocs.WorkingSet, w ocs.Want, id string, amount int64) *ocs.Session {
	a := set.Accounts[w.Account]
	b := a.Balances[0]
	b.Frozen += amount
	b.Dirty = true
	s := &ocs.Session{
		Key: w.Step.Session, ID: id, SubID: w.Step.SubSession, Account: w.Account, Service: ocstest.Voice,
		Client:   ocs.Client{Host: "client.test", Realm: "test", Relay: "relay.test", State: 7},
		OpenedAt: set.Now, Deadline: set.Now.Add(10 * time.Minute), New: true,
		Targets:  []*ocs.TargetState{{Target: "100", RatingGroup: 100, Unit: ocs.Seconds, Granted: 60, Freezes: []ocs.Freeze{{Balance: b.ID, Amount: amount}}}},
		Outcomes: []ocs.StoredOutcome{{Type: w.Step.Type, Number: w.Step.Number, Outcome: ocs.Outcome{Currency: a.Currency}}},
		Served:   ocs.ServedWindow{Top: w.Step.Number, Bits: 1},
	}
	set.Sessions[refOf(w.Step)] = s
	set.Journal = append(set.Journal, ocs.JournalRow{
		At: set.Now, Account: w.Account, Balance: b.ID, Kind: ocs.JournalStep, Session: w.Step.Session, SessionID: id,
		SubSession: w.Step.SubSession, Type: w.Step.Type, Number: w.Step.Number, Target: "100", RatingGroup: 100,
		Reserved: amount, AmountAfter: b.Amount, FrozenAfter: b.Frozen,
	})
	return s
}

func transact(t testing.TB, s *Store, w ocs.Want, decide func(*ocs.WorkingSet)) {
	t.Helper()
	if err := s.Transact(t.Context(), 0, []ocs.Want{w}, decide); err != nil {
		t.Fatal(err)
	}
}

// later is a request of a session that must have begun: a first one would be taken to
// begin it.
func later(w ocs.Want) ocs.Want {
	w.Step.Type, w.Step.Number = ocs.Update, w.Step.Number+1
	return w
}

func TestSessionComesBackAsItWas(t *testing.T) {
	l := newLedger(t)
	a := sampleAccount(t, l)
	w := want(a, "s", ocs.Initial, 0)
	w.Step.SubSession = 1<<63 + 5 // an unsigned number beyond bigint's range
	var stored ocs.Session
	transact(t, l.Store, w, func(set *ocs.WorkingSet) {
		s := openSession(set, w, "s", 40)
		s.ClosedAt, s.LateUntil = set.Now.Add(time.Second), set.Now.Add(time.Minute)
		s.Served = ocs.ServedWindow{Top: 1<<32 - 1, Bits: 1<<64 - 1}
		stored = *s
	})
	transact(t, openStore(t, l.dsn), later(w), func(set *ocs.WorkingSet) { // which knows nothing yet
		got := set.Sessions[refOf(w.Step)]
		stored.New = false
		if got == nil || !reflect.DeepEqual(normal(*got), normal(stored)) {
			t.Errorf("got  %+v\nwant %+v", got, stored)
		}
		if b := set.Accounts[a.Key].Balances[0]; b.Amount != 100 || b.Frozen != 40 || b.Unit != ocs.Amount {
			t.Errorf("balance %+v", b)
		}
		timing := set.Timing
		if timing.Began.IsZero() || timing.Loaded.Before(timing.Began) {
			t.Errorf("timing %+v", timing)
		}
	})
}

// normal makes times comparable by ==.
func normal(s ocs.Session) ocs.Session {
	for _, at := range []*time.Time{&s.OpenedAt, &s.Deadline, &s.ClosedAt, &s.LateUntil} {
		*at = at.UTC().Truncate(time.Microsecond)
	}
	return s
}

func TestFreezesAreStoredByDifference(t *testing.T) {
	l := newLedger(t)
	a := l.AddAccount(t, ocs.Account{Currency: 978, Balances: []*ocs.Balance{
		{Unit: ocs.Amount, Amount: 100}, {Unit: ocs.Seconds, Amount: 100}, {Unit: ocs.Amount, Amount: 100},
	}}, ocstest.NewPayer())
	w := want(a, "s", ocs.Initial, 0)
	freeze := func(amounts ...int64) { // of the account's balances, on one target
		t.Helper()
		transact(t, l.Store, w, func(set *ocs.WorkingSet) {
			s := set.Sessions[refOf(w.Step)]
			if s == nil {
				s = openSession(set, w, "s", 0)
			}
			s.Dirty, s.Targets[0].Freezes = true, nil
			for i, amount := range amounts {
				b := set.Accounts[a.Key].Balances[i]
				if b.Frozen, b.Dirty = amount, true; amount > 0 {
					s.Targets[0].Freezes = append(s.Targets[0].Freezes, ocs.Freeze{Balance: b.ID, Amount: amount})
				}
			}
		})
		var held []int64
		transact(t, openStore(t, l.dsn), later(w), func(set *ocs.WorkingSet) {
			for _, b := range set.Accounts[a.Key].Balances {
				amount := int64(0)
				for _, f := range set.Sessions[refOf(w.Step)].Targets[0].Freezes {
					if f.Balance == b.ID {
						amount += f.Amount
					}
				}
				held = append(held, amount)
			}
		})
		if !slices.Equal(held, amounts) {
			t.Errorf("held %v, want %v", held, amounts)
		}
	}
	freeze(10, 20, 0) // insert
	freeze(10, 25, 5) // nothing, update, insert
	freeze(0, 25, 4)  // delete, nothing, update
	freeze(0, 0, 0)   // delete all
	if n := l.count(t, "session_freezes"); n != 0 {
		t.Errorf("%d freezes left", n)
	}
}

// When a rule breaks, the engine discards the set and lets the transaction end:
// nothing of the half-done work is stored or remembered, whatever state it is in.
func TestDiscardedChangesAreNotStored(t *testing.T) {
	l := newLedger(t)
	a := sampleAccount(t, l)
	w := want(a, "s", ocs.Initial, 0)
	transact(t, l.Store, w, func(set *ocs.WorkingSet) { openSession(set, w, "s", 40) })
	transact(t, l.Store, w, func(set *ocs.WorkingSet) {
		s := set.Sessions[refOf(w.Step)]
		set.Accounts[a.Key].Balances[0].Frozen, set.Accounts[a.Key].Debt = 0, 9
		s.Targets[0].Freezes, s.ClosedAt, s.Dirty = nil, set.Now, true
		set.Discarded = true
	})
	transact(t, l.Store, later(w), func(set *ocs.WorkingSet) {
		if a, s := set.Accounts[a.Key], set.Sessions[refOf(w.Step)]; a.Balances[0].Frozen != 40 || a.Debt != 0 || !s.Open() {
			t.Error("half-done work is remembered")
		}
	})
	if n := l.count(t, "session_freezes where amount = 40") + l.count(t, "session where closed_at is null"); n != 2 {
		t.Error("the session or its freeze was changed")
	}
	l.audit(t)
}

func TestMissingAccountLoadsNothing(t *testing.T) {
	l := newLedger(t)
	a := sampleAccount(t, l)
	w := want(a, "s", ocs.Initial, 0)
	transact(t, l.Store, w, func(set *ocs.WorkingSet) { openSession(set, w, "s", 40) })
	stranger := w
	stranger.Account.ID += 1000
	transact(t, l.Store, stranger, func(set *ocs.WorkingSet) {
		if len(set.Accounts)+len(set.Sessions) != 0 {
			t.Errorf("loaded %d accounts and %d sessions", len(set.Accounts), len(set.Sessions))
		}
	})
}

// What another transaction commits while ours waits for the lock is seen: its
// outcome, its session and its balance. One statement that locked and loaded at
// once would see them as they were before.
func TestLockThenLoad(t *testing.T) {
	l := newLedger(t)
	other := openStore(t, l.dsn)
	a := sampleAccount(t, l)
	session, event := want(a, "s", ocs.Update, 1), want(a, "event", ocs.Event, 0)
	l.lanes[0].trust.locked, other.lanes[0].trust.locked = 1, 1

	locked, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- l.Transact(t.Context(), 0, []ocs.Want{session, event}, func(set *ocs.WorkingSet) {
			close(locked)
			l.awaitLockWait(t) // the other one is at the lock
			openSession(set, session, "s", 40)
			set.NewOutcomes = append(set.NewOutcomes, ocs.NewOutcome{Account: a.Key, Key: event.Step, Stored: ocs.StoredOutcome{Type: ocs.Event}})
		})
	}()
	<-locked
	err := other.Transact(t.Context(), 0, []ocs.Want{session, event}, func(set *ocs.WorkingSet) {
		if set.Sessions[refOf(session.Step)] == nil {
			t.Error("the session is not seen")
		}
		if set.Outcomes[event.Step] == nil {
			t.Error("the outcome is not seen")
		}
		if b := set.Accounts[a.Key].Balances[0]; b.Frozen != 40 {
			t.Errorf("frozen is seen as %d, want 40", b.Frozen)
		}
	})
	if err := errors.Join(err, <-ended); err != nil {
		t.Fatal(err)
	}
}

// awaitLockWait waits until a backend of the database waits for a lock.
func (l *ledger) awaitLockWait(t testing.TB) { l.awaitWait(t, "Lock", "") }

// awaitWait waits until a backend waits for the event, and returns its process.
func (l *ledger) awaitWait(t testing.TB, kind, event string) (pid int) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		err := l.pool.QueryRow(t.Context(), `select pid from pg_sleep(0.01), pg_stat_activity
			where datname = current_database() and wait_event_type = $1 and ($2 = '' or wait_event = $2) and pid <> pg_backend_pid()`, kind, event).Scan(&pid)
		if err == nil {
			return pid
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			t.Error(err)
			return 0
		}
	}
	t.Errorf("no backend waits for %s %s", kind, event)
	return 0
}

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// B-025: the same CCR-E reaches two nodes on one database at the same instant.
func TestTwoNodesSameEvent_B025(t *testing.T) {
	t.Attr("proves", "B-025")
	l := newLedger(t)
	other := openStore(t, l.dsn)
	payer := ocstest.NewPayer()
	a := l.AddAccount(t, ocstest.Prepaid(100_000_000), payer)
	config := ocs.EngineConfig{Policy: ocs.DefaultPolicy(), Sweep: -1, Lanes: 2}
	nodes := []*ocstest.Driver{ocstest.Start(t, l.Store, config), ocstest.Start(t, other, config)}
	const rounds = 50
	for range rounds {
		step := ocs.Step{
			SessionID: ocstest.NewSession(), Type: ocs.Event, Action: ocs.DirectDebit, Payer: []ocs.Identity{payer}, Service: ocstest.Voice,
			Items: []ocs.Item{ocstest.For(ocstest.Message, nil, ocstest.Wish(ocs.Events, 1))},
		}
		var both sync.WaitGroup
		answers := make([]ocs.Outcome, len(nodes))
		for i, node := range nodes {
			both.Go(func() { s := step; answers[i] = node.Do(s) })
		}
		both.Wait()
		if answers[0].Replayed == answers[1].Replayed {
			t.Fatalf("replayed: %v and %v, want one of them", answers[0].Replayed, answers[1].Replayed)
		}
		answers[0].Replayed, answers[1].Replayed = false, false
		if answers[0].Refusal != "" || !reflect.DeepEqual(answers[0], answers[1]) {
			t.Fatalf("answers differ:\n%+v\n%+v", answers[0], answers[1])
		}
	}
	if b := l.account(t, a.Key).Balances[0]; b.Amount != 100_000_000-rounds*300_000 {
		t.Errorf("%d left, want one debit of 300000 for each of %d events", b.Amount, rounds)
	}
	l.audit(t)
}

// A frozen node must lose its locks: every lane has the timeouts, and its plans
// are pinned.
func TestLanesHaveTheirSettings(t *testing.T) {
	l := newLedger(t)
	for setting, want := range map[string]string{
		"lock_timeout": "2s", "statement_timeout": "5s", "idle_in_transaction_session_timeout": "5s",
		"transaction_isolation": "read committed", "plan_cache_mode": "force_generic_plan", "enable_seqscan": "off",
	} {
		var got string
		if err := l.lanes[1].conn.QueryRow(t.Context(), "show "+setting).Scan(&got); err != nil || got != want {
			t.Errorf("%s = %q (%v), want %q", setting, got, err, want)
		}
	}
}

// due is indexed: it moves seldom, and never behind the deadline.
func TestDueMovesSeldom(t *testing.T) {
	l := newLedger(t)
	a := sampleAccount(t, l)
	w := want(a, "s", ocs.Initial, 0)
	due := func(deadline time.Duration) time.Time {
		t.Helper()
		transact(t, l.Store, w, func(set *ocs.WorkingSet) {
			s := set.Sessions[refOf(w.Step)]
			if s == nil {
				s = openSession(set, w, "s", 40)
			}
			s.Deadline, s.Dirty = set.Now.Add(deadline), true
		})
		var at time.Time
		if err := l.pool.QueryRow(t.Context(), "select due from session").Scan(&at); err != nil {
			t.Fatal(err)
		}
		return at
	}
	first := due(10 * time.Minute)
	if again := due(11 * time.Minute); !again.Equal(first) {
		t.Errorf("moved from %v to %v with nearly all of the time left", first, again)
	}
	if later := due(30 * time.Minute); !later.After(first.Add(10 * time.Minute)) {
		t.Errorf("did not move from %v although less than half of the new time was left", first)
	}
	if sooner := due(time.Minute); !sooner.Before(first) {
		t.Errorf("%v is behind a deadline that was brought forward", sooner)
	}
}

func TestExpiredAndCloseSession(t *testing.T) {
	l := newLedger(t)
	payer := ocstest.NewPayer()
	a := l.AddAccount(t, ocstest.Prepaid(10_000_000), payer)
	id := ocstest.NewSession()
	initial := ocs.Step{SessionID: id, Type: ocs.Initial, Payer: []ocs.Identity{payer}, Service: ocstest.Voice,
		Items: []ocs.Item{ocstest.For(ocstest.OnNet, nil, ocstest.Wish(0, 0))}}
	node := ocstest.Start(t, l.Store, ocs.EngineConfig{Policy: ocs.DefaultPolicy(), Sweep: -1})
	if o := node.Do(initial); o.Refusal != "" {
		t.Fatal(o.Refusal)
	}
	if wants, err := l.Expired(t.Context(), 10, nil); err != nil || len(wants) != 0 {
		t.Fatalf("expired: %v, %v", wants, err)
	}
	if err := l.admin.CloseSession(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	wants, err := l.Expired(t.Context(), 10, nil)
	if err != nil || len(wants) != 1 || wants[0].Account != a.Key || wants[0].Step.Session != ocs.KeyOf(id) {
		t.Fatalf("expired: %+v, %v", wants, err)
	}

	// Two sweeping nodes: one of them ends it, once.
	sweeping := ocs.EngineConfig{Policy: ocs.DefaultPolicy(), Sweep: 5 * time.Millisecond}
	ocstest.Start(t, l.Store, sweeping)
	ocstest.Start(t, openStore(t, l.dsn), sweeping)
	for l.count(t, "pg_sleep(0.01), session where closed_at is not null") == 0 {
	}
	if n := l.count(t, "journal where kind = 'expire'"); n != 1 {
		t.Errorf("%d expiry rows, want 1", n)
	}
	if b := l.account(t, a.Key).Balances[0]; b.Frozen != 0 || b.Amount != 10_000_000 {
		t.Errorf("balance %+v", b)
	}
	if err := l.admin.CloseSession(t.Context(), id); !errors.Is(err, ErrNoSession) {
		t.Errorf("closing it again: %v", err)
	}
	l.audit(t)
}

func TestOpenRefusesAForeignSchema(t *testing.T) {
	l := newLedger(t)
	l.exec(t, "insert into goose_db_version (version_id, is_applied) values (9999, true)")
	if _, err := Open(t.Context(), Options{DSN: l.dsn, Lanes: 1}); !errors.Is(err, sql.ErrVersion) {
		t.Errorf("got %v, want ErrVersion", err)
	}
}
