package main

import (
	"github.com/spf13/cobra"

	"gygate/cmd/gygate/config"
	"gygate/sql"
	"gygate/sql/localpg"
)

func newMigrateCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database's schema up to date",
		Long: `Migrate applies the migrations this binary carries, forward only. The embedded database
is migrated by itself when it starts; one of your own waits for this command.`,
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
	if dsn == "" {
		if dsn, err = localpg.Running(postgresFolder(c.place.data)); err != nil {
			return c.withBooks(func(b *books) error { return c.migrateAt(b.dsn) }) // starting it migrates it
		}
	}
	return c.migrateAt(dsn)
}

func (c *invocation) migrateAt(dsn string) error {
	from, to, err := sql.Migrate(c.ctx, dsn)
	if err != nil {
		return exitWith(exitUnreachable, err)
	}
	return c.show(map[string]int64{"from": from, "to": to}, "%s: schema version %d, was %d\n", config.MaskDSN(dsn), to, from)
}
