package sipload

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Config is a load.
type Config struct {
	Gateway string // its SIP address over UDP, host:port
	Callee  string // where the callees listen: the gateway's next hop, host:port
	// Numbers gives the calling number and what is dialled, of the n-th call.
	Numbers func(n int) (calling, dialled string)

	Calls    int           // how many
	InFlight int           // at most so many at a time; 0: no bound
	Rate     float64       // calls begun per second; 0: as fast as InFlight lets
	Talk     time.Duration // from the answer to the BYE

	// Up, when set, holds the calls: none is hung up before all are up and Up has
	// returned; Talk is not used. Then they are hung up at Rate.
	Up func(ctx context.Context) error
	// Settled, when set, returns when what follows the last BYE is done (the last
	// charging requests, the call records); until then the clock runs.
	Settled func(ctx context.Context) error
}

// Report is what came of a load.
type Report struct {
	Answered int            // calls that were set up and hung up by the caller
	Failed   map[string]int // other calls by what ended them: a status, "no answer", "cut off"
	Elapsed  time.Duration  // from the first INVITE until the last call was over and settled
	Talked   time.Duration  // of the answered calls, from the 200 to the BYE as the callers saw them
	Repeated int            // messages sent again because nothing came back

	// Set-up times, from INVITE to 200 without the time the callee took.
	SetUpP50, SetUpP99, SetUpMax time.Duration
}

// Rate is in calls per second, set-up to release.
func (r Report) Rate() float64 { return float64(r.Answered) / r.Elapsed.Seconds() }

// String is the report in one line.
func (r Report) String() string {
	text := fmt.Sprintf("%d calls in %.1f s: %.0f calls/s, set-up p50 %.1f ms, p99 %.1f ms, max %.1f ms, %d messages repeated",
		r.Answered, r.Elapsed.Seconds(), r.Rate(), ms(r.SetUpP50), ms(r.SetUpP99), ms(r.SetUpMax), r.Repeated)
	for what, n := range r.Failed {
		text += fmt.Sprintf(", %d × %s", n, what)
	}
	return text
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// socketBuffer is wanted for each socket: a burst of answers must not be lost.
const socketBuffer = 4 << 20

// Run places the calls and returns when all are over, or when ctx ends. A call that
// fails is counted in the report; errors are those of sockets, hooks and ctx.
func Run(ctx context.Context, c Config) (Report, error) {
	if c.InFlight <= 0 {
		c.InFlight = c.Calls
	}
	callees, err := newCallees(c.Callee, c.Calls)
	if err != nil {
		return Report{}, err
	}
	callers, err := newCallers(c, callees.took)
	if err != nil {
		return Report{}, errors.Join(err, callees.conn.Close())
	}
	ctx, fail := context.WithCancelCause(ctx)
	var helpers sync.WaitGroup
	helpers.Go(func() { readAll(callees.conn, callees.receive, fail) })
	helpers.Go(func() { readAll(callers.conn, callers.receive, fail) })
	helpers.Go(func() { callees.repeatUnacked(ctx) })

	began := time.Now()
	err = callers.run(ctx)
	if err == nil && c.Settled != nil {
		err = c.Settled(ctx)
	}
	report := callers.report(time.Since(began))
	fail(nil)
	err = errors.Join(err, callers.conn.Close(), callees.conn.Close())
	helpers.Wait()
	report.Repeated += callees.repeated
	return report, err
}

// readAll hands every datagram to receive until the socket is closed; another error
// ends the load.
func readAll(conn *net.UDPConn, receive func(m message, at time.Time), fail context.CancelCauseFunc) {
	buf := make([]byte, 65536)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			fail(fmt.Errorf("sipload: read: %w", err))
			return
		}
		receive(message{text: buf[:n], from: from}, time.Now())
	}
}
