package pgstore

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gygate/ocs"
	"gygate/ocs/ocstest"
	"gygate/sql"
	"gygate/sql/localpg"
)

// BenchmarkSteps runs sessions I, U, U, T through engine and store on a durable
// PostgreSQL (fsync on), so many at a time, over 10,000 accounts or on one.
func BenchmarkSteps(b *testing.B) {
	server, err := localpg.Start(b.Context(), localpg.Options{DataDir: shortDir(b), DieWithOwner: true, Settings: map[string]string{"shared_buffers": "1GB"}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { server.Stop(context.Background()) })
	if _, _, err := sql.Migrate(b.Context(), server.DSN()); err != nil {
		b.Fatal(err)
	}
	pool := newPool(b, server.DSN())
	admin := NewAdmin(pool)
	const accounts = 10_000
	if _, err := admin.ImportAccounts(b.Context(), accountFile(accounts, 0), ImportOptions{Currency: ocstest.Currency}); err != nil {
		b.Fatal(err)
	}
	for i, value := range []string{"493000000000", "493000000001"} {
		if _, err := admin.TopUp(b.Context(), TopUp{Identity: value, Amount: 1_000_000 * ocs.MoneyScale, Source: "top-up", Key: fmt.Sprint(i)}); err != nil {
			b.Fatal(err)
		}
	}
	for _, c := range []struct{ flight, lanes, accounts int }{
		{1, 1, accounts}, {16, 1, accounts}, {64, 1, accounts}, {64, 2, accounts}, {256, 2, accounts}, {64, 1, 1},
	} {
		b.Run(fmt.Sprintf("flight=%d/lanes=%d/accounts=%d", c.flight, c.lanes, c.accounts), func(b *testing.B) {
			benchmarkSteps(b, server.DSN(), c.flight, c.lanes, c.accounts)
		})
	}
	report, err := admin.Verify(b.Context())
	if err != nil || !report.OK() {
		b.Fatalf("the books are wrong: %v %v", report.Violations, err)
	}
}

func benchmarkSteps(b *testing.B, dsn string, flight, lanes, accounts int) {
	policy := ocs.DefaultPolicy()
	policy.ClockTolerance = 24 * time.Hour
	node := ocstest.Start(b, openStore(b, dsn, func(o *Options) { o.Lanes = lanes }), ocs.EngineConfig{Lanes: lanes, BatchMax: 256, Policy: policy, Sweep: -1})
	var left atomic.Int64
	left.Store(int64(b.N))
	var callers sync.WaitGroup
	b.ResetTimer()
	for caller := range flight {
		callers.Go(func() {
			for call := caller; ; call += flight {
				payer := []ocs.Identity{{Kind: ocs.E164, Value: fmt.Sprintf("4930%08d", call%accounts)}}
				id := ocstest.NewSession()
				for number, kind := range []ocs.StepType{ocs.Initial, ocs.Update, ocs.Update, ocs.Terminate} {
					if left.Add(-1) < 0 && kind == ocs.Initial {
						return
					}
					if !benchmarkStep(b, node, id, payer, kind, uint32(number)) {
						return
					}
				}
			}
		})
	}
	callers.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "steps/s")
}

func benchmarkStep(b *testing.B, node *ocstest.Driver, id string, payer []ocs.Identity, kind ocs.StepType, number uint32) bool {
	step := &ocs.Step{SessionID: id, Type: kind, Number: number, Payer: payer, Service: ocstest.Voice,
		Client: ocs.Client{Host: "client.example.org", Realm: "example.org", State: 1}}
	item := ocs.Item{Target: "100", RatingGroup: ocstest.OnNet}
	if kind != ocs.Initial {
		item.Used = ocstest.Used(ocs.Seconds, 1)
	}
	if kind != ocs.Terminate {
		item.Requested = ocstest.Wish(ocs.Seconds, 1)
	}
	step.Items = []ocs.Item{item}
	done := make(chan ocs.Outcome, 1)
	node.Submit(step, func(o ocs.Outcome) { done <- o })
	if o := <-done; o.Refusal != "" && o.Refusal != ocs.NoBalance && o.Refusal != ocs.CreditLimit {
		b.Errorf("step %d of %s: %v", number, id, o.Refusal)
		return false
	}
	return true
}
