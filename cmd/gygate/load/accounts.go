package load

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gygate/ocs"
	"gygate/ocs/pgstore"
)

// Holdings are what the accounts of a load hold together.
type Holdings struct {
	Accounts     int64
	Amount, Debt ocs.Money
}

// payersOf selects the keys of the accounts whose numbers lie between $1 and $2.
const payersOf = "select bucket, account from identity where kind = 0 and value between $1 and $2 and length(value) = length($1)"

// AccountKeys are the accounts of the load's subscribers, by their numbers.
func AccountKeys(ctx context.Context, pool *pgxpool.Pool, c *Config) ([]ocs.AccountKey, error) {
	rows, err := pool.Query(ctx, payersOf+" order by value", c.First, c.Number(c.Subscribers-1))
	if err != nil {
		return nil, fmt.Errorf("find the accounts: %w", err)
	}
	keys, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (k ocs.AccountKey, err error) {
		return k, row.Scan(&k.Bucket, &k.ID)
	})
	if err != nil {
		return nil, fmt.Errorf("find the accounts: %w", err)
	}
	return keys, nil
}

// HoldingsOf adds the accounts of the load's subscribers up, in one snapshot.
func HoldingsOf(ctx context.Context, pool *pgxpool.Pool, c *Config) (h Holdings, err error) {
	err = pool.QueryRow(ctx, `
		with payer as materialized (`+payersOf+`)
		select (select count(*) from payer),
		       (select coalesce(sum(b.amount), 0)::bigint from payer join balance b using (bucket, account) where b.unit = 4),
		       (select coalesce(sum(a.debt), 0)::bigint from payer p join account a on a.bucket = p.bucket and a.id = p.account)`,
		c.First, c.Number(c.Subscribers-1)).Scan(&h.Accounts, &h.Amount, &h.Debt)
	if err != nil {
		return h, fmt.Errorf("add the accounts up: %w", err)
	}
	return h, nil
}

// PaidSince is what the accounts have paid since an earlier look at them, and owe for
// use they could not pay.
func (h Holdings) PaidSince(before Holdings) ocs.Money {
	return before.Amount - h.Amount + h.Debt - before.Debt
}

// MakeAccounts makes the accounts of the load's subscribers that are missing, each with
// that balance. It returns how many there are new.
func MakeAccounts(ctx context.Context, pool *pgxpool.Pool, c *Config, balance string, currency ocs.Currency) (int64, error) {
	// Accounts there already are faults of the file, and stay as they are.
	r, err := pgstore.NewAdmin(pool).ImportAccounts(ctx, accountFile(c, balance), pgstore.ImportOptions{Currency: currency})
	if err != nil {
		return 0, err
	}
	if _, err := pool.Exec(ctx, "analyze"); err != nil {
		return r.Imported, fmt.Errorf("analyze: %w", err)
	}
	return r.Imported, allThere(ctx, pool, c, &r)
}

// allThere tells a line that was rejected from one whose account was there already.
func allThere(ctx context.Context, pool *pgxpool.Pool, c *Config, r *pgstore.ImportReport) error {
	if r.Faulty == 0 {
		return nil
	}
	h, err := HoldingsOf(ctx, pool, c)
	if err != nil || h.Accounts >= int64(c.Subscribers) {
		return err
	}
	return fmt.Errorf("%d of %d accounts were not made; the first fault is line %d, %s", int64(c.Subscribers)-h.Accounts, c.Subscribers, r.Faults[0].Line, r.Faults[0].Reason)
}

// accountFileBlock is how much of the file of accounts is written at a time.
const accountFileBlock = 64 << 10

// accountFile is the file of a load's accounts, written as it is read.
func accountFile(c *Config, balance string) io.Reader {
	r, w := io.Pipe()
	go func() {
		var b strings.Builder
		b.WriteString("msisdn,balance\n")
		for n := range c.Subscribers {
			fmt.Fprintf(&b, "%s,%s\n", c.Number(n), balance)
			if b.Len() < accountFileBlock {
				continue
			}
			if _, err := io.WriteString(w, b.String()); err != nil {
				return // the import has failed and says so
			}
			b.Reset()
		}
		_, err := io.WriteString(w, b.String())
		w.CloseWithError(err)
	}()
	return r
}
