package vpnlogic

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
)

const (
	// connectedMax bounds the changes of the connected party that wait; the legs
	// change one at a time, each in a transaction of its own.
	connectedMax = 4
	// eventsMax is the room for a call's waiting events. Each other kind may wait
	// once (ringing, answer, the answering network, one hang-up a side, loss, stop,
	// an answer of the Charger, an abortion), so it is never full.
	eventsMax = 9 + connectedMax + asksMax
)

// Call is one call being served. Its methods tell what happened to the legs;
// they never block, may be called from any goroutine, and what comes twice or
// too late is ignored.
type Call struct {
	service *Service
	machine *machine
	leg     Leg
	attempt Attempt
	ctx     context.Context // of the call's span, never cancelled
	session string          // Session-Id, "" while or when it is not charged
	span    trace.Span
	events  chan stamped

	rang, wasAnswered, placed, callerGone, calledGone, lost, stopped, aborted atomic.Bool

	connecting  atomic.Int32 // changes of the connected party that wait
	asking      atomic.Int32 // questions of the charging system that wait
	answeredAsk bool         // the one being heard is answered

	answer answerGate
	held   []stamped // events put off until an answer was through
}

// answerGate lets an answer and a release that meet come one after the other: what
// the caller is told is what is charged.
type answerGate struct {
	mu       sync.Mutex
	open     bool // an answer is on its way to the caller
	released bool
}

// stamped is an event with the time at which it happened, which may be a while
// before it is its turn.
type stamped struct {
	at    time.Time
	event event
}

func newCall(ctx context.Context, s *Service, a Attempt, leg Leg) *Call {
	c := &Call{service: s, attempt: a, leg: leg, events: make(chan stamped, eventsMax)}
	c.machine = newMachine(rand.Text(), a, limits{
		callMax: s.config.CallMax, setUpMax: s.config.SetUpMax, requestLife: s.config.RequestLife,
	})
	c.ctx, c.span = startCallSpan(ctx, a)
	return c
}

// Ringing tells that the called party is alerted, with the provisional status
// that said so. Only the first counts.
func (c *Call) Ringing(at time.Time, status int) { c.post(at, ringing{status}, &c.rang) }

// Answering asks leave to pass the called party's answer on to the caller. After
// true the call is not released before Answered, Cancelled, HungUp or Lost has told
// what came of it, and one of them must follow at once. After false the call is being
// released, and the caller must not be told of an answer.
func (c *Call) Answering() bool {
	c.answer.mu.Lock()
	defer c.answer.mu.Unlock()
	if c.answer.released {
		return false
	}
	c.answer.open = true
	return true
}

// Answered tells that the called party answered: the charging clock starts.
// The time must be of time.Now, whose monotonic reading meters the call.
func (c *Call) Answered(at time.Time) { c.post(at, answered{}, &c.wasAnswered) }

// AnsweredBy tells the operator's network that serves the called party, as the
// answer names it (Terminating-IOI); it comes before Answered.
func (c *Call) AnsweredBy(at time.Time, ioi string) {
	c.post(at, operator{printable(ioi)}, &c.placed)
}

// Connected tells who is connected to the caller now, by the trusted number that
// the called side asserts: in its answer, or later when the call was transferred. A
// number that cannot be read changes nothing.
func (c *Call) Connected(at time.Time, number string) {
	if c.connecting.Add(1) > connectedMax {
		c.connecting.Add(-1)
		c.service.config.Logger.Warn("change of the connected party not noted: too many at once",
			slog.String("call_id", c.attempt.CallID), slog.String("number", Mask(number)))
		return
	}
	c.events <- stamped{at, asserted{printable(number)}}
}

// Failed tells that the called leg could not be set up; see CauseFromStatus.
func (c *Call) Failed(at time.Time, cause Cause) {
	if cause.Reason == "" {
		cause = CauseOf(ReasonRejected)
	}
	c.post(at, disconnect{by: PartyCalled, cause: cause}, &c.calledGone)
}

