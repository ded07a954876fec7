package ocs

import (
	"context"
	"errors"
	"time"
)

// Store is the port to the database. Implementations: ocs/pgstore, and
// ocs/ocstest's in-memory reference model. All methods are safe for concurrent
// use; Transact is called by one goroutine per lane.
type Store interface {
	// Resolve answers each look-up, in order, without locks. A zero Account
	// in the answer means not found. Errors: ErrUnreachable, ErrLocked, or of one of the
	// look-ups.
	Resolve(ctx context.Context, lookups []Lookup) ([]Resolved, error)

	// Transact runs one transaction: it calls decide on the accounts of want with
	// their balances, and the named sessions and outcomes, then stores every change
	// decide left in the set and commits. It is as if the accounts had been locked
	// in key order before they were loaded: when somebody has changed one of them
	// after what decide was given, nothing is stored, and decide is called again on
	// a set of its own; likewise when the database undid it for the sake of others,
	// or when decide discarded a set that was not read under the locks. Nothing of a
	// failed transaction stays. An error that is ErrOutcomeUnknown means the commit may
	// or may not have happened; ErrUnreachable and ErrLocked say why nothing has, and of
	// any other one a step or two may be the cause.
	Transact(ctx context.Context, lane int, want []Want, decide func(*WorkingSet)) error

	// Expired lists up to limit open sessions that are to be ended: their deadline
	// has passed by the database's clock, or their client has restarted more than
	// OrphanGrace ago. Sessions that could not be ended before (skip) are left out.
	Expired(ctx context.Context, limit int, skip []SessionRef) ([]Expiry, error)

	// ClientStarted records the highest Origin-State-Id seen of a client: its open
	// sessions of a lower one, other than 0, are orphans from now on (RFC 6733
	// §8.6). A lower or equal value changes nothing.
	ClientStarted(ctx context.Context, host string, state uint32) error

	// Epoch differs from what it was before when the store has connected anew, perhaps
	// to a server without the last commits: what was looked up before is worth nothing.
	Epoch() uint64
}

// OrphanGrace is how long the sessions of a client that has restarted wait for a
// last report before their freezes are given back (conformance A-016).
const OrphanGrace = 30 * time.Second

// Expiry is an open session that is to be ended.
type Expiry struct {
	Want
	// Restarted is the Origin-State-Id its client has shown since, which the lane
	// compares, and Host that client's Origin-Host in lower case;
	// 0: its deadline has passed.
	Restarted uint32
	Host      string
}

// ErrOutcomeUnknown wraps failures after which the commit may have happened:
// the caller answers "unavailable" and the repeat will tell.
var ErrOutcomeUnknown = errors.New("commit outcome unknown")

// ErrUnreachable wraps failures after which nothing has happened, and which a part of
// the batch would meet just as well: the database cannot be connected to, does not take
// our statements, or does not answer in time.
var ErrUnreachable = errors.New("the database cannot be used")

// ErrLocked wraps failures after which nothing has happened because somebody holds a
// lock, of an account or a table, for longer than the store waits.
var ErrLocked = errors.New("somebody else holds a lock that is needed")

// Lookup asks which account a step belongs to: by session when the key is not
// zero, and by identities.
type Lookup struct {
	Session    SessionKey
	Identities []Identity
}

// Resolved is the answer to a Lookup.
type Resolved struct {
	BySession    AccountKey   // zero: no such session
	ByIdentities []AccountKey // one for each identity, zero: no such identity
}

// Want names what one step needs in the working set. The wants of one batch may
// repeat accounts, sessions and whole steps.
type Want struct {
	// Account is zero for a step of a session nobody knows: there is nothing to
	// lock, and at most an OrphanUsage to store.
	Account AccountKey
	Step    StepKey
	// ReversalOf also loads what the debit behind this refund token moved.
	ReversalOf []byte
}

// WorkingSet is what a batch of steps sees and changes, as if under the account
// locks (Store.Transact). Decide mutates it in place and marks rows Dirty or New: a store may keep
// what it holds for the next batch, so what decide changes it marks, and what it
// leaves half done it discards.
type WorkingSet struct {
	// Now is the database's clock, which is the time for every deadline: read after
	// what is here was loaded, or reckoned from a reading not long ago; never before
	// the reading by which a session was found to be over.
	Now      time.Time
	Accounts map[AccountKey]*Account
	Sessions map[SessionRef]*Session
	// Outcomes are those of events and refused CCR-Is, which have no session.
	Outcomes map[StepKey]*StoredOutcome
	// Debits are the event debits named by Want.ReversalOf.
	Debits map[string]*EventDebit

	// Timing is filled by the store, on the process's clock, for spans.
	Timing Timing

	// Discarded is set when a rule broke: nothing is stored, and what is in memory is
	// worth nothing. Decide may be called again on what is read under the locks.
	Discarded bool

	// Written by decide.
	Journal     []JournalRow
	NewOutcomes []NewOutcome
	NewDebits   []*EventDebit
	Orphans     []OrphanUsage
}

// SessionRef finds a session or sub-session in a working set.
type SessionRef struct {
	Key SessionKey
	Sub uint64
}

// NewOutcome is an outcome without a session, to be stored in a row of its own.
type NewOutcome struct {
	Account AccountKey
	Key     StepKey
	Stored  StoredOutcome
}

// EventDebit is a one-time debit that a REFUND_ACCOUNT may take back, linked
// by its token, in total never more than was debited.
type EventDebit struct {
	Account  AccountKey
	Token    []byte
	Parts    []Freeze // what came out of which balance
	Cost     Money
	Reversed Money
	Units    Units
	Dirty    bool
}

// OrphanUsage is use reported for a session that is unknown or over, or by a
// repeat whose content differs from what it repeats: nothing is charged, an
// operator can see it. A store keeps the first of each Key.
type OrphanUsage struct {
	SessionID string
	Key       StepKey
	Used      []Usage
	At        time.Time
	Mismatch  bool // a repeat whose content differs
}

// Timing is when the phases of one transaction happened.
type Timing struct {
	Began, Loaded, Decided, Committed time.Time
}
