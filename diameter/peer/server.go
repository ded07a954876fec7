package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"gygate/diameter"
	"gygate/diameter/peer/fsm"
)

// ErrServerClosed is what Serve returns when the server was shut down before.
var ErrServerClosed = errors.New("the Diameter server is shut down")

// Server accepts Diameter connections and gives the requests of admitted peers to
// a Handler, and sends requests of its own to them (Do). It is the responder of
// RFC 6733 §5.6, and runs a watchdog of its own towards every peer. A configured
// peer that was lost to it is on probation when it comes back (REOPEN, A-085): its
// requests are served, but it gets none of ours before three watchdogs in a row
// were answered, which are sent without a pause, because its connection is the
// only one.
type Server struct {
	*node
	cfg   ServerConfig
	rules map[string]*PeerRule // by folded Origin-Host
	quiet quiet                // about strangers
	noWay quiet                // about requests of ours

	mu        sync.Mutex
	closed    bool
	listeners map[net.Listener]struct{}
	sockets   map[net.Conn]struct{} // every connection, open or not yet
	sources   map[netip.Addr]int    // connections by source address
	peers     map[string]*conn      // open connections by folded Origin-Host
	fallen    map[string]bool       // configured peers lost to the watchdog, likewise
	running   sync.WaitGroup        // serving connections and Shutdown's work
	done      chan struct{}         // closed when Shutdown is through
}

// NewServer checks the configuration, all of it, and returns a server that does
// nothing until Serve.
func NewServer(cfg ServerConfig, h Handler) (*Server, error) {
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("diameter server: %w", err)
	}
	if h == nil {
		return nil, errors.New("diameter server: no handler")
	}
	s := &Server{
		node: &node{
			local: cfg.Local, dict: cfg.Dictionary, log: cfg.Logger, handler: h, commands: serverCommands,
			endToEnd: newEndToEnd(), metrics: newMetrics("server"), writeTimeout: cfg.WriteTimeout,
			queueMax: cfg.QueueMax, processingMax: cfg.ProcessingMax, pendingMax: pendingMaxDefault,
		},
		cfg:       cfg,
		rules:     map[string]*PeerRule{},
		listeners: map[net.Listener]struct{}{},
		sockets:   map[net.Conn]struct{}{},
		sources:   map[netip.Addr]int{},
		peers:     map[string]*conn{},
		fallen:    map[string]bool{},
		done:      make(chan struct{}),
	}
	for i := range cfg.Peers {
		s.rules[foldIdentity(cfg.Peers[i].Host)] = &s.cfg.Peers[i]
	}
	return s, nil
}

// Serve accepts connections from ln until Shutdown, or until ctx ends, which it
// answers with an orderly shutdown of the whole server. ln may be a TLS listener
// (see ServerTLS); several Serves may run at once. It returns when all
// connections are gone: nil after a shutdown, otherwise the listener's error.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	if !s.listen(ln) {
		_ = ln.Close() // never used
		return ErrServerClosed
	}
	stopObserving := s.metrics.observe(s.Peers, s.queued)
	defer stopObserving()
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })() // an error here shows in Accept
	err := s.accept(ln)
	switch {
	case ctx.Err() != nil:
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout+disconnectTimeout)
		defer cancel()
		return s.Shutdown(end)
	case s.isClosed():
		<-s.done
		return nil
	}
	return fmt.Errorf("diameter accept on %s: %w", ln.Addr(), err)
}

func (s *Server) listen(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.listeners[ln] = struct{}{}
	}
	return !s.closed
}

// accept starts one goroutine per connection. A lack of resources passes, and is
// waited for; any other error ends it.
func (s *Server) accept(ln net.Listener) error {
	for pause := acceptPauseMin; ; {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			pause = acceptPauseMin
			s.enter(nc)
		case !passes(err) || s.isClosed():
			return err
		default:
			s.log.Warn("diameter accept failed, trying again", "err", err, "pause", pause)
			time.Sleep(pause)
			pause = min(2*pause, acceptPauseMax)
		}
	}
}

// The pause after a failed accept doubles from one to the other.
const (
	acceptPauseMin = 5 * time.Millisecond
	acceptPauseMax = time.Second
)

