package peer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"gygate/diameter"
)

const (
	ocsHost = "ocs1.example.org"
	vpnHost = "vpn.example.org"
	realm   = "example.org"
)

var (
	ocs = Local{Host: ocsHost, Realm: realm, OriginStateID: 7, Product: "gygate"}
	vpn = Local{Host: vpnHost, Realm: realm, OriginStateID: 99, Product: "gygate"}
)

// dictionary is compiled once for all tests.
var dictionary = sync.OnceValue(func() *diameter.Dictionary {
	d, err := diameter.NewDictionary()
	if err != nil {
		panic(err)
	}
	return d
})

// proves names the rows of the conformance table that the test shows.
func proves(t testing.TB, rows ...string) {
	for _, row := range rows {
		t.Attr("proves", row)
	}
}

var rowPattern = regexp.MustCompile(`[A-D]-\d{3}`)

// provesNamed names the rows that stand in the last element of the test's name.
func provesNamed(t testing.TB) {
	proves(t, rowPattern.FindAllString(t.Name()[strings.LastIndexByte(t.Name(), '/')+1:], -1)...)
}

// serve is a Handler made of a function.
type serve func(from Remote, m diameter.Message, answer func([]byte))

func (f serve) Serve(_ context.Context, from Remote, m diameter.Message, answer func([]byte)) {
	f(from, m, answer)
}

// echo answers every request with 2001 and its own CC-Request-Number.
var echo = serve(func(_ Remote, m diameter.Message, answer func([]byte)) {
	answer(cca(m, diameter.Success, ocs))
})

func cca(req diameter.Message, code diameter.ResultCode, l Local) []byte {
	b := diameter.StartAnswer(nil, req, code, l.origin())
	b = diameter.AppendUint32(b, diameter.AuthApplicationID, diameter.AppCreditControl)
	for _, a := range []diameter.Attribute{diameter.CCRequestType, diameter.CCRequestNumber} {
		if v, ok := req.Find(a); ok {
			b = diameter.AppendUint32(b, a, v.Uint32())
		}
	}
	return diameter.FinishAnswer(b, 0, req)
}

// request describes a CCR to encode; zero fields take the usual values.
type request struct {
	session     string
	number      uint32
	host        string // Destination-Host; "": none
	realm       string // Destination-Realm; "": the usual, "-": none
	flags       diameter.Flags
	command     uint32
	application uint32 // for 0 use base: see base
	base        bool
	hop, end    uint32
	extra       func([]byte) []byte
}

func (r request) encode(b []byte) []byte {
	h := diameter.Header{Flags: diameter.FlagRequest | diameter.FlagProxiable | r.flags,
		Command: or(r.command, diameter.CmdCreditControl), HopByHop: r.hop, EndToEnd: r.end}
	if !r.base {
		h.Application = or(r.application, diameter.AppCreditControl)
	}
	start := len(b)
	b = diameter.Start(b, h)
	b = diameter.AppendString(b, diameter.SessionID, or(r.session, "vpn.example.org;1;1"))
	b = diameter.AppendString(b, diameter.OriginHost, vpnHost)
	b = diameter.AppendString(b, diameter.OriginRealm, realm)
	if r.realm != "-" {
		b = diameter.AppendString(b, diameter.DestinationRealm, or(r.realm, realm))
	}
	b = diameter.AppendUint32(b, diameter.AuthApplicationID, diameter.AppCreditControl)
	b = diameter.AppendString(b, diameter.ServiceContextID, "32260@3gpp.org")
	b = diameter.AppendUint32(b, diameter.CCRequestType, 2)
	b = diameter.AppendUint32(b, diameter.CCRequestNumber, r.number)
	if r.host != "" {
		b = diameter.AppendString(b, diameter.DestinationHost, r.host)
	}
	if r.extra != nil {
		b = r.extra(b)
	}
	return diameter.Finish(b, start)
}

