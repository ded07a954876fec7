package sipgw

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"

	"gygate/vpnlogic"
)

// Defaults and limits of a Config.
const (
	// SessionExpiresDefault bounds what a lost BYE can cost: a vanished phone is
	// noticed at half of it, plus the 32 s a refresh waits for its answer.
	SessionExpiresDefault = 180 * time.Second
	// MinSEDefault is the smallest session interval RFC 4028 §5 lets us ask for.
	MinSEDefault = 90 * time.Second
	// SetupMaxDefault is how long a call may ring: proxies give up after more
	// than three minutes (RFC 3261 §16.6, timer C), so we do at three.
	SetupMaxDefault = 180 * time.Second
	// DrainDefault is how long Run, once told to stop, waits for the calls.
	DrainDefault = 10 * time.Second

	// writeMax bounds one write to a TCP peer that does not read: it holds up
	// the bridge of its call.
	writeMax = 5 * time.Second
	// idleMax closes a TCP connection on which nothing was heard; session
	// refreshes come far more often.
	idleMax = 30 * time.Minute
	// connectionsMax bounds the TCP connections of a listener; more wait in the
	// operating system's backlog.
	connectionsMax = 4096
)

// Endpoint is a transport address: Network is "udp" or "tcp", Addr host:port.
type Endpoint struct {
	Network string
	Addr    string
}

// Config is what a gateway needs to know.
type Config struct {
	// Listen holds the addresses to serve. A second endpoint with port 0 takes
	// the port of the first one.
	Listen []Endpoint
	// Host is the name or address that Via and Contact carry; it is needed when
	// an endpoint listens on all addresses, and defaults to the endpoint's own.
	Host string
	// Domain stands in the URIs of presented numbers; it defaults to Host.
	Domain string
	// Trusted are the sources whose INVITEs, asserted identities and charging
	// marks are believed; all others are refused with 403. Empty: this machine.
	Trusted []netip.Prefix
	// NextHop takes the calls whose number has no contact and that carry no
	// further Route: "host:port" or a SIP URI, whose transport parameter counts.
	NextHop string
	// Contacts maps numbers, with or without '+', to the SIP URIs of phones.
	Contacts map[string]string
	// SessionExpires is the session interval we ask for on both legs, MinSE the
	// shortest we accept (RFC 4028). Zero: the defaults.
	SessionExpires, MinSE time.Duration
	// SetupMax bounds the time from INVITE to answer, Drain the wait of Run for
	// its calls when it is told to stop. Zero: the defaults.
	SetupMax, Drain time.Duration
	Logger          *slog.Logger
}

// Gateway serves SIP for a call service.
type Gateway struct {
	cfg       Config
	log       *slog.Logger
	routes    routes
	calls     calls
	metrics   *metrics
	ua        *sipgo.UserAgent
	server    *sipgo.Server
	client    *sipgo.Client
	listeners []*listener

	mu       sync.Mutex
	dialogs  map[dialogID]*dialog
	bridges  sync.WaitGroup
	draining bool

	senders  sync.WaitGroup  // goroutines of client transactions
	open     context.Context // ends with the gateway: every bridge and sender then ends
	closeAll context.CancelFunc
	stopOnce sync.Once
	stopErr  error
}

// New binds the listening addresses and returns a gateway that hands its calls
// to the service; Run serves. Errors name every fault of the configuration at
// once, and a taken port together with the setting that moves it.
func New(cfg Config, service *vpnlogic.Service) (*Gateway, error) {
	return newGateway(cfg, serviceCalls{service})
}

func newGateway(cfg Config, c calls) (*Gateway, error) {
	cfg = cfg.withDefaults()
	listeners, err := listenAll(cfg)
	if err != nil {
		return nil, err
	}
	g := &Gateway{
		cfg: cfg, log: cfg.Logger, calls: c, listeners: listeners,
		dialogs: make(map[dialogID]*dialog),
	}
	g.open, g.closeAll = context.WithCancel(context.Background())
	if err := g.build(); err != nil {
		g.closeAll()
		closeAll(listeners)
		return nil, err
	}
	return g, nil
}

