package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"gygate/diameter"
	"gygate/diameter/peer/fsm"
)

// Disconnect-Causes after which the receiver does not reconnect by itself
// (RFC 6733 §5.4.3, A-088).
const (
	causeBusy       = 1
	causeDoNotWant  = 2
	noDisconnection = -1
)

var (
	errRefused  = errors.New("the peer refuses the capabilities exchange")
	errNotCEA   = errors.New("the answer to our CER is no CEA")
	errCEAFault = errors.New("the peer's CEA cannot be used")
)

// endpoint is one peer of a Client: its peer machine, its watchdog, and one
// connection at a time.
type endpoint struct {
	client  *Client
	cfg     Endpoint
	machine *machine
	watch   *watchdogTimer
	conn    atomic.Pointer[conn] // nil while there is none

	mu    sync.Mutex
	last  Remote    // as its latest CEA said
	since time.Time // of the loss of its connection, or of the start
}

func newEndpoint(c *Client, cfg Endpoint) *endpoint {
	e := &endpoint{client: c, cfg: cfg, machine: &machine{}, since: time.Now()}
	e.last = Remote{Host: cfg.Host, Realm: cfg.Realm}
	e.watch = newWatchdogTimer(jittered(c.cfg.Watchdog, c.cfg.FastWatchdog),
		func() bool { return c.alone(e) }, func() { c.hurry(e) })
	return e
}

// run connects again and again until ctx ends or the peer has said that it does
// not want us.
func (e *endpoint) run(ctx context.Context) {
	quick := true // the next pause is the short one
	for ctx.Err() == nil {
		opened, err := e.connect(ctx)
		if ctx.Err() != nil {
			return
		}
		if cause := e.lastCause(opened); cause == causeBusy || cause == causeDoNotWant {
			e.client.log.Error("diameter peer wants no connection; it will not be tried again before a restart",
				"peer", e.identity(), "address", e.cfg.Address, "cause", cause)
			return
		}
		if opened == nil {
			e.client.log.Warn("diameter connect failed", "peer", e.identity(), "address", e.cfg.Address, "err", err)
		}
		pause := e.client.cfg.Reconnect
		if quick || opened != nil {
			pause = e.client.cfg.QuickRetry
		}
		quick = false
		wait(ctx, pause)
	}
}

func (e *endpoint) lastCause(c *conn) int32 {
	if c == nil {
		return noDisconnection
	}
	return c.cause.Load()
}

// wait pauses for d and up to a tenth more, so that clients of one server do not
// come back in step.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d + rand.N(d/10+1))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// connect takes the peer machine from Closed through an open connection back to
// Closed. It returns the connection if there was one, else why there was none.
func (e *endpoint) connect(ctx context.Context) (*conn, error) {
	o := &opening{endpoint: e}
	for event, again := fsm.Start, true; again; {
		actions := e.machine.on(event)
		again = false
		for _, a := range actions {
			event, again = o.do(ctx, a)
		}
	}
	if o.open == nil {
		return nil, o.err
	}
	e.hold(ctx, o.open)
	return o.open, nil
}

// hold runs an open connection to its end, an orderly one when ctx ends.
func (e *endpoint) hold(ctx context.Context, c *conn) {
	e.mu.Lock()
	e.last = c.remote
	e.mu.Unlock()
	e.conn.Store(c)
	stopped := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(stopped)
		stopInTime(c)
	})
	_ = c.run() // logged there
	if !cancel() {
		<-stopped
	}
	e.conn.Store(nil)
	e.mu.Lock()
	e.since = time.Now()
	e.mu.Unlock()
}

// stopInTime takes a connection down in order, within drainTimeout and what a DPA
// may take.
func stopInTime(c *conn) {
	drain, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	hard, cancelHard := context.WithTimeout(context.Background(), drainTimeout+2*disconnectTimeout)
	defer cancelHard()
	c.stop(drain, hard)
}

// opening is one way from Start to I-Open, or back to Closed.
type opening struct {
	*endpoint
	nc   net.Conn
	r    *diameter.Reader
	cea  diameter.Message
	open *conn
	err  error
}

// do does one action of the peer machine and returns the event it leads to, if
// any.
func (o *opening) do(ctx context.Context, a fsm.Action) (fsm.Event, bool) {
	switch a {
	case fsm.ISndConnReq:
		if o.err = o.dial(ctx); o.err != nil {
			return fsm.IRcvConnNack, true
		}
		return fsm.IRcvConnAck, true
	case fsm.ISndCER:
		event := o.exchange(ctx)
		if o.err != nil {
			o.err = fmt.Errorf("capabilities exchange: %w", o.err)
		}
		return event, true
	case fsm.ProcessCEA:
		if o.open, o.err = o.process(); o.err != nil {
			return fsm.IPeerDisc, true
		}
	case fsm.IDisc, fsm.Error, fsm.Cleanup:
		if o.nc != nil {
			_ = o.nc.Close() // given up
		}
	}
	return 0, false
}

