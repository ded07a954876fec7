package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"gygate/diameter"
	"gygate/diameter/peer/fsm"
)

// Why a connection ends, beside errors of the transport.
var (
	errWatchdog   = errors.New("the peer answered no watchdog")
	errDisconnect = errors.New("disconnected in order")
	errNoDPA      = errors.New("no answer to our DPR, or no close after the peer's")
	errShutdown   = errors.New("this node shuts down")
	errNotFirst   = errors.New("the first message is no CER")
	errFraming    = errors.New("framing is lost")
	errNotSent    = errors.New("the connection takes no requests")
)

// node is what all connections of one Server or Client share.
type node struct {
	local         Local
	dict          *diameter.Dictionary
	log           *slog.Logger
	handler       Handler  // nil: every request is answered 3001
	commands      []uint32 // of application 4 that handler serves
	endToEnd      *endToEnd
	metrics       *metrics
	writeTimeout  time.Duration
	queueMax      int
	processingMax int
	pendingMax    int
}

// side is a connection's half of the peer machine: the events it raises there.
type side struct {
	message, dwr, dwa, dpr, dpa, disc fsm.Event
}

var (
	initiator = side{fsm.IRcvMessage, fsm.IRcvDWR, fsm.IRcvDWA, fsm.IRcvDPR, fsm.IRcvDPA, fsm.IPeerDisc}
	responder = side{fsm.RRcvMessage, fsm.RRcvDWR, fsm.RRcvDWA, fsm.RRcvDPR, fsm.RRcvDPA, fsm.RPeerDisc}
)

// machine is the state of one peer, for any number of goroutines.
type machine struct{ state atomic.Uint32 }

// on takes one event through the machine and returns what is to be done. Nearly
// every event is a message that changes nothing, hence no lock.
func (m *machine) on(e fsm.Event) []fsm.Action {
	for {
		before := m.state.Load()
		after, actions := fsm.State(before).On(e)
		if uint32(after) == before || m.state.CompareAndSwap(before, uint32(after)) {
			return actions
		}
	}
}

func (m *machine) current() fsm.State { return fsm.State(m.state.Load()) }

// conn is one open connection. Its reader goroutine (run) takes messages in
// order: base messages are dealt with at once, requests go to the handler,
// answers to whoever waits. Its writer goroutine writes what has gathered.
type conn struct {
	*node
	nc       net.Conn
	r        *diameter.Reader
	side     side
	machine  *machine
	watch    *watchdogTimer
	remote   Remote
	since    time.Time
	log      *slog.Logger
	onUsable func(bool)

	out        *writer
	pending    *pending
	processing processing
	watchdog   atomic.Uint32      // Hop-by-Hop of the DWR without a DWA, 0 for none
	cause      atomic.Int32       // Disconnect-Cause of the peer's DPR, -1 without one
	note       func(diameter.AVP) // an AVP that was let pass; for the reader alone

	ctx    context.Context // ends with the connection
	cancel context.CancelCauseFunc
	ended  chan struct{} // closed when run has returned
}

// open returns the connection to remote after the capabilities exchange; r may
// hold octets that came behind it. Nothing is read or written before run.
func (n *node) open(nc net.Conn, r *diameter.Reader, s side, m *machine, w *watchdogTimer, remote Remote) *conn {
	c := &conn{
		node: n, nc: nc, r: r, side: s, machine: m, watch: w, remote: remote, since: time.Now(),
		log:      n.log.With("peer", remote.Host, "address", remote.Addr.String()),
		onUsable: func(bool) {},
		out:      newWriter(nc, n.writeTimeout, n.queueMax),
		pending:  newPending(n.pendingMax),
		ended:    make(chan struct{}),
	}
	c.processing.max = n.processingMax
	c.cause.Store(-1)
	c.note = (&noted{log: c.log, dict: n.dict}).avp
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	return c
}

