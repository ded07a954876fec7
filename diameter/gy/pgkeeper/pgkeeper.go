// Package pgkeeper keeps in PostgreSQL what a credit-control client has to send
// after its process has died: gy.Keeper for one client identity.
package pgkeeper

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gygate/diameter/gy"
	"gygate/sql"
)

// Keeper implements gy.Keeper on the table charging_kept.
type Keeper struct {
	pool   *pgxpool.Pool
	client string
}

var _ gy.Keeper = (*Keeper)(nil)

// Open works for the client of that Origin-Host on a pool, which stays the
// caller's, and checks the schema's version (sql.ErrVersion).
func Open(ctx context.Context, pool *pgxpool.Pool, client string) (*Keeper, error) {
	if err := sql.CheckVersion(ctx, pool); err != nil {
		return nil, fmt.Errorf("charging journal: %w", err)
	}
	return &Keeper{pool: pool, client: client}, nil
}

// Keep implements gy.Keeper.
func (k *Keeper) Keep(ctx context.Context, all []gy.Kept) error {
	batch := &pgx.Batch{}
	for i := range all {
		r := &all[i]
		batch.Queue(`
			insert into charging_kept (client, session, start, requests, server, via, failover, since)
			values ($1, $2, $3, $4, $5, $6, $7, $8)
			on conflict (client, session) do update set start = excluded.start, requests = excluded.requests, server = excluded.server,
			       via = excluded.via, failover = excluded.failover, since = excluded.since`,
			k.client, r.Session, int64(r.Start), r.Requests, r.Server, r.Via, r.Failover, r.Since)
	}
	if err := k.pool.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("charging journal: keep: %w", err)
	}
	return nil
}

// Drop implements gy.Keeper.
func (k *Keeper) Drop(ctx context.Context, sessions []string) error {
	_, err := k.pool.Exec(ctx, "delete from charging_kept where client = $1 and session = any($2)", k.client, sessions)
	if err != nil {
		return fmt.Errorf("charging journal: drop: %w", err)
	}
	return nil
}

// Load implements gy.Keeper.
func (k *Keeper) Load(ctx context.Context, start uint32, after string, limit int) ([]gy.Kept, error) {
	rows, err := k.pool.Query(ctx, `
		select session, start, requests, server, via, failover, since from charging_kept
		where client = $1 and start < $2 and session > $3 order by session limit $4`, k.client, int64(start), after, limit)
	if err != nil {
		return nil, fmt.Errorf("charging journal: load: %w", err)
	}
	kept, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r gy.Kept, err error) {
		err = row.Scan(&r.Session, &r.Start, &r.Requests, &r.Server, &r.Via, &r.Failover, &r.Since)
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("charging journal: load: %w", err)
	}
	return kept, nil
}
