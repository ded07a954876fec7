package ocs

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// lane carries out steps: one goroutine, one connection of the store. It takes what
// waits in its shard up to the cap, carries all out in one transaction and answers
// them. It never waits to fill a batch: while it works, the next batch gathers. The
// first lane also serves the other shards while there is little to do.
type lane struct {
	engine   *Engine
	index    int
	woken    chan struct{} // something may wait
	taken    []*shard      // that the batch under way is from
	failures int           // failed transactions since the last good one
}

// failuresMax is how many transactions in a row may fail before the rest of a
// batch is given up. Finding one bad step among 256 by halves takes nine; more
// than that means the database is away, and trying each step would only keep
// everyone waiting.
const failuresMax = 12

func newLane(e *Engine, index int) *lane {
	return &lane{engine: e, index: index, woken: make(chan struct{}, 1)}
}

// run serves until nothing comes any more and nothing is left in the lane's shard.
func (l *lane) run(ctx context.Context) {
	batch := make([]*job, 0, l.engine.config.BatchMax)
	for {
		select {
		case <-l.woken:
			for l.round(ctx, batch) && l.goesOn() {
			}
		case <-l.engine.last:
			for l.round(ctx, batch) {
			}
			return
		}
	}
}

// goesOn reports whether a lane takes its next batch at once: the first one does
// until nothing waits, the others only while they are needed.
func (l *lane) goesOn() bool { return l.index == 0 || l.engine.waiting.Load() > LaneAloneMax }

// round carries out one batch; false when nothing waits.
func (l *lane) round(ctx context.Context, batch []*job) bool {
	batch = l.collect(batch[:0])
	defer l.release()
	if len(batch) == 0 {
		return false
	}
	began := time.Now()
	l.failures = 0
	l.carryOut(ctx, batch)
	l.engine.telemetry.batch(l.index, len(batch), time.Since(began))
	clear(batch) // no answered step is kept alive
	return true
}

// carryOut decides and answers jobs, in halves when a transaction fails, so that
// one bad step does not take the others with it. After an unknown commit
// nothing is tried again: the clients' repeats will tell.
func (l *lane) carryOut(ctx context.Context, jobs []*job) {
	if l.failures >= failuresMax {
		l.refuse(jobs, Unavailable)
		return
	}
	outcomes, err := l.transact(ctx, jobs)
	if err == nil {
		l.failures = 0
		l.answer(jobs, outcomes)
		return
	}
	l.failures++
	var broken *brokenError
	switch {
	case errors.As(err, &broken) && len(jobs) == 1:
		l.engine.log.Error("a charging rule broke; nothing of the request happened",
			"session", jobs[0].step.SessionID, "number", jobs[0].key.Number, "err", err, "stack", broken.stack)
		l.refuse(jobs, Internal)
	case errors.Is(err, ErrOutcomeUnknown), len(jobs) == 1, l.failures >= failuresMax:
		l.engine.log.Error("transaction failed; the requests are answered as unavailable",
			"lane", l.index, "steps", len(jobs), "err", err)
		l.refuse(jobs, Unavailable)
	default:
		half := len(jobs) / 2
		l.carryOut(ctx, jobs[:half])
		l.carryOut(ctx, jobs[half:])
	}
}

// transact runs one transaction and returns an outcome for each job.
func (l *lane) transact(ctx context.Context, jobs []*job) ([]Outcome, error) {
	wants := make([]Want, 0, len(jobs))
	for _, j := range jobs {
		wants = j.wants(wants)
	}
	ctx, trace := l.engine.telemetry.beginBatch(ctx, jobs)
	var outcomes []Outcome
	var broken error
	err := l.engine.store.Transact(ctx, l.index, wants, func(ws *WorkingSet) {
		trace.set = ws
		outcomes, broken = l.decideAll(ws, jobs)
	})
	if err == nil {
		err = broken
	}
	trace.end(jobs, outcomes, err)
	if err == nil && len(outcomes) != len(jobs) {
		panic("the store committed without deciding every step")
	}
	return outcomes, err
}

// brokenError is a panic of the rules: an invariant that does not hold.
type brokenError struct {
	cause any
	stack string
}

func (e *brokenError) Error() string { return fmt.Sprintf("broken invariant: %v", e.cause) }

// decideAll decides the jobs one after the other on one working set. When a
// rule panics the set is discarded, so that the store commits nothing of it.
func (l *lane) decideAll(ws *WorkingSet, jobs []*job) (outcomes []Outcome, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			ws.Discarded = true
			outcomes, err = nil, &brokenError{cause, string(debug.Stack())}
		}
	}()
	tariff := l.engine.tariff()
	outcomes = make([]Outcome, len(jobs))
	for i, j := range jobs {
		outcomes[i] = decide(ws, j.request, tariff, &l.engine.config.Policy)
	}
	return outcomes, nil
}

// answer gives every job its outcome, in order.
func (l *lane) answer(jobs []*job, outcomes []Outcome) {
	l.engine.telemetry.count(jobs, outcomes)
	for i, j := range jobs {
		j.done(outcomes[i])
	}
}

func (l *lane) refuse(jobs []*job, r Refusal) {
	for _, j := range jobs {
		l.engine.answerNow(j, r)
	}
}
