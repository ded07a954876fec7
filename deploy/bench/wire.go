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
// sessions. The three are measured in turns, and each one's best turn counts: whatever
// else the machine does can only slow them down.
func measureCurve(ctx context.Context, l *lab) error {
	for _, flight := range l.plan.flights {
		c := l.config()
		c.InFlight = flight
		var limit, engine, wire result
		for range l.plan.rounds {
			for _, one := range []struct {
				best    *result
				measure func() (result, error)
			}{
				{&limit, func() (result, error) { return measureLimit(ctx, l, flight, subscribers) }},
				{&engine, func() (result, error) { return measureEngine(ctx, l, flight, subscribers) }},
				{&wire, func() (result, error) { return l.measureLoad(ctx, "Diameter", c) }},
			} {
				r, err := one.measure()
				if err != nil {
					return err
				}
				one.best.improve(r)
			}
		}
		engine.OfLimit, wire.OfLimit = engine.Rate/limit.Rate, wire.Rate/limit.Rate
		l.report.add("limit", limit)
		l.report.add("engine", engine)
		l.report.add("diameter", wire)
	}
	return nil
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
	limit, err := l.runLimit(ctx, flight, 1, 1)
	if err != nil {
		return err
	}
	limit.Name = "limit, one account"
	l.report.add("one_limit", limit)
	c := l.config()
	c.InFlight, c.Pick = flight, load.One
	r, err := l.measureLoad(ctx, "one account", c)
	if err != nil {
		return err
	}
	r.Subscribers, r.OfLimit = 1, r.Rate/limit.Rate
	l.report.add("one", r)
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
	r, err := l.measureLoad(ctx, "a million subscribers", c)
	if err != nil {
		return err
	}
	l.report.add("million", r)
	return nil
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
	r, err = l.measureLoad(ctx, fmt.Sprintf("beside %d open", r.Loads[0].Finished), l.config())
	if err != nil {
		return err
	}
	l.report.add("open", r)
	return nil
}

// measureLong is the run with all that a short one escapes: checkpoints, autovacuum,
// and clients that repeat.
func measureLong(ctx context.Context, l *lab) error {
	if l.plan.long == 0 {
		return nil
	}
	short, err := l.measureLoad(ctx, "short, for comparison", l.config())
	if err != nil {
		return err
	}
	l.report.add("long_short", short)
	if err := l.execute(ctx, "alter system reset autovacuum", "select pg_reload_conf()"); err != nil {
		return err
	}
	before, err := readUpkeep(ctx, l.pool)
	if err != nil {
		return err
	}
	c := l.config()
	c.Duration, c.Repeats = l.plan.long, 0.05
	r, err := l.measureLoad(ctx, fmt.Sprintf("%s, 5 %% repeats", l.plan.long), c)
	if err != nil {
		return err
	}
	l.report.add("long", r)
	after, err := readUpkeep(ctx, l.pool)
	if err != nil {
		return err
	}
	l.report.fact("long", "p99.9 %.1f ms, %.0f %% of the short run, %d checkpoints, %d tables vacuumed", r.Latency.P999, 100*r.Rate/short.Rate,
		after.checkpoints-before.checkpoints, after.vacuums-before.vacuums)
	return nil
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
