package gy

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/ocs"
	"gygate/vpnlogic"
)

// Doer sends requests and waits for their answers; *peer.Client does.
type Doer interface {
	Do(ctx context.Context, r peer.Request) (peer.Answer, error)
}

// Defaults of ClientConfig.
const (
	TxDefault = 10 * time.Second // RFC 8506 §13

	// SessionsMaxDefault is above the calls of one gateway; a session costs
	// about 200 octets here.
	SessionsMaxDefault = 100_000

	// LateMaxDefault is the final interrogations kept while no charging system
	// answers: some minutes of hang-ups of a busy gateway, 4 MB at the most.
	LateMaxDefault = 1024
)

// ClientConfig configures a Client. Zero values mean the defaults.
type ClientConfig struct {
	Local   diameter.Origin // VPN logic's own identity, not the embedded charging system's
	Realm   string          // Destination-Realm: of the charging system; "": Local's
	Context string          // Service-Context-Id, default ContextSIP

	Tx time.Duration // how long an answer is waited for, default TxDefault
	// FailureHandling holds until an answer carries another (RFC 8506 §8.14).
	FailureHandling vpnlogic.FailureHandling
	// TraceInSessionID puts the call's trace context into the Session-Id.
	TraceInSessionID bool

	SessionsMax int // default SessionsMaxDefault; one more is refused
	LateMax     int // default LateMaxDefault; one more is lost, and logged
	Logger      *slog.Logger
}

// reasonSessionsFull is the reason the client itself gives in
// ChargeAnswer.Reason, beside those of vpnlogic.
const reasonSessionsFull = "charging.sessions_full"

// Client is the credit-control client of RFC 8506 for calls: it implements
// vpnlogic.Charger over Diameter.
//
// A final interrogation that nobody answers carries money, so it is repeated in
// the background (see Shutdown). What waits there is in memory only: it is lost
// with the process, and then the charging system's supervision (Tcc) ends the
// session without the last report.
type Client struct {
	config  ClientConfig
	doer    Doer
	ids     *diameter.SessionIDs
	metrics *telemetry
	late    *late

	mu       sync.Mutex
	sessions map[string]session // by Session-Id
}

// session is what the client remembers between the requests of a session.
type session struct {
	host     string // Origin-Host of the last answer: the next Destination-Host
	via      string // the peer that delivered it
	failover bool   // CC-Session-Failover was 1: the session may move
	handling vpnlogic.FailureHandling
	spoilt   bool   // an answer could not be used
	last     repeat // what is known of the last request, should it be repeated
}

// NewClient returns a client that sends through doer.
func NewClient(config ClientConfig, doer Doer) *Client {
	config.Logger = orDiscard(config.Logger)
	if config.Realm == "" {
		config.Realm = config.Local.Realm
	}
	if config.Context == "" {
		config.Context = ContextSIP
	}
	if config.Tx <= 0 {
		config.Tx = TxDefault
	}
	if config.SessionsMax <= 0 {
		config.SessionsMax = SessionsMaxDefault
	}
	if config.LateMax <= 0 {
		config.LateMax = LateMaxDefault
	}
	c := &Client{
		config:   config,
		doer:     doer,
		ids:      diameter.NewSessionIDs(config.Local.Host, time.Now()),
		metrics:  newTelemetry("gygate.ccr.client"),
		sessions: make(map[string]session),
	}
	c.late = newLate(config.LateMax, c.repeat, config.Logger)
	return c
}

var _ vpnlogic.Charger = (*Client)(nil)

// NewSession draws a Session-Id. The context of a sampled call rides in its
// optional part (RFC 6733 §8.8), so that the charging system can join the trace.
func (c *Client) NewSession(ctx context.Context) string {
	call := trace.SpanContextFromContext(ctx)
	if !c.config.TraceInSessionID || !call.IsSampled() {
		return c.ids.Next("")
	}
	return c.ids.Next(diameter.TraceElement(call.TraceID(), call.SpanID(), byte(call.TraceFlags())))
}

