package suite

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"gygate/diameter"
)

// The nodes of the traces.
const realm = "vpn.example"

var (
	as  = diameter.Origin{Host: "vpnas1.vpn.example", Realm: realm, StateID: 3973000001}
	as2 = diameter.Origin{Host: "vpnas2.vpn.example", Realm: realm}
	pgw = diameter.Origin{Host: "pgw1.vpn.example", Realm: realm}
	dra = diameter.Origin{Host: "dra1.vpn.example", Realm: realm}
)

// client is the far end of one connection to the system under test. Whatever does
// not happen within the patience fails the test.
type client struct {
	t      testing.TB
	conn   net.Conn
	reader *bufio.Reader
	origin diameter.Origin
	next   uint32             // identifiers given out
	asked  []diameter.Message // requests of the server that came before an answer
}

// dial connects without a word.
func dial(t testing.TB, address string, origin diameter.Origin) *client {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, patience())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &client{t: t, conn: conn, reader: bufio.NewReader(conn), origin: origin, next: 0x5a100000}
}

// connect dials and exchanges capabilities.
func connect(t testing.TB, address string, origin diameter.Origin) *client {
	t.Helper()
	c := dial(t, address, origin)
	expectCode(t, c.capabilities(diameter.AppCreditControl), diameter.Success)
	return c
}

// reconnect connects after this peer's last connection was lost: the system under
// test refuses a second one (4003) until it has noticed.
func reconnect(t testing.TB, address string, origin diameter.Origin) *client {
	t.Helper()
	for until := time.Now().Add(patience()); ; {
		c := dial(t, address, origin)
		code := c.capabilities(diameter.AppCreditControl).ResultCode()
		if code != diameter.ElectionLost || time.Now().After(until) {
			if code != diameter.Success {
				t.Fatalf("CEA %d after the loss of a connection", code)
			}
			return c
		}
	}
}

// capabilities exchanges capabilities for an application.
func (c *client) capabilities(application uint32, more ...avp) diameter.Message {
	c.t.Helper()
	return c.ask(0, diameter.CmdCapabilitiesExchange, diameter.AppBase, c.cer(application, more...)...)
}

// cer is what a CER holds.
func (c *client) cer(application uint32, more ...avp) []avp {
	return append([]avp{
		text(diameter.OriginHost, c.origin.Host), text(diameter.OriginRealm, c.origin.Realm),
		diameter.AppendAddress(nil, diameter.HostIPAddress, netip.MustParseAddr("127.0.0.1")),
		u32(diameter.VendorID, 0), text(diameter.ProductName, "suite"),
		u32(diameter.AuthApplicationID, application),
	}, more...)
}

// base is what every request of the base protocol holds.
func (c *client) base(more ...avp) []avp {
	return append([]avp{text(diameter.OriginHost, c.origin.Host), text(diameter.OriginRealm, c.origin.Realm)}, more...)
}

// send sends a request; flags are added to the R bit.
func (c *client) send(flags diameter.Flags, command, application uint32, avps ...avp) diameter.Header {
	c.t.Helper()
	c.next++
	h := diameter.Header{Flags: diameter.FlagRequest | flags, Command: command, Application: application, HopByHop: c.next, EndToEnd: c.next}
	c.raw(encode(h, avps...))
	return h
}

// encode makes a message.
func encode(h diameter.Header, avps ...avp) []byte {
	return diameter.Finish(append(diameter.Start(nil, h), slices.Concat(avps...)...), 0)
}

// raw sends octets as they are.
func (c *client) raw(octets []byte) {
	c.t.Helper()
	c.deadline()
	if _, err := c.conn.Write(octets); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// ask sends a request and returns its answer.
func (c *client) ask(flags diameter.Flags, command, application uint32, avps ...avp) diameter.Message {
	c.t.Helper()
	return c.answer(c.send(flags, command, application, avps...))
}

// read returns the next message.
func (c *client) read() diameter.Message {
	c.t.Helper()
	c.deadline()
	m, err := diameter.ReadMessage(c.reader)
	if err != nil {
		c.t.Fatalf("no message: %v", err)
	}
	return m
}

// answer returns the answer to a request; requests that come before it are kept.
func (c *client) answer(to diameter.Header) diameter.Message {
	c.t.Helper()
	for {
		m := c.read()
		switch {
		case m.Request():
			c.asked = append(c.asked, m)
		case m.Command != to.Command || m.HopByHop != to.HopByHop || m.EndToEnd != to.EndToEnd:
			c.t.Fatalf("the answer to %+v is %+v", to, m.Header)
		default:
			return m
		}
	}
}

// answers returns the answers to several requests by their Hop-by-Hop Identifier,
// in whatever order they come.
func (c *client) answers(to ...diameter.Header) map[uint32]diameter.Message {
	c.t.Helper()
	got := map[uint32]diameter.Message{}
	for len(got) < len(to) {
		m := c.read()
		if m.Request() {
			c.asked = append(c.asked, m)
			continue
		}
		got[m.HopByHop] = m
	}
	for _, h := range to {
		if _, ok := got[h.HopByHop]; !ok {
			c.t.Fatalf("no answer to %+v", h)
		}
	}
	return got
}

// request returns the server's next request, which must be of that command.
func (c *client) request(command uint32) diameter.Message {
	c.t.Helper()
	var m diameter.Message
	if len(c.asked) > 0 {
		m, c.asked = c.asked[0], c.asked[1:]
	} else {
		m = c.read()
	}
	if !m.Request() || m.Command != command {
		c.t.Fatalf("expected request %d, got %+v", command, m.Header)
	}
	return m
}

// reply answers a request of the server.
func (c *client) reply(to diameter.Message, code diameter.ResultCode) {
	c.t.Helper()
	b := diameter.StartAnswer(nil, to, code, diameter.Origin{Host: c.origin.Host, Realm: c.origin.Realm})
	c.raw(diameter.FinishAnswer(b, 0, to))
}

// watchdog asks for a sign of life. It also proves that the connection stands and
// that nothing else is on its way before the DWA.
func (c *client) watchdog() diameter.Message {
	c.t.Helper()
	return c.ask(0, diameter.CmdDeviceWatchdog, diameter.AppBase, c.base()...)
}

// closed expects the other side to close, or to reset, without another message.
func (c *client) closed() {
	c.t.Helper()
	c.deadline()
	m, err := diameter.ReadMessage(c.reader)
	if err == nil {
		c.t.Fatalf("expected the connection closed, got %+v", m.Header)
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		c.t.Fatalf("expected the connection closed: %v", err)
	}
}

func (c *client) deadline() {
	c.t.Helper()
	if err := c.conn.SetDeadline(time.Now().Add(patience())); err != nil {
		c.t.Fatal(err)
	}
}
