package vpnlogic

import (
	"context"
	"time"
)

// Attempt is a call request as the signalling adapter received it.
type Attempt struct {
	CallID  string    // of the signalling protocol: SIP Call-ID
	ICID    string    // IMS Charging Identity of P-Charging-Vector, may be ""
	Calling string    // calling number as received and trusted; "" when withheld or untrusted
	Dialled string    // what was dialled: user part or tel number, with a leading '+' when international
	At      time.Time // when the request arrived
	Charged bool      // the request carries another prepaid trigger's mark: do not charge again
	Role    Role      // for which side of the call the network asks this service
	OrigIOI string    // Inter-Operator-Identifiers of P-Charging-Vector, "" none
	TermIOI string
}

// Leg is the signalling of one call: what the service may do to it. Methods
// return at once; what happens is told by events of the Call.
type Leg interface {
	// Connect sends the call on to the called number. The outgoing request
	// presents CallerID and carries the mark that stops a second prepaid
	// trigger when Charged is set.
	Connect(Destination)
	// Release ends whatever there is: refuses an unanswered call, or sends
	// BYE on both legs of an answered one.
	Release(Cause)
}

// Destination is where and how a screened call goes on.
type Destination struct {
	Called    E164   // translated number
	Emergency string // the emergency number as dialled; then Called is ""
	CallerID  string // number to present: the short number on-net, else the public one
	Display   string // the caller's display name, "" none
	OnNet     bool
	Charged   bool
}

// Charger is the port to the online charging system: one call is one CCR and
// its CCA. Implemented by diameter/gy over a real Diameter connection.
type Charger interface {
	// Charge sends one charging request and waits for its answer, for Tx at
	// the most. It never returns an error: what went wrong is in the answer.
	// A ChargeTerminate without an answer stays the Charger's to deliver, for
	// it carries money (C-029); any other is handed over again with Repeat.
	Charge(ctx context.Context, r ChargeRequest) ChargeAnswer
	// NewSession draws a Session-Id; the call's trace context of ctx rides in it.
	NewSession(ctx context.Context) string
}

// ChargeType is the interrogation a charging request is.
type ChargeType uint8

// The interrogations of a session, numbered as CC-Request-Type.
const (
	ChargeInitial   ChargeType = 1
	ChargeUpdate    ChargeType = 2
	ChargeTerminate ChargeType = 3
)

// String is the letter by which people call the request: CCR-I, CCR-U, CCR-T.
func (t ChargeType) String() string {
	switch t {
	case ChargeInitial:
		return "I"
	case ChargeUpdate:
		return "U"
	case ChargeTerminate:
		return "T"
	}
	return "?"
}

// ReportReason says why usage is reported (Reporting-Reason, TS 32.299 §7.2.175).
type ReportReason uint8

// The reasons, numbered as on the wire; ReportNone sends none.
const (
	ReportThreshold      ReportReason = 0
	ReportFinal          ReportReason = 2
	ReportQuotaExhausted ReportReason = 3
	ReportValidityTime   ReportReason = 4
	ReportRatingChange   ReportReason = 6 // the price has changed: another connected party (C-064)
	ReportForced         ReportReason = 7 // the server asked for it (C-070)
	ReportNone           ReportReason = 255
)

// ChargeRequest is one charging step of a call.
type ChargeRequest struct {
	Session string
	Type    ChargeType
	Number  uint32
	At      time.Time // the call event that caused it
	Payer   E164      // the line that pays; "" when PayerAccount does
	// PayerAccount is the account of the group that pays, an identity of kind
	// PRIVATE, alone (C-092); the using member stands in Call.
	PayerAccount string
	RatingGroup  uint32 // of the use, and of the quota that is wanted unless Wanted is set
	// Wanted is the rating group quota is wanted for when the price has changed
	// with this very request (C-064); 0: RatingGroup.
	Wanted uint32
	Used   time.Duration // whole seconds since the last report
	// UsedAfter is the part of Used that lies after the tariff switch the server
	// announced (Grant.SwitchAt, C-033); Split says that there was one.
	UsedAfter time.Duration
	Split     bool
	Repeat    bool // sent before and not answered: the same number again, with the T bit (C-015)
	Report    ReportReason
	WantMore  bool // ask for quota (never on terminate)
	Call      CallInfo
	Cause     Cause // terminate only
}

