package vpnlogic

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestServicePrepaidCall C-051 C-061: a call through the running service, with
// its ladder.
func TestServicePrepaidCall(t *testing.T) {
	proves(t, "C-050", "C-051", "C-023")
	onStage(t, ServiceConfig{}, &fakeCharger{answer: granting(60*time.Second, time.Hour)}, func(s *stage) {
		call, leg := s.begin(prepaidAttempt)
		if len(leg.log().connected) != 1 || leg.log().connected[0] != (Destination{Called: "8613800000002", CallerID: "6001", Display: "An", OnNet: true, Charged: true}) {
			t.Fatalf("connected %+v", leg.log().connected)
		}
		time.Sleep(time.Second)
		call.Ringing(time.Now(), 180)
		time.Sleep(11 * time.Second)
		call.Answered(time.Now())
		time.Sleep(92 * time.Second)
		call.HungUp(time.Now(), PartyCaller)
		r := s.record()
		if got, want := s.charger.seen(), "I0 U1(50) T2(42)"; got != want {
			t.Errorf("charged %s, want %s", got, want)
		}
		if r.Talked != 92*time.Second || r.Reported != 92*time.Second || r.Cost != "0.92" || r.Currency != 156 || r.Charging != ChargingPrepaid ||
			r.Reason != ReasonNormal || r.ReleasedBy != "caller" || r.Status != 200 || r.Cause != 16 || r.Session != "vpn;1;1" || r.ID == "" {
			t.Errorf("record %+v", r)
		}
		if len(leg.log().released) != 1 || leg.log().released[0] != CauseOf(ReasonNormal) {
			t.Errorf("released %+v", leg.log().released)
		}
		want := `caller > gygate: INVITE 6002
gygate > gygate: screened on-net → 8613800000002, charging prepaid
gygate > ocs: CCR-I #0
ocs > gygate: CCA-I #0 granted 60 s
gygate > called: INVITE 8613800000002
called > gygate: 180 Ringing
called > gygate: 200 OK
gygate > ocs: CCR-U #1 used 50 s
ocs > gygate: CCA-U #1 granted 60 s
caller > gygate: BYE
gygate > called: BYE
gygate > ocs: CCR-T #2 used 42 s
ocs > gygate: CCA-T #2 granted
gygate > gygate: call record: normal
`
		if got := s.observer.ladder(); got != want {
			t.Errorf("ladder:\n%s", got)
		}
	})
}

// TestServiceCutOff C-055: the last units end the call at most 200 ms early and
// never late, a hundred times.
func TestServiceCutOff(t *testing.T) {
	proves(t, "C-055", "C-021")
	for range 100 {
		onStage(t, ServiceConfig{}, &fakeCharger{answer: granting(60*time.Second, 20*time.Second)}, func(s *stage) {
			call, leg := s.begin(prepaidAttempt)
			answered := time.Now()
			call.Answered(answered)
			time.Sleep(30 * time.Second)
			r := s.record()
			if talked := leg.log().at[0].Sub(answered); talked < 19800*time.Millisecond || talked > 20*time.Second {
				t.Errorf("released after %v", talked)
			}
			if s.charger.seen() != "I0 T1(20)" || r.Reason != ReasonQuotaEnd || r.ReleasedBy != "charging" || r.Reported != 20*time.Second {
				t.Errorf("charged %s, record %+v", s.charger.seen(), r)
			}
		})
	}
}

