package sipgw

import (
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"gygate/vpnlogic"
)

// short session timers: two seconds is the least the header can say and still
// be halved.
func shortSessions(c *Config) { c.SessionExpires, c.MinSE = 2*time.Second, time.Second }

func TestSessionRefreshedAndLost(t *testing.T) {
	// Both legs' refreshes are due at once, so one is postponed, by up to two
	// seconds: with half the interval as long as that the two part soon.
	x := newBench(t, func(c *Config) { c.SessionExpires, c.MinSE = 4*time.Second, time.Second })
	x.connect([]string{"Allow: INVITE, ACK, BYE, CANCEL, UPDATE"}, []string{"Allow: INVITE, ACK, BYE, CANCEL"})

	updates, bye := x.answering()

	// The called phone only has re-INVITE.
	refresh := x.b.readRequest(sip.INVITE)
	if string(refresh.Body()) != offerSDP || refresh.To().Params.GetOr("tag", "") == "" {
		t.Errorf("refresh\n%s", refresh)
	}
	wantValue(t, refresh, "Session-Expires", "4;refresher=uac")
	x.b.answer(refresh, 200, answerSDP)
	x.b.readRequest(sip.ACK)
	wantValue(t, taken(t, updates), "Session-Expires", "4;refresher=uac")
	x.c.quiet(t)

	// At the next one it has forgotten the call.
	x.b.answer(x.b.read("the next refresh", func(m sip.Message) bool {
		r, ok := m.(*sip.Request)
		return ok && r.IsInvite() && r.CSeq().SeqNo > refresh.CSeq().SeqNo
	}).(*sip.Request), 481, "")
	x.c.expect(t, "lost")
	x.released(x.b)
	wantValue(t, taken(t, bye), "Reason", `Q.850;cause=27;text="service.link_lost"`)
}

// answering has the caller answer every UPDATE, and at last the BYE.
func (x *bench) answering() (updates, bye chan *sip.Request) {
	updates, bye = make(chan *sip.Request, 10), make(chan *sip.Request, 1)
	go func() {
		// A read that fails ends this goroutine: the test must not wait for it.
		defer close(updates)
		defer close(bye)
		for {
			req := x.a.read("UPDATE or BYE", func(m sip.Message) bool { _, ok := m.(*sip.Request); return ok }).(*sip.Request)
			x.a.answer(req, 200, "")
			if req.Method == sip.BYE {
				bye <- req
				return
			}
			updates <- req
		}
	}()
	return updates, bye
}

// taken is the next request from a channel of answering.
func taken(t *testing.T, requests chan *sip.Request) *sip.Request {
	t.Helper()
	req, ok := <-requests
	if !ok {
		t.FailNow() // answering has said why
	}
	return req
}

func TestSilentPhoneEndsTheCall(t *testing.T) {
	x := newBench(t, shortSessions)
	x.connect([]string{"Allow: UPDATE"}, []string{"Allow: UPDATE"})
	_, bye := x.answering()
	// The called phone is gone: its refresh stays unanswered, and so does its
	// BYE; the caller is released all the same.
	x.b.readRequest(sip.UPDATE)
	x.c.expect(t, "lost")
	taken(t, bye)
}

func TestPeerRefreshOverdue(t *testing.T) {
	x := newBench(t, shortSessions)
	x.invite(offerSDP, "Supported: timer", "Session-Expires: 3;refresher=uac", "Allow: UPDATE")
	x.b.answer(x.incoming, 200, answerSDP, "Session-Expires: 2;refresher=uas", "Require: timer")
	ok := x.caller.readStatus(sip.INVITE, 200)
	wantValue(t, ok, "Session-Expires", "2;refresher=uac")
	wantValue(t, ok, "Require", "timer")
	x.caller.established(ok)
	x.caller.request(sip.ACK, "")
	x.c.expect(t, "answered")
	x.settle()
	start := time.Now()

	// Both phones took the refreshing on; one does it, the other does not.
	x.caller.request(sip.UPDATE, "", "Supported: timer", "Session-Expires: 2;refresher=uac")
	update := x.caller.readStatus(sip.UPDATE, 200)
	wantValue(t, update, "Session-Expires", "2;refresher=uac")
	x.c.expect(t, "lost")
	x.released(x.a, x.b)
	// 2 s less a third of it.
	if waited := time.Since(start); waited < time.Second {
		t.Errorf("the session expired after %v", waited)
	}
}

