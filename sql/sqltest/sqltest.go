// Package sqltest gives tests real PostgreSQL databases: fresh, migrated, and
// dropped at the end.
//
// With GYGATE_TEST_DSN it uses that server (its user must be allowed to create
// databases); otherwise each test binary starts a private server in a temporary
// folder, without fsync, when the first test asks for a database. Tests never
// skip: a machine without PostgreSQL fails them, with the remedy.
package sqltest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"gygate/sql"
	"gygate/sql/localpg"
)

// DSNEnv names the server to test against.
const DSNEnv = "GYGATE_TEST_DSN"

// setUpTimeout bounds every step of setting up and taking down.
const setUpTimeout = 2 * time.Minute

// server is the one server of this test binary, and the template database on it.
var server struct {
	once     sync.Once
	err      error
	dsn      string // of a database to administer from
	template string
	private  *localpg.Server // nil with GYGATE_TEST_DSN
	dir      string          // of the private server
}

// Run runs the tests, stops the private server, then runs the checks (for
// example for leaked goroutines), and returns the exit code for TestMain.
func Run(m *testing.M, after ...func() error) int {
	code := m.Run()
	for _, check := range append([]func() error{stop}, after...) {
		if err := check(); err != nil {
			fmt.Fprintln(os.Stderr, "after the tests:", err)
			code = max(code, 1)
		}
	}
	return code
}

// Database returns the DSN of a fresh, migrated database, which is dropped when
// the test ends.
func Database(t testing.TB) (dsn string) {
	t.Helper()
	server.once.Do(func() { server.err = start() })
	if server.err != nil {
		t.Fatalf("no test database: %v", server.err)
	}
	name := "gygate_test_" + strings.ToLower(rand.Text())
	if err := administer("create database " + name + " template " + server.template); err != nil {
		t.Fatalf("create the test database: %v", err)
	}
	t.Cleanup(func() {
		if err := administer("drop database " + name + " with (force)"); err != nil {
			t.Errorf("drop the test database: %v", err)
		}
	})
	return withDatabase(server.dsn, name)
}

func start() error {
	ctx, cancel := context.WithTimeout(context.Background(), setUpTimeout)
	defer cancel()
	server.dsn = os.Getenv(DSNEnv)
	if server.dsn == "" {
		if err := startPrivate(ctx); err != nil {
			return err
		}
	}
	return makeTemplate(ctx)
}

// startPrivate starts a server that keeps nothing safe: the tests' data dies with
// them. Its folder is directly under the system's temporary folder, where the
// server's user can reach it and the socket's path stays short.
func startPrivate(ctx context.Context) (err error) {
	if server.dir, err = os.MkdirTemp("", "gygate-test-"); err != nil {
		return err
	}
	server.private, err = localpg.Start(ctx, localpg.Options{
		DataDir:      server.dir,
		DieWithOwner: true,
		Settings:     map[string]string{"fsync": "off", "full_page_writes": "off", "max_connections": "200"},
	})
	if err != nil {
		return errors.Join(err, os.RemoveAll(server.dir))
	}
	server.dsn = server.private.DSN()
	return nil
}

// makeTemplate migrates a database once, to be copied for each test. Its name has
// the hash of the migrations, so that test binaries share it on a shared server.
func makeTemplate(ctx context.Context) error {
	hash, err := migrationsHash()
	if err != nil {
		return err
	}
	server.template = "gygate_template_" + hash
	conn, err := pgx.Connect(ctx, server.dsn)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "select pg_advisory_lock(hashtext('gygate template'))"); err != nil {
		return err
	}
	var done bool
	if err := conn.QueryRow(ctx, "select exists (select from pg_database where datname = $1)", server.template).Scan(&done); err != nil || done {
		return err
	}
	making := server.template + "_new" // renamed at the end: a half template is never used
	if _, err := conn.Exec(ctx, "drop database if exists "+making+" with (force)"); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "create database "+making); err != nil {
		return err
	}
	if _, _, err := sql.Migrate(ctx, withDatabase(server.dsn, making)); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "alter database "+making+" rename to "+server.template)
	return err
}

func migrationsHash() (string, error) {
	sum := sha256.New()
	err := fs.WalkDir(sql.Migrations(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		b, err := fs.ReadFile(sql.Migrations(), path)
		fmt.Fprintf(sum, "%s %d\n%s", path, len(b), b)
		return err
	})
	return hex.EncodeToString(sum.Sum(nil)[:6]), err
}

func administer(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), setUpTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, server.dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement)
	return err
}

// withDatabase names another database in a DSN of either form.
func withDatabase(dsn, name string) string {
	if u, err := url.Parse(dsn); err == nil && u.Scheme != "" {
		u.Path = "/" + name
		return u.String()
	}
	return dsn + " dbname=" + name // the last setting counts
}

func stop() error {
	if server.private == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), setUpTimeout)
	defer cancel()
	return errors.Join(server.private.Stop(ctx), os.RemoveAll(server.dir))
}
