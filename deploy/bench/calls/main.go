// Command calls holds thousands of charged calls at a time through a gygate of its own:
// it opens them, lets each be charged slice by slice, releases them, and then compares
// call records, money and what is left behind. It says what an open call costs in
// memory, goroutines and processor time.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"gygate/deploy/bench/sipload"
	"gygate/deploy/interop/harness"
)

var (
	calls = flag.Int("calls", 20_000, "calls to hold at a time, each on an account of its own")
	rate  = flag.Float64("rate", 1000, "calls set up and released per second")
	hold  = flag.Duration("hold", 60*time.Second, "how long all of them are held")
	slice = flag.Int("slice", 60, "seconds of a quota slice; the next is asked for 10 s before its end")
)

const config = `
database:
  dsn: %q
diameter:
  listen: ["127.0.0.1:%d"]
sip:
  listen: ["udp:127.0.0.1:%d"]
  next_hop: "127.0.0.1:%d"
http:
  listen: "127.0.0.1:%d"
vpn:
  calls_max: %d
ocs:
  policy:
    slice_seconds: %d
`

const currency = 978

func main() { harness.Main("calls", run) }

func run(ctx context.Context, bin string) error {
	database, err := harness.NewDatabase(ctx)
	if err != nil {
		return err
	}
	defer database.Close()
	ports, err := harness.FreePorts()
	if err != nil {
		return err
	}
	g, err := harness.New(bin, "calls", fmt.Sprintf(config, database.DSN, ports.Diameter, ports.SIP, ports.Phones, ports.HTTP, *calls, *slice), ports)
	if err != nil {
		return err
	}
	plan := sipload.Plan{Members: *calls}
	if err := provision(g, plan); err != nil {
		return err
	}
	return g.Serve(ctx, func() error {
		b, err := openBooks(ctx, database.DSN)
		if err != nil {
			return err
		}
		defer b.Close()
		return holdCalls(ctx, g, b, plan)
	})
}

// provision makes the lines, their accounts and a tariff.
func provision(g *harness.Gygate, plan sipload.Plan) error {
	if err := g.Import("tariff", harness.TariffPerSecond); err != nil {
		return err
	}
	return plan.Provision(g.Import, openingBalance, currency)
}

// holdCalls opens the calls, holds and releases them, and judges what is left.
func holdCalls(ctx context.Context, g *harness.Gygate, b *books, plan sipload.Plan) error {
	url := fmt.Sprintf("http://127.0.0.1:%d", g.Ports.HTTP)
	idle, err := readGauges(ctx, url)
	if err != nil {
		return err
	}
	fmt.Printf("%d calls, %.0f set up a second, held for %s, slices of %d s\nidle:      %s\n", plan.Members, *rate, *hold, *slice, idle)
	report, err := sipload.Run(ctx, sipload.Config{
		Gateway: fmt.Sprintf("127.0.0.1:%d", g.Ports.SIP), Callee: fmt.Sprintf("127.0.0.1:%d", g.Ports.Phones),
		Numbers: plan.Call, Calls: plan.Members, Rate: *rate,
		Up:      func(ctx context.Context) error { return watchHeld(ctx, g, url, idle) },
		Settled: func(ctx context.Context) error { return awaitCalls(ctx, url, 0) },
	})
	fmt.Println(report)
	if err != nil || len(report.Failed) > 0 {
		return fmt.Errorf("calls failed: %v %w", report.Failed, err)
	}
	if err := awaitGoroutines(ctx, url, idle); err != nil {
		return err
	}
	verdict, err := g.Run("verify")
	fmt.Print(string(verdict))
	if err != nil {
		return err
	}
	return b.compare(ctx, report)
}

// watchHeld waits while all calls are up and says what they cost.
func watchHeld(ctx context.Context, g *harness.Gygate, url string, idle gauges) error {
	if err := awaitCalls(ctx, url, *calls); err != nil {
		return err
	}
	first, err := readGauges(ctx, url)
	if err != nil {
		return err
	}
	fmt.Printf("all up:    %s\n", first)
	began := time.Now()
	select {
	case <-time.After(*hold):
	case <-ctx.Done():
		return ctx.Err()
	}
	last, err := readGauges(ctx, url)
	if err != nil {
		return err
	}
	each := func(now, then float64) float64 { return (now - then) / float64(*calls) }
	fmt.Printf("held:      %s\n", last)
	fmt.Printf("per call:  %.1f KB live (heap and stacks), %.2f goroutines; %.0f requests a second were charged, %.1f %% of a processor used\n",
		each(last.live+last.stacks, idle.live+idle.stacks)/1024, each(last.goroutines, idle.goroutines),
		(last.charged-first.charged)/time.Since(began).Seconds(), 100*(last.processor-first.processor)/time.Since(began).Seconds())
	if os.Getenv("GYGATE_BENCH_PROFILE") == "" {
		return nil
	}
	return saveProfiles(ctx, url, filepath.Dir(g.LogFile()))
}