// Cancelled tells that the caller gave up before the answer.
func (c *Call) Cancelled(at time.Time) { c.HungUp(at, PartyCaller) }

// HungUp tells that a party hung up.
func (c *Call) HungUp(at time.Time, by Party) {
	once := &c.callerGone
	if by == PartyCalled {
		once = &c.calledGone
	}
	c.post(at, disconnect{by: by}, once)
}

// Lost tells that a leg died without a word: its session timer ran out, or it
// does not answer any more.
func (c *Call) Lost(at time.Time) {
	c.post(at, disconnect{by: byService, cause: CauseOf(ReasonLinkLost)}, &c.lost)
}

func (c *Call) post(at time.Time, e event, once *atomic.Bool) {
	if !once.Swap(true) {
		c.events <- stamped{at, e}
	}
}

// run is the call's goroutine.
func (c *Call) run() {
	defer c.service.leave(c)
	defer c.rescue()
	c.service.metrics.active(c.ctx, 1)
	defer c.service.metrics.active(c.ctx, -1)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	c.handle(stamped{time.Now(), setUp{}})
	for !c.machine.finished {
		if len(c.held) > 0 {
			next := c.held[0]
			c.held = c.held[1:]
			c.take(next)
			continue
		}
		watch(timer, c.machine.timers.next())
		select {
		case e := <-c.events:
			c.take(e)
		case now := <-timer.C:
			c.handle(stamped{now, tick{}})
		}
	}
}

func watch(timer *time.Timer, deadline time.Time) {
	if deadline.IsZero() {
		timer.Stop()
		return
	}
	timer.Reset(time.Until(deadline))
}

// take hears one of the waiting events.
func (c *Call) take(e stamped) {
	switch event := e.event.(type) {
	case asserted:
		c.reconnect(e.at, event.number)
	case reauthorize, abort:
		c.hear(e)
	default:
		c.handle(e)
	}
}

// asserted is the number that the called side asserts; screening makes a
// connectedTo of it.
type asserted struct{ number string }

func (asserted) isEvent() {}

// reconnect screens the number that is connected now.
func (c *Call) reconnect(at time.Time, number string) {
	c.connecting.Add(-1)
	if p, ok := c.service.config.Directory().reclass(c.machine.route, number); ok {
		c.handle(stamped{at, connectedTo{p}})
	}
}

// step steps the machine. An answer that is on its way to the caller is waited for
// first, so that it is charged.
func (c *Call) step(e stamped) []action {
	c.answer.mu.Lock()
	for c.answer.open && !settlesAnswer(e.event) {
		c.answer.mu.Unlock()
		if next := <-c.events; settlesAnswer(next.event) {
			c.handle(next)
		} else {
			c.held = append(c.held, next)
		}
		e.at = time.Now() // what it does, it does only now
		c.answer.mu.Lock()
	}
	defer c.answer.mu.Unlock()
	c.answer.open = false
	out := c.machine.step(e.at, e.event)
	c.answer.released = c.machine.at == exception || c.machine.at == null
	return out
}

// settlesAnswer tells that an event says what came of an answer on its way.
func settlesAnswer(e event) bool {
	switch e := e.(type) {
	case answered:
		return true
	case disconnect:
		return !e.hurry // the gateway's own stop says nothing of the legs
	}
	return false
}

// handle steps the machine and does what it says. An action that panics is a
// fault of the gateway: the call is released with its cause, and what was
// charged is settled as always.
func (c *Call) handle(e stamped) {
	c.tellEvent(e)
	for _, a := range c.step(e) {
		if fault := c.perform(a); fault != nil {
			c.logFault(fault)
			c.handle(stamped{time.Now(), disconnect{by: byService, cause: CauseOf(ReasonInternal)}})
		}
	}
}

