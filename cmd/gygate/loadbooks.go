package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"gygate/cmd/gygate/load"
	"gygate/cmd/gygate/sample"
	"gygate/ocs"
	"gygate/ocs/pgstore"
	"gygate/sql/localpg"
)

// loadVerifyTimeout bounds what is read from the books after a load. It does not end
// with the command: a load that was interrupted is compared all the same.
const loadVerifyTimeout = 10 * time.Minute

// loadTariffWait is how long a new tariff is left to the servers: a little more than
// ocs.tariff_poll is when nobody has set it.
const loadTariffWait = 6 * time.Second

// loadBooks is what the books say about a load.
type loadBooks struct {
	Accounts   int64                `json:"accounts"`
	Debited    ocs.Money            `json:"debited_millionths"` // what the accounts paid, and owe for use they could not pay
	Answered   ocs.Money            `json:"answered_millionths"`
	Violations int64                `json:"violations"`
	Verify     pgstore.VerifyReport `json:"verify"`
}

// loadLedger compares the accounts of a load before and after it.
type loadLedger struct {
	books       *books
	first, last string // numbers
	before      loadSum
}

// loadSum is what the accounts of a load hold together.
type loadSum struct {
	accounts     int64
	amount, debt ocs.Money
}

// reachBooks opens the database if there is one: that of the DSN, or the embedded one
// of a gygate that serves. Unlike other commands load starts none, as nobody would be
// charging in it.
func (c *invocation) reachBooks() (*books, error) {
	cfg, err := c.place.load()
	if err != nil {
		return nil, err
	}
	dsn := cfg.Database.DSN
	if dsn == "" {
		dsn, err = localpg.Running(postgresFolder(c.place.data))
		if errors.Is(err, localpg.ErrNotRunning) {
			return nil, nil
		}
		if err != nil {
			return nil, exitWith(exitUnreachable, err)
		}
	}
	return connectBooks(c.ctx, dsn)
}

// openLedger sees that the accounts are there, and adds them up.
func (c *invocation) openLedger(o *loadFlags, b *books) (*loadLedger, error) {
	l := &loadLedger{books: b, first: o.cfg.First, last: o.cfg.Number(o.cfg.Subscribers - 1)}
	var err error
	if o.prepare {
		if err = c.prepareLoad(o, l); err != nil {
			return nil, err
		}
	}
	if l.before, err = l.sum(c.ctx); err != nil {
		return nil, err
	}
	if missing := int64(o.cfg.Subscribers) - l.before.accounts; missing > 0 {
		return nil, refused("%d of %d subscribers have no account: --prepare makes them", missing, o.cfg.Subscribers)
	}
	return l, nil
}

// prepareLoad makes the accounts that are missing, and a tariff where there is none.
func (c *invocation) prepareLoad(o *loadFlags, l *loadLedger) error {
	admin := pgstore.NewAdmin(l.books.pool)
	there, err := l.sum(c.ctx)
	if err != nil {
		return err
	}
	if there.accounts < int64(o.cfg.Subscribers) {
		fmt.Fprintf(c.errs, "making %d accounts …\n", int64(o.cfg.Subscribers)-there.accounts)
		// Accounts there already are faults of the file, and stay as they are.
		if _, err := admin.ImportAccounts(c.ctx, loadAccounts(o), pgstore.ImportOptions{Currency: sample.EUR}); err != nil {
			return err
		}
		if _, err := l.books.pool.Exec(c.ctx, "analyze"); err != nil {
			return fmt.Errorf("analyze: %w", err)
		}
	}
	tariff, err := admin.ListTariff(c.ctx)
	if err != nil || len(tariff) > 0 {
		return err
	}
	if err := admin.PutTariff(c.ctx, sample.Tariff()); err != nil {
		return err
	}
	fmt.Fprintf(c.errs, "there was no tariff: the sample's is in, waiting %s until it is in force …\n", loadTariffWait)
	select {
	case <-c.ctx.Done():
		return c.ctx.Err()
	case <-time.After(loadTariffWait):
		return nil
	}
}

// loadAccounts is the file of a load's accounts, written as it is read.
func loadAccounts(o *loadFlags) io.Reader {
	r, w := io.Pipe()
	go func() {
		var b strings.Builder
		b.WriteString("msisdn,balance\n")
		for n := range o.cfg.Subscribers {
			fmt.Fprintf(&b, "%s,%s\n", o.cfg.Number(n), o.balance)
			if b.Len() > 64<<10 {
				if _, err := io.WriteString(w, b.String()); err != nil {
					return // the import has failed and says so
				}
				b.Reset()
			}
		}
		_, err := io.WriteString(w, b.String())
		w.CloseWithError(err)
	}()
	return r
}

// sum adds the accounts of the load up in one snapshot.
func (l *loadLedger) sum(ctx context.Context) (s loadSum, err error) {
	err = l.books.pool.QueryRow(ctx, `
		with payer as materialized (
			select bucket, account from identity where kind = 0 and value between $1 and $2 and length(value) = length($1))
		select (select count(*) from payer),
		       (select coalesce(sum(b.amount), 0)::bigint from payer join balance b using (bucket, account) where b.unit = 4),
		       (select coalesce(sum(a.debt), 0)::bigint from payer p join account a on a.bucket = p.bucket and a.id = p.account)`,
		l.first, l.last).Scan(&s.accounts, &s.amount, &s.debt)
	if err != nil {
		return s, fmt.Errorf("add the accounts up: %w", err)
	}
	return s, nil
}

// compare holds the answers against the accounts, and has all books verified.
func (l *loadLedger) compare(r *load.Report) (*loadBooks, error) {
	ctx, cancel := context.WithTimeout(context.Background(), loadVerifyTimeout)
	defer cancel()
	after, err := l.sum(ctx)
	if err != nil {
		return nil, err
	}
	b := &loadBooks{Accounts: after.accounts, Answered: r.Cost, Debited: l.before.amount - after.amount + after.debt - l.before.debt}
	if b.Verify, err = pgstore.NewAdmin(l.books.pool).Verify(ctx); err != nil {
		return nil, err
	}
	b.Violations = b.Verify.Found
	return b, b.err()
}

func (b *loadBooks) err() error {
	var faults []error
	if b.Debited != b.Answered {
		faults = append(faults, fmt.Errorf("the accounts paid %s, the answers say %s", b.Debited, b.Answered))
	}
	if b.Violations > 0 {
		faults = append(faults, fmt.Errorf("%d violations in the books", b.Violations))
	}
	return errors.Join(faults...)
}

func (b *loadBooks) write(w io.Writer) error {
	verdict := "they match"
	if b.Debited != b.Answered {
		verdict = "THEY DIFFER"
	}
	fmt.Fprintf(w, "books: %d accounts paid %s, the answers say %s: %s\n", b.Accounts, b.Debited, b.Answered, verdict)
	return writeVerify(w, b.Verify)
}
