package pgstore

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"gygate/diameter"
	"gygate/ocs"
	"gygate/ocs/ocstest"
	"gygate/sql"
	"gygate/sql/localpg"
)

// B-155: the database is gone. The client hears at once that another node should
// try, and nothing is left behind.
func TestDatabaseAway(t *testing.T) {
	t.Attr("proves", "B-155")
	dir := shortDir(t)
	payer, stays := ocstest.NewPayer(), ocstest.NewSession()
	server, err := localpg.Start(t.Context(), localpg.Options{DataDir: dir, DieWithOwner: true})
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	defer func() {
		if !stopped {
			server.Stop(t.Context())
		}
	}()
	if _, _, err := sql.Migrate(t.Context(), server.DSN()); err != nil {
		t.Fatal(err)
	}
	l := &ledger{dsn: server.DSN(), pool: newPool(t, server.DSN())}
	l.admin, l.Store = NewAdmin(l.pool), openStore(t, l.dsn)
	l.AddAccount(t, ocstest.Prepaid(10*money), payer)
	n := newNode(t, l.Store, "ocs1.example")
	codes(t, n.send(t, request(stays, payer, ocs.Initial, 0, 0), 0), 2001)

	stopped = true
	if err := server.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, r := range []struct {
		kind   ocs.StepType
		id     string
		number uint32
	}{{ocs.Initial, ocstest.NewSession(), 0}, {ocs.Update, stays, 1}, {ocs.Terminate, stays, 2}} {
		codes(t, n.send(t, request(r.id, payer, r.kind, r.number, 10), 0), diameter.UnableToDeliver)
	}
	codes(t, n.send(t, oneTime(ocstest.NewSession(), payer, ocs.DirectDebit, nil), 0), diameter.UnableToDeliver)

	onPrivateServer(t, localpg.Options{DataDir: dir}, func(l *ledger) { // it comes back
		if n := l.count(t, "session where session_id <> $1", stays) + l.count(t, "outcome") + l.count(t, "journal where debited > 0"); n != 0 {
			t.Errorf("%d rows left behind", n)
		}
		l.audit(t)
		codes(t, newNode(t, l.Store, "ocs2.example").send(t, request(stays, payer, ocs.Update, 1, 10), again), 2001)
	})
}

// B-156: the connection is cut right after COMMIT was sent. Nobody knows what
// happened, so nobody says; the repeat is answered by what was committed.
func TestCommitOutcomeUnknown(t *testing.T) {
	t.Attr("proves", "B-156")
	l := newLedger(t)
	payer := ocstest.NewPayer()
	a := l.AddAccount(t, ocstest.Prepaid(10*money), payer)
	id := ocstest.NewSession()
	for number, kind := range []ocs.StepType{ocs.Initial, ocs.Update, ocs.Terminate} {
		line := newLine(t, l.dsn)
		cut := newNode(t, openStore(t, line.dsn, func(o *Options) {
			o.Hook = func(point string) {
				if point == BeforeCommit {
					line.swallow.Store(true) // the commit gets there, its acknowledgement does not come back
				}
			}
		}), "ocs1.example")
		r := request(id, payer, kind, uint32(number), uint32(10*number))
		codes(t, cut.send(t, r, 0), diameter.UnableToDeliver)
		written := l.journalled(t)

		healthy := newNode(t, openStore(t, l.dsn), "ocs2.example")
		answer := healthy.send(t, r, again)
		codes(t, answer, 2001)
		if l.journalled(t) != written {
			t.Errorf("%v: the repeat moved money again", kind)
		}
		if charging(healthy.send(t, r, again)) != charging(answer) {
			t.Errorf("%v: two answers", kind)
		}
	}
	if b := l.account(t, a.Key).Balances[0]; b.Amount != int64(10*money)-300_000 || b.Frozen != 0 {
		t.Errorf("balance %+v, want 30 s debited", b)
	}
	l.audit(t)
}

