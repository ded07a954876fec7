package suite

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// cutDatabase takes the database away from everybody, until restore is called.
func (g *gygate) cutDatabase() (restore func()) {
	g.t.Helper()
	var name string
	if err := g.pool.QueryRow(g.t.Context(), "select current_database()").Scan(&name); err != nil {
		g.t.Fatal(err)
	}
	g.maintain("alter database %s allow_connections false", name)
	g.maintain("do $$ begin perform pg_terminate_backend(pid) from pg_stat_activity where datname = '%s'; end $$", name)
	return func() {
		g.maintain("alter database %s allow_connections true", name)
		g.pool.Reset() // its connections are dead, too
	}
}

// maintain runs a statement from beside the database.
func (g *gygate) maintain(statement, name string) {
	g.t.Helper()
	ctx := context.WithoutCancel(g.t.Context())
	config, err := pgx.ParseConfig(g.dsn)
	if err != nil {
		g.t.Fatal(err)
	}
	config.Database = "postgres"
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		g.t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, fmt.Sprintf(statement, name)); err != nil {
		g.t.Fatal(err)
	}
}
