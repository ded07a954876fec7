package pgstore

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

func (l *ledger) identity(t testing.TB, key ocs.AccountKey) (identity string) {
	t.Helper()
	if err := l.pool.QueryRow(t.Context(), "select value from identity where bucket = $1 and account = $2 and kind = 0", key.Bucket, key.ID).Scan(&identity); err != nil {
		t.Fatal(err)
	}
	return identity
}

func (l *ledger) clock(t testing.TB, expression string) (at time.Time) {
	t.Helper()
	if err := l.pool.QueryRow(t.Context(), "select "+expression).Scan(&at); err != nil {
		t.Fatal(err)
	}
	return at
}

func TestMaintainDeletesWhatIsOlderThanTheRetention(t *testing.T) {
	l := newLedger(t)
	payer := ocstest.NewPayer()
	l.AddAccount(t, ocstest.Prepaid(100_000_000), payer)
	node := ocstest.Start(t, l.Store, ocs.EngineConfig{Policy: ocs.DefaultPolicy(), Sweep: -1})
	step := func(id string, kind ocs.StepType, item ocs.Item) {
		t.Helper()
		node.Do(ocs.Step{SessionID: id, Type: kind, Number: uint32(kind), Payer: []ocs.Identity{payer}, Service: ocstest.Voice, Items: []ocs.Item{item}})
	}
	call, used := ocstest.For(ocstest.OnNet, nil, ocstest.Wish(0, 0)), ocstest.For(ocstest.OnNet, ocstest.Used(ocs.Seconds, 1), nil)
	message := ocstest.For(ocstest.Message, nil, ocstest.Wish(ocs.Events, 1))
	for _, age := range []string{"new", "old"} {
		step("closed "+age, ocs.Initial, call)
		step("closed "+age, ocs.Terminate, used)
		step("event "+age, ocs.Event, message)
		step("unknown "+age, ocs.Terminate, used)
	}
	step("open old", ocs.Initial, call)
	l.exec(t, "update session set opened_at = opened_at - interval '25 h', closed_at = closed_at - interval '25 h' where session_id like '% old'")
	l.exec(t, "update orphan_usage set at = at - interval '25 h' where session_id like '% old'")
	l.exec(t, "update outcome set at = at - interval '25 h' where session = $1", [16]byte(ocs.KeyOf("event old")))
	l.exec(t, "update event_debit set at = at - interval '91 days' where ctid = (select min(ctid) from event_debit)")

	l.exec(t, "insert into notice (bucket, session, sub, reason, raised_at, due, served_top, served_bits) select 1, gen_random_uuid(), 0, 1, now() - at, now(), 0, 0 from unnest('{1 h, 25 h}'::interval[]) at")
	l.exec(t, "insert into client_state values ('new', 1, now(), true), ('old', 1, now() - interval '91 days', true), ('busy', 1, now() - interval '91 days', false)")

	report, err := l.admin.Maintain(t.Context(), 24*time.Hour)
	if want := (MaintainReport{Sessions: 1, Outcomes: 1, Orphans: 1, Debits: 1, Notices: 1, Clients: 1}); err != nil || report != want {
		t.Errorf("%+v (%v), want %+v", report, err, want)
	}
	if n := l.count(t, "session where session_id in ('closed new', 'open old')"); n != 2 || l.count(t, "session") != 2 {
		t.Errorf("sessions are not the new and the open one")
	}
	if n := l.count(t, "outcome") + l.count(t, "orphan_usage") + l.count(t, "event_debit"); n != 3 {
		t.Errorf("%d outcomes, orphans and debits left, want one of each", n)
	}
	l.audit(t)
}

// A month that has begun without a partition gets it beside running charging:
// what a transaction is just writing to the default partition is moved, too.
func TestMonthOfALateStart(t *testing.T) {
	l := newLedger(t)
	part := "journal_" + time.Now().UTC().Format("2006_01")
	l.exec(t, "drop table "+part)
	payer := ocstest.NewPayer()
	a := l.AddAccount(t, ocstest.Prepaid(100), payer)

	tx, err := l.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `
		insert into journal (bucket, account, at, balance, kind, sub, type, number, target, rating_group, used, debited, refunded, reserved, credited, overrun, amount_after, frozen_after)
		values ($1, $2, now(), 0, 'note', 0, 0, 0, '', 0, 0, 0, 0, 0, 0, 0, 0, 0)`, a.Key.Bucket, a.Key.ID); err != nil {
		t.Fatal(err)
	}
	made := make(chan error, 1)
	go func() {
		_, err := l.admin.Maintain(t.Context(), time.Hour)
		made <- err
	}()
	l.awaitLockWait(t)
	if err := errors.Join(tx.Commit(t.Context()), <-made); err != nil {
		t.Fatal(err)
	}
	if n := l.count(t, part); n != 2 || l.count(t, "journal_default") != 0 {
		t.Errorf("%d rows in the month's partition, want 2", n)
	}
	l.audit(t)
}

// An event is answered from its outcome for a day, however short the retention: a
// refund that a client has buffered moves the money once.
func TestMaintainKeepsEventsForADay(t *testing.T) {
	t.Attr("proves", "B-024")
	l := newLedger(t)
	payer := ocstest.NewPayer()
	key := l.AddAccount(t, ocstest.Prepaid(1_000_000), payer).Key
	node := ocstest.Start(t, l.Store, ocs.EngineConfig{Policy: ocs.DefaultPolicy(), Sweep: -1})
	item := ocstest.For(ocstest.Message, nil, ocstest.Wish(ocs.Amount, 1_000))
	item.Unlinked = 1_000
	refund := ocs.Step{SessionID: ocstest.NewSession(), Type: ocs.Event, Action: ocs.RefundAccount, Payer: []ocs.Identity{payer}, Service: ocstest.Voice, Items: []ocs.Item{item}}
	for range 2 {
		if o := node.Do(refund); o.Refusal != "" || o.Cost != -1_000 {
			t.Fatalf("%+v", o)
		}
		l.exec(t, "update outcome set at = at - interval '23 h'")
		if _, err := l.admin.Maintain(t.Context(), time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if available, _ := ocstest.Totals(l.account(t, key)); available != 1_001_000 {
		t.Errorf("%v available", available)
	}
}

// dropJournal drops the months that are over by then, as an operator does.
func (l *ledger) dropJournal(ctx context.Context, horizon time.Time) (dropped int, err error) {
	err = l.pool.QueryRow(ctx, "select journal_drop_before($1)", horizon).Scan(&dropped)
	return dropped, err
}

// The drop of old months gives way to who reads the journal: charging would wait behind
// it.
func TestDropJournalGivesWay(t *testing.T) {
	l := newLedger(t)
	payer := ocstest.NewPayer()
	a := l.AddAccount(t, ocstest.Prepaid(10*money), payer)
	reader := l.begin(t, "select count(*) from journal")
	months := l.clock(t, "now() + interval '1 year'")
	drop := make(chan error, 1)
	go func() {
		_, err := l.dropJournal(t.Context(), months)
		drop <- err
	}()
	l.until(t, "pg_locks where not granted")
	w := want(a, "s", ocs.Initial, 0)
	transact(t, l.Store, w, func(set *ocs.WorkingSet) { openSession(set, w, "s", 1) })
	var pgErr *pgconn.PgError
	if err := <-drop; !errors.As(err, &pgErr) || pgErr.Code != stateLocked {
		t.Errorf("%v", err)
	}
	reader.Rollback(t.Context())
	if n, err := l.dropJournal(t.Context(), months); err != nil || n == 0 {
		t.Errorf("%d dropped, %v", n, err)
	}
	l.audit(t)
}
