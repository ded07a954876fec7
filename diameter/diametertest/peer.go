package diametertest

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"gygate/diameter"
)

// Patience is how long a Peer waits for what it expects before the test fails.
// It only bounds a failing test; nothing waits for it to pass.
const Patience = 10 * time.Second

// Peer is the far end of one connection. It does nothing of itself: a peer that
// never answers is a Peer whose test calls nothing. Its methods fail the test
// when the other side does something else than expected.
type Peer struct {
	t      testing.TB
	conn   net.Conn
	reader *bufio.Reader
	origin diameter.Origin
	last   uint32 // of the identifiers given out, Hop-by-Hop and End-to-End alike
}

// NewPeer takes over conn, which may be one end of a net.Pipe, and closes it at
// the end of the test.
func NewPeer(t testing.TB, conn net.Conn, origin diameter.Origin) *Peer {
	t.Helper()
	t.Cleanup(func() { _ = conn.Close() })
	return &Peer{t: t, conn: conn, reader: bufio.NewReader(conn), origin: origin, last: 0x7e570000}
}

// Dial connects to a server.
func Dial(t testing.TB, address string, origin diameter.Origin) *Peer {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, Patience)
	if err != nil {
		t.Fatal(err)
	}
	return NewPeer(t, conn, origin)
}

// Accept takes the next connection of a listener.
func Accept(t testing.TB, listener net.Listener, origin diameter.Origin) *Peer {
	t.Helper()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return NewPeer(t, conn, origin)
}

// Connect sends a CER for credit control and expects to be welcome.
func (p *Peer) Connect() diameter.Message {
	p.t.Helper()
	return p.connect(diameter.AppCreditControl)
}

// ConnectRelay sends the CER of a relay agent and expects to be welcome.
func (p *Peer) ConnectRelay() diameter.Message {
	p.t.Helper()
	return p.connect(diameter.AppRelay)
}

func (p *Peer) connect(application uint32) diameter.Message {
	p.t.Helper()
	cea := p.ExpectAnswer(p.Request(diameter.CmdCapabilitiesExchange, p.capabilities(application)))
	p.expectResult(cea, diameter.Success)
	return cea
}

// Welcome expects a CER and accepts it.
func (p *Peer) Welcome() diameter.Message {
	p.t.Helper()
	return p.welcome(diameter.AppCreditControl)
}

// WelcomeRelay expects a CER and accepts it as a relay agent.
func (p *Peer) WelcomeRelay() diameter.Message {
	p.t.Helper()
	return p.welcome(diameter.AppRelay)
}

func (p *Peer) welcome(application uint32) diameter.Message {
	p.t.Helper()
	cer := p.ExpectRequest(diameter.CmdCapabilitiesExchange)
	p.Answer(cer, diameter.Success, p.capabilities(application))
	return cer
}

// capabilities appends what CER and CEA have in common besides the origin.
func (p *Peer) capabilities(application uint32) func([]byte) []byte {
	return func(b []byte) []byte { return p.appendCapabilities(b, application) }
}