// ask is a Request of a Client with that CCR.
func ask(r request) Request {
	return Request{Encode: func(b []byte, _ string) []byte { return r.encode(b) }}
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// journal collects a log.
type journal struct {
	mu   sync.Mutex
	cond sync.Cond
	b    bytes.Buffer
}

func newJournal() *journal {
	j := &journal{}
	j.cond.L = &j.mu
	return j
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.cond.Broadcast()
	return j.b.Write(p)
}

// await waits until a line contains s; the test's own timeout is the limit.
func (j *journal) await(s string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for !strings.Contains(j.b.String(), s) {
		j.cond.Wait()
	}
}

// count is how often s was said so far.
func (j *journal) count(s string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.b.String(), s)
}

func (j *journal) has(s string) bool { return j.count(s) > 0 }

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// loopback admits vpnHost and the others from 127.0.0.1.
func loopback(hosts ...string) []PeerRule {
	var rules []PeerRule
	for _, h := range append([]string{vpnHost}, hosts...) {
		rules = append(rules, PeerRule{Host: h, Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	}
	return rules
}

// startServer serves on a loopback socket until the test ends.
func startServer(t testing.TB, h Handler, change func(*ServerConfig)) (*Server, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startOn(t, ln, h, change), ln.Addr().String()
}

// startOn serves on ln until the test ends and checks that nothing is left.
func startOn(t testing.TB, ln net.Listener, h Handler, change func(*ServerConfig)) *Server {
	t.Helper()
	cfg := ServerConfig{Local: ocs, Peers: loopback(), Dictionary: dictionary()}
	if change != nil {
		change(&cfg)
	}
	s, err := NewServer(cfg, h)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if n := len(s.sockets) + len(s.peers) + len(s.sources); n != 0 {
			t.Errorf("%d connections are left in the server's tables", n)
		}
	})
	return s
}

// startClient runs a client until the test ends and checks that nothing is left.
func startClient(t testing.TB, change func(*ClientConfig), peers ...Endpoint) *Client {
	t.Helper()
	return startClientWith(t, nil, change, peers...)
}

func startClientWith(t testing.TB, h Handler, change func(*ClientConfig), peers ...Endpoint) *Client {
	t.Helper()
	cfg := ClientConfig{Local: vpn, Peers: peers, Dictionary: dictionary()}
	if change != nil {
		change(&cfg)
	}
	c, err := NewClient(cfg, h)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
		for _, p := range c.Peers() {
			if p.Pending != 0 {
				t.Errorf("%d requests are outstanding towards %s", p.Pending, p.Host)
			}
		}
	})
	return c
}

func waitOpen(t testing.TB, c *Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.WaitOpen(ctx); err != nil {
		t.Fatalf("no peer opened: %v; %+v", err, c.Peers())
	}
}

// within bounds a Do by d.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// script is a peer driven by the test, octet by octet if it likes.
type script struct {
	t  testing.TB
	nc net.Conn
	r  *bufio.Reader
}

// dialScript connects to a server.
func dialScript(t testing.TB, address string) *script {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return newScript(t, nc)
}

func newScript(t testing.TB, nc net.Conn) *script {
	t.Cleanup(func() { _ = nc.Close() }) // mostly closed by the test
	return &script{t: t, nc: nc, r: bufio.NewReader(nc)}
}

func (s *script) write(frames ...[]byte) {
	s.t.Helper()
	if _, err := s.nc.Write(bytes.Join(frames, nil)); err != nil {
		s.t.Fatalf("script write: %v", err)
	}
}

// read returns the next message; patience is bounded so that a test cannot hang.
func (s *script) read() diameter.Message {
	s.t.Helper()
	_ = s.nc.SetReadDeadline(time.Now().Add(time.Minute)) // fails on a closed connection, which the read reports
	m, err := diameter.ReadMessage(s.r)
	if err != nil {
		s.t.Fatalf("script read: %v", err)
	}
	_ = s.nc.SetReadDeadline(time.Time{}) // as above
	return m
}

