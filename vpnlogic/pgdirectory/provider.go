package pgdirectory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gygate/vpnlogic"
)

const (
	// channel is notified in the transaction of each change.
	channel = "gygate_vpn_directory"
	// pollPeriod is how often the version is asked for without a notification,
	// which is lost while the connection is.
	pollPeriod = 5 * time.Second
	// reloadPause keeps a storm of changes from loading snapshot after
	// snapshot: the last of them is seen after the pause.
	reloadPause = 200 * time.Millisecond
	// reconnectPause is the pause after a lost connection or a failed load.
	reconnectPause = time.Second
)

// Provider holds the snapshot in force. It is safe for any number of
// goroutines.
type Provider struct {
	pool    *pgxpool.Pool
	logger  *slog.Logger
	current atomic.Pointer[snapshot]
	changed chan struct{} // room for one: a new snapshot is in force
}

// snapshot is a directory with the version it was read at.
type snapshot struct {
	version   int64
	directory *vpnlogic.Directory
}

// Open loads the first snapshot. The pool stays the caller's.
func Open(ctx context.Context, pool *pgxpool.Pool, logger *slog.Logger) (*Provider, error) {
	p := &Provider{pool: pool, logger: logger, changed: make(chan struct{}, 1)}
	if err := p.Reload(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

// Current returns the snapshot in force, never nil.
func (p *Provider) Current() *vpnlogic.Directory { return p.current.Load().directory }

// Changed delivers a token after a new snapshot came into force; for one
// reader.
func (p *Provider) Changed() <-chan struct{} { return p.changed }

// Reload reads the data now and puts it into force. Data with faults changes
// nothing: the snapshot before stays in force.
func (p *Provider) Reload(ctx context.Context) error {
	next, err := load(ctx, p.pool)
	if err != nil {
		return fmt.Errorf("load the VPN directory: %w", err)
	}
	p.current.Store(next)
	select {
	case p.changed <- struct{}{}:
	default: // the reader has yet to take the last token
	}
	return nil
}

// Run renews the snapshot on notification and by poll until ctx ends. It uses
// one connection of the pool. While the database is away the last snapshot
// stays in force.
func (p *Provider) Run(ctx context.Context) error {
	warned := (*snapshot)(nil) // once for each snapshot that stays: the database may be away for long
	for ctx.Err() == nil {
		err := p.follow(ctx)
		if ctx.Err() != nil {
			break
		}
		if now := p.current.Load(); now != warned {
			p.logger.Warn("VPN directory not refreshed; the last snapshot stays in force", slog.Any("err", err))
			warned = now
		}
		rest(ctx, reconnectPause)
	}
	return nil
}

// follow listens on one connection until it or the data fails.
func (p *Provider) follow(ctx context.Context) error {
	conn, err := p.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	defer p.unlisten(conn)
	if _, err := conn.Exec(ctx, "listen "+channel); err != nil {
		return err
	}
	for {
		if err := p.refresh(ctx, conn.Conn()); err != nil {
			return err
		}
		if err := wait(ctx, conn.Conn()); err != nil {
			return err
		}
	}
}

// unlisten hands the connection back as it was, or closes it.
func (p *Provider) unlisten(conn *pgxpool.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), reconnectPause)
	defer cancel()
	if _, err := conn.Exec(ctx, "unlisten "+channel); err != nil {
		conn.Conn().Close(ctx)
	}
}

// wait returns after a notification or after the poll period.
func wait(ctx context.Context, conn *pgx.Conn) error {
	limited, cancel := context.WithTimeout(ctx, pollPeriod)
	defer cancel()
	_, err := conn.WaitForNotification(limited)
	switch {
	case err == nil:
		rest(ctx, reloadPause)
		return ctx.Err()
	case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) && !conn.IsClosed():
		return nil
	default:
		return err
	}
}

// refresh loads a new snapshot if the version has changed.
func (p *Provider) refresh(ctx context.Context, conn *pgx.Conn) error {
	var version int64
	if err := conn.QueryRow(ctx, "select version from vpn_directory").Scan(&version); err != nil {
		return err
	}
	if version == p.current.Load().version {
		return nil
	}
	return p.Reload(ctx)
}

func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
