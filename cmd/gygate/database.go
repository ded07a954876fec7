package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"gygate/cmd/gygate/config"
	"gygate/sql"
	"gygate/sql/localpg"
)

const (
	// dataDefault is where the quick start keeps its books.
	dataDefault = "./.gygate"
	// connectTimeout bounds how long a command waits for its database.
	connectTimeout = 15 * time.Second
	// poolMax is the connections for everything but charging, which has its own:
	// one listens for changes of the directory, four write call records, the rest
	// serves administration. A DSN may ask for more (pool_max_conns).
	poolMax = 12
	// idleInTransactionTimeout is how long a transaction that sends nothing keeps its locks: an
	// account that a command holds is not charged meanwhile, and the command may hang.
	idleInTransactionTimeout = time.Minute
	// stopDatabaseTimeout is how long an embedded database may take to write
	// its last checkpoint.
	stopDatabaseTimeout = 30 * time.Second
)

// place is where a command finds configuration and books: the common flags.
type place struct {
	config, dsn, data string
}

func (p *place) flags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&p.config, "config", "", "configuration `FILE` (see gygate config example)")
	f.StringVar(&p.dsn, "dsn", "", "PostgreSQL `DSN` (default "+config.EnvDSN+", then the configuration, then the embedded database)")
	f.StringVar(&p.data, "data", dataDefault, "`FOLDER` of the embedded database")
}

// load reads the configuration; its database section then holds the DSN to use,
// "" for the embedded database.
func (p place) load() (*config.Config, error) {
	c, err := config.Load(p.config)
	if err != nil {
		return nil, exitWith(exitConfig, err)
	}
	if c.Database.DSN, err = c.Database.ResolveDSN(p.dsn); err != nil {
		return nil, exitWith(exitConfig, err)
	}
	return c, nil
}

// books is the open database with, when it is embedded and ours, its server.
type books struct {
	dsn    string
	pool   *pgxpool.Pool
	server *localpg.Server
}

// openBooks opens the database for a command: the one of the DSN, else the
// embedded one, which is used where it runs and started where it does not.
func (a *app) openBooks(ctx context.Context) (*books, error) {
	c, err := a.place.load()
	if err != nil {
		return nil, err
	}
	dsn := c.Database.DSN
	if dsn == "" {
		dsn, err = localpg.Running(postgresFolder(a.place.data))
		if errors.Is(err, localpg.ErrNotRunning) {
			if err := a.place.holdsBooks(); err != nil {
				return nil, err
			}
			return startBooks(ctx, a.place.embedded(c), a.errs, connectBooks)
		}
		if err != nil {
			return nil, exitWith(exitUnreachable, err)
		}
	}
	return connectBooks(ctx, dsn)
}

// holdsBooks refuses a folder without books: a command given in the wrong place
// must not answer from new, empty ones. Only serve, demo and migrate make books.
func (p place) holdsBooks() error {
	if localpg.Holds(postgresFolder(p.data)) {
		return nil
	}
	return exitWith(exitUnreachable, fmt.Errorf("no books in %s: name their folder with --data or their database with --dsn; gygate serve or gygate migrate makes new ones", p.data))
}

// embedded is how the embedded database of a command is started.
func (p place) embedded(c *config.Config) localpg.Options {
	return localpg.Options{DataDir: postgresFolder(p.data), Port: c.Database.Embedded.Port}
}

func postgresFolder(data string) string { return filepath.Join(data, "postgres") }

// connectBooks connects to a database and refuses one whose schema is not this
// binary's: only serve, demo and migrate change a schema.
func connectBooks(ctx context.Context, dsn string) (*books, error) {
	b, err := dial(ctx, dsn)
	if err != nil {
		return nil, err
	}
	if err := sql.CheckVersion(ctx, b.pool); err != nil {
		b.pool.Close()
		return nil, exitWith(exitUnreachable, err)
	}
	return b, nil
}

// dial connects without a look at the schema. A transaction that sends nothing for
// idleInTransactionTimeout is ended by the server, unless the DSN says otherwise.
func dial(ctx context.Context, dsn string) (*books, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, exitWith(exitConfig, fmt.Errorf("database DSN: %w", err))
	}
	cfg.MaxConns = max(cfg.MaxConns, poolMax)
	if name := "idle_in_transaction_session_timeout"; cfg.ConnConfig.RuntimeParams[name] == "" {
		cfg.ConnConfig.RuntimeParams[name] = strconv.FormatInt(idleInTransactionTimeout.Milliseconds(), 10)
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, exitWith(exitUnreachable, fmt.Errorf("database: %w", err))
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, exitWith(exitUnreachable, fmt.Errorf("database %s does not answer: %w", config.MaskDSN(dsn), err))
	}
	return &books{dsn: dsn, pool: pool}, nil
}

// connector connects to a database: connectBooks, which refuses one of an older schema,
// or migrateAndDial, which brings it up to date.
type connector func(ctx context.Context, dsn string) (*books, error)

// startBooks starts the embedded database (startServer) and connects to it.
func startBooks(ctx context.Context, options localpg.Options, say io.Writer, connect connector) (*books, error) {
	server, err := startServer(ctx, options, say)
	if err != nil {
		return nil, err
	}
	b, err := connect(ctx, server.DSN())
	if err != nil {
		return nil, errors.Join(err, stopServer(server))
	}
	b.server = server
	return b, nil
}

// startServer starts the embedded database. PostgreSQL is installed first where it is
// missing and that can be done; say receives what is worth telling.
func startServer(ctx context.Context, options localpg.Options, say io.Writer) (*localpg.Server, error) {
	server, err := localpg.Start(ctx, options)
	if errors.Is(err, localpg.ErrNotInstalled) {
		if err := newInstaller(say).install(ctx, err); err != nil {
			return nil, exitWith(exitUnreachable, err)
		}
		server, err = localpg.Start(ctx, options)
	}
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w: choose a folder this user may write to with --data", err)
	}
	if err != nil {
		return nil, exitWith(exitUnreachable, err)
	}
	return server, nil
}

// migrateAndDial connects to a database after its schema is up to date.
func migrateAndDial(ctx context.Context, dsn string) (*books, error) {
	if _, _, err := sql.Migrate(ctx, dsn); err != nil {
		return nil, exitWith(exitUnreachable, err)
	}
	return dial(ctx, dsn)
}

// close gives the database back: the pool, then the server if it is ours.
func (b *books) close() error {
	b.pool.Close()
	if b.server == nil {
		return nil
	}
	return stopServer(b.server)
}

// stopServer stops with a time limit of its own: the command's context may be
// over, and books want their last checkpoint all the same.
func stopServer(s *localpg.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopDatabaseTimeout)
	defer cancel()
	return s.Stop(ctx)
}
