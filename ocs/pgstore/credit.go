package pgstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"gygate/ocs"
)

// DebtPolicy says what a credit does to the account's debt (overrun that nobody
// paid).
type DebtPolicy int

// The debt policies.
const (
	LeaveDebt DebtPolicy = iota // the debt is written off: it stays on record, nobody pays it
	PayDebt                     // the debt is taken out of the credit first
)

// TopUp is a credit of money.
type TopUp struct {
	Identity string // see ParseIdentity
	Amount   ocs.Money
	Source   string // top-up, voucher, adjustment
	// Key is the caller's idempotency key, unique over all accounts: the same
	// top-up sent again with its key is not credited again.
	Key  string
	By   string // who does it
	Debt DebtPolicy
	// Balance names the balance to credit; 0: the account's main one, which is
	// the first money balance that all services may use. It is opened when the
	// account has none.
	Balance int64
}

// TopUp credits an account, once for each key. A repeat returns the account as it
// is now; ErrKeyReused when the key was used with another account, amount, source
// or balance.
func (a *Admin) TopUp(ctx context.Context, t TopUp) (AccountInfo, error) {
	if t.Amount <= 0 || t.Key == "" || t.Source == "" {
		return AccountInfo{}, fmt.Errorf("%w: a top-up needs an amount above zero, a source and a key", ErrInput)
	}
	err := a.change(ctx, t.Identity, func(tx pgx.Tx, key ocs.AccountKey, now time.Time) error { return t.credit(ctx, tx, key, now) })
	if violates(err, "credit_pkey") { // by another account's top-up at the same time
		err = ErrKeyReused
	}
	if err != nil {
		return AccountInfo{}, fmt.Errorf("top up: %w", err)
	}
	return a.Show(ctx, t.Identity)
}

// credit runs under the account's lock, so that a repeat sees the first.
func (t *TopUp) credit(ctx context.Context, tx pgx.Tx, key ocs.AccountKey, now time.Time) error {
	repeat, err := t.isRepeat(ctx, tx, key)
	if repeat || err != nil {
		return err
	}
	account, _, err := readAccount(ctx, tx, key)
	if err != nil {
		return err
	}
	if account.Closed {
		return ErrClosed
	}
	balance, err := t.balance(ctx, tx, account, now)
	if err != nil {
		return err
	}
	var repaid ocs.Money
	if t.Debt == PayDebt {
		repaid = min(account.Debt, t.Amount)
	}
	if err := t.book(ctx, tx, account, balance, repaid, now); err != nil {
		return err
	}
	if barred(account, now) {
		return nil // a client that asked would be refused
	}
	return raiseCredit(ctx, tx, key, now)
}

// isRepeat reports whether this very top-up was done before.
func (t *TopUp) isRepeat(ctx context.Context, tx pgx.Tx, key ocs.AccountKey) (bool, error) {
	var was TopUp
	var on ocs.AccountKey
	err := tx.QueryRow(ctx, "select bucket, account, balance, amount, source from credit where key = $1", t.Key).
		Scan(&on.Bucket, &on.ID, &was.Balance, &was.Amount, &was.Source)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return false, nil
	case err != nil:
		return false, err
	case on != key || was.Amount != t.Amount || was.Source != t.Source || (t.Balance != 0 && t.Balance != was.Balance):
		return false, ErrKeyReused
	}
	return true, nil
}

// balance finds the balance to credit.
func (t *TopUp) balance(ctx context.Context, tx pgx.Tx, account *ocs.Account, now time.Time) (*ocs.Balance, error) {
	for _, b := range account.Balances { // by priority
		over := !b.ValidUntil.IsZero() && !now.Before(b.ValidUntil)
		main := b.Services == nil && b.Targets == nil && !over
		if b.Unit == ocs.Amount && (b.ID == t.Balance || (t.Balance == 0 && main)) {
			return b, nil
		}
	}
	if t.Balance != 0 {
		return nil, fmt.Errorf("%w: the account has no money balance %d", ErrInput, t.Balance)
	}
	row, err := openBalance(ctx, tx, account.Key, ocs.Balance{Unit: ocs.Amount}, now)
	return &ocs.Balance{ID: row.Balance, Unit: ocs.Amount}, err
}

// book credits the balance and takes the debt out of it, each with its journal row.
func (t *TopUp) book(ctx context.Context, tx pgx.Tx, account *ocs.Account, b *ocs.Balance, repaid ocs.Money, now time.Time) error {
	b.Amount += int64(t.Amount)
	if b.Amount < int64(t.Amount) {
		return fmt.Errorf("%w: the balance would become too large to count", ErrInput)
	}
	rows := []ocs.JournalRow{{
		At: now, Account: account.Key, Balance: b.ID, Kind: ocs.JournalCredit, Credited: int64(t.Amount),
		AmountAfter: b.Amount, FrozenAfter: b.Frozen, CreditKey: t.Key, CreditSource: t.Source,
	}}
	if repaid > 0 {
		b.Amount -= int64(repaid)
		rows = append(rows, ocs.JournalRow{
			At: now, Account: account.Key, Balance: b.ID, Kind: ocs.JournalDebt, Debited: int64(repaid),
			AmountAfter: b.Amount, FrozenAfter: b.Frozen, CreditKey: t.Key, CreditSource: t.Source,
		})
	}
	batch := &pgx.Batch{}
	batch.Queue("update balance set amount = $4 where bucket = $1 and account = $2 and id = $3", account.Key.Bucket, account.Key.ID, b.ID, b.Amount)
	batch.Queue("update account set debt = debt - $3 where bucket = $1 and id = $2", account.Key.Bucket, account.Key.ID, int64(repaid))
	batch.Queue(`insert into credit (key, bucket, account, balance, amount, debt_paid, source, by, at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		t.Key, account.Key.Bucket, account.Key.ID, b.ID, int64(t.Amount), int64(repaid), t.Source, t.By, now)
	queueJournal(batch, rows)
	return tx.SendBatch(ctx, batch).Close()
}
