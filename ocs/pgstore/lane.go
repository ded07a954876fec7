package pgstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"gygate/ocs"
	"gygate/sql"
)

// What the connections for charging wait for at the most (lookupTimeout is beside
// their pool). A frozen node must lose its locks, and a client waits for an answer no
// longer than its Tx timer (10 s by default, RFC 8506 §13).
const (
	lockTimeout      = 2 * time.Second // waiting for accounts another transaction holds
	statementTimeout = 5 * time.Second // one statement
	loadTimeout      = 6 * time.Second // what is read before a batch is decided: a server that is there has spoken by then
	idleTimeout      = 5 * time.Second // an open transaction that sends nothing
	commitTimeout    = 10 * time.Second
	rollbackTimeout  = 2 * time.Second
	plansAge         = 10 * time.Second // see pinPlans
)

// SQLSTATEs that decide something here.
const (
	stateIdleInTransaction = "25P03" // idle_in_transaction_session_timeout struck
	stateWarning           = "01000" // a cancelled synchronous-replication wait warns with it
	stateAdminShutdown     = "57P01" // likewise, when the server is told to stop
	stateSerialization     = "40001" // undone because of a concurrent transaction
	stateDeadlock          = "40P01" // undone to end a circle of waits
	stateNotNull           = "23502" // a version, or the account of a session whose request was refused before
	stateUnique            = "23505" // an outcome or a session that is there
	stateDivision          = "22012" // a version that was checked
	stateRoot              = "2201F" // a session or an outcome that was to be absent
	stateLocked            = "55P03" // lock_timeout struck
	stateReadOnly          = "25006" // the server is a standby, or was made to take no writes
	stateChangedResult     = "0A000" // a statement was prepared on a table that has changed
	stateNotPrepared       = "26000" // somebody between us and the server has forgotten what was prepared
)

// A transaction under locks spans two round trips, and so is explicit.
const (
	beginTransaction  = "begin"
	commitTransaction = "commit"
)

// idleStatus is PostgreSQL's word for a connection that has no transaction.
const idleStatus = 'I'

// loadStatements are prepared when a lane connects, beside those of its outbox: each is
// planned once, and a batch is one round trip.
var loadStatements = []string{
	beginTransaction, commitTransaction,
	sql.LockAccounts, sql.LockBalances, sql.ReadGuarded, sql.Clock, sql.LoadSessions, sql.LoadOutcomes, sql.LoadDebits,
}

// lane is one connection on which one transaction at a time runs.
type lane struct {
	mu     sync.Mutex
	number int
	cfg    *pgx.ConnConfig
	conn   *pgx.Conn // nil: to be connected
	warned error     // a warning during the commit that makes its outcome unknown
	logger *slog.Logger
	hook   func(point string)

	prepared map[string]*pgconn.StatementDescription // by their text, on conn
	planned  time.Time                               // when the plans were last thrown away
	clock    *clock                                  // of all lanes
	epoch    *atomic.Uint64                          // likewise
	lookups  *pgxpool.Pool                           // that Resolve reads accounts by
	batch    *batch                                  // under way, or the last one
	out      *outbox                                 // what it stores
	trust    trust
}

func newLane(number int, cfg *pgx.ConnConfig, s *Store, logger *slog.Logger) *lane {
	l := &lane{number: number, cfg: cfg, logger: logger, hook: s.hook, clock: &s.clock, epoch: &s.epoch, lookups: s.pool, batch: newBatch(s.shards), out: newOutbox()}
	pinPlans(cfg)
	limitWaits(cfg)
	cfg.RuntimeParams["default_transaction_isolation"] = "read committed"
	cfg.RuntimeParams["idle_in_transaction_session_timeout"] = milliseconds(idleTimeout)
	cfg.OnNotice = l.notice
	return l
}

// pinPlans makes PostgreSQL plan each statement once, as nested loops over indexes:
// planning for each batch anew would cost more than the batch. One that was planned
// while a table was empty still reads the whole table, and would do so when it is
// full; so a lane throws its plans away every plansAge (renewPlans).
func pinPlans(cfg *pgx.ConnConfig) {
	cfg.ConnectTimeout = connectTimeout
	cfg.RuntimeParams["application_name"] = "gygate"
	cfg.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
	cfg.RuntimeParams["enable_hashjoin"] = "off"
	cfg.RuntimeParams["enable_mergejoin"] = "off"
	cfg.RuntimeParams["enable_seqscan"] = "off"
	cfg.RuntimeParams["jit"] = "off"
}

// limitWaits has the server end what waits too long, and refuses one that takes no
// writes: what it says may be old, too.
func limitWaits(cfg *pgx.ConnConfig) {
	cfg.RuntimeParams["lock_timeout"] = milliseconds(lockTimeout)
	cfg.RuntimeParams["statement_timeout"] = milliseconds(statementTimeout)
	if cfg.ValidateConnect == nil {
		cfg.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%dms", d.Milliseconds()) }

// notice hears the server's warnings. One at the commit means that it is durable
// here but perhaps not on the standby, where the books may continue.
func (l *lane) notice(_ *pgconn.PgConn, n *pgconn.Notice) {
	if n.SeverityUnlocalized == "WARNING" && (n.Code == stateWarning || n.Code == stateAdminShutdown) {
		l.warned = (*pgconn.PgError)(n)
	}
}

// connect makes the connection when there is none.
func (l *lane) connect(ctx context.Context) error {
	if l.conn != nil && !l.conn.IsClosed() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, connectMax)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, l.cfg)
	if err != nil {
		return fmt.Errorf("connect: %w: %w", ocs.ErrUnreachable, err)
	}
	l.prepared = make(map[string]*pgconn.StatementDescription)
	statements := loadStatements
	for _, s := range l.out.statements {
		statements = append(statements[:len(statements):len(statements)], s.sql)
	}
	for _, statement := range statements {
		if l.prepared[statement], err = conn.Prepare(ctx, statement, statement); err != nil {
			conn.Close(ctx)
			return fmt.Errorf("prepare: %w (does its schema fit? gygate migrate): %w", ocs.ErrUnreachable, err)
		}
	}
	l.conn, l.planned = conn, time.Now()
	l.lookups.Reset() // they, too, may read from another server
	l.epoch.Add(1)
	return nil
}

