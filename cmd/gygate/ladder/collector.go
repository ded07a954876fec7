// Package ladder shows one call as a person reads it: who sent what to whom and
// when, what each charging step did to the money, and whether it adds up.
//
// A [Collector] observes calls as they happen; a [Call] joins what it saw with
// the rows of the journal; [Call.Write] draws, [Call.Sum] counts.
package ladder

import (
	"context"
	"fmt"
	"sync"

	"gygate/vpnlogic"
)

// Limits of a Collector, so that a busy gateway cannot fill its memory with
// ladders nobody asked for.
const (
	callsKept  = 64  // the oldest call makes room
	eventsKept = 512 // of one call; a day-long call keeps its beginning
)

// Collector keeps the events of the last calls. It is a vpnlogic.Observer.
type Collector struct {
	mu    sync.Mutex
	calls map[string]*collected
	order []string // Call-IDs, oldest first
}

type collected struct {
	events []vpnlogic.CallEvent
	done   chan struct{} // closed by the call record
}

// NewCollector returns an empty collector.
func NewCollector() *Collector {
	return &Collector{calls: map[string]*collected{}}
}

// Observe keeps one event.
func (c *Collector) Observe(e vpnlogic.CallEvent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	call := c.call(e.CallID)
	if len(call.events) < eventsKept || e.Record != nil {
		call.events = append(call.events, e)
	}
	if e.Record != nil && !closed(call.done) {
		close(call.done)
	}
}

func (c *Collector) call(id string) *collected {
	if call := c.calls[id]; call != nil {
		return call
	}
	if len(c.order) == callsKept {
		delete(c.calls, c.order[0])
		c.order = c.order[1:]
	}
	call := &collected{done: make(chan struct{})}
	c.calls[id] = call
	c.order = append(c.order, id)
	return call
}

// Wait returns the events of a call when its record was written, and its record.
func (c *Collector) Wait(ctx context.Context, callID string) ([]vpnlogic.CallEvent, *vpnlogic.CallRecord, error) {
	c.mu.Lock()
	call := c.call(callID)
	c.mu.Unlock()
	select {
	case <-call.done:
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("no record of call %s: %w", callID, ctx.Err())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	events := append([]vpnlogic.CallEvent(nil), call.events...)
	for _, e := range events {
		if e.Record != nil {
			return events, e.Record, nil
		}
	}
	return events, nil, fmt.Errorf("call %s ended without a record", callID)
}

func closed(ch chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
