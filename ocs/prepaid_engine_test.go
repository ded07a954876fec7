package ocs_test

import (
	"context"
	"errors"
	"testing"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

func TestPrepaidErrors(t *testing.T) {
	f := newFleet(t, 1)
	d := ocstest.Start(t, f, oneLane)
	ctx := context.Background()
	request := ocs.ReserveRequest{Key: ocs.RequestKey{Session: ocstest.NewSession()}, Payer: f.payers, Service: ocstest.Data,
		RatingGroup: ocstest.Volume, Units: ocs.Units{Kind: ocs.Amount, Quantity: 11_000_000}}
	if _, err := d.Reserve(ctx, request); !errors.Is(err, ocs.CreditLimit) {
		t.Errorf("more than there is: %v", err)
	}
	if _, err := d.Authenticate(ctx, ocs.AuthenticateRequest{Payer: []ocs.Identity{ocstest.NewPayer()}, Service: ocstest.Voice}); !errors.Is(err, ocs.UnknownSubscriber) {
		t.Errorf("unknown payer: %v", err)
	}
	if _, err := d.Debit(ctx, ocs.DebitRequest{Key: ocs.RequestKey{Session: "nobody's"}}); !errors.Is(err, ocs.UnknownSession) {
		t.Errorf("unknown session: %v", err)
	}
	f.Block(t, f.accounts[0])
	request.Key.Number, request.Units.Quantity = 1, 1
	if _, err := d.Reserve(ctx, request); !errors.Is(err, ocs.Blocked) {
		t.Errorf("blocked: %v", err)
	}
	f.Before = func([]ocs.Want) error { return errors.New("away") }
	request.Key.Number = 2
	if _, err := d.Reserve(ctx, request); !errors.Is(err, ocs.ErrOutcomeUnknown) || !errors.Is(err, ocs.Unavailable) {
		t.Errorf("database away: %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	g := newGate()
	f.Before = func([]ocs.Want) error { g.wait(); return nil }
	if _, err := d.Reserve(ended, request); !errors.Is(err, context.Canceled) {
		t.Errorf("context ended: %v", err)
	}
	close(g.open)
}

// A second reservation replaces the first; money already debited stays.
func TestPrepaidReservesAgain(t *testing.T) {
	f := newFleet(t, 1)
	d := ocstest.Start(t, f, oneLane)
	ctx, id := context.Background(), ocstest.NewSession()
	for n, quantity := range []int64{2_500_000, 1_000_000} {
		got, err := d.Reserve(ctx, ocs.ReserveRequest{Key: ocs.RequestKey{Session: id, Number: uint32(n)}, Payer: f.payers,
			Service: ocstest.Voice, RatingGroup: 5, Units: ocs.Units{Kind: ocs.Amount, Quantity: quantity}})
		if err != nil || got.Frozen != ocs.Money(quantity) {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if a, frozen := ocstest.Totals(f.Account(f.accounts[0])); a != 9_000_000 || frozen != 1_000_000 {
		t.Errorf("available %v, frozen %v", a, frozen)
	}
	if r, err := d.Debit(ctx, ocs.DebitRequest{Key: ocs.RequestKey{Session: id, Number: 2}, RatingGroup: 5,
		Used: ocs.Units{Kind: ocs.Amount, Quantity: 300_000}}); err != nil || r.Debited != 300_000 {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := d.Refund(ctx, ocs.RefundRequest{Key: ocs.RequestKey{Session: id, Number: 3}}); err != nil || r.Refunded != 700_000 || r.Cost != 300_000 {
		t.Errorf("%+v, %v", r, err)
	}
	ocstest.MustBalance(t, f)
}
