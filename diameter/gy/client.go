package gy

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
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

	// LateMaxDefault is the requests kept while no charging system answers: some
	// minutes of hang-ups of a busy gateway, 4 MB at the most.
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

	// DebitFailure holds until an answer carries another (RFC 8506 §8.15).
	DebitFailure DebitFailure
	// RatingBlock is how long a first interrogation is held back whose like could
	// not be rated (conformance C-034), default RatingBlockDefault; negative: never.
	RatingBlock time.Duration

	SessionsMax int // default SessionsMaxDefault; one more is refused
	LateMax     int // default LateMaxDefault; one more is lost, and logged
	// Keeper is the non-volatile store of what must outlive the process; nil: what
	// is unanswered then is lost with it.
	Keeper Keeper
	Logger *slog.Logger
}

// The reasons the client itself gives in ChargeAnswer.Reason, beside those of
// vpnlogic.
const (
	reasonSessionsFull  = "charging.sessions_full"
	reasonRatingBlocked = "charging.rating_blocked"
)

// Client is the credit-control client of RFC 8506: for calls it implements
// vpnlogic.Charger over Diameter, and Event sends one-time events.
//
// A request that carries money and that nobody answers (a final interrogation, a
// refund, a debit whose service was granted) is repeated in the background. With
// a Keeper it outlives the process, and so does the last state of each session:
// see Run.
type Client struct {
	config  ClientConfig
	doer    Doer
	ids     *diameter.SessionIDs
	metrics *telemetry
	late    *late
	journal *journal
	unrated ratingBlock
	debits  atomic.Uint32 // Direct-Debiting-Failure-Handling in force

	mu       sync.Mutex
	sessions map[string]session // by Session-Id
}

// session is what the client remembers between the requests of a session.
type session struct {
	host     string // Origin-Host of the last answer: the next Destination-Host
	realm    string // its Origin-Realm
	via      string // the peer that delivered it
	failover bool   // CC-Session-Failover was 1: the session may move
	handling vpnlogic.FailureHandling
	spoilt   bool   // an answer could not be used
	barred   bool   // an answer said that the payer may not
	last     repeat // what is known of the last request, should it be repeated
	owed     *CCR   // the last one, if it is a CCR-U that nobody has answered
	owing    repeat // what is known of that one
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
	if config.RatingBlock == 0 {
		config.RatingBlock = RatingBlockDefault
	}
	c := &Client{
		config:   config,
		doer:     doer,
		ids:      diameter.NewSessionIDs(config.Local.Host, time.Now()),
		metrics:  newTelemetry("gygate.ccr.client"),
		journal:  newJournal(config.Keeper, config.Logger),
		unrated:  ratingBlock{life: config.RatingBlock},
		sessions: make(map[string]session),
	}
	c.debits.Store(uint32(config.DebitFailure))
	c.late = newLate(config.LateMax, c.deliver, c.journal, config.Logger)
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
	if c.unrated.holds(ccr) {
		c.remember(r.Session, s, false)
		return c.blocked()
	}
	again := repeat{}
	if r.Repeat {
		again = s.last // the same identifier, and T (conformance C-015)
	}
	c.journal.sending(ccr, s, again)
	got, err := c.send(ctx, c.outgoing(ccr, s, again))
	s.last = repeat{sent: again.sent || sent(err), endToEnd: got.EndToEnd}
	a := c.read(ccr, &s, got, err)
	a.OnFailure, a.Took = s.handling, time.Since(began)
	s.owe(ccr, a.Result)
	c.remember(r.Session, s, a.SessionOpen)
	if r.Type == vpnlogic.ChargeTerminate && a.Result == vpnlogic.ChargeUnreachable {
		c.late.add(ctx, keptReport(ccr, s, time.Now(), s.last))
	} else {
		c.journal.answered(ccr, s, a)
	}
	return a
}

// owe notes a report of use that nobody has answered. The final interrogation does
// not repeat what it says.
func (s *session) owe(ccr *CCR, result vpnlogic.ChargeResult) {
	if ccr.Type == ocs.Terminate {
		return
	}
	s.owed, s.owing = nil, s.last
	if ccr.Type == ocs.Update && result == vpnlogic.ChargeUnreachable {
		s.owed = ccr
	}
}

