package harness

import (
	"context"
	"errors"
	"os"

	"gygate/sql/localpg"
)

// Database is a durable PostgreSQL of its own, for several gygates that share
// their books and may be killed while it lives on.
type Database struct {
	DSN    string
	dir    string
	server *localpg.Server
}

// NewDatabase starts one in a fresh folder.
func NewDatabase(ctx context.Context) (*Database, error) {
	dir, err := os.MkdirTemp("", "gygate-db-")
	if err != nil {
		return nil, err
	}
	server, err := localpg.Start(ctx, localpg.Options{DataDir: dir, DieWithOwner: true})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &Database{DSN: server.DSN(), dir: dir, server: server}, nil
}

// Close stops the server and deletes its folder.
func (d *Database) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopMax)
	defer cancel()
	return errors.Join(d.server.Stop(ctx), os.RemoveAll(d.dir))
}