// readClose expects the connection to end without another message.
func (s *script) readClose() error {
	s.t.Helper()
	_ = s.nc.SetReadDeadline(time.Now().Add(5 * time.Minute)) // as above
	m, err := diameter.ReadMessage(s.r)
	if err == nil {
		s.t.Fatalf("script expected a close, got %+v with Result-Code %d", m.Header, m.ResultCode())
	}
	if late := net.Error(nil); errors.As(err, &late) && late.Timeout() {
		s.t.Fatal("script expected a close, got nothing")
	}
	return err
}

// open does the capabilities exchange as vpnHost and returns the CEA.
func (s *script) open() diameter.Message {
	s.t.Helper()
	s.write(cer(vpnHost, nil))
	cea := s.read()
	if code := cea.ResultCode(); code != diameter.Success {
		s.t.Fatalf("CEA with Result-Code %d", code)
	}
	return cea
}

// cer encodes a CER of host; edit may replace its AVPs after Origin-Realm.
func cer(host string, rest func([]byte) []byte) []byte {
	b := startRequest(nil, diameter.CmdCapabilitiesExchange, 0x1001, 0x2001)
	b = diameter.AppendString(b, diameter.OriginHost, host)
	b = diameter.AppendString(b, diameter.OriginRealm, realm)
	if rest == nil {
		rest = func(b []byte) []byte {
			return diameter.AppendUint32(cerBody(b), diameter.AuthApplicationID, diameter.AppCreditControl)
		}
	}
	return diameter.Finish(rest(b), 0)
}

// cerBody appends the required AVPs of a CER behind Origin-Realm.
func cerBody(b []byte) []byte {
	b = diameter.AppendAddress(b, diameter.HostIPAddress, netip.MustParseAddr("127.0.0.1"))
	b = diameter.AppendUint32(b, diameter.VendorID, 0)
	b = diameter.AppendString(b, diameter.ProductName, "script")
	return diameter.AppendUint32(b, diameter.OriginStateID, 99)
}

// acceptScript accepts one connection of a Client on ln and answers its CER as
// host.
func acceptScript(t testing.TB, ln net.Listener, l Local) *script {
	t.Helper()
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s := newScript(t, nc)
	cer := s.read()
	if cer.Command != diameter.CmdCapabilitiesExchange {
		t.Fatalf("first message is command %d", cer.Command)
	}
	s.write(appendCEA(nil, cer, &diameter.Error{Code: diameter.Success}, l, nc))
	return s
}

// pipes is a network of net.Pipe connections for synctest bubbles: a listener
// for every address that is listened on.
type pipes struct {
	mu  sync.Mutex
	all map[string]*pipeListener
}

func newPipes() *pipes { return &pipes{all: map[string]*pipeListener{}} }

func (p *pipes) listen(address string) *pipeListener {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := &pipeListener{pipes: p, address: address, conns: make(chan net.Conn), done: make(chan struct{})}
	p.all[address] = l
	return l
}

func (p *pipes) dial(ctx context.Context, address string) (net.Conn, error) {
	p.mu.Lock()
	l := p.all[address]
	p.mu.Unlock()
	if l == nil {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	select {
	case l.conns <- pipeConn{theirs, "127.0.0.1:3868", "127.0.0.1:50000"}:
		return pipeConn{ours, "127.0.0.1:50000", "127.0.0.1:3868"}, nil
	case <-l.done:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// connect dials for a script.
func (p *pipes) connect(t testing.TB, address string) net.Conn {
	t.Helper()
	nc, err := p.dial(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	return nc
}

type pipeListener struct {
	pipes   *pipes
	address string
	conns   chan net.Conn
	done    chan struct{}
	once    sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.pipes.mu.Lock()
		defer l.pipes.mu.Unlock()
		if l.pipes.all[l.address] == l {
			delete(l.pipes.all, l.address)
		}
	})
	return nil
}

func (l *pipeListener) Addr() net.Addr { return textAddr(l.address) }

// pipeConn gives a pipe addresses.
type pipeConn struct {
	net.Conn
	local, remote textAddr
}

func (c pipeConn) LocalAddr() net.Addr  { return c.local }
func (c pipeConn) RemoteAddr() net.Addr { return c.remote }

type textAddr string

func (a textAddr) Network() string { return "pipe" }
func (a textAddr) String() string  { return string(a) }
