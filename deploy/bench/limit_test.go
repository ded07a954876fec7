package main

import (
	"testing"
	"time"

	"gygate/diameter"
	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// TestReplayKeepsTheBooks: the limit changes rows as the rules do, so that what it
// measures is what they cost.
func TestReplayKeepsTheBooks(t *testing.T) {
	store := ocstest.NewMemory()
	var accounts []ocs.AccountKey
	for range 3 {
		a := store.AddAccount(t, ocs.Account{Currency: 978, Balances: []*ocs.Balance{{Unit: ocs.Amount, Amount: int64(1_000_000 * ocs.MoneyScale)}}})
		accounts = append(accounts, a.Key)
	}
	r := &replay{ids: diameter.NewSessionIDs(clientHost, time.Now()), store: store, until: time.Now().Add(50 * time.Millisecond)}
	// More sessions than a batch takes, several of them on one account.
	r.lanes = []*replayLane{newReplayLane(r, 0, laneBatch+50, accounts)}
	m, err := r.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	books := store.Books(t)
	if err := ocstest.CheckBooks(books); err != nil {
		t.Error(err)
	}
	var paid ocs.Money
	for _, s := range books.Sessions {
		if s.Open() {
			t.Fatalf("session %s is left open", s.ID)
		}
		paid += s.Targets[0].Charged
	}
	if m.measured == 0 || m.all != int64(perSession*len(books.Sessions)) || m.cost != paid {
		t.Errorf("%d steps of %d sessions, cost %s, paid %s", m.all, len(books.Sessions), m.cost, paid)
	}
}
