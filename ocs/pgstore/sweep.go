package pgstore

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"gygate/ocs"
	"gygate/sql"
)

// restartedMax bounds the restarted clients whose sessions one look goes through;
// the next look takes the others.
const restartedMax = 16

// passTimeout bounds a pass over all open sessions.
const passTimeout = time.Minute

// Expired implements ocs.Store. The wants' request number is 0: supervision ends
// a session once. Orphans are looked for once a client has restarted, by a pass
// over the open sessions, and again until none is left.
func (s *Store) Expired(ctx context.Context, limit int, skip []ocs.SessionRef) ([]ocs.Expiry, error) {
	keys, subs := refColumns(skip)
	var overdue []ocs.Expiry
	var clients []restartedClient
	batch := &pgx.Batch{}
	batch.Queue(sql.Expired, limit, keys, subs).Query(func(rows pgx.Rows) (err error) {
		overdue, err = pgx.CollectRows(rows, scanExpiry)
		return err
	})
	batch.Queue(sql.Restarted, ocs.OrphanGrace.Seconds(), restartedMax).Query(func(rows pgx.Rows) (err error) {
		clients, err = pgx.CollectRows(rows, pgx.RowToStructByPos[restartedClient])
		return err
	})
	look, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	if err := s.pool.SendBatch(look, batch).Close(); err != nil {
		return nil, fmt.Errorf("ledger: expired sessions: %w", kindOf(err))
	}
	for _, c := range clients {
		if len(overdue) >= limit {
			break
		}
		orphans, err := s.orphans(ctx, c, limit-len(overdue), keys, subs)
		if err != nil {
			return nil, fmt.Errorf("ledger: orphans of %s: %w", c.Host, err)
		}
		overdue = append(overdue, orphans...)
	}
	return overdue, nil
}

// restartedClient is a client with the Origin-State-Id it shows since its restart.
type restartedClient struct {
	Host  string
	State uint32
}

// orphans lists open sessions that began before a client's restart. When there are
// none but the skipped ones, whose deadline remains, the client is done with.
func (s *Store) orphans(ctx context.Context, c restartedClient, limit int, keys [][16]byte, subs []int64) (orphans []ocs.Expiry, err error) {
	ctx, cancel := context.WithTimeout(ctx, passTimeout)
	defer cancel()
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "select set_config('statement_timeout', $1, true)", milliseconds(passTimeout)); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, sql.Orphans, limit, keys, subs, c.Host, int64(c.State))
		if err != nil {
			return err
		}
		if orphans, err = pgx.CollectRows(rows, scanExpiry); err != nil || len(orphans) > 0 {
			return err
		}
		_, err = tx.Exec(ctx, sql.Swept, c.Host, int64(c.State))
		return err
	})
	for i := range orphans {
		orphans[i].Restarted, orphans[i].Host = c.State, c.Host
	}
	return orphans, err
}

func scanExpiry(row pgx.CollectableRow) (e ocs.Expiry, err error) {
	var key [16]byte
	var sub int64
	err = row.Scan(&e.Account.Bucket, &e.Account.ID, &key, &sub)
	e.Step = ocs.StepKey{Session: key, SubSession: uint64(sub), Type: ocs.Expire}
	return e, err
}

// refColumns are the key columns of sessions.
func refColumns(refs []ocs.SessionRef) (keys [][16]byte, subs []int64) {
	keys, subs = make([][16]byte, len(refs)), make([]int64, len(refs))
	for i, ref := range refs {
		keys[i], subs[i] = ref.Key, int64(ref.Sub)
	}
	return keys, subs
}

// ClientStarted implements ocs.Store.
func (s *Store) ClientStarted(ctx context.Context, host string, state uint32) error {
	if host == "" || state == 0 {
		return nil // says nothing (RFC 6733 §8.16)
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	if _, err := s.pool.Exec(ctx, sql.ClientStarted, strings.ToLower(host), int64(state)); err != nil {
		return fmt.Errorf("ledger: Origin-State-Id of %s: %w", host, kindOf(err))
	}
	return nil
}
