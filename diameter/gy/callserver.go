package gy

import (
	"context"
	"log/slog"
	"strings"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/vpnlogic"
)

// Calls are the sessions that a charging system may ask about;
// *vpnlogic.Service is one. Both methods return at once and call done exactly
// once, from any goroutine.
type Calls interface {
	// Reauthorize has the session report its use and ask anew (RFC 8506 §5.5);
	// ratingGroup nil means the whole session.
	Reauthorize(session string, ratingGroup *uint32, done func(vpnlogic.Reauthorization))
	// Abort ends the session's call (RFC 6733 §8.5).
	Abort(session string, done func(vpnlogic.Abortion))
}

// CallServerConfig configures a CallServer.
type CallServerConfig struct {
	Local diameter.Origin // VPN logic's identity
	// Realm is the realm of the charging system that holds the session, "" when
	// no such session is known; (*Client).ServerRealm tells it. Requests from
	// another realm are refused (conformance C-078). nil: any realm may ask.
	Realm  func(session string) string
	Logger *slog.Logger
}

// CallServer answers what a charging system asks of its client: Re-Auth-Request
// and Abort-Session-Request. It is the peer.Handler of VPN logic's connections.
type CallServer struct {
	config CallServerConfig
	served metric.Int64Counter
	asked  questions

	mu    sync.RWMutex
	calls Calls
}

// NewCallServer returns a server without calls: until Attach, no session is
// known.
func NewCallServer(config CallServerConfig) *CallServer {
	config.Logger = orDiscard(config.Logger)
	// The API returns a working no-op instrument with its error, which is about
	// the name only.
	served, _ := otel.Meter(scope).Int64Counter("gygate.server_requests",
		metric.WithDescription("Re-Auth- and Abort-Session-Requests by command and Result-Code of the answer"))
	return &CallServer{config: config, served: served}
}

func (s *CallServer) count(command uint32, code diameter.ResultCode) {
	name := "RAR"
	if command == diameter.CmdAbortSession {
		name = "ASR"
	}
	s.served.Add(context.Background(), 1, metric.WithAttributes(
		attribute.String("command", name), attribute.Int64("result_code", int64(code))))
}

var _ peer.Handler = (*CallServer)(nil)

// Attach gives the server its calls; it comes before the first connection.
func (s *CallServer) Attach(calls Calls) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = calls
}

// Serve answers one validated RAR or ASR. It does not block: the call answers
// from its own goroutine.
func (s *CallServer) Serve(_ context.Context, from peer.Remote, m diameter.Message, answer func([]byte)) {
	q := readQuestion(m)
	reply := func(code diameter.ResultCode) {
		s.count(m.Command, code)
		answer(s.encode(m, code))
	}
	first, settle := s.asked.enter(q.key(m), reply)
	if !first {
		return // a duplicate gets the answer of the first one (conformance C-079)
	}
	realm, known := s.realmOf(q.session)
	if known && !diameter.SameIdentity(realm, q.realm) {
		s.config.Logger.Warn("a charging system of another realm asks about a session; check the routing of that realm",
			"session", q.session, "peer", from.Host, "origin_host", q.host, "origin_realm", q.realm, "result_code", uint32(diameter.AuthorizationRejected))
		settle(diameter.AuthorizationRejected)
		return
	}
	s.mu.RLock()
	calls := s.calls
	s.mu.RUnlock()
	switch {
	case calls == nil:
		settle(diameter.UnknownSessionID)
	case m.Command == diameter.CmdAbortSession:
		calls.Abort(q.session, func(a vpnlogic.Abortion) { settle(abortCode(a)) })
	case q.elsewhere:
		settle(s.outOfScope(q))
	default:
		calls.Reauthorize(q.session, q.ratingGroup, func(r vpnlogic.Reauthorization) { settle(reauthorizeCode(r)) })
	}
}

// realmOf is the realm of the session's charging system, false when nothing is
// known of the session.
func (s *CallServer) realmOf(session string) (string, bool) {
	if s.config.Realm == nil {
		return "", false
	}
	realm := s.config.Realm(session)
	return realm, realm != ""
}

// outOfScope answers a question about a service, pool or sub-session: a call has
// none of them, if the session is known at all.
func (s *CallServer) outOfScope(q question) diameter.ResultCode {
	if _, known := s.realmOf(q.session); s.config.Realm != nil && !known {
		return diameter.UnknownSessionID
	}
	return diameter.UnableToComply
}

// encode is the whole RAA or ASA: Session-Id, Result-Code, Origin-Host and
// Origin-Realm, and the Proxy-Info of the request (conformance C-077).
func (s *CallServer) encode(m diameter.Message, code diameter.ResultCode) []byte {
	return diameter.FinishAnswer(diameter.StartAnswer(nil, m, code, s.config.Local), 0, m)
}

// question is what a RAR or ASR asks.
type question struct {
	session     string
	host, realm string // who asks
	ratingGroup *uint32
	elsewhere   bool // about a service, a pool or a sub-session
}

func readQuestion(m diameter.Message) (q question) {
	for a := range m.AVPs() {
		switch {
		case a.Is(diameter.SessionID):
			q.session = a.Text()
		case a.Is(diameter.OriginHost):
			q.host = a.Text()
		case a.Is(diameter.OriginRealm):
			q.realm = a.Text()
		case a.Is(diameter.RatingGroup):
			group := a.Uint32()
			q.ratingGroup = &group
		case a.Is(diameter.ServiceIdentifier), a.Is(diameter.GSUPoolIdentifier), a.Is(diameter.CCSubSessionID):
			q.elsewhere = true
		}
	}
	return q
}

func (q question) key(m diameter.Message) questionKey {
	return questionKey{host: strings.ToLower(q.host), endToEnd: m.EndToEnd, command: m.Command}
}

// reauthorizeCode is the Result-Code of the RAA (RFC 8506 §5.5, conformance
// C-070 to C-074).
func reauthorizeCode(r vpnlogic.Reauthorization) diameter.ResultCode {
	switch r {
	case vpnlogic.ReauthWillReport:
		return diameter.LimitedSuccess
	case vpnlogic.ReauthUnderWay:
		return diameter.Success
	case vpnlogic.ReauthUnknown:
		return diameter.UnknownSessionID
	case vpnlogic.ReauthNotActive:
		return diameter.UnableToComply
	}
	return diameter.UnableToComply
}

// abortCode is the Result-Code of the ASA (RFC 6733 §8.5.2, conformance C-076).
func abortCode(a vpnlogic.Abortion) diameter.ResultCode {
	switch a {
	case vpnlogic.AbortAccepted:
		return diameter.Success
	case vpnlogic.AbortUnknown:
		return diameter.UnknownSessionID
	}
	return diameter.UnableToComply
}
