package load

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"gygate/diameter"
	"gygate/ocs"
)

const (
	bufferSize = 256 << 10 // of what is read, and of what is to be written: a whole batch
	// tick is how often a connection looks whether it is to end, and for requests
	// without an answer.
	tick = 50 * time.Millisecond
	// What the histograms tell apart: microseconds up to two minutes, to three digits.
	latencyMax    = 120_000_000
	latencyDigits = 3
)

// conn is one connection with the sessions on it. All of it belongs to the goroutine
// in run, but for stop and seen.
type conn struct {
	config    *Config
	local     diameter.Origin
	nc        net.Conn
	templates [phases]*template
	first     phase // of a session
	pick      picker
	random    *rand.Rand

	slots       []slot
	idle        []uint32 // slots without a session
	underWay    int      // those with one
	lastSession uint32   // low half of the latest Session-Id
	lastEnd     uint32   // End-to-End Identifier

	in, out []byte        // what was read and not handled yet; what is to be written
	wake    time.Duration // the read deadline that is set
	told    bool          // the peer is about to disconnect

	began    time.Time
	now      time.Duration // since began, when this round's answers had been read
	stamp    uint32        // the same as NTP seconds
	nextTick time.Duration
	until    time.Duration // when sessions begin no more; 0: never
	budget   int64         // how many sessions may still begin
	gap      time.Duration // between two arrivals in the open loop; 0: closed loop
	arrival  time.Duration // of the next one

	counts
	latency *hdrhistogram.Histogram             // in microseconds, repeats left out
	codes   map[diameter.ResultCode]*refusalsOf // of answers that are no success, repeats left out
	window  window

	stop atomic.Bool            // no session is to begin any more
	seen atomic.Pointer[counts] // for progress
}

// counts are what a connection counts. A request and its repeat are one.
type counts struct {
	sent      int64
	answered  int64
	success   int64 // of answered
	started   int64 // sessions or events
	finished  int64
	refused   int64 // sessions whose CCR-I was refused
	repeated  int64
	differing int64 // repeats answered in another way
	lost      int64 // requests without an answer
	stray     int64 // answers nobody waited for any more
	unsent    int64 // sessions that were due, but could not begin up to the end
	unpriced  int64 // final answers without Cost-Information
	cost      ocs.Money
}

// run loads until there is nothing more to send and all is answered or given up.
func (c *conn) run() error {
	c.tell()
	c.fill()
	for {
		if err := c.flush(); err != nil {
			return c.broken("write", err)
		}
		if c.over() {
			return nil
		}
		if err := c.read(); err != nil {
			return c.broken("read", err)
		}
		if err := c.handle(); err != nil {
			return c.broken("answers", err)
		}
		c.measure()
		c.fill()
		if c.now >= c.nextTick {
			if err := c.onTick(); err != nil {
				return c.broken("connection", err)
			}
		}
	}
}

// tell reads the clock.
func (c *conn) tell() {
	c.now = time.Since(c.began)
	c.stamp = ntpSeconds(c.began.Add(c.now))
}

// more reports whether another session is to begin, now or later. What was due in the
// open loop is still sent after the end, as long as somebody could wait for it.
func (c *conn) more() bool {
	switch {
	case c.budget <= 0, c.told, c.stop.Load():
		return false
	case c.until == 0:
		return true
	case c.gap == 0:
		return c.now < c.until
	default:
		return c.arrival < c.until && c.now < c.until+c.config.Timeout
	}
}

func (c *conn) over() bool { return c.told || c.underWay == 0 && !c.more() }

// fill begins the sessions that are due and have a slot.
func (c *conn) fill() {
	for len(c.idle) > 0 && c.more() {
		due := c.now
		if c.gap > 0 {
			if c.arrival > c.now {
				return
			}
			due = c.arrival
			c.arrival += c.gap
		}
		last := len(c.idle) - 1
		i := c.idle[last]
		c.idle = c.idle[:last]
		c.begin(i, due)
	}
}

func (c *conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	_, err := c.nc.Write(c.out)
	c.out = c.out[:0]
	return err
}

// read waits for octets, but not beyond the next tick or arrival.
func (c *conn) read() error {
	wake := c.nextTick
	if c.gap > 0 && len(c.idle) > 0 && c.more() {
		wake = min(wake, c.arrival)
	}
	if wake != c.wake {
		if err := c.nc.SetReadDeadline(c.began.Add(wake)); err != nil {
			return err
		}
		c.wake = wake
	}
	if len(c.in) == cap(c.in) { // a single message fills it
		c.in = append(make([]byte, 0, 2*cap(c.in)), c.in...)
	}
	n, err := c.nc.Read(c.in[len(c.in):cap(c.in)])
	c.in = c.in[:len(c.in)+n]
	c.tell()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// handle takes the whole messages that have arrived.
func (c *conn) handle() error {
	b := c.in
	for len(b) >= diameter.HeaderLen {
		length, err := diameter.CheckHeader(b)
		if err != nil {
			return err
		}
		if len(b) < length {
			break
		}
		m, err := diameter.ParseMessage(b[:length])
		if err != nil {
			return err
		}
		c.take(m)
		b = b[length:]
	}
	c.in = c.in[:copy(c.in, b)]
	return nil
}

// take handles one message.
func (c *conn) take(m diameter.Message) {
	switch {
	case !m.Request() && m.Command == diameter.CmdCreditControl:
		c.settle(m.HopByHop, m.Body())
	case !m.Request():
		c.stray++
	case m.Command == diameter.CmdDeviceWatchdog:
		c.out = appendBaseAnswer(c.out, m.Header, c.local)
	case m.Command == diameter.CmdDisconnectPeer:
		c.out = appendBaseAnswer(c.out, m.Header, c.local)
		c.told = true
	default: // a RAR or ASR: the sessions here end by themselves
		refusal := &diameter.Error{Code: diameter.CommandUnsupported, Text: "a load generator"}
		c.out = diameter.ErrorAnswer(c.out, m, refusal, c.local)
	}
}

// onTick does what wants doing now and then.
func (c *conn) onTick() error {
	c.giveUp(c.config.Timeout)
	now := c.counts
	c.seen.Store(&now)
	c.nextTick = c.now + tick
	return c.nc.SetWriteDeadline(c.began.Add(c.nextTick + c.config.Timeout))
}

// broken counts what waits on a connection that is no more.
func (c *conn) broken(what string, err error) error {
	for i := range c.slots {
		if c.slots[i].waits != 0 {
			c.lost++
		}
	}
	return fmt.Errorf("connection of %s: %s: %w", c.local.Host, what, err)
}

// finish closes the connection and its accounts.
func (c *conn) finish() error {
	c.measure()
	c.closeWindow()
	if c.gap > 0 && c.until > 0 && c.arrival < c.until && !c.stop.Load() {
		c.unsent += int64((c.until - c.arrival) / c.gap)
	}
	if c.told {
		c.nc.Close()
		return c.broken("answers", errors.New("the peer disconnected"))
	}
	return disconnect(c.nc, c.local)
}