// passes reports whether a failed accept is worth another try.
func passes(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// enter serves nc in a goroutine of its own, or closes it when there are too many.
func (s *Server) enter(nc net.Conn) {
	addr := addrPort(nc.RemoteAddr()).Addr()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.sockets) >= s.cfg.ConnectionsMax || s.sources[addr] >= s.cfg.PerAddressMax {
		s.quiet.warn(s.log, addr.String(), "diameter connection refused: too many", "address", addr,
			"connections", len(s.sockets), "of_address", s.sources[addr])
		_ = nc.Close() // nothing was read or written
		return
	}
	s.sockets[nc] = struct{}{}
	s.sources[addr]++
	s.running.Go(func() {
		defer s.leave(nc, addr)
		s.serve(nc)
	})
}

func (s *Server) leave(nc net.Conn, addr netip.Addr) {
	_ = nc.Close() // mostly closed already
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sockets, nc)
	if s.sources[addr]--; s.sources[addr] == 0 {
		delete(s.sources, addr)
	}
}

// serve takes one connection from its first octet to its end (RFC 6733 §5.6.1).
func (s *Server) serve(nc net.Conn) {
	deadline := time.Now().Add(s.cfg.CERTimeout)
	if err := nc.SetDeadline(deadline); err != nil {
		return // closed already
	}
	if t, ok := nc.(*tls.Conn); ok {
		if err := t.Handshake(); err != nil {
			s.quiet.warn(s.log, source(nc), "diameter TLS handshake failed", "address", nc.RemoteAddr(), "err", err)
			return
		}
	}
	r := diameter.NewReader(nc)
	cer, err := readCER(r)
	if err != nil {
		s.unidentified(nc, cer, err)
		return
	}
	s.metrics.in(cer)
	c, refusal := s.identify(nc, r, cer)
	if c == nil {
		s.refuse(nc, refusal)
		return
	}
	defer s.forget(c)
	if s.cfg.OnUp != nil {
		s.cfg.OnUp(c.remote)
	}
	_ = c.run() // logged there
}

// readCER reads the first message, which has to be a CER.
func readCER(r *diameter.Reader) (diameter.Message, error) {
	m, err := r.Next()
	if err == nil && (!baseCommand(m.Header) || m.Command != diameter.CmdCapabilitiesExchange || !m.Request()) {
		err = errNotFirst
	}
	return m, err
}

// source is where a connection comes from, whatever its port.
func source(nc net.Conn) string { return addrPort(nc.RemoteAddr()).Addr().String() }

// unidentified gives up a connection that brought no CER: nothing is answered
// and bytes that are no Diameter are met with a reset.
func (s *Server) unidentified(nc net.Conn, m diameter.Message, err error) {
	if fault := (*diameter.Error)(nil); errors.As(err, &fault) {
		reset(nc)
	}
	if m.Raw != nil {
		s.quiet.warn(s.log, source(nc), "diameter connection without capabilities exchange", "address", nc.RemoteAddr(), "err", err)
	}
}

// identify opens the connection of a peer that may have one, its CEA queued.
// Otherwise it returns the CEA that says why not; both nil close without an
// answer.
func (s *Server) identify(nc net.Conn, r *diameter.Reader, cer diameter.Message) (*conn, []byte) {
	state := tlsState(nc)
	remote := Remote{Addr: addrPort(nc.RemoteAddr()), TLS: state != nil}
	fault, entry := s.decide(cer, &remote, state)
	var c *conn
	if fault == nil {
		c, fault = s.register(nc, r, cer, remote)
	}
	if fault == nil {
		return c, nil
	}
	if fault.Code == diameter.ElectionLost {
		entry = second
	}
	host := scalar(remote.Host)
	fields := []any{"peer", host, "address", remote.Addr, "applications", advertised(cer), "err", fault}
	s.quiet.warn(s.log, host, "diameter peer refused", append(fields, entry.fields()...)...)
	if fault.Code == 0 {
		return nil, nil
	}
	return nil, appendCEA(nil, cer, fault, s.local, nc)
}

// decide fills in the sender of cer and returns why it is refused (A-001..A-010),
// nil when it is not. A fault without a code is not answered. The stranger is not
// told what in its entry does not fit; the admission, for the log, knows.
func (s *Server) decide(cer diameter.Message, remote *Remote, state *tls.ConnectionState) (*diameter.Error, admission) {
	host, _ := cer.Find(diameter.OriginHost)
	remote.Host = host.Text()
	entry := admit(s.rules, s.cfg.Unknown, remote.Host, remote.Addr.Addr(), state)
	if diameter.SameIdentity(remote.Host, s.local.Host) {
		entry = admission{reason: "that is this node's own Origin-Host", remedy: "give the peer another identity"}
	}
	if entry.rule != nil {
		remote.Tolerate, remote.Trusted = entry.rule.Tolerate, entry.rule.Trusted
	} else if s.cfg.Unknown == Open {
		remote.Tolerate = diameter.Lenient
	}
	if entry.reason != "" && s.cfg.Unknown == Drop {
		return &diameter.Error{Text: "unknown peer"}, entry
	}
	if fault := s.dict.Validate(cer, remote.Tolerate); fault != nil {
		return fault, admission{}
	}
	if entry.reason != "" {
		return &diameter.Error{Code: diameter.UnknownPeer, Text: "unknown peer"}, entry
	}
	theirs := readCapabilities(cer)
	remote.Realm, remote.Relay, remote.StateID = theirs.realm, theirs.relay, theirs.stateID
	return theirs.check(remote.TLS), admission{}
}

