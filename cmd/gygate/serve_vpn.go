package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"gygate/cmd/gygate/config"
	"gygate/diameter"
	"gygate/diameter/gy"
	"gygate/diameter/gy/pgkeeper"
	"gygate/diameter/peer"
	"gygate/vpnlogic"
	"gygate/vpnlogic/pgdirectory"
	"gygate/vpnlogic/sipgw"
)

// vpnSide is the VPN logic with its adapters.
type vpnSide struct {
	directory *pgdirectory.Provider
	client    *peer.Client
	asked     *gy.CallServer
	charger   *gy.Client
	service   *vpnlogic.Service
	gateway   *sipgw.Gateway
}

// wireVPN builds the VPN logic: directory, credit-control client, service and
// SIP gateway. Calls are charged over a real Diameter connection, also inside
// one process.
func (m *Main) wireVPN(ctx context.Context) error {
	v := new(vpnSide)
	var err error
	if v.directory, err = pgdirectory.Open(ctx, m.books.pool, m.opt.Logger); err != nil {
		return exitWith(exitUnreachable, fmt.Errorf("directory: %w", err))
	}
	if err := m.wireCharging(ctx, v); err != nil {
		return err
	}
	v.service = vpnlogic.NewService(vpnlogic.ServiceConfig{
		Directory: v.directory.Current,
		Charger:   v.charger,
		Recorder:  pgdirectory.NewRecorder(m.books.pool),
		Observer:  observers{callLog{m.opt.Logger}, m.opt.Observer},
		CallsMax:  m.cfg.VPN.CallsMax,
		CallMax:   m.cfg.VPN.CallMax,
		SetUpMax:  m.cfg.SIP.SetupMax,
		Logger:    m.opt.Logger,
	})
	v.asked.Attach(v.service)
	m.closes = append(m.closes, func() error { return m.dismiss(v) })
	if v.gateway, err = sipgw.New(m.gatewayConfig(), v.service); err != nil {
		return exitWith(exitUnreachable, err)
	}
	m.calls = v
	m.parts.add(part{name: "directory", run: v.directory.Run})
	m.parts.add(part{name: "Diameter client", run: v.client.Run})
	// Last reports that nobody answered yet want the connections one more time.
	m.parts.add(part{name: "late charging", run: v.charger.Run, stop: v.charger.Shutdown})
	m.parts.add(part{name: "SIP", run: v.gateway.Run, stop: v.gateway.Shutdown})
	m.checks = append(m.checks,
		check{"diameter", func(context.Context) error { return openPeer(v.client) }},
		check{"sip", func(context.Context) error { return nil }}) // its sockets were bound by New
	return nil
}

// dismiss ends a VPN side that was wired but never ran: Run ends it otherwise.
func (m *Main) dismiss(v *vpnSide) error {
	if m.ran {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), graceMargin)
	defer cancel()
	if v.gateway == nil {
		return v.service.Shutdown(ctx)
	}
	return v.gateway.Shutdown(ctx)
}

// wireCharging builds the Diameter client and the charger on it.
func (m *Main) wireCharging(ctx context.Context, v *vpnSide) error {
	start, err := m.admin.NextStart(ctx, m.cfg.Node.VPN.Host)
	if err != nil {
		return exitWith(exitUnreachable, err)
	}
	endpoints, err := m.endpoints()
	if err != nil {
		return exitWith(exitConfig, err)
	}
	dictionary, err := diameter.NewDictionary()
	if err != nil {
		return fmt.Errorf("dictionary: %w", err)
	}
	id := m.cfg.Node.VPN
	keeper, err := pgkeeper.Open(ctx, m.books.pool, id.Host)
	if err != nil {
		return exitWith(exitUnreachable, err)
	}
	origin := diameter.Origin{Host: id.Host, Realm: id.Realm, StateID: start}
	v.asked = gy.NewCallServer(gy.CallServerConfig{
		Local: origin, Logger: m.opt.Logger,
		Realm: func(session string) string { return v.charger.ServerRealm(session) }, // no request comes before the charger is made
	})
	v.client, err = peer.NewClient(peer.ClientConfig{
		Local: peer.Local{Host: id.Host, Realm: id.Realm, OriginStateID: start, Product: "gygate"},
		Peers: endpoints, Watchdog: m.cfg.Charging.Watchdog, Reconnect: m.reconnect(),
		Dictionary: dictionary, Logger: m.opt.Logger,
	}, v.asked)
	if err != nil {
		return exitWith(exitConfig, fmt.Errorf("charging: %w", err))
	}
	v.charger = gy.NewClient(m.clientConfig(origin, keeper), tapRequests(v.client))
	if m.tariff != nil && len(m.cfg.Charging.Servers) == 0 {
		m.tariff.changed = v.charger.RatingChanged
	}
	return nil
}

