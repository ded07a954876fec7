package main

import (
	"context"
	"runtime"
	"testing"
	"time"

	"gygate/deploy/bench/sipload"
	"gygate/ocs/pgstore"
)

// TestManyCalls holds five hundred charged calls over real sockets at a time, one above
// the limit is refused, each is charged in several slices, and nothing is left of them.
// deploy/bench/calls does the same with twenty thousand.
func TestManyCalls(t *testing.T) {
	const calls = 500
	c := callBenchConfig()
	c.VPN.CallsMax = calls
	c.OCS.Policy.SliceSeconds, c.OCS.Policy.ThresholdSeconds, c.OCS.Policy.MinimumSeconds = 3, 1, 1
	g := startCallBench(t, c, sipload.Plan{Members: calls})
	idle := runtime.NumGoroutine()
	load := g.load(calls)
	load.Rate = 1000
	load.Up = func(ctx context.Context) error {
		more := g.load(20)
		more.Callee, more.Settled = freeUDP(t), nil
		report, err := sipload.Run(ctx, more)
		if report.Failed["503"] != 20 {
			t.Errorf("above the limit: %v, %v", report, err)
		}
		// Beside them there are those of requests under way.
		awaitTrue(t, "two goroutines a call", func() (bool, error) { return runtime.NumGoroutine()-idle <= 2*calls+30, nil })
		awaitTrue(t, "a report of each call", func() (bool, error) {
			var reported int
			err := g.main.books.pool.QueryRow(ctx, "select count(distinct session) from journal where debited > 0").Scan(&reported)
			return reported == calls, err
		})
		return err
	}
	report, err := sipload.Run(t.Context(), load)
	if err != nil || report.Answered != calls {
		t.Fatal(report, err)
	}
	awaitTrue(t, "the goroutines of the calls end", func() (bool, error) { return runtime.NumGoroutine() <= idle+10, nil })
	g.wantBooks(t, calls, report)
}

// wantBooks holds records and books against what the callers saw.
func (g *callBench) wantBooks(t *testing.T, calls int, report sipload.Report) {
	t.Helper()
	var charged, seconds, odd, frozen, open, updates int64
	err := g.main.books.pool.QueryRow(t.Context(), `
		select count(*) filter (where charging = 'prepaid'), coalesce(sum(reported_s), 0),
		       count(*) filter (where charging = 'prepaid' and (reason <> 'normal' or cost::numeric * 100 <> reported_s)),
		       (select sum(frozen)::bigint from balance), (select count(*) from session where closed_at is null),
		       (select count(*) from journal where debited > 0)
		from call_record`).Scan(&charged, &seconds, &odd, &frozen, &open, &updates)
	if err != nil {
		t.Fatal(err)
	}
	if charged != int64(calls) || odd != 0 || frozen != 0 || open != 0 {
		t.Errorf("%d calls charged of %d, %d of them odd; %d frozen, %d sessions open", charged, calls, odd, frozen, open)
	}
	if talked := int64(report.Talked / time.Second); seconds < talked || seconds > talked+2*int64(calls) {
		t.Errorf("%d s charged for %v", seconds, report.Talked)
	}
	if updates < 2*int64(calls) {
		t.Errorf("%d debits for %d calls of several slices", updates, calls)
	}
	var verdict pgstore.VerifyReport
	if verdict, err = g.main.admin.Verify(t.Context()); err != nil || !verdict.OK() {
		t.Errorf("the books are wrong: %v, %v", verdict.Violations, err)
	}
	var debited int64
	if err := g.main.books.pool.QueryRow(t.Context(), "select sum(debited)::bigint from journal").Scan(&debited); err != nil || debited != seconds*10_000 {
		t.Errorf("debited %d for %d s, %v", debited, seconds, err)
	}
}
