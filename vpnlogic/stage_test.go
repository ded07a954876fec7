package vpnlogic

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeCharger answers by its function and keeps what it was asked.
type fakeCharger struct {
	mu       sync.Mutex
	requests []ChargeRequest
	sessions int
	answer   func(ChargeRequest) ChargeAnswer
	after    time.Duration // how long an answer takes
}

func (c *fakeCharger) NewSession(context.Context) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sessions++
	return fmt.Sprintf("vpn;1;%d", c.sessions)
}

func (c *fakeCharger) Charge(ctx context.Context, r ChargeRequest) ChargeAnswer {
	c.mu.Lock()
	c.requests = append(c.requests, r)
	c.mu.Unlock()
	select {
	case <-time.After(c.after):
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.answer(r)
	case <-ctx.Done():
		return ChargeAnswer{Result: ChargeUnreachable, SessionOpen: true}
	}
}

// drawn is how many Session-Ids were drawn.
func (c *fakeCharger) drawn() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sessions
}

// seen lists the requests as "I0 U1(50) T2(10)".
func (c *fakeCharger) seen() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var words []string
	for _, r := range c.requests {
		word := fmt.Sprintf("%s%d", r.Type, r.Number)
		if r.Type != ChargeInitial {
			word += fmt.Sprintf("(%d)", r.Used/time.Second)
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// granting grants the slice until limit seconds are used up, then a last one.
func granting(slice, limit time.Duration) func(ChargeRequest) ChargeAnswer {
	var used time.Duration
	return func(r ChargeRequest) ChargeAnswer {
		used += r.Used
		a := ChargeAnswer{Code: 2001, SessionOpen: true}
		if r.Type == ChargeTerminate {
			a.Cost, a.Currency, a.SessionOpen = fmt.Sprintf("%.2f", used.Seconds()/100), 156, false
			return a
		}
		a.Grant = Grant{Time: min(slice, limit-used), Threshold: 10 * time.Second}
		a.Grant.Final = used+slice >= limit
		return a
	}
}

// fakeLeg keeps what the service did to it, and does what it is told to.
type fakeLeg struct {
	mu        sync.Mutex
	connected []Destination
	released  []Cause
	at        []time.Time // of the releases
	onConnect func()
}

func (l *fakeLeg) Connect(d Destination) {
	l.mu.Lock()
	l.connected = append(l.connected, d)
	l.mu.Unlock()
	if l.onConnect != nil {
		l.onConnect()
	}
}

func (l *fakeLeg) Release(c Cause) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.released = append(l.released, c)
	l.at = append(l.at, time.Now())
}

// log returns what was done to the leg until now.
func (l *fakeLeg) log() legLog {
	l.mu.Lock()
	defer l.mu.Unlock()
	return legLog{slices.Clone(l.connected), slices.Clone(l.released), slices.Clone(l.at)}
}

type legLog struct {
	connected []Destination
	released  []Cause
	at        []time.Time
}

// fakeRecorder keeps records; fail says what goes wrong at the n-th try, refuses which
// call's record it never takes.
type fakeRecorder struct {
	mu      sync.Mutex
	records []CallRecord
	tries   int
	biggest int // the most records it was given at once
	fail    func(try int) error
	refuses string
}

func (r *fakeRecorder) Record(ctx context.Context, all ...CallRecord) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tries++
	if r.fail != nil {
		if err := r.fail(r.tries); err != nil {
			return err
		}
	}
	r.biggest = max(r.biggest, len(all))
	if slices.ContainsFunc(all, func(c CallRecord) bool { return r.refuses != "" && c.CallID == r.refuses }) {
		return ErrRecordRefused
	}
	r.records = append(r.records, all...)
	return nil
}

func (r *fakeRecorder) all() []CallRecord {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.records)
}

func (r *fakeRecorder) reasons() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var reasons []string
	for _, c := range r.records {
		reasons = append(reasons, c.Reason)
	}
	slices.Sort(reasons)
	return reasons
}

// fakeObserver keeps the ladder.
type fakeObserver struct {
	mu     sync.Mutex
	events []CallEvent
}

func (o *fakeObserver) Observe(e CallEvent) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = append(o.events, e)
}

func (o *fakeObserver) ladder() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var b strings.Builder
	for _, e := range o.events {
		fmt.Fprintf(&b, "%s > %s: %s\n", e.From, e.To, e.Text)
	}
	return b.String()
}

// stage is a service with fakes around it, inside a synctest bubble.
type stage struct {
	*Service
	t        *testing.T
	charger  *fakeCharger
	recorder *fakeRecorder
	observer *fakeObserver
}

// onStage runs the test in a bubble and shuts the service down after it.
func onStage(t *testing.T, config ServiceConfig, charger *fakeCharger, test func(*stage)) {
	directory := testDirectory(t)
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, charger: charger, recorder: &fakeRecorder{}, observer: &fakeObserver{}}
		config.Directory = func() *Directory { return directory }
		config.Charger, config.Observer = charger, s.observer
		if config.Recorder == nil {
			config.Recorder = s.recorder
		}
		s.Service = NewService(config)
		test(s)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if n := s.Active(); n != 0 {
			t.Errorf("%d calls left", n)
		}
	})
}

func (s *stage) begin(a Attempt) (*Call, *fakeLeg) {
	s.t.Helper()
	leg := &fakeLeg{}
	call, cause := s.Begin(s.t.Context(), a, leg)
	if cause != nil {
		s.t.Fatalf("refused at once: %v", cause)
	}
	synctest.Wait()
	return call, leg
}

// record returns the only record, after everything has settled.
func (s *stage) record() CallRecord {
	s.t.Helper()
	synctest.Wait()
	records := s.recorder.all()
	if len(records) != 1 {
		s.t.Fatalf("%d call records, want 1", len(records))
	}
	return records[0]
}

var prepaidAttempt = Attempt{CallID: "call-1", ICID: "icid-1", Calling: "+8613800000001", Dialled: "6002"}
