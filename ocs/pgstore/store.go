// Package pgstore keeps the books of the online charging system in PostgreSQL:
// the engine's store (Store), and the administration of accounts, tariffs and
// sessions (Admin).
//
// A transaction of the store is one round trip where it can be. What a lane knows of
// its accounts and sessions it keeps; the rules decide on that in memory; one round
// trip stores all changes in sets and commits, and names the version of each account
// it was decided on. When somebody else has changed one of them meanwhile, the whole
// fails, and is done again the careful way: lock the accounts in key order, load
// everything under them, decide, store and commit. Everybody who writes anything
// under an account takes its locks and raises its version.
package pgstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
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
	// lookupConnections serve Resolve and what else is short and needs no lock.
	lookupConnections = 4
	// lookupAge is how long such a connection, and with it the plans that it made,
	// lives: see pinPlans.
	lookupAge = time.Minute
	// connectTimeout bounds the try of one address, with or without TLS; connectMax all
	// that a name or a DSN has, together with what is prepared.
	connectTimeout = 3 * time.Second
	connectMax     = 9 * time.Second
	// lookupTimeout bounds a look-up: longer than statementTimeout, so that it strikes
	// only when the server does not speak, and than two addresses that do not answer.
	lookupTimeout = 7 * time.Second
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
	// KnownMax bounds the accounts, and likewise the sessions, that are kept in
	// memory over all lanes; 0: KnownMaxDefault.
	KnownMax int
}

// Store implements ocs.Store.
type Store struct {
	lanes  []*lane
	shards []*shard // what is known, as many as lanes
	clock  clock
	// epoch counts the connections that were made anew. Behind a new one there may be
	// another server, without the last commits of the one before: versions repeat
	// there, and what is known is worth nothing.
	epoch atomic.Uint64
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
	for range opt.Lanes {
		s.shards = append(s.shards, newShard(cmp.Or(opt.KnownMax, KnownMaxDefault)/opt.Lanes))
	}
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
	limitWaits(cfg.ConnConfig)
	cfg.MaxConns, cfg.MaxConnLifetime = lookupConnections, lookupAge
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
		l := newLane(n, laneCfg, s, opt.Logger)
		s.lanes = append(s.lanes, l)
		if err := l.connect(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Epoch implements ocs.Store.
func (s *Store) Epoch() uint64 { return s.epoch.Load() }

// Close closes all connections. No Transact may be under way.
func (s *Store) Close() {
	for _, l := range s.lanes {
		l.close()
	}
	if s.pool != nil {
		s.pool.Close()
	}
}

// undoneMax is how often a transaction is tried again of which nothing happened (see
// undone). Our own transactions lock in one order and never undo each other; a foreign
// one may.
const undoneMax = 3

// Transact implements ocs.Store. It is to be called by one goroutine per lane; a
// second call of the same lane waits. Errors that do not wrap
// ocs.ErrOutcomeUnknown mean that nothing was stored; of these, ocs.ErrUnreachable and
// ocs.ErrLocked say why.
func (s *Store) Transact(ctx context.Context, lane int, want []ocs.Want, decide func(*ocs.WorkingSet)) error {
	if lane < 0 || lane >= len(s.lanes) {
		return fmt.Errorf("ledger: no lane %d", lane)
	}
	l := s.lanes[lane]
	l.mu.Lock()
	defer l.mu.Unlock()
	defer s.hold(want)()
	err := l.transact(ctx, want, decide)
	for try := 1; try <= undoneMax && undone(err) && ctx.Err() == nil; try++ {
		err = l.transact(ctx, want, decide)
	}
	if err != nil {
		l.leaveUnfit(err)
		return fmt.Errorf("ledger: lane %d: %w", lane, kindOf(err))
	}
	return nil
}

// hold takes the shards that the wanted accounts belong to, lets in what look-ups have
// read for them, and returns what gives them back. The engine's lanes never meet there.
func (s *Store) hold(want []ocs.Want) (release func()) {
	var held [LanesMax]bool
	for i := range want {
		held[want[i].Account.Owner(len(s.shards))] = true
	}
	for i, shard := range s.shards {
		if held[i] {
			shard.mu.Lock()
			shard.welcome(s.epoch.Load())
		}
	}
	return func() {
		for i, shard := range s.shards {
			if held[i] {
				shard.mu.Unlock()
			}
		}
	}
}

var errInvariant = errors.New("broken invariant")
