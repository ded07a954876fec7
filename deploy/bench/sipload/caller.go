package sipload

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// firstRepeat is T1 of RFC 3261, after which an unanswered request is repeated;
	// each further time the pause is doubled.
	firstRepeat = 500 * time.Millisecond
	// triesMax is how often a request goes out: after the last pause 32 s have passed.
	triesMax = 6
	// giveUp is 64 × T1, the end of waiting for an answer.
	giveUp = 32 * time.Second
	// sweepPeriod is how often the calls are looked through for overdue requests.
	sweepPeriod = 100 * time.Millisecond
)

// stage is how far a call is.
type stage uint8

const (
	unplaced  stage = iota
	inviting        // INVITE sent, nothing came
	waiting         // a provisional response came
	up              // answered and acknowledged
	releasing       // BYE sent
	over
)

// call is one call as the caller knows it.
type call struct {
	stage    stage
	tries    uint8         // how often the last request was sent
	began    time.Time     // the INVITE
	sent     time.Time     // the last request
	answered time.Time     // the 200
	setUp    time.Duration // without the callee's share; 0: not answered
	to       []byte        // To with the tag of the answer
}

// callers place the calls from one socket.
type callers struct {
	config  Config
	conn    *net.UDPConn // connected to the gateway
	local   string
	mark    string // tells the calls of this run from any other's
	took    []atomic.Int64
	slots   chan struct{} // a token for each call that may be under way
	rung    chan int      // the calls that were answered, in order
	allUp   chan struct{} // closed when every call is up or over
	allOver chan struct{}

	mu       sync.Mutex
	calls    []call
	placed   int // calls begun so far
	notYetUp int
	notOver  int
	repeated int
	talked   time.Duration
	failed   map[string]int
}

func newCallers(c Config, took []atomic.Int64) (*callers, error) {
	gateway, err := net.ResolveUDPAddr("udp", c.Gateway)
	if err != nil {
		return nil, fmt.Errorf("sipload: gateway: %w", err)
	}
	conn, err := net.DialUDP("udp", nil, gateway)
	if err != nil {
		return nil, fmt.Errorf("sipload: callers: %w", err)
	}
	if err := conn.SetReadBuffer(socketBuffer); err != nil {
		return nil, fmt.Errorf("sipload: callers: %w", err)
	}
	return &callers{
		config: c, conn: conn, took: took, local: conn.LocalAddr().String(),
		mark:  strconv.FormatInt(time.Now().UnixNano(), 36),
		slots: make(chan struct{}, c.InFlight), rung: make(chan int, c.Calls),
		allUp: make(chan struct{}), allOver: make(chan struct{}),
		calls: make([]call, c.Calls), notYetUp: c.Calls, notOver: c.Calls, failed: make(map[string]int),
	}, nil
}

// run places all calls and waits until they are over.
func (c *callers) run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer stop(nil)
	helpers.Go(func() { c.repeatOverdue(ctx) })
	helpers.Go(func() {
		if err := c.hangUpAll(ctx); err != nil {
			stop(err)
		}
	})
	for n := range c.calls {
		if err := c.pause(ctx, n); err != nil {
			return err
		}
		c.mu.Lock()
		c.placed = n + 1
		c.calls[n].stage, c.calls[n].began = inviting, time.Now()
		c.send(n)
		c.mu.Unlock()
	}
	return await(ctx, c.allOver)
}

