package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace/noop"

	"gygate/cmd/gygate/config"
	"gygate/cmd/gygate/sample"
	"gygate/diameter"
	"gygate/diameter/gy"
	"gygate/diameter/peer"
	"gygate/ocs"
	"gygate/ocs/pgstore"
	"gygate/vpnlogic"
)

const (
	benchAccounts = 10_000
	benchBalance  = "1000000" // never runs out
	benchHost     = "tas.gygate.example"
	benchRealm    = "gygate.example"
	// benchRounds is how often a run changes between Diameter and the engine
	// alone: what else the machine does then meets both alike.
	benchRounds = 4
)

// BenchmarkCharging is the whole path of a charging request, as shipped: a closed
// loop of calls (CCR-I, CCR-U, CCR-U, CCR-T) over a TCP connection to a gygate of
// role ocs with its embedded PostgreSQL, every answer durable. Generator, gygate
// and PostgreSQL share the machine. It reports CCR/s, the latency's p50 and p99 in
// ms, and vs-engine: the rate divided by what the same steps reach in the same run
// when they are handed to the engine without Diameter. The books are audited
// after each load.
func BenchmarkCharging(b *testing.B) {
	g := startBench(b)
	for _, c := range []struct{ flight, accounts int }{
		{16, benchAccounts}, {64, benchAccounts}, {256, benchAccounts}, {64, 1},
	} {
		b.Run(fmt.Sprintf("inflight=%d/accounts=%d", c.flight, c.accounts), func(b *testing.B) { g.run(b, c.flight, c.accounts) })
		if report, err := g.main.admin.Verify(b.Context()); err != nil || !report.OK() {
			b.Fatalf("the books are wrong: %v %v", report.Violations, err)
		}
	}
}

// bench is a gygate under load and the client that loads it.
type bench struct {
	main     *Main
	client   *peer.Client
	sessions *diameter.SessionIDs
}

// startBench connects to a gygate of its own.
func startBench(b testing.TB) *bench {
	m := startCharging(b)
	g := &bench{main: m, sessions: diameter.NewSessionIDs(benchHost, time.Now())}
	g.client = newBenchClient(b, m.diameterAddr.String())
	serve(b, g.client.Run)
	if err := g.client.WaitOpen(b.Context()); err != nil {
		b.Fatal(err)
	}
	return g
}

// startCharging runs a gygate with its own durable database as gygate serve does. It
// is not traced, which is the default without a trace exporter.
func startCharging(b testing.TB) *Main {
	before := otel.GetTracerProvider()
	otel.SetTracerProvider(noop.NewTracerProvider())
	b.Cleanup(func() { otel.SetTracerProvider(before) })
	b.Cleanup(tuneCollector())
	data, err := temporaryFolder()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(filepath.Dir(data)) })
	m, err := New(b.Context(), benchConfig(), Options{Role: RoleOCS, Data: data, Logger: quietLogger(), Ephemeral: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { closeBench(b, m.Close) })
	openBenchAccounts(b, m)
	serve(b, m.Run)
	return m
}

// benchConfig believes reports of more seconds than have passed: the calls of the
// load take milliseconds.
func benchConfig() *config.Config {
	c := config.Default()
	c.Diameter.Listen, c.HTTP.Listen = []string{loopbackAny}, ""
	c.Diameter.Peers = []config.Peer{{Host: benchHost, Addresses: []string{"127.0.0.0/8"}}}
	c.OCS.Policy.ClockTolerance = 24 * time.Hour
	return c
}

func openBenchAccounts(b testing.TB, m *Main) {
	var file strings.Builder
	file.WriteString("msisdn,balance\n")
	for i := range benchAccounts {
		fmt.Fprintf(&file, "%s,%s\n", benchNumber(i), benchBalance)
	}
	_, err := m.admin.ImportAccounts(b.Context(), strings.NewReader(file.String()), pgstore.ImportOptions{AllOrNothing: true, Currency: sample.EUR})
	if err := errors.Join(err, m.admin.PutTariff(b.Context(), sample.Tariff()), m.reload(b.Context())); err != nil {
		b.Fatal(err)
	}
}

func benchNumber(account int) string { return fmt.Sprintf("4930%08d", account) }

func newBenchClient(b testing.TB, address string) *peer.Client {
	dictionary, err := diameter.NewDictionary()
	if err != nil {
		b.Fatal(err)
	}
	client, err := peer.NewClient(peer.ClientConfig{
		Local:      peer.Local{Host: benchHost, Realm: benchRealm, OriginStateID: 1, Product: "load"},
		Peers:      []peer.Endpoint{{Address: address}},
		Dictionary: dictionary, Logger: quietLogger(),
	}, nil)
	if err != nil {
		b.Fatal(err)
	}
	return client
}

// serve runs something until the benchmark ends.
func serve(b testing.TB, run func(context.Context) error) { b.Cleanup(start(b, run)) }

// start runs something until stop.
func start(b testing.TB, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	return func() {
		cancel()
		closeBench(b, func() error { return <-ended })
	}
}

func closeBench(b testing.TB, end func() error) {
	if err := end(); err != nil {
		b.Error(err)
	}
}

// run loads the gygate with b.N requests by Diameter and as many steps without,
// in turns.
func (g *bench) run(b *testing.B, flight, accounts int) {
	calls := (b.N + len(callSteps)*benchRounds - 1) / (len(callSteps) * benchRounds)
	wire, plain := &benchLoad{send: g.byDiameter}, &benchLoad{send: g.byEngine}
	b.ResetTimer()
	for range benchRounds {
		wire.run(b, g.sessions, calls, flight, accounts)
		b.StopTimer()
		plain.run(b, g.sessions, calls, flight, accounts)
		b.StartTimer()
	}
	b.StopTimer()
	b.ReportMetric(wire.rate(), "CCR/s")
	b.ReportMetric(wire.quantile(0.50), "p50-ms")
	b.ReportMetric(wire.quantile(0.99), "p99-ms")
	b.ReportMetric(wire.rate()/plain.rate(), "vs-engine")
}

