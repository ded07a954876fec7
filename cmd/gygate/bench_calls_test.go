package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace/noop"

	"gygate/cmd/gygate/config"
	"gygate/cmd/gygate/sample"
	"gygate/deploy/bench/sipload"
	"gygate/ocs/pgstore"
	"gygate/vpnlogic/pgdirectory"
)

// benchPlan are the lines of BenchmarkCalls.
var benchPlan = sipload.Plan{Members: benchAccounts}

// BenchmarkCalls is the whole path of a call, as shipped: INVITE over UDP, screening,
// CCR-I and CCR-T over TCP to the OCS of the same process, every answer durable, BYE on
// both legs, the call record. Generator, gygate and PostgreSQL share the machine. It
// reports calls/s, the set-up time's p50 and p99 in ms (INVITE to 200, without the
// callee), and the processor time of this process a call, which includes the
// generator's (BenchmarkGenerator in deploy/bench/sipload) and not PostgreSQL's. The
// books are audited after each load.
func BenchmarkCalls(b *testing.B) {
	g := startCallBench(b, callBenchConfig(), benchPlan)
	for _, flight := range []int{16, 64, 256} {
		b.Run(fmt.Sprintf("inflight=%d", flight), func(b *testing.B) { g.run(b, flight) })
	}
	if report, err := g.main.admin.Verify(b.Context()); err != nil || !report.OK() {
		b.Fatalf("the books are wrong: %v %v", report.Violations, err)
	}
}

// BenchmarkOpenCalls opens b.N calls and holds them: it reports what one takes of
// memory (heap and stacks, the generator's share included) and of goroutines, when all
// set-up transactions are over.
func BenchmarkOpenCalls(b *testing.B) {
	c := callBenchConfig()
	c.VPN.CallsMax = max(b.N, c.VPN.CallsMax)
	g := startCallBench(b, c, benchPlan)
	g.hold(b)
}

// callBench is a gygate of role all under a load of calls.
type callBench struct {
	main   *Main
	plan   sipload.Plan
	callee string
	placed int
}

// callBenchConfig is that of BenchmarkCharging with a SIP side.
func callBenchConfig() *config.Config {
	c := benchConfig()
	c.SIP.Listen = []string{"udp:" + loopbackAny}
	return c
}

// startCallBench runs a gygate on a durable database of its own, with the plan's lines.
func startCallBench(b testing.TB, c *config.Config, plan sipload.Plan) *callBench {
	data, err := temporaryFolder()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(filepath.Dir(data)) })
	g := openCallBench(b, c, Options{Role: RoleAll, Data: data, Logger: quietLogger(), Ephemeral: true}, plan)
	g.openAccounts(b)
	g.provision(b)
	serve(b, g.main.Run)
	if err := g.main.Ready(b.Context()); err != nil {
		b.Fatal(err)
	}
	return g
}

// openCallBench wires a gygate whose calls go to the load's callees. It is not traced,
// which is the default without a trace exporter.
func openCallBench(b testing.TB, c *config.Config, o Options, plan sipload.Plan) *callBench {
	before := otel.GetTracerProvider()
	otel.SetTracerProvider(noop.NewTracerProvider())
	b.Cleanup(func() { otel.SetTracerProvider(before) })
	b.Cleanup(tuneCollector())
	g := &callBench{plan: plan, callee: freeUDP(b)}
	c.SIP.NextHop = g.callee
	var err error
	if g.main, err = New(b.Context(), c, o); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { closeBench(b, g.main.Close) })
	return g
}

// freeUDP is a loopback address nobody listens on.
func freeUDP(tb testing.TB) string {
	conn, err := net.ListenPacket("udp", loopbackAny)
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().String()
}

// openAccounts makes the accounts of the lines, and the tariff.
func (g *callBench) openAccounts(b testing.TB) {
	var accounts strings.Builder
	err := g.plan.WriteAccounts(&accounts, benchBalance, int(sample.EUR))
	if err == nil {
		_, err = g.main.admin.ImportAccounts(b.Context(), strings.NewReader(accounts.String()), pgstore.ImportOptions{AllOrNothing: true})
	}
	if err := errors.Join(err, g.main.admin.PutTariff(b.Context(), sample.Tariff()), g.main.reload(b.Context())); err != nil {
		b.Fatal(err)
	}
}

// provision makes the groups and members of the plan.
func (g *callBench) provision(b testing.TB) {
	var groups, members strings.Builder
	if err := errors.Join(g.plan.WriteGroups(&groups), g.plan.WriteMembers(&members)); err != nil {
		b.Fatal(err)
	}
	ctx, directory := b.Context(), pgdirectory.NewAdmin(g.main.books.pool)
	_, err1 := directory.ImportGroups(ctx, strings.NewReader(groups.String()), pgdirectory.ImportOptions{AllOrNothing: true})
	_, err2 := directory.ImportMembers(ctx, strings.NewReader(members.String()), pgdirectory.ImportOptions{AllOrNothing: true})
	if err := errors.Join(err1, err2, g.main.reload(ctx)); err != nil {
		b.Fatal(err)
	}
}

// load is a load of that many calls through the gygate.
func (g *callBench) load(calls int) sipload.Config {
	first := g.placed
	g.placed += calls
	return sipload.Config{
		Gateway: g.main.calls.gateway.Addrs()[0].Addr, Callee: g.callee, Calls: calls,
		Numbers: func(n int) (string, string) { return g.plan.Call(first + n) },
		Settled: g.settled,
	}
}

// settled waits until every call is charged and recorded.
func (g *callBench) settled(ctx context.Context) error {
	for records := 0; ; time.Sleep(5 * time.Millisecond) {
		if g.main.calls.service.Active() > 0 {
			continue
		}
		if err := g.main.books.pool.QueryRow(ctx, "select count(*) from call_record").Scan(&records); err != nil || records == g.placed {
			return err
		}
	}
}

func (g *callBench) run(b *testing.B, flight int) {
	c := g.load(b.N)
	c.InFlight = flight
	b.ReportAllocs()
	b.ResetTimer()
	used := processorTime(b)
	report, err := sipload.Run(b.Context(), c)
	used = processorTime(b) - used
	b.StopTimer()
	if err != nil || len(report.Failed) > 0 {
		b.Fatal(report, err)
	}
	b.ReportMetric(report.Rate(), "calls/s")
	b.ReportMetric(float64(report.SetUpP50.Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(report.SetUpP99.Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(used.Microseconds())/float64(b.N), "cpu-µs/call")
	b.ReportMetric(float64(report.Repeated), "repeated")
}

// setUpLinger is how long the SIP library keeps the transactions of a set-up (timers L
// and M, RFC 6026), and a second.
const setUpLinger = 33 * time.Second

func (g *callBench) hold(b *testing.B) {
	c := g.load(b.N)
	c.Rate, c.InFlight = 500, 0
	idle, few := inUse(), runtime.NumGoroutine()
	c.Up = func(ctx context.Context) error {
		b.ReportMetric(float64(inUse()-idle)/float64(b.N), "fresh-B/call")
		time.Sleep(setUpLinger)
		b.ReportMetric(float64(inUse()-idle)/float64(b.N), "B/call")
		b.ReportMetric(float64(runtime.NumGoroutine()-few)/float64(b.N), "goroutines/call")
		return nil
	}
	if report, err := sipload.Run(b.Context(), c); err != nil || len(report.Failed) > 0 {
		b.Fatal(report, err)
	}
}

// inUse is the memory of live objects and of stacks.
func inUse() int64 {
	runtime.GC()
	runtime.GC() // what finalizers and pools held goes with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// processorTime is what this process has used of the processors.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
