package pgstore

import (
	"errors"
	"sync"
	"testing"

	"gygate/ocs"
)

// The server falls silent, as when its machine is gone: what waits for it ends by the
// process's own clock, and says that nothing happened.
func TestServerFallsSilent(t *testing.T) {
	l := newLedger(t)
	a, b := sampleAccount(t, l), sampleAccount(t, l)
	for b.Key.Owner(2) == a.Key.Owner(2) { // lanes do not share accounts
		b = sampleAccount(t, l)
	}
	line := newLine(t, l.dsn)
	s := openStore(t, line.dsn)
	ask := func() error {
		_, err := s.Resolve(t.Context(), []ocs.Lookup{{Session: ocs.KeyOf("s")}})
		return err
	}
	if err := ask(); err != nil { // now there is a connection for look-ups, too
		t.Fatal(err)
	}
	s.lanes[1].close()
	line.silent.Store(true)
	var waits sync.WaitGroup
	for name, wait := range map[string]func() error{
		"a load": func() error {
			return s.Transact(t.Context(), 0, []ocs.Want{want(a, "s", ocs.Update, 1)}, func(*ocs.WorkingSet) { t.Error("decided on nothing") })
		},
		"a look-up": ask,
		"the look for expired sessions": func() error {
			_, err := s.Expired(t.Context(), 1, nil)
			return err
		},
		"the start of a client": func() error { return s.ClientStarted(t.Context(), "c.example", 1) },
		"a connection": func() error {
			return s.Transact(t.Context(), 1, []ocs.Want{want(b, "t", ocs.Update, 1)}, func(*ocs.WorkingSet) { t.Error("decided on nothing") })
		},
	} {
		waits.Go(func() {
			if err := wait(); !errors.Is(err, ocs.ErrUnreachable) || errors.Is(err, ocs.ErrOutcomeUnknown) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	waits.Wait()
	line.hearAgain()
	transact(t, s, want(a, "s", ocs.Update, 1), func(*ocs.WorkingSet) {})
	l.audit(t)
}

// An account that somebody holds is told from a server that is out of reach, whether
// the wait for it ends in a store or in a load under the locks.
func TestLockedAccountIsTold(t *testing.T) {
	l := newLedger(t)
	a := sampleAccount(t, l)
	w := want(a, "s", ocs.Initial, 0)
	transact(t, l.Store, w, func(set *ocs.WorkingSet) { openSession(set, w, "s", 40) })
	if _, err := lockAccount(t.Context(), l.begin(t, "select from balance for update"), a.Key); err != nil {
		t.Fatal(err)
	}
	for lane, locked := range []int{0, 1} {
		l.lanes[lane].trust.locked = locked
		err := l.Transact(t.Context(), lane, []ocs.Want{want(a, "s", ocs.Update, 1)}, func(set *ocs.WorkingSet) {
			set.Sessions[ocs.SessionRef{Key: ocs.KeyOf("s")}].Dirty = true
			set.Accounts[a.Key].Balances[0].Dirty = true
		})
		if !errors.Is(err, ocs.ErrLocked) || errors.Is(err, ocs.ErrOutcomeUnknown) {
			t.Errorf("under locks %d: %v", locked, err)
		}
	}
}

// A look-up behind the lock of a table ends like a transaction does.
func TestLookupBehindATableLock(t *testing.T) {
	l := newLedger(t)
	l.begin(t, "lock table session in access exclusive mode")
	if _, err := l.Resolve(t.Context(), []ocs.Lookup{{Session: ocs.KeyOf("s")}}); !errors.Is(err, ocs.ErrLocked) {
		t.Errorf("%v", err)
	}
}

// A connection to a server that takes no writes is not made, and one that is there is
// left: the next one may lead to the server that does.
func TestReadOnlyServerIsLeft(t *testing.T) {
	l := newLedger(t)
	a := sampleAccount(t, l)
	w := want(a, "s", ocs.Initial, 0)
	open := func(set *ocs.WorkingSet) { openSession(set, w, "s", 40) }
	if _, err := l.lanes[0].conn.Exec(t.Context(), "set default_transaction_read_only = on"); err != nil {
		t.Fatal(err)
	}
	if err := l.Transact(t.Context(), 0, []ocs.Want{w}, open); err == nil || errors.Is(err, ocs.ErrOutcomeUnknown) {
		t.Errorf("a server that takes no writes: %v", err)
	}
	transact(t, l.Store, w, open)

	readOnly := func(setting string) {
		l.exec(t, "do $$ begin execute format('alter database %I "+setting+"', current_database()); end $$")
	}
	readOnly("set default_transaction_read_only = on")
	s, err := Open(t.Context(), Options{DSN: l.dsn, Lanes: 1})
	if err == nil {
		s.Close()
		t.Error("opened on a server that takes no writes")
	}
	readOnly("reset default_transaction_read_only")
	l.audit(t)
}
