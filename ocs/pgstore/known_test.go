package pgstore

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"gygate/ocs"
	"gygate/ocs/ocstest"
	"gygate/ocs/recent"
)

// checkKnown compares what the store knows with what is in the database: an account
// whose versions are still those of the table is what the table says, and so are its
// sessions. No transaction may be under way.
func (l *ledger) checkKnown(t testing.TB) (accounts, sessions int) {
	t.Helper()
	for _, shard := range l.shards {
		shard.mu.Lock() // the test's engines may be sweeping
		defer shard.mu.Unlock()
		stored := newLoader()
		shard.accounts.Each(func(key ocs.AccountKey, _ *account) { stored.accountKeys = append(stored.accountKeys, key) })
		for _, known := range []*recent.Map[ocs.SessionRef, *session]{&shard.open, &shard.closed} {
			known.Each(func(ref ocs.SessionRef, _ *session) { stored.sessionKeys = append(stored.sessionKeys, ref) })
		}
		conn, err := l.pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		err = stored.read(t.Context(), conn.Conn())
		conn.Release()
		if err != nil {
			t.Fatal(err)
		}
		fresh := map[*account]bool{}
		shard.accounts.Each(func(key ocs.AccountKey, a *account) {
			is := stored.accounts[key]
			if fresh[a] = slices.Equal(is.marks, a.marks); !fresh[a] {
				return
			}
			accounts++
			if !reflect.DeepEqual(a.Account, is.Account) {
				t.Errorf("account %d is known as\n%+v, but is\n%+v", key.ID, a.Account, is.Account)
			}
		})
		for _, known := range []*recent.Map[ocs.SessionRef, *session]{&shard.open, &shard.closed} {
			known.Each(func(ref ocs.SessionRef, n *session) {
				if now, there := shard.accounts.Get(n.Account); !there || now != n.under || !fresh[n.under] {
					return // worth nothing, and never used
				}
				sessions++
				if stored.sessions[ref] == nil {
					t.Errorf("session %s is known, but is not there", n.ID)
				} else if known, is := asStored(n.Session), asStored(stored.sessions[ref].Session); !reflect.DeepEqual(known, is) {
					t.Errorf("session %s is known as\n%+v, but is\n%+v", n.ID, known, is)
				}
			})
		}
	}
	return accounts, sessions
}

// asStored is a session without what is not stored of it.
func asStored(s *ocs.Session) ocs.Session {
	c := normal(*s)
	c.Targets, c.Outcomes = nil, nil
	for _, t := range s.Targets {
		copied := *t
		if copied.Freezes = slices.Clone(t.Freezes); len(copied.Freezes) == 0 {
			copied.Freezes = nil
		}
		c.Targets = append(c.Targets, &copied)
	}
	for _, o := range s.Outcomes {
		o.Outcome.Account, o.Outcome.Class = ocs.AccountKey{}, ""
		c.Outcomes = append(c.Outcomes, o)
	}
	return c
}

// What a store knows after many steps of all kinds, failures among them, is what it
// would load.
func TestKnownIsWhatIsStored(t *testing.T) {
	for _, limit := range []int{KnownMaxDefault, 16} { // everything known, and hardly anything
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			l := newLedger(t, func(o *Options) { o.KnownMax = limit })
			ocstest.Converse(t, l.Store, audited{l}, ocstest.ConverseConfig{Seed: uint64(limit), Sessions: 150})
			accounts, sessions := l.checkKnown(t)
			if accounts == 0 || (limit == KnownMaxDefault && sessions == 0) {
				t.Errorf("%d accounts and %d sessions are known", accounts, sessions)
			}
			l.audit(t)
		})
	}
}

