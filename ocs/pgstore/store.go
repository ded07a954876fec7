// Package pgstore keeps the books of the online charging system in PostgreSQL:
// the engine's store (Store), and the administration of accounts, tariffs and
// sessions (Admin).
//
// A transaction of the store is two round trips. The first locks the accounts of
// a batch in key order and then, in statements of their own, loads everything
// under them; the rules decide in memory; the second stores all changes in sets
// and commits. The account row is the only lock, and everybody who writes
// anything under an account takes it first.
package pgstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gygate/ocs"
	"gygate/sql"
)

const (
	// LanesMax bounds Options.Lanes: each lane is a connection, and more than a
	// few lanes lose throughput.
	LanesMax = 64
	// lookupConnections serve Resolve and Expired, which are short.
	lookupConnections = 4
	// connectTimeout bounds the making of a connection.
	connectTimeout = 5 * time.Second
)

// The points at which Options.Hook is called.
const (
	BeforeCommit = "before-commit" // all is decided, nothing of it sent
	AfterCommit  = "after-commit"  // the commit is acknowledged, the answer not sent
)

// Options configure a Store.
type Options struct {
	DSN    string
	Lanes  int // connections for Transact, 1 to LanesMax
	Logger *slog.Logger
	// Hook, when set, is called by each transaction at BeforeCommit and
	// AfterCommit. Crash tests end the process there.
	Hook func(point string)
}

// Store implements ocs.Store.
type Store struct {
	lanes []*lane
	pool  *pgxpool.Pool // for look-ups
	hook  func(point string)
}

var _ ocs.Store = (*Store)(nil)

