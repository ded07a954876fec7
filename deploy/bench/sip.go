package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gygate/cmd/gygate/sample"
	"gygate/deploy/bench/sipload"
	"gygate/deploy/interop/harness"
)

const (
	sipMembers = 2000
	// sipWait is how often it is asked whether the last call record is written.
	sipWait = 20 * time.Millisecond
)

// sipFlights are the calls at a time that are tried.
var sipFlights = []int{64, 256}

const sipConfig = `
database: {dsn: %q}
diameter: {listen: ["127.0.0.1:%d"]}
sip:
  listen: ["udp:127.0.0.1:%d"]
  next_hop: "127.0.0.1:%d"
http: {listen: "127.0.0.1:%d"}
telemetry: {log_level: warn}
`

// calls is a row about SIP calls, each from INVITE to call record.
type calls struct {
	InFlight int     `json:"in_flight"`
	Rate     float64 `json:"calls_per_second"`
	SetUpP50 float64 `json:"set_up_p50_ms"`
	SetUpP99 float64 `json:"set_up_p99_ms"`
	Gateway  float64 `json:"gateway_us"` // processor time of a call, without PostgreSQL's
	Repeated int     `json:"messages_repeated"`
}

// measureCalls sets up, charges and releases calls through a gateway of role all with
// a database of its own: two CCRs and one call record each, over real sockets.
func measureCalls(ctx context.Context, l *lab) (err error) {
	database, err := harness.NewDatabase(ctx)
	if err != nil {
		return err
	}
	defer database.Close()
	ports, err := harness.FreePorts()
	if err != nil {
		return err
	}
	g, err := harness.New(l.bin, "sip", fmt.Sprintf(sipConfig, database.DSN, ports.Diameter, ports.SIP, ports.Phones, ports.HTTP), ports)
	if err != nil {
		return err
	}
	plan := sipload.Plan{Members: sipMembers}
	if err := errors.Join(g.Import("tariff", harness.TariffPerSecond), plan.Provision(g.Import, balance, int(sample.EUR))); err != nil {
		return err
	}
	return g.Serve(ctx, func() error {
		for _, flight := range sipFlights {
			if err := l.measureCallsAt(ctx, g, plan, flight); err != nil {
				return err
			}
		}
		verdict, err := g.Run("verify")
		if err != nil {
			return fmt.Errorf("after the SIP calls: %w: %s", err, verdict)
		}
		return nil
	})
}

func (l *lab) measureCallsAt(ctx context.Context, g *harness.Gygate, plan sipload.Plan, flight int) error {
	used := processTime(g.Pid(), false)
	r, err := sipload.Run(ctx, sipload.Config{
		Gateway: fmt.Sprintf("127.0.0.1:%d", g.Ports.SIP), Callee: fmt.Sprintf("127.0.0.1:%d", g.Ports.Phones),
		Numbers: plan.Call, Calls: l.plan.calls, InFlight: flight,
		Settled: func(ctx context.Context) error { return awaitNoCalls(ctx, g) },
	})
	if err != nil || len(r.Failed) > 0 {
		return fmt.Errorf("SIP calls failed: %v %w", r.Failed, err)
	}
	each := (processTime(g.Pid(), false) - used) / time.Duration(max(r.Answered, 1))
	milliseconds := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	l.report.Calls = append(l.report.Calls, calls{
		InFlight: flight, Rate: r.Rate(), SetUpP50: milliseconds(r.SetUpP50), SetUpP99: milliseconds(r.SetUpP99),
		Gateway: float64(each.Microseconds()), Repeated: r.Repeated,
	})
	l.report.fact(fmt.Sprintf("sip_%d", flight), "SIP, %d at a time: %s; %d us of the gateway a call", flight, r, each.Microseconds())
	return nil
}

// awaitNoCalls waits until the last call is charged and its record written.
func awaitNoCalls(ctx context.Context, g *harness.Gygate) error {
	for gauge(ctx, g, "gygate_vpn_calls") > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(sipWait):
		}
	}
	return nil
}