// load makes a loader's round trip. A connection that turns out dead is made anew
// once: nothing has happened yet.
func (l *lane) load(ctx context.Context, from *loader, how func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	asked := time.Now()
	err := l.renewPlans(ctx)
	if err == nil {
		err = how(ctx, l.conn)
	}
	if err != nil {
		l.abandon()
		if l.conn != nil || ctx.Err() != nil {
			return fmt.Errorf("load: %w", err)
		}
		l.logger.Warn("database connection lost, connecting anew", "lane", l.number, "err", err)
		if err := l.connect(ctx); err != nil {
			return err
		}
		from.restart()
		asked = time.Now()
		if err := how(ctx, l.conn); err != nil {
			return fmt.Errorf("load: %w", err)
		}
	}
	l.clock.set(from.clock, asked, time.Now())
	return nil
}

// renewPlans has the statements planned anew from time to time.
func (l *lane) renewPlans(ctx context.Context) error {
	if time.Since(l.planned) < plansAge {
		return nil
	}
	_, err := l.conn.Exec(ctx, "discard plans")
	l.planned = time.Now()
	return err
}

// abandon leaves a transaction that failed: by ROLLBACK on a connection that is
// sound, else by closing it, which also rolls back.
func (l *lane) abandon() {
	if l.conn == nil {
		return
	}
	if !l.conn.IsClosed() && !l.conn.PgConn().IsBusy() {
		if l.conn.PgConn().TxStatus() == idleStatus {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), rollbackTimeout)
		defer cancel()
		if _, err := l.conn.Exec(ctx, "rollback"); err == nil {
			return
		}
	}
	l.disconnect()
}

// disconnect closes the connection, if there is one; the next use makes another one.
func (l *lane) disconnect() {
	if l.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), rollbackTimeout)
	defer cancel()
	l.conn.Close(ctx)
	l.conn = nil
}

// leaveUnfit leaves a connection that will go on failing like this: only another one
// helps.
func (l *lane) leaveUnfit(err error) {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return
	}
	switch pgErr.Code {
	case stateReadOnly, stateChangedResult, stateNotPrepared:
		l.disconnect()
	}
}

func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.disconnect()
}

// errNotSent: the connection was dead before the statements were out.
var errNotSent = errors.New("not sent")

// errRolledBack: the server has answered the COMMIT of a transaction under locks with
// something else.
var errRolledBack = errors.New("the transaction was rolled back")

// undone reports whether nothing of a transaction has happened for a reason that the
// next try will probably not meet: the database has undone it because of others, or
// the connection was dead before. Others may also have begun the same session or
// refused the same request, under another account, after the locks were taken.
func undone(err error) bool {
	var pgErr *pgconn.PgError
	if errors.Is(err, errNotSent) || errors.Is(err, ocs.ErrOutcomeUnknown) || !errors.As(err, &pgErr) {
		return errors.Is(err, errNotSent)
	}
	switch pgErr.Code {
	case stateSerialization, stateDeadlock, stateUnique:
		return true
	}
	return false
}

// kindOf wraps a failure by what the engine is to make of it.
func kindOf(err error) error {
	var pgErr *pgconn.PgError
	var connecting *pgconn.ConnectError
	switch {
	case errors.Is(err, ocs.ErrOutcomeUnknown), errors.Is(err, ocs.ErrUnreachable):
		return err
	case errors.As(err, &connecting), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", ocs.ErrUnreachable, err)
	case !errors.As(err, &pgErr):
		return err
	}
	if pgErr.Code == stateLocked {
		return fmt.Errorf("%w: %w", ocs.ErrLocked, err)
	}
	return err
}

// stale reports whether a store failed because what it was decided on is not so any
// more.
func stale(err error) bool {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || errors.Is(err, ocs.ErrOutcomeUnknown) {
		return false
	}
	switch pgErr.Code {
	case stateNotNull, stateUnique, stateDivision, stateRoot:
		return true
	}
	return false
}

// changed reports whether a store failed because somebody else has changed an account.
// A first request that was there already, as after an outage many are, says nothing
// about the accounts.
func changed(err error) bool {
	var pgErr *pgconn.PgError
	return stale(err) && errors.As(err, &pgErr) && (pgErr.Code == stateDivision || pgErr.Code == stateNotNull && pgErr.TableName == "balance")
}

// surelyNotCommitted reports whether a store that failed left nothing behind: nothing
// or not all of it was sent, or a statement failed (what follows it up to the
// synchronisation point, the COMMIT too, is not run), or the server had ended the
// transaction that waited under its locks. Everything else, a lost connection above
// all, may hide a commit that happened.
func surelyNotCommitted(err error) bool {
	if pgconn.SafeToRetry(err) {
		return true
	}
	var pgErr *pgconn.PgError
	return errors.Is(err, errRolledBack) || errors.Is(err, errNotSent) || errors.As(err, &pgErr) && (pgErr.SeverityUnlocalized == "ERROR" || pgErr.Code == stateIdleInTransaction)
}
