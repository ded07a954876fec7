// Command relay puts freeDiameter, a relay agent that shares no code with
// gygate, between credit-control clients and gygate's charging system: over
// plain TCP, over mutual TLS, and with two charging nodes on one database of
// which one is killed in mid-session. The clients are a packet gateway and
// gygate's own VPN logic with real calls. Every answer, the cost of everything
// and the books are checked, and tshark judges every message.
package main

import (
	"context"
	"errors"
	"fmt"

	"gygate/deploy/interop/harness"
	"gygate/ocs"
)

// The subscribers, each with 10.00 but the last two.
const (
	surfer = "46855502001" // data over plain TCP
	guard  = "46855502002" // data over TLS
	mover  = "46855502003" // data while the node dies
	alice  = "46855502011" // calls
	bob    = "46855502012" // calls while the node dies
	carol  = "46855502013" // is called
	dave   = "46855502014" // has 0.06 and is topped up in mid-call
	broke  = "46855502015" // has nothing
)

var short = map[string]string{alice: "6001", bob: "6002", carol: "6003", dave: "6004"}

func main() { harness.Main("interop-relay", run) }

func run(ctx context.Context, bin string) (err error) {
	l, err := newLab(ctx, bin)
	defer func() { err = errors.Join(err, l.close(err != nil)) }()
	if err != nil {
		return err
	}
	if err := provision(l.nodes[0]); err != nil {
		return err
	}
	capture, err := harness.StartCapture(l.dir, l.plain.port, l.nodes[0].Ports.Diameter, l.nodes[1].Ports.Diameter)
	if err != nil {
		return err
	}
	total, err := l.legs(ctx)
	if err = errors.Join(err, capture.Stop()); err != nil {
		return err
	}
	return errors.Join(l.judge(capture), l.nodes[1].Compare(total, surfer, guard, mover, alice, bob, carol, dave, broke))
}

func provision(g *harness.Gygate) error {
	accounts, members := "msisdn,balance,currency\n", harness.MemberHeader
	for _, number := range []string{surfer, guard, mover, alice, bob, carol} {
		accounts += number + ",10.00,978\n"
	}
	accounts += dave + ",0.06,978\n" + broke + ",0,978\n"
	for number, digits := range short {
		members += harness.Member(number, "7005", digits)
	}
	return errors.Join(g.Import("tariff", harness.TariffPerSecond), g.Import("account", accounts),
		g.Import("group", harness.Group("7005", "relay")), g.Import("member", members))
}

// legs starts everything, runs one leg after the other and adds up what they
// cost.
func (l *lab) legs(ctx context.Context) (ocs.Money, error) {
	if err := l.start(ctx); err != nil {
		return 0, err
	}
	var total ocs.Money
	for _, leg := range []struct {
		title string
		run   func(context.Context) (ocs.Money, error)
	}{
		{"packet gateway ─ freeDiameter ─ OCS, plain TCP", func(ctx context.Context) (ocs.Money, error) {
			return l.data(ctx, pgw1, l.plain, surfer)
		}},
		{"packet gateway ═ freeDiameter ═ OCS, mutual TLS", func(ctx context.Context) (ocs.Money, error) {
			return l.data(ctx, pgw2, l.tls, guard)
		}},
		{"VPN calls ═ freeDiameter ═ OCS, mutual TLS", l.securely},
		{"VPN calls ─ freeDiameter ─ OCS, plain TCP: a top-up in mid-call", l.topUp},
		{"two OCS nodes on one database, one killed in mid-session", l.takeOver},
	} {
		fmt.Printf("== %s\n", leg.title)
		cost, err := leg.run(ctx)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", leg.title, err)
		}
		total += cost
	}
	return total, nil
}

// judge asks tshark about all messages that went over plain TCP, and whether the
// relay did what the legs are about: it carried a re-authorisation to the client,
// the call went on at the second node, and so did what the killed node had not
// answered.
func (l *lab) judge(capture *harness.Capture) error {
	fmt.Println("== what went over the wire in plain")
	if err := capture.Judge(); err != nil {
		return err
	}
	for _, c := range []struct{ what, filter string }{
		{"requests that came with the relay's Route-Record", fmt.Sprintf("diameter.Route-Record == %q", pgw1)},
		{"requests of the call that the second node took over", fmt.Sprintf("diameter.Origin-Host == %q && diameter.cmd.code == 272 && tcp.dstport == %d", vpn1, l.nodes[1].Ports.Diameter)},
		{"RAR that reached the VPN logic through the relay", fmt.Sprintf("diameter.cmd.code == 258 && diameter.flags.request == 1 && tcp.srcport == %d", l.plain.port)},
		{"RAA that reached the OCS with success", fmt.Sprintf("diameter.cmd.code == 258 && diameter.flags.request == 0 && diameter.Result-Code < 3000 && tcp.dstport == %d", l.nodes[0].Ports.Diameter)},
	} {
		frames, err := capture.Read(c.filter, "frame.number")
		if err != nil {
			return err
		}
		fmt.Printf("    %-52s %d\n", c.what, len(frames))
		if len(frames) == 0 {
			return fmt.Errorf("tshark saw no %s", c.what)
		}
	}
	return l.judgeRepeat(capture)
}

// judgeRepeat follows CCR-U #2, which the killed node had not answered, by its
// End-to-End identifier: the gateway sent it once and without T, the killed node
// got it, and it was the relay that repeated it, with T, to the second node.
func (l *lab) judgeRepeat(capture *harness.Capture) error {
	lost := fmt.Sprintf("diameter.flags.request == 1 && diameter.Origin-Host == %q && diameter.CC-Request-Number == 2", pgw3)
	held, err := capture.Read(fmt.Sprintf("%s && tcp.dstport == %d", lost, l.nodes[0].Ports.Diameter), "diameter.endtoendid")
	if err != nil {
		return err
	}
	if len(held) != 1 {
		return fmt.Errorf("tshark saw %d CCR-U #2 reach the node that was killed instead of 1", len(held))
	}
	for _, c := range []struct {
		what     string
		port     int
		repeated int
	}{
		{"CCR-U #2 from the gateway to the relay", l.plain.port, 0},
		{"CCR-U #2 with T from the relay to the second node", l.nodes[1].Ports.Diameter, 1},
	} {
		flags, err := capture.Read(fmt.Sprintf("%s && tcp.dstport == %d && diameter.endtoendid == %s && diameter.flags.T == %d",
			lost, c.port, held[0], c.repeated), "frame.number")
		if err != nil {
			return err
		}
		fmt.Printf("    %-52s %d\n", c.what, len(flags))
		if len(flags) != 1 {
			return fmt.Errorf("tshark saw %d times %s instead of once", len(flags), c.what)
		}
	}
	return nil
}