// run reads until the connection ends and returns why. It owns both goroutines
// and leaves none behind.
func (c *conn) run() error {
	defer close(c.ended)
	var writing sync.WaitGroup
	writing.Go(func() {
		if err := c.out.run(); err != nil {
			c.close(fmt.Errorf("write: %w", err))
		}
	})
	c.log.Info("diameter peer up", "realm", c.remote.Realm, "tls", c.remote.TLS, "relay", c.remote.Relay)
	c.watch.up(c)
	lost := c.read()
	if errors.Is(lost, errFraming) || errors.Is(lost, errDisconnect) {
		c.finish(&writing)
	}
	c.do(c.machine.on(c.side.disc), diameter.Message{})
	c.close(lost)
	c.watch.down()
	writing.Wait()
	err := context.Cause(c.ctx)
	c.log.Info("diameter peer down", "err", err)
	return err
}

// read takes messages until the connection is lost, framing is lost, or the peer
// machine is closed.
func (c *conn) read() error {
	for {
		m, err := c.r.Next()
		if err != nil {
			return c.lost(m, err)
		}
		c.receive(m)
		if c.machine.current() == fsm.Closed {
			return errDisconnect
		}
	}
}

// lost is why no message can be read any more; m holds the header of the one whose
// framing is lost.
func (c *conn) lost(m diameter.Message, err error) error {
	if fault := (*diameter.Error)(nil); errors.As(err, &fault) {
		return c.framingFault(m, fault)
	}
	return fmt.Errorf("read: %w", err)
}

// framingFault answers what can be answered of a message whose end cannot be
// found. Bytes that are no Diameter at all get a reset (A-027..A-029).
func (c *conn) framingFault(m diameter.Message, fault *diameter.Error) error {
	length := int(m.Raw[1])<<16 | int(m.Raw[2])<<8 | int(m.Raw[3])
	foreign := fault.Code == diameter.UnsupportedVersion && (length < diameter.HeaderLen || length > diameter.MessageMax)
	if fault.Code == 0 || foreign || !m.Request() {
		reset(c.nc)
		return fmt.Errorf("not a Diameter message: %w", fault)
	}
	c.send(diameter.ErrorAnswer(nil, m, fault, c.local.origin()))
	return fmt.Errorf("%w: %w", errFraming, fault)
}

// receive deals with one message.
func (c *conn) receive(m diameter.Message) {
	c.metrics.in(m)
	event, dwa := c.event(m)
	if dwa {
		c.watch.on(fsm.ReceiveDWA)
	} else {
		c.watch.heard(c.r.At())
	}
	c.do(c.machine.on(event), m)
}

// event says which event of the peer machine m is, and whether it is the DWA the
// watchdog waits for. Faulty base requests are answered as any other request.
func (c *conn) event(m diameter.Message) (e fsm.Event, dwa bool) {
	if !baseCommand(m.Header) || m.Request() && c.baseFault(m) != nil {
		return c.side.message, false
	}
	switch {
	case m.Command == diameter.CmdDeviceWatchdog && m.Request():
		return c.side.dwr, false
	case m.Command == diameter.CmdDeviceWatchdog:
		return c.side.dwa, c.watchdog.CompareAndSwap(m.HopByHop, 0)
	case m.Command == diameter.CmdDisconnectPeer && m.Request():
		return c.side.dpr, false
	case m.Command == diameter.CmdDisconnectPeer:
		return c.side.dpa, false
	}
	return c.side.message, false // a CER or CEA when the connection is open already
}

// do does what the peer machine asks for, m being the message received.
func (c *conn) do(actions []fsm.Action, m diameter.Message) {
	for _, a := range actions {
		switch a {
		case fsm.Process:
			c.process(m)
		case fsm.ISndDWA, fsm.RSndDWA:
			c.send(appendDWA(nil, m, c.local))
		case fsm.ISndDPR, fsm.RSndDPR:
			c.send(appendDPR(nil, c.local, c.pending.identifier(), c.endToEnd.next()))
			c.expectEnd()
		case fsm.ISndDPA, fsm.RSndDPA:
			c.disconnecting(m)
		case fsm.Error:
			c.close(errNoDPA)
		case fsm.IDisc, fsm.RDisc:
			// run closes the connection when it has written everything.
		}
	}
}

