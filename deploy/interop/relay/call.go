package main

import (
	"context"
	"fmt"
	"time"

	"gygate/deploy/interop/harness"
	"gygate/ocs"
	"gygate/vpnlogic/sipgw/phone"
)

// call is a call under way between two phones.
type call struct {
	caller   string
	callee   *phone.Answerer
	answered chan struct{}
	ended    chan struct{} // result and err are there
	result   phone.Result
	err      error
}

// placeCall dials the short number and returns when the called phone answers. The
// caller hangs up in the middle of the given second, so that so many are charged.
func placeCall(ctx context.Context, g *harness.Gygate, from, to string, seconds int) (*call, error) {
	callee, err := phone.NewAnswerer(phone.AnswererConfig{Listen: fmt.Sprintf("127.0.0.1:%d", g.Ports.Phones)})
	if err != nil {
		return nil, err
	}
	c := &call{caller: from, callee: callee, answered: make(chan struct{}), ended: make(chan struct{})}
	talk := time.Duration(seconds)*time.Second - 500*time.Millisecond
	go func() {
		defer close(c.ended)
		c.result, c.err = phone.Dial(ctx, phone.DialOptions{
			From: from, To: short[to], Via: fmt.Sprintf("127.0.0.1:%d", g.Ports.SIP), Talk: talk,
			OnEvent: func(_ time.Time, text string) {
				if harness.HasStatus(text, 200) {
					select {
					case <-c.answered: // the answer to BYE
					default:
						close(c.answered)
					}
				}
			},
		})
	}()
	select {
	case <-c.answered:
		return c, nil
	case <-c.ended:
		callee.Close()
		if c.err != nil {
			return nil, fmt.Errorf("the call of %s was not answered: %w", short[from], c.err)
		}
		return nil, fmt.Errorf("the call of %s was not answered: %d %s", short[from], c.result.Status, c.result.Reason)
	}
}

// talked returns when the phones have talked that long.
func (c *call) talked(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-c.ended:
		return fmt.Errorf("the call ended early: %s hung up after %s: %s", c.result.HungUp, c.result.Talked(), c.result.Reason)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// over waits for the end of the call, which the caller has to bring about after
// that many seconds, and returns what it costs.
func (c *call) over(seconds int) (ocs.Money, error) {
	<-c.ended
	if err := c.callee.Close(); c.err == nil {
		c.err = err
	}
	if c.err != nil {
		return 0, c.err
	}
	talked := c.result.Talked()
	fmt.Printf("    call of %s talked %.1f s, the %s hung up (expected %.1f s, the caller)\n", short[c.caller], talked.Seconds(),
		map[phone.Side]string{phone.Self: "caller", phone.Peer: "gateway"}[c.result.HungUp], float64(seconds)-0.5)
	if c.result.HungUp != phone.Self {
		return 0, fmt.Errorf("the gateway ended the call after %s: %s", talked, c.result.Reason)
	}
	return ocs.Money(seconds) * harness.PerSecond, nil
}
