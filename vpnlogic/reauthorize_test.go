package vpnlogic

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// asking keeps the answers to a test's questions, in the order of their coming.
type asking struct {
	mu      sync.Mutex
	answers []string
}

func (a *asking) reauth(r Reauthorization) { a.note(r.String()) }
func (a *asking) abort(r Abortion)         { a.note(r.String()) }

func (a *asking) note(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers = append(a.answers, text)
}

// told waits for quiet and returns the answers until now.
func (a *asking) told() string {
	synctest.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	return fmt.Sprint(a.answers)
}

// TestServiceReauthorize: the service finds the call by its session, answers once,
// and the report follows the answer.
func TestServiceReauthorize(t *testing.T) {
	proves(t, "C-070", "C-071", "C-073")
	onStage(t, ServiceConfig{}, &fakeCharger{answer: granting(60*time.Second, time.Hour), after: time.Second}, func(s *stage) {
		var a asking
		s.Reauthorize("vpn;1;9", nil, a.reauth)
		if got := a.told(); got != "[unknown session]" {
			t.Errorf("a session that never was: %s", got)
		}
		call, _ := s.begin(prepaidAttempt)
		s.Reauthorize("vpn;1;1", nil, a.reauth) // PendingI
		time.Sleep(2 * time.Second)
		call.Answered(time.Now())
		time.Sleep(30 * time.Second)
		other := uint32(101)
		s.Reauthorize("vpn;1;1", &other, a.reauth)
		s.Reauthorize("vpn;1;1", nil, func(r Reauthorization) {
			a.reauth(r)
			if got := s.charger.seen(); got != "I0" {
				t.Errorf("the answer came after %s", got)
			}
		})
		if got := a.told(); got != "[unknown session under way not active will report]" || s.charger.seen() != "I0 U1(30)" {
			t.Errorf("answers %s, charged %s", got, s.charger.seen())
		}
		if r := s.charger.requests[1]; r.Report != ReportForced || !r.WantMore {
			t.Errorf("the report: %+v", r)
		}
		s.Reauthorize("vpn;1;1", nil, a.reauth) // PendingU
		time.Sleep(2 * time.Second)
		call.HungUp(time.Now(), PartyCaller)
		synctest.Wait()
		s.Reauthorize("vpn;1;1", nil, a.reauth) // PendingT
		time.Sleep(2 * time.Second)
		s.Reauthorize("vpn;1;1", nil, a.reauth) // over
		if got := a.told(); got != "[unknown session under way not active will report under way unknown session unknown session]" {
			t.Errorf("answers %s", got)
		}
		if s.charger.seen() != "I0 U1(30) T2(2)" || len(s.sessions) != 0 {
			t.Errorf("charged %s, %d sessions left", s.charger.seen(), len(s.sessions))
		}
	})
}

// TestServiceAbort: both legs are released at once, the answer comes once, and the
// CCR-T says why.
func TestServiceAbort(t *testing.T) {
	proves(t, "C-076")
	onStage(t, ServiceConfig{}, &fakeCharger{answer: granting(60*time.Second, time.Hour), after: time.Second}, func(s *stage) {
		var a asking
		s.Abort("vpn;1;1", a.abort)
		call, leg := s.begin(prepaidAttempt)
		time.Sleep(2 * time.Second)
		call.Answered(time.Now())
		time.Sleep(30 * time.Second)
		s.Abort("vpn;1;1", a.abort)
		s.Abort("vpn;1;1", a.abort)
		if got := a.told(); got != "[unknown session accepted accepted]" && got != "[unknown session accepted unknown session]" {
			t.Errorf("answers %s", got)
		}
		if released := leg.log().released; len(released) != 1 || released[0] != CauseOf(ReasonAborted) {
			t.Errorf("released %v", released)
		}
		time.Sleep(2 * time.Second)
		s.Abort("vpn;1;1", a.abort)
		r := s.record()
		if last := s.charger.requests[1]; s.charger.seen() != "I0 T1(30)" || last.Cause.Reason != ReasonAborted || r.ReleasedBy != "charging" {
			t.Errorf("charged %s, cause %v, record %+v", s.charger.seen(), last.Cause, r)
		}
	})
}

// TestServiceAsksNeverBlock: more questions than a call has room for, asked from many
// sides while it begins, talks and ends, are all answered, exactly once each.
func TestServiceAsksNeverBlock(t *testing.T) {
	onStage(t, ServiceConfig{}, &fakeCharger{answer: granting(60*time.Second, time.Hour), after: 50 * time.Millisecond}, func(s *stage) {
		const sides, each = 20, 50
		var asked, answered atomic.Int32
		var all sync.WaitGroup
		for side := range sides {
			all.Go(func() {
				for n := range each {
					asked.Add(1)
					if side == 0 && n == each/2 {
						s.Abort("vpn;1;1", func(Abortion) { answered.Add(1) })
					} else {
						s.Reauthorize("vpn;1;1", nil, func(Reauthorization) { answered.Add(1) })
					}
					time.Sleep(10 * time.Millisecond)
				}
			})
		}
		call, _ := s.begin(prepaidAttempt)
		time.Sleep(60 * time.Millisecond)
		call.Answered(time.Now())
		all.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		if asked.Load() != sides*each || answered.Load() != asked.Load() {
			t.Errorf("%d answers to %d questions", answered.Load(), asked.Load())
		}
		if r := s.record(); r.Reason != ReasonAborted {
			t.Errorf("record %+v", r)
		}
	})
}

// TestServiceAskOfFailedMachine: a question is answered even when the call fails over
// it.
func TestServiceAskOfFailedMachine(t *testing.T) {
	onStage(t, ServiceConfig{}, &fakeCharger{answer: granting(60*time.Second, time.Hour)}, func(s *stage) {
		var a asking
		c := newCall(s.t.Context(), s.Service, sanitise(prepaidAttempt), &fakeLeg{})
		c.machine.credit.state, c.machine.at = open, activeCall
		c.service = nil // whatever asks the service now panics
		func() {
			defer func() { _ = recover() }()
			c.hear(stamped{time.Now(), reauthorize{done: a.reauth}})
		}()
		c.held = []stamped{{time.Now(), abort{done: a.abort}}}
		s.leave(c)
		if got := a.told(); got != "[unknown session unknown session]" {
			t.Errorf("answers %s", got)
		}
	})
}

// TestServiceNewGrantLiftsTheEnd C-075: a call that would end with its last units goes
// on when money came and the charging system asked.
func TestServiceNewGrantLiftsTheEnd(t *testing.T) {
	proves(t, "C-075")
	final := func(r ChargeRequest) ChargeAnswer {
		a := ChargeAnswer{Code: 2001, SessionOpen: r.Type != ChargeTerminate, Grant: Grant{Time: 60 * time.Second}}
		if r.Type == ChargeInitial {
			a.Grant = Grant{Time: 20 * time.Second, Final: true}
		}
		return a
	}
	onStage(t, ServiceConfig{}, &fakeCharger{answer: final}, func(s *stage) {
		call, leg := s.begin(prepaidAttempt)
		call.Answered(time.Now())
		s.Reauthorize("vpn;1;1", nil, func(Reauthorization) {})
		time.Sleep(40 * time.Second)
		if log := leg.log(); len(log.released) != 0 || s.charger.seen() != "I0 U1(0)" {
			t.Errorf("released %v, charged %s", log.released, s.charger.seen())
		}
		call.HungUp(time.Now(), PartyCalled)
		if r := s.record(); r.Talked != 40*time.Second || r.Reported != r.Talked {
			t.Errorf("record %+v", r)
		}
	})
}
