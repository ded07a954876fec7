package ocs

import (
	"context"
	"testing"
	"time"
)

type nowhere struct{ Store }

func (nowhere) Transact(_ context.Context, _ int, want []Want, decide func(*WorkingSet)) error {
	decide(&WorkingSet{Now: time.Now()})
	return nil
}

// A step that comes between a look in vain and await.
func TestNoLostWakeUp(t *testing.T) {
	e := NewEngine(nowhere{}, func() *Tariff { return &Tariff{} }, EngineConfig{Lanes: 1, Sweep: -1})
	l := e.lanes[0]
	l.pace.saw(20, 0)
	batch := make([]*job, 0, 8)
	l.gather() // nothing comes, patience ends; enough is still 10
	if l.round(t.Context(), batch) {
		t.Fatal("something waited")
	}
	answered := make(chan struct{})
	s := &Step{SessionID: "s", Type: Update, Number: 1}
	e.dispatch(&job{request: request{step: s, key: s.Key()}, done: func(Outcome) { close(answered) }})
	go func() {
		for l.await() {
			for l.round(context.Background(), batch) && l.goesOn() {
			}
		}
	}()
	select {
	case <-answered:
	case <-time.After(2 * time.Second):
		t.Error("the step waits for ever: nobody was woken")
	}
	close(e.last)
}
