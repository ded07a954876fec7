package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"gygate/deploy/interop/harness"
)

// relayReadyMax is how long freeDiameter may take to listen.
const relayReadyMax = 20 * time.Second

// relay is a freeDiameter in front of the charging systems: it listens on one
// port, for plain TCP or for TLS, and keeps a connection to every node.
type relay struct {
	*harness.Process
	host    string
	port    int
	tls     bool
	clients []string // their identities
}

// node is a charging system as the relay reaches it.
type node struct {
	host string
	port int
}

// The daemon wants a certificate even for plain TCP. Tc is short, so that a node
// that starts later is found soon; Tw is the least RFC 3539 allows. Version 1.2.1
// does not take a loopback address for ListenOn and listens on all of them, so it
// is the list of clients that keeps strangers out. Between nodes of equal score it
// draws lots for each request, hence the routes: they say which node is preferred.
const relayConfig = `
Identity = "%s";
Realm = "interop.example";
Port = %d;
SecPort = %d;
No_SCTP;
No_IPv6;
TcTimer = 1;
TwTimer = 6;
TLS_Cred = "%s", "%s";
TLS_CA = "%s";
LoadExtension = "acl_wl.fdx" : "%s";
LoadExtension = "rt_default.fdx" : "%s";
`

// relayRoute prefers one node to its equals; Destination-Host weighs more.
const relayRoute = "* : \"%s\" += DEFAULT ;\n"

// startRelay writes the configuration and returns when the relay listens. It
// prefers the first of the nodes as long as that one is connected.
func startRelay(ctx context.Context, dir string, r *relay, certs *harness.Certificates, nodes ...node) error {
	file, err := r.configure(dir, certs, nodes)
	if err != nil {
		return err
	}
	if r.Process, err = harness.StartProcess(exec.Command("freeDiameterd", "-c", file), r.log(dir)); err != nil {
		return err
	}
	return r.awaitListening(ctx, dir)
}

// configure writes the configuration and the files it names, and returns its path.
func (r *relay) configure(dir string, certs *harness.Certificates, nodes []node) (string, error) {
	own, err := certs.Issue(r.host)
	if err != nil {
		return "", err
	}
	// Who may connect; without ALLOW_IPSEC a client needs TLS.
	clients, routes := filepath.Join(dir, r.host+".clients"), filepath.Join(dir, r.host+".routes")
	plain, secure, allow, noTLS := r.port, 0, "ALLOW_IPSEC ", "No_TLS; "
	if r.tls {
		plain, secure, allow, noTLS = 0, r.port, "", ""
	}
	list := ""
	for _, host := range r.clients {
		list += allow + host + "\n"
	}
	config := fmt.Sprintf(relayConfig, r.host, plain, secure, own.Certificate, own.Key, certs.CA, clients, routes)
	for _, n := range nodes {
		config += fmt.Sprintf("ConnectPeer = \"%s\" { ConnectTo = \"127.0.0.1\"; Port = %d; %sNo_SCTP; };\n", n.host, n.port, noTLS)
	}
	file := filepath.Join(dir, r.host+".conf")
	return file, errors.Join(os.WriteFile(clients, []byte(list), 0o600),
		os.WriteFile(routes, fmt.Appendf(nil, relayRoute, nodes[0].host), 0o600),
		os.WriteFile(file, []byte(config), 0o600))
}

func (r *relay) log(dir string) string { return filepath.Join(dir, r.host+".log") }

func (r *relay) awaitListening(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, relayReadyMax)
	defer cancel()
	for {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", r.port))
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("freeDiameter does not listen on port %d, see %s", r.port, r.log(dir))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// awaitPeers waits until the node counts that many open connections to relays.
func awaitPeers(ctx context.Context, g *harness.Gygate, want int) error {
	ctx, cancel := context.WithTimeout(ctx, relayReadyMax)
	defer cancel()
	for {
		open, err := g.OpenPeers(ctx)
		if err == nil && open >= want {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d relays have connected to %s (%v)", open, want, strings.TrimSuffix(g.LogFile(), "/serve.log"), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
