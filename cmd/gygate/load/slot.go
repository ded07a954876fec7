package load

import (
	"time"

	"gygate/diameter"
)

// A Hop-by-Hop Identifier of ours is, from the low end: the slot, whether the request
// is the repeat, and the slot's generation, which tells an answer that comes after its
// request was given up from one to the next request.
const (
	slotBits      = 20
	slotMask      = 1<<slotBits - 1
	repeatBit     = 1 << slotBits
	generationPos = slotBits + 1
	generations   = 1 << (32 - generationPos)
)

// slot is the place of one session under way, with at most one request and its repeat
// without an answer.
type slot struct {
	subscriber uint64 // number
	digest     uint64 // of the first answer, when the request is repeated
	due        time.Duration
	sent       time.Duration // the latest of request and repeat; the timeout counts from it
	session    uint32        // low half of the Session-Id
	end        uint32        // End-to-End Identifier
	number     uint32        // CC-Request-Number
	generation uint16
	code       uint16 // Result-Code of the first answer
	phase      phase
	waits      waiting
	repeats    bool // the request is sent twice ...
	behind     bool // ... and the second is still to be sent, behind the first answer
	granted    bool // one of its answers was a success
}

// waiting is what a slot waits for.
type waiting uint8

const (
	forAnswer waiting = 1 << iota
	forRepeat
)

// begin starts a session in a free slot; due is when it should have been started.
func (c *conn) begin(i uint32, due time.Duration) {
	s := &c.slots[i]
	if c.lastSession++; c.lastSession < lowFirst { // after four thousand million
		c.lastSession = lowFirst
	}
	c.budget--
	s.session, s.subscriber = c.lastSession, c.pick.next()
	s.number, s.phase = 0, c.first
	c.started++
	c.underWay++
	c.ask(i, due)
}

// ask sends the slot's next request, and its repeat if it gets one right behind it.
func (c *conn) ask(i uint32, due time.Duration) {
	s := &c.slots[i]
	c.lastEnd++
	s.end, s.due = c.lastEnd, due
	s.generation = (s.generation + 1) % generations
	s.granted, s.code = false, 0
	c.sent++
	c.put(i, 0)
	if s.repeats = c.config.Repeats > 0 && c.random.Float64() < c.config.Repeats; !s.repeats {
		return
	}
	if s.behind = c.random.Uint32()&1 == 0; !s.behind {
		c.put(i, repeatBit)
	}
}

// put encodes the slot's request into the outgoing buffer.
func (c *conn) put(i, repeat uint32) {
	s := &c.slots[i]
	r := request{
		hop: uint32(s.generation)<<generationPos | repeat | i, end: s.end, session: s.session, number: s.number,
		subscriber: s.subscriber, stamp: c.stamp, repeat: repeat != 0,
	}
	c.out = c.templates[s.phase].append(c.out, &r)
	s.sent = c.now
	if repeat == 0 {
		s.waits |= forAnswer
		return
	}
	s.waits |= forRepeat
	c.repeated++
}

// settle handles a CCA.
func (c *conn) settle(hop uint32, body []byte) {
	i := hop & slotMask
	if i >= uint32(len(c.slots)) {
		c.stray++
		return
	}
	s := &c.slots[i]
	what := forAnswer
	if hop&repeatBit != 0 {
		what = forRepeat
	}
	if s.waits&what == 0 || uint32(s.generation) != hop>>generationPos {
		c.stray++
		return
	}
	s.waits &^= what
	a := readAnswer(body, s.repeats)
	if what == forAnswer {
		c.record(c.now-s.due, &a, body)
	}
	if s.repeats {
		c.compare(s, &a)
	}
	c.count(s, &a)
	switch {
	case s.behind:
		s.behind = false
		c.put(i, repeatBit)
	case s.waits == 0:
		c.proceed(i)
	}
}

// compare holds two answers to one request against each other. One that says that
// nothing was carried out (RFC 6733 §7.1.3) may differ from the other.
func (c *conn) compare(s *slot, a *answer) {
	switch {
	case a.code.Protocol():
	case s.code == 0:
		s.code, s.digest = uint16(a.code), a.digest
	case s.code != uint16(a.code) || s.digest != a.digest:
		c.differing++
	}
}

// count adds what a request has cost, once.
func (c *conn) count(s *slot, a *answer) {
	if s.granted || a.code != diameter.Success {
		return
	}
	s.granted = true
	if s.phase != terminate && s.phase != event {
		return
	}
	if !a.priced {
		c.unpriced++
	}
	c.cost += a.cost
}

// proceed goes on with the slot's session, or with a new one.
func (c *conn) proceed(i uint32) {
	s := &c.slots[i]
	s.number++
	switch {
	case s.phase == initial && !s.granted:
		c.refused++
		c.free(i)
		return
	case c.first != initial || c.config.Mode == Opening || s.phase == terminate:
		c.finished++
		c.free(i)
		return
	case s.granted && s.number <= uint32(c.config.Updates):
		s.phase = update
	default: // the last one, or it was refused in mid-session
		s.phase = terminate
	}
	c.ask(i, c.now)
}

// free gives a slot to the next session, if there is one.
func (c *conn) free(i uint32) {
	c.underWay--
	if c.gap == 0 && c.more() {
		c.begin(i, c.now)
		return
	}
	c.idle = append(c.idle, i)
}

// giveUp looks for requests that were not answered in time. What became of them is
// not known, so their sessions are left alone.
func (c *conn) giveUp(timeout time.Duration) {
	for i := range c.slots {
		s := &c.slots[i]
		if s.waits == 0 || c.now-s.sent < timeout {
			continue
		}
		s.waits, s.behind = 0, false
		c.lost++
		c.free(uint32(i))
	}
}
