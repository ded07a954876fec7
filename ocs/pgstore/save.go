package pgstore

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"gygate/ocs"
	"gygate/sql"
)

// changes turns what decide left in the set into statements, each for all its
// rows, in key order. COMMIT is queued by the caller.
func (s *loadedSet) changes() (*pgx.Batch, error) {
	batch := &pgx.Batch{}
	s.queueAccountChanges(batch)
	s.queueSessionChanges(batch)
	s.queueFreezeChanges(batch)
	if err := s.queueNewOutcomes(batch); err != nil {
		return nil, err
	}
	s.queueDebitChanges(batch)
	queueJournal(batch, s.Journal)
	return batch, s.queueOrphans(batch)
}

func (s *loadedSet) queueAccountChanges(batch *pgx.Batch) {
	var accounts accountColumns
	var balances balanceColumns
	for _, key := range sortedKeys(s.Accounts, compareAccounts) {
		a := s.Accounts[key]
		if a.Dirty {
			accounts.add(a)
		}
		for _, b := range a.Balances {
			if b.Dirty {
				balances.add(key, b)
			}
		}
	}
	if len(accounts.ids) > 0 {
		batch.Queue(sql.UpdateAccounts, accounts.buckets, accounts.ids, accounts.debts)
	}
	if len(balances.ids) > 0 {
		batch.Queue(sql.UpdateBalances, balances.buckets, balances.accounts, balances.ids, balances.amounts, balances.frozen)
	}
}

type accountColumns struct {
	buckets    []int16
	ids, debts []int64
}

func (c *accountColumns) add(a *ocs.Account) {
	c.buckets, c.ids, c.debts = append(c.buckets, a.Key.Bucket), append(c.ids, a.Key.ID), append(c.debts, int64(a.Debt))
}

type balanceColumns struct {
	buckets                        []int16
	accounts, ids, amounts, frozen []int64
}

func (c *balanceColumns) add(key ocs.AccountKey, b *ocs.Balance) {
	c.buckets, c.accounts, c.ids = append(c.buckets, key.Bucket), append(c.accounts, key.ID), append(c.ids, b.ID)
	c.amounts, c.frozen = append(c.amounts, b.Amount), append(c.frozen, b.Frozen)
}

// sortedKeys are the keys of a map in order.
func sortedKeys[K comparable, V any](m map[K]V, compare func(a, b K) int) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compare)
	return keys
}

func compareRefs(a, b ocs.SessionRef) int {
	return cmp.Or(slices.Compare(a.Key[:], b.Key[:]), cmp.Compare(a.Sub, b.Sub))
}

func (s *loadedSet) queueSessionChanges(batch *pgx.Batch) {
	var created, changed sessionColumns
	for _, ref := range sortedKeys(s.Sessions, compareRefs) {
		switch n := s.Sessions[ref]; {
		case n.New:
			created.add(n)
		case n.Dirty:
			changed.add(n)
		}
	}
	if c := &created; len(c.keys) > 0 {
		batch.Queue(sql.InsertSessions, c.buckets, c.keys, c.subs, c.accounts, c.ids, c.services, c.hosts, c.realms, c.relays, c.states,
			c.opened, c.deadlines, c.closed, c.late, c.targets, c.outcomes, c.tops, c.bits)
	}
	if c := &changed; len(c.keys) > 0 {
		batch.Queue(sql.UpdateSessions, c.buckets, c.keys, c.subs, c.hosts, c.realms, c.relays, c.states,
			c.deadlines, c.closed, c.late, c.targets, c.outcomes, c.tops, c.bits, s.Now)
	}
}

type sessionColumns struct {
	buckets                              []int16
	keys                                 [][16]byte
	subs, accounts, states, tops, bits   []int64
	ids, services, hosts, realms, relays []string
	opened, deadlines                    []time.Time
	closed, late                         []*time.Time
	targets, outcomes                    [][]byte
}

func (c *sessionColumns) add(n *ocs.Session) {
	c.buckets, c.keys, c.subs = append(c.buckets, n.Account.Bucket), append(c.keys, n.Key), append(c.subs, int64(n.SubID))
	c.accounts, c.ids, c.services = append(c.accounts, n.Account.ID), append(c.ids, n.ID), append(c.services, n.Service)
	c.hosts, c.realms = append(c.hosts, n.Client.Host), append(c.realms, n.Client.Realm)
	c.relays, c.states = append(c.relays, n.Client.Relay), append(c.states, int64(n.Client.State))
	c.opened, c.deadlines = append(c.opened, n.OpenedAt), append(c.deadlines, n.Deadline)
	c.closed, c.late = append(c.closed, nullable(n.ClosedAt)), append(c.late, nullable(n.LateUntil))
	c.targets, c.outcomes = append(c.targets, encodeTargets(n.Targets)), append(c.outcomes, encodeOutcomes(n.Outcomes))
	c.tops, c.bits = append(c.tops, int64(n.Served.Top)), append(c.bits, int64(n.Served.Bits))
}

