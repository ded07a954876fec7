package pgstore

import (
	"context"
	"strings"
	"sync"
	"testing"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// Two nodes are given one Session-Id for two accounts of different buckets at once, each
// when the other's session is inserted but not committed, on trust or under the locks:
// one begins the session, the other one finds it.
func TestTwoAccountsWithOneSessionID(t *testing.T) {
	for _, locked := range []int{0, 1} {
		l := newLedger(t)
		stores := []*Store{l.Store, openStore(t, l.dsn)}
		a, b := sampleAccount(t, l), sampleAccount(t, l)
		for b.Key.Bucket == a.Key.Bucket {
			b = sampleAccount(t, l)
		}
		tx, err := l.pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), "lock table journal in exclusive mode"); err != nil { // the store behind the sessions
			t.Fatal(err)
		}
		found := make([]ocs.AccountKey, len(stores))
		var wait sync.WaitGroup
		for i, s := range stores {
			s.lanes[0].trust.locked = locked
			w := want([]ocs.Account{a, b}[i], "s", ocs.Initial, 0)
			wait.Go(func() {
				err := s.Transact(context.Background(), 0, []ocs.Want{w}, func(set *ocs.WorkingSet) {
					if n := set.Sessions[refOf(w.Step)]; n != nil {
						found[i] = n.Account
						return
					}
					openSession(set, w, "s", 40)
				})
				if err != nil {
					t.Errorf("locked %d, node %d: %v", locked, i, err)
				}
			})
		}
		l.until(t, "pg_locks where not granted having count(*) = 2") // for the journal, and for the other one's key
		if err := tx.Rollback(t.Context()); err != nil {
			t.Error(err)
		}
		wait.Wait()
		if (found[0] == b.Key) == (found[1] == a.Key) || l.count(t, "session") != 1 {
			t.Errorf("locked %d: found %v, %d sessions", locked, found, l.count(t, "session"))
		}
		l.audit(t)
	}
}

// A target whose text is longer than 65535 octets.
func TestTargetThatCouldNotBeReadAgainIsRefused(t *testing.T) {
	l := newLedger(t)
	a := sampleAccount(t, l)
	w := want(a, "s", ocs.Initial, 0)
	err := l.Transact(t.Context(), 0, []ocs.Want{w}, func(set *ocs.WorkingSet) {
		s := openSession(set, w, "s", 40)
		s.Targets[0].Target = ocs.Target("1/" + strings.Repeat("4294967295,", 6000))
	})
	t.Log("stored:", err)
	w.Step.Type = ocs.Expire
	if err := l.Transact(t.Context(), 0, []ocs.Want{w}, func(set *ocs.WorkingSet) {}); err != nil {
		t.Errorf("the session cannot be loaded any more: %v", err)
	}
}

// Balance edited beside the engine without the version (psql, an older node's notices).
func TestBalanceChangedByHandIsSeen(t *testing.T) {
	l := newLedger(t)
	a := l.AddAccount(t, ocstest.Prepaid(100), ocstest.NewPayer())
	w := want(a, "s", ocs.Initial, 0)
	transact(t, l.Store, w, func(set *ocs.WorkingSet) { openSession(set, w, "s", 40) })
	l.exec(t, "update balance set amount = amount + 1000")
	w = later(w)
	transact(t, l.Store, w, func(set *ocs.WorkingSet) {
		x := set.Accounts[a.Key].Balances[0]
		x.Frozen, x.Dirty = 39, true
		set.Sessions[refOf(w.Step)].Targets[0].Freezes[0].Amount, set.Sessions[refOf(w.Step)].Dirty = 39, true
	})
	if got := l.account(t, a.Key).Balances[0].Amount; got != 1100 {
		t.Errorf("amount is %d, the correction by hand of 1000 is lost", got)
	}
}

