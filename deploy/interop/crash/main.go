// Command crash kills gygate with SIGKILL at ten points of a prepaid call,
// starts it again on the same data, repeats the last request as a relay that
// got no answer would, waits for the supervision time (Tcc), and compares the
// books with what the call reported.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"sync"
	"text/tabwriter"
	"time"

	"gygate/deploy/interop/harness"
	"gygate/ocs"
	"gygate/vpnlogic/sipgw/phone"
)

const (
	caller, callerShort = "46855504001", "6001"
	callee, calleeShort = "46855504002", "6002"

	supervision = 20 * time.Second // Tcc
	sweepMargin = 4 * time.Second  // the sweeper's pace and the deadline's rounding
	atOnce      = 4                // gygates side by side: each waits most of the time
	pointMax    = 2 * time.Minute  // for one point, all in all
)

// A slice of four seconds with a threshold of two: reports at talk second 2 and
// 4, so a call of three seconds is I, U, T.
const config = `
node:
  ocs: {host: ocs1.vpn.example, realm: vpn.example}
  vpn: {host: vpnas1.vpn.example, realm: vpn.example}
diameter:
  listen: ["127.0.0.1:%d"]
  peers:
    - {host: vpnas1.vpn.example, addresses: [127.0.0.1/32], trusted: true}
    - {host: relay.interop.example, addresses: [127.0.0.1/32]}
ocs:
  policy: {slice_seconds: 4, threshold_seconds: 2, minimum_seconds: 1, supervision: %s}
sip:
  listen: ["udp:127.0.0.1:%d", "tcp:127.0.0.1:%[3]d"]
  next_hop: "127.0.0.1:%d"
http:
  listen: "127.0.0.1:%d"
`

// point is where the process dies: at a commit, by its own hand, or in a state
// of the call, by ours.
type point struct {
	name string
	at   string        // crash point of the binary, "" when we kill
	ring time.Duration // how long the called phone rings
	talk time.Duration
	// kill says that we kill the process, so long after this SIP status.
	status int
	after  time.Duration
}

const long = time.Minute // longer than the process lives

var points = []point{
	{name: "CCR-I, before its commit", at: "before-commit:1", talk: long},
	{name: "CCR-I, after its commit", at: "after-commit:1", talk: long},
	{name: "ringing", ring: long, talk: long, status: 180, after: 500 * time.Millisecond},
	{name: "active, before the first report", talk: long, status: 200, after: time.Second},
	{name: "CCR-U #1, before its commit", at: "before-commit:2", talk: long},
	{name: "CCR-U #1, after its commit", at: "after-commit:2", talk: long},
	{name: "active, between the reports", talk: long, status: 200, after: 3 * time.Second},
	{name: "CCR-U #2, after its commit", at: "after-commit:3", talk: long},
	{name: "CCR-T, before its commit", at: "before-commit:3", talk: 3 * time.Second},
	{name: "CCR-T, after its commit", at: "after-commit:3", talk: 3 * time.Second},
}

// result is a row of the table.
type result struct {
	expected, debited, frozen ocs.Money
	repeat                    string
	err                       error
}

func main() {
	log.SetFlags(0)
	bin := flag.String("bin", "bin/gygate-crashpoint", "gygate built with -tags crashpoint")
	flag.Parse()
	fmt.Printf("%d points, kill -9 at each, Tcc %s, %d at a time\n\n", len(points), supervision, atOnce)
	results := runAll(*bin)
	if !report(results) {
		log.Fatal("\ncrash: FAILED")
	}
	fmt.Println("\ncrash: passed")
}

func runAll(bin string) []result {
	results := make([]result, len(points))
	places := make(chan struct{}, atOnce)
	var running sync.WaitGroup
	for i, p := range points {
		running.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			ctx, cancel := context.WithTimeout(context.Background(), pointMax)
			defer cancel()
			results[i] = run(ctx, bin, i, p)
		})
	}
	running.Wait()
	return results
}

func report(results []result) bool {
	good := true
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "point\texpected\tdebited\tfreeze left\tanswer to the repeat\t")
	for i, r := range results {
		verdict := "ok"
		if r.err != nil {
			good, verdict = false, r.err.Error()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", points[i].name, r.expected, r.debited, r.frozen, r.repeat, verdict)
	}
	return w.Flush() == nil && good
}