// queueFreezeChanges compares the freezes of the sessions that decide marked with
// what was loaded, and writes the difference. What is not marked is left alone:
// decide may have given its work up half-way.
func (s *loadedSet) queueFreezeChanges(batch *pgx.Batch) {
	var created, changed, gone freezeColumns
	kept := make(map[freezeKey]int64, len(s.freezes))
	for _, ref := range sortedKeys(s.Sessions, compareRefs) {
		session := s.Sessions[ref]
		if !session.New && !session.Dirty {
			continue
		}
		for _, t := range session.Targets {
			for _, f := range t.Freezes {
				kept[freezeKey{ref, t.Target, f.Balance}] += f.Amount
			}
		}
	}
	for _, key := range sortedKeys(kept, compareFreezes) {
		before, existed := s.freezes[key]
		switch now := kept[key]; {
		case !existed:
			created.add(s.Sessions[key.session].Account.Bucket, key, now)
		case now != before:
			changed.add(s.Sessions[key.session].Account.Bucket, key, now)
		}
	}
	for _, key := range sortedKeys(s.freezes, compareFreezes) {
		session := s.Sessions[key.session]
		if _, still := kept[key]; !still && session != nil && session.Dirty {
			gone.add(session.Account.Bucket, key, 0)
		}
	}
	created.queue(batch, sql.InsertFreezes, true)
	changed.queue(batch, sql.UpdateFreezes, true)
	gone.queue(batch, sql.DeleteFreezes, false)
}

func compareFreezes(a, b freezeKey) int {
	return cmp.Or(compareRefs(a.session, b.session), cmp.Compare(a.target, b.target), cmp.Compare(a.balance, b.balance))
}

type freezeColumns struct {
	buckets                 []int16
	sessions                [][16]byte
	subs, balances, amounts []int64
	targets                 []string
}

func (c *freezeColumns) add(bucket int16, k freezeKey, amount int64) {
	c.buckets, c.sessions, c.subs = append(c.buckets, bucket), append(c.sessions, k.session.Key), append(c.subs, int64(k.session.Sub))
	c.targets, c.balances, c.amounts = append(c.targets, string(k.target)), append(c.balances, k.balance), append(c.amounts, amount)
}

func (c *freezeColumns) queue(batch *pgx.Batch, statement string, withAmounts bool) {
	if len(c.sessions) == 0 {
		return
	}
	args := []any{c.buckets, c.sessions, c.subs, c.targets, c.balances}
	if withAmounts {
		args = append(args, c.amounts)
	}
	batch.Queue(statement, args...)
}

func (s *loadedSet) queueNewOutcomes(batch *pgx.Batch) error {
	if len(s.NewOutcomes) == 0 {
		return nil
	}
	var k outcomeKeys
	var accounts []int64
	var encoded [][]byte
	for i := range s.NewOutcomes {
		o := &s.NewOutcomes[i]
		if !standsAlone(o.Key.Type) {
			return fmt.Errorf("an outcome of type %d outside its session, where repeats do not look: %w", o.Key.Type, errInvariant)
		}
		k.add(o.Account.Bucket, o.Key)
		accounts, encoded = append(accounts, o.Account.ID), append(encoded, encodeOutcome(&o.Stored))
	}
	batch.Queue(sql.InsertOutcomes, k.buckets, k.sessions, k.subs, k.types, k.numbers, accounts, encoded, s.Now)
	return nil
}

func (s *loadedSet) queueDebitChanges(batch *pgx.Batch) {
	created := make(map[string]bool, len(s.NewDebits))
	for _, d := range s.NewDebits {
		created[string(d.Token)] = true
		balances, amounts := make([]int64, len(d.Parts)), make([]int64, len(d.Parts))
		for i, part := range d.Parts {
			balances[i], amounts[i] = part.Balance, part.Amount
		}
		batch.Queue(sql.InsertDebit, d.Account.Bucket, d.Token, d.Account.ID, s.Now, balances, amounts,
			int64(d.Cost), int64(d.Reversed), int16(d.Units.Kind), d.Units.Quantity)
	}
	var buckets []int16
	var tokens [][]byte
	var reversed []int64
	for _, token := range sortedKeys(s.Debits, cmp.Compare[string]) {
		if d := s.Debits[token]; d.Dirty && !created[token] {
			buckets, tokens, reversed = append(buckets, d.Account.Bucket), append(tokens, d.Token), append(reversed, int64(d.Reversed))
		}
	}
	if len(tokens) > 0 {
		batch.Queue(sql.UpdateDebits, buckets, tokens, reversed)
	}
}

