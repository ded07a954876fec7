package pgstore

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"gygate/ocs"
	"gygate/sql"
)

// guarding is what keeps a store from being decided on something stale.
type guarding int

const (
	onVersions guarding = iota // the store fails unless all is as it was known
	onLocks                    // nothing can have changed since it was loaded
)

// outbox holds what a batch stores, as rows of the statements that store it.
type outbox struct {
	debts, balances, versions, absent rows
	created, changed, clients         rows
	outcomes, debits, reversed        rows
	moves, credits, orphans           rows
	accountOrder                      []*account
	knownOrder, newOrder              []*ocs.Session
	statements                        []statement
	targets, outcome                  []byte
}

// statement is one statement with its rows.
type statement struct {
	sql  string
	rows *rows
}

func newOutbox() *outbox {
	o := &outbox{}
	// Accounts before balances: that is the order of the locks. The guards come
	// before all that is decided on them.
	o.statements = []statement{
		{sql.UpdateAccounts, &o.debts}, {sql.UpdateBalances, &o.balances}, {sql.CheckVersions, &o.versions}, {sql.CheckAbsent, &o.absent},
		{sql.InsertSessions, &o.created}, {sql.UpdateSessions, &o.changed}, {sql.UpdateClients, &o.clients},
		{sql.InsertOutcomes, &o.outcomes}, {sql.InsertDebits, &o.debits}, {sql.UpdateDebits, &o.reversed},
		{sql.InsertMoves, &o.moves}, {sql.InsertCredits, &o.credits}, {sql.InsertOrphans, &o.orphans},
	}
	return o
}

// fill turns what decide left in the batch into rows, those that lock in key order.
func (o *outbox) fill(b *batch, how guarding) error {
	for _, s := range o.statements {
		s.rows.reset()
	}
	if err := o.addSessions(b); err != nil {
		return err
	}
	if err := o.addOutcomes(b); err != nil {
		return err
	}
	o.addDebits(b)
	o.addJournal(b)
	if err := o.addOrphans(b); err != nil {
		return err
	}
	o.addAccounts(b, how) // last: by now it is known under which of them something is stored
	if how == onVersions {
		o.addAbsent(b)
	}
	return nil
}

func (o *outbox) addAccounts(b *batch, how guarding) {
	o.accountOrder = o.accountOrder[:0]
	for _, a := range b.accounts {
		o.accountOrder = append(o.accountOrder, a)
	}
	slices.SortFunc(o.accountOrder, func(x, y *account) int { return compareAccounts(x.key(), y.key()) })
	for _, a := range o.accountOrder {
		key := a.key()
		if a.Dirty {
			a.written = true
			o.debts.add().int16(key.Bucket).int64(key.ID).int64(int64(a.Debt))
		}
		for _, balance := range a.balances {
			a.written = a.written || balance.Dirty
		}
		for i, balance := range a.balances {
			if balance.Dirty || (i == 0 && a.written) {
				was := a.marks[i]
				o.balances.add().int16(key.Bucket).int64(key.ID).int64(balance.ID).int64(balance.Amount).int64(balance.Frozen).
					int64(was.version).int64(was.amount).int64(was.frozen)
			}
		}
		if !a.written && how == onVersions {
			o.versions.add().int16(key.Bucket).int64(key.ID).int64(a.balances[0].ID).int64(a.marks[0].version)
		}
	}
	clear(o.accountOrder)
}

// under marks that something under an account is stored.
func (b *batch) under(key ocs.AccountKey) error {
	a := b.accounts[key]
	if a == nil {
		return fmt.Errorf("something is stored under account %d, which the batch does not hold: %w", key.ID, errInvariant)
	}
	a.written = true
	return nil
}

func (o *outbox) addSessions(b *batch) error {
	created, changed := o.newOrder[:0], o.knownOrder[:0]
	for _, n := range b.Sessions {
		if !n.New && !n.Dirty {
			continue
		}
		if err := b.under(n.Account); err != nil {
			return err
		}
		if slices.ContainsFunc(n.Targets, func(t *ocs.TargetState) bool { return len(t.Target) > targetMax }) {
			return fmt.Errorf("session %s has a target of more than %d octets, which could not be read again: %w", n.ID, targetMax, errInvariant)
		}
		if n.New {
			created = append(created, n)
		} else {
			changed = append(changed, n)
		}
	}
	slices.SortFunc(created, compareSessions)
	slices.SortFunc(changed, compareSessions)
	for _, n := range created {
		o.create(b, n)
	}
	for _, n := range changed {
		o.change(n)
	}
	if len(changed) > 0 {
		o.changed.scalar(b.Now)
	}
	o.addClients(b)
	clear(created)
	clear(changed)
	o.newOrder, o.knownOrder = created, changed
	return nil
}

