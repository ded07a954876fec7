package ocs

import "time"

// AccountKey finds an account. Bucket comes first in every key of the money
// path: a lane, a shard or a database partition owns whole buckets.
type AccountKey struct {
	Bucket int16
	ID     int64
}

// Owner is which of so many lanes owns the account. Engine and store agree by it.
func (k AccountKey) Owner(lanes int) int { return int(k.Bucket) % lanes }

// Buckets is the fixed number of buckets (0 to Buckets-1).
const Buckets = 1024

// Flag is a mark set on an account by somebody at some time; nil is not set.
type Flag struct {
	Since  time.Time `json:"since"`
	By     string    `json:"by"`
	Reason string    `json:"reason"`
}

// Account is a payer. Loaded together with its
// balances; Available, Debt and the balances' amounts are what the rules move.
type Account struct {
	Key        AccountKey
	Currency   Currency
	Class      string // service class, selects slices and failure handling
	Closed     bool
	Lost       *Flag
	Blocked    *Flag
	ValidFrom  time.Time // zero: always
	ValidUntil time.Time // zero: for ever; exclusive
	Threshold  Money     // gates authenticate
	Zone       string    // IANA time zone that bounds the account's days
	Debt       Money     // overrun not paid, written off unless taken from the next credit
	Balances   []*Balance

	Dirty bool // the store writes the row
}

// Balance is one pot of an account. Amount includes Frozen; what can still be
// reserved is Amount - Frozen.
type Balance struct {
	ID         int64
	Unit       UnitKind // Amount (money), Seconds, Octets or Events
	Amount     int64
	Frozen     int64
	Services   []string // service contexts that may use it; nil: all
	Targets    []uint32 // rating groups that may use it; nil: all
	Priority   int      // lower is used first
	ValidFrom  time.Time
	ValidUntil time.Time // zero: for ever; exclusive

	Dirty bool // the store writes the row
}

// Freeze is a part of a balance set aside for one target of one session.
type Freeze struct {
	Balance int64
	Amount  int64
}

// TargetState is what a session remembers of one target.
type TargetState struct {
	Target      Target   `json:"target"`
	RatingGroup uint32   `json:"rating_group"`
	Called      string   `json:"called,omitempty"`
	Rate        string   `json:"rate,omitempty"` // id of the pinned tariff entry and version
	Unit        UnitKind `json:"unit"`
	Used        int64    `json:"used"`              // cumulative quantity, q
	Charged     Money    `json:"charged"`           // what all of q cost so far: debited + overrun
	Meter       Meter    `json:"meter"`             // exact state of the price function after q
	Granted     int64    `json:"granted"`           // the open grant, 0: none
	GrantNumber uint32   `json:"grant_number"`      // CC-Request-Number that made it
	Final       bool     `json:"final,omitempty"`   // the last grant was the final one
	Pool        bool     `json:"pool,omitempty"`    // the open grant is a share of the session's pool
	Interim     int64    `json:"interim,omitempty"` // of Used: what was served before the session began
	Earlier     Money    `json:"earlier,omitempty"` // of Charged: at prices before the present one
	Freezes     []Freeze `json:"-"`                 // rows of their own
}

// Session is an open or closed credit-control session.
type Session struct {
	Key      SessionKey
	ID       string
	SubID    uint64
	Account  AccountKey
	Service  string
	Client   Client
	OpenedAt time.Time
	Deadline time.Time // supervision (Tcc): the sweeper expires it from then on
	ClosedAt time.Time // zero while open
	Targets  []*TargetState
	Outcomes []StoredOutcome // the last OutcomesKept, oldest first
	Served   ServedWindow
	// LateUntil, when set, is until when one CCR-T after the end of the session is
	// still debited: after a failed CCR-U, or when the session or its account was closed.
	LateUntil time.Time

	New, Dirty bool // the store inserts or updates the row
}

// Open reports whether the session still runs.
func (s *Session) Open() bool { return s.ClosedAt.IsZero() }

// OutcomesKept is how many outcomes a session keeps for repeats.
const OutcomesKept = 16

// ServedWindow remembers which of the last 64 request numbers were served:
// bit i of Bits is number Top-i.
type ServedWindow struct {
	Top  uint32 `json:"top"`
	Bits uint64 `json:"bits"`
}

// StoredOutcome is an outcome with the key and content it answered.
type StoredOutcome struct {
	Type    StepType `json:"type"`
	Number  uint32   `json:"number"`
	Content [16]byte `json:"content"`
	Outcome Outcome  `json:"outcome"`
}

// JournalKind says what a journal row records.
type JournalKind string

// The journal kinds. Every row but overrun moves its balance.
const (
	JournalStep    JournalKind = "step"    // debit, refund, reserve of one request on one balance
	JournalCredit  JournalKind = "credit"  // top-up, voucher, adjustment, reversal
	JournalOverrun JournalKind = "overrun" // used but not covered by any balance
	JournalExpire  JournalKind = "expire"  // supervision gave a freeze back
	JournalForfeit JournalKind = "forfeit" // unfrozen into a balance whose validity was over
	JournalDebt    JournalKind = "debt"    // debt taken out of a credit
)

// JournalRow is one append-only line of the books: per request and balance what
// moved, and the values after. Amounts are in the balance's unit, never
// negative, except that all of Debited, Refunded, Reserved are 0 on a credit.
type JournalRow struct {
	At           time.Time
	Account      AccountKey
	Balance      int64 // 0 on an overrun row
	Kind         JournalKind
	Session      SessionKey
	SessionID    string
	SubSession   uint64
	Type         StepType
	Number       uint32
	Target       Target
	RatingGroup  uint32
	Used         int64 // units reported, on the first row of an item
	Debited      int64
	Refunded     int64
	Reserved     int64
	Credited     int64
	Overrun      int64
	AmountAfter  int64
	FrozenAfter  int64
	ReversalOf   []byte // refund token of the debit this credit takes back
	CreditKey    string // idempotency key of a credit
	CreditSource string // top-up, voucher, adjustment, reversal, refund, opening
}
