package gy

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"gygate/diameter/peer"
	"gygate/ocs"
	"gygate/vpnlogic"
)

// A session nobody holds is forgotten, and there is room for so many.
func TestSessionsAreBounded(t *testing.T) {
	c, w := newTestClient(t, ClientConfig{SessionsMax: 2}, answering(sixty()))
	ctx := context.Background()
	c.Charge(ctx, initial("a"))
	c.Charge(ctx, initial("b"))
	if a := c.Charge(ctx, initial("c")); a.Result != vpnlogic.ChargeUnreachable || a.Reason != reasonSessionsFull || a.SessionOpen || len(w.sent) != 2 {
		t.Errorf("third session: %+v after %d requests", a, len(w.sent))
	}
	if a := c.Charge(ctx, update("c", 1)); a.Result != vpnlogic.ChargeGranted || len(c.sessions) != 2 {
		t.Errorf("running session: %+v with %d remembered", a, len(c.sessions))
	}
	c.Charge(ctx, final("a", 1))
	if a := c.Charge(ctx, initial("c")); a.Result != vpnlogic.ChargeGranted {
		t.Errorf("after one ended: %+v", a)
	}
}

// C-009: an answer is waited for Tx long; whether the server may hold a session
// depends on whether the request left.
func TestUnansweredInitialC009(t *testing.T) {
	proves(t, "C-009")
	synctest.Test(t, func(t *testing.T) {
		c, w := newTestClient(t, ClientConfig{}, func(ctx context.Context, _ sending) (*CCA, error) {
			<-ctx.Done()
			return nil, fmt.Errorf("%w: %w", peer.ErrNoAnswer, ctx.Err())
		})
		a := c.Charge(context.Background(), initial("s"))
		if a.Took != 10*time.Second || a.Result != vpnlogic.ChargeUnreachable || !a.SessionOpen || a.Code != 0 {
			t.Errorf("answer %+v", a)
		}
		for _, err := range []error{peer.ErrNoPeer, peer.ErrPendingFull} {
			w.say(failing(err))
			if a := c.Charge(context.Background(), initial("t")); a.Result != vpnlogic.ChargeUnreachable || a.SessionOpen {
				t.Errorf("%v: %+v", err, a)
			}
		}
	})
}

// C-029, C-015: an unanswered CCR-T is repeated three times in ten minutes,
// with T and the same End-to-End Identifier once it may have arrived.
func TestLateFinalReportC029(t *testing.T) {
	proves(t, "C-015", "C-029")
	synctest.Test(t, func(t *testing.T) {
		c, w := newTestClient(t, ClientConfig{}, answering(sixty()))
		c.Charge(context.Background(), initial("s"))
		began := time.Now()
		w.say(inTurn(failing(peer.ErrNoPeer), failing(peer.ErrNoAnswer), answering(CCA{ResultCode: 3004}), answering(CCA{ResultCode: 5002})))
		if a := c.Charge(context.Background(), final("s", 1)); a.Result != vpnlogic.ChargeUnreachable || a.SessionOpen {
			t.Errorf("answer %+v", a)
		}
		c.late.group.Wait()

		want := []struct {
			after time.Duration
			t     bool
		}{{0, false}, {30 * time.Second, false}, {180 * time.Second, true}, {600 * time.Second, true}}
		if len(w.sent) != 1+len(want) {
			t.Fatalf("%d requests were sent", len(w.sent))
		}
		for i, s := range w.sent[1:] {
			if got := s.at.Sub(began); got != want[i].after || s.request.Retransmission != want[i].t {
				t.Errorf("try %d after %v with T %v, want %+v", i, got, s.request.Retransmission, want[i])
			}
			if s.ccr.Number != 1 || s.ccr.Type != ocs.Terminate || !s.ccr.EventTimestamp.Equal(at("2026-11-23T08:01:44Z")) || s.request.Stay != "ocs1.vpn.example" {
				t.Errorf("try %d: %+v", i, s.ccr)
			}
			if i > 0 && s.request.EndToEnd != 77 {
				t.Errorf("try %d has End-to-End %d", i, s.request.EndToEnd)
			}
		}
		if err := c.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// C-029: when the report before the CCR-T had no answer either, it goes first: the
// CCR-T does not repeat its use.
func TestLateReportBeforeTheFinalOneC029(t *testing.T) {
	proves(t, "C-029")
	synctest.Test(t, func(t *testing.T) {
		c, w := newTestClient(t, ClientConfig{}, answering(sixty()))
		ctx := context.Background()
		c.Charge(ctx, initial("s"))
		w.say(failing(peer.ErrNoAnswer))
		c.Charge(ctx, update("s", 1))
		c.Charge(ctx, final("s", 2))
		w.say(inTurn(failing(peer.ErrNoPeer), answering(CCA{ResultCode: 2001}), answering(CCA{ResultCode: 3004}), answering(CCA{ResultCode: 2001})))
		c.late.group.Wait()
		sent := ""
		for _, s := range w.sent {
			sent += fmt.Sprintf("%d#%d ", s.ccr.Type, s.ccr.Number)
		}
		if want := "1#0 2#1 3#2 2#1 2#1 3#2 3#2 "; sent != want {
			t.Errorf("sent %s, want %s", sent, want)
		}
		for i, s := range w.sent[3:] {
			if !s.request.Retransmission {
				t.Errorf("late request %d without T", i)
			}
		}

		// What was answered is not sent again.
		w.sent = nil
		w.say(inTurn(answering(sixty()), failing(peer.ErrNoAnswer), answering(sixty()), failing(peer.ErrNoAnswer), answering(CCA{ResultCode: 2001})))
		again := update("t", 1)
		again.Repeat = true
		for _, r := range []vpnlogic.ChargeRequest{initial("t"), update("t", 1), again, final("t", 2)} {
			c.Charge(ctx, r)
		}
		c.late.group.Wait()
		if last := w.sent[len(w.sent)-1].ccr; len(w.sent) != 5 || last.Type != ocs.Terminate {
			t.Errorf("%d requests, the last one %+v", len(w.sent), last)
		}
	})
}

// Shutdown gives what waits one more try at once, and says what is lost.
func TestShutdownWithLateReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, w := newTestClient(t, ClientConfig{LateMax: 2}, failing(peer.ErrNoAnswer))
		for _, id := range []string{"a", "b", "c"} { // the third finds no room
			c.Charge(context.Background(), final(id, 1))
		}
		w.say(func(ctx context.Context, s sending) (*CCA, error) {
			if s.ccr.SessionID == "a" {
				return answering(CCA{})(ctx, s)
			}
			<-ctx.Done()
			return nil, errors.Join(peer.ErrNoAnswer, ctx.Err())
		})
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		err := c.Shutdown(ctx)
		if err == nil || err.Error() != "1 charging requests had no answer at shutdown" || time.Since(began) != time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if got := len(w.sent); got != 5 {
			t.Errorf("%d requests were sent, want 3 and 2 more", got)
		}
		w.say(failing(peer.ErrNoPeer))
		c.Charge(context.Background(), final("d", 1))
		synctest.Wait()
		if got := len(w.sent); got != 6 {
			t.Errorf("%d requests were sent after shutdown", got-5)
		}
	})
}