// TestServiceNoAlertBeforeAnswer C-001: nothing goes out before CCA-I.
func TestServiceNoAlertBeforeAnswer(t *testing.T) {
	proves(t, "C-001", "C-012")
	onStage(t, ServiceConfig{}, &fakeCharger{answer: granting(60*time.Second, time.Hour), after: 3 * time.Second}, func(s *stage) {
		call, leg := s.begin(prepaidAttempt)
		time.Sleep(2999 * time.Millisecond)
		synctest.Wait()
		if len(leg.log().connected) != 0 {
			t.Fatal("connected before the answer")
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if len(leg.log().connected) != 1 {
			t.Fatal("not connected after the answer")
		}
		call.Cancelled(time.Now())
		time.Sleep(3 * time.Second)
		if r := s.record(); r.Status != 487 || s.charger.seen() != "I0 T1(0)" {
			t.Errorf("charged %s, record %+v", s.charger.seen(), r)
		}
	})
}

// TestServiceUnreachable C-009: a charger that never answers does not leave
// the caller ringing.
func TestServiceUnreachable(t *testing.T) {
	onStage(t, ServiceConfig{ChargeMax: 10 * time.Second}, &fakeCharger{after: time.Hour}, func(s *stage) {
		begin := time.Now()
		_, leg := s.begin(prepaidAttempt)
		time.Sleep(30 * time.Second)
		r := s.record()
		if len(leg.log().connected) != 0 || len(leg.log().released) != 1 || leg.log().at[0].Sub(begin) != 10*time.Second {
			t.Fatalf("connected %v, released %v at %v", leg.log().connected, leg.log().released, leg.log().at)
		}
		if r.Status != 503 || r.Cause != 41 || r.Reason != ReasonUnreachable {
			t.Errorf("record %+v", r)
		}
	})
}

// TestServiceRefusals: each refusal releases the leg and is recorded, and none
// but the charging system's has touched prepaid.
func TestServiceRefusals(t *testing.T) {
	tests := map[string]struct {
		attempt  Attempt
		answer   ChargeAnswer
		reason   string
		charging Charging
		seen     string
	}{
		"stranger":      {Attempt{CallID: "c", Calling: "+4930123456", Dialled: "6002"}, ChargeAnswer{}, ReasonNotAMember, ChargingNone, ""},
		"unknown short": {Attempt{CallID: "c", Calling: "+8613800000001", Dialled: "6999"}, ChargeAnswer{}, ReasonUnknownShortNumber, ChargingNone, ""},
		"lost":          {prepaidAttempt, ChargeAnswer{Result: ChargeRefused, Code: 4010, Reason: "authenticate.lost"}, "authenticate.lost", ChargingPrepaid, "I0"},
		"no balance":    {prepaidAttempt, ChargeAnswer{Result: ChargeNoCredit, Code: 4012, Reason: "authenticate.no_balance"}, "authenticate.no_balance", ChargingPrepaid, "I0"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			onStage(t, ServiceConfig{}, &fakeCharger{answer: func(ChargeRequest) ChargeAnswer { return tt.answer }}, func(s *stage) {
				_, leg := s.begin(tt.attempt)
				r := s.record()
				if r.Reason != tt.reason || r.Charging != tt.charging || s.charger.seen() != tt.seen || len(leg.log().connected) != 0 || len(leg.log().released) != 1 {
					t.Errorf("charged %q, leg %+v, record %+v", s.charger.seen(), leg.log(), r)
				}
			})
		})
	}
}

// TestServiceUncharged: plain VPN service, emergency calls and calls that
// another trigger charges see no CCR, and are recorded all the same.
func TestServiceUncharged(t *testing.T) {
	marked := prepaidAttempt
	marked.Charged = true
	tests := map[string]struct {
		attempt  Attempt
		charging Charging
		mark     bool
	}{
		"without prepaid":                {Attempt{CallID: "c", Calling: "+8613800000002", Dialled: "6001"}, ChargingNone, false},
		"emergency":                      {Attempt{CallID: "c", Calling: "+8613800000001", Dialled: "112"}, ChargingEmergency, false},
		"emergency of a stranger":        {Attempt{CallID: "c", Calling: "+4930123456", Dialled: "112"}, ChargingEmergency, false},
		"charged by another, as it says": {marked, ChargingElsewhere, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			onStage(t, ServiceConfig{}, &fakeCharger{}, func(s *stage) {
				call, leg := s.begin(tt.attempt)
				call.Answered(time.Now())
				time.Sleep(5 * time.Second)
				call.HungUp(time.Now(), PartyCalled)
				r := s.record()
				if s.charger.seen() != "" || s.charger.drawn() != 0 {
					t.Errorf("charged %s", s.charger.seen())
				}
				if r.Charging != tt.charging || r.Talked != 5*time.Second || r.Session != "" || leg.log().connected[0].Charged != tt.mark {
					t.Errorf("leg %+v, record %+v", leg.log(), r)
				}
			})
		})
	}
}