func TestSessionTooBriefForTheCalled(t *testing.T) {
	x := newBench(t, shortSessions)
	x.invite(offerSDP)
	x.b.answer(x.incoming, 422, "", "Min-SE: 20")
	again := x.b.read("the second INVITE", func(m sip.Message) bool {
		r, ok := m.(*sip.Request)
		return ok && r.IsInvite() && r.CSeq().SeqNo == 2
	})
	if got := value(again, "Session-Expires"); !strings.HasPrefix(got, "20;") {
		t.Errorf("Session-Expires %q", got)
	}
	wantValue(t, again, chargedHeader, chargedValue)
	x.b.answer(again.(*sip.Request), 486, "")
	x.caller.readStatus(sip.INVITE, 486)
	x.c.expect(t, "failed called.busy")
}

// TestGlareWait: RFC 3261 §14.1: the owner of the Call-ID waits 2.1 to 4 s, the other
// side up to 2 s, both in steps of 10 ms.
func TestGlareWait(t *testing.T) {
	ours, theirs := &dialog{party: vpnlogic.PartyCalled}, &dialog{party: vpnlogic.PartyCaller}
	seen := make(map[time.Duration]bool)
	for range 10_000 {
		owner, other := ours.glareWait(), theirs.glareWait()
		if owner < 2100*time.Millisecond || owner > 4*time.Second || other < 0 || other > 2*time.Second {
			t.Fatalf("waits %v and %v", owner, other)
		}
		if (owner+other)%(10*time.Millisecond) != 0 {
			t.Fatalf("waits %v and %v are not in steps of 10 ms", owner, other)
		}
		seen[owner], seen[-other] = true, true
	}
	if len(seen) < 191+201-20 {
		t.Errorf("only %d different waits of 392", len(seen))
	}
}

// TestRefreshMeetsPeer: a refresh that is answered 491 goes out again after the wait
// of the owner of the Call-ID.
func TestRefreshMeetsPeer(t *testing.T) {
	x := newBench(t, func(c *Config) { c.SessionExpires, c.MinSE = 2*time.Second, time.Second })
	x.connect([]string{"Allow: UPDATE"}, []string{"Allow: UPDATE"})
	_, bye := x.answering()
	x.b.answer(x.b.readRequest(sip.UPDATE), 491, "")
	met := time.Now()
	x.b.answer(x.b.readRequest(sip.UPDATE), 200, "")
	if waited := time.Since(met); waited < 2100*time.Millisecond-testT1 {
		t.Errorf("tried again after %v", waited)
	}
	x.c.quiet(t)
	x.callee.request(sip.BYE, "")
	x.callee.readStatus(sip.BYE, 200)
	taken(t, bye)
}

func TestReadSessionExpires(t *testing.T) {
	cases := []struct {
		header   string
		interval time.Duration
		who      string
		ok       bool
	}{
		{"1800", 1800 * time.Second, "", true},
		{"90;refresher=UAS", 90 * time.Second, "uas", true},
		{"90 ; x=1; refresher=uac", 90 * time.Second, "uac", true},
		{"", 0, "", false},
		{"-5", 0, "", false},
		{"soon", 0, "", false},
		{"99999999999999999999", 0, "", false},
	}
	for _, c := range cases {
		req := sip.NewRequest(sip.INVITE, sip.Uri{Scheme: "sip", Host: "x"})
		if c.header != "" {
			req.AppendHeader(sip.NewHeader("Session-Expires", c.header))
		}
		got, ok := readSessionExpires(req)
		if ok != c.ok || got.interval != c.interval || got.refresher != c.who {
			t.Errorf("%q: %+v, %v", c.header, got, ok)
		}
	}
}
