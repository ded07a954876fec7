package sipgw

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/emiago/sipgo/sip"

	"gygate/vpnlogic"
)

// inboxMax bounds what waits for a bridge; whoever has more to say waits.
const inboxMax = 16

// phase is how far a call is as SIP sees it.
type phase uint8

const (
	screening  phase = iota // the service decides
	connecting              // our INVITE is out
	answered                // the called party answered; the caller's ACK is missing
	active                  // both dialogs are confirmed
	ending                  // nothing but the clearing of what is still open
)

// bridge is one call: the caller's dialog and the called party's, back to
// back. Its goroutine owns all of it and does all sending; others reach it
// through its channels.
type bridge struct {
	gw   *Gateway
	call call

	connect chan vpnlogic.Destination
	release chan vpnlogic.Cause
	inbox   chan func()
	done    chan struct{}

	phase   phase
	invite  *incoming // the caller's INVITE; nil once the call is active
	caller  *dialog
	called  *dialog // nil until connected
	out     outgoing
	ack     acknowledgement
	relay   *relay // the offer under way between the legs, nil: none
	setup   alarm  // bounds the set-up; then how long its ACKs are kept
	pending int    // client transactions that still run
	infos   int    // of those, INFO requests passed through
	gaveUp  bool   // a dropped INVITE never got its final response

	connectedTo string // the number the called side asserted last
	calledFrom  string // the number of its last From
}

func newBridge(g *Gateway, in *incoming) *bridge {
	b := &bridge{
		gw: g, invite: in,
		connect: make(chan vpnlogic.Destination, 1), release: make(chan vpnlogic.Cause, 1),
		inbox: make(chan func(), inboxMax), done: make(chan struct{}),
	}
	b.caller = acceptDialog(b, in.req)
	return b
}

// log is the gateway's log, for a line about this call.
func (b *bridge) log() *slog.Logger { return b.gw.log.With("call_id", b.caller.callID) }

// setUp runs the call until it is active, or over. This goroutine is the library's,
// which ends the INVITE's transaction when it returns. An active call goes on in one
// of its own: what it keeps for as long as two people talk is neither the INVITE with
// its transaction nor a stack that has parsed and built messages.
func (b *bridge) setUp() {
	b.gw.addDialog(b.caller)
	b.setup.set(b.gw.cfg.SetupMax)
	if b.run(b.confirmed) {
		b.forgetSetUp()
		go b.run(func() bool { return false })
	}
}

// confirmed says that both legs are set up.
func (b *bridge) confirmed() bool { return b.phase == active && !b.ack.waiting }

// forgetSetUp lets go of what only the set-up needed. The ACK of the called leg is kept
// for as long as its 200 may come again.
func (b *bridge) forgetSetUp() {
	b.invite, b.out, b.ack = nil, outgoing{final: true}, acknowledgement{}
	b.setup.set(64 * sip.T1)
}

// run takes one thing at a time until the call goes into other hands, which is true,
// or until both legs are clear or the gateway closes, which ends it.
func (b *bridge) run(handOver func() bool) (handed bool) {
	defer func() {
		if !handed {
			b.leave()
		}
	}()
	defer b.rescue()
	for !b.clear() {
		if handOver() {
			return true
		}
		select {
		case dest := <-b.connect:
			b.dial(dest)
		case cause := <-b.release:
			b.finish(cause, nil)
		case cancel := <-b.invite.cancels():
			b.callerCancelled(cancel)
		case cancel := <-b.relay.cancelled():
			b.relayCancelled(cancel)
		case ack := <-b.ack.acks():
			b.acked(b.ack.leg, ack)
		case event := <-b.inbox:
			event()
		case <-b.setup.C():
			b.setupExpired()
		case <-b.ack.due.C():
			b.ackMissing()
		case <-b.caller.session.due.C():
			b.sessionDue(b.caller)
		case <-b.calledDue():
			b.sessionDue(b.called)
		case <-b.gw.open.Done():
			return false
		}
	}
	return false
}

