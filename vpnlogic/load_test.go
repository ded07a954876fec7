package vpnlogic

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// slicing grants 60 s with a threshold of 10 s and holds every report against the
// second in which it is due.
type slicing struct {
	mu       sync.Mutex
	next     int
	began    map[string]time.Time // of the talk, by Session-Id
	reported map[string]int
	late     time.Duration // the worst error
	reports  int
}

func (c *slicing) NewSession(context.Context) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	return fmt.Sprint("vpn;1;", c.next)
}

func (c *slicing) Charge(_ context.Context, r ChargeRequest) ChargeAnswer {
	a := ChargeAnswer{Code: 2001, SessionOpen: r.Type != ChargeTerminate}
	if r.Type == ChargeTerminate {
		return a
	}
	a.Grant = Grant{Time: 60 * time.Second, Threshold: 10 * time.Second}
	if r.Type == ChargeUpdate {
		c.note(r)
	}
	return a
}

func (c *slicing) note(r ChargeRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reports++
	c.reported[r.Session]++
	due := r.Call.AnsweredAt.Add(time.Duration(c.reported[r.Session]) * 50 * time.Second)
	c.late = max(c.late, time.Since(due).Abs(), r.At.Sub(due).Abs())
	if r.Used != 50*time.Second {
		c.late = time.Hour
	}
}

// TestTenThousandCalls C-116: with ten thousand calls at a time, answered all over the
// second, each CCR-U goes out in its own moment.
func TestTenThousandCalls(t *testing.T) {
	proves(t, "C-116")
	const calls, slices = 10_000, 3
	directory := testDirectory(t)
	synctest.Test(t, func(t *testing.T) {
		charger := &slicing{began: make(map[string]time.Time), reported: make(map[string]int)}
		s := NewService(ServiceConfig{Directory: func() *Directory { return directory }, Charger: charger, CallsMax: calls})
		running := make([]*Call, calls)
		for i := range running {
			call, cause := s.Begin(t.Context(), Attempt{CallID: fmt.Sprint(i), Calling: "+8613800000001", Dialled: "6002"}, &fakeLeg{})
			if cause != nil {
				t.Fatal(cause)
			}
			running[i] = call
		}
		synctest.Wait()
		for i, call := range running {
			if i%100 == 0 {
				time.Sleep(9 * time.Millisecond)
			}
			call.Answered(time.Now())
		}
		time.Sleep(slices*50*time.Second + 5*time.Second)
		synctest.Wait()
		if charger.reports != calls*slices || charger.late > 200*time.Millisecond {
			t.Errorf("%d reports of %d, the worst %v off", charger.reports, calls*slices, charger.late)
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
