package gy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gygate/diameter/peer"
	"gygate/ocs"
	"gygate/vpnlogic"
)

// eventWait is how long an answer to a direct debit is waited for altogether:
// after Tx the service is granted and the wait goes on in the background; then
// the request goes to another server (RFC 8506 §7, table 5, PendingD).
const eventWait = 30 * time.Second

// DebitFailure is Direct-Debiting-Failure-Handling (RFC 8506 §8.15).
type DebitFailure uint32

// The failure handlings, numbered as on the wire.
const (
	// TerminateOrBuffer refuses the service when an answer proves that nothing
	// was debited; otherwise it is granted and the debit is repeated later.
	TerminateOrBuffer DebitFailure = 0
	// ContinueDebit grants the service and forgets the debit.
	ContinueDebit DebitFailure = 1
)

// EventRequest is a one-time event (RFC 8506 §6).
type EventRequest struct {
	Action       ocs.EventAction
	At           time.Time     // of the event; zero: now
	Payer        vpnlogic.E164 // the line that pays; "" when PayerAccount does
	PayerAccount string        // the account of a group, an identity of kind PRIVATE
	Context      string        // Service-Context-Id; "": that of calls
	RatingGroup  Optional[uint32]
	Service      Optional[uint32] // Service-Identifier
	Units        ServiceUnits     // what is asked about, debited or given back
	// RefundInformation is the token of the debit that a refund takes back.
	RefundInformation []byte
	Call              *vpnlogic.CallInfo // what is charged, if it is a call; nil: none
}

// EventAnswer is what came of it.
type EventAnswer struct {
	Session string // of this event alone
	// Granted says that the service may be given: debited, free, or let through
	// by failure handling.
	Granted bool
	// Buffered says that the request is repeated in the background until it is
	// answered.
	Buffered          bool
	Result            vpnlogic.ChargeResult
	Code              uint32 // Result-Code that decided, 0: none came
	Reason            string // token of Error-Message; for people only
	Units             ServiceUnits
	RefundInformation []byte // hand it back to refund this debit
	Cost              string // Cost-Information as a decimal, "" when absent
	Currency          uint32
	Enough            bool // of a balance check: Check-Balance-Result was ENOUGH_CREDIT
	Server            string
	Took              time.Duration
}

// Errors of Event; each wraps what the server or the network said.
var (
	// ErrEventFailed: an enquiry has no result, because a server refused it or
	// none answered.
	ErrEventFailed = errors.New("charging enquiry failed")
	// ErrRefundRefused: the charging system will not give the units back.
	ErrRefundRefused = errors.New("refund refused")
	// ErrRefundLost: nobody answered and there is no room to repeat it later.
	ErrRefundLost = errors.New("refund could not be delivered or kept")
)

// Event sends a one-time event and waits for its answer, for Tx at the most, and
// an enquiry once more for Tx through another server. A debit is never an error:
// Granted decides. A refund without an answer is not one either: it is Buffered.
func (c *Client) Event(ctx context.Context, r EventRequest) (EventAnswer, error) {
	e := &oneTime{client: c, request: r, ccr: c.event(ctx, r), began: time.Now()}
	e.answer = EventAnswer{Session: e.ccr.SessionID}
	var err error
	switch r.Action {
	case ocs.DirectDebit:
		e.debit(ctx)
	case ocs.RefundAccount:
		err = e.refund(ctx)
	case ocs.CheckBalance, ocs.PriceEnquiry:
		err = e.enquire(ctx)
	default:
		err = fmt.Errorf("%w: Requested-Action %d does not exist", ErrEventFailed, r.Action)
	}
	e.answer.Took = time.Since(e.began)
	return e.answer, err
}

// oneTime is one Event under way.
type oneTime struct {
	client  *Client
	request EventRequest
	ccr     *CCR
	began   time.Time
	answer  EventAnswer
}

// event is the request as CCR: number 0 in a session of its own (conformance
// C-085). A balance check takes the pure RFC form, for the answer to it has no
// place in the MSCC (B-180).
func (c *Client) event(ctx context.Context, r EventRequest) *CCR {
	who := vpnlogic.ChargeRequest{Payer: r.Payer, PayerAccount: r.PayerAccount}
	ccr := &CCR{
		SessionID:        c.NewSession(ctx),
		OriginHost:       c.config.Local.Host,
		OriginRealm:      c.config.Local.Realm,
		DestinationRealm: c.config.Realm,
		OriginStateID:    c.config.Local.StateID,
		ServiceContextID: c.config.Context,
		Type:             ocs.Event,
		EventTimestamp:   r.At,
		Payer:            payerOf(who),
		Action:           Some(uint32(r.Action)),
	}
	if r.Context != "" {
		ccr.ServiceContextID = r.Context
	}
	if ccr.EventTimestamp.IsZero() {
		ccr.EventTimestamp = time.Now()
	}
	if r.Call != nil {
		who.Call, who.Type = *r.Call, vpnlogic.ChargeInitial
		ccr.Call.IMS = c.information(who)
	}
	ccr.setService(r)
	return ccr
}

