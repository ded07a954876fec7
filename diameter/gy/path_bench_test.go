package gy

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/trace/noop"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/ocs"
	"gygate/vpnlogic"
)

// pathFlight is how many requests the client of BenchmarkServerPath has under way;
// they arrive with one write, as those of a busy gateway do.
const pathFlight = 64

// BenchmarkServerPath is the whole path of a CCR through the server, without the
// books: read from a loopback TCP connection, framed, validated, parsed, mapped,
// counted by a real metrics SDK, answered and written. The client only shovels
// octets, but its system calls are part of the figures.
//
//   - atOnce: the outcome is there when Submit returns.
//   - lanes: it comes from another goroutine, in batches, as the engine's do.
//
// cpu-ns/op is the processor time of the whole process. Budget of each: 6,000
// cpu-ns/op and 9 allocations: the exchange and its two closures, the step with
// Session-Id, payer and called number, and two of the connection's.
func BenchmarkServerPath(b *testing.B) {
	b.Run("atOnce", func(b *testing.B) { servePath(b, atOnce{slice(0)}) })
	b.Run("lanes", func(b *testing.B) { servePath(b, startLanes(b, slice(0))) })
}

func servePath(b *testing.B, engine Submitter) {
	asShipped(b)
	tariff := testTariff()
	known := map[string]Profile{testClient.Host: LenientProfile}
	address := startServer(b, peer.ServerConfig{
		Local:      peer.Local{Host: testLocal.Host, Realm: testLocal.Realm, OriginStateID: testLocal.StateID, Product: "gygate"},
		Peers:      []peer.PeerRule{{Host: testClient.Host, Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Tolerate: diameter.Lenient}},
		Dictionary: dictionary(),
	}, NewServer(ServerConfig{
		Local: testLocal, Tariff: func() *ocs.Tariff { return tariff }, SharedDatabase: true,
		Profile: func(host string) (Profile, bool) { p, ok := known[strings.ToLower(host)]; return p, ok },
	}, engine))
	shovel := dialShovel(b, address)
	b.ReportAllocs()
	began := processorTime(b)
	b.ResetTimer()
	for n := b.N; n > 0; n -= pathFlight {
		shovel.exchange(b, min(n, pathFlight))
	}
	b.StopTimer()
	b.ReportMetric(float64(processorTime(b)-began)/float64(b.N), "cpu-ns/op")
}

// asShipped installs what gygate serve installs: a metrics SDK that somebody reads,
// no tracing, and the collector's pace.
func asShipped(b *testing.B) {
	meters, tracers, percent := otel.GetMeterProvider(), otel.GetTracerProvider(), debug.SetGCPercent(400)
	otel.SetMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())))
	otel.SetTracerProvider(noop.NewTracerProvider())
	b.Cleanup(func() {
		otel.SetMeterProvider(meters)
		otel.SetTracerProvider(tracers)
		debug.SetGCPercent(percent)
	})
}

// shovel is a client that sends encoded requests and counts the octets of the
// answers.
type shovel struct {
	nc       net.Conn
	requests [][]byte // growing prefixes of pathFlight requests
	answered []int    // the length of as many answers
	answers  []byte
}

// dialShovel connects to a server, introduces the client and learns how long the
// answers are.
func dialShovel(b *testing.B, address string) *shovel {
	b.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = nc.Close() })
	s := &shovel{nc: nc}
	s.ask(b, appendIntroduction(nil))
	var all []byte
	length := 0
	for n := range pathFlight {
		start := len(all)
		all = appendPathRequest(all, n/len(pathSteps), n%len(pathSteps))
		length += s.ask(b, all[start:])
		s.requests, s.answered = append(s.requests, all), append(s.answered, length)
	}
	s.answers = make([]byte, length)
	return s
}