// B-220: connections of a node under load are cut at random points. Whatever was
// answered is stored, nothing is stored twice, and what was not answered can be
// repeated until it is.
func TestConnectionsCutUnderLoad(t *testing.T) {
	t.Attr("proves", "B-220")
	const cuts, callers = 1000, 8
	l := newLedger(t)
	line := newLine(t, l.dsn)
	working := make(chan struct{}, 1) // a batch is about to be committed
	n := newNode(t, openStore(t, line.dsn, func(o *Options) {
		o.Hook = func(point string) {
			if point == BeforeCommit {
				select {
				case working <- struct{}{}:
				default:
				}
			}
		}
	}), "ocs1.example")
	stop := make(chan struct{})
	var load sync.WaitGroup
	reported := make([]uint32, callers) // seconds whose report was answered
	payers := make([]ocs.Identity, callers)
	for i := range callers {
		payers[i] = ocstest.NewPayer()
		l.AddAccount(t, ocstest.Prepaid(100_000*money), payers[i])
		load.Go(func() { reported[i] = l.talk(t, n, payers[i], stop) })
	}
	random := rand.New(rand.NewPCG(220, 2026))
	for range cuts {
		<-working // or all cuts would hit the connecting
		line.cutAfter(random.IntN(4000))
	}
	close(stop)
	load.Wait()
	for i, payer := range payers {
		if b := l.account(t, l.key(t, payer.Value)).Balances[0]; b.Amount != int64(100_000*money)-int64(reported[i])*10_000 || b.Frozen != 0 {
			t.Errorf("caller %d: balance %+v after %d reported seconds", i, b, reported[i])
		}
	}
	l.audit(t)
}

// talk carries on calls until stop is closed, repeating what fails, checks that
// each answer's request is in the books when the answer comes, and returns what it
// reported.
func (l *ledger) talk(t testing.TB, n *node, payer ocs.Identity, stop <-chan struct{}) (seconds uint32) {
	for {
		id := ocstest.NewSession()
		for number, kind := range []ocs.StepType{ocs.Initial, ocs.Update, ocs.Update, ocs.Terminate} {
			used := min(uint32(number), 1) * (1 + uint32(number))
			r := request(id, payer, kind, uint32(number), used)
			answer := n.send(t, r, 0)
			for answer.ResultCode() == diameter.UnableToDeliver || answer.ResultCode() == diameter.TooBusy {
				answer = n.send(t, r, again)
			}
			if answer.ResultCode() != 2001 {
				t.Errorf("%v %d: answered %d", kind, number, answer.ResultCode())
				return seconds
			}
			if stored := l.count(t, "session where session_id = $1 and served_top >= $2", id, number); stored != 1 {
				t.Errorf("%v %d was answered and is not stored", kind, number)
			}
			seconds += used
		}
		select {
		case <-stop:
			return seconds
		default:
		}
	}
}

// B-222: many sessions on one account at two nodes, beside top-ups and foreign
// transactions that lock in another order: no request fails for it.
func TestCollisionsAreRetried(t *testing.T) {
	t.Attr("proves", "B-222")
	l := newLedger(t)
	payer := ocstest.NewPayer()
	a := l.AddAccount(t, ocstest.Prepaid(10_000*money), payer)
	nodes := []*node{newNode(t, l.Store, "ocs1.example"), newNode(t, openStore(t, l.dsn), "ocs2.example")}
	const sessions, updates = 100, 10
	var all sync.WaitGroup
	for i := range sessions {
		all.Go(func() {
			id := ocstest.NewSession()
			codesFrom := func(kind ocs.StepType, number, used uint32) {
				m := nodes[(i+int(number))%2].send(t, request(id, payer, kind, number, used), 0)
				if m.ResultCode() != 2001 {
					t.Errorf("%v %d: answered %d", kind, number, m.ResultCode())
				}
			}
			codesFrom(ocs.Initial, 0, 0)
			for number := range uint32(updates) {
				codesFrom(ocs.Update, number+1, 1)
			}
			codesFrom(ocs.Terminate, updates+1, 1)
		})
	}
	all.Go(func() {
		for range 20 {
			l.topUp(t, payer, 1)
		}
	})
	all.Wait()
	if b := l.account(t, a.Key).Balances[0]; b.Amount != int64(10_000*money)+20-sessions*(updates+1)*10_000 || b.Frozen != 0 {
		t.Errorf("balance %+v", b)
	}
	l.audit(t)
}

