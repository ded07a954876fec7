package sipload

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// callees answer every call at once. All they keep is the answer that is not yet
// acknowledged, which they have to repeat (RFC 3261 §13.3.1.4); a request that comes
// again gets the same answer again.
type callees struct {
	conn    *net.UDPConn
	contact string
	took    []atomic.Int64 // by call: nanoseconds from INVITE to 200
	out     []byte

	mu       sync.Mutex
	unacked  map[string]*answer // by Call-ID
	repeated int
}

// answer is a 200 whose ACK has not come.
type answer struct {
	text []byte
	to   netip.AddrPort
	sent time.Time
	wait time.Duration // until it is repeated
}

func newCallees(address string, calls int) (*callees, error) {
	local, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, fmt.Errorf("sipload: callees: %w", err)
	}
	conn, err := net.ListenUDP("udp", local)
	if err != nil {
		return nil, fmt.Errorf("sipload: callees: %w", err)
	}
	if err := conn.SetReadBuffer(socketBuffer); err != nil {
		return nil, fmt.Errorf("sipload: callees: %w", err)
	}
	return &callees{
		conn: conn, took: make([]atomic.Int64, calls), unacked: make(map[string]*answer),
		contact: "Contact: <sip:callee@" + conn.LocalAddr().String() + ">\r\nAllow: INVITE, ACK, BYE, CANCEL, UPDATE\r\nSupported: timer\r\n",
	}, nil
}

// receive answers a request.
func (c *callees) receive(m message, at time.Time) {
	switch {
	case m.is("INVITE"):
		c.reply(m, appendNoBody(append(appendResponse(c.out[:0], m, "180 Ringing", "callee"), c.contact...)))
		ok := append(appendResponse(c.out[:0], m, "200 OK", "callee"), c.contact...)
		ok = appendBody(appendTimer(ok, m))
		c.note(m, at, ok)
		c.reply(m, ok)
	case m.is("ACK"):
		c.mu.Lock()
		delete(c.unacked, string(m.header("Call-ID")))
		c.mu.Unlock()
	case m.is("UPDATE"):
		ok := append(appendResponse(c.out[:0], m, "200 OK", "callee"), c.contact...)
		c.reply(m, appendNoBody(appendTimer(ok, m)))
	case m.is("BYE"), m.is("CANCEL"):
		c.reply(m, appendNoBody(appendResponse(c.out[:0], m, "200 OK", "callee")))
	}
}

// note keeps the answer, and how long the callee had the INVITE.
func (c *callees) note(m message, at time.Time, ok []byte) {
	c.mu.Lock()
	c.unacked[string(m.header("Call-ID"))] = &answer{bytes.Clone(ok), m.from, at, firstRepeat}
	c.mu.Unlock()
	if call := callOf(m); call >= 0 && call < len(c.took) {
		c.took[call].Store(int64(time.Since(at)))
	}
}

// appendTimer agrees to the session timer that a request asks for (RFC 4028).
func appendTimer(b []byte, request message) []byte {
	if asked := request.header("Session-Expires"); asked != nil {
		b = append(append(append(b, "Require: timer\r\nSession-Expires: "...), asked...), lineEnd...)
	}
	return b
}

// reply sends to where the request came from. One that cannot be sent is one that is
// lost: the gateway repeats its request.
func (c *callees) reply(m message, response []byte) {
	c.out = response
	_, _ = c.conn.WriteToUDPAddrPort(response, m.from)
}

// repeatUnacked repeats the answers whose ACK is missing.
func (c *callees) repeatUnacked(ctx context.Context) {
	for rest(ctx, sweepPeriod) == nil {
		c.mu.Lock()
		for id, a := range c.unacked {
			switch since := time.Since(a.sent); {
			case a.wait > giveUp:
				delete(c.unacked, id)
			case since > a.wait:
				a.sent, a.wait = time.Now(), 2*a.wait
				c.repeated++
				_, _ = c.conn.WriteToUDPAddrPort(a.text, a.to)
			}
		}
		c.mu.Unlock()
	}
}
