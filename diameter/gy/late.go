package gy

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/ocs"
	"gygate/vpnlogic"
)

// reportDelays are the pauses before each try of an unanswered final
// interrogation: three tries over ten minutes (conformance C-029), the first
// soon, because most outages are short.
var reportDelays = [...]time.Duration{30 * time.Second, 150 * time.Second, 420 * time.Second}

const (
	// eventPause is between the tries of an event when those of a report are
	// used up: a refund or debit is owed however long the outage lasts (C-083).
	eventPause = 10 * time.Minute
	// eventLife ends them: a server remembers an event for 24 h (B-024), and one
	// that has forgotten it would move the money a second time.
	eventLife = 23 * time.Hour
)

// late repeats requests that carry money in the background, each on a goroutine
// of its own; max bounds them.
type late struct {
	max     int
	try     func(ctx context.Context, k *Kept, avoid string) bool
	journal *journal
	logger  *slog.Logger

	hurry chan struct{}   // closed by shutdown: no more pauses
	tries context.Context // ends all tries, when the deadline of shutdown passes
	abort context.CancelFunc
	room  chan struct{} // one token for each request

	mu     sync.Mutex
	closed bool
	lost   int    // after shutdown began
	cut    []Kept // short by shutdown, at most max
	group  sync.WaitGroup
}

func newLate(limit int, try func(context.Context, *Kept, string) bool, journal *journal, logger *slog.Logger) *late {
	tries, abort := context.WithCancel(context.Background())
	return &late{max: limit, try: try, journal: journal, logger: logger,
		hurry: make(chan struct{}), tries: tries, abort: abort, room: make(chan struct{}, limit)}
}

// add takes a request over. ctx gives its trace only. When there is no room, or
// no time any more, the request is lost unless it is kept for the next start, and
// the log says what it was worth; false then.
func (l *late) add(ctx context.Context, k Kept) bool {
	return l.accept(k, func() {
		l.start(ctx, k, func(ctx context.Context, k *Kept) outcomeLate { return l.run(ctx, k, reportDelays[0]) })
	})
}

// addWaiting takes over a request whose answer is still waited for; stop ends
// that wait. Without an answer it goes to another server at once, and then as
// others do.
func (l *late) addWaiting(ctx context.Context, k Kept, replies <-chan reply, stop context.CancelFunc) bool {
	accepted := l.accept(k, func() {
		l.start(ctx, k, func(ctx context.Context, k *Kept) outcomeLate {
			defer stop()
			went := ""
			select {
			case r := <-replies:
				if r.err == nil && settles(r.answer) {
					return delivered
				}
				k.note(r.again())
				went = r.went
			case <-l.hurry:
			}
			if l.try(ctx, k, went) {
				return delivered
			}
			return l.run(ctx, k, reportDelays[0])
		})
	})
	if !accepted {
		stop()
	}
	return accepted
}

// accept starts a request if there is room for it.
func (l *late) accept(k Kept, start func()) bool {
	l.journal.keep(k)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		select {
		case l.room <- struct{}{}:
			start()
			return true
		default:
		}
	}
	l.drop(&k, "no room to keep it")
	return false
}

// start is called with the lock held and a token taken.
func (l *late) start(ctx context.Context, k Kept, run func(context.Context, *Kept) outcomeLate) {
	l.group.Go(func() {
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		defer context.AfterFunc(l.tries, cancel)()
		l.done(&k, run(ctx, &k))
	})
}

// outcome of the repetitions of a request.
type outcomeLate uint8

const (
	delivered outcomeLate = iota
	givenUp               // the tries are used up
	cutShort              // by shutdown
)

// run tries until an answer comes or the tries are used up.
func (l *late) run(ctx context.Context, k *Kept, first time.Duration) outcomeLate {
	event := k.kind() == ocs.Event
	for i := 0; ; i++ {
		delay, more := nextTry(i, event, time.Since(k.Since))
		if i == 0 {
			delay = first
		}
		if !more {
			return givenUp
		}
		last := l.pause(delay)
		if l.deliver(ctx, k) {
			return delivered
		}
		if last {
			return cutShort
		}
	}
}

// nextTry is the pause before the i-th try, false when there is none.
func nextTry(i int, event bool, age time.Duration) (time.Duration, bool) {
	switch {
	case i < len(reportDelays):
		return reportDelays[i], !event || age+reportDelays[i] < eventLife
	case event:
		return eventPause, age+eventPause < eventLife
	}
	return 0, false
}

// deliver sends what is left, in order; true when all of it was answered.
func (l *late) deliver(ctx context.Context, k *Kept) bool {
	for l.try(ctx, k, "") {
		if len(k.Requests) == 1 {
			return true
		}
		k.Requests = k.Requests[1:]
		l.journal.keep(*k)
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

func (l *late) done(k *Kept, how outcomeLate) {
	<-l.room
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case how == delivered:
		l.journal.drop(k.Session)
	case how == cutShort && l.journal != nil:
		l.cut = append(l.cut, *k)
	default:
		l.journal.drop(k.Session)
		l.drop(k, "no charging system answered")
	}
}

// drop is called with the lock held.
func (l *late) drop(k *Kept, why string) {
	l.lost++
	o := outgoingKept(k)
	text := "final charging report is lost; the charging system ends the session by itself, without these seconds"
	if o.kind == ocs.Event {
		text = "one-time charging event is lost; correct the account by hand"
	}
	l.logger.Error(text, "session", k.Session, "number", o.number, "used_s", k.usedSeconds(), "err", why)
}

// usedSeconds is the use that is lost with the requests.
func (k *Kept) usedSeconds() (sum uint32) {
	for _, raw := range k.Requests {
		sum += usedSeconds(raw)
	}
	return sum
}

// usedSeconds is the use that a request reports.
func usedSeconds(raw []byte) (sum uint32) {
	m, _ := diameter.ParseMessage(raw) // a damaged one reports nothing
	ccr, fault := ParseCCR(m)
	if fault != nil {
		return 0
	}
	for _, s := range ccr.Services {
		for _, u := range s.Used {
			sum += u.Time.Value
		}
	}
	return sum
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
		return fmt.Errorf("%d charging requests had no answer at shutdown", l.lost)
	}
	return nil
}

// tellCut says what has become of the requests that shutdown cut short, when the
// journal has been written for the last time.
func (l *late) tellCut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.cut {
		k := &l.cut[i]
		if !l.journal.unwritten(k.Session) {
			l.logger.Info("charging request waits for the next start", "session", k.Session)
			continue
		}
		l.logger.Error("charging request is lost unless an earlier write to the charging journal has kept it: look for its session at the charging system",
			"session", k.Session, "number", outgoingKept(k).number, "used_s", k.usedSeconds())
	}
	l.cut = nil
}

// deliver sends the first kept request again; true ends its repetition, because
// somebody answered.
func (c *Client) deliver(ctx context.Context, k *Kept, avoid string) bool {
	o := outgoingKept(k)
	o.avoid = avoid
	got, err := c.send(ctx, o)
	k.note(repeat{sent: o.again.sent || sent(err), endToEnd: got.EndToEnd})
	return err == nil && settles(got)
}

// settles reports whether an answer ends the repetition: everything but a temporary
// failure does.
func settles(a peer.Answer) bool {
	return meaning(a.Message.ResultCode()) != vpnlogic.ChargeUnreachable
}