// Charge sends one request and waits for its answer, for Tx at the most.
func (c *Client) Charge(ctx context.Context, r vpnlogic.ChargeRequest) vpnlogic.ChargeAnswer {
	began := time.Now()
	s, ok := c.recall(r)
	if !ok {
		return vpnlogic.ChargeAnswer{Result: vpnlogic.ChargeUnreachable, Reason: reasonSessionsFull, OnFailure: c.config.FailureHandling}
	}
	ccr := c.request(r, s)
	again := repeat{}
	if r.Repeat {
		again = s.last // the same identifier, and T (conformance C-015)
	}
	got, err := c.send(ctx, ccr, s, again)
	s.last = repeat{sent: again.sent || sent(err), endToEnd: got.EndToEnd}
	a := c.read(ccr, &s, got, err)
	a.OnFailure, a.Took = s.handling, time.Since(began)
	c.remember(r.Session, s, a.SessionOpen)
	if r.Type == vpnlogic.ChargeTerminate && a.Result == vpnlogic.ChargeUnreachable {
		c.late.add(ctx, ccr, s, s.last)
	}
	return a
}

// Shutdown gives every late final interrogation one more try at once and waits
// for the answers until ctx ends. It returns an error when some are lost. Call
// it when no Charge runs any more and before the connections go down.
func (c *Client) Shutdown(ctx context.Context) error { return c.late.shutdown(ctx) }

// recall finds what is known of the session, or begins it; false when there is
// no room for another one.
func (c *Client) recall(r vpnlogic.ChargeRequest) (session, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.sessions[r.Session]
	if ok {
		return s, true
	}
	s.handling = c.config.FailureHandling
	if len(c.sessions) >= c.config.SessionsMax {
		// What runs already is still charged, without the memory.
		return s, r.Type != vpnlogic.ChargeInitial
	}
	c.sessions[r.Session] = s
	return s, true
}

// remember keeps the session while the server may hold it, and drops it then.
func (c *Client) remember(id string, s session, open bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.sessions[id]; !ok {
		return
	}
	if open {
		c.sessions[id] = s
	} else {
		delete(c.sessions, id)
	}
}

// repeat says what is known of earlier sendings of a request.
type repeat struct {
	sent     bool   // it may have arrived: set the T bit
	endToEnd uint32 // the identifier it had, 0: none yet
}

// sent reports whether the request may have reached a server in spite of err.
func sent(err error) bool {
	return err != nil && !errors.Is(err, peer.ErrNoPeer) && !errors.Is(err, peer.ErrPendingFull)
}

// send is one exchange, seen as the span gy.ccr. A first interrogation may go
// to any server; later ones move only if the session may (conformance C-014).
func (c *Client) send(ctx context.Context, ccr *CCR, s session, again repeat) (peer.Answer, error) {
	began := time.Now()
	ctx, span := c.metrics.tracer.Start(ctx, "gy.ccr", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		keyType.String(typeName(ccr.Type)), keyNumber.Int64(int64(ccr.Number))))
	ctx, cancel := context.WithTimeout(ctx, c.config.Tx)
	defer cancel()

	try := 0
	got, err := c.doer.Do(ctx, peer.Request{
		Encode: func(b []byte, peerHost string) []byte {
			sending := *ccr // the caller may have given up and sent the next one
			sending.DestinationHost = s.destination(peerHost, try)
			try++
			return sending.Append(b, diameter.Header{})
		},
		Stay:           s.host,
		Failover:       s.failover || ccr.Type == ocs.Initial,
		Retransmission: again.sent,
		EndToEnd:       again.endToEnd,
	})

	code, text := diameter.ResultCode(0), ""
	if err != nil {
		text = err.Error()
	} else if code = got.Message.ResultCode(); span.IsRecording() {
		span.SetAttributes(keyPeer.String(got.From.Host))
	}
	endSpan(span, code, text)
	c.metrics.record(ccr.Type, code, time.Since(began))
	return got, err
}

// destination is the Destination-Host for a sending to peerHost: the server
// that holds the session, reached directly or as before. On another way, a
// session that may move is for any server behind that peer, so none is named
// (conformance C-016).
func (s session) destination(peerHost string, try int) string {
	if !s.failover || peerHost == s.host || try == 0 && peerHost == s.via {
		return s.host
	}
	return ""
}

// repeat sends a late final interrogation again; true ends its repetition,
// because somebody answered.
func (c *Client) repeat(ctx context.Context, ccr *CCR, s session, again *repeat) bool {
	got, err := c.send(ctx, ccr, s, *again)
	again.sent = again.sent || sent(err)
	if got.EndToEnd != 0 {
		again.endToEnd = got.EndToEnd
	}
	return err == nil && meaning(got.Message.ResultCode()) != vpnlogic.ChargeUnreachable
}
