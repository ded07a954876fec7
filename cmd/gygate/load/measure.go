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
	before      counts // at its begin
	answered    int64  // within it
	granted     int64  // of them
}

type windowState uint8

const (
	warming windowState = iota
	measuring
	measured
)

// record counts the answer to a request that is no repeat.
func (c *conn) record(took time.Duration, a *answer, body []byte) {
	c.answered++
	// The histogram refuses only what is beyond its bounds.
	_ = c.latency.RecordValue(min(max(took.Microseconds(), 1), latencyMax))
	if code := a.outcome(); code != diameter.Success {
		c.refuse(code, body)
		return
	}
	c.success++
}

// codesMax bounds the different Result-Codes that are told apart.
const codesMax = 64

// measure opens and closes the window when it is time to.
func (c *conn) measure() {
	w := &c.window
	if w.state == warming && (c.now >= c.config.Warmup || !c.more()) {
		w.state, w.from, w.before = measuring, c.now, c.counts
		if w.before.answered > 0 {
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
		w.state, w.until = measured, c.now
		w.answered, w.granted = c.answered-w.before.answered, c.success-w.before.success
	}
}
