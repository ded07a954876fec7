package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"

	"gygate/deploy/interop/harness"
	"gygate/diameter/peer"
)

const ocsRealm = "vpn.example"

// The clients: packet gateways and VPN logic, the odd ones behind the plain relay.
const (
	pgw1 = "pgw1.interop.example"
	pgw2 = "pgw2.interop.example"
	pgw3 = "pgw3.interop.example"
	vpn1 = "vpn1.interop.example"
	vpn2 = "vpn2.interop.example"
)

// nodeConfig is a charging node: plain TCP and TLS, relays as its only peers.
const nodeConfig = `
node:
  ocs: {host: %s, realm: vpn.example}
database: {dsn: "%s"}
diameter:
  listen: ["127.0.0.1:%d"]
  tls:
    listen: ["127.0.0.1:%d"]
    certificate_file: %s
    key_file: %s
    ca_file: %s
  watchdog: 6s
  peers:
    - {host: relay1.interop.example, addresses: [127.0.0.1/32]}
    - {host: relay2.interop.example, addresses: [127.0.0.1/32]}
ocs:
  policy: {slice_seconds: 4, threshold_seconds: 2, minimum_seconds: 1}
http:
  listen: "127.0.0.1:%d"
`

// callsConfig is VPN logic that has its calls charged behind a relay.
const callsConfig = `
node:
  vpn: {host: %s, realm: interop.example}
database: {dsn: "%s"}
charging:
  servers:
    - address: 127.0.0.1:%d
      host: %s
      realm: vpn.example
%s  tx: 10s
  watchdog: 6s
sip:
  listen: ["udp:127.0.0.1:%d", "tcp:127.0.0.1:%[6]d"]
  next_hop: "127.0.0.1:%d"
http:
  listen: "127.0.0.1:%d"
`

// lab is everything that runs: two charging nodes on one database, a relay for
// plain TCP and one for TLS.
type lab struct {
	bin   string
	dir   string
	db    *harness.Database
	certs *harness.Certificates
	nodes [2]*harness.Gygate
	plain *relay
	tls   *relay

	calls, secureCalls *harness.Gygate // VPN logic behind each relay

	folders []*harness.Gygate // deleted when all went well
	stops   []func() error    // last started, first stopped
}

func nodeHost(i int) string { return fmt.Sprintf("ocs%d.vpn.example", i+1) }

// newLab prepares the nodes and the relays. What runs is stopped by close, also after an error.
func newLab(ctx context.Context, bin string) (*lab, error) {
	l := &lab{bin: bin}
	var err error
	if l.dir, err = os.MkdirTemp("", "gygate-relay-"); err != nil {
		return l, err
	}
	if l.certs, err = harness.NewCertificates(); err != nil {
		return l, err
	}
	l.stops = append(l.stops, l.certs.Remove)
	if l.db, err = harness.NewDatabase(ctx); err != nil {
		return l, err
	}
	l.stops = append(l.stops, l.db.Close)
	for i := range l.nodes {
		if err := l.prepareNode(i); err != nil {
			return l, err
		}
	}
	l.plain = &relay{host: "relay1.interop.example", clients: []string{pgw1, pgw3, vpn1}}
	l.tls = &relay{host: "relay2.interop.example", clients: []string{pgw2, vpn2}, tls: true}
	for _, r := range []*relay{l.plain, l.tls} {
		ports, err := harness.FreePorts()
		if err != nil {
			return l, err
		}
		r.port = ports.Diameter
	}
	return l, nil
}

// start starts the first node, the relays in front of it, and VPN logic behind
// each.
func (l *lab) start(ctx context.Context) (err error) {
	if err := l.startNode(ctx, 0); err != nil {
		return err
	}
	if err := l.startRelays(ctx); err != nil {
		return err
	}
	if err := awaitPeers(ctx, l.nodes[0], 2); err != nil {
		return err
	}
	if l.calls, err = l.startCalls(ctx, vpn1, l.plain); err != nil {
		return err
	}
	l.secureCalls, err = l.startCalls(ctx, vpn2, l.tls)
	return err
}

