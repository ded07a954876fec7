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

// loadedSet is a working set with what the database held of its freezes, so that
// only what changed is written.
type loadedSet struct {
	*ocs.WorkingSet
	want    []ocs.Want
	freezes map[freezeKey]int64
}

// freezeKey is the key of a freeze row inside its bucket.
type freezeKey struct {
	session ocs.SessionRef
	target  ocs.Target
	balance int64
}

// load sends the first round trip: BEGIN, lock, clock, loads.
func load(ctx context.Context, conn *pgx.Conn, want []ocs.Want) (*loadedSet, error) {
	set := &loadedSet{
		WorkingSet: &ocs.WorkingSet{
			Accounts: make(map[ocs.AccountKey]*ocs.Account),
			Sessions: make(map[ocs.SessionRef]*ocs.Session, len(want)),
			Outcomes: make(map[ocs.StepKey]*ocs.StoredOutcome),
			Debits:   make(map[string]*ocs.EventDebit),
		},
		want:    want,
		freezes: make(map[freezeKey]int64, len(want)),
	}
	batch := &pgx.Batch{}
	batch.Queue(beginTransaction)
	set.queueAccounts(batch)
	set.queueSessions(batch)
	set.queueOutcomes(batch)
	set.queueDebits(batch)
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		return nil, err
	}
	return set, nil
}

// queueAccounts locks the accounts, reads the clock, and loads the balances.
func (s *loadedSet) queueAccounts(batch *pgx.Batch) {
	keys := make([]ocs.AccountKey, len(s.want))
	for i := range s.want {
		keys[i] = s.want[i].Account
	}
	slices.SortFunc(keys, compareAccounts)
	keys = slices.Compact(keys)
	buckets, ids := make([]int16, len(keys)), make([]int64, len(keys))
	for i, k := range keys {
		buckets[i], ids[i] = k.Bucket, k.ID
	}
	batch.Queue(sql.LockAccounts, buckets, ids).Query(s.scanAccounts)
	batch.Queue(sql.Clock).QueryRow(func(row pgx.Row) error { return row.Scan(&s.Now) })
	batch.Queue(sql.LoadBalances, buckets, ids).Query(s.scanBalances)
}

func compareAccounts(a, b ocs.AccountKey) int {
	return cmp.Or(cmp.Compare(a.Bucket, b.Bucket), cmp.Compare(a.ID, b.ID))
}

func (s *loadedSet) scanAccounts(rows pgx.Rows) error {
	for rows.Next() {
		var a ocs.Account
		var lost, blocked nullableFlag
		var from, until *time.Time
		err := rows.Scan(&a.Key.Bucket, &a.Key.ID, &a.Currency, &a.Class, &a.Closed,
			&lost.since, &lost.by, &lost.reason, &blocked.since, &blocked.by, &blocked.reason,
			&from, &until, &a.Threshold, &a.Zone, &a.Debt)
		if err != nil {
			return err
		}
		a.Lost, a.Blocked = lost.flag(), blocked.flag()
		a.ValidFrom, a.ValidUntil = timeOf(from), timeOf(until)
		s.Accounts[a.Key] = &a
	}
	return rows.Err()
}

// nullableFlag scans a mark on an account; it is set when it has a time.
type nullableFlag struct {
	since      *time.Time
	by, reason string
}

