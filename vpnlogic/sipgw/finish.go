package sipgw

import (
	"fmt"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"gygate/vpnlogic"
)

// finish ends whatever there is on both legs, once. said is the request of the
// party that ended the call, nil when the service or the gateway does: its
// Reason goes on to the other party, else the cause's own (RFC 3326).
func (b *bridge) finish(cause vpnlogic.Cause, said *sip.Request) {
	if b.phase == ending {
		return
	}
	was := b.phase
	b.phase = ending
	b.setup.stop()
	b.stopRelay()
	reasons := []sip.Header{reasonHeader(cause)}
	if said != nil && len(said.GetHeaders("Reason")) > 0 {
		reasons = said.GetHeaders("Reason")
	}
	b.finishCaller(was, cause, reasons)
	b.finishCalled(was, reasons)
}

// finishCaller refuses the caller's INVITE or sends him BYE. As the answering
// side we may not send BYE before his ACK or the end of waiting for it (RFC
// 3261 §15).
func (b *bridge) finishCaller(was phase, cause vpnlogic.Cause, reasons []sip.Header) {
	switch {
	case b.caller.over:
		b.ack.stop()
	case was <= connecting:
		b.caller.over = true
		b.invite.refuse(refusalStatus(cause), reasons...)
	case was == answered && b.ack.waiting:
		b.ack.then = func(*sip.Request) { b.hangUp(b.caller, reasons) }
	default:
		b.ack.stop()
		b.hangUp(b.caller, reasons)
	}
}

// finishCalled drops our INVITE or sends BYE.
func (b *bridge) finishCalled(was phase, reasons []sip.Header) {
	switch {
	case b.called == nil || b.called.over:
	case !b.called.answered && !b.out.final:
		b.dropInvite(reasons)
	case b.called.answered:
		if was <= answered && b.out.lateOffer {
			b.acknowledge(b.called, b.out.req, nil) // its answer will not come
		}
		b.hangUp(b.called, reasons)
	}
}

// refusalStatus is the status of a cause; a cause that ends answered calls
// only has none that refuses.
func refusalStatus(cause vpnlogic.Cause) int {
	if cause.Status < 300 || cause.Status > 699 {
		return sip.StatusServiceUnavailable
	}
	return cause.Status
}

// reasonHeader carries the cause value and the token of the release table (RFC
// 3326, in responses RFC 6432).
func reasonHeader(cause vpnlogic.Cause) sip.Header {
	token := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return -1
		}
		return r
	}, cause.Reason)
	return sip.NewHeader("Reason", fmt.Sprintf(`Q.850;cause=%d;text="%s"`, cause.Q850, token))
}

// hangUp sends BYE. What the peer makes of it changes nothing: the dialog is
// over.
func (b *bridge) hangUp(d *dialog, reasons []sip.Header) {
	d.over = true
	d.session.due.stop()
	bye := d.next(sip.BYE)
	for _, reason := range reasons {
		bye.AppendHeader(sip.HeaderClone(reason))
	}
	b.transact(bye, func(*sip.Response, time.Time) {}, func(err error) {
		b.log().Debug("sip BYE unanswered", "leg", d.party, "err", err)
	})
}

// hungUp is a BYE from a party.
func (b *bridge) hungUp(d *dialog, in *incoming) {
	switch {
	case b.phase > connecting:
		in.refuse(sip.StatusOK)
		d.over = true
		d.session.due.stop()
		if b.ack.leg == d {
			b.ack.stop() // it will not come any more
		}
		if b.phase != ending {
			b.call.HungUp(time.Now(), d.party)
		}
		b.finish(vpnlogic.CauseOf(vpnlogic.ReasonNormal), in.req)
	case d == b.caller: // the early dialog may be ended so (RFC 3261 §15)
		in.refuse(sip.StatusOK)
		b.call.Cancelled(time.Now())
		b.finish(vpnlogic.CauseOf(vpnlogic.ReasonCancelled), in.req)
	default:
		in.refuse(sip.StatusCallTransactionDoesNotExists)
	}
}

// lost ends a call one of whose parties has vanished.
func (b *bridge) lost(d *dialog) {
	if b.phase == ending {
		return
	}
	b.log().Info("sip call lost a party", "leg", d.party)
	b.call.Lost(time.Now())
	b.finish(vpnlogic.CauseOf(vpnlogic.ReasonLinkLost), nil)
}

// acknowledgement is the wait for the ACK of a 200 we sent: the transaction
// layer leaves its repetition to us (RFC 6026 §7.1).
type acknowledgement struct {
	waiting bool
	leg     *dialog
	in      *incoming
	ok      *sip.Response
	pause   time.Duration
	until   time.Time
	due     alarm
	then    func(ack *sip.Request) // ack is nil when none came in time
}

// await has the 200 repeated until it is acknowledged, for 64×T1 at the most
// (RFC 3261 §13.3.1.4).
func (b *bridge) await(d *dialog, in *incoming, ok *sip.Response, then func(*sip.Request)) {
	a := &b.ack
	a.waiting, a.leg, a.in, a.ok, a.then = true, d, in, ok, then
	a.pause, a.until = sip.T1, time.Now().Add(64*sip.T1)
	a.due.set(a.pause)
}

func (a *acknowledgement) stop() {
	a.waiting = false
	a.due.stop()
}

// acked takes an ACK of a party.
func (b *bridge) acked(d *dialog, ack *sip.Request) {
	a := &b.ack
	if !a.waiting || a.leg != d || ack.CSeq() == nil || ack.CSeq().SeqNo != a.in.req.CSeq().SeqNo {
		return
	}
	a.stop()
	a.then(ack)
}

// ackMissing repeats the 200, or ends the call when no ACK came: a caller who
// does not acknowledge does not listen, and must not be charged for longer.
func (b *bridge) ackMissing() {
	a := &b.ack
	if !a.waiting {
		return
	}
	if time.Now().Before(a.until) {
		_ = a.in.tx.Respond(a.ok) // the next one will do if this one does not
		a.pause = min(2*a.pause, sip.T2)
		a.due.set(min(a.pause, time.Until(a.until)))
		return
	}
	a.stop()
	if b.phase == ending {
		a.then(nil)
		return
	}
	b.relay = nil
	b.lost(a.leg)
}

// acks are those that repeat the branch of their INVITE, as some clients'
// do: the library takes them for its transaction's.
func (a *acknowledgement) acks() <-chan *sip.Request {
	if !a.waiting {
		return nil
	}
	return a.in.tx.Acks()
}

// acknowledge sends the ACK of a 2xx to our INVITE. carried is the other
// party's ACK whose body is the answer to a late offer, nil: none.
func (b *bridge) acknowledge(d *dialog, invite, carried *sip.Request) {
	ack := d.request(sip.ACK, invite.CSeq().SeqNo)
	if carried != nil {
		pass(carried, ack)
		if len(ack.Body()) > 0 {
			d.sdp = ack.Body()
		}
	}
	d.ack = ack
	if b.phase == active {
		b.setup.set(64 * sip.T1)
	}
	b.write(ack.Clone())
}
