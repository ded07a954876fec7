package peer

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"gygate/diameter"
)

// reply is what ends the wait for an answer: the answer, or why none will come.
type reply struct {
	message diameter.Message
	err     error
}

// pending is the table of one connection's requests without an answer, by
// Hop-by-Hop Identifier (RFC 6733 §3, §5.5.4).
type pending struct {
	max int

	mu     sync.Mutex
	hop    uint32 // last identifier drawn; starts at random
	calls  map[uint32]chan reply
	usable bool // the watchdog is content with the link
	barred bool // for good: the connection is being taken down
	empty  empty
}

func newPending(max int) *pending {
	return &pending{max: max, hop: rand.Uint32(), calls: map[uint32]chan reply{}}
}

// add registers a request and returns its Hop-by-Hop Identifier and where the
// reply will arrive, exactly once.
func (p *pending) add() (uint32, chan reply, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.barred || !p.usable:
		return 0, nil, errNotSent
	case len(p.calls) >= p.max:
		return 0, nil, ErrPendingFull
	}
	hop, answer := p.draw(), make(chan reply, 1)
	p.calls[hop] = answer
	return hop, answer, nil
}

// identifier draws a Hop-by-Hop Identifier for a request that is matched
// elsewhere: the watchdog's and the disconnection's.
func (p *pending) identifier() uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.draw()
}

func (p *pending) draw() uint32 {
	for {
		p.hop++
		if _, used := p.calls[p.hop]; !used && p.hop != 0 {
			return p.hop
		}
	}
}

// settle hands an answer to the request it belongs to; false when nobody waits
// for it any more.
func (p *pending) settle(m diameter.Message) bool {
	answer, ok := p.take(m.HopByHop)
	if ok {
		answer <- reply{message: m}
	}
	return ok
}

// take removes a request; false when its reply is on the way or was given.
func (p *pending) take(hop uint32) (chan reply, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	answer, ok := p.calls[hop]
	if ok {
		delete(p.calls, hop)
		p.empty.tell(len(p.calls))
	}
	return answer, ok
}

// setUsable lets add take requests, or makes it refuse them until it is called again.
func (p *pending) setUsable(usable bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.usable = usable
}

// bar lets add refuse requests from now on.
func (p *pending) bar() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.barred = true
}

// takes reports whether add would take a request, were there room.
func (p *pending) takes() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.usable && !p.barred
}

// fail ends every wait with err.
func (p *pending) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for hop, answer := range p.calls {
		delete(p.calls, hop)
		answer <- reply{err: err}
	}
	p.empty.tell(len(p.calls))
}

// idle returns a channel that closes when no request is without an answer.
func (p *pending) idle() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.empty.wait(len(p.calls))
}

func (p *pending) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.calls)
}

// processing counts the requests of one connection that wait for our answer. The
// reader counts in, whoever answers counts out; the lock is for the end alone.
type processing struct {
	max int

	n       atomic.Int64
	stopped atomic.Bool
	mu      sync.Mutex
	empty   empty
}

// add counts a request in; false when the connection takes none: too many are in
// processing, or it is about to be taken down.
func (p *processing) add() bool {
	if p.n.Add(1) > int64(p.max) || p.stopped.Load() {
		p.done()
		return false
	}
	return true
}

// done counts a request out. stop looks at the count after it has set stopped, so
// that one of both sees the last request leave.
func (p *processing) done() {
	if p.n.Add(-1) == 0 && p.stopped.Load() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.empty.tell(0)
	}
}

// stop takes no more requests and returns a channel that closes when the last
// one is answered.
func (p *processing) stop() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped.Store(true)
	return p.empty.wait(p.len())
}

func (p *processing) len() int { return int(p.n.Load()) }

// empty tells those who wait that a count has come down to zero. The lock of the
// count guards it too.
type empty struct{ zero chan struct{} }

// wait returns a channel that closes when the count, now n, is zero.
func (e *empty) wait(n int) <-chan struct{} {
	if e.zero == nil {
		e.zero = make(chan struct{})
	}
	zero := e.zero
	e.tell(n)
	return zero
}

// tell takes note that the count is n now.
func (e *empty) tell(n int) {
	if n == 0 && e.zero != nil {
		close(e.zero)
		e.zero = nil
	}
}

// endToEnd draws End-to-End Identifiers (RFC 6733 §3): the low 12 bits of the
// second in the high bits, a count below. They stay unique for more than an hour
// across restarts while fewer than 2^20 are drawn in a second.
type endToEnd struct {
	mu   sync.Mutex
	last uint64 // second and count, not yet cut to 32 bits
}

func newEndToEnd() *endToEnd {
	return &endToEnd{last: uint64(time.Now().Unix())<<20 | uint64(rand.N(1<<20))}
}

func (e *endToEnd) next() uint32 {
	second := uint64(time.Now().Unix()) << 20
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last = max(e.last+1, second)
	if uint32(e.last) == 0 {
		e.last++ // 0 stands for "draw one" in Request
	}
	return uint32(e.last)
}