// queueJournal inserts all rows by one statement.
func queueJournal(batch *pgx.Batch, rows []ocs.JournalRow) {
	if len(rows) == 0 {
		return
	}
	c := newJournalColumns(len(rows))
	for i := range rows {
		c.add(&rows[i])
	}
	batch.Queue(sql.InsertJournal, c.buckets, c.accounts, c.at, c.balances, c.kinds, c.sessions, c.sessionIDs, c.subs,
		c.types, c.numbers, c.targets, c.groups, c.used, c.debited, c.refunded, c.reserved,
		c.credited, c.overrun, c.amounts, c.frozen, c.reversals, c.keys, c.sources)
}

type journalColumns struct {
	buckets, types                                                        []int16
	accounts, balances, subs, numbers, groups                             []int64
	used, debited, refunded, reserved, credited, overrun, amounts, frozen []int64
	at                                                                    []time.Time
	kinds, targets                                                        []string
	sessions                                                              []pgtype.UUID
	sessionIDs, keys, sources                                             []*string
	reversals                                                             [][]byte
}

func newJournalColumns(n int) *journalColumns {
	c := &journalColumns{
		buckets: make([]int16, 0, n), types: make([]int16, 0, n),
		at: make([]time.Time, 0, n), kinds: make([]string, 0, n), targets: make([]string, 0, n),
		sessions: make([]pgtype.UUID, 0, n), sessionIDs: make([]*string, 0, n),
		keys: make([]*string, 0, n), sources: make([]*string, 0, n), reversals: make([][]byte, 0, n),
	}
	for _, column := range []*[]int64{
		&c.accounts, &c.balances, &c.subs, &c.numbers, &c.groups,
		&c.used, &c.debited, &c.refunded, &c.reserved, &c.credited, &c.overrun, &c.amounts, &c.frozen,
	} {
		*column = make([]int64, 0, n)
	}
	return c
}

func (c *journalColumns) add(r *ocs.JournalRow) {
	c.buckets, c.accounts, c.at = append(c.buckets, r.Account.Bucket), append(c.accounts, r.Account.ID), append(c.at, r.At)
	c.balances, c.kinds = append(c.balances, r.Balance), append(c.kinds, string(r.Kind))
	c.sessions = append(c.sessions, pgtype.UUID{Bytes: r.Session, Valid: r.Session != ocs.SessionKey{}})
	c.sessionIDs, c.subs = append(c.sessionIDs, journalText(r)), append(c.subs, int64(r.SubSession))
	c.types, c.numbers = append(c.types, int16(r.Type)), append(c.numbers, int64(r.Number))
	c.targets, c.groups, c.used = append(c.targets, string(r.Target)), append(c.groups, int64(r.RatingGroup)), append(c.used, r.Used)
	c.debited, c.refunded, c.reserved = append(c.debited, r.Debited), append(c.refunded, r.Refunded), append(c.reserved, r.Reserved)
	c.credited, c.overrun = append(c.credited, r.Credited), append(c.overrun, r.Overrun)
	c.amounts, c.frozen = append(c.amounts, r.AmountAfter), append(c.frozen, r.FrozenAfter)
	c.reversals, c.keys, c.sources = append(c.reversals, r.ReversalOf), append(c.keys, nullableText(r.CreditKey)), append(c.sources, nullableText(r.CreditSource))
}

// journalText is the Session-Id's text, on those rows that begin a session or are
// all there is of it; the others carry the hash alone.
func journalText(r *ocs.JournalRow) *string {
	if !standsAlone(r.Type) {
		return nil
	}
	return nullableText(r.SessionID)
}

func nullableText(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (s *loadedSet) queueOrphans(batch *pgx.Batch) error {
	if len(s.Orphans) == 0 {
		return nil
	}
	var k outcomeKeys
	var ids, used []string
	var at []time.Time
	var mismatches []bool
	for i := range s.Orphans {
		o := &s.Orphans[i]
		encoded, err := json.Marshal(o.Used)
		if err != nil {
			return fmt.Errorf("orphan usage of %s: %w", o.SessionID, err)
		}
		k.add(0, o.Key)
		ids, used, at = append(ids, o.SessionID), append(used, string(encoded)), append(at, o.At)
		mismatches = append(mismatches, o.Mismatch)
	}
	batch.Queue(sql.InsertOrphans, k.sessions, k.subs, k.types, k.numbers, ids, used, at, mismatches)
	return nil
}