// What somebody else changes under a known account is seen by the next step, be it
// one that stores something or one that only answers.
func TestChangesOfOthersAreSeen(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(t *testing.T, l *ledger, a ocs.Account, number string)
		seen   func(a *ocs.Account, s *ocs.Session) bool
	}{
		{"a step of another node", func(t *testing.T, l *ledger, a ocs.Account, _ string) {
			transact(t, openStore(t, l.dsn), want(a, "s", ocs.Update, 1), func(set *ocs.WorkingSet) {
				s := set.Sessions[ocs.SessionRef{Key: ocs.KeyOf("s")}]
				s.Served, s.Dirty = ocs.ServedWindow{Top: 1, Bits: 3}, true
			})
		}, func(_ *ocs.Account, s *ocs.Session) bool { return s.Served.Top == 1 }},
		{"a step of another node under its locks", func(t *testing.T, l *ledger, a ocs.Account, _ string) {
			other := openStore(t, l.dsn)
			other.lanes[0].trust.locked = 1
			transact(t, other, want(a, "s", ocs.Update, 1), func(set *ocs.WorkingSet) {
				s := set.Sessions[ocs.SessionRef{Key: ocs.KeyOf("s")}]
				s.Served, s.Dirty = ocs.ServedWindow{Top: 1, Bits: 3}, true
			})
		}, func(_ *ocs.Account, s *ocs.Session) bool { return s.Served.Top == 1 }},
		{"a second session", func(t *testing.T, l *ledger, a ocs.Account, _ string) {
			w := want(a, "s2", ocs.Initial, 0)
			transact(t, openStore(t, l.dsn), w, func(set *ocs.WorkingSet) { openSession(set, w, "s2", 7) })
		}, func(a *ocs.Account, _ *ocs.Session) bool { return a.Balances[0].Frozen == 47 }},
		{"a top-up", func(t *testing.T, l *ledger, _ ocs.Account, number string) {
			if _, err := l.admin.TopUp(t.Context(), TopUp{Identity: number, Amount: 5, Source: "top-up", Key: number}); err != nil {
				t.Fatal(err)
			}
		}, func(a *ocs.Account, _ *ocs.Session) bool { return a.Balances[0].Amount == 105 }},
		{"a bar", func(t *testing.T, l *ledger, a ocs.Account, _ string) { l.Block(t, a.Key) },
			func(a *ocs.Account, _ *ocs.Session) bool { return a.Blocked != nil }},
		{"a change by hand", func(t *testing.T, l *ledger, _ ocs.Account, _ string) { l.exec(t, "update account set threshold = 3") },
			func(a *ocs.Account, _ *ocs.Session) bool { return a.Threshold == 3 }},
		{"the order to end a session", func(t *testing.T, l *ledger, _ ocs.Account, _ string) {
			if err := l.admin.CloseSession(t.Context(), "s"); err != nil {
				t.Fatal(err)
			}
		}, func(_ *ocs.Account, s *ocs.Session) bool { return !s.LateUntil.IsZero() }},
	} {
		for _, stores := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, stores %v", c.name, stores), func(t *testing.T) {
				l := newLedger(t)
				number := ocstest.NewPayer()
				a := l.AddAccount(t, ocstest.Prepaid(100), number)
				w := want(a, "s", ocs.Initial, 0)
				transact(t, l.Store, w, func(set *ocs.WorkingSet) { openSession(set, w, "s", 40) })
				c.change(t, l, a, number.Value)

				var seen []bool
				w.Step.Type, w.Step.Number = ocs.Update, 2
				transact(t, l.Store, w, func(set *ocs.WorkingSet) {
					s := set.Sessions[refOf(w.Step)]
					seen = append(seen, c.seen(set.Accounts[a.Key], s))
					if stores {
						s.Deadline, s.Dirty = s.Deadline.Add(time.Minute), true
					}
				})
				if !slices.Equal(seen, []bool{false, true}) {
					t.Errorf("seen: %v, want that it was decided on what was known, and again on what is", seen)
				}
				l.checkKnown(t)
				l.audit(t)
			})
		}
	}
}

