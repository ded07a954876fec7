package vpnlogic

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestSeed proves the VPN logic's side of the source document: the steps 101
// to 111 and the claims that speak of deciding, ordering and invoking.
func TestSeed(t *testing.T) {
	plain := Attempt{CallID: "plain", Calling: "+8613800000002", Dialled: "6001"}
	stranger := Attempt{CallID: "stranger", Calling: "+4930123456", Dialled: "6002"}

	t.Run("steps 101 and 102, claim 2: the VPN is authenticated first, and a stranger's call fails there", func(t *testing.T) {
		onStage(t, ServiceConfig{}, &fakeCharger{}, func(s *stage) {
			_, leg := s.begin(stranger)
			if r := s.record(); r.Reason != ReasonNotAMember || s.charger.drawn() != 0 || len(leg.log().connected) != 0 {
				t.Errorf("prepaid was touched, or the call not refused: %+v", r)
			}
		})
	})
	t.Run("step 102: a member without prepaid gets plain VPN service", func(t *testing.T) {
		onStage(t, ServiceConfig{}, &fakeCharger{}, func(s *stage) {
			call, leg := s.begin(plain)
			call.Answered(time.Now())
			call.HungUp(time.Now(), PartyCaller)
			if r := s.record(); r.Charging != ChargingNone || s.charger.drawn() != 0 || len(leg.log().connected) != 1 {
				t.Errorf("record %+v", r)
			}
		})
	})
	t.Run("steps 103 and 104, claims 1 and 3 to 5: prepaid is invoked and its refusal fails the call with the reason", func(t *testing.T) {
		refusing := func(ChargeRequest) ChargeAnswer {
			return ChargeAnswer{Result: ChargeRefused, Code: 4010, Reason: "authenticate.expired"}
		}
		onStage(t, ServiceConfig{}, &fakeCharger{answer: refusing}, func(s *stage) {
			_, leg := s.begin(prepaidAttempt)
			if r := s.record(); r.Reason != "authenticate.expired" || s.charger.seen() != "I0" || len(leg.log().connected) != 0 {
				t.Errorf("record %+v", r)
			}
		})
	})
	t.Run("steps 105 to 107, claim 6: an amount is reserved before the call is connected", func(t *testing.T) {
		onStage(t, ServiceConfig{}, &fakeCharger{answer: granting(time.Minute, time.Hour), after: time.Second}, func(s *stage) {
			call, leg := s.begin(prepaidAttempt)
			if before := leg.log(); len(before.connected) != 0 || s.charger.seen() != "I0" {
				t.Errorf("connected before the reservation: %+v", before)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if len(leg.log().connected) != 1 {
				t.Error("not connected after the reservation")
			}
			call.Cancelled(time.Now())
		})
	})
	t.Run("steps 108 to 111, claims 7 and 8: the call is monitored, its cost debited and the rest refunded at its end", func(t *testing.T) {
		onStage(t, ServiceConfig{}, &fakeCharger{answer: granting(time.Minute, time.Hour)}, func(s *stage) {
			call, _ := s.begin(prepaidAttempt)
			call.Answered(time.Now())
			time.Sleep(70 * time.Second)
			call.HungUp(time.Now(), PartyCalled)
			if r := s.record(); s.charger.seen() != "I0 U1(50) T2(20)" || r.Cost != "0.70" || r.Reported != 70*time.Second {
				t.Errorf("charged %s, record %+v", s.charger.seen(), r)
			}
		})
	})
	t.Run("VPN logic ranks above prepaid: the prepaid service's own trigger does not charge the call again", func(t *testing.T) {
		onStage(t, ServiceConfig{}, &fakeCharger{answer: granting(time.Minute, time.Hour)}, func(s *stage) {
			first, leg := s.begin(prepaidAttempt)
			second, _ := s.begin(prepaidAttempt)
			if s.charger.drawn() != 1 || !leg.log().connected[0].Charged {
				t.Errorf("%d sessions, leg %+v", s.charger.drawn(), leg.log())
			}
			first.Cancelled(time.Now())
			second.Cancelled(time.Now())
		})
	})
}
