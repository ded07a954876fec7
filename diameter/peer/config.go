package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"gygate/diameter"
)

// The ports of Diameter. RFC 6733 §13.1 says 5658 where it means 5868 (erratum
// 3997).
const (
	Port    = 3868 // TCP and SCTP
	PortTLS = 5868
)

// Limits and their defaults. A setting of zero means the default.
const (
	WatchdogMin         = 6 * time.Second  // RFC 3539 §3.4.1: Tw must not be set lower
	watchdogDefault     = 30 * time.Second // RFC 3539 §3.4.1
	cerTimeoutDefault   = 10 * time.Second // a stranger holds a socket no longer
	writeTimeoutDefault = 5 * time.Second  // a peer that stops reading is given up
	reconnectDefault    = 30 * time.Second // Tc, RFC 6733 §12
	quickReconnect      = time.Second      // the first retry; the others wait Tc
	connectTimeout      = 5 * time.Second  // of TCP and TLS together; below the usual Tx
	disconnectTimeout   = 5 * time.Second  // for a DPA, or for the close after ours
	drainTimeout        = 10 * time.Second // of a Serve whose context ended, for answers in processing
	lingerTimeout       = time.Second      // reading on after a half-close, so that no RST eats the answer

	connectionsMaxDefault = 1024
	perAddressMaxDefault  = 64
	endpointsMax          = 64 // of one client; its failover keeps them in one word

	queueMaxDefault      = 16384    // frames waiting for one connection's writer
	queueOctetsMax       = 16 << 20 // and their octets: what a peer that does not read may cost
	processingMaxDefault = 8192     // requests of one connection in processing
	pendingMaxDefault    = 8192     // requests of ours without an answer, per connection
)

// Errors of Do, the Client's and the Server's.
var (
	// ErrNoPeer: no usable peer may carry the request; nothing was sent.
	ErrNoPeer = errors.New("no usable Diameter peer")
	// ErrNoAnswer: the request was sent and may have been executed, but no
	// answer came before the context ended or the link was lost.
	ErrNoAnswer = errors.New("no Diameter answer")
	// ErrPendingFull: PendingMax requests wait for answers; nothing was sent.
	ErrPendingFull = errors.New("too many Diameter requests without an answer")
)

// Policy says what happens to a peer that no PeerRule admits.
type Policy uint8

// The policies for unknown peers (RFC 6733 §5.3).
const (
	Reject Policy = iota // CEA 3010 with the E bit, then close
	Drop                 // close without an answer
	Open                 // accept; the peer entry dies with the connection
)

// PeerRule admits one peer, or says why it does not.
type PeerRule struct {
	// Host is its Origin-Host, compared without regard to case.
	Host string
	// Addresses are the source addresses it may come from. Empty is allowed
	// on TLS connections only, where the certificate proves the identity.
	Addresses []netip.Prefix
	// CertificateName replaces Host as the name the client certificate must
	// carry (DNS name or common name).
	CertificateName string
	// Relayed: its requests come through a relay. The rule admits no connection,
	// and a refusal can say why.
	Relayed bool
	// Trusted and Tolerate are handed to the Handler with its requests.
	Trusted bool
	// Tolerate is what its messages may have wrong; the zero value is strict,
	// diameter.Lenient what real gateways need.
	Tolerate diameter.Mode
}

// ServerConfig configures a Server. Zero values mean the defaults.
type ServerConfig struct {
	Local    Local
	Peers    []PeerRule
	Unknown  Policy
	Watchdog time.Duration // Tw, default 30 s, at least WatchdogMin

	CERTimeout   time.Duration // from accepting to a CER, TLS included; default 10 s
	WriteTimeout time.Duration // of one write; default 5 s

	// OnUp is told of each peer whose CER was accepted, before any request of
	// that connection is served. It must not block; nil: nobody is told.
	OnUp func(Remote)

	ConnectionsMax int // default 1024; one more is closed at once
	PerAddressMax  int // of one source address, default 64
	QueueMax       int // answers waiting for one connection's writer, default 16384; one more closes it
	ProcessingMax  int // requests of one connection in processing, default 8192; one more gets 3004 or 3002

	Dictionary *diameter.Dictionary
	Logger     *slog.Logger

	// FastWatchdog is for tests only: it allows a Watchdog below WatchdogMin
	// and takes the jitter away.
	FastWatchdog bool
}

// Endpoint is a peer a Client connects to.
type Endpoint struct {
	Address   string      // host:port; over SCTP host/host:port as well
	Transport string      // TransportTCP (the default) or TransportSCTP
	Host      string      // the Origin-Host its CEA must carry; "": any
	Realm     string      // shown in Status until the CEA tells
	TLS       *tls.Config // over TCP only; nil: none
	Priority  int         // lower is preferred; equal ones share the load
}

