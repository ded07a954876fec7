package sipgw

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"

	"gygate/vpnlogic"
	"gygate/vpnlogic/sipgw/phone"
)

func TestListenFaults(t *testing.T) {
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cases := []struct {
		name string
		cfg  Config
		want []string
	}{
		{"nothing", Config{}, []string{"sip.listen"}},
		{"taken", Config{Listen: []Endpoint{{"udp", taken.LocalAddr().String()}}}, []string{taken.LocalAddr().String(), "sip.listen", "address already in use"}},
		{"network", Config{Listen: []Endpoint{{"tls", "127.0.0.1:0"}}}, []string{"tls", "sip.listen"}},
		{"all addresses", Config{Listen: []Endpoint{{"udp", "0.0.0.0:0"}}}, []string{"sip.host"}},
		{"contact", Config{Listen: []Endpoint{{"udp", "127.0.0.1:0"}}, NextHop: "sip:", Contacts: map[string]string{"8613800000002": "tel:1"}}, []string{"contact of 8613", "next hop"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := newGateway(c.cfg, newFakeCalls())
			if err == nil {
				t.Fatal("no error")
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			if strings.Contains(err.Error(), "13800000002") {
				t.Errorf("%q tells a subscriber's number", err)
			}
		})
	}
}

func TestSamePortForBothTransports(t *testing.T) {
	g := startGateway(t, newFakeCalls(), nil)
	if u, c := portOf(t, addrOf(g, "udp")), portOf(t, addrOf(g, "tcp")); u != c {
		t.Errorf("UDP port %s, TCP port %s", u, c)
	}
}

func TestUDPCallerToTCPPhone(t *testing.T) {
	service := newFakeCalls()
	called, changes := startAnswerer(t, phone.AnswererConfig{Network: "tcp", Default: phone.Behaviour{Ring: ringTime, HangUpAfter: ringTime}})
	g := startGateway(t, service, func(c *Config) { c.NextHop = called.URI("") })
	d := dial(t, phone.DialOptions{Via: addrOf(g, "udp")})
	c := service.next(t)
	c.Connect(onNet(false))
	if r := d.wait(t); r.Status != 200 || r.HungUp != phone.Peer {
		t.Errorf("caller saw %+v", r)
	}
	end := waitCall(t, changes, hasEnded)
	if end.Number != "+8613800000002" || end.Caller != "6001" || end.Headers[chargedHeader] != "" {
		t.Errorf("called phone saw %+v", end)
	}
}

func TestShutdownReleasesCalls(t *testing.T) {
	service := newFakeCalls()
	called, changes := startAnswerer(t, phone.AnswererConfig{Default: phone.Behaviour{Ring: ringTime}})
	g := startGateway(t, service, func(c *Config) { c.NextHop = called.URI("") })
	d := dial(t, phone.DialOptions{Via: addrOf(g, "udp")})
	c := service.next(t)
	c.Connect(onNet(false))
	d.expect(t, "ACK")
	if err := g.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := d.wait(t); r.HungUp != phone.Peer || !strings.Contains(r.Reason, "service.shutdown") {
		t.Errorf("caller saw %+v", r)
	}
	if end := waitCall(t, changes, hasEnded); !strings.Contains(end.Reason, "service.shutdown") {
		t.Errorf("called phone saw %+v", end)
	}
}

func TestShutdownRefusesNewCalls(t *testing.T) {
	x := newBench(t, nil)
	x.invite(offerSDP)
	x.b.answer(x.incoming, 180, "")
	x.c.expect(t, "ringing 180")
	down := make(chan error, 1)
	go func() { down <- x.g.Shutdown(t.Context()) }()
	res := x.caller.readStatus(sip.INVITE, 503)
	wantValue(t, res, "Reason", `Q.850;cause=41;text="service.shutdown"`)
	// The called phone has not answered the CANCEL yet, so the gateway is open.
	second := newWire(t, addrOf(x.g, "udp")).caller()
	second.request(sip.INVITE, offerSDP)
	refusal := second.readStatus(sip.INVITE, 503)
	wantValue(t, refusal, "Retry-After", retryAfter)
	wantValue(t, refusal, "Reason", `Q.850;cause=41;text="service.shutdown"`)
	x.b.answer(x.b.readRequest(sip.CANCEL), 200, "")
	x.b.answer(x.incoming, 487, "")
	if err := <-down; err != nil {
		t.Fatal(err)
	}
}

func TestShutdownCutsWhatDoesNotEnd(t *testing.T) {
	called := newWire(t, "")
	service := newFakeCalls()
	g, err := newGateway(Config{Listen: []Endpoint{{"udp", "127.0.0.1:0"}}, NextHop: called.addr()}, service)
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- g.Run(t.Context()) }()
	caller := newWire(t, addrOf(g, "udp")).caller()
	caller.request(sip.INVITE, offerSDP)
	service.next(t).Connect(onNet(false))
	called.answer(called.readRequest(sip.INVITE), 200, answerSDP)
	caller.readStatus(sip.INVITE, 200)

	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		called.readRequest(sip.BYE) // and never answers it
		cancel()
	}()
	if err := g.Shutdown(ctx); err == nil || !strings.Contains(err.Error(), "calls cut at shutdown") {
		t.Errorf("shutdown: %v", err)
	}
	if err := <-ran; err == nil {
		t.Error("Run kept silent about the cut call")
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	g, err := newGateway(Config{Listen: []Endpoint{{"udp", "127.0.0.1:0"}}}, newFakeCalls())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestReasonHeaderIsClean(t *testing.T) {
	h := reasonHeader(vpnlogic.Cause{Reason: "a\"b\\c\r\nX: y", Q850: 21})
	if h.Value() != `Q.850;cause=21;text="abcX: y"` {
		t.Errorf("Reason %q", h.Value())
	}
}
