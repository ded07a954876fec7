package ocs_test

import (
	"context"
	"fmt"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// Any service can charge a prepaid account through the four published verbs,
// without Diameter: here a call of 42 seconds at 0.01 a second.
func ExamplePrepaid() {
	prepaid, payer, stop := openExample()
	defer stop()

	ctx := context.Background()
	who := []ocs.Identity{payer}
	view, _ := prepaid.Authenticate(ctx, ocs.AuthenticateRequest{Payer: who, Service: "32276@3gpp.org"})
	fmt.Println("available", view.Available)

	key := ocs.RequestKey{Session: "call-1"} // the same key again: the same answer, no second effect
	granted, _ := prepaid.Reserve(ctx, ocs.ReserveRequest{Key: key, Payer: who, Service: "32276@3gpp.org", RatingGroup: 100})
	fmt.Println("granted", granted.Granted.Quantity, "s, frozen", granted.Frozen)

	key.Number++
	paid, _ := prepaid.Debit(ctx, ocs.DebitRequest{Key: key, RatingGroup: 100, Used: ocs.Units{Kind: ocs.Seconds, Quantity: 42}})
	fmt.Println("debited", paid.Debited)

	key.Number++
	rest, _ := prepaid.Refund(ctx, ocs.RefundRequest{Key: key})
	fmt.Println("refunded", rest.Refunded, "available", rest.Available)

	// Output:
	// available 10.00
	// granted 60 s, frozen 0.60
	// debited 0.42
	// refunded 0.18 available 9.58
}

// openExample runs an engine on the reference store with one account of 10.00.
func openExample() (ocs.Prepaid, ocs.Identity, func()) {
	tariff, err := ocs.NewTariff([]ocs.TariffEntry{
		{ID: "on-net", Service: ocs.AnyService, RatingGroup: 100, Unit: ocs.Seconds, Currency: 978, Price: 10_000},
	}, []ocs.ServiceContext{{Name: "32276@3gpp.org"}})
	if err != nil {
		panic(err)
	}
	store := ocstest.NewMemory()
	payer := ocs.Identity{Kind: ocs.E164, Value: "8613800000001"}
	store.AddAccount(nil, ocs.Account{Currency: 978, Balances: []*ocs.Balance{{Unit: ocs.Amount, Amount: 10_000_000}}}, payer)

	engine := ocs.NewEngine(store, func() *ocs.Tariff { return tariff }, ocs.EngineConfig{})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ctx) }()
	return engine, payer, func() {
		cancel()
		if err := <-ended; err != nil {
			panic(err)
		}
	}
}
