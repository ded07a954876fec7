package sipgw

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
	"golang.org/x/net/netutil"
)

// The library keeps its transaction settings in package variables; they are
// set here once, before any packet.
func init() {
	// We send 100 Trying at once; the library's own, after this time, would
	// only race with ours.
	sip.Timer_1xx = time.Hour
	// The library refuses to send a datagram above this size minus 200. A
	// response has no other way than back (RFC 3261 §18.2.2), and an INVITE of
	// an IMS core passes 1,300 bytes easily: let IP fragment them.
	sip.UDPMTUSize = 65507 + 200
}

// listener is one bound socket: conn for UDP, accept for TCP.
type listener struct {
	network string
	bound   string // address the socket is bound to
	host    string // what Via and Contact say
	port    int
	conn    net.PacketConn
	accept  net.Listener
}

// shareTries bounds the search for a port that is free for UDP and for TCP
// when the choice is left to the system.
const shareTries = 20

// listenAll binds every endpoint or none, and reports all that fail.
func listenAll(cfg Config) ([]*listener, error) {
	if len(cfg.Listen) == 0 {
		return nil, errors.New("sipgw: no address to listen on: set sip.listen")
	}
	for try := 1; ; try++ {
		all, unlucky, err := tryListen(cfg)
		if err == nil {
			return all, nil
		}
		closeAll(all)
		if !unlucky || try == shareTries {
			return nil, err
		}
	}
}

// tryListen binds what it can. unlucky: a port that the system had chosen for
// one transport was taken for the other.
func tryListen(cfg Config) (all []*listener, unlucky bool, err error) {
	var faults []error
	for _, e := range cfg.Listen {
		shared := sharePort(e, all)
		l, err := listen(shared, cfg.Host)
		if err != nil {
			unlucky = unlucky || shared != e
			faults = append(faults, err)
			continue
		}
		all = append(all, l)
	}
	return all, unlucky, errors.Join(faults...)
}

// sharePort gives an endpoint that leaves the port to the system the port of
// an earlier one on the same host, so that UDP and TCP share a number.
func sharePort(e Endpoint, bound []*listener) Endpoint {
	host, port, err := net.SplitHostPort(e.Addr)
	if err != nil || port != "0" {
		return e
	}
	for _, l := range bound {
		if l.bound == host && l.network != e.Network {
			return Endpoint{e.Network, net.JoinHostPort(host, strconv.Itoa(l.port))}
		}
	}
	return e
}

func listen(e Endpoint, host string) (*listener, error) {
	l := &listener{network: e.Network, host: host}
	var local net.Addr
	var err error
	switch e.Network {
	case "udp":
		if l.conn, err = listenUDP(e.Addr); err == nil {
			local = l.conn.LocalAddr()
		}
	case "tcp":
		if l.accept, err = net.Listen("tcp", e.Addr); err == nil {
			local = l.accept.Addr()
			l.accept = netutil.LimitListener(l.accept, connectionsMax)
		}
	default:
		return nil, fmt.Errorf("sipgw: network %q of %s in sip.listen is neither udp nor tcp", e.Network, e.Addr)
	}
	if err != nil {
		return nil, fmt.Errorf("sipgw: cannot listen on %s %s: set sip.listen to a free address: %w", e.Network, e.Addr, err)
	}
	addr := netip.MustParseAddrPort(local.String())
	l.bound, l.port = addr.Addr().String(), int(addr.Port())
	if l.host == "" && addr.Addr().IsUnspecified() {
		l.close()
		return nil, fmt.Errorf("sipgw: %s %s listens on all addresses: set sip.host to the one that peers can reach", e.Network, e.Addr)
	}
	if l.host == "" {
		l.host = l.bound
	}
	return l, nil
}

// receiveBuffer is what a UDP socket asks for: a burst of calls must wait there while
// messages are parsed, for each one that is dropped costs its call half a second (T1).
// The system's own is room for a hundred messages. More than net.core.rmem_max is not
// given on Linux.
const receiveBuffer = 4 << 20

func listenUDP(address string) (*net.UDPConn, error) {
	local, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, err
	}
	conn, err := net.ListenUDP("udp", local)
	if err != nil {
		return nil, err
	}
	if err := conn.SetReadBuffer(receiveBuffer); err != nil {
		return nil, errors.Join(fmt.Errorf("receive buffer: %w", err), conn.Close())
	}
	return conn, nil
}

// receiveRoom is the size of the receive buffer that the system gave, without what the
// kernel adds to it for itself; 0 when it does not tell.
func (l *listener) receiveRoom() int {
	udp, ok := l.conn.(*net.UDPConn)
	if !ok {
		return 0
	}
	raw, err := udp.SyscallConn()
	if err != nil {
		return 0
	}
	size := 0
	_ = raw.Control(func(fd uintptr) { // it fails on a closed socket only
		size, _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF)
	})
	return size / 2
}

// serve hands what arrives to the server, until the socket is closed.
func (l *listener) serve(server *sipgo.Server) error {
	if l.conn != nil {
		return server.ServeUDP(l.conn)
	}
	return server.ServeTCP(l.accept)
}

// source pins a request to this socket. TCP needs none: a connection to the
// peer is found or made, and binding it to the listening port would pick any
// connection that came in there.
func (l *listener) source() sip.Addr {
	if l.conn == nil {
		return sip.Addr{}
	}
	return sip.Addr{IP: net.ParseIP(l.bound), Port: l.port}
}

func (l *listener) String() string {
	return net.JoinHostPort(l.bound, strconv.Itoa(l.port))
}

func (l *listener) close() {
	if l.conn != nil {
		l.conn.Close()
		return
	}
	l.accept.Close()
}

func closeAll(listeners []*listener) {
	for _, l := range listeners {
		l.close()
	}
}
