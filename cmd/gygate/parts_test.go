package main

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"
)

// events notes what happens, in order.
type events struct {
	mu   sync.Mutex
	list []string
}

func (e *events) add(s string) {
	e.mu.Lock()
	e.list = append(e.list, s)
	e.mu.Unlock()
}

func (e *events) part(name string) part {
	return part{name: name, run: func(ctx context.Context) error {
		<-ctx.Done()
		e.add(name + " ended")
		return ctx.Err()
	}}
}

func newParts(list ...part) *parts {
	return &parts{list: list, grace: time.Minute, logger: slog.New(slog.DiscardHandler)}
}

func TestPartsEndInReverseOrder(t *testing.T) {
	var e events
	second := e.part("second")
	second.stop = func(context.Context) error { e.add("second stops"); return nil }
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newParts(e.part("first"), second, e.part("third")).run(ctx); err != nil {
		t.Fatal(err)
	}
	if want := []string{"third ended", "second stops", "second ended", "first ended"}; !slices.Equal(e.list, want) {
		t.Errorf("got %q, want %q", e.list, want)
	}
}

func TestPartsEndWhenOneFails(t *testing.T) {
	var e events
	broken := errors.New("broken")
	err := newParts(e.part("first"), part{name: "bad", run: func(context.Context) error { return broken }}).run(t.Context())
	if !errors.Is(err, broken) || err.Error() != "bad: broken" {
		t.Errorf("got %v", err)
	}
	if !slices.Equal(e.list, []string{"first ended"}) {
		t.Errorf("got %q", e.list)
	}
}

func TestPartsTellWhatDidNotStop(t *testing.T) {
	var e events
	stuck := e.part("stuck")
	stuck.stop = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	p := newParts(stuck)
	p.grace = time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
