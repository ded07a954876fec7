package pgdirectory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gygate/vpnlogic"
)

// changed is the payload of a notification: which groups a change concerns. A plain
// notification, from other programs, says nothing, and everything is read anew.
type changed struct {
	Version int64    `json:"version"`
	Groups  []string `json:"groups"`
}

// payload is the change as a notification carries it.
func (c changed) payload() string {
	text, err := json.Marshal(c)
	if err != nil || len(text) > payloadMax {
		return "" // everything, then
	}
	return string(text)
}

const (
	// payloadMax bounds a payload; PostgreSQL takes 8000 bytes less one. A change of
	// more groups is told without their names.
	payloadMax = 7_900
	// groupsMax is how many changed groups are read one by one rather than everything.
	groupsMax = 500
	// catchUp is how long the notification of a change that is already seen may take.
	catchUp = 50 * time.Millisecond
	// reloadShare is how many times as long as a load of everything took the next one
	// is put off: a storm of changes costs a quarter of a processor at the most.
	reloadShare = 3
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

	// Of the goroutine of Run alone:
	told map[int64][]string // by version: the groups that changed with it
	wait time.Time          // no load of everything before
}

// snapshot is a directory with the version it was read at.
type snapshot struct {
	version   int64
	directory *vpnlogic.Directory
}

// Open loads the first snapshot. The pool stays the caller's.
func Open(ctx context.Context, pool *pgxpool.Pool, logger *slog.Logger) (*Provider, error) {
	p := &Provider{pool: pool, logger: logger, changed: make(chan struct{}, 1), told: make(map[int64][]string)}
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
	p.put(next)
	return nil
}

// put puts a snapshot into force.
func (p *Provider) put(next *snapshot) {
	p.current.Store(next)
	select {
	case p.changed <- struct{}{}:
	default: // the reader has yet to take the last token
	}
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
		if err := p.await(ctx, conn.Conn()); err != nil {
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

// await returns a moment after a notification, so that one load serves many changes, or
// after the poll period.
func (p *Provider) await(ctx context.Context, conn *pgx.Conn) error {
	heard, err := p.hear(ctx, conn, pollPeriod)
	if err != nil || !heard {
		return err
	}
	rest(ctx, reloadPause)
	return ctx.Err()
}

// hear takes one notification and notes what it tells; false: none came in time.
func (p *Provider) hear(ctx context.Context, conn *pgx.Conn, within time.Duration) (bool, error) {
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	n, err := conn.WaitForNotification(limited)
	switch {
	case err == nil:
		var c changed
		if json.Unmarshal([]byte(n.Payload), &c) == nil && c.Version > p.current.Load().version {
			p.told[c.Version] = c.Groups
		}
		return true, nil
	case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) && !conn.IsClosed():
		return false, nil
	default:
		return false, err
	}
}

// refresh loads a new snapshot if the version has changed: the groups that changed when
// all changes since have named theirs, else everything.
func (p *Provider) refresh(ctx context.Context, conn *pgx.Conn) error {
	var version int64
	if err := conn.QueryRow(ctx, "select version from vpn_directory").Scan(&version); err != nil {
		return err
	}
	if version == p.current.Load().version {
		return nil
	}
	for heard := true; heard && p.told[version] == nil; { // they come one by one, the last a moment after its commit
		var err error
		if heard, err = p.hear(ctx, conn, catchUp); err != nil {
			return err
		}
	}
	if groups := p.changedUntil(version); groups != nil && p.reloadGroups(ctx, version, groups) {
		return nil
	}
	return p.reloadAll(ctx)
}

// changedUntil names the groups that changed up to a version, nil when it is not known
// of each change or they are too many.
func (p *Provider) changedUntil(version int64) []string {
	groups := make(map[string]bool)
	for v := p.current.Load().version + 1; v <= version; v++ {
		if len(p.told[v]) == 0 || len(groups) > groupsMax {
			return nil
		}
		for _, id := range p.told[v] {
			groups[id] = true
		}
	}
	return slices.Collect(maps.Keys(groups))
}

// reloadGroups reads some groups anew; false: everything has to be read, because more
// has changed meanwhile, or the groups do not fit the rest.
func (p *Provider) reloadGroups(ctx context.Context, version int64, groups []string) bool {
	next, err := loadGroups(ctx, p.pool, p.current.Load(), version, groups)
	if err != nil {
		p.logger.Debug("VPN groups not read by themselves; reading everything", slog.Any("err", err))
		return false
	}
	p.put(next)
	p.forget()
	return true
}

func (p *Provider) reloadAll(ctx context.Context) error {
	rest(ctx, time.Until(p.wait))
	began := time.Now()
	err := p.Reload(ctx)
	p.wait = time.Now().Add(reloadShare * time.Since(began))
	p.forget()
	return err
}

// forget drops what was told of changes that are in force.
func (p *Provider) forget() {
	now := p.current.Load().version
	maps.DeleteFunc(p.told, func(version int64, _ []string) bool { return version <= now })
}

func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