func run(ctx context.Context, bin string, index int, p point) (r result) {
	ports, err := harness.FreePorts()
	if err != nil {
		r.err = err
		return r
	}
	g, err := harness.New(bin, fmt.Sprintf("crash-%d", index+1),
		fmt.Sprintf(config, ports.Diameter, supervision, ports.SIP, ports.Phones, ports.HTTP), ports)
	if err == nil {
		err = provision(g)
	}
	if err == nil {
		r, err = crashAndRepeat(ctx, g, p)
	}
	if err == nil {
		err = g.Remove()
	}
	r.err = err
	return r
}

func provision(g *harness.Gygate) error {
	return errors.Join(
		g.Import("tariff", harness.TariffPerSecond),
		g.Import("account", fmt.Sprintf("msisdn,balance,currency\n%s,10.00,978\n", caller)),
		g.Import("group", harness.Group("7004", "crash")),
		g.Import("member", harness.MemberHeader+harness.Member(caller, "7004", callerShort)+harness.Member(callee, "7004", calleeShort)),
	)
}

// crashAndRepeat is one point: crash, restart, repeat, wait, compare.
func crashAndRepeat(ctx context.Context, g *harness.Gygate, p point) (result, error) {
	var r result
	tap, err := g.File("requests.hex", "")
	if err != nil {
		return r, err
	}
	defer g.Stop() // for a way out with an error
	if err := g.Start(ctx, "GYGATE_CRASH_AT="+p.at, "GYGATE_CRASH_TAP="+tap); err != nil {
		return r, err
	}
	if err := crash(ctx, g, p); err != nil {
		return r, err
	}
	requests, err := readTap(tap)
	if err != nil {
		return r, err
	}
	r.expected = requests.cost()

	if err := g.Start(ctx); err != nil {
		return r, fmt.Errorf("restart: %w", err)
	}
	if r.repeat, err = requests.repeatLast(ctx, g.Ports.Diameter); err != nil {
		return r, fmt.Errorf("repeat: %w", err)
	}
	select {
	case <-time.After(supervision + sweepMargin):
	case <-ctx.Done():
		return r, ctx.Err()
	}
	books, err := g.Account(caller)
	if err != nil {
		return r, err
	}
	r.debited, r.frozen = books.Spent, books.Frozen
	if _, err := g.Run("verify"); err != nil {
		return r, err
	}
	switch {
	case r.debited != r.expected:
		return r, errors.New("debited is not what was expected")
	case r.frozen != 0:
		return r, errors.New("a freeze is left")
	}
	return r, g.Stop()
}

// crash places the call and returns when the process is dead.
func crash(ctx context.Context, g *harness.Gygate, p point) error {
	called, err := phone.NewAnswerer(phone.AnswererConfig{
		Listen:  fmt.Sprintf("127.0.0.1:%d", g.Ports.Phones),
		Default: phone.Behaviour{Ring: p.ring},
	})
	if err != nil {
		return err
	}
	defer called.Close()
	calling, hangUp := context.WithCancel(ctx)
	reached := make(chan struct{}, 1)
	over := make(chan struct{})
	go func() {
		defer close(over)
		// The gateway dies under the call: how it ends for the phone is no matter.
		_, _ = phone.Dial(calling, phone.DialOptions{
			From: caller, To: calleeShort, Via: fmt.Sprintf("127.0.0.1:%d", g.Ports.SIP), Talk: p.talk,
			OnEvent: func(_ time.Time, text string) {
				if p.status != 0 && harness.HasStatus(text, p.status) {
					select {
					case reached <- struct{}{}:
					default:
					}
				}
			},
		})
	}()
	defer func() {
		hangUp()
		<-over
	}()
	if p.at != "" {
		return g.Wait(ctx)
	}
	select {
	case <-reached:
	case <-over:
		return fmt.Errorf("the call ended before it had a %d", p.status)
	case <-ctx.Done():
		return ctx.Err()
	}
	time.Sleep(p.after)
	return g.Kill()
}