// ask returns the length of the answer to one request.
func (s *shovel) ask(b *testing.B, request []byte) int {
	b.Helper()
	if _, err := s.nc.Write(request); err != nil {
		b.Fatal(err)
	}
	m, err := diameter.ReadMessage(s.nc)
	if err != nil || m.ResultCode() != diameter.Success {
		b.Fatalf("answer %d: %v", m.ResultCode(), err)
	}
	return len(m.Raw)
}

// exchange sends so many requests and waits for as many answers.
func (s *shovel) exchange(b *testing.B, n int) {
	if _, err := s.nc.Write(s.requests[n-1]); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(s.nc, s.answers[:s.answered[n-1]]); err != nil {
		b.Fatal(err)
	}
}

func appendIntroduction(b []byte) []byte {
	start := len(b)
	b = diameter.Start(b, diameter.Header{Flags: diameter.FlagRequest, Command: diameter.CmdCapabilitiesExchange})
	b = diameter.AppendString(b, diameter.OriginHost, testClient.Host)
	b = diameter.AppendString(b, diameter.OriginRealm, testClient.Realm)
	b = diameter.AppendAddress(b, diameter.HostIPAddress, netip.MustParseAddr("127.0.0.1"))
	b = diameter.AppendUint32(b, diameter.VendorID, diameter.Vendor3GPP)
	b = diameter.AppendString(b, diameter.ProductName, "shovel")
	b = diameter.AppendUint32(b, diameter.AuthApplicationID, diameter.AppCreditControl)
	return diameter.Finish(b, start)
}

// pathSteps are the requests of a call: seconds used since the last one, and
// seconds wished for.
var pathSteps = [...]struct {
	kind       ocs.StepType
	used, wish uint32
}{{ocs.Initial, 0, 60}, {ocs.Update, 50, 60}, {ocs.Update, 55, 60}, {ocs.Terminate, 10, 0}}

// appendPathRequest appends a request as an IMS application server sends it.
func appendPathRequest(b []byte, call, request int) []byte {
	s := pathSteps[request]
	session, number := fmt.Sprintf("%s;4014999999;%d", testClient.Host, 100_000_000+call), fmt.Sprintf("4930%08d", call)
	service := Service{RatingGroup: Some(uint32(vpnlogic.RatingOnNet))}
	if s.used > 0 {
		service.Used = []UsedUnits{{ServiceUnits: timeUnits(s.used)}}
	}
	if s.wish > 0 {
		service.Requested = Some(timeUnits(s.wish))
	}
	ccr := CCR{
		SessionID: session, OriginHost: testClient.Host, OriginRealm: testClient.Realm, DestinationRealm: testLocal.Realm,
		ServiceContextID: ContextSIP, Type: s.kind, Number: uint32(request), OriginStateID: 1, EventTimestamp: time.Now(),
		Payer:            []Subscription{{Kind: ocs.E164, Data: number}},
		MultipleServices: Some(uint32(1)),
		Services:         []Service{service},
		Call: ServiceInformation{IMS: &IMSInformation{
			SIPMethod: "INVITE", RoleOfNode: Some(uint32(0)), NodeFunctionality: Some(uint32(6)), UserSessionID: session,
			CallingParty: "tel:+" + number, CalledParty: "tel:+4930233445566", ChargingID: session,
		}},
	}
	return ccr.Append(b, diameter.Header{HopByHop: uint32(call), EndToEnd: uint32(request)})
}

// lanes is a Submitter whose outcomes come in batches from another goroutine.
type lanes struct {
	queue   chan func(ocs.Outcome)
	outcome ocs.Outcome
}

func startLanes(b *testing.B, o ocs.Outcome) *lanes {
	l := &lanes{queue: make(chan func(ocs.Outcome), 4*pathFlight), outcome: o}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for done := range l.queue {
			done(l.outcome)
		}
	}()
	b.Cleanup(func() {
		close(l.queue)
		<-ended
	})
	return l
}

func (l *lanes) Submit(_ *ocs.Step, done func(ocs.Outcome)) { l.queue <- done }

// processorTime is what the process has used so far.
func processorTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
