package gy

import (
	"gygate/diameter"
	"gygate/ocs"
	"gygate/vpnlogic"
)

// ---- table 1: interrogation → prepaid verbs ----

// interrogation is a row of table 1.
type interrogation struct {
	kind   ocs.StepType
	action ocs.EventAction // of Event only
	verbs  ocs.Verbs
	// idle is what remains of verbs when no unit is requested: a report
	// without Requested-Service-Unit debits and unfreezes, and reserves
	// nothing anew (RFC 8506 §8.16, conformance B-073).
	idle ocs.Verbs
}

// interrogations is table 1 (RFC 8506 §5.2 to §5.4 and §6). Every
// CC-Request-Type and Requested-Action has its row.
var interrogations = [...]interrogation{
	// First interrogation: may the payer use the service; freeze the first slice.
	{ocs.Initial, 0,
		ocs.VerbOpen | ocs.VerbAuthenticate | ocs.VerbReserve,
		ocs.VerbOpen | ocs.VerbAuthenticate},
	// Intermediate: pay what was used, unfreeze the rest, freeze the next slice.
	// The account is looked at again, so that a block in mid-session is found.
	{ocs.Update, 0,
		ocs.VerbAuthenticate | ocs.VerbDebit | ocs.VerbRefund | ocs.VerbReserve,
		ocs.VerbAuthenticate | ocs.VerbDebit | ocs.VerbRefund},
	// Final: pay what was used, unfreeze the rest, end. Nothing is granted even
	// when units are requested (B-074), and a blocked account still pays.
	{ocs.Terminate, 0,
		ocs.VerbDebit | ocs.VerbRefund | ocs.VerbClose,
		ocs.VerbDebit | ocs.VerbRefund | ocs.VerbClose},
	// One-time event, DIRECT_DEBITING: Requested-Service-Unit is what is debited.
	{ocs.Event, ocs.DirectDebit,
		ocs.VerbAuthenticate | ocs.VerbDebit,
		ocs.VerbAuthenticate | ocs.VerbDebit},
	// REFUND_ACCOUNT credits; it is no unfreezing, so the refund verb is not it.
	{ocs.Event, ocs.RefundAccount, 0, 0},
	// CHECK_BALANCE and PRICE_ENQUIRY move nothing.
	{ocs.Event, ocs.CheckBalance, 0, 0},
	{ocs.Event, ocs.PriceEnquiry, 0, 0},
}

// verbsOf looks table 1 up; false is a type or action that does not exist.
func verbsOf(kind ocs.StepType, action ocs.EventAction, requested bool) (ocs.Verbs, bool) {
	for _, row := range interrogations {
		switch {
		case row.kind != kind || kind == ocs.Event && row.action != action:
		case requested:
			return row.verbs, true
		default:
			return row.idle, true
		}
	}
	return 0, false
}

// ---- table 2: refusal → Result-Code, and Result-Code → what it means to a call ----

// level says where the code of a refusal stands in the answer.
type level uint8

const (
	// atCommand: the whole request is refused.
	atCommand level = iota
	// atService: in the MSCC of the target, as long as the session goes on for
	// others; at the command when nothing is left (conformance B-095).
	atService
)

// offence says which AVP Failed-AVP shows (RFC 6733 §7.5).
type offence uint8

const (
	nothing      offence = iota
	theContext           // Service-Context-Id
	thePayers            // every Subscription-Id
	aPayer               // the Subscription-Id that is there, or an empty example
	thePrice             // Called-Party-Address, or the MSCC reduced to its target
	theUnit              // the unit AVP that the service does not rate
	theCurrency          // Currency-Code
	theReference         // Refund-Information
)

// answer is the right side of a row of table 2.
type answer struct {
	code  diameter.ResultCode
	level level
	shows offence
}

