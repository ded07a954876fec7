package pgstore

import (
	"bytes"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"gygate/ocs"
	"gygate/ocs/ocstest"
	"gygate/sql"
	"gygate/sql/localpg"
)

// A statement that the database refuses undoes the whole transaction; the lane
// goes on.
func TestRefusedStatementStoresNothing(t *testing.T) {
	l := newLedger(t)
	a := sampleAccount(t, l)
	w := want(a, "s", ocs.Initial, 0)
	err := l.Transact(t.Context(), 0, []ocs.Want{w}, func(set *ocs.WorkingSet) {
		openSession(set, w, "s", 101) // more than the balance has
	})
	if err == nil || errors.Is(err, ocs.ErrOutcomeUnknown) {
		t.Fatalf("got %v, want an error after which nothing is stored", err)
	}
	if n := l.count(t, "session") + l.count(t, "session_freezes"); n != 0 {
		t.Errorf("%d rows stored", n)
	}
	transact(t, l.Store, w, func(set *ocs.WorkingSet) { openSession(set, w, "s", 40) })
	l.audit(t)
}

func TestPanicOfDecideStoresNothing(t *testing.T) {
	l := newLedger(t)
	a := sampleAccount(t, l)
	w := want(a, "s", ocs.Initial, 0)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is swallowed")
			}
		}()
		l.Transact(t.Context(), 0, []ocs.Want{w}, func(set *ocs.WorkingSet) {
			openSession(set, w, "s", 40)
			panic("broken rule")
		})
	}()
	transact(t, l.Store, w, func(set *ocs.WorkingSet) { // the lane goes on, the lock is free
		if len(set.Sessions) != 0 || set.Accounts[a.Key].Balances[0].Frozen != 0 {
			t.Error("something is stored")
		}
	})
}

// The backend dies after everything is decided, before anything of it is sent. Under
// locks nothing is stored, and the lane connects anew for the next batch; on what is
// known, nothing was begun either, and the same batch is tried again at once.
func TestBackendDiesBeforeCommit(t *testing.T) {
	for _, locked := range []int{1, 0} {
		var l *ledger
		var armed atomic.Bool
		l = newLedger(t, func(o *Options) {
			o.Hook = func(point string) {
				if point == BeforeCommit && armed.CompareAndSwap(true, false) {
					l.exec(t, "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = current_database() and application_name = 'gygate'")
				}
			}
		})
		a := sampleAccount(t, l)
		w := want(a, "s", ocs.Initial, 0)
		armed.Store(true)
		l.lanes[0].trust.locked = locked
		err := l.Transact(t.Context(), 0, []ocs.Want{w}, func(set *ocs.WorkingSet) { openSession(set, w, "s", 40) })
		if stored := l.count(t, "session"); (err == nil) != (stored == 1) || stored != 1-locked {
			t.Errorf("locked %d: %d sessions stored, and the lane said %v", locked, stored, err)
		}
		transact(t, l.Store, want(a, "s", ocs.Update, 1), func(set *ocs.WorkingSet) {
			if found := len(set.Sessions); found != 1-locked {
				t.Errorf("locked %d: %d sessions found", locked, found)
			}
		})
		l.audit(t)
	}
}

// A connection that died between two transactions is made anew unnoticed.
func TestConnectionLostBetweenTransactions(t *testing.T) {
	l := newLedger(t)
	a := sampleAccount(t, l)
	l.exec(t, "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
	w := want(a, "s", ocs.Initial, 0)
	for lane := range 2 {
		if err := l.Transact(t.Context(), lane, []ocs.Want{w}, func(*ocs.WorkingSet) {}); err != nil {
			t.Error(err)
		}
	}
}

// The commit happens and its acknowledgement is lost on the way: the outcome is
// unknown to us, and the repeat finds what was stored.
func TestAcknowledgementLost(t *testing.T) {
	l := newLedger(t)
	a := sampleAccount(t, l)
	line := newLine(t, l.dsn)
	s := openStore(t, line.dsn, func(o *Options) {
		o.Hook = func(point string) {
			if point == BeforeCommit {
				line.swallow.Store(true)
			}
		}
	})
	w := want(a, "s", ocs.Initial, 0)
	err := s.Transact(t.Context(), 0, []ocs.Want{w}, func(set *ocs.WorkingSet) { openSession(set, w, "s", 40) })
	if !errors.Is(err, ocs.ErrOutcomeUnknown) {
		t.Errorf("got %v, want ErrOutcomeUnknown", err)
	}
	found := 0 // decided once as if the session had not begun, which the store finds out
	transact(t, l.Store, w, func(set *ocs.WorkingSet) {
		if session := set.Sessions[refOf(w.Step)]; session != nil {
			found = len(session.Outcomes)
		} else {
			openSession(set, w, "s", 40)
		}
	})
	if found != 1 {
		t.Error("the repeat does not find the outcome")
	}
	l.audit(t)
}

// The connection is lost behind the answer that what a store was decided on is not so
// any more: nothing of it was stored, and it is carried out under the locks of another
// connection.
func TestConnectionLostBehindAStaleStore(t *testing.T) {
	l := newLedger(t)
	number := ocstest.NewPayer()
	a := l.AddAccount(t, ocstest.Prepaid(100), number)
	line := newLine(t, l.dsn)
	s := openStore(t, line.dsn)
	transact(t, s, want(a, "other", ocs.Update, 1), func(*ocs.WorkingSet) {}) // now the account is known
	l.topUp(t, number, 5)
	line.sever.Store(true)
	w, decided := want(a, "s", ocs.Initial, 0), 0
	transact(t, s, w, func(set *ocs.WorkingSet) {
		decided++
		line.sever.Store(decided == 1)
		openSession(set, w, "s", 101) // more than the balance had
	})
	if b := l.account(t, a.Key).Balances[0]; decided != 2 || b.Amount != 105 || b.Frozen != 101 {
		t.Errorf("decided %d times, balance %+v", decided, b)
	}
	l.audit(t)
}

// line is a connection to the server on which answers can be lost.
type line struct {
	dsn     string
	swallow atomic.Bool // answers are thrown away, and the line is cut after the next
	sever   atomic.Bool // the line is cut behind an error, before the answer's end
	silent  atomic.Bool // nothing arrives any more, either way, until hearAgain
	heard   chan struct{}

	mu   sync.Mutex
	left int           // octets, either way, until a connection is cut
	cut  chan struct{} // closed then; nil: none is to be cut
}

// cutAfter cuts a connection after so many more octets on all of them, and returns
// when that has happened.
func (l *line) cutAfter(octets int) {
	cut := make(chan struct{})
	l.mu.Lock()
	l.left, l.cut = octets, cut
	l.mu.Unlock()
	<-cut
}

// hearAgain ends the silence: the connections that it took are cut.
func (l *line) hearAgain() {
	if l.silent.CompareAndSwap(true, false) {
		close(l.heard)
	}
}

// pass returns how many of n octets may pass, and whether the line is cut then.
func (l *line) pass(n int) (int, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut == nil || n < l.left {
		l.left -= n
		return n, false
	}
	close(l.cut)
	l.cut = nil
	return l.left, true
}

// readyForQuery is the end of an answer outside a transaction, severityError what an
// error's begins with.
var (
	readyForQuery = []byte("Z\x00\x00\x00\x05I")
	severityError = []byte("\x00VERROR\x00")
)

func newLine(t *testing.T, dsn string) *line {
	t.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	listener, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	l := &line{heard: make(chan struct{}), dsn: "host=" + dir + " port=5432 sslmode=disable user=" + cfg.User + " password='" + cfg.Password + "' dbname=" + cfg.Database}
	network, address := pgNetwork(cfg)
	var open sync.WaitGroup
	open.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			open.Go(func() { l.carry(client, network, address) })
		}
	})
	t.Cleanup(func() { listener.Close(); l.hearAgain(); open.Wait() })
	return l
}

