package vpnlogic

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// Defaults and limits of a Service.
const (
	// CallsMaxDefault bounds calls in all states, also those whose charging
	// is still being settled: each is a goroutine and some kilobytes.
	CallsMaxDefault = 10_000
	// emergencyHeadroom is how many emergency calls are served beyond CallsMax.
	emergencyHeadroom = 1_000
	// CallMaxDefault is the hard limit of one call's length.
	CallMaxDefault = 12 * time.Hour
	// SetUpMaxDefault is how long a called party may ring (ITU-T Q.118 §4.3.1
	// gives two to four minutes).
	SetUpMaxDefault = 3 * time.Minute
	// RequestLifeDefault is the request timeout of RFC 8506 §13.
	RequestLifeDefault = 2 * time.Minute
	// ChargeMaxDefault is when a Charger that outlives its own Tx is taken for
	// dead, so that no caller is left ringing.
	ChargeMaxDefault = 30 * time.Second
	// textMax bounds the strings taken over from signalling.
	textMax = 255
)

// ServiceConfig is what a Service needs. Directory and Charger are required;
// zero limits take the defaults.
type ServiceConfig struct {
	Directory func() *Directory // the snapshot in force
	Charger   Charger
	Recorder  Recorder // nil: records only go to the Observer
	Observer  Observer // nil: nobody watches
	Logger    *slog.Logger

	CallsMax    int
	CallMax     time.Duration
	SetUpMax    time.Duration
	RequestLife time.Duration
	ChargeMax   time.Duration
	RecordsMax  int // call records waiting to be written
}

func (c ServiceConfig) withDefaults() ServiceConfig {
	fill(&c.CallsMax, CallsMaxDefault)
	fill(&c.CallMax, CallMaxDefault)
	fill(&c.SetUpMax, SetUpMaxDefault)
	fill(&c.RequestLife, RequestLifeDefault)
	fill(&c.ChargeMax, ChargeMaxDefault)
	fill(&c.RecordsMax, RecordsMaxDefault)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func fill[T int | time.Duration](value *T, fallback T) {
	if *value == 0 {
		*value = fallback
	}
}

// Service runs the calls: one goroutine a call owns its machine, its one timer
// and its I/O. All methods are safe for any number of goroutines.
type Service struct {
	config  ServiceConfig
	metrics *metrics
	records *recordWriter

	mu       sync.Mutex
	calls    map[*Call]struct{}
	charged  map[trigger]*Call // calls under credit control, by their triggers
	sessions map[string]*Call  // the same by Session-Id
	closing  bool
	drained  chan struct{} // closed when closing and no call is left
}

// trigger identifies a call to the guard against a second prepaid service: the
// same call comes back with the same charging identity and calling number.
type trigger struct{ id, calling string }

// NewService returns a running Service; Shutdown ends it.
func NewService(config ServiceConfig) *Service {
	config = config.withDefaults()
	s := &Service{
		config:   config,
		metrics:  newMetrics(),
		calls:    make(map[*Call]struct{}),
		charged:  make(map[trigger]*Call),
		sessions: make(map[string]*Call),
		drained:  make(chan struct{}),
	}
	s.records = newRecordWriter(config.Recorder, config.RecordsMax, config.Logger, s.metrics)
	return s
}

// Begin starts a call attempt and returns at once. The leg's methods are
// called from then on, possibly before Begin has returned: Connect at most
// once, Release exactly once. A nil Call means that the attempt is refused
// with the Cause and the leg will not be called. The call lives on when ctx is
// cancelled; of ctx only the trace is taken.
func (s *Service) Begin(ctx context.Context, a Attempt, leg Leg) (*Call, *Cause) {
	a = sanitise(a)
	ctx = context.WithoutCancel(ctx)
	c := newCall(ctx, s, a, leg)
	if cause := s.admit(c); cause != nil {
		c.refuseAtOnce(*cause)
		return nil, cause
	}
	go c.run()
	return c, nil
}

// admit takes the call in, or says why not. An emergency call is refused only
// by a gateway that stops, or beyond the headroom.
func (s *Service) admit(c *Call) *Cause {
	limit := s.config.CallsMax
	if s.config.Directory().Emergency(c.attempt) {
		limit += emergencyHeadroom
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closing:
		return refuse(ReasonShutdown)
	case len(s.calls) >= limit:
		return refuse(ReasonOverload)
	}
	s.calls[c] = struct{}{}
	return nil
}

// newSession draws the call's Session-Id, under which the charging system may ask
// for the call from now on.
func (s *Service) newSession(c *Call) string {
	id := s.config.Charger.NewSession(c.ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions[id], c.session = c, id
	return id
}

// leave takes a finished call out, and answers what the charging system asked too
// late.
func (s *Service) leave(c *Call) {
	s.remove(c)
	for _, e := range c.held {
		unheard(e.event)
	}
	for {
		select {
		case e := <-c.events:
			unheard(e.event)
		default:
			return
		}
	}
}

func (s *Service) remove(c *Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range c.triggers() {
		if s.charged[t] == c {
			delete(s.charged, t)
		}
	}
	delete(s.sessions, c.session)
	delete(s.calls, c)
	if s.closing && len(s.calls) == 0 {
		close(s.drained)
	}
}

// claim marks the call as charged here, unless the same call already is: then
// a second trigger has fired for it.
func (s *Service) claim(c *Call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	triggers := c.triggers()
	for _, t := range triggers {
		if s.charged[t] != nil {
			return false
		}
	}
	for _, t := range triggers {
		s.charged[t] = c
	}
	return true
}

// Active returns the number of calls, with those being settled.
func (s *Service) Active() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}

// Shutdown refuses new calls, releases all others and waits until their last
// charging request is answered and their records are written, or until ctx
// ends; its error then says what was left behind.
func (s *Service) Shutdown(ctx context.Context) error {
	s.stopCalls()
	var left error
	select {
	case <-s.drained:
	case <-ctx.Done():
		left = fmt.Errorf("vpnlogic: %d calls not settled: %w", s.Active(), ctx.Err())
	}
	return errors.Join(left, s.records.close(ctx))
}

func (s *Service) stopCalls() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return
	}
	s.closing = true
	if len(s.calls) == 0 {
		close(s.drained)
	}
	for c := range s.calls {
		c.post(time.Now(), disconnect{by: byService, cause: CauseOf(ReasonShutdown), hurry: true}, &c.stopped)
	}
}

// sanitise bounds what signalling delivered, so that no byte of it can be
// refused by the database or spoil a log.
func sanitise(a Attempt) Attempt {
	a.CallID = printable(a.CallID)
	a.ICID = printable(a.ICID)
	a.Calling = printable(a.Calling)
	a.Dialled = printable(a.Dialled)
	a.OrigIOI = printable(a.OrigIOI)
	a.TermIOI = printable(a.TermIOI)
	if a.At.IsZero() {
		a.At = time.Now()
	}
	return a
}

func printable(s string) string {
	if len(s) > textMax {
		s = s[:textMax]
	}
	return strings.Map(func(r rune) rune {
		if isControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}

// traceID is the trace of the call, for its record and the logs.
func traceID(ctx context.Context) string {
	if sc := trace.SpanContextFromContext(ctx); sc.HasTraceID() {
		return sc.TraceID().String()
	}
	return ""
}