// ownReconnect is how often the listener of this very process is tried: while VPN
// logic has no charging system no prepaid call can be set up, and nobody else is
// bothered.
const ownReconnect = 5 * time.Second

// reconnect is the pause between attempts to connect (Tc, RFC 6733 §12).
func (m *Main) reconnect() time.Duration {
	if len(m.cfg.Charging.Servers) == 0 {
		return min(m.cfg.Charging.Reconnect, ownReconnect)
	}
	return m.cfg.Charging.Reconnect
}

// failureHandling is Credit-Control-Failure-Handling by its word in the
// configuration.
var failureHandling = map[string]vpnlogic.FailureHandling{
	config.FailTerminate: vpnlogic.FailTerminate, config.FailContinue: vpnlogic.FailContinue,
	config.FailRetryAndTerminate: vpnlogic.FailRetryAndTerminate,
}

// clientConfig is the charging section in the credit-control client's terms.
func (m *Main) clientConfig(origin diameter.Origin, keeper gy.Keeper) gy.ClientConfig {
	realm := m.cfg.Node.OCS.Realm
	if servers := m.cfg.Charging.Servers; len(servers) > 0 && servers[0].Realm != "" {
		realm = servers[0].Realm
	}
	return gy.ClientConfig{
		Local: origin, Keeper: keeper, RatingBlock: cmp.Or(m.cfg.Charging.RatingBlock, -1),
		Realm: realm, Tx: m.cfg.Charging.Tx, FailureHandling: failureHandling[m.cfg.Charging.OnFailure],
		TraceInSessionID: m.cfg.Telemetry.TraceInSessionID, Logger: m.opt.Logger,
	}
}

// endpoints are the configured charging systems, or our own listener.
func (m *Main) endpoints() ([]peer.Endpoint, error) {
	if len(m.cfg.Charging.Servers) == 0 {
		if m.diameterAddr == nil {
			return nil, errors.New("charging.servers is empty and this process has no diameter.listen: nobody could charge the calls")
		}
		return []peer.Endpoint{{Address: reachable(m.diameterAddr), Host: m.cfg.Node.OCS.Host, Realm: m.cfg.Node.OCS.Realm}}, nil
	}
	var all []peer.Endpoint
	for i, s := range m.cfg.Charging.Servers {
		secure, err := clientTLS(s.TLS)
		if err != nil {
			return nil, fmt.Errorf("charging.servers[%d].tls: %w", i, err)
		}
		all = append(all, peer.Endpoint{Address: s.Address, Host: s.Host, Realm: s.Realm, Transport: s.Transport, TLS: secure, Priority: s.Priority})
	}
	return all, nil
}

func clientTLS(t config.ClientTLS) (*tls.Config, error) {
	if t == (config.ClientTLS{}) {
		return nil, nil
	}
	return peer.ClientTLS(t.Certificate, t.Key, t.CA, t.ServerName)
}

// reachable is where to connect for a listener, which may listen on all
// addresses.
func reachable(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return a.String()
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(tcp.Port))
}

// openPeer is nil when at least one charging system is connected.
func openPeer(c *peer.Client) error {
	now, cancel := context.WithCancel(context.Background())
	cancel() // look, do not wait
	if c.WaitOpen(now) == nil {
		return nil
	}
	var seen []string
	for _, p := range c.Peers() {
		seen = append(seen, p.Address+" "+p.State)
	}
	return fmt.Errorf("no charging system is connected: %s", strings.Join(seen, ", "))
}

// gatewayConfig is the SIP section in the gateway's terms.
func (m *Main) gatewayConfig() sipgw.Config {
	s := m.cfg.SIP
	c := sipgw.Config{
		Host: s.Host, NextHop: s.NextHop, Contacts: s.Contacts,
		SessionExpires: s.SessionExpires, SetupMax: s.SetupMax, Drain: s.Drain, Logger: m.opt.Logger,
	}
	for _, l := range s.Listen {
		network, address, _ := strings.Cut(l, ":")
		c.Listen = append(c.Listen, sipgw.Endpoint{Network: network, Addr: address})
	}
	for _, network := range s.Trusted {
		c.Trusted = append(c.Trusted, netip.MustParsePrefix(network)) // checked by the configuration
	}
	return c
}