// dial connects, TLS included.
func (o *opening) dial(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	connect := o.client.cfg.Dial
	if o.cfg.Transport == TransportSCTP {
		connect = dialSCTP
	}
	nc, err := connect(ctx, o.cfg.Address)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if o.cfg.TLS != nil {
		secured := tls.Client(nc, o.cfg.TLS)
		if err := secured.HandshakeContext(ctx); err != nil {
			_ = nc.Close() // given up
			return fmt.Errorf("TLS handshake: %w", err)
		}
		nc = secured
	}
	o.nc, o.r = nc, diameter.NewReader(nc)
	return nil
}

// exchange sends the CER and waits for the CEA, at most until ctx ends.
func (o *opening) exchange(ctx context.Context) fsm.Event {
	if o.err = o.nc.SetDeadline(time.Now().Add(cerTimeoutDefault)); o.err != nil {
		return fsm.IPeerDisc
	}
	cancel := context.AfterFunc(ctx, func() { _ = o.nc.SetDeadline(time.Unix(1, 0)) }) // ends the wait
	event := o.capabilities()
	if !cancel() {
		o.err = ctx.Err()
		return fsm.Timeout
	}
	return event
}

func (o *opening) capabilities() fsm.Event {
	n := o.client.node
	hop := rand.Uint32()
	cer := appendCER(nil, n.local, o.nc, hop, n.endToEnd.next())
	n.metrics.out(cer)
	if _, o.err = o.nc.Write(cer); o.err != nil {
		return fsm.IPeerDisc
	}
	o.cea, o.err = o.r.Next()
	var late net.Error
	switch {
	case errors.As(o.err, &late) && late.Timeout():
		return fsm.Timeout
	case o.err != nil:
		return fsm.IPeerDisc
	case o.cea.Request(), !baseCommand(o.cea.Header), o.cea.Command != diameter.CmdCapabilitiesExchange, o.cea.HopByHop != hop:
		o.err = errNotCEA
		return fsm.IRcvNonCEA
	}
	n.metrics.in(o.cea)
	return fsm.IRcvCEA
}

// process checks the CEA and makes the connection.
func (o *opening) process() (*conn, error) {
	n := o.client.node
	if code := o.cea.ResultCode(); !code.Success() {
		text, _ := o.cea.Find(diameter.ErrorMessage)
		return nil, fmt.Errorf("%w: %w", errRefused, &diameter.Error{Code: code, Text: text.Text()})
	}
	if fault := n.dict.Validate(o.cea, diameter.Lenient); fault != nil {
		return nil, fmt.Errorf("%w: %w", errCEAFault, fault)
	}
	theirs := readCapabilities(o.cea)
	switch {
	case o.cfg.Host != "" && !diameter.SameIdentity(o.cfg.Host, theirs.host):
		return nil, fmt.Errorf("%w: its Origin-Host is %s, the configuration says %s", errCEAFault, theirs.host, o.cfg.Host)
	case !theirs.common():
		return nil, fmt.Errorf("%w: it does not serve application 4 (credit control)", errCEAFault)
	}
	if err := o.nc.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	remote := Remote{Host: theirs.host, Realm: theirs.realm, Addr: addrPort(o.nc.RemoteAddr()),
		TLS: o.cfg.TLS != nil, Tolerate: diameter.Lenient,
		Relay: theirs.relay, StateID: theirs.stateID}
	c := n.open(o.nc, o.r, initiator, o.machine, o.watch, remote)
	c.onUsable = o.client.changed
	return c, nil
}

// usable returns the connection if it takes requests, else nil.
func (e *endpoint) usable() *conn {
	if c := e.conn.Load(); c != nil && c.pending.takes() {
		return c
	}
	return nil
}

// identity is the Origin-Host the peer has shown, else the configured one.
func (e *endpoint) identity() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last.Host
}

func (e *endpoint) status() Status {
	if c := e.conn.Load(); c != nil {
		return c.status()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return Status{Host: e.last.Host, Realm: e.last.Realm, Address: e.cfg.Address,
		State: e.machine.current().String(), TLS: e.cfg.TLS != nil, Since: e.since}
}