// disconnecting answers a DPR. The peer closes; until then the answers it waits
// for still go out, but no request of ours does.
func (c *conn) disconnecting(dpr diameter.Message) {
	cause, _ := dpr.Find(diameter.DisconnectCause)
	c.cause.Store(int32(cause.Uint32()))
	c.pending.bar()
	c.log.Info("diameter peer disconnects", "cause", cause.Uint32())
	c.send(appendDPA(nil, dpr, c.local))
	c.expectEnd()
	c.watch.lost()
}

// expectEnd closes the connection if the other end does not.
func (c *conn) expectEnd() {
	timer := time.AfterFunc(disconnectTimeout, func() {
		c.do(c.machine.on(fsm.Timeout), diameter.Message{})
	})
	context.AfterFunc(c.ctx, func() { timer.Stop() })
}

// process takes a message that is not the watchdog's or the disconnection's.
func (c *conn) process(m diameter.Message) {
	if m.Request() {
		c.serve(m)
		return
	}
	if !c.pending.settle(m) {
		c.metrics.late.Add(context.Background(), 1)
	}
}

// serve hands a request to the handler, or answers its fault.
func (c *conn) serve(m diameter.Message) {
	fault := c.fault(m)
	if fault != nil {
		if fault.Code != 0 {
			c.send(diameter.ErrorAnswer(nil, m, fault, c.local.origin()))
		}
		return
	}
	var answered atomic.Bool
	c.handler.Serve(c.ctx, c.remote, m, func(frame []byte) {
		if !answered.CompareAndSwap(false, true) {
			return
		}
		if frame != nil {
			c.send(frame)
		}
		c.processing.done()
	})
}

// fault returns why a request does not reach the handler, nil when it does; then
// it counts as in processing. The order is fixed: header, routing, AVPs,
// room.
func (c *conn) fault(m diameter.Message) *diameter.Error {
	if baseCommand(m.Header) {
		return c.baseFault(m)
	}
	if e := headerFault(m.Header, c.commands); e != nil {
		return e
	}
	if e := readDestination(m, c.local).fault(c.local); e != nil {
		return e
	}
	if e := c.dict.ValidateNoting(m, c.remote.Tolerate, c.note); e != nil {
		return e
	}
	if !c.processing.add() {
		return &diameter.Error{Code: diameter.Overloaded(m, c.local.Host), Text: "too many requests in processing"}
	}
	return nil
}

// baseFault returns what is wrong with a base request on an open connection. A
// repeated CER changes nothing.
func (c *conn) baseFault(m diameter.Message) *diameter.Error {
	if m.Flags&diameter.FlagError != 0 {
		return &diameter.Error{Code: diameter.InvalidHeaderBits, Text: "E bit in a request"}
	}
	if m.Command == diameter.CmdCapabilitiesExchange {
		return &diameter.Error{Code: diameter.UnableToComply, Text: "the connection is open already"}
	}
	return c.dict.Validate(m, c.remote.Tolerate)
}

// send queues a frame. A peer that does not read is given up at once, before its
// queue costs more memory.
func (c *conn) send(frame []byte) {
	c.metrics.out(frame)
	switch err := c.out.put(frame); {
	case errors.Is(err, errQueueFull):
		c.close(err)
	case err != nil:
		c.metrics.dropped.Add(context.Background(), 1)
	}
}

// frames are buffers for requests; the writer copies what it is given.
var frames = sync.Pool{New: func() any { return new([]byte) }}

