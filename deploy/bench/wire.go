package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
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
		limit, engine, wire := turns(nil), turns(nil), turns(nil)
		err := l.inTurns(
			turn{&limit, func() (result, error) { return measureLimit(ctx, l, flight, subscribers) }},
			turn{&engine, func() (result, error) { return measureEngine(ctx, l, flight, subscribers) }},
			turn{&wire, func() (result, error) { return l.measureLoad(ctx, "Diameter", c) }},
		)
		if err != nil {
			return err
		}
		l.report.add("limit", limit.median())
		l.report.add("engine", engine.medianBeside(limit))
		l.report.add("diameter", wire.medianBeside(limit))
	}
	return nil
}

// turns are measurements of one thing.
type turns []result

// turn is how to measure a thing once more.
type turn struct {
	into    *turns
	measure func() (result, error)
}

// inTurns measures several things in turns. The processors may be shared with others and
// change their speed within seconds: turns of one round stood side by side.
func (l *lab) inTurns(things ...turn) error {
	for range l.plan.rounds {
		for _, one := range things {
			r, err := one.measure()
			if err != nil {
				return err
			}
			*one.into = append(*one.into, r)
		}
	}
	return nil
}

// median is the turn with the median rate; a fault of any turn is told.
func (t turns) median() result {
	sorted := slices.SortedFunc(slices.Values(t), func(a, b result) int { return cmp.Compare(a.Rate, b.Rate) })
	middle := sorted[len(sorted)/2]
	for _, one := range t {
		if one.Fault != "" && middle.Fault == "" {
			middle.Fault = "in another turn: " + one.Fault
		}
	}
	return middle
}

// share is the median of what the turns reached of the others' rates in the same rounds.
func (t turns) share(of turns) float64 {
	shares := make([]float64, len(t))
	for i := range t {
		shares[i] = t[i].Rate / of[i].Rate
	}
	slices.Sort(shares)
	return shares[len(shares)/2]
}

// medianBeside is the median with its share of the limit.
func (t turns) medianBeside(limit turns) result {
	r := t.median()
	r.OfLimit = t.share(limit)
	return r
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
	limit, wire := turns(nil), turns(nil)
	err := l.inTurns(
		turn{&limit, func() (result, error) { return l.runLimit(ctx, flight, 1, 1) }},
		turn{&wire, func() (result, error) { return l.measureLoad(ctx, "one account", c) }},
	)
	if err != nil {
		return err
	}
	alone, row := limit.median(), wire.medianBeside(limit)
	alone.Name, row.Subscribers = "limit, one account", 1
	l.report.add("one_limit", alone)
	l.report.add("one", row)
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
	c.InFlight /= 2
	one, two := turns(nil), turns(nil)
	err = l.inTurns(
		turn{&one, func() (result, error) { return l.measureLoad(ctx, usual, l.config()) }},
		turn{&two, func() (result, error) { return l.measureLoad(ctx, "two gateways", c, l.gate, l.peer) }},
	)
	if err != nil {
		return err
	}
	l.report.add("two_usual", one.median())
	l.report.add("two", two.median())
	l.report.fact("two", "two gateways on the same accounts: %.0f %% of what one has, in turns", 100*two.share(one))
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
	// The import has used up the segments of the log.
	if err := l.breakIn(ctx); err != nil {
		return err
	}
	few, million := turns(nil), turns(nil)
	err = l.inTurns(
		turn{&few, func() (result, error) { return l.measureLoad(ctx, usual, l.config()) }},
		turn{&million, func() (result, error) { return l.measureLoad(ctx, "a million subscribers", c) }},
	)
	if err != nil {
		return err
	}
	l.report.add("million_usual", few.median())
	l.report.add("million", million.median())
	l.report.fact("million", "a million subscribers: %.0f %% of what %d of them have, in turns, in one database", 100*million.share(few), subscribers)
	return nil
}

// usual is the name of the load that others are compared with.
const usual = "for comparison"

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
	alone, beside := turns(nil), turns(nil)
	if err := l.inTurns(turn{&alone, func() (result, error) { return l.measureLoad(ctx, usual, l.config()) }}); err != nil {
		return err
	}
	before := alone.median()
	l.report.add("open_usual", before)
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
	name := fmt.Sprintf("beside %d open", r.Loads[0].Finished)
	if err := l.inTurns(turn{&beside, func() (result, error) { return l.measureLoad(ctx, name, l.config()) }}); err != nil {
		return err
	}
	with := beside.median()
	l.report.add("open", with)
	l.report.fact("open", "beside open sessions: %.0f %% of the rate before they were opened (the medians, not in turns)", 100*with.Rate/before.Rate)
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
