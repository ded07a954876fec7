package ocs

import (
	"context"
	"time"
)

// Prepaid is the published interface of the prepaid service: the four verbs
// another service calls without Diameter. Every call is one step in the lanes,
// answered after its commit, and may be repeated with the same Key: the effect
// happens once, the answer is the same.
//
// Errors are a [Refusal] (test with errors.Is), or ErrOutcomeUnknown, or the
// context's error; after the last two, repeat with the same key.
type Prepaid interface {
	// Authenticate tells whether the payer may use the service at all:
	// account valid, not lost, not blocked, threshold met. Moves nothing.
	Authenticate(context.Context, AuthenticateRequest) (AccountView, error)
	// Reserve freezes units (priced by the tariff) or money for a session,
	// opening the session when it does not exist.
	Reserve(context.Context, ReserveRequest) (Reservation, error)
	// Debit pays for what was used, out of what is frozen first.
	Debit(context.Context, DebitRequest) (Receipt, error)
	// Refund unfreezes what is left and closes the session.
	Refund(context.Context, RefundRequest) (Receipt, error)
}

// RequestKey makes a call repeatable: Number counts up within Session.
type RequestKey struct {
	Session string // globally unique, chosen by the caller
	Number  uint32
}

// AuthenticateRequest names who wants to use what.
type AuthenticateRequest struct {
	Payer   []Identity
	Service string
}

// AccountView is what a service may know of the payer's account.
type AccountView struct {
	Account   AccountKey
	Currency  Currency
	Available Money // to this service
}

// ReserveRequest asks for a freeze.
type ReserveRequest struct {
	Key         RequestKey
	Payer       []Identity
	Service     string
	RatingGroup uint32
	Called      string // destination digits, may be ""
	Units       Units  // Kind Amount freezes money without rating; Quantity 0: you decide
}

// Reservation is what was granted and frozen.
type Reservation struct {
	Granted  Units
	Frozen   Money
	ValidFor time.Duration
	Final    bool // the account cannot pay for more after this
}

// DebitRequest reports use.
type DebitRequest struct {
	Key         RequestKey
	RatingGroup uint32
	Used        Units // Kind Amount: the caller computed the cost
}

// RefundRequest ends a session.
type RefundRequest struct {
	Key RequestKey
}

// Receipt tells what a debit or refund moved.
type Receipt struct {
	Debited   Money
	Refunded  Money
	Cost      Money // of the session so far
	Available Money
}
