package ocs

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// lane carries out steps: one goroutine, one connection of the store. It takes what
// waits in its shard up to the cap, carries all out in one transaction and answers
// them; while it works, the next batch gathers. The first lane also serves the other
// shards while there is little to do.
type lane struct {
	engine   *Engine
	index    int
	woken    chan struct{} // enough may wait
	enough   atomic.Int64  // how many waiting steps wake the lane
	pace     pace
	patience *time.Timer
	taken    []*shard // that the batch under way is from
	tries    tries
}

// lanePatience bounds how long a lane waits for a batch to gather after it has
// answered one.
const lanePatience = time.Millisecond

// pace says how many steps make a batch. A transaction costs much the same whatever
// its size. Without a pace the clients of a closed loop fall apart into small groups,
// each of which pays for a transaction of its own; with it they form two, one of which
// is carried out while the other one is on its way to its clients and back.
type pace struct {
	about int // steps lately seen together: in a batch, or waiting at its end
}

// paceDecay is how fast the pace forgets: an eighth with each batch.
const paceDecay = 8

func (p *pace) saw(batch, waiting int) {
	p.about = max(p.about-(p.about+paceDecay-1)/paceDecay, batch+waiting)
}

// vain: patience has brought no more than this.
func (p *pace) vain(waiting int) { p.about = waiting }

// enough is how many steps make a batch worth while.
func (p *pace) enough() int { return max(1, p.about/2) }

// failuresMax is how many transactions, or look-ups, in a row may fail before the rest of a
// batch is given up. Finding one bad step among 256 by halves takes nine; more
// than that means that it is not one step, and trying each would only keep everyone
// waiting.
const failuresMax = 12

// tryingMax is how long after its beginning a batch, of steps or of look-ups, may begin
// another try: half of a client's Tx timer (10 s by default, RFC 8506 §13), as the last
// try takes time, too.
const tryingMax = 5 * time.Second

// tries are those of a batch under way.
type tries struct {
	began       time.Time
	failures    int        // since the last success
	unreachable bool       // the database was
	locked      AccountKey // of the last step that went alone and waited for a lock in vain
}

// over reports whether the rest of the batch is not tried any more.
func (t *tries) over() bool {
	return t.unreachable || t.failures >= failuresMax || time.Since(t.began) > tryingMax
}

func (t *tries) succeeded() { t.failures = 0 }

func (t *tries) failed(err error) {
	t.failures++
	t.unreachable = errors.Is(err, ErrUnreachable)
}

func newLane(e *Engine, index int) *lane {
	l := &lane{engine: e, index: index, woken: make(chan struct{}, 1), patience: time.NewTimer(lanePatience)}
	l.enough.Store(1)
	return l
}

// run serves until nothing comes any more and nothing is left in the lane's shard.
func (l *lane) run(ctx context.Context) {
	defer l.patience.Stop()
	batch := make([]*job, 0, l.engine.config.BatchMax)
	for l.await() {
		for l.round(ctx, batch) && l.goesOn() {
		}
	}
	for l.round(ctx, batch) {
	}
}

// await waits until the lane is needed. It returns false when nothing will come any
// more.
func (l *lane) await() bool {
	select {
	case <-l.woken:
		return true
	case <-l.engine.last:
		return false
	}
}

// goesOn reports whether the lane takes a next batch at once: the first one does until
// nothing waits, the others while they are needed.
func (l *lane) goesOn() bool {
	if l.index != 0 && l.engine.alone() {
		return false
	}
	l.gather()
	return true
}

// gather waits until enough steps wait, or patience is over.
func (l *lane) gather() {
	enough := l.pace.enough()
	l.enough.Store(int64(enough))
	// From now on every step wakes the lane: the look that finds nothing comes after
	// this, so a step is either found by it or heard of.
	defer l.enough.Store(1)
	if l.needed(enough) {
		return
	}
	l.patience.Reset(lanePatience)
	for !l.needed(enough) {
		select {
		case <-l.woken:
		case <-l.patience.C:
			l.pace.vain(l.waiting())
			return
		case <-l.engine.last:
			return
		}
	}
}