// register passes the CER to the state machine of its peer: one connection per
// identity. A connection that is closing no longer counts.
func (s *Server) register(nc net.Conn, r *diameter.Reader, cer diameter.Message, remote Remote) (*conn, *diameter.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := foldIdentity(remote.Host)
	if open := s.peers[key]; open != nil {
		if state := open.machine.current(); state != fsm.Closed && slices.Contains(open.machine.on(fsm.RConnCER), fsm.RReject) {
			return nil, &diameter.Error{Code: diameter.ElectionLost, Text: "the peer has a connection already"}
		}
	}
	if s.closed {
		return nil, &diameter.Error{Text: errShutdown.Error()}
	}
	m := &machine{}
	m.on(fsm.RConnCER) // R-Accept, Process-CER, R-Snd-CEA
	watch := newWatchdogTimer(jittered(s.cfg.Watchdog, s.cfg.FastWatchdog), func() bool { return true }, func() {})
	if s.fallen[key] {
		watch.machine.State = fsm.Down
		delete(s.fallen, key)
	}
	c := s.open(nc, r, responder, m, watch, remote)
	s.peers[key] = c
	_ = nc.SetDeadline(time.Time{}) // fails on a closed connection, which run reports
	c.send(appendCEA(nil, cer, &diameter.Error{Code: diameter.Success}, s.local, nc))
	return c, nil
}

// refuse sends the CEA of a peer that is not admitted and takes care that it
// arrives before the close.
func (s *Server) refuse(nc net.Conn, answer []byte) {
	if answer == nil {
		return
	}
	s.metrics.out(answer)
	if _, err := nc.Write(answer); err == nil {
		linger(nc)
	}
}

// forget removes a connection that has ended.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := foldIdentity(c.remote.Host)
	if s.peers[key] == c {
		delete(s.peers, key)
	}
	if s.rules[key] != nil && errors.Is(context.Cause(c.ctx), errWatchdog) {
		s.fallen[key] = true
	}
}

// Shutdown takes the server down in order: it accepts no more, lets the
// answers in processing go, sends DPR (REBOOTING) to every peer, waits at most
// 5 s for each DPA and closes. New requests get 3004 or 3002 meanwhile. When ctx
// ends everything left is closed at once, and its error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	if s.close() {
		for _, c := range s.connections() {
			s.running.Go(func() { c.stop(ctx, ctx) })
		}
		s.running.Wait()
		close(s.done)
		return ctx.Err()
	}
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return ctx.Err() // the first Shutdown's context decides about the rest
	}
}

// close stops accepting and drops connections without a peer; false when that
// was done before.
func (s *Server) close() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.closed = true
	for ln := range s.listeners {
		_ = ln.Close() // Accept reports it
	}
	open := map[net.Conn]bool{}
	for _, c := range s.peers {
		open[c.nc] = true
	}
	for nc := range s.sockets {
		if !open[nc] {
			_ = nc.Close() // serve notices
		}
	}
	return true
}

// Peers describes the open connections and the configured peers that have none,
// sorted by name.
func (s *Server) Peers() []Status {
	var all []Status
	connected := map[string]bool{}
	for _, c := range s.connections() {
		status := c.status()
		status.Inbound = true
		connected[foldIdentity(status.Host)] = true
		all = append(all, status)
	}
	for key, rule := range s.rules {
		if !connected[key] && !rule.Relayed {
			all = append(all, Status{Host: rule.Host, State: fsm.Closed.String(), Inbound: true})
		}
	}
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Host, b.Host) })
	return all
}

func (s *Server) connections() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*conn, 0, len(s.peers))
	for _, c := range s.peers {
		all = append(all, c)
	}
	return all
}

func (s *Server) queued() int {
	n := 0
	for _, c := range s.connections() {
		n += c.out.depth()
	}
	return n
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}