// benchCall is one call of the load.
type benchCall struct {
	session string
	number  string // the caller's, who pays
}

// callSteps are the requests of a call: seconds used since the last one, and
// seconds wished for.
var callSteps = [...]struct {
	kind       ocs.StepType
	used, wish uint32
}{{ocs.Initial, 0, 60}, {ocs.Update, 50, 60}, {ocs.Update, 55, 60}, {ocs.Terminate, 10, 0}}

// benchLoad is a closed loop of calls, and what it measured.
type benchLoad struct {
	send func(ctx context.Context, c *benchCall, request int) error
	took []time.Duration // of each request
	time time.Duration
}

// run makes so many calls, at most flight at a time.
func (l *benchLoad) run(b *testing.B, ids *diameter.SessionIDs, calls, flight, accounts int) {
	var next atomic.Int64
	var callers sync.WaitGroup
	took := make([][]time.Duration, flight)
	began := time.Now()
	for caller := range flight {
		callers.Go(func() {
			for n := next.Add(1); n <= int64(calls); n = next.Add(1) {
				c := &benchCall{session: ids.Next(""), number: benchNumber(int(n) % accounts)}
				if err := l.call(b.Context(), c, &took[caller]); err != nil {
					b.Errorf("call %s: %v", c.session, err)
					return
				}
			}
		})
	}
	callers.Wait()
	l.time += time.Since(began)
	l.took = append(l.took, slices.Concat(took...)...)
}

func (l *benchLoad) call(ctx context.Context, c *benchCall, took *[]time.Duration) error {
	for request := range callSteps {
		began := time.Now()
		if err := l.send(ctx, c, request); err != nil {
			return fmt.Errorf("request %d: %w", request, err)
		}
		*took = append(*took, time.Since(began))
	}
	return nil
}

// rate is in requests per second.
func (l *benchLoad) rate() float64 { return float64(len(l.took)) / l.time.Seconds() }

// quantile is in milliseconds.
func (l *benchLoad) quantile(q float64) float64 {
	slices.Sort(l.took)
	return float64(l.took[int(q*float64(len(l.took)-1))].Microseconds()) / 1000
}

// byDiameter sends a request as an IMS application server does.
func (g *bench) byDiameter(ctx context.Context, c *benchCall, request int) error {
	s := callSteps[request]
	service := gy.Service{RatingGroup: gy.Some(uint32(vpnlogic.RatingOnNet))}
	if s.used > 0 {
		service.Used = []gy.UsedUnits{{ServiceUnits: gy.ServiceUnits{Time: gy.Some(s.used)}}}
	}
	if s.wish > 0 {
		service.Requested = gy.Some(gy.ServiceUnits{Time: gy.Some(s.wish)})
	}
	ccr := gy.CCR{
		SessionID: c.session, OriginHost: benchHost, OriginRealm: benchRealm, DestinationRealm: benchRealm,
		ServiceContextID: gy.ContextSIP, Type: s.kind, Number: uint32(request), OriginStateID: 1, EventTimestamp: time.Now(),
		Payer:            []gy.Subscription{{Kind: ocs.E164, Data: c.number}},
		MultipleServices: gy.Some(uint32(1)),
		Services:         []gy.Service{service},
		Call: gy.ServiceInformation{IMS: &gy.IMSInformation{
			SIPMethod: "INVITE", RoleOfNode: gy.Some(uint32(0)), NodeFunctionality: gy.Some(uint32(6)), UserSessionID: c.session,
			CallingParty: "tel:+" + c.number, CalledParty: "tel:+" + string(sample.Outside), ChargingID: c.session,
		}},
	}
	answer, err := g.client.Do(ctx, peer.Request{Encode: func(b []byte, _ string) []byte { return ccr.Append(b, diameter.Header{}) }})
	if err != nil {
		return err
	}
	if code, ok := answer.Message.Find(diameter.ResultCodeAVP); !ok || diameter.ResultCode(code.Uint32()) != diameter.Success {
		return fmt.Errorf("Result-Code %d", code.Uint32())
	}
	return nil
}

// byEngine hands the engine the step that byDiameter's request becomes.
func (g *bench) byEngine(_ context.Context, c *benchCall, request int) error {
	s := callSteps[request]
	item := ocs.Item{Target: "100", RatingGroup: vpnlogic.RatingOnNet}
	if s.used > 0 {
		item.Used = []ocs.Usage{{Units: ocs.Units{Kind: ocs.Seconds, Quantity: int64(s.used)}}}
	}
	if s.wish > 0 {
		item.Requested = &ocs.Units{Kind: ocs.Seconds, Quantity: int64(s.wish)}
	}
	step := &ocs.Step{
		SessionID: c.session, Type: s.kind, Number: uint32(request), Payer: []ocs.Identity{{Kind: ocs.E164, Value: c.number}},
		Service: gy.ContextSIP, Called: string(sample.Outside), At: time.Now(),
		Client: ocs.Client{Host: benchHost, Realm: benchRealm, Relay: benchHost, State: 1},
		Items:  []ocs.Item{item},
	}
	done := make(chan ocs.Outcome, 1)
	g.main.engine.Submit(step, func(o ocs.Outcome) { done <- o })
	if o := <-done; o.Refusal != "" {
		return fmt.Errorf("refused: %s", o.Refusal)
	}
	return nil
}
