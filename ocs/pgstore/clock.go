package pgstore

import (
	"sync"
	"time"
)

const (
	// clockAge is how long a reading of the database's clock serves before a
	// batch loads another.
	clockAge = time.Second
	// clockPrecise is the longest round trip whose middle is when it was read.
	clockPrecise = 5 * time.Millisecond
	// clockJitter is the largest step back that is smoothed out: two readings differ
	// by half a round trip. A longer one is a clock that was set.
	clockJitter = time.Second
)

// clock is the database's clock, which is the time for every deadline: read when
// something is loaded, and reckoned from the last reading by this machine's
// monotonic clock where a batch needs nothing loaded.
type clock struct {
	mu     sync.Mutex
	server time.Time // the last reading ...
	local  time.Time // ... and when it was taken here
	last   time.Time // the last time given out
}

// set takes a reading that was asked for at one moment and arrived at another. One
// that took long waited for locks and was taken at the end.
func (c *clock) set(server, asked, arrived time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.server, c.local = server, arrived
	if way := arrived.Sub(asked); way < clockPrecise {
		c.local = asked.Add(way / 2)
	}
}

// exact gives out a reading that was just taken.
func (c *clock) exact(server time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.give(server)
}

// now reckons the database's time. fresh is false when no reading, or only an old
// one, is there.
func (c *clock) now() (now time.Time, fresh bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	age := time.Since(c.local)
	return c.give(c.server.Add(age)), !c.server.IsZero() && age < clockAge
}

func (c *clock) give(t time.Time) time.Time {
	t = t.UTC().Truncate(time.Microsecond)
	if back := c.last.Sub(t); back > 0 && back < clockJitter {
		return c.last
	}
	c.last = t
	return t
}
