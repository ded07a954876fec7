package main

import (
	"context"
	"fmt"
	"time"

	"gygate/deploy/interop/harness"
	"gygate/diameter"
	"gygate/diameter/gy"
	"gygate/ocs"
)

// exchange is one request of a leg and the Result-Code it has to get.
type exchange struct {
	what    string
	request gy.CCR
	repeat  bool
	code    diameter.ResultCode
	from    string // Origin-Host of the answer
}

func (g *gateway) run(ctx context.Context, all ...exchange) error {
	for _, e := range all {
		a, err := g.send(ctx, e.request, e.repeat)
		if err := expect(e.what, e.request, a, err, e.code, e.from); err != nil {
			return err
		}
	}
	return nil
}

// data is a session with two rating groups, a repeat, an event, a refusal and a
// session nobody knows. It costs what the reports say: 20 and 12 megabytes in
// group 10, 5 at twice the price in group 20, and one event.
func (l *lab) data(ctx context.Context, host string, r *relay, payer string) (ocs.Money, error) {
	g, err := l.startGateway(ctx, host, r)
	if err != nil {
		return 0, err
	}
	id := g.sessions.Next("")
	step := func(kind ocs.StepType, number uint32, services ...gy.Service) gy.CCR {
		c := g.request(id, kind, number, payer)
		c.Services = services
		return c
	}
	first := step(ocs.Initial, 0, megabytes(10, 0, 30), megabytes(20, 0, 30))
	first.MultipleServices = gy.Some(uint32(1))
	update := step(ocs.Update, 1, megabytes(10, 20, 30), megabytes(20, 5, 30))
	last := step(ocs.Terminate, 2, megabytes(10, 12, 0), megabytes(20, 0, 0))
	last.TerminationCause = gy.Some(uint32(1))

	event := g.request(g.sessions.Next(""), ocs.Event, 0, payer)
	event.ServiceContextID, event.Action = contextCall, gy.Some(uint32(0)) // DIRECT_DEBITING
	event.Services = []gy.Service{{RatingGroup: gy.Some(uint32(8)), Requested: gy.Some(gy.ServiceUnits{Specific: gy.Some(uint64(1))})}}

	refused := g.request(g.sessions.Next(""), ocs.Initial, 0, broke)
	refused.ServiceContextID, refused.MultipleServices = contextCall, gy.Some(uint32(1))
	refused.Services = []gy.Service{{RatingGroup: gy.Some(uint32(100)), Requested: gy.Some(gy.ServiceUnits{})}}

	unknown := g.request(g.sessions.Next(""), ocs.Update, 1, payer)
	unknown.Services = []gy.Service{megabytes(10, 0, 1)}

	node := nodeHost(0)
	return (20+12)*harness.PerMegabyte + 5*2*harness.PerMegabyte + harness.PerEvent, g.run(ctx,
		exchange{"CCR-I, two rating groups", first, false, diameter.Success, node},
		exchange{"CCR-U, both report and ask for more", update, false, diameter.Success, node},
		exchange{"the same CCR-U again, with T", update, true, diameter.Success, node},
		exchange{"CCR-T", last, false, diameter.Success, node},
		exchange{"CCR-E, direct debit", event, false, diameter.Success, node},
		exchange{"CCR-I of an empty account", refused, false, diameter.CreditLimitReached, node},
		exchange{"CCR-U of a session nobody knows", unknown, false, diameter.UnknownSessionID, node})
}

// securely is one call of seven seconds: I, three U, T.
func (l *lab) securely(ctx context.Context) (ocs.Money, error) {
	c, err := placeCall(ctx, l.secureCalls, alice, carol, 7)
	if err != nil {
		return 0, err
	}
	return c.over(7)
}

// topUp is a call of an account that holds six seconds. In its second second the
// account is topped up: the charging system has the client ask again (RAR), and
// the call lasts its ten seconds.
func (l *lab) topUp(ctx context.Context) (ocs.Money, error) {
	c, err := placeCall(ctx, l.calls, dave, carol, 10)
	if err != nil {
		return 0, err
	}
	if err := c.talked(ctx, 4500*time.Millisecond); err != nil { // the final units are granted
		return 0, err
	}
	if _, err := l.nodes[0].Run("account", "topup", dave, "--amount", "1.00"); err != nil {
		return 0, err
	}
	fmt.Println("    account topped up by 1.00 while its last units run")
	return c.over(10)
}