func (r *CCR) setService(e EventRequest) {
	s := Service{Requested: Some(e.Units), RatingGroup: e.RatingGroup, RefundInformation: e.RefundInformation}
	if e.Service.Present {
		s.Identifiers = []uint32{e.Service.Value}
	}
	if e.Action == ocs.CheckBalance || e.Action == ocs.PriceEnquiry {
		s.RatingGroup = Optional[uint32]{} // has no place outside an MSCC
		r.Command = s
		return
	}
	r.MultipleServices, r.Services = Some(multipleServicesSupported), []Service{s}
}

// reply is what came of one sending.
type reply struct {
	answer peer.Answer
	err    error
	went   string // the peer that got the request last
}

// again is what a repetition has to know: it is always marked as one.
func (r reply) again() repeat { return repeat{sent: true, endToEnd: r.answer.EndToEnd} }

// exchange sends the event to any server, for Tx unless wait says otherwise.
func (e *oneTime) exchange(ctx context.Context, again repeat, avoid string, wait time.Duration) (r reply) {
	o := e.client.outgoing(e.ccr, session{}, again)
	o.avoid, o.wait, o.went = avoid, wait, &r.went
	r.answer, r.err = e.client.send(ctx, o)
	return r
}

// enquire asks one server, and another one when the first gave no answer; more
// than that is an error (table 5, PendingE × CHECK_BALANCE, PRICE_ENQUIRY;
// conformance C-080).
func (e *oneTime) enquire(ctx context.Context) error {
	r := e.exchange(ctx, repeat{}, "", 0)
	err := e.read(r)
	if errors.Is(err, peer.ErrNoAnswer) && ctx.Err() == nil {
		err = e.read(e.exchange(ctx, r.again(), r.went, 0))
	}
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrEventFailed, err)
	case e.answer.Result != vpnlogic.ChargeGranted:
		return fmt.Errorf("%w: Result-Code %d %s", ErrEventFailed, e.answer.Code, e.answer.Reason)
	}
	return nil
}

// read takes an answer over. An error means that there is none, or that it cannot
// be used.
func (e *oneTime) read(r reply) error {
	if r.err != nil {
		e.answer.Result, e.answer.Reason = vpnlogic.ChargeUnreachable, vpnlogic.ReasonUnreachable
		return r.err
	}
	cca, fault := ParseCCA(r.answer.Message)
	if fault == nil && !cca.answers(e.ccr) {
		e.answer.Result, e.answer.Reason = vpnlogic.ChargeUnreachable, vpnlogic.ReasonUnreachable
		return fmt.Errorf("%w: what came is for CCR-%s #%d", peer.ErrNoAnswer, typeName(cca.Type), cca.Number)
	}
	if handling := cca.DebitFailure; handling.Present && handling.Value <= uint32(ContinueDebit) {
		e.client.debits.Store(handling.Value)
	}
	a := &e.answer
	a.Result, a.Code, a.Reason, a.Server = meaning(cca.ResultCode), uint32(cca.ResultCode), cca.ErrorMessage, cca.OriginHost
	if a.Result != vpnlogic.ChargeGranted {
		return nil
	}
	if fault == nil {
		fault = r.answer.Fault
	}
	if fault != nil {
		a.Result, a.Reason = vpnlogic.ChargeFailed, vpnlogic.ReasonBadAnswer
		return fault
	}
	e.readSuccess(cca)
	return nil
}

func (e *oneTime) readSuccess(cca *CCA) {
	a, service := &e.answer, cca.Command
	if len(cca.Services) > 0 {
		service = cca.Services[0]
	}
	if code := service.ResultCode; code != 0 {
		a.Result, a.Code = meaning(code), uint32(code)
	}
	a.Units, a.RefundInformation = service.Granted.Value.ServiceUnits, service.RefundInformation
	a.Enough = cca.CheckBalance.Present && cca.CheckBalance.Value == 0
	if cca.Cost.Present {
		a.Cost, a.Currency = cca.Cost.Value.Value.String(), cca.Cost.Value.Currency
	}
}
