package peer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"gygate/diameter"
)

// Client keeps a connection to each of its peers and sends requests with
// failover. It is the initiator of RFC 6733 §5.6, under the watchdog of RFC 3539.
type Client struct {
	*node
	cfg       ClientConfig
	endpoints []*endpoint
	running   atomic.Bool

	mu     sync.Mutex
	opened chan struct{} // closed and replaced when a peer becomes usable
}

// NewClient checks the configuration, all of it, and returns a client that
// connects when Run is called. h serves requests that come from the servers (RAR,
// ASR); nil answers them with 3001.
func NewClient(cfg ClientConfig, h Handler) (*Client, error) {
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("diameter client: %w", err)
	}
	c := &Client{
		node: &node{
			local: cfg.Local, dict: cfg.Dictionary, log: cfg.Logger, handler: h,
			endToEnd: newEndToEnd(), metrics: newMetrics("client"), writeTimeout: cfg.WriteTimeout,
			queueMax: queueMaxDefault, processingMax: processingMaxDefault, pendingMax: cfg.PendingMax,
		},
		cfg:    cfg,
		opened: make(chan struct{}),
	}
	if h != nil {
		c.commands = clientCommands
	}
	for _, e := range cfg.Peers {
		c.endpoints = append(c.endpoints, newEndpoint(c, e))
	}
	return c, nil
}

// Run connects to all peers and keeps the connections until ctx ends. Then it
// waits some seconds for answers on their way, sends DPR (REBOOTING), waits at
// most 5 s for each DPA, closes, and returns nil. It may be called again after it
// has returned.
func (c *Client) Run(ctx context.Context) error {
	if !c.running.CompareAndSwap(false, true) {
		return errors.New("diameter client: runs already")
	}
	defer c.running.Store(false)
	defer c.metrics.observe(c.Peers, c.queued)()
	var all sync.WaitGroup
	for _, e := range c.endpoints {
		all.Go(func() { e.run(ctx) })
	}
	all.Wait()
	return nil
}

// WaitOpen waits until some peer is usable.
func (c *Client) WaitOpen(ctx context.Context) error {
	for {
		opened := c.signal()
		for _, e := range c.endpoints {
			if e.usable() != nil {
				return nil
			}
		}
		select {
		case <-opened:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrNoPeer, ctx.Err())
		}
	}
}

func (c *Client) signal() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.opened
}

// changed wakes WaitOpen when a peer has become usable.
func (c *Client) changed(usable bool) {
	if !usable {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.opened)
	c.opened = make(chan struct{})
}

// Do sends one request and returns its answer. ctx bounds the wait (Tx).
//
// Peers are tried in the order of their priority, each at most once, with one
// End-to-End Identifier, which Answer carries even beside an error. The next peer
// gets the request when
//   - nothing was sent on this one;
//   - it answered 3002, 3004, 3005 or 3006, and the request may be moved (no
//     Stay, or Failover): with T clear, because this peer has not executed it;
//   - it fell silent or was lost, and Failover is set: with T set, because it may
//     have executed it (RFC 6733 §3, §5.5.4).
//
// Without a next peer the last answer is returned as it is; after silence
// anywhere the error is ErrNoAnswer, whatever another peer answered.
func (c *Client) Do(ctx context.Context, r Request) (Answer, error) {
	a := newAttempt(r, c.endToEnd)
	p := picking{client: c, request: r, known: c.knows(r.Stay)}
	for ctx.Err() == nil && a.on(ctx, p.next()) {
	}
	if err := ctx.Err(); err != nil && errors.Is(a.err, ErrNoPeer) {
		a.err = fmt.Errorf("%w: %w", ErrNoPeer, err)
	}
	return a.answer, a.err
}

// picking is the choice of one Do among the client's peers.
type picking struct {
	client  *Client
	request Request
	known   bool   // Stay is one of our own peers
	tried   uint64 // by endpoint index
}

// next takes the best usable peer not yet tried, nil when none is left: any but
// Avoid, then the class of Stay, then priority, then the fewest requests without
// an answer.
func (p *picking) next() *conn {
	var best *conn
	var bit uint64
	var top rank
	for i, e := range p.client.endpoints {
		conn := e.usable()
		if conn == nil || p.tried&(1<<i) != 0 {
			continue
		}
		class, allowed := p.class(conn)
		r := rank{avoided(p.request, conn), class, e.cfg.Priority, conn.pending.len()}
		if allowed && (best == nil || r.compare(top) < 0) {
			best, bit, top = conn, 1<<i, r
		}
	}
	p.tried |= bit
	return best
}

// class says how well a peer keeps Stay: 0 is that node itself (or there is no
// Stay), 1 a way to it, 2 another node, which needs Failover. A host that is none
// of our peers was met behind one of them, so each may be a way.
func (p *picking) class(conn *conn) (class int, allowed bool) {
	switch {
	case p.request.Stay == "", diameter.SameIdentity(p.request.Stay, conn.remote.Host):
		return 0, true
	case conn.remote.Relay, !p.known:
		return 1, true
	}
	return 2, p.request.Failover
}

// knows reports whether one of our peers has, or had, that identity.
func (c *Client) knows(host string) bool {
	for _, e := range c.endpoints {
		if diameter.SameIdentity(e.identity(), host) {
			return true
		}
	}
	return false
}

// alone reports whether no peer but e is usable.
func (c *Client) alone(e *endpoint) bool {
	for _, other := range c.endpoints {
		if other != e && other.usable() != nil {
			return false
		}
	}
	return true
}

// hurry brings peers on probation back quickly after e was lost.
func (c *Client) hurry(e *endpoint) {
	for _, other := range c.endpoints {
		if other != e {
			other.watch.hurry()
		}
	}
}

// Peers describes all peers in the order of the configuration.
func (c *Client) Peers() []Status {
	all := make([]Status, 0, len(c.endpoints))
	for _, e := range c.endpoints {
		all = append(all, e.status())
	}
	return all
}

func (c *Client) queued() int {
	n := 0
	for _, e := range c.endpoints {
		if conn := e.conn.Load(); conn != nil {
			n += conn.out.depth()
		}
	}
	return n
}
