package vpnlogic

import "fmt"

// Cause says why a call is refused or released: one row of the release table,
// which gives the Q.850 cause value and the SIP status.
type Cause struct {
	Reason string // stable token: "normal", "vpn.not_a_member", "authenticate.lost"
	Q850   int
	Status int // SIP status for a refusal
}

// The reasons the service itself gives. Those of the charging system
// (ocs.Refusal) stand in the table below under their own tokens, but arrive
// for people only: what to do is decided by the [ChargeResult].
const (
	ReasonNormal    = "normal"           // a party hung up
	ReasonCancelled = "caller.cancelled" // the caller gave up before the answer

	ReasonNoCallingNumber     = "vpn.no_calling_number"
	ReasonNotAMember          = "vpn.not_a_member"
	ReasonOutgoingBarred      = "vpn.outgoing_barred"
	ReasonOffNetBarred        = "vpn.off_net_barred"
	ReasonInternationalBarred = "vpn.international_barred"
	ReasonIncomingBarred      = "vpn.incoming_barred"
	ReasonDenied              = "vpn.denied_by_list"
	ReasonIncomingDenied      = "vpn.incoming_denied_by_list"
	ReasonUnknownShortNumber  = "vpn.unknown_short_number"
	ReasonEscapeCodeRequired  = "vpn.escape_code_required"
	ReasonInvalidNumber       = "vpn.invalid_number"

	ReasonRefused     = "charging.refused"        // the payer may not, no token came
	ReasonNoPayer     = "charging.no_payer"       // 5030: the payer is unknown there
	ReasonNoCredit    = "charging.no_credit"      // 4012
	ReasonQuotaEnd    = "charging.quota_end"      // the last units are used up
	ReasonFailed      = "charging.failed"         // a permanent failure
	ReasonBadAnswer   = "charging.bad_answer"     // an answer that cannot be used
	ReasonUnreachable = "charging.unreachable"    // no answer within Tx, or no peer
	ReasonAborted     = "charging.aborted"        // the charging system ends the session
	ReasonUnrated     = "charging.rating_blocked" // 5031 to such a call lately (C-034)

	ReasonBusy        = "called.busy"
	ReasonNoAnswer    = "called.no_answer"
	ReasonUnavailable = "called.unavailable"
	ReasonUnallocated = "called.unallocated"
	ReasonDeclined    = "called.declined"
	ReasonGone        = "called.number_changed"
	ReasonIncomplete  = "called.address_incomplete"
	ReasonTimeout     = "called.timeout"
	ReasonRejected    = "called.failed"

	ReasonCallLimit  = "service.call_limit"  // the hard limit of one call's length
	ReasonOverload   = "service.overload"    // CallsMax reached
	ReasonShutdown   = "service.shutdown"    // the gateway stops
	ReasonLinkLost   = "service.link_lost"   // a leg died without a word: session timer, media
	ReasonInternal   = "service.internal"    // a fault of the gateway
	ReasonNoRoute    = "service.no_route"    // nowhere to send the called number
	ReasonMediaFault = "service.media_fault" // the legs cannot agree on media
)

// release is a row of the release table.
type release struct {
	q850   int
	status int
	text   string
}