// answers is table 2, server side (RFC 8506 §9, conformance B-150 to B-158).
// Every ocs.Refusal has its row; a test reads ocs/refusal.go to see to it.
//
// A temporary inability of ours is a protocol error (3xxx), because only those
// make a client try another server (B-155).
var answers = map[ocs.Refusal]answer{
	ocs.UnknownSubscriber: {diameter.UserUnknown, atCommand, nothing},
	ocs.NoIdentity:        {diameter.RatingFailed, atCommand, aPayer},
	ocs.IdentityConflict:  {diameter.ContradictingAVPs, atCommand, thePayers},
	ocs.UnsupportedId:     {diameter.InvalidAVPValue, atCommand, aPayer},
	ocs.PayerChanged:      {diameter.InvalidAVPValue, atCommand, aPayer},

	// The payer may not: DIAMETER_END_USER_SERVICE_DENIED.
	ocs.Lost:        {diameter.EndUserServiceDenied, atService, nothing},
	ocs.Blocked:     {diameter.EndUserServiceDenied, atService, nothing},
	ocs.Closed:      {diameter.EndUserServiceDenied, atService, nothing},
	ocs.NotYetValid: {diameter.EndUserServiceDenied, atService, nothing},
	ocs.Expired:     {diameter.EndUserServiceDenied, atService, nothing},

	// The payer cannot: DIAMETER_CREDIT_LIMIT_REACHED.
	ocs.BelowThreshold: {diameter.CreditLimitReached, atService, nothing},
	ocs.NoBalance:      {diameter.CreditLimitReached, atService, nothing},
	ocs.NotAvailable:   {diameter.CreditLimitReached, atService, nothing},
	ocs.CreditLimit:    {diameter.CreditLimitReached, atService, nothing},

	ocs.Free: {diameter.CreditControlNotApplicable, atService, nothing},

	ocs.Unrated:         {diameter.RatingFailed, atService, thePrice},
	ocs.UnknownContext:  {diameter.RatingFailed, atCommand, theContext},
	ocs.UnitMismatch:    {diameter.InvalidAVPValue, atService, theUnit},
	ocs.ForeignCurrency: {diameter.RatingFailed, atService, theCurrency},

	ocs.UnknownSession: {diameter.UnknownSessionID, atCommand, nothing},
	ocs.SessionExists:  {diameter.UnableToComply, atCommand, nothing},
	ocs.OutcomeGone:    {diameter.UnableToComply, atCommand, nothing},

	ocs.RefundNotLinked: {diameter.EndUserServiceDenied, atService, theReference},
	ocs.RefundTooLarge:  {diameter.EndUserServiceDenied, atService, theReference},

	ocs.Busy:        {diameter.TooBusy, atCommand, nothing}, // or 3002, see diameter.Overloaded
	ocs.Unavailable: {diameter.UnableToDeliver, atCommand, nothing},
	ocs.Internal:    {diameter.UnableToComply, atCommand, nothing},
}

// answerTo looks table 2 up. A refusal without a row can only come from a
// newer node's stored outcome: it is a fault of ours, so Internal's row.
func answerTo(r ocs.Refusal) answer {
	if row, ok := answers[r]; ok {
		return row
	}
	return answers[ocs.Internal]
}

// meanings is table 2, client side: what a Result-Code means to a call (RFC
// 8506 §7, tables 3 and 4; conformance C-002 to C-008). The codes stand for the
// command and for an MSCC alike.
var meanings = map[diameter.ResultCode]vpnlogic.ChargeResult{
	diameter.Success:        vpnlogic.ChargeGranted,
	diameter.LimitedSuccess: vpnlogic.ChargeGranted,

	// The peers have been tried: nobody took the request.
	diameter.UnableToDeliver: vpnlogic.ChargeUnreachable,
	diameter.TooBusy:         vpnlogic.ChargeUnreachable,
	diameter.LoopDetected:    vpnlogic.ChargeUnreachable,
	// Redirects are not followed (conformance A-072).
	diameter.RedirectIndication: vpnlogic.ChargeUnreachable,

	// These decide whatever Credit-Control-Failure-Handling says.
	diameter.EndUserServiceDenied:       vpnlogic.ChargeRefused,
	diameter.UserUnknown:                vpnlogic.ChargeRefused,
	diameter.CreditControlNotApplicable: vpnlogic.ChargeFree,
	diameter.CreditLimitReached:         vpnlogic.ChargeNoCredit,
}

// meaning looks table 2 up from the client's side. All other codes are failures,
// for which failure handling decides: 3xxx that another server would answer alike,
// 4xxx that do not pass in time for this call, a 2xxx that RFC 8506 does not know,
// for nobody can say what it granted, and unknown classes, which are permanent
// failures (RFC 6733 §7.1, conformance A-057).
func meaning(code diameter.ResultCode) vpnlogic.ChargeResult {
	if result, ok := meanings[code]; ok {
		return result
	}
	return vpnlogic.ChargeFailed
}