// CallInfo is the call as Service-Information carries it; it stands in every
// request of the session.
type CallInfo struct {
	CallID      string
	ICID        string
	Calling     E164
	Dialled     string
	Called      E164
	Connected   E164 // who is connected now, when it is not Called (C-098)
	Role        Role
	OrigIOI     string // Inter-Operator-Identifier as P-Charging-Vector has it, "" none
	TermIOI     string
	Group       string
	CallerShort string
	CalledShort string
	Member      string
	Class       CallClass
	SetupAt     time.Time
	AnsweredAt  time.Time // zero until answered
	ReleasedAt  time.Time // zero until released
	SIPStatus   int       // final status that ended the set-up, 0: none
}

// Role is Role-Of-Node (TS 32.299 §7.2.177): for which side of the call this node
// charges.
type Role uint8

// The roles, numbered as on the wire.
const (
	RoleOriginating Role = 0
	RoleTerminating Role = 1
	RoleForwarding  Role = 2
)

// Reauthorization answers the charging system that wants a session to report at
// once (Re-Auth-Request; C-070 to C-075).
type Reauthorization uint8

// The answers, with the Result-Code of the RAA.
const (
	ReauthWillReport Reauthorization = iota // 2002: a CCR-U follows
	ReauthUnderWay                          // 2001: one is under way already
	ReauthUnknown                           // 5002: no such session, or its last report is sent
	ReauthNotActive                         // 5012: the session has no such rating group
)

// String names the answer.
func (r Reauthorization) String() string {
	names := [...]string{"will report", "under way", "unknown session", "not active"}
	if int(r) >= len(names) {
		return "unknown"
	}
	return names[r]
}

// Abortion answers the charging system that has a session ended
// (Abort-Session-Request; C-076).
type Abortion uint8

// The answers, with the Result-Code of the ASA.
const (
	AbortAccepted Abortion = iota // 2001: the call is released, a CCR-T follows
	AbortUnknown                  // 5002: no such session
)

// String names the answer.
func (a Abortion) String() string {
	if a == AbortAccepted {
		return "accepted"
	}
	return "unknown session"
}

// ChargeResult is what a charging answer means to the call; diameter/gy maps
// Result-Codes to it in one table.
type ChargeResult uint8

// The results.
const (
	ChargeGranted     ChargeResult = iota // go on, Grant says how long
	ChargeFree                            // 4011: serve, no credit control any more
	ChargeRefused                         // this subscriber may not; Reason says why
	ChargeNoCredit                        // 4012: no money for more
	ChargeFailed                          // permanent failure, failure handling decides
	ChargeUnreachable                     // no answer within Tx, or no peer took it
)

// String names the result.
func (r ChargeResult) String() string {
	names := [...]string{"granted", "free", "refused", "no credit", "failed", "unreachable"}
	if int(r) >= len(names) {
		return "unknown"
	}
	return names[r]
}

// Grant is a quota of talk time.
type Grant struct {
	Time      time.Duration // 0: none
	Threshold time.Duration // ask again when so much is left; 0: by the client's own rule
	ValidFor  time.Duration // ask again at the latest after this; 0: no limit
	Final     bool          // stop when it is used up
	SwitchAt  time.Time     // Tariff-Time-Change: use is reported in two parts; zero: none
}

// FailureHandling is Credit-Control-Failure-Handling (RFC 8506 §8.14).
type FailureHandling uint8

// The failure handlings, numbered as on the wire.
const (
	FailTerminate         FailureHandling = 0
	FailContinue          FailureHandling = 1
	FailRetryAndTerminate FailureHandling = 2
)

