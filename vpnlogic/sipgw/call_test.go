package sipgw

import (
	"strings"
	"testing"
	"time"

	"gygate/vpnlogic"
	"gygate/vpnlogic/sipgw/phone"
)

// ringTime keeps a 180 and the final response apart: the library hands
// responses over in goroutines of their own, and a provisional one that comes
// second is dropped.
const ringTime = 20 * time.Millisecond

// connected starts a gateway whose number 8613800000002 is a phone, and calls
// it from another.
func connected(t *testing.T, network string, b phone.Behaviour, o phone.DialOptions, change func(*Config)) (*fakeCall, *dialled, chan phone.Call) {
	t.Helper()
	if b.Ring == 0 {
		b.Ring = ringTime
	}
	service := newFakeCalls()
	called, changes := startAnswerer(t, phone.AnswererConfig{Network: network, Default: b})
	g := startGateway(t, service, func(c *Config) {
		c.Contacts = map[string]string{"+8613800000002": called.URI("8613800000002")}
		if change != nil {
			change(c)
		}
	})
	o.Via, o.Network = addrOf(g, network), network
	d := dial(t, o)
	c := service.next(t)
	c.Connect(onNet(true))
	return c, d, changes
}

func TestCall(t *testing.T) {
	for _, network := range []string{"udp", "tcp"} {
		t.Run("caller hangs up/"+network, func(t *testing.T) {
			c, d, changes := connected(t, network, phone.Behaviour{}, phone.DialOptions{Talk: 50 * time.Millisecond}, nil)
			c.expect(t, "ringing 180")
			c.expect(t, "answered")
			c.expect(t, "hung up by caller")
			r := d.wait(t)
			if r.Status != 200 || r.HungUp != phone.Self || !r.SDP {
				t.Errorf("caller saw %+v", r)
			}
			if end := waitCall(t, changes, hasEnded); end.HungUp != phone.Peer || !strings.Contains(end.Reason, "cause=16") {
				t.Errorf("called phone saw %+v", end)
			}
			c.quiet(t)
		})
		t.Run("called hangs up/"+network, func(t *testing.T) {
			c, d, changes := connected(t, network, phone.Behaviour{HangUpAfter: 50 * time.Millisecond, EarlyMedia: true}, phone.DialOptions{}, nil)
			c.expect(t, "ringing 183")
			c.expect(t, "answered")
			c.expect(t, "hung up by called")
			if r := d.wait(t); r.HungUp != phone.Peer {
				t.Errorf("caller saw %+v", r)
			}
			if end := waitCall(t, changes, hasEnded); end.HungUp != phone.Self {
				t.Errorf("called phone saw %+v", end)
			}
		})
		t.Run("cut off/"+network, func(t *testing.T) {
			c, d, changes := connected(t, network, phone.Behaviour{}, phone.DialOptions{}, nil)
			c.expect(t, "ringing 180")
			c.expect(t, "answered")
			d.expect(t, "ACK")
			c.Release(vpnlogic.CauseOf(vpnlogic.ReasonQuotaEnd))
			r := d.wait(t)
			want := `Q.850;cause=31;text="charging.quota_end"`
			if r.HungUp != phone.Peer || r.Reason != want {
				t.Errorf("caller saw %+v", r)
			}
			if end := waitCall(t, changes, hasEnded); end.HungUp != phone.Peer || end.Reason != want {
				t.Errorf("called phone saw %+v", end)
			}
			c.quiet(t)
		})
		t.Run("cancelled while ringing/"+network, func(t *testing.T) {
			c, d, changes := connected(t, network, phone.Behaviour{NoAnswer: true}, phone.DialOptions{}, nil)
			c.expect(t, "ringing 180")
			d.expect(t, "180")
			d.cancel()
			if r := d.wait(t); r.Status != 487 {
				t.Errorf("caller saw %+v", r)
			}
			c.expect(t, "cancelled")
			if end := waitCall(t, changes, hasEnded); end.Status != 487 {
				t.Errorf("called phone saw %+v", end)
			}
		})
		t.Run("busy/"+network, func(t *testing.T) {
			c, d, _ := connected(t, network, phone.Behaviour{Refuse: 486}, phone.DialOptions{}, nil)
			c.expect(t, "ringing 180")
			c.expect(t, "failed called.busy")
			r := d.wait(t)
			if r.Status != 486 || r.Reason != `Q.850;cause=17;text="called.busy"` {
				t.Errorf("caller saw %+v", r)
			}
		})
	}
}