// ClientConfig configures a Client. Zero values mean the defaults.
type ClientConfig struct {
	Local        Local
	Peers        []Endpoint
	Watchdog     time.Duration // Tw, default 30 s, at least WatchdogMin
	Reconnect    time.Duration // Tc between attempts, default 30 s
	QuickRetry   time.Duration // the first retry, default 1 s (at most Reconnect)
	WriteTimeout time.Duration // of one write; default 5 s
	PendingMax   int           // requests without an answer, per connection; default 8192

	Dictionary *diameter.Dictionary
	Logger     *slog.Logger

	// Dial replaces the TCP dialler; TLS is done on top of it.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// FastWatchdog is for tests only; see ServerConfig.
	FastWatchdog bool
}

// Status describes one peer for an operator.
type Status struct {
	Host, Realm, Address string
	State                string // RFC 6733 state; of an open peer the watchdog's
	Inbound, TLS         bool
	Since                time.Time // of the connection, or of its loss
	Pending              int       // requests in either direction without an answer
}

func (c *ServerConfig) complete() error {
	faults := []error{c.Local.check(), checkWatchdog(&c.Watchdog, c.FastWatchdog)}
	hosts := map[string]bool{}
	for _, p := range c.Peers {
		faults = append(faults, p.check(c.Local, hosts))
	}
	if c.Dictionary == nil {
		faults = append(faults, errors.New("no dictionary"))
	}
	if c.Unknown > Open {
		faults = append(faults, fmt.Errorf("policy %d for unknown peers is none of Reject, Drop, Open", c.Unknown))
	}
	orDefault(&c.CERTimeout, cerTimeoutDefault)
	orDefault(&c.WriteTimeout, writeTimeoutDefault)
	orDefault(&c.ConnectionsMax, connectionsMaxDefault)
	orDefault(&c.PerAddressMax, perAddressMaxDefault)
	orDefault(&c.QueueMax, queueMaxDefault)
	orDefault(&c.ProcessingMax, processingMaxDefault)
	c.Logger = orDiscard(c.Logger)
	return errors.Join(faults...)
}

func (p PeerRule) check(local Local, hosts map[string]bool) error {
	key := foldIdentity(p.Host)
	switch {
	case !validIdentity(p.Host):
		return fmt.Errorf("peer %q: host is not a DiameterIdentity", p.Host)
	case key == foldIdentity(local.Host):
		return fmt.Errorf("peer %q: that is this node's own identity", p.Host)
	case hosts[key]:
		return fmt.Errorf("peer %q: listed twice", p.Host)
	}
	hosts[key] = true
	return nil
}

func (c *ClientConfig) complete() error {
	faults := []error{c.Local.check(), checkWatchdog(&c.Watchdog, c.FastWatchdog)}
	if n := len(c.Peers); n == 0 || n > endpointsMax {
		faults = append(faults, fmt.Errorf("%d peers to connect to; 1 to %d are possible", n, endpointsMax))
	}
	for _, p := range c.Peers {
		faults = append(faults, p.check())
	}
	if c.Dictionary == nil {
		faults = append(faults, errors.New("no dictionary"))
	}
	orDefault(&c.Reconnect, reconnectDefault)
	orDefault(&c.QuickRetry, min(quickReconnect, c.Reconnect))
	orDefault(&c.WriteTimeout, writeTimeoutDefault)
	orDefault(&c.PendingMax, pendingMaxDefault)
	if c.Dial == nil {
		c.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
	}
	c.Logger = orDiscard(c.Logger)
	return errors.Join(faults...)
}

func (e Endpoint) check() error {
	_, _, err := net.SplitHostPort(e.Address)
	switch {
	case err != nil:
		return fmt.Errorf("peer address %q: want host:port", e.Address)
	case e.Transport == "", e.Transport == TransportTCP:
		return nil
	case e.Transport != TransportSCTP:
		return fmt.Errorf("peer %s: transport %q is none of tcp, sctp", e.Address, e.Transport)
	case e.TLS != nil:
		return fmt.Errorf("peer %s: there is no TLS over SCTP: choose transport tcp, or protect the network", e.Address)
	}
	if err := checkSCTP(); err != nil {
		return fmt.Errorf("peer %s: %w", e.Address, err)
	}
	return nil
}

func (l Local) check() error {
	if !validIdentity(l.Host) || !validIdentity(l.Realm) {
		return fmt.Errorf("local host %q and realm %q must be DiameterIdentities", l.Host, l.Realm)
	}
	return nil
}

func (l Local) origin() diameter.Origin {
	return diameter.Origin{Host: l.Host, Realm: l.Realm, StateID: l.OriginStateID}
}

// checkWatchdog enforces RFC 3539's lower bound.
func checkWatchdog(tw *time.Duration, fast bool) error {
	orDefault(tw, watchdogDefault)
	if *tw < WatchdogMin && !fast {
		return fmt.Errorf("watchdog of %v: RFC 3539 allows no less than %v", *tw, WatchdogMin)
	}
	return nil
}

func orDefault[T int | time.Duration](v *T, value T) {
	if *v <= 0 {
		*v = value
	}
}

func orDiscard(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}
