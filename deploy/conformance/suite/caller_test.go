package suite

import (
	"bufio"
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fiorix/go-diameter/v4/diam"

	"gygate/diameter"
	"gygate/diameter/gy"
	"gygate/diameter/peer"
	"gygate/diameter/peer/fsm"
	"gygate/vpnlogic"
)

// startCaller runs the system under test as a client of one peer, over conn,
// until conn is closed.
func startCaller(t testing.TB, conn net.Conn) {
	t.Helper()
	if stock {
		go func() {
			// A failed handshake shows in what the peer sees.
			_, _ = stockClient().NewConn(conn, "ocs1.vpn.example:3868")
		}()
		return
	}
	var once sync.Once
	client := newPeerClient(t, func(context.Context, string) (net.Conn, error) {
		var first net.Conn
		if once.Do(func() { first = conn }); first == nil {
			return nil, errors.New("only one connection is to be had")
		}
		return first, nil
	}, "ocs1.vpn.example:3868")
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- client.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func newPeerClient(t testing.TB, dial func(context.Context, string) (net.Conn, error), addresses ...string) *peer.Client {
	t.Helper()
	config := peer.ClientConfig{
		Local:      peer.Local{Host: as.Host, Realm: as.Realm, OriginStateID: as.StateID, Product: "gygate"},
		Dictionary: dictionary(), Dial: dial,
	}
	for i, address := range addresses {
		config.Peers = append(config.Peers, peer.Endpoint{Address: address, Priority: i})
	}
	client, err := peer.NewClient(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// RFC 3539 §3.4.1: the watchdog's interval is about thirty seconds without any
// traffic, a request is not repeated, and the connection is given up after the
// second interval without an answer.
func watchdogRequests(t *testing.T, _ system) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		t.Cleanup(func() { _ = far.Close() })
		startCaller(t, near)
		c := &client{t: t, conn: far, reader: bufio.NewReader(far), origin: diameter.Origin{Host: "ocs1.vpn.example", Realm: realm}}
		cer := c.request(diameter.CmdCapabilitiesExchange)
		c.raw(encode(diameter.Header{Command: cer.Command, HopByHop: cer.HopByHop, EndToEnd: cer.EndToEnd},
			append([]avp{result(2001)}, c.cer(diameter.AppCreditControl)...)...))
		got := readAll(far, c.reader)
		quiet := time.Now()
		for range 10 { // ten signs of life, three seconds apart
			c.send(0, diameter.CmdDeviceWatchdog, diameter.AppBase, c.base()...)
			_ = c.conn.SetDeadline(time.Time{}) // the sending's own would end the silence
			quiet = time.Now()
			time.Sleep(3 * time.Second)
		}
		if n := len(got.of(diameter.CmdDeviceWatchdog)); n != 0 {
			t.Fatalf("%d DWR while there was traffic", n)
		}
		time.Sleep(2 * time.Minute) // none of them is answered
		asked := got.of(diameter.CmdDeviceWatchdog)
		if len(asked) != 1 {
			t.Fatalf("%d DWR without an answer, want one", len(asked))
		}
		if after := asked[0].Sub(quiet); after < 28*time.Second || after > 32*time.Second {
			t.Errorf("DWR after %v without traffic", after)
		}
		if after := got.closed().Sub(asked[0]); after < 56*time.Second || after > 64*time.Second {
			t.Errorf("closed %v after the DWR", after)
		}
	})
}

// received is what came over a connection, and when.
type received struct {
	mu    sync.Mutex
	at    map[uint32][]time.Time // of the requests, by command
	ended time.Time
}

// readAll reads until the connection ends.
func readAll(conn net.Conn, r *bufio.Reader) *received {
	got := &received{at: map[uint32][]time.Time{}}
	go func() {
		for {
			m, err := diameter.ReadMessage(r)
			got.mu.Lock()
			if err != nil {
				got.ended = time.Now()
				got.mu.Unlock()
				_ = conn.Close()
				return
			}
			if m.Request() {
				got.at[m.Command] = append(got.at[m.Command], time.Now())
			}
			got.mu.Unlock()
		}
	}()
	return got
}

func (r *received) of(command uint32) []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at[command]
}

func (r *received) closed() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended
}

