package sipload

import (
	"context"
	"net"
	"testing"
	"time"
)

// freeAddress is a loopback address nobody listens on.
func freeAddress(tb testing.TB) string {
	tb.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().String()
}

// TestRunWithoutGateway lets the callers call the callees directly.
func TestRunWithoutGateway(t *testing.T) {
	address := freeAddress(t)
	held := false
	for name, c := range map[string]Config{
		"in flight": {InFlight: 8},
		"rate":      {Rate: 2000, Talk: 20 * time.Millisecond},
		"held":      {Rate: 4000, Up: func(context.Context) error { held = true; return nil }},
	} {
		t.Run(name, func(t *testing.T) {
			c.Gateway, c.Callee, c.Calls, c.Numbers = address, address, 200, Plan{Members: 50, PerGroup: 20}.Call
			r, err := Run(t.Context(), c)
			if err != nil || r.Answered != c.Calls || len(r.Failed) != 0 {
				t.Errorf("%v, %v", r, err)
			}
			if r.SetUpMax > r.Elapsed || r.SetUpP50 <= 0 {
				t.Errorf("set-up p50 %v, max %v", r.SetUpP50, r.SetUpMax)
			}
		})
	}
	if !held {
		t.Error("Up was not asked")
	}
}

// TestPlanCallsAColleague: who is called is in the caller's group, and not the caller.
func TestPlanCallsAColleague(t *testing.T) {
	p := Plan{Members: 25, PerGroup: 10}
	for n := range 2 * p.Members {
		calling, dialled := p.Call(n)
		caller := n % p.Members
		if calling != p.Number(caller) || dialled == p.short(caller) {
			t.Errorf("call %d: %s dials %s", n, calling, dialled)
		}
		if caller >= 20 && dialled >= p.short(5) {
			t.Errorf("call %d: %s dials %s, whom the last group has not", n, calling, dialled)
		}
	}
}

// BenchmarkGenerator is what the load itself costs: callers that call the callees
// directly.
func BenchmarkGenerator(b *testing.B) {
	address := freeAddress(b)
	b.ReportAllocs()
	r, err := Run(b.Context(), Config{
		Gateway: address, Callee: address, Calls: b.N, InFlight: 64, Numbers: Plan{Members: 1000}.Call,
	})
	if err != nil || r.Answered != b.N {
		b.Fatal(r, err)
	}
	b.ReportMetric(r.Rate(), "calls/s")
}