// B-222: a deadlock, of which the node is the victim.
func TestDeadlockIsRetried(t *testing.T) {
	t.Attr("proves", "B-222")
	l := newLedger(t)
	payer := ocstest.NewPayer()
	a := l.AddAccount(t, ocstest.Prepaid(10*money), payer)
	n := newNode(t, l.Store, "ocs1.example")
	id := ocstest.NewSession()
	codes(t, n.send(t, request(id, payer, ocs.Initial, 0, 0), 0), 2001)
	// The foreign transaction holds the session's row and then wants the balance,
	// which the node holds while it wants the session's row.
	var update <-chan diameter.Message
	err := pgx.BeginFunc(t.Context(), l.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "set local deadlock_timeout = '1min'"); err != nil { // not the victim
			return err
		}
		if _, err := tx.Exec(t.Context(), "select from session for update"); err != nil {
			return err
		}
		update = n.submit(t, frame(t, request(id, payer, ocs.Update, 1, 10), 0))
		l.awaitLockWait(t)
		_, err := tx.Exec(t.Context(), "select from balance for update")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	codes(t, await(t, update), 2001)
	l.until(t, "pg_stat_database where datname = current_database() and deadlocks > 0")
	if b := l.account(t, a.Key).Balances[0]; b.Amount != int64(10*money)-100_000 || b.Frozen != 600_000 {
		t.Errorf("balance %+v", b)
	}
	l.audit(t)
}

// B-225: a node whose clock is off by five seconds, either way.
func TestClockOfTheNodeDoesNotCount(t *testing.T) {
	t.Attr("proves", "B-225")
	for _, skew := range []time.Duration{-5 * time.Second, 5 * time.Second} {
		t.Run(skew.String(), func(t *testing.T) {
			l := newLedger(t)
			payer := ocstest.NewPayer()
			l.AddAccount(t, ocstest.Prepaid(10*money), payer)
			// The database's clock differs from the process's by that much.
			for _, clock := range []string{"clock_timestamp", "now"} {
				l.exec(t, fmt.Sprintf("create function %[1]s() returns timestamptz language sql as 'select pg_catalog.%[1]s() + make_interval(secs => %[2]v)'", clock, skew.Seconds()))
			}
			l.exec(t, "do $$ begin execute format('alter database %I set search_path = public, pg_catalog', current_database()); end $$")
			n := newNode(t, openStore(t, l.dsn), "ocs1.example")
			id := ocstest.NewSession()
			codes(t, n.send(t, request(id, payer, ocs.Initial, 0, 0), 0), 2001)
			pool := newPool(t, l.dsn)
			left := func() (seconds float64) {
				t.Helper()
				if err := pool.QueryRow(t.Context(), "select extract(epoch from deadline - clock_timestamp()) from session").Scan(&seconds); err != nil {
					t.Fatal(err)
				}
				return seconds
			}
			if s := left(); s > tcc.Seconds() || s < tcc.Seconds()-2.5 {
				t.Errorf("%v s left by the database's clock, want %v", s, tcc)
			}
			l.silence(t, id, tcc-3*time.Second) // by the node's clock over, or far from it
			if ended := n.Sweep(t.Context()); ended != 0 {
				t.Errorf("ended %v s before its time", left())
			}
			l.silence(t, id, 3*time.Second)
			if ended := n.Sweep(t.Context()); ended != 1 {
				t.Errorf("not ended %v s after its time", -left())
			}
		})
	}
}