// A first request is taken to begin its session. When the session is there, under
// whatever account, or the request was refused before, that is found out: whether
// the session is opened again, refused, or nothing is stored at all.
func TestFirstRequestThatIsNone(t *testing.T) {
	for _, before := range []struct {
		name string
		do   func(set *ocs.WorkingSet, w ocs.Want)
		seen func(set *ocs.WorkingSet, w ocs.Want) bool
	}{
		{"open", func(set *ocs.WorkingSet, w ocs.Want) { openSession(set, w, "s", 40) },
			func(set *ocs.WorkingSet, w ocs.Want) bool { return set.Sessions[refOf(w.Step)] != nil }},
		{"refused", refuse, func(set *ocs.WorkingSet, w ocs.Want) bool { return set.Outcomes[w.Step] != nil }},
	} {
		for _, then := range []struct {
			name string
			do   func(set *ocs.WorkingSet, w ocs.Want)
		}{
			{"opened", func(set *ocs.WorkingSet, w ocs.Want) { openSession(set, w, "s", 10) }},
			{"refused", refuse},
			{"answered", func(*ocs.WorkingSet, ocs.Want) {}},
		} {
			t.Run(before.name+", then "+then.name, func(t *testing.T) {
				l := newLedger(t)
				a := sampleAccount(t, l)
				w := want(a, "s", ocs.Initial, 0)
				transact(t, openStore(t, l.dsn), w, func(set *ocs.WorkingSet) { before.do(set, w) })
				transact(t, l.Store, want(a, "other", ocs.Update, 1), func(*ocs.WorkingSet) {}) // now the account is known
				var seen []bool
				transact(t, l.Store, w, func(set *ocs.WorkingSet) {
					there := before.seen(set, w)
					if seen = append(seen, there); !there {
						then.do(set, w)
					}
				})
				if !slices.Equal(seen, []bool{false, true}) {
					t.Errorf("seen: %v, want that it is found out", seen)
				}
				l.audit(t)
			})
		}
	}
	t.Run("open under another account", func(t *testing.T) {
		l := newLedger(t)
		first, second := sampleAccount(t, l), sampleAccount(t, l)
		w := want(first, "s", ocs.Initial, 0)
		transact(t, l.Store, w, func(set *ocs.WorkingSet) { openSession(set, w, "s", 40) })
		transact(t, l.Store, want(second, "other", ocs.Update, 1), func(*ocs.WorkingSet) {})
		w.Account = second.Key
		found := false
		transact(t, l.Store, w, func(set *ocs.WorkingSet) {
			if s := set.Sessions[refOf(w.Step)]; s != nil {
				found = s.Account == first.Key
				return
			}
			openSession(set, w, "s", 10)
		})
		if !found || l.count(t, "session") != 1 {
			t.Errorf("the other account's session is not seen, there are %d", l.count(t, "session"))
		}
		l.audit(t)
	})
}

// refuse stores a refusal that opens no session.
func refuse(set *ocs.WorkingSet, w ocs.Want) {
	set.NewOutcomes = append(set.NewOutcomes, ocs.NewOutcome{Account: w.Account, Key: w.Step, Stored: ocs.StoredOutcome{
		Type: w.Step.Type, Number: w.Step.Number, Outcome: ocs.Outcome{Refusal: ocs.NoBalance},
	}})
}

// An account without a balance has nothing that could guard it: it is never known.
func TestAccountWithoutABalanceIsNeverKnown(t *testing.T) {
	l := newLedger(t)
	a := l.AddAccount(t, ocs.Account{Currency: 978, Balances: []*ocs.Balance{}}, ocstest.NewPayer())
	l.exec(t, "delete from balance")
	w := want(a, "s", ocs.Initial, 0)
	for range 2 {
		transact(t, l.Store, w, func(set *ocs.WorkingSet) {
			if set.Outcomes[w.Step] == nil {
				refuse(set, w)
			}
		})
	}
	if accounts, _ := l.checkKnown(t); accounts != 0 || l.count(t, "outcome") != 1 {
		t.Errorf("%d accounts are known, %d outcomes stored", accounts, l.count(t, "outcome"))
	}
}