func compareSessions(a, b *ocs.Session) int {
	return compareRefs(ocs.SessionRef{Key: a.Key, Sub: a.SubID}, ocs.SessionRef{Key: b.Key, Sub: b.SubID})
}

// create adds a new session, with the request that began it: its insert proves that
// this one was not refused before.
func (o *outbox) create(b *batch, n *ocs.Session) {
	first := ocs.StepKey{Type: ocs.Initial}
	if begun := b.begun[ocs.SessionRef{Key: n.Key, Sub: n.SubID}]; len(begun) > 0 {
		first = b.want[begun[0]].Step
	} else if len(n.Outcomes) > 0 {
		first.Type, first.Number = n.Outcomes[0].Type, n.Outcomes[0].Number
	}
	o.encode(n)
	o.created.add().int16(n.Account.Bucket).uuid(n.Key).int64(int64(n.SubID)).int64(n.Account.ID).text(n.ID).text(n.Service).
		text(n.Client.Host).text(n.Client.Realm).text(n.Client.Relay).int64(int64(n.Client.State)).
		time(n.OpenedAt).time(n.Deadline).time(n.ClosedAt).time(n.LateUntil).bytes(o.targets).bytes(o.outcome).
		int64(int64(n.Served.Top)).int64(int64(n.Served.Bits)).int16(int16(first.Type)).int64(int64(first.Number))
}

func (o *outbox) change(n *ocs.Session) {
	o.encode(n)
	o.changed.add().uuid(n.Key).int64(int64(n.SubID)).time(n.Deadline).time(n.ClosedAt).time(n.LateUntil).
		bytes(o.targets).bytes(o.outcome).int64(int64(n.Served.Top)).int64(int64(n.Served.Bits))
}

func (o *outbox) encode(n *ocs.Session) {
	o.targets = appendTargets(o.targets[:0], n.Targets)
	o.outcome = appendOutcomes(o.outcome[:0], n.Outcomes)
}

// addClients stores where the clients of known sessions are, when that has changed.
func (o *outbox) addClients(b *batch) {
	moved := func(n *session) bool { return n.Dirty && n.Client != n.client }
	if !slices.ContainsFunc(b.known, moved) {
		return
	}
	slices.SortFunc(b.known, func(x, y *session) int { return compareSessions(x.Session, y.Session) })
	for _, n := range b.known {
		if moved(n) {
			o.clients.add().uuid(n.Key).int64(int64(n.SubID)).
				text(n.Client.Host).text(n.Client.Realm).text(n.Client.Relay).int64(int64(n.Client.State))
		}
	}
}

// addAbsent has the store prove what was taken for granted: that the first requests
// did not begin their session before, and were not refused before. Of a session that
// is inserted the insert proves it, for the first of them.
func (o *outbox) addAbsent(b *batch) {
	for ref, places := range b.begun {
		if n := b.Sessions[ref]; n != nil && n.New {
			places = places[1:]
		}
		for _, place := range places {
			w, first := &b.want[place], &b.want[b.begun[ref][0]]
			if w != first && w.Step == first.Step && w.Account == first.Account {
				continue // a repeat in the same batch
			}
			step := w.Step
			o.absent.add().int16(w.Account.Bucket).uuid(step.Session).int64(int64(step.SubSession)).int16(int16(step.Type)).int64(int64(step.Number))
		}
	}
}

func (o *outbox) addOutcomes(b *batch) error {
	for i := range b.NewOutcomes {
		n := &b.NewOutcomes[i]
		if !standsAlone(n.Key.Type) {
			return fmt.Errorf("an outcome of type %d outside its session, where repeats do not look: %w", n.Key.Type, errInvariant)
		}
		if err := b.under(n.Account); err != nil {
			return err
		}
		o.outcomes.add().int16(n.Account.Bucket).uuid(n.Key.Session).int64(int64(n.Key.SubSession)).int16(int16(n.Key.Type)).int64(int64(n.Key.Number)).
			int64(n.Account.ID).bytes(encodeOutcome(&n.Stored))
	}
	if len(b.NewOutcomes) > 0 {
		o.outcomes.scalar(b.Now)
	}
	return nil
}