// needed reports whether so many steps wait for the lane, and it is its turn.
func (l *lane) needed(enough int) bool {
	return l.waiting() >= enough && (l.index == 0 || !l.engine.alone())
}

// waiting is how many steps wait for the lane: for the first one all, while it is
// alone.
func (l *lane) waiting() int {
	if l.index == 0 && l.engine.alone() {
		return int(l.engine.waiting.Load())
	}
	return len(l.engine.shards[l.index].queue)
}

// round carries out one batch; false when nothing waits.
func (l *lane) round(ctx context.Context, batch []*job) bool {
	batch = l.collect(batch[:0])
	defer l.release()
	if len(batch) == 0 {
		return false
	}
	l.tries = tries{began: time.Now()}
	l.carryOut(ctx, batch)
	l.pace.saw(len(batch), l.waiting())
	l.engine.telemetry.batch(l.index, len(batch), time.Since(l.tries.began))
	clear(batch) // no answered step is kept alive
	if l.tries.unreachable {
		l.refuseWaiting(batch)
	}
	return true
}

// carryOut decides and answers jobs, in halves when a transaction fails, so that
// one bad step does not take the others with it (for locks see setApart).
// After an unknown commit nothing is tried again: the clients' repeats will tell.
func (l *lane) carryOut(ctx context.Context, jobs []*job) {
	if l.tries.over() {
		l.refuse(jobs, Unavailable)
		return
	}
	outcomes, err := l.transact(ctx, jobs)
	if err == nil {
		l.tries.succeeded()
		l.answer(jobs, outcomes)
		return
	}
	l.tries.failed(err)
	var broken *brokenError
	switch {
	case errors.As(err, &broken) && len(jobs) == 1:
		l.engine.log.Error("a charging rule broke; nothing of the request happened",
			"session", jobs[0].step.SessionID, "number", jobs[0].key.Number, "err", err, "stack", broken.stack)
		l.refuse(jobs, Internal)
	case errors.Is(err, ErrOutcomeUnknown), len(jobs) == 1, l.tries.over():
		if errors.Is(err, ErrLocked) {
			l.tries.locked = jobs[0].payer
		}
		l.engine.log.Error("transaction failed; the requests are answered as unavailable",
			"lane", l.index, "steps", len(jobs), "err", err)
		l.refuse(jobs, Unavailable)
	case errors.Is(err, ErrLocked):
		l.setApart(ctx, jobs)
	default:
		half := len(jobs) / 2
		l.carryOut(ctx, jobs[:half])
		l.carryOut(ctx, jobs[half:])
	}
}

// setApart carries out jobs of which one has waited for a lock in vain: each alone, until
// that one has shown itself. The other steps of its account would only wait as long, and
// are refused; all the rest goes together again.
func (l *lane) setApart(ctx context.Context, jobs []*job) {
	for i, j := range jobs {
		l.tries.locked = AccountKey{}
		l.carryOut(ctx, jobs[i:i+1])
		if l.tries.locked == (AccountKey{}) {
			continue
		}
		var same, rest []*job
		for _, other := range jobs[i+1:] {
			if other.payer == j.payer {
				same = append(same, other)
			} else {
				rest = append(rest, other)
			}
		}
		l.refuse(same, Unavailable)
		if len(rest) > 0 {
			l.carryOut(ctx, rest)
		}
		return
	}
}

// refuseWaiting answers what has waited while the database could not be used: trying it
// would keep the last of it waiting for as long as there are batches before it.
func (l *lane) refuseWaiting(batch []*job) {
	for _, s := range l.taken {
		for left := len(s.queue); left > 0; {
			batch = drain(s.queue, batch[:0], min(left, l.engine.config.BatchMax))
			left -= len(batch)
			l.engine.waiting.Add(-int64(len(batch)))
			l.refuse(batch, Unavailable)
			clear(batch)
		}
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
		l.engine.resolver.mistaken(j, outcomes[i].Refusal)
		j.done(outcomes[i])
	}
}

// refuse answers every job alike: nothing of them is known to have happened.
func (l *lane) refuse(jobs []*job, r Refusal) {
	for _, j := range jobs {
		l.engine.resolver.mistaken(j, r)
		l.engine.answerNow(j, r)
	}
}