// ServerRealm is the realm of the charging system that holds the session, "" for
// a session that is not known here. RAR and ASR from elsewhere are refused.
func (c *Client) ServerRealm(id string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.sessions[id]
	switch {
	case !ok:
		return ""
	case s.realm == "":
		return c.config.Realm // no answer yet: where the request went
	}
	return s.realm
}

// Run delivers what an earlier process left in the Keeper: requests without an
// answer, and final reports of the calls that were lost with it (conformance
// C-029, C-111). Then it waits until ctx ends and returns nil.
func (c *Client) Run(ctx context.Context) error {
	if c.config.Keeper != nil {
		c.recoverKept(ctx)
	}
	<-ctx.Done()
	return nil
}

// Shutdown gives every late request one more try at once and waits for the
// answers until ctx ends. It returns an error when some are lost; with a Keeper
// they are kept for the next start. Call it when no Charge or Event runs any
// more and before the connections go down.
func (c *Client) Shutdown(ctx context.Context) error {
	err := errors.Join(c.late.shutdown(ctx), c.journal.shutdown())
	c.late.tellCut()
	return err
}

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

// outgoing is one request on its way.
type outgoing struct {
	kind   ocs.StepType
	number uint32
	// encode appends the request with that Destination-Host, "" for none.
	encode func(b []byte, destination string) []byte
	to     session
	again  repeat
	avoid  string        // peer to go around, if there is another way
	went   *string       // set to the peer it was encoded for last; may be nil
	wait   time.Duration // for the answer; 0: Tx
}

// outgoing is a request as the client sends it first.
func (c *Client) outgoing(ccr *CCR, s session, again repeat) outgoing {
	return outgoing{kind: ccr.Type, number: ccr.Number, to: s, again: again, encode: func(b []byte, destination string) []byte {
		sending := *ccr // the caller may have given up and sent the next one
		sending.DestinationHost = destination
		return sending.Append(b, diameter.Header{})
	}}
}

// send is one exchange, seen as the span gy.ccr. A first interrogation and an
// event may go to any server; what follows moves only if the session may
// (conformance C-014).
func (c *Client) send(ctx context.Context, o outgoing) (peer.Answer, error) {
	began := time.Now()
	ctx, span := c.metrics.tracer.Start(ctx, "gy.ccr", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		keyType.String(typeName(o.kind)), keyNumber.Int64(int64(o.number))))
	if o.wait <= 0 {
		o.wait = c.config.Tx
	}
	ctx, cancel := context.WithTimeout(ctx, o.wait)
	defer cancel()

	try := 0
	request := peer.Request{
		Encode: func(b []byte, peerHost string) []byte {
			destination := o.to.destination(peerHost, try)
			try++
			if o.went != nil {
				*o.went = peerHost
			}
			return o.encode(b, destination)
		},
		Stay:           o.to.host,
		Avoid:          o.avoid,
		Failover:       o.to.failover || o.kind == ocs.Initial || o.kind == ocs.Event,
		Retransmission: o.again.sent,
		EndToEnd:       o.again.endToEnd,
	}
	got, err := c.doer.Do(ctx, request)
	if try == 1 && err == nil && o.to.outOfReach(got) {
		// On its next try the request names no server: any behind that relay may
		// take it. Nobody has executed it, so T stays as it is.
		request.EndToEnd = got.EndToEnd
		got, err = c.doer.Do(ctx, request)
	}

	code, text := diameter.ResultCode(0), ""
	if err != nil {
		text = err.Error()
	} else if code = got.Message.ResultCode(); span.IsRecording() {
		span.SetAttributes(keyPeer.String(got.From.Host))
	}
	endSpan(span, code, text)
	c.metrics.record(o.kind, code, time.Since(began))
	return got, err
}

// outOfReach reports whether a relay says that it has lost the server that holds
// the session, which others may go on with (conformance C-016).
func (s session) outOfReach(a peer.Answer) bool {
	return s.failover && s.host != "" && a.Message.ResultCode() == diameter.UnableToDeliver &&
		!diameter.SameIdentity(s.host, a.From.Host)
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
