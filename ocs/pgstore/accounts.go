package pgstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"gygate/ocs"
	"gygate/sql"
)

// NewAccount says how to open an account.
type NewAccount struct {
	Identities []ocs.Identity
	Currency   ocs.Currency
	Class      string
	ValidFrom  time.Time // zero: at once
	ValidUntil time.Time // zero: for ever
	Threshold  ocs.Money
	Zone       string // IANA; "": UTC
	// Balance opens a money balance for all services. It may be zero.
	Balance ocs.Money
	// Balances, when set, are opened in its place. Their ID and Frozen are not
	// looked at.
	Balances []ocs.Balance
}

// AccountInfo is an account as an operator sees it. Amounts of money are decimals
// of the account's currency.
type AccountInfo struct {
	Bucket       int16         `json:"bucket"`
	ID           int64         `json:"id"`
	Identities   []string      `json:"identities"`
	Currency     ocs.Currency  `json:"currency"`
	Class        string        `json:"class,omitempty"`
	Available    ocs.Money     `json:"available"` // money that may be spent now
	Frozen       ocs.Money     `json:"frozen"`    // money set aside by open sessions
	Spent        ocs.Money     `json:"spent"`     // money debited so far, less reversals
	Debt         ocs.Money     `json:"debt"`
	Threshold    ocs.Money     `json:"threshold"`
	ValidFrom    *time.Time    `json:"valid_from,omitempty"`
	ValidUntil   *time.Time    `json:"valid_until,omitempty"`
	Zone         string        `json:"zone"`
	Lost         *ocs.Flag     `json:"lost,omitempty"`
	Blocked      *ocs.Flag     `json:"blocked,omitempty"`
	Closed       bool          `json:"closed"`
	Balances     []BalanceInfo `json:"balances"`
	OpenSessions []SessionInfo `json:"open_sessions"`
}

// BalanceInfo is one balance. Amounts of money are millionths of the currency's
// unit, others are counts.
type BalanceInfo struct {
	ID         int64      `json:"id"`
	Unit       string     `json:"unit"` // seconds, octets, events or money
	Amount     int64      `json:"amount"`
	Frozen     int64      `json:"frozen"`
	Services   []string   `json:"services,omitempty"`
	Targets    []uint32   `json:"rating_groups,omitempty"`
	Priority   int        `json:"priority"`
	ValidFrom  *time.Time `json:"valid_from,omitempty"`
	ValidUntil *time.Time `json:"valid_until,omitempty"`
}

// MarshalJSON writes amount and frozen as decimals in text: of the currency's unit
// for money, whole counts for others.
func (b BalanceInfo) MarshalJSON() ([]byte, error) {
	type plain BalanceInfo
	return json.Marshal(struct {
		plain
		Amount string `json:"amount"`
		Frozen string `json:"frozen"`
	}{plain(b), b.decimal(b.Amount), b.decimal(b.Frozen)})
}

func (b BalanceInfo) decimal(n int64) string {
	if b.Unit == ocs.Amount.String() {
		return ocs.Money(n).String()
	}
	return strconv.FormatInt(n, 10)
}

// CreateAccount opens an account with its identities and balances; the opening
// amounts are credits of the journal. ErrIdentityTaken when an identity is in use.
func (a *Admin) CreateAccount(ctx context.Context, n NewAccount) (AccountInfo, error) {
	if err := n.check(); err != nil {
		return AccountInfo{}, err
	}
	err := pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error { return n.insert(ctx, tx) })
	if violates(err, "identity_pkey") {
		return AccountInfo{}, fmt.Errorf("%w: %s", ErrIdentityTaken, a.taken(ctx, n.Identities))
	}
	if err != nil {
		return AccountInfo{}, fmt.Errorf("create account: %w", err)
	}
	return a.Show(ctx, FormatIdentity(n.Identities[0]))
}