func pgNetwork(cfg *pgx.ConnConfig) (network, address string) {
	if strings.HasPrefix(cfg.Host, "/") {
		return "unix", filepath.Join(cfg.Host, ".s.PGSQL.5432")
	}
	return "tcp", net.JoinHostPort(cfg.Host, "5432")
}

func (l *line) carry(client net.Conn, network, address string) {
	defer client.Close()
	server, err := net.Dial(network, address)
	if err != nil {
		return
	}
	defer server.Close()
	var forward sync.WaitGroup
	forward.Go(func() {
		l.copy(server, client, func(b []byte) (int, bool) { return len(b), false })
		server.Close()
		client.Close()
	})
	l.copy(client, server, l.judge)
	client.Close()
	server.Close()
	forward.Wait()
}

// judge says how much of an answer goes on, and whether the line ends there.
func (l *line) judge(b []byte) (keep int, end bool) {
	done := bytes.HasSuffix(b, readyForQuery)
	switch {
	case l.swallow.Load():
		return 0, done // the commit is done
	case l.sever.Load() && done && bytes.Contains(b, severityError):
		return len(b) - len(readyForQuery), true
	}
	return len(b), false
}

// copy carries octets until either end, the line, or judge breaks it.
func (l *line) copy(to, from net.Conn, judge func([]byte) (keep int, end bool)) {
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if l.silent.Load() {
			<-l.heard
			return
		}
		keep, end := judge(buffer[:n])
		n, cut := l.pass(keep)
		if _, err := to.Write(buffer[:n]); err != nil || cut || end {
			return
		}
	}
}

// With synchronous replication, a wait for the standby that is cancelled ends in a
// success with a warning. That is no answer to give out.
func TestCancelledReplicationWaitIsUnknown(t *testing.T) {
	dir := shortDir(t)
	var a ocs.Account
	onPrivateServer(t, localpg.Options{DataDir: dir}, func(l *ledger) { a = sampleAccount(t, l) })
	standby := map[string]string{"synchronous_standby_names": "nobody"}
	onPrivateServer(t, localpg.Options{DataDir: dir, Settings: standby}, func(l *ledger) {
		var cancel sync.WaitGroup
		cancel.Go(func() { l.exec(t, "select pg_cancel_backend($1)", l.awaitWait(t, "IPC", "SyncRep")) })
		w := want(a, "s", ocs.Initial, 0)
		err := l.Transact(t.Context(), 0, []ocs.Want{w}, func(set *ocs.WorkingSet) { openSession(set, w, "s", 40) })
		cancel.Wait()
		if !errors.Is(err, ocs.ErrOutcomeUnknown) {
			t.Errorf("got %v, want ErrOutcomeUnknown", err)
		}
		if n := l.count(t, "session"); n != 1 {
			t.Errorf("%d sessions, want the one that was committed here", n)
		}
	})
}

// onPrivateServer works on a server of its own, whose administrator waits for no
// standby.
func onPrivateServer(t *testing.T, opt localpg.Options, work func(*ledger)) {
	t.Helper()
	opt.DieWithOwner = true
	server, err := localpg.Start(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop(t.Context())
	local := server.DSN() + "&synchronous_commit=local"
	if _, _, err := sql.Migrate(t.Context(), local); err != nil {
		t.Fatal(err)
	}
	pool := newPool(t, local)
	defer pool.Close()
	store := openStore(t, server.DSN())
	defer store.Close()
	work(&ledger{Store: store, admin: NewAdmin(pool), pool: pool, dsn: server.DSN()})
}