// Open connects, one connection for each lane and a small pool, and checks the
// schema's version (sql.ErrVersion).
func Open(ctx context.Context, opt Options) (*Store, error) {
	if opt.Lanes < 1 || opt.Lanes > LanesMax {
		return nil, fmt.Errorf("ledger: %d lanes, want 1 to %d", opt.Lanes, LanesMax)
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Hook == nil {
		opt.Hook = func(string) {}
	}
	s := &Store{hook: opt.Hook}
	if err := s.connect(ctx, opt); err != nil {
		s.Close()
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return s, nil
}

func (s *Store) connect(ctx context.Context, opt Options) error {
	cfg, err := pgxpool.ParseConfig(opt.DSN)
	if err != nil {
		return err
	}
	pinPlans(cfg.ConnConfig)
	cfg.MaxConns = lookupConnections
	if s.pool, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return err
	}
	if err := sql.CheckVersion(ctx, s.pool); err != nil {
		return err
	}
	for n := range opt.Lanes {
		laneCfg, err := pgx.ParseConfig(opt.DSN)
		if err != nil {
			return err
		}
		l := newLane(n, laneCfg, opt.Logger)
		s.lanes = append(s.lanes, l)
		if err := l.connect(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Close closes all connections. No Transact may be under way.
func (s *Store) Close() {
	for _, l := range s.lanes {
		l.close()
	}
	if s.pool != nil {
		s.pool.Close()
	}
}

// undoneMax is how often a transaction is tried again that the database has undone
// for the sake of others. Our own transactions lock in one order and never meet so;
// a foreign one may.
const undoneMax = 3

// Transact implements ocs.Store. It is to be called by one goroutine per lane; a
// second call of the same lane waits. Errors that do not wrap
// ocs.ErrOutcomeUnknown mean that nothing was stored.
func (s *Store) Transact(ctx context.Context, lane int, want []ocs.Want, decide func(*ocs.WorkingSet)) error {
	if lane < 0 || lane >= len(s.lanes) {
		return fmt.Errorf("ledger: no lane %d", lane)
	}
	l := s.lanes[lane]
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.transact(ctx, want, decide, s.hook)
	for try := 1; try <= undoneMax && undone(err) && ctx.Err() == nil; try++ {
		err = l.transact(ctx, want, decide, s.hook)
	}
	if err != nil {
		return fmt.Errorf("ledger: lane %d: %w", lane, err)
	}
	return nil
}

// transact is one transaction. Whatever way it is left but by a commit, and be it
// a panic of decide, the transaction is rolled back or its connection closed.
func (l *lane) transact(ctx context.Context, want []ocs.Want, decide func(*ocs.WorkingSet), hook func(string)) error {
	began := time.Now()
	set, err := l.lockAndLoad(ctx, want)
	if err != nil {
		return err
	}
	committed := false
	defer func() {
		if !committed {
			l.abandon()
		}
	}()
	set.Timing.Began, set.Timing.Loaded = began, time.Now()
	decide(set.WorkingSet)
	set.Timing.Decided = time.Now()
	changes, err := set.changes()
	if err != nil {
		return err
	}
	hook(BeforeCommit)
	if err := l.storeAndCommit(ctx, changes); err != nil {
		return err
	}
	committed = true
	set.Timing.Committed = time.Now()
	hook(AfterCommit)
	return nil
}

// lockAndLoad is the first round trip. A connection that turns out dead is made
// anew once: nothing has happened yet.
func (l *lane) lockAndLoad(ctx context.Context, want []ocs.Want) (*loadedSet, error) {
	fresh := l.conn == nil
	if err := l.connect(ctx); err != nil {
		return nil, err
	}
	set, err := load(ctx, l.conn, want)
	if err == nil {
		return set, nil
	}
	l.abandon()
	if fresh || l.conn != nil || ctx.Err() != nil {
		return nil, fmt.Errorf("lock and load: %w", err)
	}
	l.logger.Warn("database connection lost, connecting anew", "lane", l.number, "err", err)
	if err := l.connect(ctx); err != nil {
		return nil, err
	}
	if set, err = load(ctx, l.conn, want); err != nil {
		l.abandon()
		return nil, fmt.Errorf("lock and load: %w", err)
	}
	return set, nil
}

// storeAndCommit is the second round trip. It is never cancelled: an interrupted
// commit may have happened.
func (l *lane) storeAndCommit(ctx context.Context, changes *pgx.Batch) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	l.warned = nil
	changes.Queue(commitTransaction)
	results := l.conn.SendBatch(ctx, changes)
	var err error
	for range changes.Len() - 1 {
		if _, execErr := results.Exec(); execErr != nil && err == nil {
			err = execErr
		}
	}
	tag, commitErr := results.Exec()
	if err == nil {
		err = commitErr
	}
	if closeErr := results.Close(); err == nil {
		err = closeErr
	}
	switch {
	case err != nil:
		return commitFailure(err)
	case tag.String() != "COMMIT":
		return fmt.Errorf("commit: the server answered %q", tag)
	case l.warned != nil:
		return fmt.Errorf("commit: %w: %w", ocs.ErrOutcomeUnknown, l.warned)
	}
	return nil
}

// commitFailure tells a transaction that was surely not committed from one that
// may have been.
func commitFailure(err error) error {
	if surelyNotCommitted(err) {
		return fmt.Errorf("store: %w", err)
	}
	return fmt.Errorf("commit: %w: %w", ocs.ErrOutcomeUnknown, err)
}

// Resolve implements ocs.Store.
func (s *Store) Resolve(ctx context.Context, lookups []ocs.Lookup) ([]ocs.Resolved, error) {
	resolved := make([]ocs.Resolved, len(lookups))
	var sessions, identities []*ocs.AccountKey // where each answer goes
	var keys [][16]byte
	var kinds []int16
	var values []string
	for i, l := range lookups {
		if l.Session != (ocs.SessionKey{}) {
			keys = append(keys, l.Session)
			sessions = append(sessions, &resolved[i].BySession)
		}
		resolved[i].ByIdentities = make([]ocs.AccountKey, len(l.Identities))
		for j, id := range l.Identities {
			kinds, values = append(kinds, int16(id.Kind)), append(values, id.Value)
			identities = append(identities, &resolved[i].ByIdentities[j])
		}
	}
	batch := &pgx.Batch{}
	if len(keys) > 0 {
		batch.Queue(sql.ResolveSessions, keys).Query(accountsInto(sessions))
	}
	if len(kinds) > 0 {
		batch.Queue(sql.ResolveIdentities, kinds, values).Query(accountsInto(identities))
	}
	if batch.Len() == 0 {
		return resolved, nil
	}
	if err := s.pool.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("ledger: resolve: %w", err)
	}
	return resolved, nil
}

// accountsInto scans rows of (1-based index, bucket, account).
func accountsInto(targets []*ocs.AccountKey) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		for rows.Next() {
			var n int
			var key ocs.AccountKey
			if err := rows.Scan(&n, &key.Bucket, &key.ID); err != nil {
				return err
			}
			*targets[n-1] = key
		}
		return rows.Err()
	}
}

var errInvariant = errors.New("broken invariant")
