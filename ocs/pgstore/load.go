package pgstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"gygate/ocs"
	"gygate/sql"
)

// loader reads what a transaction wants: the accounts and sessions named by its
// keys, the outcomes and debits beside them.
type loader struct {
	accounts accountSet
	sessions map[ocs.SessionRef]*session
	outcomes map[ocs.StepKey]*ocs.StoredOutcome
	debits   map[string]*ocs.EventDebit
	clock    time.Time // the database's, after the accounts were read or locked

	accountKeys []ocs.AccountKey
	sessionKeys []ocs.SessionRef
	outcomeKeys outcomeKeys
	debitKeys   debitKeys
}

func newLoader() *loader {
	return &loader{
		accounts: make(accountSet), sessions: make(map[ocs.SessionRef]*session),
		outcomes: make(map[ocs.StepKey]*ocs.StoredOutcome), debits: make(map[string]*ocs.EventDebit),
	}
}

// restart forgets what was read, for another try.
func (l *loader) restart() {
	clear(l.accounts)
	clear(l.sessions)
	clear(l.outcomes)
	clear(l.debits)
}

// everything asks for all that the wants name.
func (l *loader) everything(want []ocs.Want) {
	for i := range want {
		w := &want[i]
		if w.Account == (ocs.AccountKey{}) {
			continue
		}
		l.accountKeys = append(l.accountKeys, w.Account)
		l.sessionKeys = append(l.sessionKeys, refOf(w.Step))
		l.alone(w)
	}
}

// alone asks for what stands outside the session: the outcome of a request that may
// have none, and the debit that is to be taken back.
func (l *loader) alone(w *ocs.Want) {
	if standsAlone(w.Step.Type) {
		l.outcomeKeys.add(w.Account.Bucket, w.Step)
	}
	if len(w.ReversalOf) > 0 {
		l.debitKeys.add(w.Account.Bucket, w.ReversalOf)
	}
}

// read loads without locks, the accounts first: what is read after them can only be
// newer (see the loads of sql).
func (l *loader) read(ctx context.Context, conn *pgx.Conn) error {
	batch := &pgx.Batch{}
	if buckets, ids := l.accountColumns(); len(ids) > 0 {
		batch.Queue(sql.ReadGuarded, buckets, ids).Query(l.accounts.scanGuarded)
	}
	l.queueClock(batch)
	l.queueRest(batch)
	return l.send(ctx, conn, batch)
}

// lock begins a transaction, locks the accounts, then their balances, and loads
// under the locks.
func (l *loader) lock(ctx context.Context, conn *pgx.Conn) error {
	batch := &pgx.Batch{}
	batch.Queue(beginTransaction)
	buckets, ids := l.accountColumns()
	batch.Queue(sql.LockAccounts, buckets, ids).Query(l.accounts.scanAccounts)
	batch.Queue(sql.LockBalances, buckets, ids).Query(l.accounts.scanBalances)
	l.queueClock(batch)
	l.queueRest(batch)
	return l.send(ctx, conn, batch)
}

func (l *loader) send(ctx context.Context, conn *pgx.Conn, batch *pgx.Batch) error {
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		return err
	}
	l.accounts.complete()
	return nil
}

// missing reports whether an account that was asked for is not there or has no balance.
func (l *loader) missing() bool {
	return slices.ContainsFunc(l.accountKeys, func(key ocs.AccountKey) bool { return l.accounts[key] == nil })
}

// empty reports whether nothing is asked for.
func (l *loader) empty() bool {
	return len(l.accountKeys)+len(l.sessionKeys)+len(l.outcomeKeys.buckets)+len(l.debitKeys.tokens) == 0
}

func (l *loader) queueClock(batch *pgx.Batch) {
	batch.Queue(sql.Clock).QueryRow(func(row pgx.Row) error { return row.Scan(&l.clock) })
}

func (l *loader) queueRest(batch *pgx.Batch) {
	if len(l.sessionKeys) > 0 {
		slices.SortFunc(l.sessionKeys, compareRefs)
		l.sessionKeys = slices.Compact(l.sessionKeys)
		keys, subs := refColumns(l.sessionKeys)
		batch.Queue(sql.LoadSessions, keys, subs).Query(l.scanSessions)
	}
	if k := &l.outcomeKeys; len(k.buckets) > 0 {
		batch.Queue(sql.LoadOutcomes, k.buckets, k.sessions, k.subs, k.types, k.numbers).Query(l.scanOutcomes)
	}
	if k := &l.debitKeys; len(k.tokens) > 0 {
		batch.Queue(sql.LoadDebits, k.buckets, k.tokens).Query(l.scanDebits)
	}
}