func TestReleaseWhileRinging(t *testing.T) {
	c, d, changes := connected(t, "udp", phone.Behaviour{NoAnswer: true}, phone.DialOptions{}, nil)
	c.expect(t, "ringing 180")
	c.Release(vpnlogic.CauseOf(vpnlogic.ReasonNoAnswer))
	if r := d.wait(t); r.Status != 480 || !strings.Contains(r.Reason, "cause=19") {
		t.Errorf("caller saw %+v", r)
	}
	if end := waitCall(t, changes, hasEnded); end.Status != 487 {
		t.Errorf("called phone saw %+v", end)
	}
	c.quiet(t)
}

func TestSetupTakesTooLong(t *testing.T) {
	c, d, _ := connected(t, "udp", phone.Behaviour{NoAnswer: true}, phone.DialOptions{},
		func(c *Config) { c.SetupMax = 100 * time.Millisecond })
	c.expect(t, "ringing 180")
	c.expect(t, "failed called.no_answer")
	if r := d.wait(t); r.Status != 480 {
		t.Errorf("caller saw %+v", r)
	}
}

func TestNoRoute(t *testing.T) {
	service := newFakeCalls()
	g := startGateway(t, service, nil)
	d := dial(t, phone.DialOptions{Via: addrOf(g, "udp")})
	c := service.next(t)
	c.Connect(onNet(false))
	c.expect(t, "failed service.no_route")
	if r := d.wait(t); r.Status != 404 || r.Reason != `Q.850;cause=3;text="service.no_route"` {
		t.Errorf("caller saw %+v", r)
	}
}

func TestUnreachableContact(t *testing.T) {
	service := newFakeCalls()
	closed, _ := startAnswerer(t, phone.AnswererConfig{Network: "tcp"})
	uri := closed.URI("x")
	g := startGateway(t, service, func(c *Config) { c.Contacts = map[string]string{"8613800000002": uri} })
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	d := dial(t, phone.DialOptions{Via: addrOf(g, "udp")})
	c := service.next(t)
	c.Connect(onNet(false))
	c.expect(t, "failed called.failed")
	if r := d.wait(t); r.Status != 503 {
		t.Errorf("caller saw %+v", r)
	}
}

func TestRefusals(t *testing.T) {
	t.Run("at once", func(t *testing.T) {
		service := newFakeCalls()
		cause := vpnlogic.CauseOf(vpnlogic.ReasonOverload)
		service.refuse = &cause
		g := startGateway(t, service, nil)
		r := dial(t, phone.DialOptions{Via: addrOf(g, "udp")}).wait(t)
		if r.Status != 503 || r.Reason != `Q.850;cause=42;text="service.overload"` {
			t.Errorf("caller saw %+v", r)
		}
	})
	for _, reason := range []string{vpnlogic.ReasonNotAMember, "authenticate.lost", "authenticate.no_balance", vpnlogic.ReasonUnknownShortNumber} {
		t.Run(reason, func(t *testing.T) {
			service := newFakeCalls()
			g := startGateway(t, service, nil)
			d := dial(t, phone.DialOptions{Via: addrOf(g, "tcp"), Network: "tcp"})
			cause := vpnlogic.CauseOf(reason)
			service.next(t).Release(cause)
			r := d.wait(t)
			if r.Status != cause.Status || r.Reason != reasonHeader(cause).Value() {
				t.Errorf("caller saw %+v, want %v", r, cause)
			}
		})
	}
}
