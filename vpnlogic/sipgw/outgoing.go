package sipgw

import (
	"slices"
	"time"

	"github.com/emiago/sipgo/sip"

	"gygate/vpnlogic"
)

// outgoing is our INVITE to the called party.
type outgoing struct {
	req       *sip.Request
	interval  time.Duration // session interval it asks for
	lateOffer bool          // it has no offer: the 200 has it, the ACK the answer
	proceeded bool          // a provisional response came, so CANCEL may go
	final     bool          // a final response came, or will not come any more
	retried   bool          // 422 was met once
	dropped   bool          // it is given up before its answer
	reasons   []sip.Header  // why, for the CANCEL
	cancelled bool          // the CANCEL is out
}

// dial sends the call on.
func (b *bridge) dial(dest vpnlogic.Destination) {
	if b.phase != screening {
		return
	}
	b.phase = connecting
	b.out = outgoing{interval: b.gw.cfg.SessionExpires, lateOffer: len(b.invite.req.Body()) == 0}
	w, err := b.gw.routes.find(dest, b.invite.req)
	if err != nil {
		b.log().Warn("sip call has nowhere to go", "called", vpnlogic.Mask(string(dest.Called)), "err", err)
		b.out.final = true
		b.call.Failed(time.Now(), vpnlogic.CauseOf(vpnlogic.ReasonNoRoute))
		return
	}
	shown := b.gw.routes.present(dest, wantsPrivacy(b.invite.req), w.contact)
	b.called = offerDialog(b, w, shown.from)
	b.gw.addDialog(b.called)
	b.sendInvite(func(req *sip.Request) {
		if shown.asserted != nil {
			req.AppendHeader(shown.asserted)
		}
		if dest.Charged {
			req.AppendHeader(sip.NewHeader(chargedHeader, chargedValue))
		}
		headers := callHeaders
		if !w.contact {
			headers = slices.Concat(callHeaders, trustHeaders)
		}
		pass(b.invite.req, req, headers...)
	})
}

// sendInvite builds the INVITE, with what fill adds, and sends it.
func (b *bridge) sendInvite(fill func(*sip.Request)) {
	req := b.called.next(sip.INVITE)
	hops := sip.MaxForwardsHeader(forwards(b.invite.req))
	req.ReplaceHeader(&hops)
	b.called.askSession(req, b.out.interval)
	fill(req)
	b.called.sdp = slices.Clone(req.Body())
	b.out.req = req
	b.transact(req, func(res *sip.Response, at time.Time) {
		b.inviteAnswered(res, at, fill)
	}, func(err error) {
		b.log().Debug("sip INVITE unanswered", "err", err)
		b.inviteFailed(statusOfError(err))
	})
}

// forwards is Max-Forwards for the outgoing leg: a call that runs in a circle
// through us must come to an end.
func forwards(req *sip.Request) uint32 {
	if hops := req.MaxForwards(); hops != nil {
		return min(hops.Val(), maxForwards) - 1
	}
	return maxForwards
}

// inviteAnswered takes a response to our INVITE.
func (b *bridge) inviteAnswered(res *sip.Response, at time.Time, fill func(*sip.Request)) {
	switch {
	case res.IsProvisional():
		b.progress(res, at)
	case res.IsSuccess():
		b.calledAnswered(res, at)
	case res.StatusCode == statusIntervalTooSmall && !b.out.retried && b.phase == connecting:
		b.out.retried, b.out.proceeded = true, false
		b.out.interval = min(max(b.out.interval, readMinSE(res)), sessionMax)
		b.sendInvite(fill)
	default:
		b.inviteFailed(res.StatusCode)
	}
}

// progress passes a provisional response through, with its early media.
func (b *bridge) progress(res *sip.Response, at time.Time) {
	b.out.proceeded = true
	if b.out.dropped {
		b.sendCancel()
		return
	}
	if b.phase != connecting || res.StatusCode == sip.StatusTrying {
		return
	}
	b.call.Ringing(at, res.StatusCode)
	through := b.invite.reply(res.StatusCode)
	through.Reason = res.Reason
	through.AppendHeader(b.caller.contact())
	pass(res, through, "P-Early-Media", "Alert-Info")
	if err := b.invite.send(through); err != nil {
		b.log().Debug("sip response not sent", "status", res.StatusCode, "err", err)
	}
}

// inviteFailed ends the set-up: the service learns the status and says what
// the caller gets, by Release.
func (b *bridge) inviteFailed(status int) {
	b.out.final = true
	if b.phase == connecting {
		b.call.Failed(time.Now(), vpnlogic.CauseFromStatus(status))
	}
}

// calledAnswered is the first 2xx to our INVITE: the call is on, and charged
// from this moment, unless the caller or the service gave it up before.
func (b *bridge) calledAnswered(res *sip.Response, at time.Time) {
	b.out.final = true
	b.called.establish(res)
	if b.phase != connecting {
		b.acknowledge(b.called, b.out.req, nil)
		b.hangUp(b.called, b.out.reasons)
		return
	}
	if !b.out.lateOffer {
		b.acknowledge(b.called, b.out.req, nil)
	}
	b.called.settleSession(res, b.out.interval)
	b.setup.stop()
	b.tellCaller(res, at)
}

