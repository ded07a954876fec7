package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"gygate/deploy/interop/harness"
	"gygate/diameter"
	"gygate/diameter/gy"
	"gygate/diameter/peer"
	"gygate/ocs"
)

const (
	contextData = "32251@3gpp.org"
	contextCall = "32260@3gpp.org"

	gatewayRealm = "interop.example"
	answerMax    = 10 * time.Second // Tx: a relay that fails over takes its time
)

// gateway is a packet gateway: a credit-control client that knows the relay and
// nobody behind it.
type gateway struct {
	host     string
	client   *peer.Client
	sessions *diameter.SessionIDs
	stop     func()
}

// startGateway connects to the relay.
func startGateway(ctx context.Context, host string, r *relay, secure *tls.Config) (*gateway, error) {
	dictionary, err := diameter.NewDictionary()
	if err != nil {
		return nil, err
	}
	client, err := peer.NewClient(peer.ClientConfig{
		Local:      peer.Local{Host: host, Realm: gatewayRealm, OriginStateID: uint32(time.Now().Unix()), Product: "packet gateway"},
		Peers:      []peer.Endpoint{{Address: fmt.Sprintf("127.0.0.1:%d", r.port), Host: r.host, TLS: secure}},
		Dictionary: dictionary,
	}, nil)
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- client.Run(running) }()
	g := &gateway{host: host, client: client, sessions: diameter.NewSessionIDs(host, time.Now()), stop: func() {
		stop()
		<-ended
	}}
	ctx, cancel := context.WithTimeout(ctx, relayReadyMax)
	defer cancel()
	if err := client.WaitOpen(ctx); err != nil {
		g.stop()
		return nil, fmt.Errorf("%s does not get through to the relay: %w", host, err)
	}
	return g, nil
}

// send sends a request through the relay and reads the answer.
func (g *gateway) send(ctx context.Context, r gy.CCR, repeat bool) (*gy.CCA, error) {
	ctx, cancel := context.WithTimeout(ctx, answerMax)
	defer cancel()
	answer, err := g.client.Do(ctx, peer.Request{
		Encode:         func(b []byte, _ string) []byte { return encode(b, r) },
		Retransmission: repeat,
	})
	if err != nil {
		return nil, err
	}
	if answer.Fault != nil {
		return nil, fmt.Errorf("the answer is faulty: %w", answer.Fault)
	}
	// The relay adds its Route-Record behind them.
	if !bytes.Contains(answer.Message.Raw, appendHops(nil)) {
		return nil, errors.New("the answer does not bring the Proxy-Info of the request back, in its order")
	}
	cca, fault := gy.ParseCCA(answer.Message)
	if fault != nil {
		return nil, fault
	}
	return cca, nil
}

// encode appends the request as it leaves the proxies before the relay.
func encode(b []byte, r gy.CCR) []byte {
	return diameter.Finish(appendHops(r.Append(b, diameter.Header{})), len(b))
}

// hopState is how many octets each proxy has the answer bring back. They make a
// request of a gateway longer than all else that a call and a watchdog send at
// one time, some 1,100 octets: that much unread means that the request is there.
const hopState = 1000

// appendHops appends the Proxy-Info of two proxies before the relay, which has to
// come back as it was sent (RFC 6733 §6.2).
func appendHops(b []byte) []byte {
	for i, hop := range []string{"edge1.interop.example", "edge2.interop.example"} {
		b = diameter.AppendGroup(b, diameter.ProxyInfo, func(b []byte) []byte {
			b = diameter.AppendString(b, diameter.ProxyHost, hop)
			return diameter.AppendBytes(b, diameter.ProxyState, bytes.Repeat([]byte{0, 0xff, byte(i), 1}, hopState/4))
		})
	}
	return b
}

// request is a CCR without its units.
func (g *gateway) request(session string, kind ocs.StepType, number uint32, payer string) gy.CCR {
	return gy.CCR{
		SessionID: session, OriginHost: g.host, OriginRealm: gatewayRealm, DestinationRealm: ocsRealm,
		ServiceContextID: contextData, Type: kind, Number: number, EventTimestamp: time.Now(),
		Payer: []gy.Subscription{{Kind: ocs.E164, Data: payer}},
		// Hops before the relay, whose identities have to be left alone.
		RouteRecord: []string{"edge1.interop.example", "edge2.interop.example"},
	}
}

// megabytes is an MSCC that reports and asks for data.
func megabytes(group uint32, used, wanted uint64) gy.Service {
	s := gy.Service{RatingGroup: gy.Some(group)}
	if used > 0 {
		s.Used = []gy.UsedUnits{{ServiceUnits: octets(used)}}
	}
	if wanted > 0 {
		s.Requested = gy.Some(octets(wanted))
	}
	return s
}

func octets(megabytes uint64) gy.ServiceUnits {
	return gy.ServiceUnits{Total: gy.Some(megabytes * harness.Megabyte)}
}

// expect prints an exchange and fails when the answer is another one than
// expected, comes from another node, or grants less than was asked for.
func expect(what string, r gy.CCR, a *gy.CCA, err error, code diameter.ResultCode, from string) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	fmt.Printf("    %-44s %d from %-20s (expected %d", what, a.ResultCode, a.OriginHost, code)
	if from != "" {
		fmt.Printf(" from %s", from)
	}
	fmt.Println(")")
	switch {
	case a.ResultCode != code:
		return fmt.Errorf("%s: Result-Code %d %s", what, a.ResultCode, a.ErrorMessage)
	case from != "" && a.OriginHost != from:
		return fmt.Errorf("%s: answered by %s instead of %s", what, a.OriginHost, from)
	case a.SessionID != r.SessionID, a.Type != r.Type, a.Number != r.Number:
		return fmt.Errorf("%s: the answer belongs to another request", what)
	}
	for i, s := range r.Services {
		if code == diameter.Success && s.Requested.Present && (len(a.Services) <= i || !a.Services[i].Granted.Present) {
			return fmt.Errorf("%s: rating group %d has no grant: %+v", what, s.RatingGroup.Value, a.Services)
		}
	}
	return nil
}