// TestServiceSecondTrigger: the same call coming back, by ICID or by Call-ID,
// gets VPN service but is not charged twice; after its end it may be charged
// again.
func TestServiceSecondTrigger(t *testing.T) {
	onStage(t, ServiceConfig{}, &fakeCharger{answer: granting(time.Hour, 2*time.Hour)}, func(s *stage) {
		first, _ := s.begin(prepaidAttempt)
		sameICID, _ := s.begin(Attempt{CallID: "call-2", ICID: "icid-1", Calling: "+8613800000001", Dialled: "6002"})
		sameCallID, _ := s.begin(Attempt{CallID: "call-1", Calling: "+8613800000001", Dialled: "6002"})
		other, _ := s.begin(Attempt{CallID: "call-3", ICID: "icid-3", Calling: "+8613800000001", Dialled: "6002"})
		if s.charger.drawn() != 2 {
			t.Errorf("%d sessions, want 2: the first call's and the other's", s.charger.drawn())
		}
		for _, call := range []*Call{first, sameICID, sameCallID, other} {
			call.Cancelled(time.Now())
		}
		synctest.Wait()
		again, _ := s.begin(prepaidAttempt)
		if s.charger.drawn() != 3 {
			t.Errorf("%d sessions: the call is not charged after the end of the first", s.charger.drawn())
		}
		again.Cancelled(time.Now())
		synctest.Wait()
		elsewhere := 0
		for _, r := range s.recorder.all() {
			if r.Charging == ChargingElsewhere {
				elsewhere++
			}
		}
		if len(s.recorder.all()) != 5 || elsewhere != 2 {
			t.Errorf("%d records, %d charged elsewhere", len(s.recorder.all()), elsewhere)
		}
	})
}

// TestServiceCallsMax: the call above the limit is refused at once and
// recorded; an emergency call is served.
func TestServiceCallsMax(t *testing.T) {
	onStage(t, ServiceConfig{CallsMax: 1}, &fakeCharger{answer: granting(time.Hour, 2*time.Hour)}, func(s *stage) {
		s.begin(prepaidAttempt)
		leg := &fakeLeg{}
		call, cause := s.Begin(s.t.Context(), Attempt{CallID: "call-2", Calling: "+8613800000002", Dialled: "6001"}, leg)
		if call != nil || cause == nil || *cause != CauseOf(ReasonOverload) || len(leg.log().released) != 0 {
			t.Fatalf("call %v, cause %v, leg %+v", call, cause, leg.log())
		}
		if r := s.record(); r.Reason != ReasonOverload || r.CallID != "call-2" || r.Status != 503 {
			t.Errorf("record %+v", r)
		}
		emergency, _ := s.begin(Attempt{CallID: "call-3", Calling: "+8613800000002", Dialled: "112"})
		if s.Active() != 2 {
			t.Errorf("%d calls", s.Active())
		}
		emergency.HungUp(time.Now(), PartyCalled)
	})
}

