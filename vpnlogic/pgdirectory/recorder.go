package pgdirectory

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"gygate/vpnlogic"
)

const (
	// recordTimeout bounds one try to write a record, so that a stuck database
	// does not hold the writers for ever.
	recordTimeout = 10 * time.Second
	// RecordsMax is the most records one query returns.
	RecordsMax = 10_000
)

// Recorder keeps call records. It implements vpnlogic.Recorder.
type Recorder struct{ pool *pgxpool.Pool }

// NewRecorder returns a Recorder on the caller's pool.
func NewRecorder(pool *pgxpool.Pool) *Recorder { return &Recorder{pool: pool} }

const insertRecord = `
	insert into call_record (id, call_id, icid, session, group_id, member, calling, dialled, called, class, charging,
		setup_at, answered_at, released_at, talked_ms, reported_s, cost, currency, cause, status, reason, released_by, trace_id,
		connected, payer)
	values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25)
	on conflict (id) do nothing`

// Record writes the records in one transaction, each once however often it is called
// for it.
func (r *Recorder) Record(ctx context.Context, all ...vpnlogic.CallRecord) error {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	batch := &pgx.Batch{} // without a transaction of its own it is one by itself
	for i := range all {
		batch.Queue(insertRecord, recordArgs(&all[i])...)
	}
	err := r.pool.SendBatch(ctx, batch).Close()
	if err == nil {
		return nil
	}
	if neverTaken(err) {
		return fmt.Errorf("%w: %w", vpnlogic.ErrRecordRefused, err)
	}
	return fmt.Errorf("write %d call records: %w", len(all), err)
}

func recordArgs(c *vpnlogic.CallRecord) []any {
	return []any{c.ID, c.CallID, c.ICID, c.Session, c.Group, c.Member,
		c.Calling, c.Dialled, c.Called, c.Class, c.Charging,
		c.SetupAt, whenSet(c.AnsweredAt), c.ReleasedAt, c.Talked.Milliseconds(), int64(c.Reported / time.Second),
		c.Cost, int64(c.Currency), c.Cause, c.Status, c.Reason, c.ReleasedBy, c.TraceID, c.Connected, c.Payer}
}

// neverTaken tells that the record's data is at fault: SQLSTATE class 22 (data
// exception) or 23 (constraint).
func neverTaken(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && (strings.HasPrefix(refused.Code, "22") || strings.HasPrefix(refused.Code, "23"))
}

func whenSet(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Filter selects call records; zero fields select all.
type Filter struct {
	Since, Until time.Time // by set-up: from, before
	Group        string
	Number       string // calling or called
	CallID       string
	Session      string
	Limit        int // newest first; 0 and more than RecordsMax: RecordsMax
}

const selectRecords = `
	select id, call_id, icid, session, group_id, member, calling, dialled, called, class, charging,
	       setup_at, answered_at, released_at, talked_ms, reported_s, cost, currency, cause, status, reason, released_by, trace_id,
	       connected, payer
	from call_record
	where ($1::timestamptz is null or setup_at >= $1) and ($2::timestamptz is null or setup_at < $2)
	  and ($3 = '' or group_id = $3) and ($4 = '' or calling = $4 or called = $4)
	  and ($5 = '' or call_id = $5) and ($6 = '' or session = $6)
	order by setup_at desc, id limit $7`

// Records returns the selected records, the newest first.
func (r *Recorder) Records(ctx context.Context, f Filter) ([]vpnlogic.CallRecord, error) {
	limit := f.Limit
	if limit <= 0 || limit > RecordsMax {
		limit = RecordsMax
	}
	rows, err := r.pool.Query(ctx, selectRecords, whenSet(f.Since), whenSet(f.Until), f.Group, f.Number, f.CallID, f.Session, limit)
	if err != nil {
		return nil, fmt.Errorf("read call records: %w", err)
	}
	records, err := pgx.CollectRows(rows, scanRecord)
	return records, named(err, "read call records")
}

func scanRecord(row pgx.CollectableRow) (c vpnlogic.CallRecord, err error) {
	var answered *time.Time
	var talked, reported, currency int64
	err = row.Scan(&c.ID, &c.CallID, &c.ICID, &c.Session, &c.Group, &c.Member, &c.Calling, &c.Dialled, &c.Called,
		&c.Class, &c.Charging, &c.SetupAt, &answered, &c.ReleasedAt, &talked, &reported,
		&c.Cost, &currency, &c.Cause, &c.Status, &c.Reason, &c.ReleasedBy, &c.TraceID,
		&c.Connected, &c.Payer)
	if answered != nil {
		c.AnsweredAt = *answered
	}
	c.Talked = time.Duration(talked) * time.Millisecond
	c.Reported = time.Duration(reported) * time.Second
	c.Currency = uint32(currency)
	return c, err
}