// pause waits for the turn of the n-th call.
func (c *callers) pause(ctx context.Context, n int) error {
	if c.config.Rate > 0 && n > 0 {
		if err := rest(ctx, time.Until(c.calls[0].began.Add(time.Duration(float64(n)/c.config.Rate*float64(time.Second))))); err != nil {
			return err
		}
	}
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// hangUpAll ends the calls: each after its talk, or all when Up has returned.
func (c *callers) hangUpAll(ctx context.Context) error {
	var each time.Duration // between two BYEs
	if c.config.Up != nil {
		if err := await(ctx, c.allUp); err != nil {
			return nil // run tells why
		}
		if err := c.config.Up(ctx); err != nil {
			return err
		}
		if c.config.Rate > 0 {
			each = time.Duration(float64(time.Second) / c.config.Rate)
		}
	}
	for due := time.Now(); ; due = due.Add(each) {
		select {
		case n := <-c.rung:
			if c.config.Up == nil {
				due = c.answeredAt(n).Add(c.config.Talk)
			}
			if rest(ctx, time.Until(due)) != nil {
				return nil
			}
			c.hangUp(n)
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *callers) answeredAt(n int) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls[n].answered
}

func (c *callers) hangUp(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls[n].stage == up {
		c.calls[n].stage, c.calls[n].tries = releasing, 0
		c.talked += time.Since(c.calls[n].answered)
		c.send(n)
	}
}

// repeatOverdue repeats what was not answered, and gives up what never is.
func (c *callers) repeatOverdue(ctx context.Context) {
	for rest(ctx, sweepPeriod) == nil {
		c.mu.Lock()
		for n := range c.calls[:c.placed] {
			c.sweep(n, time.Now())
		}
		c.mu.Unlock()
	}
}

func (c *callers) sweep(n int, now time.Time) {
	k := &c.calls[n]
	since := now.Sub(k.sent)
	switch {
	case k.stage != inviting && k.stage != waiting && k.stage != releasing:
	case since > giveUp || k.stage != waiting && k.tries >= triesMax:
		c.finish(n, "no answer")
	case k.stage != waiting && since > firstRepeat<<(k.tries-1):
		c.repeated++
		c.send(n)
	}
}

// receive takes what the gateway sends: responses, and requests inside the calls.
func (c *callers) receive(m message, at time.Time) {
	n := c.callOf(m)
	if n < 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch status := m.status(); {
	case status == 0:
		c.requested(n, m)
	case bytes.HasSuffix(m.header("CSeq"), []byte("INVITE")):
		c.invited(n, m, status, at)
	case status >= 200 && c.calls[n].stage == releasing:
		c.finish(n, "")
	}
}

// callOf is the number of the call behind a Call-ID of this run, -1 for others.
func (c *callers) callOf(m message) int {
	digits, found := bytes.CutPrefix(m.header("Call-ID"), []byte(c.mark+"-"))
	n, err := strconv.Atoi(string(digits))
	if !found || err != nil || n < 0 || n >= len(c.calls) {
		return -1
	}
	return n
}

// invited takes a response to an INVITE.
func (c *callers) invited(n int, m message, status int, at time.Time) {
	k := &c.calls[n]
	switch {
	case status < 200:
		if k.stage == inviting {
			k.stage = waiting
		}
	case k.stage == inviting || k.stage == waiting:
		k.to = bytes.Clone(m.header("To"))
		c.acknowledge(n, status)
		if status >= 300 {
			c.finish(n, strconv.Itoa(status))
			return
		}
		k.stage, k.answered = up, at
		k.setUp = at.Sub(k.began) - time.Duration(c.took[n].Load())
		c.rung <- n
		c.oneUp()
	default: // it came again: our ACK was lost
		c.acknowledge(n, status)
	}
}

// requested answers a request of the gateway inside a call: a session refresh, or the
// end of a call that the caller would have kept.
func (c *callers) requested(n int, m message) {
	ok := appendResponse(make([]byte, 0, 1024), m, "200 OK", "caller")
	switch {
	case m.is("ACK"):
		return
	case m.is("BYE"):
		c.write(appendNoBody(ok))
		if c.calls[n].stage != over {
			c.finish(n, "cut off")
		}
	case m.is("INVITE"):
		c.write(appendBody(appendTimer(append(ok, c.contact()...), m)))
	default:
		c.write(appendNoBody(appendTimer(append(ok, c.contact()...), m)))
	}
}

// finish ends a call; why is "" for one that went as it should.
func (c *callers) finish(n int, why string) {
	was := c.calls[n].stage
	c.calls[n].stage = over
	if why != "" {
		c.failed[why]++
	}
	if was == inviting || was == waiting {
		c.calls[n].setUp = 0
		c.oneUp()
	}
	<-c.slots
	if c.notOver--; c.notOver == 0 {
		close(c.allOver)
	}
}

// oneUp counts a call whose set-up is over.
func (c *callers) oneUp() {
	if c.notYetUp--; c.notYetUp == 0 {
		close(c.allUp)
	}
}

// report sums up; the load is over.
func (c *callers) report(elapsed time.Duration) Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := Report{Elapsed: elapsed, Failed: c.failed, Repeated: c.repeated, Talked: c.talked}
	var setUps []time.Duration
	for _, k := range c.calls {
		if k.setUp > 0 {
			setUps = append(setUps, k.setUp)
		}
	}
	r.Answered = len(c.calls) - c.notOver
	for _, n := range c.failed {
		r.Answered -= n
	}
	if len(setUps) > 0 {
		slices.Sort(setUps)
		r.SetUpP50, r.SetUpP99, r.SetUpMax = setUps[len(setUps)/2], setUps[len(setUps)*99/100], setUps[len(setUps)-1]
	}
	return r
}

func await(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func rest(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
