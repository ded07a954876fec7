package gy

import (
	"testing"

	"gygate/diameter"
	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// Units and several services (B.6 to B.9).
var unitsRows = []row{
	{"B-070 B-071 B-072 what is granted for what is asked", func(t *testing.T, d *desk) {
		for asked, want := range map[ServiceUnits]uint32{{}: 60, timeUnits(600): 60, timeUnits(30): 30, timeUnits(0): 60} {
			a := d.wants(d.session()(ocs.Initial, 0, wish(asked)), 2001, 2001)
			if got := a.Services[0].Granted.Value.ServiceUnits; got != timeUnits(want) {
				t.Errorf("asked %d, granted %+v", asked.Time.Value, got)
			}
		}
	}},
	{"B-073 B-074 no request no grant, none at the end", func(t *testing.T, d *desk) {
		s := d.session()
		d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
		if a := d.wants(s(ocs.Update, 1, used(60)), 2001, 2001); a.Services[0].Granted.Present {
			t.Errorf("CCA-U %+v", a)
		}
		d.ledger(9_400_000, 0)
		d.wants(s(ocs.Update, 2, ask()), 2001, 2001)
		last := report(1)
		last.Requested = Some(ServiceUnits{})
		if a := d.wants(s(ocs.Terminate, 3, last), 2001, 2001); a.Services[0].Granted.Present {
			t.Errorf("CCA-T %+v", a)
		}
		d.ledger(9_390_000, 0)
	}},
	{"B-075 one unit type in an answer", func(t *testing.T, d *desk) {
		s := wish(ServiceUnits{Time: Some(uint32(30)), Total: Some(uint64(5)), Specific: Some(uint64(1))})
		if a := d.wants(d.session()(ocs.Initial, 0, s), 2001, 2001); a.Services[0].Granted.Value.ServiceUnits != timeUnits(30) {
			t.Errorf("CCA-I %+v", a)
		}
	}},
	{"B-076 a unit that is not rated", func(t *testing.T, d *desk) {
		a := d.wants(d.session()(ocs.Initial, 0, wish(octetUnits(5))), 5004)
		if string(a.Failed[0]) != string(u64(diameter.CCTotalOctets, 5)) {
			t.Errorf("Failed-AVP %x", a.Failed)
		}
	}},
	{"B-077 money is frozen and debited as it is", func(t *testing.T, d *desk) {
		money := func(digits int64) ServiceUnits {
			return ServiceUnits{Money: Some(Amount{Value: Decimal{digits, -2}})}
		}
		s := d.session()
		r := s(ocs.Initial, 0)
		r.Command.Requested = Some(money(250))
		if a := d.wants(r, 2001); a.Command.Granted.Value.Money != Some(AmountOf(2_500_000, 156)) {
			t.Errorf("CCA-I %+v", a)
		}
		d.ledger(7_500_000, 2_500_000)
		r = s(ocs.Terminate, 1)
		r.Command.Used = []UsedUnits{{ServiceUnits: money(120)}}
		d.wants(r, 2001)
		d.ledger(8_800_000, 0)
	}},
	{"B-079 octets", func(t *testing.T, d *desk) {
		s := d.session()
		data := func(kind ocs.StepType, n uint32, service Service) CCR {
			service.RatingGroup = Some(uint32(ocstest.Volume))
			r := s(kind, n, service)
			r.ServiceContextID = ocstest.Data
			return r
		}
		d.wants(data(ocs.Initial, 0, wish(ServiceUnits{})), 2001, 2001)
		parts := ServiceUnits{Input: Some(uint64(40_000_000)), Output: Some(uint64(50_000_000))}
		d.wants(data(ocs.Update, 1, ask(UsedUnits{ServiceUnits: parts})), 2001, 2001)
		d.ledger(8_100_000, 1_000_000)
		parts.Total = Some(uint64(10_000_000))
		d.wants(data(ocs.Terminate, 2, Service{Used: []UsedUnits{{ServiceUnits: parts}}}), 2001, 2001)
		d.ledger(9_000_000, 0)
	}},
	{"B-080 B-081 more and less than was granted", func(t *testing.T, d *desk) {
		s := d.session()
		d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
		d.wants(s(ocs.Update, 1, ask(threshold(73))), 2001, 2001)
		d.ledger(8_670_000, 600_000)
		d.wants(s(ocs.Terminate, 2, report(1)), 2001, 2001)
		d.ledger(9_260_000, 0)
	}},
	{"B-082 B-085 several reports, and an empty one", func(t *testing.T, d *desk) {
		s := d.session()
		d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
		d.wants(s(ocs.Update, 1, ask(threshold(20), threshold(10), UsedUnits{}, threshold(0))), 2001, 2001)
		d.ledger(9_100_000, 600_000)
	}},
	{"B-086 every Reporting-Reason at either level", func(t *testing.T, d *desk) {
		s, number := d.session(), uint32(0)
		d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
		for reason := range uint32(10) {
			inUnits, inService := ask(UsedUnits{ServiceUnits: timeUnits(1), Reason: Some(reason)}), ask(threshold(1))
			inService.Reasons = []uint32{reason}
			number += 2
			d.wants(s(ocs.Update, number-1, inUnits), 2001, 2001)
			d.wants(s(ocs.Update, number, inService), 2001, 2001)
		}
		d.wants(s(ocs.Terminate, number+1, report(0)), 2001, 2001)
		d.ledger(9_800_000, 0)
	}},
	{"B-087 FINAL ends one rating group", func(t *testing.T, d *desk) {
		s := d.session()
		other := Service{RatingGroup: Some(uint32(ocstest.OffNet)), Requested: Some(ServiceUnits{})}
		d.wants(s(ocs.Initial, 0, ask(), other), 2001, 2001, 2001)
		last := report(0)
		last.RatingGroup, last.Requested = other.RatingGroup, Some(ServiceUnits{})
		if a := d.wants(s(ocs.Update, 1, last), 2001, 2001); a.Services[0].Granted.Present || a.Services[0].RatingGroup != other.RatingGroup {
			t.Errorf("CCA-U %+v", a)
		}
		d.ledger(9_400_000, 600_000)
	}},
	{"B-088 idle: the freeze goes, the session stays", func(t *testing.T, d *desk) {
		s := d.session()
		d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
		idle := used(10)
		idle.Reasons = []uint32{1}
		if a := d.wants(s(ocs.Update, 1, idle), 2001, 2001); a.Services[0].Granted.Present || a.Services[0].Validity != 0 {
			t.Errorf("CCA-U %+v", a)
		}
		d.ledger(9_900_000, 0)
		d.wants(s(ocs.Update, 2, ask()), 2001, 2001)
	}},
	{"B-089 a new grant counts from the report", func(t *testing.T, d *desk) {
		s := d.session()
		d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
		if a := d.wants(s(ocs.Update, 1, ask(threshold(50))), 2001, 2001); !seconds60(a) {
			t.Errorf("CCA-U %+v", a)
		}
		d.ledger(8_900_000, 600_000)
	}},
	{"B-090 B-093 B-097 one answer for each MSCC", func(t *testing.T, d *desk) {
		unpriced := Service{RatingGroup: Some(uint32(ocstest.Unpriced)), Requested: Some(ServiceUnits{})}
		s := d.session()
		d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
		a := d.wants(s(ocs.Update, 1, ask(threshold(1)), unpriced), 2001, 2001, 5031)
		named := mscc(u32(diameter.RatingGroup, ocstest.Unpriced)) // not the called number, which has a price
		if a.Services[1].RatingGroup != unpriced.RatingGroup || len(a.Failed) != 1 || string(a.Failed[0]) != string(named) {
			t.Errorf("CCA-U %+v", a)
		}
	}},
	{"B-092 neither group nor service", func(t *testing.T, d *desk) {
		a := d.wants(d.session()(ocs.Initial, 0, Service{Requested: Some(ServiceUnits{})}), 2001, 2001)
		if a.Services[0].RatingGroup.Present || a.Services[0].Identifiers != nil || !seconds60(a) {
			t.Errorf("CCA-I %+v", a)
		}
		d.ledger(9_400_000, 600_000)
	}},
	{"B-095 all refused: command for voice, inside for data", func(t *testing.T, d *desk) {
		d.books.Change(d.key, func(a *ocs.Account) { a.Threshold = 2 * ten })
		d.wants(d.session()(ocs.Initial, 0, ask()), 4012)
		s := d.session()
		for _, c := range []struct {
			kind    ocs.StepType
			service Service
			inside  diameter.ResultCode
		}{{ocs.Initial, ask(), 4012}, {ocs.Terminate, report(0), 2001}} {
			c.service.RatingGroup = Some(uint32(ocstest.Volume))
			r := s(c.kind, 0, c.service)
			r.ServiceContextID = ocstest.Data
			d.wants(r, 2001, c.inside)
		}
	}},
	{"B-130 B-131 B-111 the last affordable grant", func(t *testing.T, d *desk) {
		d.books.Change(d.key, func(a *ocs.Account) { a.Balances[0].Amount = 200_000 })
		a := d.send(d.session()(ocs.Initial, 0, wish(timeUnits(60))))
		g := a.Services[0]
		if g.Granted.Value.ServiceUnits != timeUnits(20) || g.FinalUnit != Some(uint32(0)) || g.TimeThreshold != 0 {
			t.Errorf("CCA-I %+v", g)
		}
	}},
}
