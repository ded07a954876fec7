package sipgw

import (
	"context"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"gygate/vpnlogic"
)

const (
	statusIntervalTooSmall = 422 // RFC 4028 §6
	// retryAfter is what a draining gateway tells its clients: long enough for a
	// restart.
	retryAfter = "10"
)

// handle registers the methods we serve; the rest is refused with 405.
func (g *Gateway) handle() {
	g.server.OnInvite(g.wellFormed(g.onInvite))
	g.server.OnAck(g.wellFormed(g.onAck))
	for _, method := range []sip.RequestMethod{sip.BYE, sip.UPDATE, sip.INFO} {
		g.server.OnRequest(method, g.wellFormed(g.inDialog))
	}
	g.server.OnOptions(g.onOptions)
	g.server.OnCancel(func(req *sip.Request, tx sip.ServerTransaction) {
		// One that has a transaction to cancel never gets here.
		g.incoming(req, tx).refuse(sip.StatusCallTransactionDoesNotExists)
	})
	g.server.OnNoRoute(func(req *sip.Request, tx sip.ServerTransaction) {
		g.incoming(req, tx).refuse(sip.StatusMethodNotAllowed, sip.NewHeader("Allow", allowedMethods))
	})
}

// wellFormed lets through what has the headers every request must have (RFC
// 3261 §8.1.1), so that nobody after it has to ask for nil.
func (g *Gateway) wellFormed(next func(*incoming)) func(*sip.Request, sip.ServerTransaction) {
	return func(req *sip.Request, tx sip.ServerTransaction) {
		in := g.incoming(req, tx)
		defer g.rescue(in)
		complete := req.From() != nil && req.To() != nil && req.CallID() != nil && req.CSeq() != nil
		switch {
		case !complete && req.IsAck():
		case !complete, len(req.CallID().Value()) > identifierMax:
			in.refuse(sip.StatusBadRequest)
		default:
			next(in)
		}
	}
}

// rescue answers a request that met a fault of ours.
func (g *Gateway) rescue(in *incoming) {
	if fault := recover(); fault != nil {
		g.log.Error("sip request fault; please report this", "method", in.req.Method.String(), "err", fault, "stack", string(debug.Stack()))
		if !in.req.IsAck() && !in.isAnswered() {
			in.refuse(sip.StatusInternalServerError)
		}
	}
}

func (g *Gateway) onOptions(req *sip.Request, tx sip.ServerTransaction) {
	in := g.incoming(req, tx)
	res := in.reply(sip.StatusOK)
	res.AppendHeader(sip.NewHeader("Allow", allowedMethods))
	res.AppendHeader(sip.NewHeader("Supported", supportedTags))
	res.AppendHeader(sip.NewHeader("Accept", contentTypeSDP))
	if err := in.send(res); err != nil {
		g.log.Debug("sip response not sent", "status", sip.StatusOK, "err", err)
	}
}

// onInvite takes a call request, or one inside a call. It runs until the call is set
// up or over: the library ends the transaction when it returns.
func (g *Gateway) onInvite(in *incoming) {
	if in.req.To().Params.Has("tag") {
		g.inDialog(in)
		return
	}
	at := time.Now()
	if status, headers := g.examine(in.req); status != 0 {
		in.refuse(status, headers...)
		return
	}
	if !g.enter() {
		in.refuse(sip.StatusServiceUnavailable, sip.NewHeader("Retry-After", retryAfter), reasonHeader(vpnlogic.CauseOf(vpnlogic.ReasonShutdown)))
		return
	}
	var b *bridge
	defer func() {
		if b == nil {
			g.bridges.Done()
		}
	}()
	// All our responses carry this tag, the library's own included. It must be
	// in place before the caller learns that we are here and may cancel.
	in.req.To().Params.Add("tag", sip.GenerateTagN(tagLength))
	if err := in.send(in.reply(sip.StatusTrying)); err != nil || !in.watchCancel() {
		return
	}
	if b = g.bridge(in, at); b != nil {
		b.setUp()
	}
}

// examine says why an INVITE cannot be served at all: a status and what the
// client needs to know, or 0.
func (g *Gateway) examine(req *sip.Request) (int, []sip.Header) {
	if !g.trusted(req.Source()) {
		g.log.Warn("sip INVITE refused: its source is not trusted; to serve it, add it to sip.trusted", "peer", req.Source())
		return sip.StatusForbidden, []sip.Header{sip.NewHeader("Warning", `399 gygate "source is not trusted"`)}
	}
	if hops := req.MaxForwards(); hops != nil && hops.Val() == 0 {
		return sip.StatusTooManyHops, nil
	}
	if unsupported := unsupportedTags(req); len(unsupported) > 0 {
		return sip.StatusBadExtension, []sip.Header{sip.NewHeader("Unsupported", strings.Join(unsupported, ", "))}
	}
	if len(req.GetHeaders("Replaces")) > 0 {
		return sip.StatusNotImplemented, []sip.Header{sip.NewHeader("Allow", allowedMethods), sip.NewHeader("Supported", supportedTags)}
	}
	if g.cfg.tooBrief(req) {
		return statusIntervalTooSmall, []sip.Header{sip.NewHeader(minSEHeader, strconv.Itoa(int(g.cfg.MinSE/time.Second)))}
	}
	if req.Contact() == nil || len(numberOf(&req.Recipient)) > identifierMax || len(calling(req)) > identifierMax {
		return sip.StatusBadRequest, nil
	}
	return 0, nil
}

// unsupportedTags are the extensions a request insists on and we have not (RFC
// 3261 §8.2.2.3); 100rel is one of them.
func unsupportedTags(req *sip.Request) []string {
	var unsupported []string
	for _, tag := range append(tokens(req, "Require", ""), tokens(req, "Proxy-Require", "")...) {
		if !strings.EqualFold(tag, "timer") {
			unsupported = append(unsupported, tag)
		}
	}
	return unsupported
}

// bridge makes the call; nil: the service refuses it.
func (g *Gateway) bridge(in *incoming, at time.Time) *bridge {
	b := newBridge(g, in)
	attempt := attemptOf(in.req, at)
	call, refused := g.calls.Begin(context.Background(), attempt, leg{b})
	if refused != nil {
		in.refuse(refused.Status, reasonHeader(*refused))
		return nil
	}
	b.call = call
	g.log.Debug("sip call", "call_id", attempt.CallID, "calling", vpnlogic.Mask(attempt.Calling))
	return b
}

// leg is the bridge as the service sees it: each method may be called once,
// from any goroutine, and returns at once.
type leg struct{ b *bridge }

func (l leg) Connect(dest vpnlogic.Destination) {
	select {
	case l.b.connect <- dest:
	default: // a call is connected once
	}
}

func (l leg) Release(cause vpnlogic.Cause) {
	select {
	case l.b.release <- cause:
	default: // it is being released
	}
}
