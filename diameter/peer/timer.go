package peer

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"gygate/diameter/peer/fsm"
)

// watchdogJitter is how far each Tw is off the configured one, either way, so
// that the nodes of a network do not beat in step (RFC 3539 §3.4.1).
const watchdogJitter = 2 * time.Second

// watched is what a watchdog acts upon: an open connection.
type watched interface {
	sendWatchdog()
	usable(ok bool) // may carry new requests of ours
	failover()
	close(err error)
}

// watchdogTimer owns the watchdog of one peer: it keeps the timer and does what
// the machine asks for.
//
// Departures from RFC 3539, both for the sake of calls in progress: a message
// that arrives during the probation is served, although the machine says
// Throwaway, because its sender considers the link as open; and attempts to
// reconnect are paced by Tc (RFC 6733 §2.1), so the timer rests while the
// connection is down.
type watchdogTimer struct {
	interval func() time.Duration // the next Tw, jitter included
	alone    func() bool          // no other peer can take the traffic: hurry the probation
	lost     func()               // after a failover

	// The short cut of heard. A message in state OKAY does nothing but put the
	// expiry off, so it leaves its time here and the timer looks when it fires.
	began time.Time
	last  atomic.Int64 // nanoseconds after began; 0: nothing since the timer looked
	calm  atomic.Bool  // up, in state OKAY

	mu       sync.Mutex
	machine  fsm.Watchdog
	conn     watched // nil while down
	timer    *time.Timer
	armed    time.Time // when timer fires
	deadline time.Time // when Tw expires; not before armed is too early
}

func newWatchdogTimer(interval func() time.Duration, alone func() bool, lost func()) *watchdogTimer {
	return &watchdogTimer{interval: interval, alone: alone, lost: lost, began: time.Now()}
}

// jittered returns the sequence of Tw values.
func jittered(tw time.Duration, fast bool) func() time.Duration {
	return func() time.Duration {
		if fast {
			return tw
		}
		return tw - watchdogJitter + rand.N(2*watchdogJitter)
	}
}

// up starts the watchdog of a connection that has become open.
func (t *watchdogTimer) up(c watched) {
	t.mu.Lock()
	t.conn = c
	t.mu.Unlock()
	t.on(fsm.ConnectionUp)
}

// down ends the watchdog of a connection that is gone.
func (t *watchdogTimer) down() {
	t.on(fsm.ConnectionDown)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conn = nil
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
}

// on takes one event through the machine and does the actions.
func (t *watchdogTimer) on(e fsm.WatchdogEvent) {
	if t.step(e) {
		t.lost()
	}
}

// heard takes note of a message other than the DWA waited for, which came at that
// time. The order of the two steps matters: either the timer sees the message
// before it gives the peer up, or this sees that it has.
func (t *watchdogTimer) heard(at time.Time) {
	if last := max(int64(at.Sub(t.began)), 1); t.last.Load() != last {
		t.last.Store(last)
	}
	if !t.calm.Load() {
		t.on(fsm.ReceiveNonDWA)
	}
}

// hurry brings the probation's next watchdog forward when no other peer is left.
func (t *watchdogTimer) hurry() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hurried()
}

func (t *watchdogTimer) state() fsm.WatchdogState {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.machine.State
}

func (t *watchdogTimer) step(e fsm.WatchdogEvent) (failedOver bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	failedOver = t.locked(e)
	t.hurried()
	return failedOver
}

func (t *watchdogTimer) locked(e fsm.WatchdogEvent) (failedOver bool) {
	if t.conn == nil {
		return false
	}
	before := t.machine.State
	machine, actions := t.machine.On(e)
	t.machine = machine
	for _, a := range actions {
		t.do(a)
		failedOver = failedOver || a == fsm.Failover
	}
	if t.machine.State != before {
		t.calm.Store(t.machine.State == fsm.Okay)
		t.conn.usable(t.machine.State == fsm.Okay)
	}
	return failedOver
}

// hurried lets the timer of a peer on probation expire at once if nothing is
// pending and nobody else can take the traffic: the three exchanges then follow
// one another without a pause.
func (t *watchdogTimer) hurried() {
	if t.machine.State == fsm.Reopen && !t.machine.Pending && t.alone() {
		t.locked(fsm.TimerExpires)
	}
}

func (t *watchdogTimer) do(a fsm.WatchdogAction) {
	switch a {
	case fsm.SetWatchdog:
		t.set(t.interval())
	case fsm.SendWatchdog:
		t.conn.sendWatchdog()
	case fsm.Failover:
		t.conn.failover()
	case fsm.CloseConnection:
		t.conn.close(errWatchdog)
	case fsm.Failback, fsm.AttemptOpen, fsm.Throwaway:
		// Usability follows the state; for the others see the type.
	}
}

// set lets Tw expire after d. The timer itself is moved only when it would fire
// too late.
func (t *watchdogTimer) set(d time.Duration) {
	t.deadline = time.Now().Add(d)
	switch {
	case t.timer == nil:
		t.armed = t.deadline
		t.timer = time.AfterFunc(d, t.expired)
	case t.deadline.Before(t.armed):
		t.armed = t.deadline
		t.timer.Reset(d)
	}
}

func (t *watchdogTimer) expired() {
	if t.expire() {
		t.lost()
	}
}

func (t *watchdogTimer) expire() (failedOver bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conn == nil {
		return false
	}
	t.putOff()
	if rest := time.Until(t.deadline); rest > 0 {
		t.armed = t.deadline
		t.timer.Reset(rest)
		return false
	}
	t.timer = nil // fired; the next set makes another
	failedOver = t.locked(fsm.TimerExpires)
	if t.last.Load() != 0 && t.machine.State == fsm.Suspect {
		t.locked(fsm.ReceiveNonDWA) // heard in this very moment
	}
	return failedOver
}

// putOff does the SetWatchdog of the last message heard since the timer looked.
func (t *watchdogTimer) putOff() {
	last := t.last.Swap(0)
	if last == 0 || t.machine.State != fsm.Okay {
		return
	}
	if deadline := t.began.Add(time.Duration(last) + t.interval()); deadline.After(t.deadline) {
		t.deadline = deadline
	}
}
