package main

import (
	"context"
	"time"

	"gygate/cmd/gygate/load"
)

// startTarget is how long a start may take with all accounts and open sessions there.
const startTarget = 2 * time.Second

// measureStart stops the gateway and times a new one until it says that it is ready
// and until it has answered a CCR. The database keeps running, with what the earlier
// parts have left in it.
func measureStart(ctx context.Context, l *lab) error {
	if err := l.gate.Stop(); err != nil {
		return err
	}
	began := time.Now()
	if err := l.gate.Start(ctx); err != nil {
		return err
	}
	ready := time.Since(began)
	c := l.config()
	c.Target, c.InFlight, c.Requests, c.Duration, c.Warmup = target(l.gate), 1, 1, 0, 0
	c.Mode = load.Events
	r, err := load.Run(ctx, c)
	if err != nil {
		return err
	}
	answered := time.Since(began)
	var open int64
	if err := l.pool.QueryRow(ctx, "select count(*) from session where closed_at is null").Scan(&open); err != nil {
		return err
	}
	h, err := load.HoldingsOf(ctx, l.pool, &c)
	if err != nil {
		return err
	}
	big := l.big()
	more, err := load.HoldingsOf(ctx, l.pool, &big)
	if err != nil {
		return err
	}
	l.report.Start = &start{Accounts: h.Accounts + more.Accounts, Open: open, Ready: ready.Seconds(), Answered: answered.Seconds(), Target: startTarget.Seconds()}
	verdict := "within"
	if answered > startTarget {
		verdict = "BEYOND"
	}
	l.report.fact("start", "with %d accounts and %d open sessions: ready after %.2f s, first CCR answered after %.2f s, %s the target of %s",
		h.Accounts+more.Accounts, open, ready.Seconds(), answered.Seconds(), verdict, startTarget)
	return r.Err()
}