func (n *NewAccount) check() error {
	switch {
	case len(n.Identities) == 0:
		return fmt.Errorf("%w: an account needs an identity", ErrInput)
	case n.Currency < 1 || n.Currency > 999:
		return fmt.Errorf("%w: currency %d is no ISO 4217 number", ErrInput, n.Currency)
	case n.Balance < 0 || n.Threshold < 0:
		return fmt.Errorf("%w: balance and threshold must not be negative", ErrInput)
	case !n.ValidFrom.IsZero() && !n.ValidUntil.IsZero() && !n.ValidFrom.Before(n.ValidUntil):
		return fmt.Errorf("%w: the validity ends before it begins", ErrInput)
	}
	if _, err := time.LoadLocation(n.Zone); err != nil {
		return fmt.Errorf("%w: time zone: %w", ErrInput, err)
	}
	for i, id := range n.Identities {
		if slices.Contains(n.Identities[:i], id) {
			return fmt.Errorf("%w: identity %s is named twice", ErrInput, FormatIdentity(id))
		}
	}
	for _, b := range n.Balances {
		if b.Amount < 0 || b.Unit.String() == "" {
			return fmt.Errorf("%w: a balance needs a unit and must not be negative", ErrInput)
		}
	}
	return nil
}

// insert creates the rows. Nobody else knows the account yet, so there is no lock
// to take.
func (n *NewAccount) insert(ctx context.Context, tx pgx.Tx) error {
	var key ocs.AccountKey
	var now time.Time
	err := tx.QueryRow(ctx, `
		insert into account (bucket, id, currency, class, valid_from, valid_until, threshold, zone)
		select account_bucket(id), id, $1, $2, $3, $4, $5, coalesce(nullif($6, ''), 'UTC')
		from nextval('account_id') id
		returning bucket, id, clock_timestamp()`,
		int32(n.Currency), n.Class, nullable(n.ValidFrom), nullable(n.ValidUntil), int64(n.Threshold), n.Zone).
		Scan(&key.Bucket, &key.ID, &now)
	if err != nil {
		return err
	}
	batch := &pgx.Batch{}
	for _, id := range n.Identities {
		batch.Queue("insert into identity (kind, value, bucket, account) values ($1, $2, $3, $4)", int16(id.Kind), id.Value, key.Bucket, key.ID)
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return err
	}
	balances := n.Balances
	if balances == nil {
		balances = []ocs.Balance{{Unit: ocs.Amount, Amount: int64(n.Balance)}}
	}
	var rows []ocs.JournalRow
	for _, b := range balances {
		row, err := openBalance(ctx, tx, key, b, now)
		if err != nil {
			return err
		}
		if row.Credited > 0 {
			rows = append(rows, row)
		}
	}
	return writeJournal(ctx, tx, rows)
}

// openBalance inserts a balance and returns its opening credit.
func openBalance(ctx context.Context, tx pgx.Tx, key ocs.AccountKey, b ocs.Balance, now time.Time) (ocs.JournalRow, error) {
	err := tx.QueryRow(ctx, `
		insert into balance (bucket, account, unit, amount, services, targets, priority, valid_from, valid_until)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9) returning id`,
		key.Bucket, key.ID, int16(b.Unit), b.Amount, b.Services, b.Targets, b.Priority, nullable(b.ValidFrom), nullable(b.ValidUntil)).Scan(&b.ID)
	return ocs.JournalRow{
		At: now, Account: key, Balance: b.ID, Kind: ocs.JournalCredit,
		Credited: b.Amount, AmountAfter: b.Amount, CreditSource: "opening",
	}, err
}

func writeJournal(ctx context.Context, tx pgx.Tx, rows []ocs.JournalRow) error {
	batch := &pgx.Batch{}
	queueJournal(batch, rows)
	return tx.SendBatch(ctx, batch).Close()
}

// taken names the identities that belong to an account.
func (a *Admin) taken(ctx context.Context, ids []ocs.Identity) string {
	var names []string
	for _, id := range ids {
		if _, err := a.find(ctx, FormatIdentity(id)); err == nil {
			names = append(names, FormatIdentity(id))
		}
	}
	return strings.Join(names, ", ")
}

