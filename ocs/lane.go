package ocs

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// lane owns the accounts of its buckets: one goroutine, one connection of the
// store. It waits for one step, takes what else is there up to the cap, carries
// all out in one transaction and answers them. It never waits to fill a batch:
// while it works, the next batch gathers.
type lane struct {
	engine   *Engine
	index    int
	queue    chan *job
	failures int // failed transactions since the last good one
}

// failuresMax is how many transactions in a row may fail before the rest of a
// batch is given up. Finding one bad step among 256 by halves takes nine; more
// than that means the database is away, and trying each step would only keep
// everyone waiting.
const failuresMax = 12

func newLane(e *Engine, index int) *lane {
	return &lane{engine: e, index: index, queue: make(chan *job, e.config.QueueMax)}
}

func (l *lane) run(ctx context.Context) {
	batch := make([]*job, 0, l.engine.config.BatchMax)
	for first := range l.queue {
		batch = drain(l.queue, append(batch[:0], first), l.engine.config.BatchMax)
		began := time.Now()
		l.failures = 0
		l.carryOut(ctx, batch)
		l.engine.telemetry.batch(l.index, len(batch), time.Since(began))
		clear(batch) // no answered step is kept alive
	}
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
// rule panics the set is emptied, so that the store commits nothing of it.
func (l *lane) decideAll(ws *WorkingSet, jobs []*job) (outcomes []Outcome, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			ws.discard()
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

// discard takes back every change, so that there is nothing to store.
func (ws *WorkingSet) discard() {
	for _, a := range ws.Accounts {
		a.Dirty = false
		for _, b := range a.Balances {
			b.Dirty = false
		}
	}
	for _, s := range ws.Sessions {
		s.New, s.Dirty = false, false
	}
	for _, d := range ws.Debits {
		d.Dirty = false
	}
	clear(ws.Accounts)
	clear(ws.Sessions)
	clear(ws.Debits)
	ws.Journal, ws.NewOutcomes, ws.NewDebits, ws.Orphans = nil, nil, nil, nil
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