func (c *Call) perform(a action) (fault error) {
	defer func() {
		if p := recover(); p != nil {
			fault = fmt.Errorf("%T: %v\n%s", a, p, debug.Stack())
		}
	}()
	c.tellAction(a)
	switch a := a.(type) {
	case screenCall:
		c.screen()
	case connectLeg:
		c.leg.Connect(a.Destination)
	case releaseLeg:
		c.leg.Release(a.Cause)
	case sendRequest:
		c.charge(a.ChargeRequest)
	case answerReauth:
		c.answeredAsk = true
		a.done(a.Reauthorization)
	case answerAbort:
		c.answeredAsk = true
		a.done(a.Abortion)
	case finish:
		c.conclude(a.CallRecord)
	}
	return nil
}

// screen asks the directory and decides whether this service charges the call.
func (c *Call) screen() {
	now := time.Now()
	route, cause := c.service.screen(c.ctx, c.attempt, now)
	if cause != nil {
		c.handle(stamped{now, screenRefused{route, *cause}})
		return
	}
	e := screenOK{route: route, charging: c.chargingOf(route)}
	if e.charging == ChargingPrepaid {
		e.session = c.service.newSession(c)
	}
	c.handle(stamped{now, e})
}

func (c *Call) chargingOf(r Route) Charging {
	switch {
	case r.Class == Emergency:
		return ChargingEmergency
	case !r.Prepaid:
		return ChargingNone
	case c.attempt.Charged || !c.service.claim(c):
		return ChargingElsewhere
	default:
		return ChargingPrepaid
	}
}

// triggers are the keys under which the call is known to the guard.
func (c *Call) triggers() []trigger {
	var keys []trigger
	for _, id := range []string{"icid " + c.attempt.ICID, "call " + c.attempt.CallID} {
		if len(id) > len("icid ") {
			keys = append(keys, trigger{id, c.attempt.Calling})
		}
	}
	return keys
}

// charge has one request answered, aside, so that the call hears its parties
// meanwhile. The machine sends the next only after the answer.
func (c *Call) charge(r ChargeRequest) {
	go func() {
		answer := ChargeAnswer{Result: ChargeUnreachable, SessionOpen: true}
		defer func() {
			if p := recover(); p != nil {
				c.logFault(fmt.Errorf("charger: %v\n%s", p, debug.Stack()))
			}
			c.events <- stamped{time.Now(), charged{answer}}
		}()
		ctx, cancel := context.WithTimeout(c.ctx, c.service.config.ChargeMax)
		defer cancel()
		answer = c.service.config.Charger.Charge(ctx, r)
	}()
}

// conclude writes the record of the finished call.
func (c *Call) conclude(r CallRecord) {
	r.TraceID = traceID(c.ctx)
	c.service.metrics.attempt(c.ctx, r)
	endCallSpan(c.span, r)
	c.service.records.keep(r)
}

// refuseAtOnce records an attempt that never became a call. It must not wait:
// it stands in the signalling adapter's way.
func (c *Call) refuseAtOnce(cause Cause) {
	m := c.machine
	m.by, m.cause, m.releasedAt = byService, cause, time.Now()
	r := m.record()
	r.TraceID = traceID(c.ctx)
	c.tellRefusal(r)
	c.service.metrics.attempt(c.ctx, r)
	endCallSpan(c.span, r)
	c.service.records.offer(r)
}

// rescue is the last resort when the machine itself panics: the parties are
// released and the attempt is recorded; what was reserved ends with the
// server's supervision timer.
func (c *Call) rescue() {
	p := recover()
	if p == nil {
		return
	}
	c.logFault(fmt.Errorf("call machine: %v\n%s", p, debug.Stack()))
	m := c.machine
	if m.finished {
		return
	}
	if m.at != exception && m.at != null {
		m.by, m.cause, m.releasedAt = byService, CauseOf(ReasonInternal), time.Now()
		c.perform(releaseLeg{m.cause})
	}
	c.perform(finish{m.record()})
}

func (c *Call) logFault(fault error) {
	c.service.config.Logger.Error("fault inside a call; the gateway goes on, please report this",
		slog.String("call_id", c.attempt.CallID),
		slog.String("session", c.machine.credit.session),
		slog.String("trace_id", traceID(c.ctx)),
		slog.Any("err", fault))
}