func (l *lab) prepareNode(i int) error {
	ports, err := harness.FreePorts()
	if err != nil {
		return err
	}
	own, err := l.certs.Issue(nodeHost(i))
	if err != nil {
		return err
	}
	l.nodes[i], err = l.gygate(nodeHost(i), "ocs", ports, fmt.Sprintf(nodeConfig, nodeHost(i), l.db.DSN,
		ports.Diameter, ports.DiameterTLS, own.Certificate, own.Key, l.certs.CA, ports.HTTP))
	return err
}

func (l *lab) gygate(name, role string, ports harness.Ports, config string) (*harness.Gygate, error) {
	g, err := harness.New(l.bin, name, config, ports)
	if err != nil {
		return nil, err
	}
	g.Role = role
	l.folders = append(l.folders, g)
	return g, nil
}

func (l *lab) startNode(ctx context.Context, i int) error {
	l.stops = append(l.stops, l.nodes[i].Stop)
	return l.nodes[i].Start(ctx)
}

func (l *lab) startRelays(ctx context.Context) error {
	for _, r := range []*relay{l.plain, l.tls} {
		var behind []node
		for i, g := range l.nodes {
			port := g.Ports.Diameter
			if r.tls {
				port = g.Ports.DiameterTLS
			}
			behind = append(behind, node{nodeHost(i), port})
		}
		err := startRelay(ctx, l.dir, r, l.certs, behind...)
		if r.Process != nil {
			// An orderly end would wait long for peers that are gone already.
			l.stops = append(l.stops, r.Kill)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// startCalls starts a VPN logic that charges behind the relay.
func (l *lab) startCalls(ctx context.Context, host string, r *relay) (*harness.Gygate, error) {
	ports, err := harness.FreePorts()
	if err != nil {
		return nil, err
	}
	secure := ""
	if r.tls {
		own, err := l.certs.Issue(host)
		if err != nil {
			return nil, err
		}
		secure = fmt.Sprintf("      tls: {ca_file: %s, certificate_file: %s, key_file: %s, server_name: %s}\n", l.certs.CA, own.Certificate, own.Key, r.host)
	}
	g, err := l.gygate(host, "vpn", ports, fmt.Sprintf(callsConfig, host, l.db.DSN, r.port, r.host, secure, ports.SIP, ports.Phones, ports.HTTP))
	if err != nil {
		return nil, err
	}
	l.stops = append(l.stops, g.Stop)
	return g, g.Start(ctx)
}

// startGateway starts a packet gateway that charges behind the relay.
func (l *lab) startGateway(ctx context.Context, host string, r *relay) (*gateway, error) {
	var secure *tls.Config
	if r.tls {
		own, err := l.certs.Issue(host)
		if err != nil {
			return nil, err
		}
		if secure, err = peer.ClientTLS(own.Certificate, own.Key, l.certs.CA, r.host); err != nil {
			return nil, err
		}
	}
	g, err := startGateway(ctx, host, r, secure)
	if err == nil {
		l.stops = append(l.stops, func() error { g.stop(); return nil })
	}
	return g, err
}

// close stops everything, and deletes the folders when all went well.
func (l *lab) close(failed bool) error {
	var faults []error
	for len(l.stops) > 0 {
		last := len(l.stops) - 1
		faults = append(faults, l.stops[last]())
		l.stops = l.stops[:last]
	}
	if failed {
		fmt.Println("\nlogs and captures are in", l.dir)
		for _, g := range l.folders {
			fmt.Println("                     and", g.Dir)
		}
		return errors.Join(faults...)
	}
	for _, g := range l.folders {
		faults = append(faults, g.Remove())
	}
	return errors.Join(append(faults, os.RemoveAll(l.dir))...)
}