func (c Config) withDefaults() Config {
	if len(c.Trusted) == 0 {
		c.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	orDefault(&c.SessionExpires, SessionExpiresDefault)
	orDefault(&c.MinSE, min(MinSEDefault, c.SessionExpires))
	orDefault(&c.SetupMax, SetupMaxDefault)
	orDefault(&c.Drain, DrainDefault)
	return c
}

func orDefault(d *time.Duration, value time.Duration) {
	if *d <= 0 {
		*d = value
	}
}

// build makes everything that needs no socket.
func (g *Gateway) build() error {
	var err error
	if g.cfg.Domain == "" {
		g.cfg.Domain = g.listeners[0].host
	}
	if g.routes, err = newRoutes(g.cfg, g.listeners); err != nil {
		return err
	}
	if g.metrics, err = newMetrics(); err != nil {
		return fmt.Errorf("sipgw: metrics: %w", err)
	}
	library := libraryLogger(g.log)
	g.ua, err = sipgo.NewUA(
		sipgo.WithUserAgent("gygate"),
		sipgo.WithUserAgentTransportLayerOptions(
			sip.WithTransportLayerLogger(library),
			sip.WithTransportLayerTransports(sip.TransportsConfig{
				TCP: &sip.TransportTCP{WriteTimeout: writeMax, ReadTimeout: idleMax},
			}),
		),
		sipgo.WithUserAgentTransactionLayerOptions(
			sip.WithTransactionLayerLogger(library),
			sip.WithTransactionLayerUnhandledResponseHandler(func(*sip.Response) {}),
		),
	)
	if err != nil {
		return fmt.Errorf("sipgw: user agent: %w", err)
	}
	if g.client, err = sipgo.NewClient(g.ua, sipgo.WithClientLogger(library)); err != nil {
		return fmt.Errorf("sipgw: client: %w", err)
	}
	if g.server, err = sipgo.NewServer(g.ua, sipgo.WithServerLogger(library)); err != nil {
		return fmt.Errorf("sipgw: server: %w", err)
	}
	g.handle()
	return nil
}

// Addrs are the addresses the gateway listens on, in the order of Listen, with
// the ports the system chose.
func (g *Gateway) Addrs() []Endpoint {
	addrs := make([]Endpoint, len(g.listeners))
	for i, l := range g.listeners {
		addrs[i] = Endpoint{Network: l.network, Addr: l.String()}
	}
	return addrs
}

// Run serves until Shutdown, or until ctx ends; then it shuts down by itself,
// waiting Drain for the calls. Its error is a listener's, or what made the
// shutdown incomplete.
func (g *Gateway) Run(ctx context.Context) error {
	var serving sync.WaitGroup
	failed := make(chan error, len(g.listeners))
	for _, l := range g.listeners {
		serving.Go(func() { failed <- l.serve(g.server) })
		g.log.Info("sip listening", "network", l.network, "addr", l.String())
		if room := l.receiveRoom(); room > 0 && room < receiveBuffer {
			g.log.Warn("sip receive buffer is small: bursts of calls lose messages; raise net.core.rmem_max", "addr", l.String(), "bytes", room, "want", receiveBuffer)
		}
	}
	var err error
	select {
	case <-g.open.Done():
	case <-ctx.Done():
	case err = <-failed:
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.cfg.Drain)
	defer cancel()
	stop := g.Shutdown(grace)
	serving.Wait()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("sipgw: listener: %w", err)
	}
	return stop
}

// Shutdown refuses new calls with 503, has the service release those there
// are, waits for both legs of each to be quiet, and closes the sockets; when
// ctx ends first it closes them at once and says how many calls were cut. The
// first call does it; all wait for it and return its result.
func (g *Gateway) Shutdown(ctx context.Context) error {
	g.stopOnce.Do(func() {
		g.mu.Lock()
		g.draining = true
		g.mu.Unlock()
		g.stopErr = errors.Join(g.calls.Shutdown(ctx), g.waitBridges(ctx))
		g.closeAll()
		g.bridges.Wait()
		g.senders.Wait() // one that sends later would open a socket of its own
		closeAll(g.listeners)
		// The user agent closes connections that its readers may close at the
		// same moment; that one of them comes second is no fault.
		if err := g.ua.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			g.stopErr = errors.Join(g.stopErr, fmt.Errorf("sipgw: close: %w", err))
		}
	})
	return g.stopErr
}

func (g *Gateway) waitBridges(ctx context.Context) error {
	quiet := make(chan struct{})
	go func() {
		g.bridges.Wait()
		close(quiet)
	}()
	select {
	case <-quiet:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("sipgw: calls cut at shutdown: %w", ctx.Err())
	}
}

// enter registers a bridge; false: no new calls are taken.
func (g *Gateway) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.draining {
		return false
	}
	g.bridges.Add(1)
	return true
}

func (g *Gateway) addDialog(d *dialog) {
	g.mu.Lock()
	g.dialogs[d.id()] = d
	g.mu.Unlock()
}

func (g *Gateway) removeDialog(d *dialog) {
	g.mu.Lock()
	delete(g.dialogs, d.id())
	g.mu.Unlock()
}

// findDialog returns the dialog a request inside one belongs to.
func (g *Gateway) findDialog(req *sip.Request) *dialog {
	tag, _ := req.To().Params.Get("tag")
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.dialogs[dialogID{req.CallID().Value(), tag}]
}

func (g *Gateway) trusted(source string) bool {
	addr, err := netip.ParseAddrPort(source)
	if err != nil {
		return false
	}
	for _, prefix := range g.cfg.Trusted {
		if prefix.Contains(addr.Addr().Unmap()) {
			return true
		}
	}
	return false
}

// listenerFor is where requests over a transport leave and answers come back.
func (g *Gateway) listenerFor(transport string) *listener {
	for _, l := range g.listeners {
		if strings.EqualFold(l.network, transport) {
			return l
		}
	}
	return g.listeners[0]
}