// Show returns the account of an identity (see ParseIdentity), or of the internal
// number by which Verify names it, "id:13". ErrNoAccount when there is none.
func (a *Admin) Show(ctx context.Context, identity string) (AccountInfo, error) {
	key, err := a.find(ctx, identity)
	if err != nil {
		return AccountInfo{}, err
	}
	var info AccountInfo
	err = pgx.BeginTxFunc(ctx, a.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) (err error) {
		info, err = showAccount(ctx, tx, key)
		return err
	})
	if err != nil {
		return AccountInfo{}, fmt.Errorf("show account: %w", err)
	}
	return info, nil
}

// showAccount reads everything in one snapshot.
func showAccount(ctx context.Context, tx pgx.Tx, key ocs.AccountKey) (AccountInfo, error) {
	account, now, err := readAccount(ctx, tx, key)
	if err != nil {
		return AccountInfo{}, err
	}
	info := AccountInfo{
		Bucket: key.Bucket, ID: key.ID, Currency: account.Currency, Class: account.Class, Debt: account.Debt, Threshold: account.Threshold,
		ValidFrom: nullable(account.ValidFrom), ValidUntil: nullable(account.ValidUntil), Zone: account.Zone,
		Lost: account.Lost, Blocked: account.Blocked, Closed: account.Closed, Balances: []BalanceInfo{},
	}
	for _, b := range account.Balances {
		info.addBalance(b, now)
	}
	if info.Identities, err = readIdentities(ctx, tx, key); err != nil {
		return info, err
	}
	if info.Spent, err = readSpent(ctx, tx, key); err != nil {
		return info, err
	}
	info.OpenSessions, err = readSessions(ctx, tx, "s.closed_at is null and s.bucket = $1 and s.account = $2 order by s.opened_at", key.Bucket, key.ID)
	return info, err
}

func (i *AccountInfo) addBalance(b *ocs.Balance, now time.Time) {
	i.Balances = append(i.Balances, BalanceInfo{
		ID: b.ID, Unit: b.Unit.String(), Amount: b.Amount, Frozen: b.Frozen, Services: b.Services, Targets: b.Targets,
		Priority: b.Priority, ValidFrom: nullable(b.ValidFrom), ValidUntil: nullable(b.ValidUntil),
	})
	if b.Unit != ocs.Amount {
		return
	}
	i.Frozen += ocs.Money(b.Frozen)
	if !now.Before(b.ValidFrom) && (b.ValidUntil.IsZero() || now.Before(b.ValidUntil)) {
		i.Available += ocs.Money(b.Amount - b.Frozen)
	}
}

// readAccount reads account and balances by the statements of the money path,
// but takes no lock.
func readAccount(ctx context.Context, tx pgx.Tx, key ocs.AccountKey) (account *ocs.Account, now time.Time, err error) {
	l := newLoader()
	l.accountKeys = []ocs.AccountKey{key}
	batch := &pgx.Batch{}
	buckets, ids := l.accountColumns()
	batch.Queue(sql.ReadAccounts, buckets, ids).Query(l.accounts.scanAccounts)
	batch.Queue(sql.ReadBalances, buckets, ids).Query(l.accounts.scanBalances)
	l.queueClock(batch)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, now, err
	}
	l.accounts.complete()
	if l.accounts[key] == nil {
		return nil, l.clock, ErrNoAccount
	}
	return l.accounts[key].Account, l.clock, nil
}

func readIdentities(ctx context.Context, tx pgx.Tx, key ocs.AccountKey) ([]string, error) {
	rows, err := tx.Query(ctx, "select kind, value from identity where bucket = $1 and account = $2 order by kind, value", key.Bucket, key.ID)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		var id ocs.Identity
		err := row.Scan(&id.Kind, &id.Value)
		return FormatIdentity(id), err
	})
}

