package sipgw

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"gygate/vpnlogic"
)

const (
	// infosMax bounds the INFO requests of a call that wait for their answer;
	// they carry key presses, one at a time.
	infosMax = 8
	// retrySoon is the Retry-After of a request that came too early: seconds.
	retrySoon = "1"
)

// relay is the one offer that may be under way between the legs: a re-INVITE
// or UPDATE passed through, or a session refresh of our own, which has no
// incoming request.
type relay struct {
	in        *incoming
	from, to  *dialog
	req       *sip.Request // what we sent to the other leg
	proceeded bool         // a provisional response came, so CANCEL may go
	dropped   bool         // the sender cancelled
}

func (r *relay) cancelled() <-chan *sip.Request {
	if r == nil || r.in == nil {
		return nil
	}
	return r.in.cancelled
}

// onAck takes an ACK for a 2xx; it opens no transaction that wants an answer.
func (g *Gateway) onAck(in *incoming) {
	if d := g.findDialog(in.req); d != nil {
		d.bridge.post(func() { d.bridge.acked(d, in.req) })
	}
}

// inDialog hands a request to its call and waits until it is answered, for the
// library ends the transaction when this returns.
func (g *Gateway) inDialog(in *incoming) {
	d := g.findDialog(in.req)
	if d == nil || !d.bridge.post(func() { d.bridge.receive(d, in) }) {
		in.refuse(sip.StatusCallTransactionDoesNotExists)
		return
	}
	select {
	case <-in.answered:
	case <-d.bridge.done:
		if !in.isAnswered() {
			in.refuse(sip.StatusCallTransactionDoesNotExists)
		}
	}
}

// receive takes a request inside a dialog.
func (b *bridge) receive(d *dialog, in *incoming) {
	seq := in.req.CSeq().SeqNo
	switch {
	case !d.isPeer(in.req): // of a branch that lost
		in.refuse(sip.StatusCallTransactionDoesNotExists)
		return
	case seq < d.peerCSeq: // RFC 3261 §12.2.2
		in.refuse(sip.StatusInternalServerError)
		return
	case in.req.Method == sip.BYE:
		d.peerCSeq = seq
		b.hungUp(d, in)
		return
	case d.over || b.phase == ending:
		in.refuse(sip.StatusCallTransactionDoesNotExists)
		return
	}
	d.peerCSeq = seq
	if unsupported := unsupportedTags(in.req); len(unsupported) > 0 {
		in.refuse(sip.StatusBadExtension, sip.NewHeader("Unsupported", strings.Join(unsupported, ", ")))
		return
	}
	if in.req.Method != sip.INFO {
		b.tellConnected(d, in.req, time.Now())
	}
	switch {
	case in.req.Method == sip.INFO:
		b.passInfo(d, in)
	case b.gw.cfg.tooBrief(in.req):
		in.refuse(statusIntervalTooSmall, sip.NewHeader(minSEHeader, strconv.Itoa(int(b.gw.cfg.MinSE/time.Second))))
	case in.req.Method == sip.UPDATE && len(in.req.Body()) == 0:
		b.refreshed(d, in)
	default:
		b.passOffer(d, in)
	}
}

// refreshed answers an UPDATE that only refreshes the session: it concerns
// this leg alone.
func (b *bridge) refreshed(d *dialog, in *incoming) {
	ok := in.reply(sip.StatusOK)
	d.describe(ok)
	d.refreshTarget(in.req)
	if b.phase == active {
		d.grantSession(in.req, ok)
	}
	if err := in.send(ok); err != nil {
		b.log().Debug("sip response not sent", "status", sip.StatusOK, "err", err)
	}
}

// passInfo passes an INFO and its answer through.
func (b *bridge) passInfo(d *dialog, in *incoming) {
	if b.phase < answered || b.infos >= infosMax {
		in.refuse(sip.StatusInternalServerError, sip.NewHeader("Retry-After", retrySoon))
		return
	}
	b.infos++
	req := b.opposite(d).next(sip.INFO)
	pass(in.req, req, "Info-Package")
	b.transact(req, func(res *sip.Response, _ time.Time) {
		if res.IsProvisional() {
			return
		}
		b.infos--
		through := in.reply(res.StatusCode)
		pass(res, through)
		if err := in.send(through); err != nil {
			b.log().Debug("sip response not sent", "status", res.StatusCode, "err", err)
		}
	}, func(err error) {
		b.infos--
		in.refuse(statusOfError(err))
	})
}

// passOffer passes a re-INVITE or UPDATE on. Two at a time would leave the
// legs with different sessions: the second sender has to wait (RFC 3261 §14.2,
// RFC 3311 §5.2).
func (b *bridge) passOffer(d *dialog, in *incoming) {
	busy := b.phase != active || b.relay != nil || b.ack.waiting
	switch {
	case busy && b.relay != nil && b.relay.from == d:
		in.refuse(sip.StatusInternalServerError, sip.NewHeader("Retry-After", retrySoon))
		return
	case busy:
		in.refuse(sip.StatusRequestPending)
		return
	}
	r := &relay{in: in, from: d, to: b.opposite(d)}
	if in.req.IsInvite() && (in.send(in.reply(sip.StatusTrying)) != nil || !in.watchCancel()) {
		in.settle()
		return
	}
	r.req = r.to.next(in.req.Method)
	r.to.askSession(r.req, b.gw.cfg.SessionExpires)
	pass(in.req, r.req)
	b.relay = r
	b.transact(r.req, func(res *sip.Response, at time.Time) {
		switch {
		case res.IsProvisional():
			r.proceeded = true
			b.cancelRelay(r)
		case res.IsSuccess():
			b.tellConnected(r.to, res, at)
			b.offerTaken(r, res)
		default:
			b.offerRefused(r, res.StatusCode)
		}
	}, func(err error) { b.offerRefused(r, statusOfError(err)) })
}