func (o *outbox) addDebits(b *batch) {
	created := make(map[string]bool, len(b.NewDebits))
	for _, d := range b.NewDebits {
		created[string(d.Token)] = true
		var balances, amounts []int64
		for _, part := range d.Parts {
			balances, amounts = append(balances, part.Balance), append(amounts, part.Amount)
		}
		o.debits.add().int16(d.Account.Bucket).bytes(d.Token).int64(d.Account.ID).text(arrayText(balances)).text(arrayText(amounts)).
			int64(int64(d.Cost)).int64(int64(d.Reversed)).int16(int16(d.Units.Kind)).int64(d.Units.Quantity)
	}
	if len(b.NewDebits) > 0 {
		o.debits.scalar(b.Now)
	}
	for _, token := range sortedKeys(b.Debits, cmp.Compare[string]) {
		if d := b.Debits[token]; d.Dirty && !created[token] {
			o.reversed.add().int16(d.Account.Bucket).bytes(d.Token).int64(int64(d.Reversed))
		}
	}
}

// arrayText is an array in PostgreSQL's text format.
func arrayText(values []int64) string {
	return "{" + strings.Trim(strings.Join(strings.Fields(fmt.Sprint(values)), ","), "[]") + "}"
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

func (o *outbox) addJournal(b *batch) {
	for i := range b.Journal {
		r := &b.Journal[i]
		if r.Credited != 0 || r.ReversalOf != nil || r.CreditKey != "" || r.CreditSource != "" || !r.At.Equal(b.Now) {
			o.credit(r)
		} else {
			o.move(r)
		}
	}
	if o.moves.count > 0 {
		o.moves.scalar(b.Now)
	}
}

func (o *outbox) move(r *ocs.JournalRow) {
	row := o.moves.add().int16(r.Account.Bucket).int64(r.Account.ID).int64(r.Balance).text(string(r.Kind))
	addSession(row, r)
	row.int64(int64(r.SubSession)).int16(int16(r.Type)).int64(int64(r.Number)).text(string(r.Target)).int64(int64(r.RatingGroup)).
		int64(r.Used).int64(r.Debited).int64(r.Refunded).int64(r.Reserved).int64(r.Overrun).int64(r.AmountAfter).int64(r.FrozenAfter)
}

func (o *outbox) credit(r *ocs.JournalRow) {
	row := o.credits.add().int16(r.Account.Bucket).int64(r.Account.ID).time(r.At).int64(r.Balance).text(string(r.Kind))
	addSession(row, r)
	row.int64(int64(r.SubSession)).int16(int16(r.Type)).int64(int64(r.Number)).text(string(r.Target)).int64(int64(r.RatingGroup)).
		int64(r.Used).int64(r.Debited).int64(r.Refunded).int64(r.Reserved).int64(r.Credited).int64(r.Overrun).int64(r.AmountAfter).int64(r.FrozenAfter)
	if r.ReversalOf == nil {
		row.null()
	} else {
		row.bytes(r.ReversalOf)
	}
	optionalText(row, r.CreditKey)
	optionalText(row, r.CreditSource)
}

// addSession adds the session's key and, on those rows that begin a session or are
// all there is of it, the Session-Id's text; the others carry the key alone.
func addSession(row *rows, r *ocs.JournalRow) {
	if (r.Session == ocs.SessionKey{}) {
		row.null()
	} else {
		row.uuid(r.Session)
	}
	if standsAlone(r.Type) {
		optionalText(row, r.SessionID)
	} else {
		row.null()
	}
}

func optionalText(row *rows, s string) {
	if s == "" {
		row.null()
	} else {
		row.text(s)
	}
}

func (o *outbox) addOrphans(b *batch) error {
	for i := range b.Orphans {
		orphan := &b.Orphans[i]
		used, err := json.Marshal(orphan.Used)
		if err != nil {
			return fmt.Errorf("orphan usage of %s: %w", orphan.SessionID, err)
		}
		o.orphans.add().uuid(orphan.Key.Session).int64(int64(orphan.Key.SubSession)).int16(int16(orphan.Key.Type)).int64(int64(orphan.Key.Number)).
			text(orphan.SessionID).json(used).time(orphan.At).bool(orphan.Mismatch)
	}
	return nil
}

// queueJournal appends rows beside the engine, whoever holds the account's lock.
func queueJournal(batch *pgx.Batch, list []ocs.JournalRow) {
	for i := range list {
		r := &list[i]
		var session *[16]byte
		if (r.Session != ocs.SessionKey{}) {
			session = (*[16]byte)(&r.Session)
		}
		batch.Queue(sql.InsertCredit, r.Account.Bucket, r.Account.ID, r.At, r.Balance, string(r.Kind), session, nullableText(r.SessionID), int64(r.SubSession),
			int16(r.Type), int64(r.Number), string(r.Target), int64(r.RatingGroup), r.Used, r.Debited, r.Refunded, r.Reserved,
			r.Credited, r.Overrun, r.AmountAfter, r.FrozenAfter, r.ReversalOf, nullableText(r.CreditKey), nullableText(r.CreditSource))
	}
}

func nullableText(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
