package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"gygate/deploy/bench/sipload"
	"gygate/deploy/interop/harness"
	"gygate/ocs"
)

// openingBalance is on every account.
const openingBalance = "100.00"

const opening = 100 * ocs.MoneyScale

// books are the database, read beside the gygate.
type books struct{ *pgxpool.Pool }

func openBooks(ctx context.Context, dsn string) (*books, error) {
	pool, err := pgxpool.New(ctx, dsn)
	return &books{pool}, err
}

// compare holds call records, balances and what must not be left against what the
// callers saw.
func (b *books) compare(ctx context.Context, report sipload.Report) error {
	var records, sessions, odd, seconds, balance, frozen, left, kept int64
	err := b.QueryRow(ctx, `
		select count(*), count(distinct session), count(*) filter (where charging <> 'prepaid' or reason <> 'normal' or cost::numeric * 100 <> reported_s),
		       coalesce(sum(reported_s), 0) from call_record`).Scan(&records, &sessions, &odd, &seconds)
	if err == nil {
		err = b.QueryRow(ctx, `
			select (select coalesce(sum(amount), 0)::bigint from balance), (select coalesce(sum(frozen), 0)::bigint from balance),
			       (select count(*) from session where closed_at is null), (select count(*) from charging_kept)`).Scan(&balance, &frozen, &left, &kept)
	}
	if err != nil {
		return err
	}
	calls := int64(report.Answered)
	debited := ocs.Money(calls*int64(opening) - balance)
	expected := ocs.Money(seconds * int64(harness.PerSecond))
	fmt.Printf("%.0f s talked, debited %s, expected %s, still frozen %s, %d sessions open, %d reports kept\n",
		report.Talked.Seconds(), debited, expected, ocs.Money(frozen), left, kept)
	fmt.Printf("charged %d s (started seconds of %d calls)\n", seconds, records)
	talked := int64(report.Talked / time.Second)
	switch {
	case records != calls, sessions != calls, odd != 0:
		return fmt.Errorf("%d records of %d sessions, %d of them odd, for %d calls", records, sessions, odd, calls)
	case debited != expected:
		return fmt.Errorf("debited %s instead of %s", debited, expected)
	case seconds < talked || seconds > talked+2*calls: // each is rounded up, and a BYE takes its time
		return fmt.Errorf("%d s charged for %d s talked", seconds, talked)
	case frozen != 0 || left != 0 || kept != 0:
		return fmt.Errorf("left behind: %s frozen, %d open sessions, %d kept reports", ocs.Money(frozen), left, kept)
	}
	return nil
}