func (l *loader) accountColumns() (buckets []int16, ids []int64) {
	slices.SortFunc(l.accountKeys, compareAccounts)
	l.accountKeys = slices.Compact(l.accountKeys)
	for _, k := range l.accountKeys {
		buckets, ids = append(buckets, k.Bucket), append(ids, k.ID)
	}
	return buckets, ids
}

func compareAccounts(a, b ocs.AccountKey) int {
	return cmp.Or(cmp.Compare(a.Bucket, b.Bucket), cmp.Compare(a.ID, b.ID))
}

func compareRefs(a, b ocs.SessionRef) int {
	return cmp.Or(slices.Compare(a.Key[:], b.Key[:]), cmp.Compare(a.Sub, b.Sub))
}

// timeOf reads a nullable time; null is the zero time.
func timeOf(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

// nullable is the inverse of timeOf.
func nullable(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func refOf(step ocs.StepKey) ocs.SessionRef {
	return ocs.SessionRef{Key: step.Session, Sub: step.SubSession}
}

func (l *loader) scanSessions(rows pgx.Rows) error {
	for rows.Next() {
		var n ocs.Session
		var key [16]byte
		var sub, top, bits int64
		var targets, outcomes []byte
		var closed, late *time.Time
		err := rows.Scan(&key, &sub, &n.Account.Bucket, &n.Account.ID, &n.ID, &n.Service,
			&n.Client.Host, &n.Client.Realm, &n.Client.Relay, &n.Client.State,
			&n.OpenedAt, &n.Deadline, &closed, &late, &targets, &outcomes, &top, &bits)
		if err != nil {
			return err
		}
		n.Key, n.SubID = key, uint64(sub)
		n.OpenedAt, n.Deadline = n.OpenedAt.UTC(), n.Deadline.UTC()
		n.ClosedAt, n.LateUntil = timeOf(closed), timeOf(late)
		n.Served = ocs.ServedWindow{Top: uint32(top), Bits: uint64(bits)}
		if n.Targets, err = decodeTargets(targets); err != nil {
			return fmt.Errorf("session %s: %w", n.ID, err)
		}
		if n.Outcomes, err = decodeOutcomes(outcomes); err != nil {
			return fmt.Errorf("session %s: %w", n.ID, err)
		}
		l.sessions[ocs.SessionRef{Key: n.Key, Sub: n.SubID}] = &session{Session: &n, client: n.Client}
	}
	return rows.Err()
}

// standsAlone reports whether a step's outcome may stand in a row of its own:
// those of updates, terminations and expiries are always in their session.
func standsAlone(t ocs.StepType) bool {
	return t != ocs.Update && t != ocs.Terminate && t != ocs.Expire
}

// outcomeKeys are the columns of step keys.
type outcomeKeys struct {
	buckets  []int16
	sessions [][16]byte
	subs     []int64
	types    []int16
	numbers  []int64
}

func (k *outcomeKeys) add(bucket int16, step ocs.StepKey) {
	k.buckets = append(k.buckets, bucket)
	k.sessions = append(k.sessions, step.Session)
	k.subs = append(k.subs, int64(step.SubSession))
	k.types = append(k.types, int16(step.Type))
	k.numbers = append(k.numbers, int64(step.Number))
}

func (l *loader) scanOutcomes(rows pgx.Rows) error {
	for rows.Next() {
		var session [16]byte
		var sub, number int64
		var kind int16
		var encoded []byte
		if err := rows.Scan(&session, &sub, &kind, &number, &encoded); err != nil {
			return err
		}
		stored, err := decodeOutcome(encoded)
		if err != nil {
			return err
		}
		l.outcomes[ocs.StepKey{Session: session, SubSession: uint64(sub), Type: ocs.StepType(kind), Number: uint32(number)}] = stored
	}
	return rows.Err()
}

// debitKeys are the columns of refund tokens.
type debitKeys struct {
	buckets []int16
	tokens  [][]byte
}

func (k *debitKeys) add(bucket int16, token []byte) {
	k.buckets, k.tokens = append(k.buckets, bucket), append(k.tokens, token)
}

func (l *loader) scanDebits(rows pgx.Rows) error {
	for rows.Next() {
		var d ocs.EventDebit
		var balances, amounts []int64
		err := rows.Scan(&d.Account.Bucket, &d.Account.ID, &d.Token, &balances, &amounts, &d.Cost, &d.Reversed, &d.Units.Kind, &d.Units.Quantity)
		if err != nil {
			return err
		}
		for i, balance := range balances {
			d.Parts = append(d.Parts, ocs.Freeze{Balance: balance, Amount: amounts[i]})
		}
		l.debits[string(d.Token)] = &d
	}
	return rows.Err()
}