// resentWithT: the first server takes a CCR and dies; the second gets the same
// one, marked as sent before.
func resentWithT(t *testing.T, _ system) {
	first, second := newScript(t), newScript(t)
	done := callOnce(t, first.address, second.address)
	lost := first.client()
	sent := lost.request(diameter.CmdCreditControl)
	_ = lost.conn.Close()
	other := second.client()
	again := other.request(diameter.CmdCreditControl)
	other.reply(again, diameter.EndUserServiceDenied)
	done()
	if sent.Flags&diameter.FlagRetransmit != 0 {
		t.Error("T in the first sending")
	}
	if again.Flags&diameter.FlagRetransmit == 0 || again.EndToEnd != sent.EndToEnd {
		t.Fatalf("sent again with flags %02x and End-to-End %08x, first %08x", again.Flags, again.EndToEnd, sent.EndToEnd)
	}
	for _, a := range []diameter.Attribute{diameter.SessionID, diameter.CCRequestNumber, diameter.CCRequestType, diameter.EventTimestamp} {
		before, _ := sent.Find(a)
		after, _ := again.Find(a)
		if string(before.Raw) != string(after.Raw) {
			t.Errorf("AVP %d was %x, is %x", a.Code, before.Raw, after.Raw)
		}
	}
}

// script is a server that welcomes one client and then does what the test says.
type script struct {
	t        testing.TB
	address  string
	welcomed chan *client
}

func newScript(t testing.TB) script {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := script{t, listener.Addr().String(), make(chan *client, 1)}
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.welcome(listener)
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-served
	})
	return s
}

// welcome takes the first connection and exchanges capabilities. What fails shows
// in that nobody is welcomed.
func (s script) welcome(listener net.Listener) {
	conn, err := listener.Accept()
	if err != nil {
		return
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	c := &client{t: s.t, conn: conn, reader: bufio.NewReader(conn), origin: diameter.Origin{Host: "ocs.vpn.example", Realm: realm}}
	cer, err := diameter.ReadMessage(c.reader)
	if err != nil {
		return
	}
	cea := encode(diameter.Header{Command: cer.Command, HopByHop: cer.HopByHop, EndToEnd: cer.EndToEnd},
		append([]avp{result(2001)}, c.cer(diameter.AppCreditControl)...)...)
	if _, err := conn.Write(cea); err == nil {
		s.welcomed <- c
	}
}

// client is the connection of the client that was welcomed.
func (s script) client() *client {
	s.t.Helper()
	select {
	case c := <-s.welcomed:
		return c
	case <-time.After(patience()):
		s.t.Fatal("nobody connects")
		return nil
	}
}

// callOnce has the system under test send one CCR-I as a client, to the first
// address and, when that fails, to the others. done waits until it has given up
// or got an answer.
func callOnce(t testing.TB, addresses ...string) (done func()) {
	t.Helper()
	ended := make(chan struct{})
	if stock {
		go func() { defer close(ended); stockCall(addresses) }()
		return func() { <-ended }
	}
	client := newPeerClient(t, nil, addresses...)
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- client.Run(ctx) }()
	charger := gy.NewClient(gy.ClientConfig{Local: as, Context: gy.ContextSIP}, client)
	go func() {
		defer close(ended)
		if allOpen(ctx, client) {
			charger.Charge(ctx, vpnlogic.ChargeRequest{Session: charger.NewSession(ctx), Type: vpnlogic.ChargeInitial,
				At: time.Now(), Payer: msisdn, RatingGroup: 100, WantMore: true})
		}
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	return func() { <-ended }
}

// allOpen waits until the client may use all its peers.
func allOpen(ctx context.Context, client *peer.Client) bool {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for slices.ContainsFunc(client.Peers(), func(s peer.Status) bool { return s.State != fsm.Okay.String() }) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// stockCall sends one request by the library to one server after the other until
// one of them answers: what its users write, as it has no failover itself.
func stockCall(addresses []string) {
	ccr := stockCCR()
	for _, address := range addresses {
		client := stockClient()
		answered := make(chan struct{}, 1)
		client.Handler.HandleFunc("CCA", func(diam.Conn, *diam.Message) { answered <- struct{}{} })
		conn, err := client.DialTimeout(address, patience())
		if err != nil {
			continue
		}
		gone := conn.(diam.CloseNotifier).CloseNotify()
		_, _ = ccr.WriteTo(conn) // a failure ends the connection
		select {
		case <-answered:
			conn.Close()
			return
		case <-gone:
		case <-time.After(patience() / 3): // the library may not notice that the server is gone
			conn.Close()
		}
	}
}
