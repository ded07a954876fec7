package gy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gygate/diameter/peer"
	"gygate/vpnlogic"
)

// This file is what becomes of events that move money when the answer is bad,
// late or missing (RFC 8506 §6.5 and §7, table 5).

// debitFailure is the failure handling in force: of the last answer that told
// one, else as configured.
func (c *Client) debitFailure() DebitFailure { return DebitFailure(c.debits.Load()) }

// debit sends the request and decides at Tx at the latest. The wait for the
// answer outlives that, and the caller's own.
func (e *oneTime) debit(ctx context.Context) {
	waiting, stop := context.WithCancel(context.WithoutCancel(ctx))
	replies := make(chan reply, 1)
	go func() {
		replies <- e.exchange(waiting, repeat{}, "", max(eventWait, e.client.config.Tx))
	}()
	tx := time.NewTimer(e.client.config.Tx)
	defer tx.Stop()
	select {
	case r := <-replies:
		stop()
		e.pendingE(ctx, r)
		return
	case <-tx.C:
	case <-ctx.Done():
	}
	e.pendingD(ctx, replies, stop)
}

// pendingE decides on what came within Tx (conformance C-082):
//
//	success, free                                    → grant
//	not allowed, unknown payer, no credit            → refuse
//	other failure, CONTINUE                          → grant, forget
//	other failure, TERMINATE_OR_BUFFER               → refuse: nothing was debited
//	failure to send, no answer, CONTINUE             → grant, forget
//	failure to send, no answer, TERMINATE_OR_BUFFER  → grant, store with T
func (e *oneTime) pendingE(ctx context.Context, r reply) {
	a, err := &e.answer, e.read(r)
	goOn := e.client.debitFailure() == ContinueDebit
	switch {
	case err != nil && (r.err != nil || errors.Is(err, peer.ErrNoAnswer)):
		if !goOn {
			a.Buffered = e.client.late.add(ctx, e.kept(r.again()))
		}
		// What never left and cannot be stored is refused: nobody would pay.
		a.Granted = goOn || a.Buffered || r.err == nil || sent(r.err)
	case err != nil:
		a.Granted = true // a success, though it cannot be read: the debit is done
	case a.Result == vpnlogic.ChargeFailed || a.Result == vpnlogic.ChargeUnreachable:
		a.Granted = goOn
	default:
		a.Granted = a.Result == vpnlogic.ChargeGranted || a.Result == vpnlogic.ChargeFree
	}
}

// pendingD grants the service and goes on waiting; what has no answer by then is
// sent to another server with T (conformance C-081), unless failure handling is
// CONTINUE.
func (e *oneTime) pendingD(ctx context.Context, replies <-chan reply, stop context.CancelFunc) {
	e.answer.Granted, e.answer.Result, e.answer.Reason = true, vpnlogic.ChargeUnreachable, vpnlogic.ReasonUnreachable
	if e.client.debitFailure() == ContinueDebit {
		stop()
		return
	}
	e.answer.Buffered = e.client.late.addWaiting(ctx, e.kept(repeat{sent: true}), replies, stop)
}

// refund:
//
//	PendingE × success                      → Idle
//	PendingE × failed answer                → Idle: error
//	PendingE × temporary failure, Tx, failure to send → PendingB: stored with T (conformance C-083)
func (e *oneTime) refund(ctx context.Context) error {
	r := e.exchange(ctx, repeat{}, "", 0)
	a, err := &e.answer, e.read(r)
	switch {
	case a.Result == vpnlogic.ChargeUnreachable:
		if a.Buffered = e.client.late.add(ctx, e.kept(r.again())); !a.Buffered {
			return fmt.Errorf("%w: %w", ErrRefundLost, errOr(err, a))
		}
		return nil
	case err != nil || a.Result != vpnlogic.ChargeGranted:
		return fmt.Errorf("%w: %w", ErrRefundRefused, errOr(err, a))
	}
	a.Granted = true
	return nil
}

// errOr is err, else what the answer said.
func errOr(err error, a *EventAnswer) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("Result-Code %d %s", a.Code, a.Reason)
}

// kept is the event as it waits in the background (PendingB): success or a
// permanent failure ends it, a temporary one keeps it (conformance C-084).
func (e *oneTime) kept(again repeat) Kept {
	return keep(session{}, e.began, again, e.ccr)
}
