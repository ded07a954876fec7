package pgstore

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

const (
	// journalMonthsAhead is how many months of journal partitions are kept ready.
	journalMonthsAhead = 3
	// purgeBatch is how many rows one transaction of the clean-up deletes: few
	// enough to be short beside the charging.
	purgeBatch = 5000
	// reversalRetention is how long a one-time debit can be taken back. A refund
	// that comes later is refused like one whose token is not known.
	reversalRetention = 90 * 24 * time.Hour
	// outcomeRetention is how long outcomes of events are kept at least: a client that
	// buffers a debit or a refund repeats it for a day (conformance B-024), and one
	// that is forgotten would move the money again.
	outcomeRetention = 24 * time.Hour
	// clientRetention is how long the Origin-State-Id of a client is remembered; one
	// forgotten is learnt again, at the cost of a look for orphans.
	clientRetention = 90 * 24 * time.Hour
	// maintainEvery is the time between two rounds of maintenance.
	maintainEvery = 10 * time.Minute
)

// MaintainReport is what a round of maintenance did.
type MaintainReport struct {
	Partitions int   `json:"partitions"` // journal months created
	Sessions   int64 `json:"sessions"`   // closed sessions deleted
	Outcomes   int64 `json:"outcomes"`   // outcomes of events and refused requests deleted
	Orphans    int64 `json:"orphans"`    // reports of unknown sessions deleted
	Debits     int64 `json:"debits"`     // records of one-time debits deleted
	Notices    int64 `json:"notices"`    // requests to clients deleted that no node sent
	Clients    int64 `json:"clients"`    // clients forgotten that have not restarted for long
}

// purge deletes what is older than $1 seconds, $2 rows at a time. It leaves out
// rows that a batch of the engine holds, so that it never waits with rows of its
// own locked.
func purge(table, condition string) string {
	return fmt.Sprintf(`
		delete from %[1]s where ctid = any (array(
			select ctid from %[1]s where %[2]s limit $2 for update skip locked))`, table, condition)
}

const olderThan = " < now() - make_interval(secs => $1)"

var (
	purgeSessions = purge("session", "opened_at"+olderThan+" and closed_at"+olderThan+" and coalesce(late_until, '-infinity') < now()")
	purgeOutcomes = purge("outcome", "at"+olderThan)
	purgeOrphans  = purge("orphan_usage", "at"+olderThan)
	purgeDebits   = purge("event_debit", "at"+olderThan)
	purgeNotices  = purge("notice", "raised_at"+olderThan)
	purgeClients  = purge("client_state", "swept and since"+olderThan)
)

// summarizeJournal sums up the full parts of the journal in its index; until then a
// look-up reads them.
const summarizeJournal = `
select brin_summarize_new_values(i.inhrelid) from pg_inherits i where i.inhparent = 'journal_account'::regclass`

// Maintain makes the coming journal partitions, sums up the journal and deletes closed sessions,
// outcomes, orphan reports and notices older than the retention time. Any number of nodes
// may do it at once.
func (a *Admin) Maintain(ctx context.Context, retention time.Duration) (r MaintainReport, err error) {
	if err := a.pool.QueryRow(ctx, "select journal_add_months($1)", journalMonthsAhead).Scan(&r.Partitions); err != nil {
		return r, fmt.Errorf("maintain: journal partitions: %w", err)
	}
	if _, err := a.pool.Exec(ctx, summarizeJournal); err != nil {
		return r, fmt.Errorf("maintain: journal index: %w", err)
	}
	for _, p := range []struct {
		statement string
		age       time.Duration
		deleted   *int64
	}{
		{purgeSessions, retention, &r.Sessions},
		{purgeOutcomes, max(retention, outcomeRetention), &r.Outcomes},
		{purgeOrphans, retention, &r.Orphans},
		{purgeDebits, reversalRetention, &r.Debits},
		{purgeNotices, retention, &r.Notices},
		{purgeClients, clientRetention, &r.Clients},
	} {
		if *p.deleted, err = a.purge(ctx, p.statement, p.age); err != nil {
			return r, fmt.Errorf("maintain: delete what is older than %v: %w", p.age, err)
		}
	}
	return r, nil
}

// purge deletes in batches until there is less than a batch.
func (a *Admin) purge(ctx context.Context, statement string, age time.Duration) (deleted int64, err error) {
	for {
		tag, err := a.pool.Exec(ctx, statement, age.Seconds(), purgeBatch)
		if err != nil {
			return deleted, err
		}
		deleted += tag.RowsAffected()
		if tag.RowsAffected() < purgeBatch {
			return deleted, nil
		}
	}
}

// RunMaintenance maintains at once and then every ten minutes, until ctx ends. A
// round that fails is logged; the next one tries again.
func (a *Admin) RunMaintenance(ctx context.Context, retention time.Duration, logger *slog.Logger) error {
	tick := time.NewTicker(maintainEvery)
	defer tick.Stop()
	for {
		report, err := a.Maintain(ctx, retention)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			logger.Error("database maintenance failed, it is tried again", "in", maintainEvery, "err", err)
		case report != MaintainReport{}:
			logger.Info("database maintained", "partitions", report.Partitions, "sessions", report.Sessions, "outcomes", report.Outcomes, "orphans", report.Orphans, "debits", report.Debits,
				"notices", report.Notices, "clients", report.Clients)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
