package ocs

import (
	"context"
	"sync"
	"time"
)

// SweepMax bounds the sessions expired in one look; when there are more, the
// next look follows at once.
const SweepMax = 256

// sweep gives the freezes of silent sessions back, until ctx ends. It works by
// steps in the lanes like any client, against the database's clock, so that any
// node may do it and exactly one of report and expiry wins.
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
			for e.sweepOnce(ctx) == SweepMax && ctx.Err() == nil {
			}
		}
	}
}

// sweepOnce expires up to SweepMax sessions, waits until that is done, and
// returns how many it ended.
func (e *Engine) sweepOnce(ctx context.Context) int {
	wants, err := e.store.Expired(ctx, SweepMax)
	if ctx.Err() == nil {
		e.tellSweep(err)
	}
	if err != nil {
		return 0
	}
	var mu sync.Mutex
	var wait sync.WaitGroup
	ended := 0
	wait.Add(len(wants))
	for _, w := range wants {
		e.resolver.submit(e.expiry(w, func(o Outcome) {
			mu.Lock()
			if o.Refusal == "" {
				ended++
			}
			mu.Unlock()
			wait.Done()
		}))
	}
	wait.Wait()
	if ended > 0 {
		e.log.Info("silent sessions ended, their freezes given back", "sessions", ended)
	}
	return ended
}

// tellSweep says once that sessions cannot be looked up, and once that they can
// again: the database may be away for long.
func (e *Engine) tellSweep(err error) {
	switch failing := err != nil; {
	case failing && !e.sweepFailing:
		e.log.Error("expired sessions cannot be looked up; their freezes stay until they can", "err", err)
	case !failing && e.sweepFailing:
		e.log.Info("expired sessions are looked up again")
	}
	e.sweepFailing = err != nil
}

func (e *Engine) expiry(w Want, done func(Outcome)) *job {
	key := w.Step
	key.Type, key.Number = Expire, 0
	step := &Step{Type: Expire, SubSession: key.SubSession, Verbs: VerbsOf(Expire, 0)}
	return &job{request: request{step: step, key: key, payer: w.Account}, done: done, taken: time.Now()}
}
