package diametertest_test

import (
	"net"
	"testing"

	"go.uber.org/goleak"

	"gygate/diameter"
	"gygate/diameter/diametertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	client = diameter.Origin{Host: "vpnas1.vpn.example", Realm: "vpn.example"}
	server = diameter.Origin{Host: "ocs1.vpn.example", Realm: "vpn.example"}
)

// pair is two peers at the ends of one connection of the loopback.
func pair(t *testing.T) (near, far *diametertest.Peer) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	near = diametertest.Dial(t, listener.Addr().String(), client)
	return near, diametertest.Accept(t, listener, server)
}

func TestPeersTalk(t *testing.T) {
	near, far := pair(t)
	watchdog := near.Request(diameter.CmdDeviceWatchdog, nil)
	request := far.ExpectRequest(diameter.CmdDeviceWatchdog)
	if request.Header != watchdog || request.Application != diameter.AppBase {
		t.Errorf("sent %+v, got %+v", watchdog, request.Header)
	}
	far.Answer(request, diameter.Success, nil)
	answer := near.ExpectAnswer(watchdog)
	if host, _ := answer.Find(diameter.OriginHost); host.Text() != server.Host {
		t.Errorf("answered by %s", host.Text())
	}
	d, err := diameter.NewDictionary()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []diameter.Message{request, answer} {
		if fault := d.Validate(m, diameter.Mode{}); fault != nil {
			t.Error(fault)
		}
	}
}

func TestPeersMisbehave(t *testing.T) {
	near, far := pair(t)
	frame := diameter.Finish(diameter.Start(nil, diameter.Header{Flags: diameter.FlagRequest, Command: 999}), 0)
	near.SendSlowly(frame)
	far.ExpectRequest(999)
	near.SendHalf(frame)
	near.Send(frame[len(frame)/2:])
	far.ExpectRequest(999)
	near.Close()
	far.ExpectClose()
}

// Capabilities are exchanged the same way from both ends.
func TestPeersConnect(t *testing.T) {
	near, far := pair(t)
	connected := make(chan diameter.Message, 1)
	go func() {
		defer close(connected)
		connected <- near.Connect()
	}()
	cer := far.Welcome()
	cea, ok := <-connected
	if !ok {
		t.FailNow()
	}
	for _, m := range []diameter.Message{cer, cea} {
		if id, _ := m.Find(diameter.AuthApplicationID); id.Uint32() != diameter.AppCreditControl {
			t.Errorf("%x does not offer credit control", m.Raw)
		}
	}
}

// A relay says so from either end, with its Origin-State-Id.
func TestRelaysConnect(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	relay := client
	relay.StateID = 7
	near := diametertest.Dial(t, listener.Addr().String(), relay)
	far := diametertest.Accept(t, listener, relay)
	connected := make(chan diameter.Message, 1)
	go func() {
		defer close(connected)
		connected <- near.ConnectRelay()
	}()
	cer := far.WelcomeRelay()
	for _, m := range []diameter.Message{cer, <-connected} {
		id, _ := m.Find(diameter.AuthApplicationID)
		if state, _ := m.Find(diameter.OriginStateID); id.Uint32() != diameter.AppRelay || state.Uint32() != 7 {
			t.Errorf("%x: application %#x, state %d", m.Raw, id.Uint32(), state.Uint32())
		}
	}
	// Who was welcome may speak first.
	rar := far.Request(diameter.CmdReAuth, nil)
	near.Answer(near.ExpectRequest(diameter.CmdReAuth), diameter.LimitedSuccess, nil)
	if code := far.ExpectAnswer(rar).ResultCode(); code != diameter.LimitedSuccess {
		t.Errorf("RAA %d", code)
	}
}

// A failed expectation fails the test.
func TestPeerExpectations(t *testing.T) {
	for name, c := range map[string]struct{ send, expect func(*diametertest.Peer) }{
		"another command": {
			func(p *diametertest.Peer) { p.Request(diameter.CmdDeviceWatchdog, nil) },
			func(p *diametertest.Peer) { p.ExpectRequest(diameter.CmdReAuth) },
		},
		"no answer to this": {
			func(p *diametertest.Peer) { p.Request(diameter.CmdDeviceWatchdog, nil) },
			func(p *diametertest.Peer) { p.ExpectAnswer(diameter.Header{Command: diameter.CmdDeviceWatchdog}) },
		},
		"no Diameter": {
			(*diametertest.Peer).SendGarbage,
			func(p *diametertest.Peer) { p.Expect() },
		},
		"a message instead of the end": {
			func(p *diametertest.Peer) { p.Request(diameter.CmdDeviceWatchdog, nil) },
			(*diametertest.Peer).ExpectClose,
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := net.Pipe()
			judged := &recorder{TB: t}
			go c.send(diametertest.NewPeer(t, a, client))
			done := make(chan struct{})
			go func() {
				defer close(done)
				c.expect(diametertest.NewPeer(judged, b, server))
			}()
			<-done
			if !judged.failed {
				t.Error("the test went on")
			}
		})
	}
}
