package sql_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"go.uber.org/goleak"

	"gygate/sql"
	"gygate/sql/sqltest"
)

func TestMain(m *testing.M) {
	os.Exit(sqltest.Run(m, func() error { return goleak.Find() }))
}

func TestDatabaseIsMigratedAndFresh(t *testing.T) {
	for range 2 { // what the first leaves, the second must not see
		conn := connect(t, sqltest.Database(t))
		if err := sql.CheckVersion(t.Context(), conn); err != nil {
			t.Fatal(err)
		}
		var accounts int
		if err := conn.QueryRow(t.Context(), "select count(*) from account").Scan(&accounts); err != nil || accounts != 0 {
			t.Fatalf("fresh database has %d accounts (%v)", accounts, err)
		}
		exec(t, conn, "insert into account (bucket, id, currency) values (1, 1, 978)")
	}
}

func TestMigrateFromEmptyAndAgain(t *testing.T) {
	dsn := emptyDatabase(t)
	from, to, err := sql.Migrate(t.Context(), dsn)
	if err != nil || from != 0 || to < 1 {
		t.Fatalf("from empty: %d to %d, %v", from, to, err)
	}
	again, same, err := sql.Migrate(t.Context(), dsn)
	if err != nil || again != to || same != to {
		t.Fatalf("again: %d to %d, %v; want %d to %d", again, same, err, to, to)
	}
}

// A database of an earlier version keeps what it has.
func TestMigrateFromAnEarlierVersion(t *testing.T) {
	dsn := emptyDatabase(t)
	conn := connect(t, dsn)
	migrateTo(t, conn, 2)
	exec(t, conn, "insert into orphan_usage values (gen_random_uuid(), 0, 3, 1, 's', '[]', now())")
	if from, _, err := sql.Migrate(t.Context(), dsn); err != nil || from != 2 {
		t.Fatalf("from %d: %v", from, err)
	}
	var kept int
	err := conn.QueryRow(t.Context(), "select count(*) from orphan_usage, service_context where not mismatch and options = '{}' and name like '32%'").Scan(&kept)
	if err != nil || kept != 4 {
		t.Errorf("%d rows (%v), want the one report with each of the four services", kept, err)
	}
}

// migrateTo brings an empty database to an earlier version.
func migrateTo(t *testing.T, conn *pgx.Conn, version int64) {
	t.Helper()
	db := stdlib.OpenDB(*conn.Config())
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, sql.Migrations(), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.UpTo(t.Context(), version); err != nil {
		t.Fatal(err)
	}
}

