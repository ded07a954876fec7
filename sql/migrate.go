// Package sql holds the database schema as embedded migrations, forward only, and
// the statements of the money path.
package sql

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var files embed.FS

// Several gygates may start at once: one migrates, the others look again every
// lockPeriodSeconds, lockTries times.
const (
	lockPeriodSeconds = 1
	lockTries         = 300
)

// Migrations are the embedded migration files, for tests that take their hash.
func Migrations() fs.FS {
	sub, err := fs.Sub(files, "migrations")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	return sub
}

// Migrate brings the schema to the newest version this binary knows, and returns
// the versions before and after. Concurrent calls are safe: an advisory lock of
// the database lets one work and the others wait. Each migration is one
// transaction. A database that is newer than this binary is refused (ErrVersion).
func Migrate(ctx context.Context, dsn string) (from, to int64, err error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return 0, 0, fmt.Errorf("migrate: %w", err)
	}
	db := stdlib.OpenDB(*cfg)
	defer db.Close()
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(lockPeriodSeconds, lockTries))
	if err != nil {
		return 0, 0, fmt.Errorf("migrate: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, Migrations(),
		goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return 0, 0, fmt.Errorf("migrate: %w", err)
	}
	from, to, err = provider.GetVersions(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("migrate: read the schema version: %w", err)
	}
	if from > to {
		return from, to, versionError(from, to)
	}
	if _, err := provider.Up(ctx); err != nil {
		return from, to, fmt.Errorf("migrate from version %d to %d: %w", from, to, err)
	}
	return from, to, nil
}

// ErrVersion wraps a difference between the schema and this binary.
var ErrVersion = errors.New("database schema does not fit this gygate")

// Queryer is a connection, pool or transaction of pgx.
type Queryer interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// CheckVersion tells whether the schema is the one this binary was built for. The
// error wraps ErrVersion and names the remedy.
func CheckVersion(ctx context.Context, q Queryer) error {
	want, err := newest()
	if err != nil {
		return err
	}
	var known bool
	if err := q.QueryRow(ctx, "select to_regclass('goose_db_version') is not null").Scan(&known); err != nil {
		return fmt.Errorf("read the schema version: %w", err)
	}
	var have int64
	if known {
		err := q.QueryRow(ctx, "select coalesce(max(version_id), 0) from goose_db_version where is_applied").Scan(&have)
		if err != nil {
			return fmt.Errorf("read the schema version: %w", err)
		}
	}
	if have != want {
		return versionError(have, want)
	}
	return nil
}

func versionError(have, want int64) error {
	if have > want {
		return fmt.Errorf("%w: it has version %d, newer than this gygate's %d: install the newer gygate", ErrVersion, have, want)
	}
	return fmt.Errorf("%w: it has version %d, this gygate needs %d: run `gygate migrate` with the same --data or --dsn", ErrVersion, have, want)
}

// newest is the highest version among the embedded migrations.
func newest() (version int64, err error) {
	names, err := fs.Glob(Migrations(), "*.sql")
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		v, err := goose.NumericComponent(name)
		if err != nil {
			return 0, fmt.Errorf("migration %s: %w", name, err)
		}
		version = max(version, v)
	}
	return version, nil
}