// rescue ends a call that met a fault of ours: the service settles it, the
// gateway goes on.
func (b *bridge) rescue() {
	if fault := recover(); fault != nil {
		b.log().Error("sip call fault: the call is dropped, the gateway goes on; please report this", "err", fault, "stack", string(debug.Stack()))
		b.call.Lost(time.Now())
		if b.invite != nil && !b.invite.isAnswered() {
			b.invite.refuse(sip.StatusInternalServerError)
		}
	}
}

// clear says that nothing is left to wait for.
func (b *bridge) clear() bool {
	return b.phase == ending && (b.pending == 0 || b.gaveUp) && !b.ack.waiting
}

func (b *bridge) calledDue() <-chan time.Time {
	if b.called == nil {
		return nil
	}
	return b.called.session.due.C()
}

func (b *bridge) leave() {
	close(b.done)
	for _, d := range []*dialog{b.caller, b.called} {
		if d != nil {
			d.session.due.stop()
			b.gw.removeDialog(d)
		}
	}
	b.setup.stop()
	b.ack.due.stop()
	b.gw.bridges.Done()
}

// post has the bridge run an event; false: it is gone.
func (b *bridge) post(event func()) bool {
	select {
	case b.inbox <- event:
		return true
	case <-b.done:
		return false
	}
}

// opposite returns the other party's dialog.
func (b *bridge) opposite(d *dialog) *dialog {
	if d == b.caller {
		return b.called
	}
	return b.caller
}

// transact sends a request and has the bridge take its responses: on gets
// each, the last one final; failed gets the error when there is none.
// INVITE transactions live on for repeated 2xx (RFC 6026 §7.2).
func (b *bridge) transact(req *sip.Request, on func(*sip.Response, time.Time), failed func(error)) {
	b.pending++
	b.gw.senders.Go(func() {
		// Only connecting a TCP peer takes time here, as much as an unanswered
		// request would.
		ctx, cancel := context.WithTimeout(b.gw.open, sip.Timer_B)
		defer cancel()
		tx, err := b.gw.client.TransactionRequest(ctx, req)
		if err != nil {
			b.post(func() { b.pending--; failed(err) })
			return
		}
		if req.IsInvite() {
			tx.OnRetransmission(func(res *sip.Response) {
				b.post(func() { b.repeatedAnswer(req, res) })
			})
		} else {
			defer tx.Terminate()
		}
		b.pump(tx, on, failed)
	})
}

func (b *bridge) pump(tx sip.ClientTransaction, on func(*sip.Response, time.Time), failed func(error)) {
	for {
		select {
		case res := <-tx.Responses():
			at, final := time.Now(), !res.IsProvisional()
			b.post(func() {
				if final {
					b.pending--
				}
				on(res, at)
			})
			if final {
				return
			}
		case <-tx.Done():
			err := tx.Err()
			b.post(func() { b.pending--; failed(err) })
			return
		case <-b.done:
			tx.Terminate()
			return
		}
	}
}

// write sends an ACK, which has no transaction.
func (b *bridge) write(ack *sip.Request) {
	if err := b.gw.client.WriteRequest(ack); err != nil {
		// The peer repeats its 200, and the ACK is sent again.
		b.log().Debug("sip ACK not sent", "err", err)
	}
}

// setupExpired ends a call that was not answered in time, the wait for the final
// response to a dropped INVITE, and in a call the time in which its 200s may come again.
func (b *bridge) setupExpired() {
	switch {
	case b.phase == active:
		b.caller.ack, b.called.ack = nil, nil
	case b.phase == ending:
		b.gaveUp = true
	case b.phase <= connecting:
		b.call.Failed(time.Now(), vpnlogic.CauseOf(vpnlogic.ReasonNoAnswer))
		b.finish(vpnlogic.CauseOf(vpnlogic.ReasonNoAnswer), nil)
	}
}

// statusOfError is the SIP status that an outgoing request without any answer
// amounts to (RFC 3261 §8.1.3.1).
func statusOfError(err error) int {
	if errors.Is(err, sip.ErrTransactionTimeout) || errors.Is(err, context.DeadlineExceeded) {
		return sip.StatusRequestTimeout
	}
	return sip.StatusServiceUnavailable
}
