package sample

import (
	"testing"
	"time"

	"gygate/ocs"
	"gygate/vpnlogic"
)

func TestSampleIsConsistent(t *testing.T) {
	d, err := vpnlogic.NewDirectory([]vpnlogic.Group{Group}, Members(), []string{EmergencyCall})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ocs.NewTariff(Tariff(), nil); err != nil {
		t.Error(err)
	}
	for _, tc := range []struct {
		from, dialled string
		called        vpnlogic.E164
		class         vpnlogic.CallClass
		reason        string
	}{
		{string(Number("6001")), "6002", Number("6002"), vpnlogic.OnNet, ""},
		{string(Number("6001")), "+" + string(Number("6002")), Number("6002"), vpnlogic.ForcedOnNet, ""},
		{string(Number("6006")), "004066969100", Outside, vpnlogic.OffNet, ""},
		{string(Number("6006")), "+" + string(Abroad), Abroad, vpnlogic.International, ""},
		{string(Stranger), "6002", "", "", vpnlogic.ReasonNotAMember},
		{string(Stranger), EmergencyCall, "", vpnlogic.Emergency, ""},
	} {
		r, cause := d.Screen(vpnlogic.Attempt{Calling: tc.from, Dialled: tc.dialled}, time.Now())
		reason := ""
		if cause != nil {
			reason = cause.Reason
		}
		if r.Called != tc.called || r.Class != tc.class || reason != tc.reason {
			t.Errorf("%s dials %s: called %s, %q, reason %q", tc.from, tc.dialled, r.Called, r.Class, reason)
		}
	}
}

func TestNumber(t *testing.T) {
	if Number("6001") != "493023125001" || Number("9999") != "" {
		t.Errorf("got %s, %s", Number("6001"), Number("9999"))
	}
}