// Two stores that share one account, each step at the one that does not know of the
// last: all is charged once, and after some disappointments the locks are taken at
// once.
func TestNodesThatShareAnAccount(t *testing.T) {
	l := newLedger(t)
	payer := ocstest.NewPayer()
	a := l.AddAccount(t, ocstest.Prepaid(10_000), payer)
	stores := []*Store{l.Store, openStore(t, l.dsn)}
	decided := 0
	const steps = 40
	for n := range steps {
		w := want(a, fmt.Sprint(n), ocs.Initial, 0)
		transact(t, stores[n%2], w, func(set *ocs.WorkingSet) {
			decided++
			openSession(set, w, fmt.Sprint(n), 1)
		})
	}
	if frozen := l.account(t, a.Key).Balances[0].Frozen; frozen != steps {
		t.Errorf("%d frozen, want %d", frozen, steps)
	}
	if decided < steps+2 || decided > steps+12 {
		t.Errorf("%d steps were decided %d times", steps, decided)
	}
	l.audit(t)
}

func TestTrust(t *testing.T) {
	var b trust
	disappointments := func(batches int) (n int) {
		for range batches {
			if b.next() {
				b.disappointed()
				n++
			}
		}
		return n
	}
	if n := disappointments(1000); n > 1000/distrustMax+8 {
		t.Errorf("disappointed %d times in 1000 batches", n)
	}
	for range 200 {
		if b.next() {
			b.confirmed()
		}
	}
	if b.pause != 0 || !b.next() {
		t.Errorf("after many confirmations: %+v", b)
	}
}

func TestClockSmoothsReadings(t *testing.T) {
	var c clock
	if _, fresh := c.now(); fresh {
		t.Error("a clock that was never read is fresh")
	}
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	if got := c.exact(at); !got.Equal(at) {
		t.Errorf("got %v", got)
	}
	if got := c.exact(at.Add(-time.Millisecond)); !got.Equal(at) {
		t.Errorf("a reading a little earlier gives %v", got)
	}
	if got := c.exact(at.Add(-time.Hour)); !got.Equal(at.Add(-time.Hour)) {
		t.Errorf("a clock that was set back gives %v", got)
	}
	sent := time.Now()
	c.set(at.Add(time.Hour), sent, sent)
	if now, fresh := c.now(); !fresh || now.Sub(at.Add(time.Hour)) > time.Minute || now.Before(at.Add(time.Hour)) {
		t.Errorf("reckoned %v, fresh %v", now, fresh)
	}
}

// A rule that breaks leaves nothing known of what it touched.
func TestPanicLeavesNothingKnown(t *testing.T) {
	l := newLedger(t)
	a := sampleAccount(t, l)
	w := want(a, "s", ocs.Initial, 0)
	transact(t, l.Store, w, func(set *ocs.WorkingSet) { openSession(set, w, "s", 40) })
	func() {
		defer func() { recover() }()
		l.Transact(context.WithoutCancel(t.Context()), 0, []ocs.Want{w}, func(set *ocs.WorkingSet) {
			set.Accounts[a.Key].Balances[0].Frozen = 1
			panic("broken rule")
		})
	}()
	if accounts, _ := l.checkKnown(t); accounts != 0 {
		t.Errorf("%d accounts are known", accounts)
	}
	transact(t, l.Store, w, func(set *ocs.WorkingSet) {
		if set.Accounts[a.Key].Balances[0].Frozen != 40 {
			t.Error("what the broken rule did is remembered")
		}
	})
}

// Two steps of an account that is not known yet find it there.
func TestTwoStepsOfAnUnknownAccount(t *testing.T) {
	l := newLedger(t)
	a := sampleAccount(t, l)
	decided := 0
	err := l.lanes[0].onTrust(t.Context(), []ocs.Want{want(a, "s", ocs.Update, 1), want(a, "u", ocs.Update, 1)}, func(*ocs.WorkingSet) { decided++ })
	if err != nil || decided != 1 {
		t.Errorf("decided %d times, %v", decided, err)
	}
}
