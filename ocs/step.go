package ocs

import (
	"crypto/sha256"
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// ItemsMax is the number of targets one step may carry; gy answers a request
// with more by 5009.
const ItemsMax = 32

// UnitKind says what a quantity counts. It never changes inside a session.
type UnitKind uint8

// The kinds of unit. Unspecified in a request means "you decide".
const (
	Unspecified UnitKind = iota
	Seconds              // CC-Time
	Octets               // CC-Total-Octets
	Events               // CC-Service-Specific-Units
	Amount               // CC-Money: Quantity is Money of the account's currency
)

var unitNames = [...]string{Seconds: "seconds", Octets: "octets", Events: "events", Amount: "money"}

// String is the kind's name for people and files, "" when it has none.
func (k UnitKind) String() string {
	if int(k) < len(unitNames) {
		return unitNames[k]
	}
	return ""
}

// ParseUnitKind reads a name that String gives; false for any other text.
func ParseUnitKind(name string) (UnitKind, bool) {
	k := slices.Index(unitNames[:], name)
	return UnitKind(max(k, 0)), k > 0
}

// Units is a quantity with its kind. Quantity is never negative.
type Units struct {
	Kind     UnitKind `json:"kind"`
	Quantity int64    `json:"quantity"`
}

// Verbs is the set of prepaid verbs one step asks for. They are carried out in
// the order of the constants.
type Verbs uint8

// The verbs. Open and Close begin and end the session around the four.
const (
	VerbOpen         Verbs = 1 << iota // the session must not exist yet
	VerbAuthenticate                   // account valid, not lost or blocked, threshold met
	VerbDebit                          // pay Item.Used out of the freeze
	VerbRefund                         // unfreeze what is left of the freeze
	VerbReserve                        // freeze Item.Requested
	VerbClose                          // the session ends, whatever else happens
)

// StepType is CC-Request-Type (RFC 8506 §8.3) for steps that came by Diameter,
// and a private continuation for the verbs called through Prepaid. It is part
// of the idempotency key.
type StepType uint8

// The step types. 1 to 4 stand on the wire.
const (
	Initial   StepType = 1
	Update    StepType = 2
	Terminate StepType = 3
	Event     StepType = 4
	Direct    StepType = 16 // a verb of the Prepaid interface
	Expire    StepType = 17 // supervision ended (Tcc) or an operator closed the session
)

// String names the step type for spans, metrics and ladders.
func (t StepType) String() string {
	switch t {
	case Initial:
		return "initial"
	case Update:
		return "update"
	case Terminate:
		return "terminate"
	case Event:
		return "event"
	case Direct:
		return "direct"
	case Expire:
		return "expire"
	}
	return "unknown"
}

// EventAction is Requested-Action (RFC 8506 §8.41) of an Event step.
type EventAction uint8

// The event actions, numbered as on the wire.
const (
	DirectDebit   EventAction = 0
	RefundAccount EventAction = 1
	CheckBalance  EventAction = 2
	PriceEnquiry  EventAction = 3
)

// IdentityKind is Subscription-Id-Type (RFC 8506 §8.47).
type IdentityKind uint8

// The identity kinds, numbered as on the wire.
const (
	E164    IdentityKind = 0 // digits without '+'
	IMSI    IdentityKind = 1
	SIPURI  IdentityKind = 2
	NAI     IdentityKind = 3
	Private IdentityKind = 4
)

// Identity names a payer. Value is already normalised by the caller
// (NormalizeIdentity does it).
type Identity struct {
	Kind  IdentityKind `json:"kind"`
	Value string       `json:"value"`
}

// VerbsOf returns the verbs a request of the credit-control application asks
// for (RFC 8506 §5.2 to §5.4, §6).
func VerbsOf(t StepType, action EventAction) Verbs {
	switch t {
	case Initial:
		return VerbOpen | VerbAuthenticate | VerbReserve
	case Update:
		return VerbAuthenticate | VerbDebit | VerbRefund | VerbReserve
	case Terminate, Expire:
		return VerbDebit | VerbRefund | VerbClose
	case Event:
		if action == DirectDebit {
			return VerbAuthenticate | VerbDebit
		}
	}
	return 0
}

// SessionKey is the 128-bit hash of a Session-Id; rows are keyed by it, the
// text stands once, in the session.
type SessionKey [16]byte

// KeyOf hashes a Session-Id.
func KeyOf(sessionID string) SessionKey {
	var usual [256]byte // a Session-Id is seldom longer, and then needs no copy on the heap
	sum := sha256.Sum256(append(usual[:0], sessionID...))
	return SessionKey(sum[:16])
}

// StepKey is the idempotency key of a step (RFC 8506 §5.7, §8.2): a repeat with
// the same key is answered from the stored outcome and moves no money.
type StepKey struct {
	Session    SessionKey
	SubSession uint64
	Type       StepType
	Number     uint32
}

// Target is one service inside a session, in the canonical text form
// "rating-group/service-identifier,…": "100", "100/7", "/8", "" (the context's
// default). Different texts are different freezes (RFC 8506 §8.16).
type Target string

// Usage is one Used-Service-Unit: what was consumed since the last report.
type Usage struct {
	Units Units
	// Tariff says on which side of an announced tariff switch it was used.
	Tariff TariffChange
}

// TariffChange is Tariff-Change-Usage (RFC 8506 §8.27).
type TariffChange uint8

// The sides of a tariff switch.
const (
	TariffUnmarked TariffChange = iota
	TariffBefore
	TariffAfter
	TariffIndeterminate
)

// Item is what a step asks for one target.
type Item struct {
	Target      Target
	RatingGroup uint32 // which price; resolved by the caller from Target or the context
	Used        []Usage
	Requested   *Units // nil: no new quota wanted; Quantity 0: you decide
	Final       bool   // the target ends with this report (Reporting-Reason FINAL)
	RefundToken []byte // Refund-Information of the debit that RefundAccount takes back
	// Currency of Requested and Used of kind Amount; 0: the account's.
	Currency Currency
	// Rerated says that what sets the price has changed (Reporting-Reason
	// RATING_CONDITION_CHANGE): use up to now keeps the target's price, from now on
	// it is that of Step.Called.
	Rerated bool
	// Unlinked is the largest amount that RefundAccount credits without a
	// RefundToken; 0: nothing.
	Unlinked Money
}

// Client is the credit-control client a session belongs to, as far as routing
// a request back to it needs.
type Client struct {
	Host  string // Origin-Host
	Realm string // Origin-Realm
	Relay string // the transport peer that delivered the request
	State uint32 // Origin-State-Id, 0 when absent
}

// Habits are what the configuration says of a client that is not like others; the
// zero value is an ordinary one.
type Habits struct {
	// NoFree: it takes 4011 for a failure, so what costs nothing is granted in
	// slices at no price (conformance D-004).
	NoFree bool
	// NoLateTerminate: a CCR-T after a refused CCR-U is an unknown session to it
	// as the standard has it (conformance B-036, strict).
	NoLateTerminate bool
	// Interim: use that comes in a CCR-I was served while no charging system
	// answered, and is charged (conformance D-055, D-056).
	Interim bool
}

// Step is one charging request: one CCR, or one call of a Prepaid verb. All of
// it takes effect or none, with one result for each item.
type Step struct {
	SessionID  string
	SubSession uint64
	Type       StepType
	Number     uint32
	Action     EventAction // Event steps only
	Verbs      Verbs       // 0: VerbsOf(Type, Action)
	Payer      []Identity  // may be empty on Update and Terminate
	Service    string      // service context without operator labels: "32260@3gpp.org"
	Called     string      // destination as E.164 digits, "" when there is none: selects the price
	At         time.Time   // Event-Timestamp: dates the usage; zero: now, by the database's clock
	Client     Client
	Habits     Habits
	// CommandLevel says that the units stand at the command, not in a part of it:
	// then a refusal of the one item refuses the step, and ends the session
	// (RFC 8506 §7, Table 6).
	CommandLevel bool
	Items        []Item
	Content      [16]byte          // hash of the charging content; a repeat that differs is noted
	Trace        trace.SpanContext // the call's root span, zero when not sampled
}

// Key returns the step's idempotency key.
func (s *Step) Key() StepKey {
	return StepKey{Session: KeyOf(s.SessionID), SubSession: s.SubSession, Type: s.Type, Number: s.Number}
}

// sessionless reports whether the step neither has nor begins a session.
func (s *Step) sessionless() bool {
	return s.Type == Event || (s.Type == Direct && s.Verbs == VerbAuthenticate)
}

// Outcome answers a step. It is what is stored for repeats: codes, grants,
// validity, cost; never bytes.
type Outcome struct {
	Refusal   Refusal       `json:"refusal,omitempty"` // of the whole step; "" is success
	Items     []ItemOutcome `json:"items,omitempty"`
	Cost      Money         `json:"cost"`                // of the session so far, or of the event; negative: credited
	Currency  Currency      `json:"currency"`            // 0 when no account was reached
	Available Money         `json:"available"`           // to this service, after the step
	NoCredit  bool          `json:"no_credit,omitempty"` // CheckBalance: the amount is not covered

	// Account is the payer's, set, never stored.
	Account AccountKey `json:"-"`
	// Class is the payer's service class, set, never stored.
	Class string `json:"-"`
	// ended says that an Expire step has ended the session.
	ended bool
	// Replayed is set, never stored, when the outcome answers a repeat.
	Replayed bool `json:"-"`
	// Mismatch is set with Replayed when the repeat's content differed.
	Mismatch bool `json:"-"`
}

// ItemOutcome is the result for one target, in the order of Step.Items (two
// items of one target give one result).
type ItemOutcome struct {
	Target      Target        `json:"target"`
	RatingGroup uint32        `json:"rating_group"`
	Refusal     Refusal       `json:"refusal,omitempty"`
	Granted     *Units        `json:"granted,omitempty"`
	ValidFor    time.Duration `json:"valid_for,omitempty"` // Validity-Time; 0: none
	Threshold   int64         `json:"threshold,omitempty"` // Time-/Volume-Quota-Threshold; 0: none
	Final       bool          `json:"final,omitempty"`     // Final-Unit-Indication, with FinalAction
	FinalAction FinalAction   `json:"final_action,omitempty"`
	Debited     Money         `json:"debited"`
	Refunded    Money         `json:"refunded"`
	Reserved    Money         `json:"reserved"`
	Overrun     Money         `json:"overrun,omitempty"`
	RefundToken []byte        `json:"refund_token,omitempty"`
	// SwitchAt is when the price of a volume or event grant changes
	// (Tariff-Time-Change); zero: not while it is valid.
	SwitchAt time.Time `json:"switch_at,omitzero"`
	// Pool, when set, says that the grant is a share of a credit pool (RFC 8506
	// §5.1.2): Multiplier is what one unit takes out of it.
	Pool *PoolShare `json:"pool,omitempty"`
	// Capped is how many reported seconds were not believed and not charged:
	// they exceed what the clock allows since the session began.
	Capped int64 `json:"capped,omitempty"`
}

// FinalAction is Final-Unit-Action (RFC 8506 §8.35).
type FinalAction uint8

// The actions, numbered as on the wire.
const (
	FinalTerminate FinalAction = 0
	FinalRedirect  FinalAction = 1
	FinalRestrict  FinalAction = 2
)

// PoolShare is a grant's part in a credit pool.
type PoolShare struct {
	ID         uint32 `json:"id"`         // G-S-U-Pool-Identifier
	Multiplier Money  `json:"multiplier"` // Unit-Value: pool units one unit takes
}
