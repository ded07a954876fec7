package pgstore

import (
	"context"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gygate/ocs"
	"gygate/sql"
)

// Resolve implements ocs.Store. The accounts that it finds by identities it reads, too:
// a step that begins a session usually finds its account known.
func (s *Store) Resolve(ctx context.Context, lookups []ocs.Lookup) ([]ocs.Resolved, error) {
	q := &query{answers: make([]ocs.Resolved, len(lookups)), read: make(accountSet)}
	for i := range lookups {
		q.ask(i, &lookups[i])
	}
	epoch := s.epoch.Load()
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	if err := q.send(ctx, s.pool); err != nil {
		return nil, fmt.Errorf("ledger: resolve: %w", kindOf(err))
	}
	q.read.complete()
	for key, a := range q.read {
		a.epoch = epoch
		s.shards[key.Owner(len(s.shards))].arrived.add(a)
	}
	return q.answers, nil
}

// query is a batch of look-ups.
type query struct {
	answers              []ocs.Resolved
	sessions, identities []*ocs.AccountKey // where each answer goes
	keys                 [][16]byte
	kinds                []int16
	values               []string
	read                 accountSet
}

// ask adds a look-up.
func (q *query) ask(i int, l *ocs.Lookup) {
	answer := &q.answers[i]
	if l.Session != (ocs.SessionKey{}) {
		q.keys = append(q.keys, l.Session)
		q.sessions = append(q.sessions, &answer.BySession)
	}
	answer.ByIdentities = make([]ocs.AccountKey, len(l.Identities))
	for j, id := range l.Identities {
		q.kinds, q.values = append(q.kinds, int16(id.Kind)), append(q.values, id.Value)
		q.identities = append(q.identities, &answer.ByIdentities[j])
	}
}

func (q *query) send(ctx context.Context, pool *pgxpool.Pool) error {
	batch := &pgx.Batch{}
	if len(q.keys) > 0 {
		batch.Queue(sql.ResolveSessions, q.keys).Query(q.scanSessions)
	}
	if len(q.kinds) > 0 {
		batch.Queue(sql.ResolveIdentities, q.kinds, q.values).Query(q.scanIdentities)
	}
	if batch.Len() == 0 {
		return nil
	}
	return pool.SendBatch(ctx, batch).Close()
}

// scanSessions scans rows of (1-based index, bucket, account).
func (q *query) scanSessions(rows pgx.Rows) error {
	for rows.Next() {
		var n int
		var key ocs.AccountKey
		if err := rows.Scan(&n, &key.Bucket, &key.ID); err != nil {
			return err
		}
		*q.sessions[n-1] = key
	}
	return rows.Err()
}

// scanIdentities scans rows of (1-based index, bucket, account) and of the account with
// one of its balances, which are null when it has none.
func (q *query) scanIdentities(rows pgx.Rows) error {
	var n int
	var key ocs.AccountKey
	var owner accountRow
	var row balanceRow
	found := []any{&n, &key.Bucket, &key.ID}
	guarded := append(append(found[:len(found):len(found)], owner.fields()...), row.fields()...)
	bare := append(found[:len(found):len(found)], make([]any, len(guarded)-len(found))...)
	for rows.Next() {
		fields, balance := guarded, rows.RawValues()[len(found)] != nil
		if !balance {
			fields = bare
		}
		if err := rows.Scan(fields...); err != nil {
			return err
		}
		*q.identities[n-1] = key
		if balance {
			q.read.addGuarded(&owner, &row)
		}
	}
	return rows.Err()
}

// arrivalsMax bounds the accounts that wait to be known in a shard: some MB, gone with
// its next transaction.
const arrivalsMax = 4096

// arrivals are accounts that look-ups have read, until the next transaction that holds
// the shard takes them over. They are worth what any known account is worth: a store
// proves that they are so.
type arrivals struct {
	mu   sync.Mutex
	list []*account
}

// add drops the account when too many wait: it will be loaded.
func (r *arrivals) add(a *account) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.list) < arrivalsMax {
		r.list = append(r.list, a)
	}
}

// take empties the list into another one.
func (r *arrivals) take(into []*account) []*account {
	r.mu.Lock()
	defer r.mu.Unlock()
	into = append(into[:0], r.list...)
	clear(r.list)
	r.list = r.list[:0]
	return into
}

// welcome makes known what has arrived, unless it was read by an earlier connection or
// the shard knows the account by a guard just as new. Whoever calls it holds the shard.
func (s *shard) welcome(epoch uint64) {
	s.welcomed = s.arrived.take(s.welcomed)
	for _, a := range s.welcomed {
		if a.epoch != epoch {
			continue
		}
		if known, ok := s.accounts.Get(a.key()); !ok || known.epoch != epoch || known.marks[0].version < a.marks[0].version {
			a.kept = true
			s.accounts.Put(a.key(), a)
		}
	}
	clear(s.welcomed)
}