// takeOver has a data session at the first node, lets the second join, which the
// relays take only for want of the first, has a call at the first as well, freezes
// it, kills it with a request in its hands, and goes on.
func (l *lab) takeOver(ctx context.Context) (ocs.Money, error) {
	g, err := l.startGateway(ctx, pgw3, l.plain)
	if err != nil {
		return 0, err
	}
	id, dying, living := g.sessions.Next(""), nodeHost(0), nodeHost(1)
	step := func(kind ocs.StepType, number uint32, service gy.Service) gy.CCR {
		c := g.request(id, kind, number, mover)
		c.Services, c.MultipleServices = []gy.Service{service}, gy.Some(uint32(1))
		return c
	}
	if err := g.run(ctx, exchange{"CCR-I", step(ocs.Initial, 0, megabytes(10, 0, 50)), false, diameter.Success, dying},
		exchange{"CCR-U #1", step(ocs.Update, 1, megabytes(10, 10, 50)), false, diameter.Success, dying}); err != nil {
		return 0, err
	}
	if err := l.startNode(ctx, 1); err != nil {
		return 0, err
	}
	if err := awaitPeers(ctx, l.nodes[1], 2); err != nil {
		return 0, err
	}
	call, err := placeCall(ctx, l.calls, bob, carol, 12)
	if err != nil {
		return 0, err
	}
	if err := call.talked(ctx, 2500*time.Millisecond); err != nil { // it has reported once
		return 0, err
	}
	if err := l.killWith(ctx, g, step(ocs.Update, 2, megabytes(10, 20, 50)), living); err != nil {
		return 0, err
	}
	last := step(ocs.Terminate, 3, megabytes(10, 7, 0))
	last.TerminationCause = gy.Some(uint32(1))
	if err := g.run(ctx, exchange{"the same CCR-U #2 again, with T", step(ocs.Update, 2, megabytes(10, 20, 50)), true, diameter.Success, living},
		exchange{"CCR-T", last, false, diameter.Success, living}); err != nil {
		return 0, err
	}
	cost, err := call.over(12)
	return (10+20+7)*harness.PerMegabyte + cost, err
}

// killWith freezes the first node, kills it when it has a request that it has not
// read, and expects the answer from the other node.
func (l *lab) killWith(ctx context.Context, g *gateway, r gy.CCR, living string) error {
	dying := l.nodes[0]
	if err := dying.Freeze(); err != nil {
		return fmt.Errorf("freezing %s: %w", nodeHost(0), err)
	}
	answered := make(chan reply, 1)
	go func() {
		a, err := g.send(ctx, r, false)
		answered <- reply{a, err}
	}()
	if err := awaitUnread(ctx, dying, len(encode(nil, r)), answered); err != nil {
		return fmt.Errorf("CCR-U #2 should lie with the frozen %s: %w", nodeHost(0), err)
	}
	if err := dying.Kill(); err != nil {
		return err
	}
	fmt.Println("    kill -9 of", nodeHost(0), "with CCR-U #2 in its hands")
	a := <-answered
	return expect("CCR-U #2, repeated by the relay", r, a.cca, a.err, diameter.Success, living)
}

// reply is what came of a request sent aside.
type reply struct {
	cca *gy.CCA
	err error
}

// early says why a reply that came too early should not have come.
func (a reply) early() error {
	if a.err != nil {
		return fmt.Errorf("the relay could not deliver it: %w", a.err)
	}
	return fmt.Errorf("%s answered it with %d %s", a.cca.OriginHost, a.cca.ResultCode, a.cca.ErrorMessage)
}

// awaitUnread returns when that many octets lie unread with the frozen node, and
// fails when the reply is there first, in the time limit of send.
func awaitUnread(ctx context.Context, frozen *harness.Gygate, octets int, answered <-chan reply) error {
	for {
		unread, err := frozen.Unread()
		if err != nil {
			return err
		}
		if unread >= octets {
			return nil
		}
		select {
		case a := <-answered:
			return a.early()
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}