// offerTaken passes the 2xx of an offer back.
func (b *bridge) offerTaken(r *relay, res *sip.Response) {
	invite, late := r.req.IsInvite(), len(r.req.Body()) == 0
	if b.phase == ending {
		if invite {
			b.acknowledge(r.to, r.req, nil)
		}
		return
	}
	r.to.refreshTarget(res)
	r.to.settleSession(res, b.gw.cfg.SessionExpires)
	if !late {
		r.to.sdp = slices.Clone(r.req.Body())
	}
	if invite && !late {
		b.acknowledge(r.to, r.req, nil)
	}
	ok := r.in.reply(sip.StatusOK)
	r.from.describe(ok)
	r.from.refreshTarget(r.in.req)
	r.from.grantSession(r.in.req, ok)
	pass(res, ok)
	if err := r.in.send(ok); err != nil {
		// The sender gave up, and the other side changed its session: they will
		// not find together again.
		b.log().Info("sip session change half done", "err", err)
		b.lost(r.from)
		return
	}
	r.from.sdp = slices.Clone(ok.Body())
	if !invite {
		b.relay = nil
		return
	}
	b.await(r.from, r.in, ok, func(ack *sip.Request) {
		b.relay = nil
		if late {
			b.acknowledge(r.to, r.req, ack)
		}
	})
}

// offerRefused passes a refusal back; the session stays as it was, unless the
// other side has no dialog any more (RFC 3261 §12.2.1.2).
func (b *bridge) offerRefused(r *relay, status int) {
	if b.phase == ending {
		return
	}
	b.relay = nil
	r.in.refuse(vpnlogic.CauseFromStatus(status).Status)
	if dialogGone(status) {
		b.lost(r.to)
	}
}

// dialogGone says whether a response inside a dialog ends it: 481 says so, and
// 408 that nobody is there.
func dialogGone(status int) bool {
	return status == sip.StatusCallTransactionDoesNotExists || status == sip.StatusRequestTimeout
}

// relayCancelled passes a CANCEL on; the library has sent the 487.
func (b *bridge) relayCancelled(*sip.Request) {
	b.relay.in.settle()
	b.relay.dropped = true
	b.cancelRelay(b.relay)
}

func (b *bridge) cancelRelay(r *relay) {
	if r.dropped && r.proceeded {
		r.dropped = false // once
		b.transact(cancelOf(r.req), func(*sip.Response, time.Time) {}, func(error) {})
	}
}

// stopRelay answers the offer under way when the call ends.
func (b *bridge) stopRelay() {
	if b.relay == nil || b.relay.in == nil || b.ack.waiting {
		b.relay = nil
		return
	}
	b.relay.in.refuse(sip.StatusRequestTerminated)
	b.relay = nil
}

// sessionDue refreshes a session, or ends the call when the peer should have.
func (b *bridge) sessionDue(d *dialog) {
	switch {
	case b.phase == ending:
	case !d.session.refresher:
		b.log().Info("sip session expired", "leg", d.party)
		b.lost(d)
	case b.phase != active || b.relay != nil || b.ack.waiting:
		d.session.due.set(randomWait(otherWaitMax)) // nobody was met on the wire
	default:
		b.refresh(d)
	}
}

// refresh sends an UPDATE, or a re-INVITE with the session as it is where the
// peer has no UPDATE (RFC 4028 §7.4).
func (b *bridge) refresh(d *dialog) {
	method := sip.INVITE
	if d.updates {
		method = sip.UPDATE
	}
	req := d.next(method)
	d.askSession(req, d.session.interval)
	if method == sip.INVITE && len(d.sdp) > 0 {
		req.AppendHeader(sip.NewHeader("Content-Type", contentTypeSDP))
		req.SetBody(slices.Clone(d.sdp))
	}
	b.relay = &relay{to: d, req: req}
	b.transact(req, func(res *sip.Response, _ time.Time) {
		if !res.IsProvisional() {
			b.refreshAnswered(d, req, res)
		}
	}, func(error) {
		b.relay = nil
		b.gw.metrics.refreshed(false)
		b.lost(d)
	})
}

// refreshAnswered: any answer but one shows that the peer is there.
func (b *bridge) refreshAnswered(d *dialog, req *sip.Request, res *sip.Response) {
	b.relay = nil
	if req.IsInvite() && res.IsSuccess() {
		b.acknowledge(d, req, nil)
	}
	if b.phase == ending {
		return
	}
	b.gw.metrics.refreshed(!dialogGone(res.StatusCode))
	switch status := res.StatusCode; {
	case res.IsSuccess():
		d.refreshTarget(res)
		d.settleSession(res, d.session.interval)
	case dialogGone(status):
		b.lost(d)
	case status == sip.StatusRequestPending:
		d.session.due.set(d.glareWait())
	case d.updates && (status == sip.StatusMethodNotAllowed || status == sip.StatusNotImplemented):
		d.updates = false
		d.session.due.set(0)
	case status == statusIntervalTooSmall:
		d.session.start(min(max(d.session.interval, readMinSE(res)), sessionMax), true)
	default:
		d.session.start(d.session.interval, true)
	}
}
