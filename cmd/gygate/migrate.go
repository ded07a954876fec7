package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"gygate/cmd/gygate/config"
	"gygate/sql"
	"gygate/sql/localpg"
)

func newMigrateCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database's schema up to date",
		Long: `Migrate applies the migrations this binary carries, forward only. Serve and demo do
the same to an embedded database by themselves; other commands refuse an older one, and
a database of your own waits for this command.`,
		Example: "  gygate migrate --dsn postgres://gygate@db.example/gygate",
		Args:    cobra.NoArgs,
		RunE:    a.run(migrate),
	}
	a.jsonFlag(cmd)
	return cmd
}

func migrate(c *invocation) error {
	cfg, err := c.place.load()
	if err != nil {
		return err
	}
	dsn := cfg.Database.DSN
	if dsn != "" {
		return c.migrateAt(dsn)
	}
	dsn, err = localpg.Running(postgresFolder(c.place.data))
	if errors.Is(err, localpg.ErrNotRunning) {
		return c.migrateStopped(cfg)
	}
	if err != nil {
		return exitWith(exitUnreachable, err)
	}
	return c.migrateAt(dsn)
}

// migrateStopped makes the embedded database, or starts the one that is there, for as
// long as it takes.
func (c *invocation) migrateStopped(cfg *config.Config) error {
	server, err := startServer(c.ctx, c.place.embedded(cfg), c.errs)
	if err != nil {
		return err
	}
	return errors.Join(c.migrateAt(server.DSN()), exitWith(exitUnreachable, stopServer(server)))
}

func (c *invocation) migrateAt(dsn string) error {
	from, to, err := sql.Migrate(c.ctx, dsn)
	if err != nil {
		return exitWith(exitUnreachable, err)
	}
	done := fmt.Sprintf("brought from version %d to %d", from, to)
	if from == to {
		done = fmt.Sprintf("has version %d already, nothing to do", to)
	}
	return c.show(map[string]int64{"from": from, "to": to}, "schema of %s: %s\n", config.MaskDSN(dsn), done)
}