// The freezes of sessions that are open at the upgrade move into their targets.
func TestMigrateMovesFreezes(t *testing.T) {
	dsn := emptyDatabase(t)
	conn := connect(t, dsn)
	migrateTo(t, conn, 5)
	exec(t, conn, "insert into account (bucket, id, currency) values (7, 1, 978)")
	exec(t, conn, "insert into balance (bucket, account, id, unit, amount, frozen) values (7, 1, 258, 4, 100, 47)")
	for _, id := range []string{"two", "none"} {
		exec(t, conn, `insert into session (bucket, key, sub, account, session_id, service, client_host, client_realm, client_relay, client_state,
			opened_at, deadline, due, targets, outcomes, served_top, served_bits)
			values (7, md5($1)::uuid, 0, 1, $1, 'x', 'h', 'r', '', 0, now(), now(), now(), '\x0200', '\x0200', 0, 0)`, id)
	}
	exec(t, conn, "insert into session_freeze values (7, md5('two')::uuid, 0, '100', 258, 40), (7, md5('two')::uuid, 0, '', 258, 7)")
	if _, _, err := sql.Migrate(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	// ocs/pgstore's codec reads these octets (TestCodecReadsMigratedFreezes).
	var targets, other []byte
	err := conn.QueryRow(t.Context(), "select a.targets, b.targets from session a, session b where a.session_id = 'two' and b.session_id = 'none'").Scan(&targets, &other)
	const want = "03" + "0002" + "0000" + "0000000000000102" + "0000000000000007" + "0003" + "313030" + "0000000000000102" + "0000000000000028" + "0200"
	if got := fmt.Sprintf("%x", targets); err != nil || got != want || fmt.Sprintf("%x", other) != "0200" {
		t.Errorf("targets %s and %x, want %s and 0200 (%v)", got, other, want, err)
	}
	var seen string
	err = conn.QueryRow(t.Context(), "select string_agg(concat_ws(' ', target, balance, amount), ', ' order by amount) from session_freezes").Scan(&seen)
	if err != nil || seen != " 258 7, 100 258 40" {
		t.Errorf("the view shows %q (%v)", seen, err)
	}
}

// Of sessions of one name under several accounts one stays: the open one. Two open
// ones hold money, which no migration decides about.
func TestSessionsOfOneNameMigrate(t *testing.T) {
	dsn := emptyDatabase(t)
	conn := connect(t, dsn)
	migrateTo(t, conn, 6)
	begin := func(bucket int, name, closed string) {
		t.Helper()
		exec(t, conn, `insert into session (bucket, key, sub, account, session_id, service, client_host, client_realm, client_relay, client_state,
			opened_at, deadline, due, closed_at, targets, outcomes, served_top, served_bits)
			values ($1::integer, md5($2::text)::uuid, 0, 1, $2::text, 'x', 'h', 'r', '', 0, now() - make_interval(mins => $1::integer), now(), now(), $3::timestamptz, '\x030000', '\x0200', 0, 0)`,
			bucket, name, sqlNull(closed))
	}
	begin(1, "one is open", "now")
	begin(2, "one is open", "")
	begin(3, "none is open", "now")
	begin(4, "none is open", "now")
	begin(5, "two are open", "")
	begin(6, "two are open", "")
	if _, _, err := sql.Migrate(t.Context(), dsn); err == nil || !strings.Contains(err.Error(), "two are open") {
		t.Fatalf("got %v, want that the name is told", err)
	}
	exec(t, conn, "update session set closed_at = now() where bucket = 6")
	if _, _, err := sql.Migrate(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	var left string
	if err := conn.QueryRow(t.Context(), "select string_agg(bucket::text, ' ' order by bucket) from session").Scan(&left); err != nil || left != "2 3 5" {
		t.Errorf("the sessions of the buckets %s are left (%v), want 2 (open), 3 (the later one) and 5 (open)", left, err)
	}
}

func sqlNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func TestMigrateConcurrently(t *testing.T) {
	dsn := emptyDatabase(t)
	var starts sync.WaitGroup
	errs := make([]error, 3)
	for i := range errs {
		starts.Go(func() { _, _, errs[i] = sql.Migrate(t.Context(), dsn) })
	}
	starts.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if err := sql.CheckVersion(t.Context(), connect(t, dsn)); err != nil {
		t.Fatal(err)
	}
}

func TestCheckVersionNamesTheRemedy(t *testing.T) {
	dsn := emptyDatabase(t)
	conn := connect(t, dsn)
	wantVersionError(t, sql.CheckVersion(t.Context(), conn), "gygate migrate")

	if _, _, err := sql.Migrate(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	exec(t, conn, "insert into goose_db_version (version_id, is_applied) values (9999, true)")
	wantVersionError(t, sql.CheckVersion(t.Context(), conn), "install the newer gygate")
	_, _, err := sql.Migrate(t.Context(), dsn)
	wantVersionError(t, err, "install the newer gygate")
}

func wantVersionError(t *testing.T, err error, remedy string) {
	t.Helper()
	if !errors.Is(err, sql.ErrVersion) || !strings.Contains(err.Error(), remedy) {
		t.Errorf("got %v, want ErrVersion naming %q", err, remedy)
	}
}

// Row-local truths are constraints: each of these rows must be refused.
func TestConstraints(t *testing.T) {
	conn := connect(t, sqltest.Database(t))
	exec(t, conn, "insert into account (bucket, id, currency) values (7, 1, 978)")
	exec(t, conn, "insert into balance (bucket, account, id, unit, amount, frozen) values (7, 1, 1, 4, 100, 40)")
	exec(t, conn, "insert into identity values (0, '861380001', 7, 1)")
	const session = `insert into session (bucket, key, sub, account, session_id, service, client_host, client_realm,
		client_relay, client_state, opened_at, deadline, due, closed_at, targets, outcomes, served_top, served_bits)
		values (7, gen_random_uuid(), 0, 1, 's', 'x', 'h', 'r', '', 0, now(), now() + '1 h', now() + '%s', now() + '%s', '', '', 0, 0)`
	exec(t, conn, fmt.Sprintf(session, "1 h", "1 h"))

	for name, statement := range map[string]string{
		"frozen above amount":         "update balance set frozen = 101",
		"amount below frozen":         "update balance set amount = 39",
		"frozen below zero":           "update balance set frozen = -1",
		"balance without account":     "insert into balance (bucket, account, unit, amount) values (7, 2, 4, 0)",
		"balance of no unit":          "insert into balance (bucket, account, unit, amount) values (7, 1, 0, 0)",
		"bucket 1024":                 "insert into account (bucket, id, currency) values (1024, 2, 978)",
		"debt below zero":             "update account set debt = -1",
		"threshold below zero":        "update account set threshold = -1",
		"validity ends at its start":  "update account set valid_from = '2026-01-01', valid_until = '2026-01-01'",
		"lost by nobody":              "update account set lost_since = now()",
		"blocked without reason":      "update account set blocked_since = now(), blocked_by = 'x'",
		"identity twice":              "insert into identity values (0, '861380001', 7, 1)",
		"identity of no account":      "insert into identity values (0, '861380002', 7, 2)",
		"identity kind 5":             "insert into identity values (5, '861380003', 7, 1)",
		"due after deadline":          fmt.Sprintf(session, "61 min", "1 h"),
		"closed before opened":        fmt.Sprintf(session, "1 h", "-1 s"),
		"credit of nothing":           "insert into credit values ('k', 7, 1, 1, 0, 0, 'top-up', 'x', now())",
		"debt paid above credit":      "insert into credit values ('k', 7, 1, 1, 5, 6, 'top-up', 'x', now())",
		"more reversed than debited":  "insert into event_debit values (7, 't', 1, now(), '{1}', '{5}', 5, 6, 4, 5)",
		"debit parts of two lengths":  "insert into event_debit values (7, 't', 1, now(), '{1}', '{5,6}', 5, 0, 4, 5)",
		"journal debits less than 0":  "insert into journal values (7, 1, now(), 1, 1, 'step', null, null, 0, 1, 0, '', 0, 0, -1, 0, 0, 0, 0, 0, 0)",
		"journal balance less than 0": "insert into journal values (7, 1, now(), 1, 1, 'step', null, null, 0, 1, 0, '', 0, 0, 0, 0, 0, 0, 0, -1, 0)",
		"notice of no reason":         "insert into notice (bucket, session, sub, reason, raised_at, due, served_top, served_bits) values (7, gen_random_uuid(), 0, 5, now(), now(), 0, 0)",
		"notice in no stage":          "insert into notice (bucket, session, sub, reason, raised_at, due, served_top, served_bits, stage) values (7, gen_random_uuid(), 0, 1, now(), now(), 0, 0, '')",
		"client without a state":      "insert into client_state values ('h', 0, now())",
		"client without a name":       "insert into client_state values ('', 1, now())",
		"second meta row":             "insert into meta default values",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := conn.Exec(t.Context(), statement); err == nil {
				t.Errorf("the database accepted it")
			} else if code := sqlState(err); !strings.HasPrefix(code, "23") {
				t.Errorf("refused with %s, want an integrity violation (class 23): %v", code, err)
			}
		})
	}
}

func TestJournalPartitions(t *testing.T) {
	conn := connect(t, sqltest.Database(t))
	const row = `insert into journal (bucket, account, at, balance, kind, sub, type, number, target, rating_group, used,
		debited, refunded, reserved, credited, overrun, amount_after, frozen_after, credit_source)
		values (1, 1, now() + $1::interval, 5, $2, 0, 0, 0, '', 0, 0, $3, 0, 0, $4, 0, 0, 0, $5)`
	count := func(table string) (n int) {
		t.Helper()
		if err := conn.QueryRow(t.Context(), "select count(*) from "+table).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}

	// Without a partition of its month a row lands in the default one, and moves
	// when the partition is made.
	exec(t, conn, row, "150 days", "step", 7, 0, "")
	if n := count("journal_default"); n != 1 {
		t.Fatalf("%d rows in the default partition, want 1", n)
	}
	if n := count("(select journal_add_months(6) n) x where n >= 2"); n != 1 {
		t.Errorf("journal_add_months(6) did not create the months 4 to 6")
	}
	if n := count("journal_default"); n != 0 {
		t.Errorf("%d rows left in the default partition", n)
	}
	if n := count("(select journal_add_months(6) n) x where n = 0"); n != 1 {
		t.Errorf("journal_add_months is not repeatable")
	}

	// Dropped months leave their sums behind.
	exec(t, conn, row, "0", "credit", 0, 100, "opening")
	exec(t, conn, row, "0", "step", 30, 0, "")
	exec(t, conn, row, "40 days", "credit", 0, 3, "reversal")
	exec(t, conn, "select journal_drop_before(now() + '100 days')")
	if n := count("journal"); n != 1 {
		t.Errorf("%d journal rows left, want the one of the month that is not over", n)
	}
	if n := count("closing where account = 1 and balance = 5 and credited = 103 and debited = 30 and reversed = 3"); n != 1 {
		t.Errorf("the closing does not hold the sums of the dropped months")
	}
}

func sqlState(err error) string {
	var state interface{ SQLState() string }
	if errors.As(err, &state) {
		return state.SQLState()
	}
	return ""
}

// emptyDatabase is a database without any schema.
func emptyDatabase(t *testing.T) (dsn string) {
	t.Helper()
	dsn = sqltest.Database(t)
	exec(t, connect(t, dsn), "drop schema public cascade; create schema public")
	return dsn
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func exec(t *testing.T, conn *pgx.Conn, statement string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}
