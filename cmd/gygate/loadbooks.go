package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	Debited    ocs.Money            `json:"debited"` // what the accounts paid, and owe for use they could not pay; a decimal of the currency's unit
	Answered   ocs.Money            `json:"answered"`
	Violations int64                `json:"violations"`
	Verify     pgstore.VerifyReport `json:"verify"`

	lost int64 // requests without an answer: they may have been charged
}

// loadLedger compares the accounts of a load before and after it.
type loadLedger struct {
	books  *books
	cfg    *load.Config
	before load.Holdings
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
	l := &loadLedger{books: b, cfg: &o.cfg}
	var err error
	if o.prepare {
		if err = c.prepareLoad(o, l); err != nil {
			return nil, err
		}
	}
	if l.before, err = load.HoldingsOf(c.ctx, b.pool, l.cfg); err != nil {
		return nil, err
	}
	if missing := int64(o.cfg.Subscribers) - l.before.Accounts; missing > 0 {
		return nil, refused("%d of %d subscribers have no account: --prepare makes them", missing, o.cfg.Subscribers)
	}
	return l, nil
}

// prepareLoad makes the accounts that are missing, and a tariff where there is none.
func (c *invocation) prepareLoad(o *loadFlags, l *loadLedger) error {
	there, err := load.HoldingsOf(c.ctx, l.books.pool, l.cfg)
	if err != nil {
		return err
	}
	if missing := int64(o.cfg.Subscribers) - there.Accounts; missing > 0 {
		fmt.Fprintf(c.errs, "making %d accounts …\n", missing)
		if _, err := load.MakeAccounts(c.ctx, l.books.pool, l.cfg, o.balance, sample.EUR); err != nil {
			return err
		}
	}
	admin := pgstore.NewAdmin(l.books.pool)
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

// compare holds the answers against the accounts, and has all books verified.
func (l *loadLedger) compare(r *load.Report) (*loadBooks, error) {
	ctx, cancel := context.WithTimeout(context.Background(), loadVerifyTimeout)
	defer cancel()
	after, err := load.HoldingsOf(ctx, l.books.pool, l.cfg)
	if err != nil {
		return nil, err
	}
	b := &loadBooks{Accounts: after.Accounts, Answered: r.Cost, Debited: after.PaidSince(l.before), lost: r.Lost}
	if b.Verify, err = pgstore.NewAdmin(l.books.pool).Verify(ctx); err != nil {
		return nil, err
	}
	b.Violations = b.Verify.Found
	return b, b.err()
}

func (b *loadBooks) err() error {
	var faults []error
	if b.Debited != b.Answered {
		faults = append(faults, fmt.Errorf("the accounts paid %s, the answers say %s%s", b.Debited, b.Answered, b.excuse()))
	}
	if b.Violations > 0 {
		faults = append(faults, fmt.Errorf("%d violations in the books", b.Violations))
	}
	return errors.Join(faults...)
}

// excuse is what may account for a difference.
func (b *loadBooks) excuse() string {
	if b.lost == 0 {
		return ""
	}
	return fmt.Sprintf("; %d answers were lost, which may account for it", b.lost)
}

func (b *loadBooks) write(w io.Writer) error {
	verdict := "they match"
	if b.Debited != b.Answered {
		verdict = fmt.Sprintf("THEY DIFFER by %s%s", b.Debited-b.Answered, b.excuse())
	}
	fmt.Fprintf(w, "books: %d accounts paid %s, the answers say %s: %s\n", b.Accounts, b.Debited, b.Answered, verdict)
	return writeVerify(w, b.Verify)
}
