package gy

import (
	"context"
	"time"
)

// What a client does at its start with what an earlier process of it has kept
// (conformance C-029, C-111).

const (
	// recoverDelay is the first pause after a restart: the connections open
	// meanwhile, and C-111 gives 30 s.
	recoverDelay = 3 * time.Second
	// recoverPage is how many kept sessions are loaded at a time.
	recoverPage = 200
)

// recoverKept hands what an earlier process kept to the background.
func (c *Client) recoverKept(ctx context.Context) {
	found := 0
	for after := ""; ; {
		page, ok := c.loadKept(ctx, after)
		if !ok {
			return
		}
		for _, k := range page {
			after = k.Session
			if !c.resumeOne(ctx, k) {
				return
			}
		}
		if found += len(page); len(page) < recoverPage {
			break
		}
	}
	if found > 0 {
		c.config.Logger.Info("charging requests of an earlier process are delivered now", "count", found)
	}
}

// loadKept reads a page, again and again until it can be read; false when ctx
// ended the tries.
func (c *Client) loadKept(ctx context.Context, after string) ([]Kept, bool) {
	for failing := false; ; failing = true {
		page, err := c.config.Keeper.Load(ctx, c.config.Local.StateID, after, recoverPage)
		switch {
		case err == nil && failing:
			c.config.Logger.Info("charging journal of the earlier process can be read again")
			return page, true
		case err == nil:
			return page, true
		case !failing && ctx.Err() == nil:
			c.config.Logger.Error("charging journal of the earlier process cannot be read; it is tried again: check the database", "err", err)
		}
		if !wait(ctx, journalRetry) {
			return nil, false
		}
	}
}

// resumeOne takes over one entry; what cannot be read is dropped. false ends the
// recovery.
func (c *Client) resumeOne(ctx context.Context, k Kept) bool {
	if err := k.check(); err != nil {
		c.config.Logger.Error("entry of the charging journal cannot be read and is dropped", "session", k.Session, "err", err)
		c.journal.drop(k.Session)
		return true
	}
	return c.late.resume(ctx, k)
}

// resume takes over a request of an earlier process as soon as there is room;
// false when shutdown or ctx ends the wait.
func (l *late) resume(ctx context.Context, k Kept) bool {
	select {
	case l.room <- struct{}{}:
	case <-ctx.Done():
		return false
	case <-l.hurry:
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		<-l.room
		return false
	}
	l.start(ctx, k, func(ctx context.Context, k *Kept) outcomeLate { return l.run(ctx, k, recoverDelay) })
	return true
}

// wait waits; false when ctx ended it.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