// ChargeAnswer is what came of a ChargeRequest.
type ChargeAnswer struct {
	Result      ChargeResult
	Code        uint32 // Result-Code that decided, 0: none came
	Reason      string // token of Error-Message, e.g. "authenticate.lost"; for people only
	Grant       Grant
	OnFailure   FailureHandling // what to do when charging fails from now on: of this answer, else of an earlier one of the session, else as configured; filled also without an answer
	Cost        string          // Cost-Information as a decimal, "" when absent
	Currency    uint32
	SessionOpen bool // the server holds a session that wants a terminate; without an answer: the request was sent, so it may hold one
	Server      string
	Took        time.Duration
}

// Recorder is the port that keeps call records: all that it is given, or after an
// error none. A record may be handed over again when an earlier try failed, and is
// kept once. An error that wraps ErrRecordRefused says that one of them at least will
// never be taken.
type Recorder interface {
	Record(ctx context.Context, all ...CallRecord) error
}

// CallRecord is the one record of a call attempt, written when it is over.
type CallRecord struct {
	ID         string        `json:"id"` // of this record, so that writing it twice keeps one
	CallID     string        `json:"call_id"`
	ICID       string        `json:"icid,omitempty"`
	Session    string        `json:"session,omitempty"` // Session-Id, "" when not charged
	Group      string        `json:"group,omitempty"`
	Member     string        `json:"member,omitempty"`
	Calling    string        `json:"calling"`
	Dialled    string        `json:"dialled"`
	Called     string        `json:"called,omitempty"`
	Connected  string        `json:"connected,omitempty"` // who was connected at last, when it was not Called
	Class      CallClass     `json:"class,omitempty"`     // of the number that was dialled
	Charging   Charging      `json:"charging"`
	Payer      Payer         `json:"payer,omitempty"` // whose account the charging system was asked about, "" when it was not
	SetupAt    time.Time     `json:"setup_at"`
	AnsweredAt time.Time     `json:"answered_at,omitzero"` // zero: never answered
	ReleasedAt time.Time     `json:"released_at"`
	Talked     time.Duration `json:"-"`
	Reported   time.Duration `json:"-"` // seconds whose report was answered
	Cost       string        `json:"cost,omitempty"`
	Currency   uint32        `json:"currency,omitempty"`
	Cause      int           `json:"cause"`       // Q.850
	Status     int           `json:"status"`      // SIP status towards the caller
	Reason     string        `json:"reason"`      // token: "normal", "vpn.not_a_member", "authenticate.lost", …
	ReleasedBy string        `json:"released_by"` // caller, called, service, charging
	TraceID    string        `json:"trace_id,omitempty"`
}

// Charging says how an attempt was charged.
type Charging string

// The ways of charging.
const (
	ChargingNone      Charging = "none"      // the member has no prepaid service, or the call was refused before
	ChargingPrepaid   Charging = "prepaid"   // credit control ran
	ChargingFree      Charging = "free"      // the charging system said free
	ChargingElsewhere Charging = "elsewhere" // another prepaid trigger charges this call
	ChargingUncharged Charging = "uncharged" // charging failed and failure handling let the call run
	ChargingEmergency Charging = "emergency" // never screened, never charged
)

// Observer sees what happens to calls, as it happens: the ladder, metrics.
// Observe must not block.
type Observer interface {
	Observe(CallEvent)
}

// CallEvent is one line of a call's ladder. Exactly one of the pointers is set,
// or none for a signalling event.
type CallEvent struct {
	CallID  string
	Session string
	At      time.Time
	From    string // "caller", "gygate", "called", "ocs"
	To      string
	Text    string // "INVITE 6002", "180 Ringing", "CCR-I #0", "screened on-net 6002 → …"
	Request *ChargeRequest
	Answer  *ChargeAnswer
	Record  *CallRecord
}
