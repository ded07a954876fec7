package pgstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"gygate/ocs"
	"gygate/ocs/ocstest"
	"gygate/sql/sqltest"
)

func TestMain(m *testing.M) {
	os.Exit(sqltest.Run(m, func() error { return goleak.Find() }))
}

// ledger is a store with its administration, on a database of its own.
type ledger struct {
	*Store
	admin *Admin
	pool  *pgxpool.Pool
	dsn   string
}

var (
	_ ocstest.Seeder = (*ledger)(nil)
	_ ocstest.Teller = (*audited)(nil)
)

func newLedger(t testing.TB, change ...func(*Options)) *ledger {
	t.Helper()
	l := &ledger{dsn: sqltest.Database(t)}
	l.pool = newPool(t, l.dsn)
	l.admin = NewAdmin(l.pool)
	l.Store = openStore(t, l.dsn, change...)
	return l
}

func newPool(t testing.TB, dsn string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func openStore(t testing.TB, dsn string, change ...func(*Options)) *Store {
	t.Helper()
	opt := Options{DSN: dsn, Lanes: 2}
	for _, c := range change {
		c(&opt)
	}
	s, err := Open(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// AddAccount implements ocstest.Seeder.
func (l *ledger) AddAccount(t testing.TB, a ocs.Account, ids ...ocs.Identity) ocs.Account {
	t.Helper()
	n := NewAccount{Identities: ids, Currency: a.Currency, Class: a.Class, ValidFrom: a.ValidFrom, ValidUntil: a.ValidUntil, Threshold: a.Threshold, Zone: a.Zone}
	for _, b := range a.Balances {
		n.Balances = append(n.Balances, *b)
	}
	info, err := l.admin.CreateAccount(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	key := ocs.AccountKey{Bucket: info.Bucket, ID: info.ID}
	if a.Lost != nil || a.Blocked != nil || a.Closed {
		lost, blocked := a.Lost != nil, a.Blocked != nil
		if _, err := l.admin.Set(t.Context(), info.Identities[0], Settings{Lost: &lost, Blocked: &blocked, Closed: &a.Closed, By: "test"}); err != nil {
			t.Fatal(err)
		}
	}
	return l.account(t, key)
}

// Block implements ocstest.Seeder.
func (l *ledger) Block(t testing.TB, key ocs.AccountKey) {
	t.Helper()
	var identity string
	if err := l.pool.QueryRow(t.Context(), "select value from identity where bucket = $1 and account = $2 and kind = 0", key.Bucket, key.ID).Scan(&identity); err != nil {
		t.Fatal(err)
	}
	yes := true
	if _, err := l.admin.Set(t.Context(), identity, Settings{Blocked: &yes, By: "test", Reason: "test"}); err != nil {
		t.Fatal(err)
	}
}

// Credit implements ocstest.Teller. A balance that is not of money cannot be topped
// up; its account's main one is, then.
func (l *ledger) Credit(t testing.TB, key ocs.AccountKey, balance, amount int64) {
	t.Helper()
	topUps++
	u := TopUp{Identity: l.identity(t, key), Amount: ocs.Money(amount), Source: "top-up", Key: fmt.Sprint("credit ", topUps), Balance: balance}
	_, err := l.admin.TopUp(t.Context(), u)
	if errors.Is(err, ErrInput) {
		u.Balance = 0
		_, err = l.admin.TopUp(t.Context(), u)
	}
	if err != nil && !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

// Unblock implements ocstest.Teller.
func (l *ledger) Unblock(t testing.TB, key ocs.AccountKey) {
	l.set(t, ocs.Identity{Value: l.identity(t, key)}, Settings{Blocked: &no})
}

func (l *ledger) closeAccount(t testing.TB, key ocs.AccountKey) {
	l.set(t, ocs.Identity{Value: l.identity(t, key)}, Settings{Closed: &yes})
}

// Books implements ocstest.Seeder: everything, in one snapshot.
func (l *ledger) Books(t testing.TB) (b ocstest.Books) {
	t.Helper()
	l.checkKnown(t)
	err := pgx.BeginTxFunc(t.Context(), l.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		l := newLoader()
		all := &pgx.Batch{}
		all.Queue("select bucket, id from account").Query(func(rows pgx.Rows) (err error) {
			l.accountKeys, err = pgx.CollectRows(rows, pgx.RowToStructByPos[ocs.AccountKey])
			return err
		})
		all.Queue("select key, sub from session").Query(func(rows pgx.Rows) (err error) {
			l.sessionKeys, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (ref ocs.SessionRef, err error) {
				var sub int64
				err = row.Scan((*[16]byte)(&ref.Key), &sub)
				ref.Sub = uint64(sub)
				return ref, err
			})
			return err
		})
		all.Queue(journalSelect + " order by j.at, j.id").Query(func(rows pgx.Rows) (err error) {
			b.Journal, err = pgx.CollectRows(rows, scanJournalRow)
			return err
		})
		if err := tx.SendBatch(t.Context(), all).Close(); err != nil {
			return err
		}
		if err := l.read(t.Context(), tx.Conn()); err != nil {
			return err
		}
		for _, a := range l.accounts {
			b.Accounts = append(b.Accounts, *a.Account)
		}
		for _, s := range l.sessions {
			b.Sessions = append(b.Sessions, *s.Session)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// account reads an account as it stands.
func (l *ledger) account(t testing.TB, key ocs.AccountKey) (account ocs.Account) {
	t.Helper()
	err := pgx.BeginFunc(t.Context(), l.pool, func(tx pgx.Tx) error {
		a, _, err := readAccount(t.Context(), tx, key)
		if err == nil {
			account = *a
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return account
}

func (l *ledger) exec(t testing.TB, statement string, args ...any) {
	t.Helper()
	if _, err := l.pool.Exec(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func (l *ledger) count(t testing.TB, from string, args ...any) (n int) {
	t.Helper()
	if err := l.pool.QueryRow(t.Context(), "select count(*) from "+from, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", from, err)
	}
	return n
}

// until waits until there is such a row.
func (l *ledger) until(t testing.TB, from string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if l.count(t, "pg_sleep(0.01), "+from) > 0 {
			return
		}
	}
	t.Fatalf("nothing in %s", from)
}

// begin begins a transaction of somebody else's that has run a statement, and ends it
// with the test.
func (l *ledger) begin(t testing.TB, statement string) pgx.Tx {
	t.Helper()
	tx, err := l.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tx.Rollback(context.Background()) })
	if _, err := tx.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
	return tx
}

// audit fails the test unless Verify finds the books right.
func (l *ledger) audit(t testing.TB) {
	t.Helper()
	report, err := l.admin.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range report.Violations {
		t.Errorf("verify: %v", v)
	}
}

// shortDir is a folder for a private server: reachable by its user, and with a path
// short enough for a socket.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgstore-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "data")
}
