package gy

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/ocs"
)

// Submitter takes charging steps; *ocs.Engine does. Submit returns at once and
// calls done exactly once.
type Submitter interface {
	Submit(s *ocs.Step, done func(ocs.Outcome))
}

// Server is the credit-control server of RFC 8506: a peer.Handler in front of
// the charging engine. It expects requests that the peer has validated and
// found to be for this node.
type Server struct {
	config  ServerConfig
	engine  Submitter
	metrics *telemetry
	alarmed lastAlarms
}

// NewServer returns a server that charges with engine.
func NewServer(config ServerConfig, engine Submitter) *Server {
	config.Logger = orDiscard(config.Logger)
	return &Server{config: config, engine: engine, metrics: newTelemetry("gygate.ccr")}
}

var _ peer.Handler = (*Server)(nil)

// Serve charges one Credit-Control-Request. It returns before the answer is
// ready; answer is called exactly once, whatever happens.
func (s *Server) Serve(ctx context.Context, from peer.Remote, m diameter.Message, answer func([]byte)) {
	x := &exchange{server: s, from: from, m: m, context: &unknownContext, answer: answer, began: time.Now()}
	defer x.rescue()
	r := requestPool.Get().(*request)
	x.serve(ctx, r)
	requestPool.Put(r)
}

// unknownContext stands for the service of a request that names none of ours.
var unknownContext ocs.ServiceContext

// exchange is one request on its way to its answer.
type exchange struct {
	server   *Server
	from     peer.Remote
	m        diameter.Message
	echo     echo
	context  *ocs.ServiceContext // of the snapshot; empty until known
	profile  Profile
	strayed  bool // a CCR-T of an unknown context: refused after it has been carried out
	span     trace.Span
	began    time.Time
	answer   func([]byte)
	answered atomic.Bool
}

func (x *exchange) serve(ctx context.Context, r *request) {
	if x.m.Command != diameter.CmdCreditControl {
		x.fail(&diameter.Error{Code: diameter.CommandUnsupported, Text: fmt.Sprintf("command %d", x.m.Command)})
		return
	}
	fault := x.read(r)
	x.span = x.startSpan(ctx, r.SessionID)
	if fault != nil {
		x.fail(fault)
		return
	}
	step, refusal := x.step(&r.CCR)
	if refusal != "" {
		x.finish(ocs.Outcome{Refusal: refusal})
		return
	}
	x.watchRequest(&r.CCR)
	x.server.engine.Submit(step, x.done)
}

// read parses the request and finds out whose habits it has.
func (x *exchange) read(r *request) *diameter.Error {
	fault := r.parse(x.m)
	x.echo = r.echo()
	x.profile = profileOf(x.server.config.Profile, r.OriginHost, &x.from)
	if fault == nil && !x.profile.MissingIndicator {
		fault = r.indicatorFault(x.m)
	}
	return fault
}

// again is the request once more: what is rarely asked of it, the exchange does
// not keep.
func (x *exchange) again() *CCR {
	r, _ := ParseCCR(x.m) // a fault leaves what came before it
	return r
}

// step maps the request; its trace context lets the engine's spans be siblings
// below this one. A final interrogation moves money whatever its context says:
// the session has its own (conformance B-039).
func (x *exchange) step(r *CCR) (*ocs.Step, ocs.Refusal) {
	service := contextName(r.ServiceContextID)
	c := x.server.config.Tariff().Context(service)
	switch {
	case c != nil:
		x.context = c
	case r.Type == ocs.Terminate:
		x.strayed = true
	default:
		return nil, ocs.UnknownContext
	}
	step, refusal := r.step(&x.from, service, x.context, &x.profile)
	if refusal == "" && x.span.SpanContext().IsSampled() {
		step.Trace = x.span.SpanContext()
	}
	return step, refusal
}

// done receives the outcome on a goroutine of the engine.
func (x *exchange) done(o ocs.Outcome) {
	defer x.rescue()
	if x.strayed && o.Refusal == "" {
		o.Refusal = ocs.UnknownContext
	}
	x.finish(o)
}

// finish raises what somebody should look at, and answers.
func (x *exchange) finish(o ocs.Outcome) {
	x.watchOutcome(&o)
	d := draftPool.Get().(*draft)
	a := d.empty()
	x.reply(a, &o)
	d.frame = a.Append(d.frame[:0], x.m, x.server.config.Local)
	x.send(d.frame, a.ResultCode, a.ErrorMessage)
	draftPool.Put(d)
}

// fail answers a fault of the bytes.
func (x *exchange) fail(e *diameter.Error) {
	x.send(diameter.ErrorAnswer(nil, x.m, e, x.server.config.Local), e.Code, e.Text)
}

// rescue turns a panic of the mapping into DIAMETER_UNABLE_TO_COMPLY, so that
// one request that nobody thought of takes no connection and no other request
// with it.
func (x *exchange) rescue() {
	if cause := recover(); cause != nil {
		x.log(slog.LevelError, "panic while charging", "err", fmt.Sprint(cause), "stack", string(debug.Stack()))
		x.fail(&diameter.Error{Code: diameter.UnableToComply, Text: string(ocs.Internal)})
	}
}

// send answers once; what comes after the first answer is dropped.
func (x *exchange) send(frame []byte, code diameter.ResultCode, text string) {
	if !x.answered.CompareAndSwap(false, true) {
		return
	}
	x.answer(frame)
	x.endSpan(code, text)
	x.server.metrics.record(x.echo.kind, code, time.Since(x.began))
	if code == diameter.UnableToComply {
		x.log(slog.LevelError, "charging refused internally", "result_code", uint32(code), "err", text)
	}
}

func (x *exchange) log(level slog.Level, message string, more ...any) {
	session, _ := x.m.Find(diameter.SessionID)
	fixed := []any{"session", session.Text(), "number", x.echo.number, "peer", x.from.Host}
	x.server.config.Logger.Log(context.Background(), level, message, append(fixed, more...)...)
}