// releaseTable is the one place that says how a reason shows on the wire:
// Q.850 cause values, SIP statuses after RFC 3398 §8.2.6.1, and a sentence for
// people. A refusal for money is 402, which RFC 3398 §7.2.4.1 reads as cause
// 21; a payer unknown to charging is cause 50, for it is the facility that is
// not subscribed, not the called number that is missing.
var releaseTable = map[string]release{
	ReasonNormal:    {16, 200, "the call ended normally"},
	ReasonCancelled: {16, 487, "the caller gave up before the answer"},

	ReasonNoCallingNumber:     {21, 403, "the calling number is withheld or not trusted"},
	ReasonNotAMember:          {87, 403, "the calling line is no member of a virtual private network"},
	ReasonOutgoingBarred:      {53, 403, "outgoing calls are barred for this member"},
	ReasonOffNetBarred:        {53, 403, "calls out of the network are barred for this member"},
	ReasonInternationalBarred: {53, 403, "international calls are barred for this member"},
	ReasonIncomingBarred:      {55, 403, "incoming calls are barred for the called member"},
	ReasonDenied:              {53, 403, "a deny list stands against the called number"},
	ReasonIncomingDenied:      {55, 403, "the called member's list denies the calling number"},
	ReasonUnknownShortNumber:  {1, 404, "no member has this short number"},
	ReasonEscapeCodeRequired:  {53, 403, "a public number needs the group's escape code in front"},
	ReasonInvalidNumber:       {28, 484, "the dialled number is no number of the plan"},

	ReasonRefused:     {21, 403, "the charging system refuses this payer"},
	ReasonNoPayer:     {50, 403, "the charging system does not know the payer"},
	ReasonNoCredit:    {21, 402, "there is no credit for the call"},
	ReasonQuotaEnd:    {31, 402, "the credit is used up"},
	ReasonFailed:      {41, 503, "charging failed"},
	ReasonBadAnswer:   {41, 503, "the charging system's answer cannot be used"},
	ReasonUnreachable: {41, 503, "the charging system does not answer"},
	ReasonAborted:     {21, 403, "the charging system ended the call"},
	ReasonUnrated:     {41, 503, "the charging system could not price such a call lately"},

	ReasonBusy:        {17, 486, "the called party is busy"},
	ReasonNoAnswer:    {19, 480, "the called party does not answer"},
	ReasonUnavailable: {20, 480, "the called party cannot be reached"},
	ReasonUnallocated: {1, 404, "the called number is not assigned"},
	ReasonDeclined:    {21, 603, "the called party declined"},
	ReasonGone:        {22, 410, "the called number has changed"},
	ReasonIncomplete:  {28, 484, "the called number is incomplete"},
	ReasonTimeout:     {102, 408, "the called side did not respond in time"},
	ReasonRejected:    {41, 503, "the called side could not set the call up"},

	ReasonCallLimit:  {31, 480, "the call reached its longest time"},
	ReasonOverload:   {42, 503, "the gateway serves as many calls as it may"},
	ReasonShutdown:   {41, 503, "the gateway is stopping"},
	ReasonLinkLost:   {27, 408, "one leg of the call was lost"},
	ReasonInternal:   {41, 500, "the gateway failed"},
	ReasonNoRoute:    {3, 404, "there is no route to the called number"},
	ReasonMediaFault: {65, 488, "the parties cannot agree on media"},

	// Tokens of the charging system (ocs.Refusal), for the sentence. Their
	// numbers are those of the result they come with, as chargingCause has it;
	// a test of diameter/gy, which knows both sides, holds them together.
	"authenticate.unknown_subscriber":  {50, 403, "the prepaid service does not know the payer"},
	"authenticate.no_identity":         {41, 503, "the prepaid service was told no payer"},
	"authenticate.identity_conflict":   {41, 503, "the payer's identities name two accounts"},
	"authenticate.unsupported_id":      {41, 503, "the prepaid service cannot read the payer's identity"},
	"authenticate.payer_changed":       {41, 503, "the payer changed in mid-call"},
	"authenticate.lost":                {21, 403, "the prepaid account is reported lost"},
	"authenticate.blocked":             {21, 403, "the prepaid account is blocked"},
	"authenticate.closed":              {21, 403, "the prepaid account is closed"},
	"authenticate.not_yet_valid":       {21, 403, "the prepaid account is not valid yet"},
	"authenticate.expired":             {21, 403, "the prepaid account has expired"},
	"authenticate.threshold":           {21, 402, "the balance is below the account's threshold"},
	"authenticate.no_balance":          {21, 402, "there is no money on the account"},
	"reserve.not_available_to_service": {21, 402, "the money on the account is not available to this call"},
	"reserve.credit_limit":             {21, 402, "what is left on the account is too little for a call"},
	"rate.no_price":                    {41, 503, "the charging system has no price for this call"},
	"rate.unknown_context":             {41, 503, "the charging system does not serve this service context"},
	"rate.unit":                        {41, 503, "the charging system does not price calls by time"},
	"rate.currency":                    {41, 503, "the account is kept in another currency"},
	"session.unknown":                  {41, 503, "the charging system does not know the session any more"},
	"session.exists":                   {41, 503, "the charging system has this session already"},
	"session.outcome_gone":             {41, 503, "the charging system does not keep the repeated answer any more"},
	"engine.internal":                  {41, 503, "the charging system failed"},
}

// reasonMax bounds a token taken over from an answer of the charging system.
const reasonMax = 64

// CauseOf returns the row of the release table for a reason; an unknown one
// gets the row of an internal fault under its own name.
func CauseOf(reason string) Cause {
	row, known := releaseTable[reason]
	if !known {
		row = releaseTable[ReasonInternal]
	}
	return Cause{Reason: reason, Q850: row.q850, Status: row.status}
}

// Text is the cause as a sentence part for people, without the token.
func (c Cause) Text() string {
	if row, known := releaseTable[c.Reason]; known {
		return row.text
	}
	return "released with cause " + fmt.Sprint(c.Q850)
}

// String is the cause on one line of a ladder or log.
func (c Cause) String() string {
	return fmt.Sprintf("%s (%d, Q.850 %d)", c.Reason, c.Status, c.Q850)
}

// CauseFromStatus is the cause of a called leg that ended the set-up with the
// SIP status (RFC 3398 §7.2.4.1). The status itself goes on to the caller,
// except a challenge or a redirection, which are not his to answer.
func CauseFromStatus(status int) Cause {
	c := CauseOf(reasonOfStatus(status))
	if status >= 402 && status != 407 && status <= 699 {
		c.Status = status
	}
	return c
}

func reasonOfStatus(status int) string {
	switch status {
	case 404, 485, 604:
		return ReasonUnallocated
	case 408, 504:
		return ReasonTimeout
	case 410:
		return ReasonGone
	case 480:
		return ReasonUnavailable
	case 484:
		return ReasonIncomplete
	case 486, 600:
		return ReasonBusy
	case 487:
		return ReasonCancelled
	case 488, 606:
		return ReasonMediaFault
	case 402, 403, 603:
		return ReasonDeclined
	default:
		return ReasonRejected
	}
}

// chargingCause is the cause of an answer that grants nothing. The row follows
// the result, never the token: the token only names it.
func chargingCause(a ChargeAnswer) Cause {
	c := CauseOf(reasonOfResult(a))
	if token := printable(a.Reason); token != "" && len(token) <= reasonMax {
		c.Reason = token
	}
	return c
}

// subscriberUnknown is DIAMETER_USER_UNKNOWN (RFC 8506 §9.2), the one
// Result-Code whose cause value differs from its ChargeResult's.
const subscriberUnknown = 5030

func reasonOfResult(a ChargeAnswer) string {
	switch {
	case a.Code == subscriberUnknown:
		return ReasonNoPayer
	case a.Result == ChargeRefused:
		return ReasonRefused
	case a.Result == ChargeNoCredit:
		return ReasonNoCredit
	case a.Result == ChargeUnreachable:
		return ReasonUnreachable
	case a.Result == ChargeFailed && a.SessionOpen:
		return ReasonBadAnswer
	case a.Result == ChargeFailed:
		return ReasonFailed
	default: // granted, but nothing usable
		return ReasonNoCredit
	}
}