// A writer that holds the guard while a store waits for it is seen.
func TestWriterThatHoldsTheGuardIsSeen(t *testing.T) {
	l := newLedger(t)
	a := sampleAccount(t, l)
	w := want(a, "s", ocs.Initial, 0)
	transact(t, l.Store, w, func(set *ocs.WorkingSet) { openSession(set, w, "s", 40) })
	tx, err := l.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "update balance set version = version + 1, amount = amount + 5"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	var seen []int64
	w = later(w)
	go func() {
		done <- l.Transact(context.Background(), 0, []ocs.Want{w}, func(set *ocs.WorkingSet) {
			x := set.Accounts[a.Key].Balances[0]
			seen = append(seen, x.Amount)
			x.Dirty = true
		})
	}()
	l.until(t, "pg_locks where not granted")
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Log(seen, l.account(t, a.Key).Balances[0].Amount)
	if len(seen) != 2 || l.account(t, a.Key).Balances[0].Amount != 105 {
		t.Error("stale decision stored")
	}
}

// Failover to a database that lacks the last commit (or a restored one): versions repeat.
func TestVersionsThatRepeatAfterAFailover(t *testing.T) {
	l := newLedger(t)
	number := ocstest.NewPayer()
	a := l.AddAccount(t, ocstest.Prepaid(100), number)
	w := want(a, "s", ocs.Initial, 0)
	transact(t, l.Store, w, func(set *ocs.WorkingSet) { openSession(set, w, "s", 40) })
	w2 := w
	w2.Step.Type, w2.Step.Number = ocs.Update, 1
	l.exec(t, "create table kept as select * from balance")
	transact(t, l.Store, w2, func(set *ocs.WorkingSet) { set.Accounts[a.Key].Balances[0].Dirty = true })
	// the standby does not have that one; everybody has to connect anew
	l.exec(t, "update balance b set version = k.version, amount = k.amount, frozen = k.frozen from kept k where k.id = b.id")
	l.exec(t, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'gygate' and pid <> pg_backend_pid()")
	if _, err := l.admin.TopUp(t.Context(), TopUp{Identity: number.Value, Amount: 50, Source: "top-up", Key: "k"}); err != nil {
		t.Fatal(err)
	}
	w3 := want(sampleAccount(t, l), "t", ocs.Update, 1) // somebody else's step is the one that meets the dead connection
	for l.Transact(t.Context(), 0, []ocs.Want{w3}, func(set *ocs.WorkingSet) {}) != nil {
	}
	w2.Step.Number = 2
	for range 3 {
		if err := l.Transact(t.Context(), 0, []ocs.Want{w2}, func(set *ocs.WorkingSet) {
			x := set.Accounts[a.Key].Balances[0]
			x.Frozen, x.Dirty = 39, true
			set.Sessions[refOf(w2.Step)].Targets[0].Freezes[0].Amount, set.Sessions[refOf(w2.Step)].Dirty = 39, true
		}); err == nil {
			break
		} else {
			t.Log(err)
		}
	}
	if got := l.account(t, a.Key).Balances[0].Amount; got != 150 {
		t.Errorf("amount is %d: the top-up of 50 after the failover is overwritten", got)
	}
}

// A refused first request that is repeated in one batch with many steps of its session.
func TestFirstOutcomePushedOut(t *testing.T) {
	l := newLedger(t)
	a := sampleAccount(t, l)
	w := want(a, "s", ocs.Initial, 0)
	transact(t, openStore(t, l.dsn), w, func(set *ocs.WorkingSet) { refuse(set, w) })
	transact(t, l.Store, want(a, "other", ocs.Update, 1), func(*ocs.WorkingSet) {}) // account known
	transact(t, l.Store, w, func(set *ocs.WorkingSet) {
		if set.Outcomes[w.Step] != nil {
			return
		}
		s := openSession(set, w, "s", 40)
		for n := range uint32(ocs.OutcomesKept) { // 16 updates in the same batch: the rules keep the last 16
			s.Outcomes = append(s.Outcomes, ocs.StoredOutcome{Type: ocs.Update, Number: n + 1})
		}
		s.Outcomes = s.Outcomes[1:]
	})
	if n := l.count(t, "session"); n != 0 {
		t.Errorf("the repeat of a refused CCR-I has opened a session")
	}
}
