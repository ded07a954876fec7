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

// takeOver has a data session and a call at the first node, lets the second
// join, freezes the first with a request in its hands, kills it, and goes on.
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
	call, err := placeCall(ctx, l.calls, bob, carol, 12)
	if err != nil {
		return 0, err
	}
	if err := l.startNode(ctx, 1); err != nil {
		return 0, err
	}
	if err := awaitPeers(ctx, l.nodes[1], 2); err != nil {
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

// killWith lets the first node take a request, kills it before it can answer,
// and expects the answer from the other node.
func (l *lab) killWith(ctx context.Context, g *gateway, r gy.CCR, living string) error {
	if err := l.nodes[0].Freeze(); err != nil {
		return err
	}
	type result struct {
		cca *gy.CCA
		err error
	}
	answered := make(chan result, 1)
	go func() {
		a, err := g.send(ctx, r, false)
		answered <- result{a, err}
	}()
	select {
	case <-time.After(pendingTime): // the request lies in the frozen node's socket
	case a := <-answered:
		return fmt.Errorf("the frozen node answered: %v %w", a.cca, a.err)
	}
	if err := l.nodes[0].Kill(); err != nil {
		return err
	}
	fmt.Println("    kill -9 of", nodeHost(0), "with CCR-U #2 in its hands")
	a := <-answered
	return expect("CCR-U #2, repeated by the relay", r, a.cca, a.err, diameter.Success, living)
}

// pendingTime is how long a request stays with the frozen node: some
// milliseconds would do for it to get there.
const pendingTime = 300 * time.Millisecond
