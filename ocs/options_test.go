package ocs_test

import (
	"testing"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

func TestServiceOptionsCheck(t *testing.T) {
	number := func(n uint32) *uint32 { return &n }
	for name, o := range map[string]ocs.ServiceOptions{
		"no such action":      {FinalAction: 3},
		"redirect to nowhere": {FinalAction: ocs.FinalRedirect},
		"no such address":     {Redirect: &ocs.Redirect{Type: 4, Address: "x"}},
		"restricted to what":  {FinalAction: ocs.FinalRestrict},
		"no such bar":         {Bar: 3},
		"no such handling":    {FailureHandling: map[string]uint32{"": 3}},
		"no such debit":       {DebitFailure: number(2)},
	} {
		if o.Check() == nil {
			t.Errorf("%s: not refused", name)
		}
		if _, err := ocs.NewTariff(nil, []ocs.ServiceContext{{Name: ocstest.Voice, ServiceOptions: o}}); err == nil {
			t.Errorf("%s: not refused in a service", name)
		}
	}
	for _, o := range []ocs.ServiceOptions{
		{}, {FinalAction: ocs.FinalRedirect, Redirect: &ocs.Redirect{Type: 3, Address: "sip:topup@example"}},
		{FinalAction: ocs.FinalRestrict, Filters: []string{"permit in ip from any to 192.0.2.1"}},
		{FailureHandling: map[string]uint32{"vip": 1, "": 2}, DebitFailure: number(1), Bar: ocs.BarAsk},
	} {
		if err := o.Check(); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
