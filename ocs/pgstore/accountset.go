package pgstore

import (
	"cmp"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"gygate/ocs"
)

// accountSet is accounts as they are read: row by row, by locks, loads and look-ups.
type accountSet map[ocs.AccountKey]*account

// of is the account of a key, begun when nothing of it was read before.
func (s accountSet) of(key ocs.AccountKey) *account {
	a := s[key]
	if a == nil {
		a = &account{}
		s[key] = a
	}
	return a
}

// complete gives each account its balances by priority, and drops balances without an
// account.
func (s accountSet) complete() {
	for key, a := range s {
		if a.Account == nil { // its balances were read, the account not
			delete(s, key)
			continue
		}
		a.settle()
	}
}

// accountRow is a row of an account as it is scanned.
type accountRow struct {
	ocs.Account
	lost, blocked nullableFlag
	from, until   *time.Time
}

// fields are where sql's account columns go.
func (r *accountRow) fields() []any {
	return []any{
		&r.Key.Bucket, &r.Key.ID, &r.Currency, &r.Class, &r.Closed, &r.lost.since, &r.lost.by, &r.lost.reason,
		&r.blocked.since, &r.blocked.by, &r.blocked.reason, &r.from, &r.until, &r.Threshold, &r.Zone, &r.Debt,
	}
}

// account is what was scanned.
func (r *accountRow) account() *ocs.Account {
	a := r.Account
	a.Lost, a.Blocked = r.lost.flag(), r.blocked.flag()
	a.ValidFrom, a.ValidUntil = timeOf(r.from), timeOf(r.until)
	return &a
}

// balanceRow is a row of a balance as it is scanned.
type balanceRow struct {
	ocs.Balance
	key         ocs.AccountKey
	version     int64
	from, until *time.Time
}

// fields are where sql's balance columns go.
func (r *balanceRow) fields() []any {
	return []any{
		&r.key.Bucket, &r.key.ID, &r.ID, &r.Unit, &r.Amount, &r.Frozen, &r.Services, &r.Targets, &r.Priority, &r.from, &r.until, &r.version,
	}
}

// addTo adds what was scanned to its account, in the order of the ids, once.
func (r *balanceRow) addTo(a *account) {
	b := r.Balance
	b.ValidFrom, b.ValidUntil = timeOf(r.from), timeOf(r.until)
	at, there := slices.BinarySearchFunc(a.balances, b.ID, func(o *ocs.Balance, id int64) int { return cmp.Compare(o.ID, id) })
	if there {
		return
	}
	a.balances = slices.Insert(a.balances, at, &b)
	a.marks = slices.Insert(a.marks, at, mark{r.version, b.Amount, b.Frozen})
}

func (s accountSet) scanAccounts(rows pgx.Rows) error {
	var row accountRow
	fields := row.fields()
	for rows.Next() {
		if err := rows.Scan(fields...); err != nil {
			return err
		}
		s.of(row.Key).Account = row.account()
	}
	return rows.Err()
}

func (s accountSet) scanBalances(rows pgx.Rows) error {
	var row balanceRow
	fields := row.fields()
	for rows.Next() {
		if err := rows.Scan(fields...); err != nil {
			return err
		}
		row.addTo(s.of(row.key))
	}
	return rows.Err()
}

// scanGuarded scans accounts with their balances, in no order.
func (s accountSet) scanGuarded(rows pgx.Rows) error {
	var owner accountRow
	var row balanceRow
	fields := append(owner.fields(), row.fields()...)
	for rows.Next() {
		if err := rows.Scan(fields...); err != nil {
			return err
		}
		s.addGuarded(&owner, &row)
	}
	return rows.Err()
}

// addGuarded adds a row of an account beside one of its balances.
func (s accountSet) addGuarded(owner *accountRow, row *balanceRow) {
	a := s.of(owner.Key)
	if a.Account == nil {
		a.Account = owner.account()
	}
	row.addTo(a)
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