// readSpent adds up what was debited in money and not taken back, from the journal
// and the closings of its dropped months. Paid debt is not use.
func readSpent(ctx context.Context, tx pgx.Tx, key ocs.AccountKey) (spent ocs.Money, err error) {
	err = tx.QueryRow(ctx, `
		select coalesce(sum(x.spent), 0)::bigint from (
			select balance, debited - case when credit_source = 'reversal' then credited else 0 end spent
			from journal where bucket = $1 and account = $2 and kind <> 'debt'
			union all
			select balance, debited - repaid - reversed from closing where bucket = $1 and account = $2
		) x join balance b on b.bucket = $1 and b.account = $2 and b.id = x.balance and b.unit = $3`,
		key.Bucket, key.ID, int16(ocs.Amount)).Scan(&spent)
	return spent, err
}

// JournalMax bounds the rows one call returns.
const JournalMax = 10_000

// Journal returns the last rows of an account's journal, oldest first; limit 0 and
// more than JournalMax mean JournalMax.
func (a *Admin) Journal(ctx context.Context, identity string, limit int) ([]ocs.JournalRow, error) {
	key, err := a.find(ctx, identity)
	if err != nil {
		return nil, err
	}
	if limit <= 0 || limit > JournalMax {
		limit = JournalMax
	}
	return a.journal(ctx, `select * from (`+journalSelect+`
		where j.bucket = $1 and j.account = $2 order by j.at desc, j.id desc limit $3) x order by at, id`, key.Bucket, key.ID, limit)
}

// SessionJournal returns the rows of a Session-Id with all its sub-sessions,
// oldest first, at most JournalMax. It finds them through the session's account;
// when the session is no longer kept it searches the whole journal, which takes
// long on a big one.
func (a *Admin) SessionJournal(ctx context.Context, sessionID string) ([]ocs.JournalRow, error) {
	session := [16]byte(ocs.KeyOf(sessionID))
	var key ocs.AccountKey
	err := a.pool.QueryRow(ctx, "select bucket, account from session where key = $1 limit 1", session).Scan(&key.Bucket, &key.ID)
	if errors.Is(err, pgx.ErrNoRows) {
		return a.journal(ctx, journalSelect+" where j.session = $1 order by j.at, j.id limit $2", session, JournalMax)
	}
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	return a.journal(ctx, journalSelect+" where j.bucket = $1 and j.account = $2 and j.session = $3 order by j.at, j.id limit $4",
		key.Bucket, key.ID, session, JournalMax)
}

// journalSelect reads journal rows; the Session-Id's text stands in the row that
// began the session, else still in the session.
const journalSelect = `
	select j.at, j.id, j.bucket, j.account, j.balance, j.kind, j.session,
	       coalesce(j.session_id, (select s.session_id from session s where s.bucket = j.bucket and s.key = j.session and s.sub = j.sub), ''),
	       j.sub, j.type, j.number, j.target, j.rating_group, j.used, j.debited, j.refunded, j.reserved, j.credited, j.overrun,
	       j.amount_after, j.frozen_after, j.reversal_of, coalesce(j.credit_key, ''), coalesce(j.credit_source, '')
	from journal j`

func (a *Admin) journal(ctx context.Context, query string, args ...any) ([]ocs.JournalRow, error) {
	rows, err := a.pool.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	journal, err := pgx.CollectRows(rows, scanJournalRow)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	return journal, nil
}

func scanJournalRow(row pgx.CollectableRow) (r ocs.JournalRow, err error) {
	var id, sub int64
	var session *[16]byte
	err = row.Scan(&r.At, &id, &r.Account.Bucket, &r.Account.ID, &r.Balance, &r.Kind, &session, &r.SessionID, &sub,
		&r.Type, &r.Number, &r.Target, &r.RatingGroup, &r.Used, &r.Debited, &r.Refunded, &r.Reserved, &r.Credited, &r.Overrun,
		&r.AmountAfter, &r.FrozenAfter, &r.ReversalOf, &r.CreditKey, &r.CreditSource)
	if session != nil {
		r.Session = *session
	}
	r.SubSession, r.At = uint64(sub), r.At.UTC()
	return r, err
}