// tellCaller passes the answer on and waits for the ACK. A CANCEL that was
// faster by a hair makes it fail: then the call was never answered.
func (b *bridge) tellCaller(res *sip.Response, at time.Time) {
	if !b.call.Answering() {
		return // it is being released: the BYE follows
	}
	ok := b.invite.reply(sip.StatusOK)
	b.caller.describe(ok)
	b.caller.grantSession(b.invite.req, ok)
	pass(res, ok, "P-Charging-Vector", "User-to-User", "Session-ID")
	if err := b.invite.send(ok); err != nil {
		b.log().Debug("sip 200 not sent", "err", err)
		b.callerCancelled(nil)
		return
	}
	b.caller.sdp, b.caller.answered = slices.Clone(ok.Body()), true
	b.phase = answered
	if ioi := chargingVector(res, "term-ioi"); ioi != "" {
		b.call.AnsweredBy(at, ioi)
	}
	b.call.Answered(at)
	b.calledFrom = numberOf(&b.called.remote.Address)
	b.tellConnected(b.called, res, at)
	b.await(b.caller, b.invite, ok, func(ack *sip.Request) {
		b.phase = active
		if b.out.lateOffer {
			b.acknowledge(b.called, b.out.req, ack)
		}
	})
}

// tellConnected tells the service who the called side says is there now: by
// P-Asserted-Identity (RFC 3325), or by a From that differs from the one the call was
// made to (RFC 4916). Only a peer inside the trust domain is believed.
func (b *bridge) tellConnected(d *dialog, msg sip.Message, at time.Time) {
	if d != b.called || !d.trusted || b.phase < answered || b.phase == ending || !b.gw.trusted(msg.Source()) {
		return
	}
	number, asserted := assertedNumber(msg)
	if req, isRequest := msg.(*sip.Request); isRequest && !asserted {
		if number = numberOf(&req.From().Address); number == b.calledFrom {
			return
		}
		b.calledFrom = number
	}
	if number != "" && len(number) <= identifierMax && number != b.connectedTo {
		b.connectedTo = number
		b.call.Connected(at, number)
	}
}

// callerCancelled ends the set-up; the library has sent the caller his 487.
func (b *bridge) callerCancelled(cancel *sip.Request) {
	if b.phase > connecting {
		return // the answer was faster
	}
	b.call.Cancelled(time.Now())
	b.caller.over = true
	b.finish(vpnlogic.CauseOf(vpnlogic.ReasonCancelled), cancel)
}

// dropInvite gives our INVITE up: with CANCEL, which may not go before a
// provisional response came (RFC 3261 §9.1). Whatever becomes of it, the
// INVITE's own final response decides; 64×T1 are the end of waiting for it.
func (b *bridge) dropInvite(reasons []sip.Header) {
	b.out.dropped, b.out.reasons = true, reasons
	b.setup.set(64 * sip.T1)
	if b.out.proceeded {
		b.sendCancel()
	}
}

func (b *bridge) sendCancel() {
	if b.out.final || b.out.cancelled {
		return
	}
	b.out.cancelled = true
	cancel := cancelOf(b.out.req)
	for _, reason := range b.out.reasons {
		cancel.AppendHeader(reason)
	}
	b.transact(cancel, func(*sip.Response, time.Time) {}, func(error) {})
}

// cancelOf builds the CANCEL of a request (RFC 3261 §9.1): its Request-URI,
// top Via, Route, From, To, Call-ID and number.
func cancelOf(invite *sip.Request) *sip.Request {
	cancel := sip.NewRequest(sip.CANCEL, *invite.Recipient.Clone())
	cancel.AppendHeader(sip.HeaderClone(invite.Via()))
	for _, name := range []string{"Route", "From", "To", "Call-ID"} {
		sip.CopyHeaders(name, invite, cancel)
	}
	hops := sip.MaxForwardsHeader(maxForwards)
	cancel.AppendHeader(&hops)
	cancel.AppendHeader(&sip.CSeqHeader{SeqNo: invite.CSeq().SeqNo, MethodName: sip.CANCEL})
	cancel.SetBody(nil)
	cancel.SetTransport(invite.Transport())
	cancel.Laddr = invite.Laddr
	return cancel
}

// repeatedAnswer is a 2xx that came again because its ACK was lost, or that of
// another branch of a forked INVITE: the first one won, others are
// acknowledged and ended (RFC 3261 §13.2.2.4).
func (b *bridge) repeatedAnswer(invite *sip.Request, res *sip.Response) {
	d := b.caller
	if b.called != nil && b.called.callID == invite.CallID().Value() {
		d = b.called
	}
	tag, _ := res.To().Params.Get("tag")
	won, _ := d.remote.Params.Get("tag")
	switch {
	case tag != won:
		loser := d.fork(res)
		b.acknowledge(loser, invite, nil)
		b.hangUp(loser, nil)
	case d.ack != nil && d.ack.CSeq().SeqNo == invite.CSeq().SeqNo:
		b.write(d.ack.Clone())
	}
}