// exchange sends one request and waits for its answer. errNotSent and
// ErrPendingFull say that nothing was sent; ErrNoAnswer that something was.
func (c *conn) exchange(ctx context.Context, r Request) (diameter.Message, error) {
	buf := frames.Get().(*[]byte)
	defer frames.Put(buf)
	*buf = r.Encode((*buf)[:0], c.remote.Host)
	frame := *buf
	if len(frame) < diameter.HeaderLen {
		return diameter.Message{}, fmt.Errorf("%w: Encode returned no message", errNotSent)
	}
	hop, answer, err := c.pending.add()
	if err != nil {
		return diameter.Message{}, err
	}
	diameter.SetHop(frame, hop)
	diameter.SetEnd(frame, r.EndToEnd)
	if r.Retransmission {
		diameter.SetRetransmit(frame)
	}
	c.send(frame)
	select {
	case a := <-answer:
		return a.message, a.err
	case <-ctx.Done():
	}
	if _, waiting := c.pending.take(hop); waiting {
		return diameter.Message{}, fmt.Errorf("%w: %w", ErrNoAnswer, ctx.Err())
	}
	a := <-answer // it was on its way
	return a.message, a.err
}

// sendWatchdog, usable and failover do the watchdog's actions.
func (c *conn) sendWatchdog() {
	hop := c.pending.identifier()
	c.watchdog.Store(hop)
	c.send(appendDWR(nil, c.local, hop, c.endToEnd.next()))
}

func (c *conn) usable(ok bool) {
	c.pending.setUsable(ok)
	c.onUsable(ok)
}

func (c *conn) failover() {
	if c.ctx.Err() != nil {
		return // close has done it
	}
	c.log.Warn("diameter peer suspect", "err", errWatchdog, "pending", c.pending.len())
	c.pending.fail(fmt.Errorf("%w: peer %s is suspect", ErrNoAnswer, c.remote.Host))
}

// stop takes the connection down in order: no new requests, the answers in
// processing until drain ends, DPR, DPA, close. When hard ends it is
// closed at once.
func (c *conn) stop(drain, hard context.Context) {
	c.pending.bar()
	for _, idle := range []<-chan struct{}{c.processing.stop(), c.pending.idle()} {
		select {
		case <-idle:
		case <-c.ended:
		case <-drain.Done():
		}
	}
	c.do(c.machine.on(fsm.Stop), diameter.Message{})
	select {
	case <-c.ended:
	case <-hard.Done():
		c.close(errShutdown)
		<-c.ended
	}
}

// finish writes what is queued, closes our half and reads on for a moment: a
// close with unread octets would reset the connection and could destroy the last
// answer.
func (c *conn) finish(writing *sync.WaitGroup) {
	c.out.finish()
	writing.Wait()
	linger(c.nc)
}

// close ends the connection at once, whoever calls first says why. Waiting
// requests get no answer.
func (c *conn) close(err error) {
	c.cancel(err)
	c.out.close()
	_ = c.nc.Close() // nothing is left to be saved
	c.pending.bar()
	c.pending.fail(fmt.Errorf("%w: link to %s lost: %w", ErrNoAnswer, c.remote.Host, context.Cause(c.ctx)))
}

// status describes the connection.
func (c *conn) status() Status {
	state := c.machine.current()
	name := state.String()
	if state == fsm.IOpen || state == fsm.ROpen {
		name = c.watch.state().String()
	}
	return Status{
		Host: c.remote.Host, Realm: c.remote.Realm, Address: c.remote.Addr.String(), State: name,
		TLS: c.remote.TLS, Since: c.since, Pending: c.pending.len() + c.processing.len(),
	}
}

// linger closes our half of nc and reads until the other end closes too, for
// lingerTimeout at most. Errors end it: the connection is given up anyway.
func linger(nc net.Conn) {
	half, ok := nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || nc.SetReadDeadline(time.Now().Add(lingerTimeout)) != nil {
		return
	}
	_, _ = io.Copy(io.Discard, nc)
}

// reset makes the close of a TCP connection or an SCTP association an abort.
func reset(nc net.Conn) {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	if t, ok := nc.(interface{ SetLinger(seconds int) error }); ok {
		_ = t.SetLinger(0) // a plain close is no harm
	}
}
