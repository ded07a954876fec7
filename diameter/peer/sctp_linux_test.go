package peer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ishidawataru/sctp"

	"gygate/diameter"
)

// associations is a listener whose connections are sctpConns on local sockets that
// preserve messages, as SCTP does, so that everything but the protocol itself is
// the code that serves an association.
type associations struct {
	t     testing.TB
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newAssociations(t testing.TB) *associations {
	return &associations{t: t, conns: make(chan net.Conn), done: make(chan struct{})}
}

func (a *associations) Accept() (net.Conn, error) {
	select {
	case nc := <-a.conns:
		return nc, nil
	case <-a.done:
		return nil, net.ErrClosed
	}
}

func (a *associations) Close() error { a.once.Do(func() { close(a.done) }); return nil }

func (a *associations) Addr() net.Addr { return sctpAddress(3868, "127.0.0.1") }

// connect returns the far end of a new association.
func (a *associations) connect() net.Conn {
	a.t.Helper()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		a.t.Fatal(err)
	}
	server, client := sctpAddress(3868, "127.0.0.1", "::ffff:192.0.2.1", "2001:db8::1"), sctpAddress(50000, "127.0.0.2", "192.0.2.2")
	a.conns <- a.wrap(pair[0], server, client)
	return a.wrap(pair[1], client, server)
}

func (a *associations) wrap(fd int, local, remote net.Addr) *sctpConn {
	a.t.Helper()
	file, err := pollableSocket(fd, "association")
	if err != nil {
		a.t.Fatal(err)
	}
	return &sctpConn{File: file, local: local, remote: remote}
}

func sctpAddress(port int, ips ...string) *sctp.SCTPAddr {
	a := &sctp.SCTPAddr{Port: port}
	for _, ip := range ips {
		a.IPAddrs = append(a.IPAddrs, net.IPAddr{IP: net.ParseIP(ip)})
	}
	return a
}

// userMessage reads one user message, which has to be one Diameter message.
func userMessage(t testing.TB, nc net.Conn) diameter.Message {
	t.Helper()
	b := make([]byte, diameter.MessageMax)
	if err := nc.SetReadDeadline(time.Now().Add(time.Minute)); err != nil { // a hang would show as its error
		t.Fatal(err)
	}
	n, err := nc.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return mustParse(t, b[:n])
}

func send(t testing.TB, nc net.Conn, frame []byte) {
	t.Helper()
	if _, err := nc.Write(frame); err != nil {
		t.Fatal(err)
	}
}

func TestOneMessagePerUserMessage(t *testing.T) {
	proves(t, "A-093")
	network, log := newAssociations(t), newJournal()
	startOn(t, network, echo, func(cfg *ServerConfig) {
		cfg.Logger = log.logger()
		cfg.Peers[0].Addresses = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")} // the primary address counts
	})
	nc := network.connect()
	defer func() { _ = nc.Close() }()
	send(t, nc, cer(vpnHost, nil))
	cea := userMessage(t, nc)
	var hosts []string
	for a := range cea.AVPs() {
		if a.Is(diameter.HostIPAddress) {
			hosts = append(hosts, a.Address().String())
		}
	}
	if got := strings.Join(hosts, " "); cea.ResultCode() != diameter.Success || got != "127.0.0.1 192.0.2.1 2001:db8::1" {
		t.Errorf("CEA %d with Host-IP-Addresses %s", cea.ResultCode(), got)
	}
	for n := range uint32(200) {
		send(t, nc, request{hop: n}.encode(nil))
	}
	for n := range uint32(200) {
		if a := userMessage(t, nc); a.HopByHop != n || a.ResultCode() != diameter.Success {
			t.Fatalf("user message %d is %+v", n, a.Header)
		}
	}
	send(t, nc, []byte("no Diameter, this is long enough"))
	log.await("not a Diameter message")
	if n, err := nc.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%d octets, %v; want the end", n, err)
	}
}

// Frames that have gathered still go out one by one.
func TestWriterSplitsFrames(t *testing.T) {
	network := newAssociations(t)
	near := make(chan net.Conn, 1)
	go func() { near <- <-network.conns }()
	far := network.connect()
	nc := <-near
	w := newWriter(nc, time.Minute, queueMaxDefault)
	for n := range uint32(10) {
		if err := w.put(request{hop: n}.encode(nil)); err != nil {
			t.Fatal(err)
		}
	}
	w.finish()
	if err := w.run(); err != nil {
		t.Fatal(err)
	}
	for n := range uint32(10) {
		if m := userMessage(t, far); m.HopByHop != n {
			t.Errorf("message %d is %d", n, m.HopByHop)
		}
	}
	if err := nc.(*sctpConn).CloseWrite(); err != nil {
		t.Error(err)
	}
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("after the half-close: %v", err)
	}
	if err := far.SetReadDeadline(time.Now()); err != nil {
		t.Error(err)
	}
	if err := nc.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Error(err)
	}
	if _, err := nc.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("past its deadline: %v", err)
	}
	_, _ = nc.Close(), far.Close() // nothing is left
	if b := binary.NativeEndian.AppendUint32(nil, networkOrder(46)); !bytes.Equal(b, []byte{0, 0, 0, payloadProtocol}) {
		t.Errorf("the payload protocol identifier is sent as %x", b)
	}
}

// A machine that has SCTP carries Diameter over it; one that has not says so when
// it starts, and how to help it.
func TestSCTPOnThisMachine(t *testing.T) {
	proves(t, "A-093")
	endpoint := Endpoint{Address: "127.0.0.1:1", Transport: TransportSCTP}
	ln, err := ListenSCTP("127.0.0.1:0")
	if err != nil {
		_, dialled := dialSCTP(t.Context(), endpoint.Address)
		_, client := NewClient(ClientConfig{Local: vpn, Dictionary: dictionary(), Peers: []Endpoint{endpoint}}, nil)
		for what, err := range map[string]error{"listen": err, "dial": dialled, "client": client} {
			if !errors.Is(err, ErrNoSCTP) || !strings.Contains(err.Error(), "modprobe sctp") {
				t.Errorf("%s: %v", what, err)
			}
		}
		return
	}
	startOn(t, ln, echo, nil)
	endpoint.Address = addrPort(ln.Addr()).String()
	c := startClient(t, nil, endpoint)
	waitOpen(t, c)
	if a, err := c.Do(within(t, time.Minute), ask(request{})); err != nil || a.Message.ResultCode() != diameter.Success {
		t.Errorf("%d %v", a.Message.ResultCode(), err)
	}
}

func TestTransportFaults(t *testing.T) {
	for _, e := range []Endpoint{
		{Address: "127.0.0.1:3868", Transport: "udp"},
		{Address: "127.0.0.1:3868", Transport: TransportSCTP, TLS: clientTLS(t, newAuthority(t, "a"), newAuthority(t, "b"), "c")},
	} {
		if _, err := NewClient(ClientConfig{Local: vpn, Dictionary: dictionary(), Peers: []Endpoint{e}}, nil); err == nil || errors.Is(err, ErrNoSCTP) {
			t.Errorf("%+v: %v", e, err)
		}
	}
	if _, err := ListenSCTP("nowhere"); err == nil {
		t.Error("an address without a port is taken")
	}
}
