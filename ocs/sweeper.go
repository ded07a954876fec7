package ocs

import (
	"context"
	"slices"
	"sync"
	"time"
)

// The sweeper's limits.
const (
	// SweepMax bounds the sessions ended in one look; when there are more, the
	// next look follows at once.
	SweepMax = 256
	// sweepSkipMax bounds the sessions left out because they could not be ended.
	// With more than that something is wrong with all of them, and leaving them out
	// would help nobody.
	sweepSkipMax = 4096
	// sweepRetry is how long a session that could not be ended is left out.
	sweepRetry = 10 * time.Second
)

// sweeper ends the sessions that nobody else ends.
type sweeper struct {
	mu      sync.Mutex   // one look at a time
	skip    []SessionRef // could not be ended: they must not keep others from their turn
	since   time.Time    // of the first of skip
	failing bool         // the store cannot be asked, and it was told so
}

// sweep looks for such sessions until ctx ends.
func (e *Engine) sweep(ctx context.Context) {
	if e.config.Sweep < 0 {
		return
	}
	tick := time.NewTicker(e.config.Sweep)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for e.Sweep(ctx) == SweepMax && ctx.Err() == nil {
			}
		}
	}
}

// Sweep ends up to SweepMax sessions whose supervision time is over, or whose
// client has lost them, and gives their freezes back. It returns how many it
// ended, when that is done. A running engine does it every EngineConfig.Sweep: by
// steps in the lanes like any client, against the database's clock, so that any
// node may do it and exactly one of report and expiry wins.
func (e *Engine) Sweep(ctx context.Context) int {
	s := &e.sweeper
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.since) >= sweepRetry || len(s.skip) >= sweepSkipMax {
		s.skip = nil
	}
	list, err := e.store.Expired(ctx, SweepMax, s.skip)
	if ctx.Err() == nil {
		e.tellSweep(err)
	}
	if err != nil {
		return 0
	}
	outcomes := e.expireAll(list)
	ended := 0
	for i := range outcomes {
		switch o := &outcomes[i]; {
		case o.ended:
			ended++
		case o.Refusal != Busy && (o.Refusal != "" || list[i].Restarted != 0):
			s.leaveOut(SessionRef{list[i].Step.Session, list[i].Step.SubSession})
		}
	}
	if ended > 0 {
		e.log.Info("sessions ended that nobody would end, their freezes given back", "sessions", ended)
	}
	return ended
}

// expireAll carries out the steps that end sessions, and waits for all.
func (e *Engine) expireAll(list []Expiry) []Outcome {
	outcomes := make([]Outcome, len(list))
	var wait sync.WaitGroup
	wait.Add(len(list))
	for i, x := range list {
		e.resolver.submit(x.job(func(o Outcome) {
			outcomes[i] = o
			wait.Done()
		}))
	}
	wait.Wait()
	return outcomes
}

// leaveOut skips a session for sweepRetry.
func (s *sweeper) leaveOut(ref SessionRef) {
	if len(s.skip) == 0 {
		s.since = time.Now()
	}
	if !slices.Contains(s.skip, ref) {
		s.skip = append(s.skip, ref)
	}
}

// tellSweep says once that sessions cannot be looked up, and once that they can
// again: the database may be away for long.
func (e *Engine) tellSweep(err error) {
	switch failing := err != nil; {
	case failing && !e.sweeper.failing:
		e.log.Error("expired sessions cannot be looked up; their freezes stay until they can", "err", err)
	case !failing && e.sweeper.failing:
		e.log.Info("expired sessions are looked up again")
	}
	e.sweeper.failing = err != nil
}

// job is the step that ends the session.
func (x Expiry) job(done func(Outcome)) *job {
	key := x.Step
	key.Type, key.Number = Expire, 0
	step := &Step{Type: Expire, SubSession: key.SubSession, Verbs: VerbsOf(Expire, 0)}
	r := request{step: step, key: key, payer: x.Account, restarted: x.Restarted, host: x.Host}
	return &job{request: r, done: done, taken: time.Now()}
}
