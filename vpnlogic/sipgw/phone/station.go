package phone

import (
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
)

const (
	allow       = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE"
	contentType = "application/sdp"
)

// station is a user agent on one socket.
type station struct {
	network string
	host    string
	port    int
	ua      *sipgo.UserAgent
	client  *sipgo.Client
	server  *sipgo.Server
	packets *readyConn
	streams *readyListener
	serving sync.WaitGroup
}

// newStation binds "udp" or "tcp" on an address; serve starts it.
func newStation(network, addr string) (*station, error) {
	s := &station{network: network}
	var bound net.Addr
	switch network {
	case "udp":
		conn, err := net.ListenPacket(network, addr)
		if err != nil {
			return nil, fmt.Errorf("phone: %w", err)
		}
		s.packets, bound = &readyConn{PacketConn: conn, ready: make(chan struct{})}, conn.LocalAddr()
	case "tcp":
		listener, err := net.Listen(network, addr)
		if err != nil {
			return nil, fmt.Errorf("phone: %w", err)
		}
		s.streams, bound = &readyListener{Listener: listener, ready: make(chan struct{})}, listener.Addr()
	default:
		return nil, fmt.Errorf("phone: network %q is neither udp nor tcp", network)
	}
	host, port, err := sip.ParseAddr(bound.String())
	if err != nil {
		return nil, fmt.Errorf("phone: %w", err)
	}
	s.host, s.port = host, port
	if err := s.build(); err != nil {
		s.unbind()
		return nil, fmt.Errorf("phone: %w", err)
	}
	return s, nil
}

func (s *station) build() error {
	quiet := slog.New(slog.DiscardHandler)
	var err error
	s.ua, err = sipgo.NewUA(
		sipgo.WithUserAgent("gygate-phone"), sipgo.WithUserAgentHostname(s.host),
		sipgo.WithUserAgentTransportLayerOptions(sip.WithTransportLayerLogger(quiet)),
		sipgo.WithUserAgentTransactionLayerOptions(
			sip.WithTransactionLayerLogger(quiet),
			sip.WithTransactionLayerUnhandledResponseHandler(func(*sip.Response) {}),
		),
	)
	if err != nil {
		return err
	}
	options := []sipgo.ClientOption{sipgo.WithClientLogger(quiet), sipgo.WithClientHostname(s.host)}
	if s.network == "udp" {
		options = append(options, sipgo.WithClientConnectionAddr(s.addr()), sipgo.WithClientPort(s.port))
	}
	if s.client, err = sipgo.NewClient(s.ua, options...); err != nil {
		return err
	}
	s.server, err = sipgo.NewServer(s.ua, sipgo.WithServerLogger(quiet))
	return err
}

// serve takes requests until close. It returns when the socket is being read:
// before that, a request of ours would not leave from it.
func (s *station) serve() {
	s.server.OnOptions(func(req *sip.Request, tx sip.ServerTransaction) { s.reply(req, tx, sip.StatusOK, nil) })
	if s.packets != nil {
		s.serving.Go(func() { _ = s.server.ServeUDP(s.packets) }) // ends by close
		<-s.packets.ready
		return
	}
	s.serving.Go(func() { _ = s.server.ServeTCP(s.streams) })
	<-s.streams.ready
}

// reply answers a request outside the dialog layer; the sender repeats what
// gets no answer.
func (s *station) reply(req *sip.Request, tx sip.ServerTransaction, status int, body []byte) {
	phrase := "OK"
	if status != sip.StatusOK {
		phrase = "Refused"
	}
	res := sip.NewResponseFromRequest(req, status, phrase, body)
	contact := s.contact()
	res.AppendHeader(&contact)
	res.AppendHeader(sip.NewHeader("Allow", allow))
	if len(body) > 0 {
		res.AppendHeader(sip.NewHeader("Content-Type", contentType))
	}
	_ = tx.Respond(res)
}

func (s *station) contact() sip.ContactHeader {
	return sip.ContactHeader{Address: s.uri("phone")}
}

func (s *station) uri(user string) sip.Uri {
	return sip.Uri{
		Scheme: "sip", User: user, Host: s.host, Port: s.port,
		UriParams: sip.HeaderParams{{K: "transport", V: s.network}},
	}
}

func (s *station) addr() string { return net.JoinHostPort(s.host, strconv.Itoa(s.port)) }

func (s *station) close() {
	_ = s.ua.Close() // what is left open goes with the sockets
	s.unbind()
	s.serving.Wait()
}

func (s *station) unbind() {
	if s.packets != nil {
		s.packets.Close()
	}
	if s.streams != nil {
		s.streams.Close()
	}
}

// sdp is a minimal session description (RFC 4566 §5): one audio stream that
// nobody sends.
func (s *station) sdp() []byte {
	return fmt.Appendf(nil, "v=0\r\no=- %d 1 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\n"+
		"m=audio 49170 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n", s.port, s.host, s.host)
}

// readyConn tells when its reader starts.
type readyConn struct {
	net.PacketConn
	once  sync.Once
	ready chan struct{}
}

func (c *readyConn) ReadFrom(b []byte) (int, net.Addr, error) {
	c.once.Do(func() { close(c.ready) })
	return c.PacketConn.ReadFrom(b)
}

// readyListener tells when its acceptor starts.
type readyListener struct {
	net.Listener
	once  sync.Once
	ready chan struct{}
}

func (l *readyListener) Accept() (net.Conn, error) {
	l.once.Do(func() { close(l.ready) })
	return l.Listener.Accept()
}
