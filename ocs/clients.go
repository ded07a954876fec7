package ocs

import (
	"context"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The limits of what is remembered of clients.
const (
	// ClientsMax bounds the clients whose Origin-State-Id is remembered; beyond it
	// all are forgotten, which costs each one write when it is seen again.
	ClientsMax = 4096
	// startsMax bounds the rises that wait to be stored; what does not fit is seen
	// again with the client's next request.
	startsMax = 256
	// startRetry is how long after a failure a rise is tried again.
	startRetry = time.Second
)

// clients remembers the highest Origin-State-Id of each client and has a rise
// stored, off the charging path: a look-up takes no lock.
type clients struct {
	engine *Engine
	known  atomic.Pointer[map[string]uint32] // by host in lower case; never changed, only replaced
	mu     sync.Mutex                        // of those who replace it
	rises  chan clientStart
	told   map[string]bool // by host: run could not store the last try, and that was logged
}

// clientStart is a client and the Origin-State-Id it began with.
type clientStart struct {
	host  string
	state uint32
}

func newClients(e *Engine) *clients {
	c := &clients{engine: e, rises: make(chan clientStart, startsMax), told: map[string]bool{}}
	c.known.Store(&map[string]uint32{})
	return c
}

// ClientState notes the Origin-State-Id that a client shows in a request of its
// own, at the base protocol or here. A higher one than before means that it has
// lost its earlier sessions (RFC 6733 §8.6): after OrphanGrace the sweeper ends
// them. 0 means nothing, a lower one is ignored. It never blocks.
func (e *Engine) ClientState(host string, state uint32) {
	if state == 0 || host == "" {
		return
	}
	host = strings.ToLower(host)
	if (*e.clients.known.Load())[host] < state {
		e.clients.rise(clientStart{host, state})
	}
}

// rise has a higher value stored, and remembers it when it could be queued.
func (c *clients) rise(s clientStart) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if (*c.known.Load())[s.host] >= s.state {
		return // somebody was faster
	}
	select {
	case c.rises <- s:
	default:
		return
	}
	known := maps.Clone(*c.known.Load())
	if len(known) >= ClientsMax {
		clear(known)
	}
	known[s.host] = s.state
	c.known.Store(&known)
}

// forget has what every client shows be stored again: the store may have lost it.
func (c *clients) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known.Store(&map[string]uint32{})
}

// run stores rises until ctx ends. One that fails is tried again after the others: as
// long as it is remembered nobody tells it a second time.
func (c *clients) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-c.rises:
			if c.store(ctx, s) {
				continue
			}
			c.again(s)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(startRetry):
		}
	}
}

// store tries to store a rise, and logs the first failure of each client.
func (c *clients) store(ctx context.Context, s clientStart) (stored bool) {
	err := c.engine.store.ClientStarted(ctx, s.host, s.state)
	if err == nil {
		delete(c.told, s.host)
		return true
	}
	if ctx.Err() == nil && !c.told[s.host] {
		c.engine.log.Error("the restart of a client cannot be stored; its old sessions keep their freezes until it can",
			"peer", s.host, "err", err)
		c.told[s.host] = true
	}
	return false
}

// again puts a rise behind the others, unless a higher one waits there. When there is no
// room, it is forgotten, and so seen again with the client's next request.
func (c *clients) again(s clientStart) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if (*c.known.Load())[s.host] > s.state {
		return
	}
	select {
	case c.rises <- s:
	default:
		known := maps.Clone(*c.known.Load())
		delete(known, s.host)
		c.known.Store(&known)
		delete(c.told, s.host)
	}
}
