package pgstore

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
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
	used := cpuUsed(b, dsn)
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
	b.StopTimer()
	now := cpuUsed(b, dsn)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "steps/s")
	b.ReportMetric(float64((now.database-used.database).Microseconds())/float64(b.N), "pg-µs/step")
	b.ReportMetric(float64((now.own-used.own).Microseconds())/float64(b.N), "go-µs/step")
	b.ReportMetric(float64(now.wal-used.wal)/float64(b.N), "wal-B/step")
}

// usage is processor time, and octets of write-ahead log, so far.
type usage struct {
	database, own time.Duration
	wal           int64
}

// cpuUsed reads what the database's processes and this one have used.
func cpuUsed(b *testing.B, dsn string) (u usage) {
	b.Helper()
	var pids []int
	pool := newPool(b, dsn)
	err := pool.QueryRow(b.Context(), "select array_agg(pid), pg_current_wal_lsn() - '0/0' from pg_stat_activity").Scan(&pids, &u.wal)
	if err != nil {
		b.Fatal(err)
	}
	const tick = 10 * time.Millisecond // of /proc, on Linux
	ticks := func(pid int) time.Duration {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0 // ended meanwhile
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		user, _ := strconv.Atoi(fields[11])
		system, _ := strconv.Atoi(fields[12])
		return time.Duration(user+system) * tick
	}
	for _, pid := range pids {
		u.database += ticks(pid)
	}
	u.own = ticks(os.Getpid())
	return u
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
