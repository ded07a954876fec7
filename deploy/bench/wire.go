package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"gygate/cmd/gygate/load"
	"gygate/cmd/gygate/sample"
	"gygate/deploy/interop/harness"
)

// measureCurve relates Diameter to the engine and both to the limit, at each number of
// sessions.
func measureCurve(ctx context.Context, l *lab) error {
	for _, flight := range l.plan.flights {
		c := l.config()
		c.InFlight = flight
		turns, err := l.inTurns(
			func() (result, error) { return measureLimit(ctx, l, flight, subscribers) },
			func() (result, error) { return measureEngine(ctx, l, flight, subscribers) },
			func() (result, error) { return l.measureLoad(ctx, "Diameter", c) },
		)
		if err != nil {
			return err
		}
		limit, engine, wire := turns[0], turns[1], turns[2]
		engine.OfLimit, wire.OfLimit = engine.Rate/limit.Rate, wire.Rate/limit.Rate
		l.report.add("limit", limit)
		l.report.add("engine", engine)
		l.report.add("diameter", wire)
	}
	return nil
}

// inTurns measures several things in turns and returns the best turn of each: whatever
// else the machine does, or those it shares its processors with, can only slow a turn
// down.
func (l *lab) inTurns(measures ...func() (result, error)) ([]result, error) {
	best := make([]result, len(measures))
	for range l.plan.rounds {
		for i, measure := range measures {
			r, err := measure()
			if err != nil {
				return nil, err
			}
			best[i].improve(r)
		}
	}
	return best, nil
}

// improve keeps the faster of two turns, but a fault of either.
func (r *result) improve(next result) {
	fault := cmp.Or(r.Fault, next.Fault)
	if next.Rate > r.Rate {
		*r = next
	}
	r.Fault = fault
}

// measureOneAccount has everybody call on one account, as a company's phones do.
func measureOneAccount(ctx context.Context, l *lab) error {
	const flight = 64
	c := l.config()
	c.InFlight, c.Pick = flight, load.One
	turns, err := l.inTurns(
		func() (result, error) { return l.runLimit(ctx, flight, 1, 1) },
		func() (result, error) { return l.measureLoad(ctx, "one account", c) },
	)
	if err != nil {
		return err
	}
	limit, wire := turns[0], turns[1]
	limit.Name = "limit, one account"
	wire.Subscribers, wire.OfLimit = 1, wire.Rate/limit.Rate
	l.report.add("one_limit", limit)
	l.report.add("one", wire)
	return nil
}

// measureTwoGateways loads two gateways that share the database, each by a generator
// of its own, on the same accounts.
func measureTwoGateways(ctx context.Context, l *lab) (err error) {
	if l.peer, err = l.newGateway("ocs2.gygate.example"); err != nil {
		return err
	}
	if err := l.peer.Start(ctx); err != nil {
		return err
	}
	c := l.config()
	c.InFlight = 128
	r, err := l.measureLoad(ctx, "two gateways", c, l.gate, l.peer)
	if err != nil {
		return err
	}
	l.report.add("two", r)
	err = errors.Join(l.peer.Stop(), l.peer.Remove())
	l.peer = nil
	return err
}

// measureMillion makes a million accounts and loads them.
func measureMillion(ctx context.Context, l *lab) error {
	c := l.big()
	began := time.Now()
	made, err := load.MakeAccounts(ctx, l.pool, &c, balance, sample.EUR)
	if err != nil {
		return err
	}
	l.report.fact("import", "%d accounts imported and analysed in %.1f s", made, time.Since(began).Seconds())
	l.lately = true
	turns, err := l.inTurns(
		func() (result, error) { return l.measureLoad(ctx, usual, l.config()) },
		func() (result, error) { return l.measureLoad(ctx, "a million subscribers", c) },
	)
	if err != nil {
		return err
	}
	small, million := turns[0], turns[1]
	l.report.add("million_usual", small)
	l.report.add("million", million)
	l.report.fact("million", "a million subscribers: %.0f %% of what %d have, in turns", 100*million.Rate/small.Rate, subscribers)
	return nil
}

// usual is the name of the load that others are compared with.
const usual = "10,000, for comparison"

// best is the best turn of a load.
func (l *lab) best(ctx context.Context, name string, c load.Config) (result, error) {
	turns, err := l.inTurns(func() (result, error) { return l.measureLoad(ctx, name, c) })
	if err != nil {
		return result{}, err
	}
	return turns[0], nil
}

// big is the load of the million.
func (l *lab) big() load.Config {
	c := l.config()
	c.First, c.Subscribers = firstBig, l.plan.million
	return c
}

// openingMax bounds how long the sessions of measureOpenSessions are opened.
const openingMax = 20 * time.Second