func (f nullableFlag) flag() *ocs.Flag {
	if f.since == nil {
		return nil
	}
	return &ocs.Flag{Since: f.since.UTC(), By: f.by, Reason: f.reason}
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

func (s *loadedSet) scanBalances(rows pgx.Rows) error {
	for rows.Next() {
		var key ocs.AccountKey
		var b ocs.Balance
		var from, until *time.Time
		err := rows.Scan(&key.Bucket, &key.ID, &b.ID, &b.Unit, &b.Amount, &b.Frozen, &b.Services, &b.Targets, &b.Priority, &from, &until)
		if err != nil {
			return err
		}
		b.ValidFrom, b.ValidUntil = timeOf(from), timeOf(until)
		if a := s.Accounts[key]; a != nil {
			a.Balances = append(a.Balances, &b)
		}
	}
	return rows.Err()
}

// sessionPlace is the key of a session row.
type sessionPlace struct {
	bucket int16
	ref    ocs.SessionRef
}

func refOf(step ocs.StepKey) ocs.SessionRef {
	return ocs.SessionRef{Key: step.Session, Sub: step.SubSession}
}

// queueSessions loads the sessions the steps name, and their freezes.
func (s *loadedSet) queueSessions(batch *pgx.Batch) {
	seen := make(map[sessionPlace]bool, len(s.want))
	var buckets []int16
	var keys [][16]byte
	var subs []int64
	for i := range s.want {
		place := sessionPlace{s.want[i].Account.Bucket, refOf(s.want[i].Step)}
		if seen[place] {
			continue
		}
		seen[place] = true
		buckets = append(buckets, place.bucket)
		keys, subs = append(keys, place.ref.Key), append(subs, int64(place.ref.Sub))
	}
	batch.Queue(sql.LoadSessions, buckets, keys, subs).Query(s.scanSessions)
	batch.Queue(sql.LoadFreezes, buckets, keys, subs).Query(s.scanFreezes)
}

func (s *loadedSet) scanSessions(rows pgx.Rows) error {
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
		ref := ocs.SessionRef{Key: n.Key, Sub: n.SubID}
		if s.Accounts[n.Account] != nil || s.namedByKnown(ref) {
			s.Sessions[ref] = &n
		}
	}
	return rows.Err()
}

// namedByKnown reports whether a step of a known account names the session. When
// the session is another account's, the rules see it and refuse the step.
func (s *loadedSet) namedByKnown(ref ocs.SessionRef) bool {
	return slices.ContainsFunc(s.want, func(w ocs.Want) bool {
		return refOf(w.Step) == ref && s.Accounts[w.Account] != nil
	})
}

func (s *loadedSet) scanFreezes(rows pgx.Rows) error {
	for rows.Next() {
		var key [16]byte
		var sub int64
		var target string
		var f ocs.Freeze
		if err := rows.Scan(&key, &sub, &target, &f.Balance, &f.Amount); err != nil {
			return err
		}
		ref := ocs.SessionRef{Key: key, Sub: uint64(sub)}
		session := s.Sessions[ref]
		if session == nil {
			continue
		}
		state := targetOf(session, ocs.Target(target))
		if state == nil {
			return fmt.Errorf("session %s has a freeze for target %q, of which it knows nothing: %w", session.ID, target, errInvariant)
		}
		state.Freezes = append(state.Freezes, f)
		s.freezes[freezeKey{ref, state.Target, f.Balance}] = f.Amount
	}
	return rows.Err()
}

func targetOf(s *ocs.Session, t ocs.Target) *ocs.TargetState {
	for _, state := range s.Targets {
		if state.Target == t {
			return state
		}
	}
	return nil
}

// standsAlone reports whether a step's outcome may stand in a row of its own:
// those of updates, terminations and expiries are always in their session.
func standsAlone(t ocs.StepType) bool {
	return t != ocs.Update && t != ocs.Terminate && t != ocs.Expire
}

// queueOutcomes loads the outcomes that stand alone.
func (s *loadedSet) queueOutcomes(batch *pgx.Batch) {
	var k outcomeKeys
	for i := range s.want {
		if standsAlone(s.want[i].Step.Type) {
			k.add(s.want[i].Account.Bucket, s.want[i].Step)
		}
	}
	if len(k.buckets) > 0 {
		batch.Queue(sql.LoadOutcomes, k.buckets, k.sessions, k.subs, k.types, k.numbers).Query(s.scanOutcomes)
	}
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

func (s *loadedSet) scanOutcomes(rows pgx.Rows) error {
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
		s.Outcomes[ocs.StepKey{Session: session, SubSession: uint64(sub), Type: ocs.StepType(kind), Number: uint32(number)}] = stored
	}
	return rows.Err()
}

// queueDebits loads the event debits named by refund tokens.
func (s *loadedSet) queueDebits(batch *pgx.Batch) {
	var buckets []int16
	var tokens [][]byte
	for i := range s.want {
		if len(s.want[i].ReversalOf) > 0 {
			buckets, tokens = append(buckets, s.want[i].Account.Bucket), append(tokens, s.want[i].ReversalOf)
		}
	}
	if len(tokens) > 0 {
		batch.Queue(sql.LoadDebits, buckets, tokens).Query(s.scanDebits)
	}
}

func (s *loadedSet) scanDebits(rows pgx.Rows) error {
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
		if s.Accounts[d.Account] != nil {
			s.Debits[string(d.Token)] = &d
		}
	}
	return rows.Err()
}
