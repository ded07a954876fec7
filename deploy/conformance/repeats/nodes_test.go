package repeats

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gygate/deploy/interop/harness"
	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/sql/sqltest"
)

const (
	ocsRealm    = "vpn.example"
	clientRealm = "interop.example"

	// connections is how many clients each node has, all of them pipelined.
	connections = 2
	// answerMax is how long a client waits before it repeats: far above what a
	// busy machine needs, because a killed node resets the connection at once.
	answerMax = 20 * time.Second
	// comeBack is how long one node is waited for before the other is asked.
	comeBack = 200 * time.Millisecond
)

// A call of the test takes milliseconds and reports minutes.
const nodeConfig = `
node:
  ocs: {host: %s, realm: vpn.example}
database: {dsn: "%s"}
diameter:
  listen: ["127.0.0.1:%d"]
  peers: [%s]
ocs:
  policy: {clock_tolerance: 24h}
http:
  listen: "127.0.0.1:%d"
`

// cluster is two charging nodes on one database, and clients of both.
type cluster struct {
	dsn        string
	nodes      [2]*node
	dictionary *diameter.Dictionary
}

// node is one charging node with the connections to it.
type node struct {
	*harness.Gygate
	host    string
	clients [connections]*peer.Client
	lives   atomic.Int64 // how often it was started
}

func clientHost(i int) string { return fmt.Sprintf("pgw%d.interop.example", i+1) }

// newCluster prepares two nodes on a fresh database with the given accounts, as
// CSV lines, and the tariff. They are not started yet.
func newCluster(t *testing.T, accounts ...string) *cluster {
	t.Helper()
	dictionary, err := diameter.NewDictionary()
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{dsn: sqltest.Database(t), dictionary: dictionary}
	for i := range c.nodes {
		c.nodes[i] = c.newNode(t, fmt.Sprintf("ocs%d.vpn.example", i+1))
	}
	books := c.nodes[0]
	if err := errors.Join(books.Import("tariff", harness.TariffPerSecond),
		books.Import("account", "msisdn,balance,currency\n"+strings.Join(accounts, ""))); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *cluster) newNode(t *testing.T, host string) *node {
	ports, err := harness.FreePorts()
	if err != nil {
		t.Fatal(err)
	}
	var peers []string
	for i := range connections {
		peers = append(peers, fmt.Sprintf("{host: %s, addresses: [127.0.0.1/32]}", clientHost(i)))
	}
	g, err := harness.New(gygate, "repeats", fmt.Sprintf(nodeConfig, host, c.dsn, ports.Diameter, strings.Join(peers, ", "), ports.HTTP), ports)
	if err != nil {
		t.Fatal(err)
	}
	g.Role = "ocs"
	t.Cleanup(func() {
		if err := errors.Join(g.Kill(), g.Remove()); err != nil {
			t.Error(err)
		}
	})
	return &node{Gygate: g, host: host}
}

// start starts a node and, the first time, its clients.
func (c *cluster) start(t *testing.T, n *node, env ...string) {
	t.Helper()
	if err := n.Start(t.Context(), env...); err != nil {
		t.Fatal(err)
	}
	if n.lives.Add(1) > 1 {
		return
	}
	for i := range n.clients {
		n.clients[i] = c.connect(t, n, clientHost(i))
	}
}

func (c *cluster) connect(t *testing.T, n *node, host string) *peer.Client {
	client, err := peer.NewClient(peer.ClientConfig{
		Local:      peer.Local{Host: host, Realm: clientRealm, OriginStateID: 1, Product: "repeats"},
		Peers:      []peer.Endpoint{{Address: fmt.Sprintf("127.0.0.1:%d", n.Ports.Diameter), Host: n.host}},
		Reconnect:  50 * time.Millisecond, // the node is back in half a second
		Dictionary: c.dictionary,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- client.Run(running) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	ctx, cancel := context.WithTimeout(t.Context(), answerMax)
	defer cancel()
	if err := client.WaitOpen(ctx); err != nil {
		t.Fatal(err)
	}
	return client
}

// restart kills a node and starts it again.
func (c *cluster) restart(ctx context.Context, n *node) error {
	if err := n.Kill(); err != nil {
		return err
	}
	if err := n.Start(ctx); err != nil {
		return err
	}
	n.lives.Add(1)
	return nil
}

// verify audits the whole books.
func (c *cluster) verify(t *testing.T) {
	t.Helper()
	out, err := c.nodes[1].Run("verify")
	if err != nil {
		t.Errorf("the books are wrong: %v", err)
	}
	t.Logf("%s", strings.TrimSpace(string(out)))
}
