package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// part is one running piece of a gygate.
type part struct {
	name string
	// run serves until its context ends.
	run func(context.Context) error
	// stop, when set, asks for an orderly end before run's context ends.
	stop func(context.Context) error
}

// parts runs pieces in the order in which they depend on each other, and ends
// them in the reverse order, each one completely before the next: calls are
// released while charging still answers, charging ends while the database is
// still there.
type parts struct {
	list   []part
	grace  time.Duration // for the stop of one part
	logger *slog.Logger
}

func (p *parts) add(one part) { p.list = append(p.list, one) }

// run returns when ctx has ended, or a part has, and all parts are down. It
// returns what went wrong; the end of ctx is no error.
func (p *parts) run(ctx context.Context) error {
	ended := make(chan error, len(p.list))
	running := make([]*runningPart, 0, len(p.list))
	for _, one := range p.list {
		running = append(running, startPart(one, ended))
	}
	var first error
	select {
	case <-ctx.Done():
		p.logger.Info("stopping")
	case first = <-ended:
	}
	errs := []error{first}
	for i := len(running) - 1; i >= 0; i-- {
		errs = append(errs, running[i].end(p.grace))
	}
	return errors.Join(errs...)
}

type runningPart struct {
	part
	cancel context.CancelFunc
	done   chan struct{}
}

// startPart runs a part under a context of its own, so that the end of the
// process's context does not reach all parts at the same moment.
func startPart(one part, ended chan<- error) *runningPart {
	ctx, cancel := context.WithCancel(context.Background())
	r := &runningPart{part: one, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		err := one.run(ctx)
		switch {
		case err != nil && !errors.Is(err, context.Canceled):
			ended <- fmt.Errorf("%s: %w", one.name, err)
		case ctx.Err() == nil:
			ended <- nil // it ended by itself, for example after stop
		}
	}()
	return r
}

// end stops the part and waits for it.
func (r *runningPart) end(grace time.Duration) error {
	defer r.cancel()
	var err error
	if r.stop != nil {
		ctx, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		if err = r.stop(ctx); err != nil {
			err = fmt.Errorf("stop %s: %w", r.name, err)
		}
	}
	r.cancel()
	<-r.done
	return err
}
