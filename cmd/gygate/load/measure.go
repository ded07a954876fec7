package load

import (
	"time"

	"gygate/diameter"
)

// window is the measured part of a load: from the end of the warm-up until sessions
// begin no more. What is answered outside is counted, but is not part of the rate.
type window struct {
	state       windowState
	from, until time.Duration
	before      int64 // answered before it
	answered    int64 // within it
}

type windowState uint8

const (
	warming windowState = iota
	measuring
	measured
)

// record counts the answer to a request that is no repeat.
func (c *conn) record(took time.Duration, code diameter.ResultCode) {
	c.answered++
	// The histogram refuses only what is beyond its bounds.
	_ = c.latency.RecordValue(min(max(took.Microseconds(), 1), latencyMax))
	if code == diameter.Success {
		c.success++
		return
	}
	if _, known := c.codes[code]; !known && len(c.codes) == codesMax {
		code = 0
	}
	c.codes[code]++
}

// codesMax bounds the different Result-Codes that are told apart.
const codesMax = 64

// measure opens and closes the window when it is time to.
func (c *conn) measure() {
	w := &c.window
	if w.state == warming && (c.now >= c.config.Warmup || !c.more()) {
		w.state, w.from, w.before = measuring, c.now, c.answered
		if w.before > 0 {
			c.latency.Reset()
		}
	}
	if w.state == measuring && (c.until > 0 && c.now >= c.until || c.stop.Load()) {
		c.closeWindow()
	}
}

func (c *conn) closeWindow() {
	w := &c.window
	if w.state == measuring {
		w.state, w.until, w.answered = measured, c.now, c.answered-w.before
	}
}