// measureOpenSessions opens many sessions and loads beside them.
func measureOpenSessions(ctx context.Context, l *lab) error {
	// The import of the million has used up the segments, and nothing of it is written now.
	if err := l.breakIn(ctx); err != nil {
		return err
	}
	l.lately = false
	alone, err := l.best(ctx, usual, l.config())
	if err != nil {
		return err
	}
	l.report.add("open_usual", alone)
	c := l.config()
	c.Mode, c.Duration, c.Warmup, c.Requests = load.Opening, openingMax, 0, int64(l.plan.open)
	r, err := l.measureLoad(ctx, "opening sessions", c)
	if err != nil {
		return err
	}
	l.report.add("opening", r)
	if r.Loads[0].Finished < int64(l.plan.open) {
		l.report.fact("opening", "only %d of %d sessions were opened within %s", r.Loads[0].Finished, l.plan.open, openingMax)
	}
	r, err = l.best(ctx, fmt.Sprintf("beside %d open", r.Loads[0].Finished), l.config())
	if err != nil {
		return err
	}
	l.report.add("open", r)
	l.report.fact("open", "beside open sessions: %.0f %% of what was before", 100*r.Rate/alone.Rate)
	return nil
}

// longRepeats is the share of the requests of the long run that come twice.
const longRepeats = 0.05

// measureLong is the run with all that a short one escapes: checkpoints, autovacuum,
// and clients that repeat. It is compared with short runs before and after it, by their
// mean: what else the machine does changes within minutes, and the long run has the
// mean of that, too.
func measureLong(ctx context.Context, l *lab) error {
	if l.plan.long == 0 {
		return nil
	}
	c := l.config()
	c.Repeats = longRepeats
	before, err := l.shorts(ctx, "short, before", c)
	if err != nil {
		return err
	}
	if err := l.execute(ctx, "alter system reset autovacuum", "select pg_reload_conf()"); err != nil {
		return err
	}
	began, err := readUpkeep(ctx, l.pool)
	if err != nil {
		return err
	}
	long := c
	long.Duration = l.plan.long
	r, err := l.measureLoad(ctx, fmt.Sprintf("%s, %.0f %% repeats", l.plan.long, 100*longRepeats), long)
	if err != nil {
		return err
	}
	l.report.add("long", r)
	ended, err := readUpkeep(ctx, l.pool)
	if err != nil {
		return err
	}
	if err := l.settle(ctx); err != nil {
		return err
	}
	after, err := l.shorts(ctx, "short, after", c)
	if err != nil {
		return err
	}
	l.report.fact("long", "p99.9 %.1f ms, %.0f %% of the short runs before (%.0f) and after (%.0f), %d repeats, %d answered otherwise, %d checkpoints, %d tables vacuumed",
		r.Latency.P999, 100*r.Rate/((before+after)/2), before, after, r.Loads[0].Repeats, r.Loads[0].Differing,
		ended.checkpoints-began.checkpoints, ended.vacuums-began.vacuums)
	return nil
}

// shorts is the mean rate of some short runs.
func (l *lab) shorts(ctx context.Context, name string, c load.Config) (mean float64, err error) {
	for range l.plan.rounds {
		r, err := l.measureLoad(ctx, name, c)
		if err != nil {
			return mean, err
		}
		l.report.add("long_short", r)
		mean += r.Rate / float64(l.plan.rounds)
	}
	return mean, nil
}

// measureLoad runs a generator against each gateway (none named: the lab's) and reads
// the meters around it.
func (l *lab) measureLoad(ctx context.Context, name string, c load.Config, gates ...*harness.Gygate) (result, error) {
	if len(gates) == 0 {
		gates = []*harness.Gygate{l.gate}
	}
	b, err := l.open(ctx, c)
	if err != nil {
		return result{}, err
	}
	before, err := l.meter.read(ctx)
	if err != nil {
		return result{}, err
	}
	loads, failed := l.generateAll(ctx, gates, c)
	after, err := l.meter.read(ctx)
	if err != nil {
		return result{}, err
	}
	r := result{Name: name, InFlight: c.InFlight * len(gates), Subscribers: c.Subscribers}
	var answered int64
	for n, one := range loads {
		if one == nil {
			return r, failed
		}
		r.Loads = append(r.Loads, one)
		r.Rate, answered = r.Rate+one.Rate, answered+one.Answered
		r.cost += one.Cost
		r.Latency = worse(r.Latency, one.Latency)
		r.Generator += one.CPU / float64(len(loads))
		now, peak := memory(gates[n].Pid())
		r.Memory, r.MemoryPeak = r.Memory+now, r.MemoryPeak+peak
	}
	r.consumption = before.until(after, answered)
	if c.Mode == load.Opening {
		r.Rows *= perSession // a session is one request
	}
	if r.Fault, err = b.check(ctx, r.cost); err == nil && failed != nil {
		r.Fault = failed.Error()
	}
	return r, err
}

// generateAll runs one generator for each gateway at the same time, under Origin-Hosts
// of their own.
func (l *lab) generateAll(ctx context.Context, gates []*harness.Gygate, c load.Config) ([]*load.Report, error) {
	loads, errs := make([]*load.Report, len(gates)), make([]error, len(gates))
	var running sync.WaitGroup
	for n, g := range gates {
		one := c
		one.Host = c.HostOf(n)
		running.Go(func() { loads[n], errs[n] = l.generate(ctx, g, one) })
	}
	running.Wait()
	return loads, errors.Join(errs...)
}

// worse takes the larger of each percentile: those of two loads cannot be added up.
func worse(a, b load.Latency) load.Latency {
	return load.Latency{
		P50: max(a.P50, b.P50), P90: max(a.P90, b.P90), P99: max(a.P99, b.P99), P999: max(a.P999, b.P999), Max: max(a.Max, b.Max), Mean: max(a.Mean, b.Mean),
	}
}
