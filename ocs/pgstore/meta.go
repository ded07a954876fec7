package pgstore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// OriginStateID is the OCS's Origin-State-Id (RFC 6733 §8.16): one value for all
// nodes on this database. It rises only when sessions were lost, which is when the
// rows came to another database cluster (a dump was restored); a standby that is
// promoted has the same cluster identifier and keeps the value. It begins with the
// database's time in seconds, so that it also rises over a lost database.
func (a *Admin) OriginStateID(ctx context.Context) (id uint32, err error) {
	err = a.pool.QueryRow(ctx, `
		update meta m set
			origin_state_id = case when m.system_identifier = now_on.system_identifier then m.origin_state_id
			                       else greatest(m.origin_state_id + 1, extract(epoch from now())::bigint) end,
			system_identifier = now_on.system_identifier
		from pg_control_system() now_on
		returning m.origin_state_id`).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("Origin-State-Id: %w", err)
	}
	return id, nil
}

// RaiseOriginStateID says that sessions were lost although the cluster is the same,
// for example after a restore of files. Clients then give up their sessions.
func (a *Admin) RaiseOriginStateID(ctx context.Context) (id uint32, err error) {
	err = a.pool.QueryRow(ctx, `
		update meta set origin_state_id = greatest(origin_state_id + 1, extract(epoch from now())::bigint),
		       system_identifier = (select system_identifier from pg_control_system())
		returning origin_state_id`).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("raise Origin-State-Id: %w", err)
	}
	return id, nil
}

// NextStart counts the starts of a Diameter identity that keeps its sessions in
// memory; the number rises at each call and, beginning with the time in seconds,
// over a lost database.
func (a *Admin) NextStart(ctx context.Context, identity string) (start uint32, err error) {
	rows, err := a.pool.Query(ctx, `
		insert into start_counter as c (identity, starts) values ($1, extract(epoch from now())::bigint)
		on conflict (identity) do update set starts = greatest(c.starts + 1, excluded.starts)
		returning starts`, identity)
	if err != nil {
		return 0, fmt.Errorf("count start of %s: %w", identity, err)
	}
	start, err = pgx.CollectOneRow(rows, pgx.RowTo[uint32])
	if err != nil {
		return 0, fmt.Errorf("count start of %s: %w", identity, err)
	}
	return start, nil
}
