package load

import (
	"io"
	"net"
	"os"
	"testing"
	"time"

	"gygate/diameter"
	"gygate/diameter/gy"
	"gygate/ocs"
)

// testConfig is a small load of a target.
func testConfig(target string) Config {
	return Config{
		Target: target, Host: "tas.example", Realm: "example", InFlight: 8, Updates: 2,
		First: "493000000000", Subscribers: 1000, Called: "494066969100", RatingGroup: 100, Seconds: 60, Used: 50,
		Requests: 400, Timeout: 300 * time.Millisecond, Seed: 1,
	}
}

// fakePeer is a connection whose far end answers each request at once, without a
// socket and without an allocation.
type fakePeer struct {
	net.Conn
	answers [phases + 1][]byte // by CC-Request-Type
	out     []byte
}

func newFakePeer(t testing.TB, cfg *Config) *fakePeer {
	f := &fakePeer{out: make([]byte, 0, 1<<20)}
	began := time.Now()
	for p := range phase(phases) {
		tmpl, err := newTemplate(cfg, cfg.local(0), began, p)
		if err != nil {
			t.Fatal(err)
		}
		request, err := diameter.ParseMessage(tmpl.frame)
		if err != nil {
			t.Fatal(err)
		}
		f.answers[stepTypes[p]] = granting(stepTypes[p], 60).Append(nil, request, diameter.Origin{Host: "ocs.example", Realm: "example", StateID: 7})
	}
	return f
}

// granting is an answer that grants seconds, or tells a cost of a cent for each.
func granting(kind ocs.StepType, seconds uint32) *gy.CCA {
	a := &gy.CCA{ResultCode: diameter.Success, Type: kind, Services: []gy.ServiceAnswer{{
		RatingGroup: gy.Some(uint32(100)), ResultCode: diameter.Success, Validity: 600,
	}}}
	if kind == ocs.Terminate || kind == ocs.Event {
		a.Cost = gy.Some(gy.AmountOf(ocs.Money(seconds)*ocs.MoneyScale/100, 978))
	} else {
		a.Services[0].Granted = gy.Some(gy.GrantedUnits{ServiceUnits: gy.ServiceUnits{Time: gy.Some(seconds)}})
	}
	return a
}

func (f *fakePeer) Write(b []byte) (int, error) {
	for rest := b; len(rest) > 0; {
		length, err := diameter.CheckHeader(rest)
		if err != nil {
			return 0, err
		}
		kind, _ := diameter.Find(rest[diameter.HeaderLen:length], diameter.CCRequestType)
		start := len(f.out)
		f.out = append(f.out, f.answers[kind.Uint32()]...)
		copy(f.out[start+12:start+20], rest[12:20])
		rest = rest[length:]
	}
	return len(b), nil
}

func (f *fakePeer) Read(b []byte) (int, error) {
	if len(f.out) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b, f.out)
	f.out = f.out[:copy(f.out, f.out[n:])]
	return n, nil
}

func (f *fakePeer) SetReadDeadline(time.Time) error  { return nil }
func (f *fakePeer) SetWriteDeadline(time.Time) error { return nil }
func (f *fakePeer) Close() error                     { return nil }

// connectFake makes one fake connection that is about to load.
func connectFake(t testing.TB, cfg Config) *conn {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		t.Fatal(err)
	}
	c, err := newConn(&cfg, 0)
	if err != nil {
		t.Fatal(err)
	}
	c.nc, c.began = newFakePeer(t, &cfg), time.Now()
	return c
}

// BenchmarkGenerator is what a request costs the generator itself, with all of its
// life but the two system calls that carry a batch; the fake peer's part is in it.
func BenchmarkGenerator(b *testing.B) {
	for _, mode := range []Mode{Sessions, Events} {
		b.Run(string(mode), func(b *testing.B) {
			cfg := testConfig("")
			cfg.Mode, cfg.InFlight, cfg.Requests = mode, 256, int64(b.N)
			c := connectFake(b, cfg)
			b.ReportAllocs()
			b.ResetTimer()
			if err := c.run(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func TestARequestCostsNoAllocation(t *testing.T) {
	cfg := testConfig("")
	cfg.InFlight, cfg.Repeats = 256, 0.1
	allocations := func(requests int64) float64 {
		cfg.Requests = requests
		return testing.AllocsPerRun(1, func() {
			if err := connectFake(t, cfg).run(); err != nil {
				t.Fatal(err)
			}
		})
	}
	few, many := allocations(4_000), allocations(204_000)
	// What remains are the ticks' snapshots: 20 a second.
	if perRequest := (many - few) / 200_000; perRequest > 0.001 {
		t.Errorf("%.4f allocations for a request", perRequest)
	}
}

// reading hands a scripted peer's requests to serve until the connection ends.
func reading(conn net.Conn, serve func(diameter.Message)) {
	for {
		m, err := diameter.ReadMessage(conn)
		if err != nil {
			return
		}
		serve(m)
	}
}

// scripted listens, welcomes each connection and hands its requests to serve, which
// writes what it likes.
func scripted(t *testing.T, serve func(w io.Writer, m diameter.Message)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				reading(conn, func(m diameter.Message) {
					if m.Command != diameter.CmdCreditControl {
						_, _ = conn.Write(appendBaseAnswer(nil, m.Header, peerOrigin))
						return
					}
					serve(conn, m)
				})
			}()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

var peerOrigin = diameter.Origin{Host: "ocs.example", Realm: "example", StateID: 7}

// kindOf is a CCR's CC-Request-Type.
func kindOf(m diameter.Message) ocs.StepType {
	a, _ := m.Find(diameter.CCRequestType)
	return ocs.StepType(a.Uint32())
}
