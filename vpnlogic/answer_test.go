package vpnlogic

import (
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

// TestAnswerMeetsStop: the gateway stops in the moment in which an answer goes to the
// caller. What the caller heard of is charged; what was released first is never told.
func TestAnswerMeetsStop(t *testing.T) {
	t.Run("the answer was first", func(t *testing.T) {
		onStage(t, ServiceConfig{}, &fakeCharger{answer: granting(time.Minute, time.Hour)}, func(s *stage) {
			call, leg := s.begin(prepaidAttempt)
			answered := time.Now()
			if !call.Answering() {
				t.Fatal("no leave to answer")
			}
			s.stopCalls()
			synctest.Wait()
			if len(leg.log().released) != 0 {
				t.Fatal("released before the answer was through")
			}
			call.Ringing(answered, 180) // late, and put off like the stop
			time.Sleep(10 * time.Millisecond)
			call.Answered(answered)
			synctest.Wait()
			if r := s.record(); r.Reason != ReasonShutdown || r.AnsweredAt != answered || s.charger.seen() != "I0 T1(1)" || len(leg.log().released) != 1 {
				t.Errorf("charged %s, record %+v", s.charger.seen(), r)
			}
		})
	})
	t.Run("the answer did not get through", func(t *testing.T) {
		onStage(t, ServiceConfig{}, &fakeCharger{answer: granting(time.Minute, time.Hour)}, func(s *stage) {
			call, _ := s.begin(prepaidAttempt)
			if !call.Answering() {
				t.Fatal("no leave to answer")
			}
			s.stopCalls()
			call.Cancelled(time.Now())
			if r := s.record(); r.Reason != ReasonCancelled || s.charger.seen() != "I0 T1(0)" {
				t.Errorf("charged %s, record %+v", s.charger.seen(), r)
			}
		})
	})
	t.Run("the stop was first", func(t *testing.T) {
		onStage(t, ServiceConfig{}, &fakeCharger{answer: granting(time.Minute, time.Hour)}, func(s *stage) {
			call, leg := s.begin(prepaidAttempt)
			s.stopCalls()
			synctest.Wait()
			if call.Answering() || len(leg.log().released) != 1 {
				t.Error("leave to answer a call that is released")
			}
			if r := s.record(); r.Reason != ReasonShutdown || s.charger.seen() != "I0 T1(0)" {
				t.Errorf("charged %s, record %+v", s.charger.seen(), r)
			}
		})
	})
}

// TestWallClockJump C-062: a step of the wall clock in mid-call changes no report, for
// the times carry the monotonic clock.
func TestWallClockJump(t *testing.T) {
	proves(t, "C-062")
	m := newMachine("record", attempt, limits{callMax: time.Hour, setUpMax: time.Minute, requestLife: time.Minute})
	now := time.Now()
	m.step(now, setUp{})
	m.step(now, screenOK{route: Route{Prepaid: true, Payer: "8613800000001", RatingGroup: RatingOnNet, Class: OnNet}, session: "s", charging: ChargingPrepaid})
	m.step(now, charged{ChargeAnswer{SessionOpen: true, Grant: Grant{Time: time.Hour}}})
	m.step(now, answered{})
	ended := stepWallClock(now.Add(42*time.Second), time.Hour)
	if ended.Round(0).Sub(now.Round(0)) != time.Hour+42*time.Second || ended.Sub(now) != 42*time.Second {
		t.Fatalf("the wall clock was not stepped: %v after %v", ended, now)
	}
	for _, a := range m.step(ended, disconnect{by: PartyCaller}) {
		if r, ok := a.(sendRequest); ok && r.Used != 42*time.Second {
			t.Errorf("used %v", r.Used)
		}
	}
	if m.credit.state != pendingT {
		t.Errorf("no CCR-T: %v", m.credit.state)
	}
}

// stepWallClock returns the reading that time.Now would give with the wall clock
// stepped forward: the seconds since 1885 stand in bits 30 to 62 of its first word.
func stepWallClock(t time.Time, by time.Duration) time.Time {
	const nanosecondBits = 30
	*(*uint64)(unsafe.Pointer(&t)) += uint64(by/time.Second) << nanosecondBits
	return t
}
