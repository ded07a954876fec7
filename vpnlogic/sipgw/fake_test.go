package sipgw

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gygate/vpnlogic"
	"gygate/vpnlogic/sipgw/phone"
)

// patience bounds every wait of the tests; reaching it is a failure.
const patience = 10 * time.Second

// fakeCalls is a call service that does what a test says.
type fakeCalls struct {
	refuse *vpnlogic.Cause
	begun  chan *fakeCall

	mu    sync.Mutex
	calls []*fakeCall
}

func newFakeCalls() *fakeCalls { return &fakeCalls{begun: make(chan *fakeCall, 100)} }

func (f *fakeCalls) Begin(_ context.Context, a vpnlogic.Attempt, leg vpnlogic.Leg) (call, *vpnlogic.Cause) {
	if f.refuse != nil {
		return nil, f.refuse
	}
	c := &fakeCall{Leg: leg, attempt: a, events: make(chan event, 100)}
	f.mu.Lock()
	f.calls = append(f.calls, c)
	f.mu.Unlock()
	f.begun <- c
	return c, nil
}

func (f *fakeCalls) Shutdown(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.calls {
		c.Release(vpnlogic.CauseOf(vpnlogic.ReasonShutdown))
	}
	return nil
}

type event struct {
	text string
	at   time.Time
}

// fakeCall notes the events; like the real one it has a failed call released.
type fakeCall struct {
	vpnlogic.Leg
	attempt   vpnlogic.Attempt
	events    chan event
	releasing atomic.Bool
}

func (c *fakeCall) Ringing(at time.Time, status int) {
	c.events <- event{fmt.Sprintf("ringing %d", status), at}
}
func (c *fakeCall) Answering() bool                     { return !c.releasing.Load() }
func (c *fakeCall) AnsweredBy(at time.Time, ioi string) { c.events <- event{"answered by " + ioi, at} }
func (c *fakeCall) Answered(at time.Time)               { c.events <- event{"answered", at} }
func (c *fakeCall) Connected(at time.Time, number string) {
	c.events <- event{"connected to " + number, at}
}
func (c *fakeCall) Failed(at time.Time, cause vpnlogic.Cause) {
	c.events <- event{"failed " + cause.Reason, at}
	c.Release(cause)
}
func (c *fakeCall) Cancelled(at time.Time) { c.events <- event{"cancelled", at} }
func (c *fakeCall) HungUp(at time.Time, by vpnlogic.Party) {
	c.events <- event{"hung up by " + string(by), at}
}
func (c *fakeCall) Lost(at time.Time) { c.events <- event{"lost", at} }

// expect waits for the next event.
func (c *fakeCall) expect(t *testing.T, text string) event {
	t.Helper()
	select {
	case e := <-c.events:
		if e.text != text {
			t.Fatalf("event %q, want %q", e.text, text)
		}
		return e
	case <-time.After(patience):
		t.Fatalf("no event, want %q", text)
		return event{}
	}
}

// quiet says that nothing else happened.
func (c *fakeCall) quiet(t *testing.T) {
	t.Helper()
	select {
	case e := <-c.events:
		t.Fatalf("event %q too many", e.text)
	default:
	}
}

func (f *fakeCalls) next(t *testing.T) *fakeCall {
	t.Helper()
	select {
	case c := <-f.begun:
		return c
	case <-time.After(patience):
		t.Fatal("no call reached the service")
		return nil
	}
}

// gateway starts a gateway on loopback, UDP and TCP, and stops it at the end.
func startGateway(t *testing.T, c calls, change func(*Config)) *Gateway {
	t.Helper()
	cfg := Config{Listen: []Endpoint{{"udp", "127.0.0.1:0"}, {"tcp", "127.0.0.1:0"}}}
	if change != nil {
		change(&cfg)
	}
	g, err := newGateway(cfg, c)
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- g.Run(context.Background()) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := g.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-ran; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return g
}

func addrOf(g *Gateway, network string) string {
	for _, a := range g.Addrs() {
		if a.Network == network {
			return a.Addr
		}
	}
	return ""
}

// answerer starts phones and stops them at the end.
func startAnswerer(t *testing.T, config phone.AnswererConfig) (*phone.Answerer, chan phone.Call) {
	t.Helper()
	changes := make(chan phone.Call, 100)
	config.OnChange = func(c phone.Call) { changes <- c }
	a, err := phone.NewAnswerer(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a, changes
}

// waitCall waits for a change after which a call is as wanted.
func waitCall(t *testing.T, changes chan phone.Call, wanted func(phone.Call) bool) phone.Call {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case c := <-changes:
			if wanted(c) {
				return c
			}
		case <-timeout:
			t.Fatal("the called phone never got there")
		}
	}
}

func hasEnded(c phone.Call) bool { return !c.EndedAt.IsZero() }

// dialled is a phone's call in the background.
type dialled struct {
	result chan phone.Result
	cancel context.CancelFunc
	events chan string
}

func dial(t *testing.T, o phone.DialOptions) *dialled {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	d := &dialled{result: make(chan phone.Result, 1), cancel: cancel, events: make(chan string, 100)}
	o.OnEvent = func(_ time.Time, text string) { d.events <- text }
	if o.From == "" {
		o.From = "+8613800000001"
	}
	if o.To == "" {
		o.To = "6002"
	}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		r, err := phone.Dial(ctx, o)
		if err != nil {
			t.Errorf("dial: %v", err)
		}
		d.result <- r
	}()
	t.Cleanup(func() { cancel(); <-finished })
	return d
}

func (d *dialled) wait(t *testing.T) phone.Result {
	t.Helper()
	select {
	case r := <-d.result:
		return r
	case <-time.After(patience):
		t.Fatal("the caller's call did not end")
		return phone.Result{}
	}
}

// expect waits for a message of the call that starts so.
func (d *dialled) expect(t *testing.T, prefix string) {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case text := <-d.events:
			if strings.HasPrefix(text, prefix) {
				return
			}
		case <-timeout:
			t.Fatalf("the caller never saw %q", prefix)
		}
	}
}

// onNet is the destination of a colleague's short number.
func onNet(charged bool) vpnlogic.Destination {
	return vpnlogic.Destination{Called: "8613800000002", CallerID: "6001", OnNet: true, Charged: charged}
}

func portOf(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}