// TestServiceShutdown: all calls are released, charged to their end and
// recorded before Shutdown returns; later ones are refused.
func TestServiceShutdown(t *testing.T) {
	onStage(t, ServiceConfig{}, &fakeCharger{answer: granting(time.Hour, 2*time.Hour), after: 100 * time.Millisecond}, func(s *stage) {
		var legs []*fakeLeg
		for i := range 5 {
			call, leg := s.begin(Attempt{CallID: fmt.Sprint("call-", i), Calling: "+8613800000001", Dialled: "6002"})
			time.Sleep(time.Second)
			call.Answered(time.Now())
			legs = append(legs, leg)
		}
		time.Sleep(9 * time.Second)
		if err := s.Shutdown(s.t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, leg := range legs {
			if len(leg.log().released) != 1 || leg.log().released[0] != CauseOf(ReasonShutdown) {
				t.Errorf("released %+v", leg.log().released)
			}
		}
		for _, r := range s.recorder.all() {
			if r.Reported == 0 || r.Cost == "" || r.Reason != ReasonShutdown {
				t.Errorf("record %+v", r)
			}
		}
		if n := strings.Count(s.charger.seen(), "T1"); n != 5 || len(s.recorder.all()) != 5 {
			t.Errorf("%d terminates, %d records", n, len(s.recorder.all()))
		}
		if call, cause := s.Begin(s.t.Context(), prepaidAttempt, &fakeLeg{}); call != nil || cause.Reason != ReasonShutdown {
			t.Errorf("a call was begun after the shutdown: %v", cause)
		}
	})
}

// TestServiceShutdownDeadline: Shutdown says what it left behind, and leaks
// nothing once the charger gives up.
func TestServiceShutdownDeadline(t *testing.T) {
	directory := testDirectory(t)
	synctest.Test(t, func(t *testing.T) {
		s := NewService(ServiceConfig{Directory: func() *Directory { return directory }, Charger: &fakeCharger{after: time.Hour}, Recorder: &fakeRecorder{}})
		if _, cause := s.Begin(t.Context(), prepaidAttempt, &fakeLeg{}); cause != nil {
			t.Fatal(cause)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 calls not settled") {
			t.Errorf("shutdown: %v", err)
		}
		time.Sleep(2 * ChargeMaxDefault)
		synctest.Wait()
		if s.Active() != 0 {
			t.Error("the call never ended")
		}
	})
}

// TestServiceFaults C-063: panics of leg, charger and recorder end the call in
// order, with a record.
func TestServiceFaults(t *testing.T) {
	t.Run("leg", func(t *testing.T) {
		onStage(t, ServiceConfig{}, &fakeCharger{answer: granting(time.Hour, 2*time.Hour)}, func(s *stage) {
			leg := &fakeLeg{onConnect: func() { panic("no socket") }}
			if _, cause := s.Begin(s.t.Context(), prepaidAttempt, leg); cause != nil {
				t.Fatal(cause)
			}
			r := s.record()
			if r.Reason != ReasonInternal || r.Status != 500 || s.charger.seen() != "I0 T1(0)" || len(leg.log().released) != 1 {
				t.Errorf("charged %s, leg %+v, record %+v", s.charger.seen(), leg.log(), r)
			}
		})
	})
	t.Run("charger", func(t *testing.T) {
		onStage(t, ServiceConfig{}, &fakeCharger{answer: func(ChargeRequest) ChargeAnswer { panic("no dictionary") }}, func(s *stage) {
			_, leg := s.begin(prepaidAttempt)
			if r := s.record(); r.Reason != ReasonUnreachable || len(leg.log().released) != 1 || len(leg.log().connected) != 0 {
				t.Errorf("leg %+v, record %+v", leg.log(), r)
			}
		})
	})
	t.Run("observer", func(t *testing.T) {
		onStage(t, ServiceConfig{}, &fakeCharger{answer: granting(time.Hour, 2*time.Hour)}, func(s *stage) {
			s.config.Observer = panickingObserver{}
			call, _ := s.begin(prepaidAttempt)
			call.Cancelled(time.Now())
			if r := s.record(); r.Reason != ReasonCancelled || s.charger.seen() != "I0 T1(0)" {
				t.Errorf("charged %s, record %+v", s.charger.seen(), r)
			}
		})
	})
	t.Run("machine", func(t *testing.T) {
		onStage(t, ServiceConfig{}, &fakeCharger{}, func(s *stage) {
			leg := &fakeLeg{}
			c := newCall(s.t.Context(), s.Service, sanitise(prepaidAttempt), leg)
			c.machine.at = alerting
			func() {
				defer c.rescue()
				panic("broken invariant")
			}()
			if r := s.record(); r.Reason != ReasonInternal || r.Status != 500 || len(leg.log().released) != 1 {
				t.Errorf("leg %+v, record %+v", leg.log(), r)
			}
		})
	})
}

type panickingObserver struct{}

func (panickingObserver) Observe(CallEvent) { panic("no terminal") }

// TestRecordRetry: a record is tried until it is written, and given up when
// the recorder says that it never will.
func TestRecordRetry(t *testing.T) {
	away := errors.New("database away")
	flaky := &fakeRecorder{fail: func(try int) error {
		if try < 5 {
			return away
		}
		return nil
	}}
	onStage(t, ServiceConfig{Recorder: flaky}, &fakeCharger{}, func(s *stage) {
		call, _ := s.begin(Attempt{CallID: "c", Calling: "+8613800000002", Dialled: "6001"})
		call.Cancelled(time.Now())
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := flaky.reasons(); !slices.Equal(got, []string{ReasonCancelled}) || flaky.tries != 5 {
			t.Errorf("records %v after %d tries", got, flaky.tries)
		}
	})
	refusing := &fakeRecorder{fail: func(int) error { return fmt.Errorf("%w: bad text", ErrRecordRefused) }}
	onStage(t, ServiceConfig{Recorder: refusing}, &fakeCharger{}, func(s *stage) {
		call, _ := s.begin(Attempt{CallID: "c", Calling: "+8613800000002", Dialled: "6001"})
		call.Cancelled(time.Now())
		time.Sleep(time.Minute)
		synctest.Wait()
		if refusing.tries != 1 {
			t.Errorf("%d tries", refusing.tries)
		}
	})
}

// TestRecordBatch: what waits is written at once, and a record that is refused spoils
// no other one.
func TestRecordBatch(t *testing.T) {
	const calls = 50
	recorder := &fakeRecorder{refuses: "7"}
	recorder.fail = func(try int) error {
		if try <= recordWriters {
			return errors.New("database away") // so that the rest waits
		}
		return nil
	}
	onStage(t, ServiceConfig{Recorder: recorder}, &fakeCharger{}, func(s *stage) {
		for i := range calls {
			call, _ := s.begin(Attempt{CallID: fmt.Sprint(i), Calling: "+8613800000002", Dialled: "6001"})
			call.Cancelled(time.Now())
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(recorder.all()); n != calls-1 {
			t.Errorf("%d records, want all but one of %d", n, calls)
		}
		if recorder.biggest < calls/recordWriters/2 { // the writers share what waits, evenly or not
			t.Errorf("at most %d at once of %d that waited", recorder.biggest, calls)
		}
	})
}

// TestRecordBackPressure: while records cannot be written, finished calls keep
// their places, new ones are refused in the end, and nothing is lost.
func TestRecordBackPressure(t *testing.T) {
	var mu sync.Mutex
	away := true
	recorder := &fakeRecorder{fail: func(int) error {
		mu.Lock()
		defer mu.Unlock()
		if away {
			return errors.New("database away")
		}
		return nil
	}}
	const calls = recordWriters + 1 + 2 // with the writers, in the queue, in their places
	onStage(t, ServiceConfig{Recorder: recorder, RecordsMax: 1, CallsMax: 2}, &fakeCharger{}, func(s *stage) {
		for i := range calls {
			call, _ := s.begin(Attempt{CallID: fmt.Sprint(i), Calling: "+8613800000002", Dialled: "6001"})
			call.Cancelled(time.Now())
			synctest.Wait()
		}
		if _, cause := s.Begin(s.t.Context(), Attempt{CallID: "x", Calling: "+8613800000002", Dialled: "6001"}, &fakeLeg{}); cause == nil || cause.Reason != ReasonOverload {
			t.Errorf("not refused: %v", cause)
		}
		mu.Lock()
		away = false
		mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(recorder.reasons()); n != calls {
			t.Errorf("%d records, want %d", n, calls)
		}
	})
}

// TestServiceSanitises: bytes of signalling cannot spoil records.
func TestServiceSanitises(t *testing.T) {
	onStage(t, ServiceConfig{}, &fakeCharger{}, func(s *stage) {
		s.begin(Attempt{CallID: "a\x00b\xff" + strings.Repeat("x", 1000), Calling: "\r\n+49", Dialled: "\x1b[31m"})
		r := s.record()
		if !strings.HasPrefix(r.CallID, "abx") || len(r.CallID) > textMax || r.Calling != "+49" || r.Dialled != "[31m" {
			t.Errorf("record %+v", r)
		}
	})
}

// TestServiceLegEvents: what the legs tell reaches the machine with its cause.
func TestServiceLegEvents(t *testing.T) {
	tests := map[string]struct {
		event  func(*Call)
		reason string
		by     string
		status int
	}{
		"busy":                   {func(c *Call) { c.Failed(time.Now(), CauseFromStatus(486)) }, ReasonBusy, "called", 486},
		"failed without a cause": {func(c *Call) { c.Failed(time.Now(), Cause{}) }, ReasonRejected, "called", 503},
		"lost":                   {func(c *Call) { c.Lost(time.Now()) }, ReasonLinkLost, "service", 408},
		"cancelled":              {func(c *Call) { c.Cancelled(time.Now()) }, ReasonCancelled, "caller", 487},
		"called hangs up early":  {func(c *Call) { c.HungUp(time.Now(), PartyCalled) }, ReasonRejected, "called", 503},
		"answered and hung up":   {func(c *Call) { c.Answered(time.Now()); c.HungUp(time.Now(), PartyCalled) }, ReasonNormal, "called", 200},
		"everything comes at once": {func(c *Call) {
			for range 100 {
				c.Ringing(time.Now(), 183)
				c.Answered(time.Now())
				c.HungUp(time.Now(), PartyCaller)
				c.HungUp(time.Now(), PartyCalled)
				c.Failed(time.Now(), CauseFromStatus(500))
				c.Lost(time.Now())
			}
		}, ReasonNormal, "caller", 200},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			onStage(t, ServiceConfig{}, &fakeCharger{answer: granting(time.Hour, 2*time.Hour)}, func(s *stage) {
				call, leg := s.begin(prepaidAttempt)
				tt.event(call)
				r := s.record()
				if r.Reason != tt.reason || r.ReleasedBy != tt.by || r.Status != tt.status || len(leg.log().released) != 1 || s.charger.seen() != "I0 T1(0)" {
					t.Errorf("charged %s, leg %+v, record %+v", s.charger.seen(), leg.log(), r)
				}
			})
		})
	}
}
