package ocs

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strconv"
)

var _ Prepaid = (*Engine)(nil)

// Authenticate implements Prepaid.
func (e *Engine) Authenticate(ctx context.Context, r AuthenticateRequest) (AccountView, error) {
	o, err := e.call(ctx, &Step{Type: Direct, Verbs: VerbAuthenticate, Payer: r.Payer, Service: r.Service})
	return AccountView{Account: o.Account, Currency: o.Currency, Available: o.Available}, err
}

// Reserve implements Prepaid. A second reservation for a rating group of the
// session replaces what is left of the first.
func (e *Engine) Reserve(ctx context.Context, r ReserveRequest) (Reservation, error) {
	item := directItem(r.RatingGroup)
	item.Requested = &r.Units
	o, err := e.call(ctx, &Step{
		SessionID: r.Key.Session, Number: r.Key.Number, Type: Direct,
		Verbs: VerbAuthenticate | VerbRefund | VerbReserve,
		Payer: r.Payer, Service: r.Service, Called: r.Called,
		Items: []Item{item}, Content: contentOf("reserve", r),
	})
	if err != nil || len(o.Items) == 0 || o.Items[0].Granted == nil {
		return Reservation{}, err
	}
	got := o.Items[0]
	return Reservation{Granted: *got.Granted, Frozen: got.Reserved, ValidFor: got.ValidFor, Final: got.Final}, nil
}

// Debit implements Prepaid.
func (e *Engine) Debit(ctx context.Context, r DebitRequest) (Receipt, error) {
	item := directItem(r.RatingGroup)
	item.Used = []Usage{{Units: r.Used}}
	o, err := e.call(ctx, &Step{
		SessionID: r.Key.Session, Number: r.Key.Number, Type: Direct,
		Verbs: VerbDebit, Items: []Item{item}, Content: contentOf("debit", r),
	})
	return receipt(o), err
}

// Refund implements Prepaid.
func (e *Engine) Refund(ctx context.Context, r RefundRequest) (Receipt, error) {
	o, err := e.call(ctx, &Step{
		SessionID: r.Key.Session, Number: r.Key.Number, Type: Direct,
		Verbs: VerbRefund | VerbClose, Content: contentOf("refund", r),
	})
	return receipt(o), err
}

func directItem(ratingGroup uint32) Item {
	return Item{Target: Target(strconv.FormatUint(uint64(ratingGroup), 10)), RatingGroup: ratingGroup}
}

// contentOf hashes what a call asks for, so that a repeat that differs is noted.
func contentOf(verb string, request any) [16]byte {
	hash := sha256.Sum256(fmt.Appendf(nil, "%s %+v", verb, request))
	return [16]byte(hash[:16])
}

func receipt(o Outcome) Receipt {
	r := Receipt{Cost: o.Cost, Available: o.Available}
	for i := range o.Items {
		r.Debited += o.Items[i].Debited
		r.Refunded += o.Items[i].Refunded
	}
	return r
}

// call submits a step and waits for its outcome.
func (e *Engine) call(ctx context.Context, s *Step) (Outcome, error) {
	answer := make(chan Outcome, 1) // the lane never waits for the caller
	e.Submit(s, func(o Outcome) { answer <- o })
	select {
	case o := <-answer:
		return o, refusalError(o.Refusal)
	case <-ctx.Done():
		return Outcome{}, ctx.Err()
	}
}

func refusalError(r Refusal) error {
	switch r {
	case "":
		return nil
	case Unavailable:
		return fmt.Errorf("%w: %w", ErrOutcomeUnknown, r)
	}
	return r
}
