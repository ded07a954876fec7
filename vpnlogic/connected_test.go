package vpnlogic

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestReclass: what a connected number costs the caller, without any barring.
func TestReclass(t *testing.T) {
	d := testDirectory(t)
	an := Member{Number: "8613800000001", Group: "7001"}
	onNet := Route{Caller: an, Called: "8613800000002", Class: OnNet, RatingGroup: RatingOnNet}
	forced := Route{Caller: an, Called: "8613800000002", Class: ForcedOnNet, RatingGroup: RatingOnNet}
	offNet := Route{Caller: an, Called: "862155551234", Class: OffNet, RatingGroup: RatingOffNet}
	lobby := onNet
	lobby.Caller = Member{Number: "8613800000004", Group: "7001"}
	shopper := Route{Caller: Member{Number: "8613700000001", Group: "7003"}, Called: "8613700000002", Class: OnNet, RatingGroup: RatingOnNet}
	tests := []struct {
		name  string
		route Route
		raw   string
		want  party
		none  bool
	}{
		{"who was called", onNet, "+8613800000002", party{"8613800000002", OnNet, RatingOnNet}, false},
		{"who was called, by a public number", forced, "tel:+86-138-0000-0002", party{"8613800000002", ForcedOnNet, RatingOnNet}, false},
		{"another colleague", onNet, "+8613800000003", party{"8613800000003", OnNet, RatingOnNet}, false},
		{"a colleague by his short number", onNet, "6003", party{"8613800000003", OnNet, RatingOnNet}, false},
		{"a colleague of another site", onNet, "+8613900010001", party{"8613900010001", OnNet, RatingOnNet}, false},
		{"an excluded colleague after an on-net call", onNet, "+8613800000070", party{"8613800000070", OnNet, RatingOnNet}, false},
		{"a mobile", onNet, "+8613901234567", party{"8613901234567", OffNet, RatingOffNet}, false},
		{"the same without plus", onNet, "8613901234567", party{"8613901234567", OffNet, RatingOffNet}, false},
		{"the same with 00", onNet, "008613901234567", party{"8613901234567", OffNet, RatingOffNet}, false},
		{"abroad", onNet, "+4930901820", party{"4930901820", International, RatingInternational}, false},
		{"abroad from abroad", offNet, "+4930901820", party{"4930901820", International, RatingInternational}, false},
		{"a colleague after an off-net call", offNet, "+8613800000003", party{"8613800000003", ForcedOnNet, RatingOnNet}, false},
		{"an excluded colleague after an off-net call", offNet, "+8613800000070", party{"8613800000070", OffNet, RatingOffNet}, false},
		{"the short number of a colleague after an off-net call", offNet, "6003", party{"8613800000003", OnNet, RatingOnNet}, false},
		{"barred for this caller, but on", lobby, "+4930901820", party{"4930901820", International, RatingInternational}, false},
		{"without the escape code the group demands", shopper, "+8613901234567", party{"8613901234567", OffNet, RatingOffNet}, false},
		{"nobody", onNet, "", party{}, true},
		{"a name", onNet, "reception", party{}, true},
		{"no number", onNet, "+999", party{}, true},
		{"of a caller who is no member any more", Route{Caller: Member{Number: "4930123456"}, Class: OnNet}, "+8613800000003", party{}, true},
		{"of an emergency call", Route{Caller: an, Class: Emergency}, "+8613800000003", party{}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := d.reclass(tt.route, tt.raw)
			if ok == tt.none || got != tt.want && ok {
				t.Errorf("%+v, %v, want %+v", got, ok, tt.want)
			}
		})
	}
}

// TestServiceConnected C-064: an on-net call is forwarded off the network 20 s after
// its answer; what was used goes to the old price at once.
func TestServiceConnected(t *testing.T) {
	proves(t, "C-064")
	onStage(t, ServiceConfig{}, &fakeCharger{answer: granting(60*time.Second, time.Hour)}, func(s *stage) {
		call, _ := s.begin(prepaidAttempt)
		answeredAt := time.Now()
		call.Answered(answeredAt)
		call.Connected(answeredAt, "+8613800000002") // the one who was called: nothing changes
		time.Sleep(20 * time.Second)
		call.Connected(time.Now(), "+4930901820")
		synctest.Wait()
		r := s.charger.requests[len(s.charger.requests)-1]
		if s.charger.seen() != "I0 U1(20)" || r.At.Sub(answeredAt) != 20*time.Second || r.RatingGroup != RatingOnNet || r.Wanted != RatingInternational ||
			r.Report != ReportRatingChange || r.Call.Connected != "4930901820" || r.Call.Called != "8613800000002" || r.Call.Class != International {
			t.Errorf("charged %s, last %+v", s.charger.seen(), r)
		}
		time.Sleep(15 * time.Second)
		call.HungUp(time.Now(), PartyCaller)
		record := s.record()
		last := s.charger.requests[2]
		if s.charger.seen() != "I0 U1(20) T2(15)" || last.RatingGroup != RatingInternational || record.Connected != "4930901820" || record.Class != OnNet {
			t.Errorf("charged %s, last %+v, record %+v", s.charger.seen(), last, record)
		}
	})
}

// TestServiceConnectedTooOften: a called side that changes without end cannot stop the
// call.
func TestServiceConnectedTooOften(t *testing.T) {
	onStage(t, ServiceConfig{}, &fakeCharger{answer: granting(time.Minute, time.Hour), after: time.Second}, func(s *stage) {
		call, _ := s.begin(prepaidAttempt)
		time.Sleep(2 * time.Second)
		call.Answered(time.Now())
		for n := range 1000 {
			call.Connected(time.Now(), []string{"+4930901820", "+8613800000002", "rubbish"}[n%3])
		}
		time.Sleep(30 * time.Second)
		call.HungUp(time.Now(), PartyCaller)
		time.Sleep(time.Minute)
		if r := s.record(); r.Talked != 30*time.Second || r.Reported != r.Talked {
			t.Errorf("record %+v", r)
		}
		if n := len(s.charger.requests); n > 2+changesMax+connectedMax {
			t.Errorf("%d requests", n)
		}
	})
}
