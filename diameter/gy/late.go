package gy

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// lateDelays are the pauses before each try of an unanswered final
// interrogation: three tries over ten minutes (conformance C-029), the first
// soon, because most outages are short.
var lateDelays = [...]time.Duration{30 * time.Second, 150 * time.Second, 420 * time.Second}

// late repeats final interrogations in the background, each on a goroutine of
// its own; max bounds them.
type late struct {
	max    int
	try    func(context.Context, *CCR, session, *repeat) bool
	logger *slog.Logger

	hurry chan struct{}   // closed by shutdown: no more pauses
	tries context.Context // ends all tries, when the deadline of shutdown passes
	abort context.CancelFunc

	mu      sync.Mutex
	closed  bool
	waiting int
	lost    int // after shutdown began
	group   sync.WaitGroup
}

func newLate(limit int, try func(context.Context, *CCR, session, *repeat) bool, logger *slog.Logger) *late {
	tries, abort := context.WithCancel(context.Background())
	return &late{max: limit, try: try, logger: logger, hurry: make(chan struct{}), tries: tries, abort: abort}
}

// add takes a request over. ctx gives its trace only. When there is no room, or
// no time any more, the report is lost and the log says what it was worth.
func (l *late) add(ctx context.Context, ccr *CCR, s session, again repeat) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.waiting >= l.max {
		l.drop(ccr, "no room to keep it")
		return
	}
	l.waiting++
	l.group.Go(func() {
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		defer context.AfterFunc(l.tries, cancel)()
		l.done(ccr, l.run(ctx, ccr, s, &again))
	})
}

// run tries until an answer comes or the tries are used up.
func (l *late) run(ctx context.Context, ccr *CCR, s session, again *repeat) bool {
	for _, delay := range lateDelays {
		last := l.pause(delay)
		if l.try(ctx, ccr, s, again) {
			return true
		}
		if last {
			return false
		}
	}
	return false
}

// pause waits; true means that shutdown cut it short.
func (l *late) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return false
	case <-l.hurry:
		return true
	}
}

func (l *late) done(ccr *CCR, answered bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting--
	if !answered {
		l.drop(ccr, "no charging system answered")
	}
}

// drop is called with the lock held.
func (l *late) drop(ccr *CCR, why string) {
	l.lost++
	used := uint32(0)
	if len(ccr.Services) > 0 && len(ccr.Services[0].Used) > 0 {
		used = ccr.Services[0].Used[0].Time.Value
	}
	l.logger.Error("final charging report is lost; the charging system ends the session by itself, without these seconds",
		"session", ccr.SessionID, "number", ccr.Number, "used_s", used, "err", why)
}

func (l *late) shutdown(ctx context.Context) error {
	l.mu.Lock()
	if !l.closed {
		l.closed, l.lost = true, 0
		close(l.hurry)
	}
	l.mu.Unlock()

	finished := make(chan struct{})
	go func() {
		l.group.Wait()
		close(finished)
	}()
	select {
	case <-finished:
	case <-ctx.Done():
		l.abort()
		<-finished
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost > 0 {
		return fmt.Errorf("%d final charging reports had no answer at shutdown", l.lost)
	}
	return nil
}
