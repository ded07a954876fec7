package ocs

import (
	"testing"
	"time"
)

// BenchmarkDecide is one call of I, U, U, T through the rules alone.
func BenchmarkDecide(b *testing.B) {
	tariff, err := NewTariff([]TariffEntry{
		{ID: "on-net", Service: AnyService, RatingGroup: 100, Unit: Seconds, Currency: 978, Price: 10_000},
	}, []ServiceContext{{Name: "voice"}})
	if err != nil {
		b.Fatal(err)
	}
	policy := DefaultPolicy()
	key := AccountKey{1, 1}
	balance := &Balance{ID: 1, Unit: Amount, Amount: 1 << 60}
	ws := &WorkingSet{
		Now: time.Now(), Accounts: map[AccountKey]*Account{key: {Key: key, Currency: 978, Balances: []*Balance{balance}}},
		Sessions: map[SessionRef]*Session{}, Outcomes: map[StepKey]*StoredOutcome{},
	}
	item := func(used int64, wish *Units) []Item {
		return []Item{{Target: "100", RatingGroup: 100, Used: []Usage{{Units: Units{Seconds, used}}}, Requested: wish}}
	}
	steps := []*Step{
		{Type: Initial, Service: "voice", Items: item(0, &Units{})},
		{Type: Update, Number: 1, Items: item(50, &Units{})},
		{Type: Update, Number: 2, Items: item(50, &Units{})},
		{Type: Terminate, Number: 3, Items: item(30, nil)},
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, s := range steps {
			decide(ws, request{step: s, key: StepKey{Type: s.Type, Number: s.Number}, payer: key}, tariff, &policy)
		}
		clear(ws.Sessions)
		ws.Journal = ws.Journal[:0]
	}
}
