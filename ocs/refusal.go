package ocs

// Refusal is a named reason for which a step, or one of its items, is refused.
// The text is the stable token that ladders, spans, call records and the
// Error-Message AVP show; decisions on the wire are made by the Result-Code
// that diameter/gy maps it to. "" means not refused.
type Refusal string

// Error makes a Refusal usable as an error: errors.Is(err, ocs.Lost).
func (r Refusal) Error() string { return string(r) }

// The refusals, grouped by the verb that finds them.
const (
	UnknownSubscriber Refusal = "authenticate.unknown_subscriber"
	NoIdentity        Refusal = "authenticate.no_identity"         // no usable Subscription-Id
	IdentityConflict  Refusal = "authenticate.identity_conflict"   // two ids, two accounts
	UnsupportedId     Refusal = "authenticate.unsupported_id"      // Subscription-Id-Type not known
	PayerChanged      Refusal = "authenticate.payer_changed"       // another subscriber in mid-session
	Lost              Refusal = "authenticate.lost"                // reported lost
	Blocked           Refusal = "authenticate.blocked"             // blocked by the operator
	Closed            Refusal = "authenticate.closed"              // account closed
	NotYetValid       Refusal = "authenticate.not_yet_valid"       // before the validity period
	Expired           Refusal = "authenticate.expired"             // after the validity period
	BelowThreshold    Refusal = "authenticate.threshold"           // available < minimum threshold
	NoBalance         Refusal = "authenticate.no_balance"          // nothing on the account at all
	NotAvailable      Refusal = "reserve.not_available_to_service" // money is there, but frozen or for other services
	CreditLimit       Refusal = "reserve.credit_limit"             // less than the minimum useful grant is left
	Free              Refusal = "reserve.free"                     // costs nothing: no credit control (4011)
	Unrated           Refusal = "rate.no_price"                    // no price for rating group or destination
	UnknownContext    Refusal = "rate.unknown_context"             // Service-Context-Id not served
	UnitMismatch      Refusal = "rate.unit"                        // a unit this service does not rate
	ForeignCurrency   Refusal = "rate.currency"                    // CC-Money in another currency
	UnknownSession    Refusal = "session.unknown"
	SessionExists     Refusal = "session.exists"       // CCR-I on an open session
	OutcomeGone       Refusal = "session.outcome_gone" // served before, answer no longer kept
	RefundNotLinked   Refusal = "refund.not_linked"    // token unknown, used up, or not of this payer
	RefundTooLarge    Refusal = "refund.exceeds_debit"
	Busy              Refusal = "engine.busy"        // a queue is full; nothing happened
	Unavailable       Refusal = "engine.unavailable" // database away or commit outcome unknown: repeat
	Internal          Refusal = "engine.internal"    // a broken invariant; nothing happened
)