func (p *Peer) appendCapabilities(b []byte, application uint32) []byte {
	if p.origin.StateID != 0 {
		b = diameter.AppendUint32(b, diameter.OriginStateID, p.origin.StateID)
	}
	b = diameter.AppendAddress(b, diameter.HostIPAddress, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	b = diameter.AppendUint32(b, diameter.VendorID, 0)
	b = diameter.AppendString(b, diameter.ProductName, "diametertest")
	b = diameter.AppendUint32(b, diameter.SupportedVendorID, diameter.Vendor3GPP)
	return diameter.AppendUint32(b, diameter.AuthApplicationID, application)
}

// Request sends a request of the command: the origin, then what more appends
// (nil: nothing). It returns the header, for ExpectAnswer.
func (p *Peer) Request(command uint32, more func([]byte) []byte) diameter.Header {
	p.t.Helper()
	p.last++
	h := diameter.Header{Flags: diameter.FlagRequest, Command: command, HopByHop: p.last, EndToEnd: p.last}
	switch command {
	case diameter.CmdCapabilitiesExchange, diameter.CmdDeviceWatchdog, diameter.CmdDisconnectPeer:
	default:
		h.Flags |= diameter.FlagProxiable
		h.Application = diameter.AppCreditControl
	}
	b := diameter.Start(nil, h)
	b = diameter.AppendString(b, diameter.OriginHost, p.origin.Host)
	b = diameter.AppendString(b, diameter.OriginRealm, p.origin.Realm)
	if more != nil {
		b = more(b)
	}
	p.Send(diameter.Finish(b, 0))
	return h
}

// Answer answers a request: Session-Id, result and origin, then what more
// appends (nil: nothing).
func (p *Peer) Answer(request diameter.Message, code diameter.ResultCode, more func([]byte) []byte) {
	p.t.Helper()
	b := diameter.StartAnswer(nil, request, code, p.origin)
	if more != nil {
		b = more(b)
	}
	p.Send(diameter.FinishAnswer(b, 0, request))
}

// Send sends octets as they are, a frame or anything else.
func (p *Peer) Send(octets []byte) {
	p.t.Helper()
	p.deadline()
	if _, err := p.conn.Write(octets); err != nil {
		p.t.Fatalf("send %d octets: %v", len(octets), err)
	}
}

// SendSlowly sends a frame octet by octet.
func (p *Peer) SendSlowly(frame []byte) {
	p.t.Helper()
	for i := range frame {
		p.Send(frame[i : i+1])
	}
}

// SendHalf sends the first half of a frame and leaves the other side waiting.
func (p *Peer) SendHalf(frame []byte) {
	p.t.Helper()
	p.Send(frame[:len(frame)/2])
}

// SendGarbage sends what is no Diameter at all.
func (p *Peer) SendGarbage() {
	p.t.Helper()
	p.Send([]byte("GET / HTTP/1.1\r\nHost: ocs1.vpn.example\r\n\r\n"))
}

// Expect returns the next message, whatever it is.
func (p *Peer) Expect() diameter.Message {
	p.t.Helper()
	p.deadline()
	m, err := diameter.ReadMessage(p.reader)
	if err != nil {
		p.t.Fatalf("expected a message: %v", err)
	}
	return m
}

// ExpectRequest returns the next message, which must be a request of the command.
func (p *Peer) ExpectRequest(command uint32) diameter.Message {
	p.t.Helper()
	m := p.Expect()
	if !m.Request() || m.Command != command {
		p.t.Fatalf("expected request %d, got %+v", command, m.Header)
	}
	return m
}

// ExpectAnswer returns the next message, which must answer the request with
// that header.
func (p *Peer) ExpectAnswer(to diameter.Header) diameter.Message {
	p.t.Helper()
	m := p.Expect()
	if m.Request() || m.Command != to.Command || m.HopByHop != to.HopByHop || m.EndToEnd != to.EndToEnd {
		p.t.Fatalf("expected the answer to %+v, got %+v", to, m.Header)
	}
	return m
}

// expectResult compares an answer's Result-Code.
func (p *Peer) expectResult(m diameter.Message, want diameter.ResultCode) {
	p.t.Helper()
	if code := m.ResultCode(); code != want {
		text, _ := m.Find(diameter.ErrorMessage)
		p.t.Fatalf("Result-Code %d %q, want %d", code, text.Text(), want)
	}
}

// ExpectClose expects the other side to close, or to reset, without another
// message.
func (p *Peer) ExpectClose() {
	p.t.Helper()
	p.deadline()
	m, err := diameter.ReadMessage(p.reader)
	switch {
	case err == nil:
		p.t.Fatalf("expected the connection closed, got %+v", m.Header)
	case !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.ErrClosedPipe):
		p.t.Fatalf("expected the connection closed, got %v", err)
	}
}

// Close closes the connection without a word.
func (p *Peer) Close() { _ = p.conn.Close() }

func (p *Peer) deadline() {
	p.t.Helper()
	if err := p.conn.SetDeadline(time.Now().Add(Patience)); err != nil {
		p.t.Fatal(err)
	}
}
