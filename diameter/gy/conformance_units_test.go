package gy

import (
	"slices"
	"testing"
	"time"

	"gygate/diameter"
	"gygate/ocs"
	"gygate/ocs/ocstest"
)

func TestUnitsConformance(t *testing.T) { runRows(t, unitsRows) }

// Units, and several services (B.6, B.7).
var unitsRows = []row{
	{"B-070 B-071 B-072 D-033 what is granted for what is asked", func(t *testing.T, _ *desk) {
		for asked, want := range map[ServiceUnits]uint32{{}: 60, timeUnits(600): 60, timeUnits(30): 30, timeUnits(0): 60} {
			d := openDesk(t, ten)
			a := d.wants(d.session()(ocs.Initial, 0, wish(asked)), 2001, 2001)
			if got := a.Services[0].Granted.Value.ServiceUnits; got != timeUnits(want) || a.Services[0].FinalUnit.Present {
				t.Errorf("asked %d, granted %+v", asked.Time.Value, got)
			}
			d.ledger(ten-ocs.Money(want)*10_000, ocs.Money(want)*10_000)
		}
		d := openDesk(t, 200_000)
		a := d.wants(d.session()(ocs.Initial, 0, wish(timeUnits(60))), 2001, 2001)
		if g := a.Services[0]; g.Granted.Value.ServiceUnits != timeUnits(20) || g.FinalUnit != Some(uint32(0)) {
			t.Errorf("of 0.20: %+v", g)
		}
	}},
	{"B-073 B-074 no request no grant, none at the end", func(t *testing.T, d *desk) {
		s := d.session()
		d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
		if a := d.wants(s(ocs.Update, 1, used(60)), 2001, 2001); a.Services[0].Granted.Present {
			t.Errorf("CCA-U %+v", a)
		}
		d.ledger(9_400_000, 0)
		if !d.open(s(ocs.Update, 1)) {
			t.Error("the session is over")
		}
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
		r := d.session()(ocs.Initial, 0)
		r.Command = s
		if a := d.wants(r, 2001); a.Command.Granted.Value.ServiceUnits != timeUnits(30) {
			t.Errorf("CCA-I %+v", a)
		}
	}},
	{"B-076 a unit that is not rated", func(t *testing.T, d *desk) {
		d.failed(d.wants(d.session()(ocs.Initial, 0, wish(octetUnits(5))), 5004), u64(diameter.CCTotalOctets, 5))
		d.ledger(ten, 0)
	}},
	{"B-077 B-213 money is frozen and debited as it is, in the account's currency", func(t *testing.T, d *desk) {
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
	{"B-079 D-031 octets", func(t *testing.T, d *desk) {
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
		if !d.log.has("octets_disagree") {
			t.Errorf("no warning in %s", &d.log)
		}
	}},
	{"B-080 B-081 D-038 more and less than was granted", func(t *testing.T, d *desk) {
		s := d.session()
		d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
		d.wants(s(ocs.Update, 1, ask(threshold(73))), 2001, 2001)
		d.ledger(8_670_000, 600_000)
		d.wants(s(ocs.Terminate, 2, report(1)), 2001, 2001)
		d.ledger(9_260_000, 0)

		d = openDesk(t, 650_000)
		s = d.session()
		d.wants(s(ocs.Initial, 0, wish(timeUnits(60))), 2001, 2001)
		d.wants(s(ocs.Terminate, 1, report(73)), 2001, 2001)
		d.ledger(0, 0)
		var overrun int64
		for _, row := range d.books.Books(t).Journal {
			overrun += row.Overrun
		}
		if debt := d.books.Account(d.key).Debt; overrun != 80_000 || debt != 80_000 {
			t.Errorf("overrun %d, debt %d", overrun, debt)
		}
	}},
	{"B-084 D-022 D-023 units beside the granted one", func(t *testing.T, d *desk) {
		s := d.data()
		seconds := Service{RatingGroup: Some(uint32(ocstest.OnNet)), Requested: Some(ServiceUnits{})}
		d.wants(s(ocs.Initial, 0, seconds, volume(ocstest.Volume)), 2001, 2001, 2001)
		both := ServiceUnits{Time: Some(uint32(30)), Input: Some(uint64(1_000_000)), Output: Some(uint64(4_000_000)),
			Money: Some(Amount{Value: Decimal{Digits: 7}})}
		for n, group := range []uint32{ocstest.OnNet, ocstest.Volume} {
			service := Service{RatingGroup: Some(group), Used: []UsedUnits{{ServiceUnits: both}}, Requested: Some(octetUnits(1_000_000))}
			if group == ocstest.OnNet {
				service.Requested = Some(ServiceUnits{})
			}
			d.wants(s(ocs.Update, uint32(n+1), service), 2001, 2001)
		}
		d.wants(s(ocs.Terminate, 3), 2001)
		d.ledger(9_650_000, 0) // 0.30 and 0.05
	}},
	{"B-085 several reports, and an empty one", func(t *testing.T, d *desk) {
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
		if a := d.wants(s(ocs.Update, 2, ask(threshold(60))), 2001, 2001); !seconds60(a) {
			t.Errorf("CCA-U %+v", a)
		}
		d.ledger(8_800_000, 600_000)
	}},
	{"B-088 idle: the freeze goes, the session stays", func(t *testing.T, d *desk) {
		s := d.session()
		d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
		idle := used(10)
		idle.Reasons = []uint32{1}
		d.pass(100 * time.Second)
		m := d.frame(s(ocs.Update, 1, idle))
		compare(t, m, d.serve(m).Raw, proxiable, credit(2, 1), result(2001), plainAnswer(100))
		d.ledger(9_900_000, 0)
		if d.deadline(s(ocs.Update, 1)) != 600*time.Second {
			t.Errorf("supervised for %v", d.deadline(s(ocs.Update, 1)))
		}
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
	{"B-090 B-093 B-097 D-003 one answer for each MSCC", func(t *testing.T, d *desk) {
		unpriced := Service{RatingGroup: Some(uint32(ocstest.Unpriced)), Requested: Some(ServiceUnits{})}
		named := wish(ServiceUnits{})
		named.Identifiers = []uint32{7}
		s := d.session()
		both := d.wants(s(ocs.Initial, 0, ask(), named), 2001, 2001, 2001)
		if first, second := both.Services[0], both.Services[1]; first.Identifiers != nil || first.RatingGroup != Some(uint32(100)) ||
			!slices.Equal(second.Identifiers, named.Identifiers) || second.RatingGroup != Some(uint32(100)) || second.Validity != 300 {
			t.Errorf("CCA-I %+v", both)
		}
		a := d.wants(s(ocs.Update, 1, ask(threshold(1)), unpriced), 2001, 2001, 5031)
		d.failed(a, mscc(u32(diameter.RatingGroup, ocstest.Unpriced))) // not the called number, which has a price
		if a.Services[1].RatingGroup != unpriced.RatingGroup {
			t.Errorf("CCA-U %+v", a)
		}
		d.wants(s(ocs.Terminate, 2, report(0)), 2001, 2001)
	}},
	{"B-092 D-019 neither group nor service", func(t *testing.T, d *desk) {
		a := d.wants(d.session()(ocs.Initial, 0, Service{Requested: Some(ServiceUnits{})}), 2001, 2001)
		if a.Services[0].RatingGroup.Present || a.Services[0].Identifiers != nil || !seconds60(a) {
			t.Errorf("CCA-I %+v", a)
		}
		d.ledger(9_400_000, 600_000)
	}},
	{"B-095 D-061 all refused: command for voice, inside for data", func(t *testing.T, d *desk) {
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
	{"B-037 B-096 one group without credit, and a new one", func(t *testing.T, _ *desk) {
		d := openDesk(t, 1_200_000)
		s := d.data()
		d.wants(s(ocs.Initial, 0, volume(ocstest.Volume)), 2001, 2001)
		d.ledger(200_000, 1_000_000)
		a := d.wants(s(ocs.Update, 1, volume(video), carried(ocstest.Volume, 0)), 2001, 2001, 2001)
		if !a.Services[0].Granted.Present {
			t.Errorf("the new group: %+v", a)
		}
		a = d.wants(s(ocs.Update, 2, carried(video, 0), volume(nightly)), 2001, 2001, 4012)
		if a.Services[1].Granted.Present || !d.open(s(ocs.Update, 2)) {
			t.Errorf("CCA-U %+v", a)
		}
	}},
	{"B-091 B-098 targets", func(t *testing.T, d *desk) {
		s := d.session()
		services := []Service{wish(ServiceUnits{}), {Identifiers: []uint32{7}, Requested: Some(ServiceUnits{})},
			{RatingGroup: Some(uint32(100)), Identifiers: []uint32{7}, Requested: Some(ServiceUnits{})},
			{RatingGroup: Some(uint32(100)), Identifiers: []uint32{8, 7}, Requested: Some(ServiceUnits{})}}
		d.wants(s(ocs.Initial, 0, services...), 2001, 2001, 2001, 2001, 2001)
		d.ledger(7_600_000, 2_400_000)
		d.wants(s(ocs.Update, 1, used(10), ask(threshold(5))), 2001, 2001)
		d.ledger(7_450_000, 2_400_000)
	}},
	{"envelopes are not charged on top of the use (B-117)", func(t *testing.T, d *desk) {
		s := d.data()
		d.wants(s(ocs.Initial, 0, volume(ocstest.Volume)), 2001, 2001)
		vendor := func(code uint32) diameter.Attribute {
			return diameter.Attribute{Code: code, Vendor: diameter.Vendor3GPP, Flags: diameter.AVPMandatory}
		}
		envelope := group(vendor(1266), diameter.AppendTime(nil, vendor(1269), d.now()), u64(diameter.CCTotalOctets, 5_000_000))
		r := s(ocs.Update, 1)
		m := d.frame(r)
		used := group(diameter.UsedServiceUnit, u64(diameter.CCTotalOctets, 10_000_000))
		m = parse(t, diameter.Finish(append(m.Raw[:len(m.Raw):len(m.Raw)], mscc(used, envelope, envelope, rating(ocstest.Volume))...), 0))
		d.has(d.read(d.serve(m)), 2001, 2001)
		d.ledger(9_900_000, 0)
	}},
	{"B-102 validity and final units stand in the MSCC", func(t *testing.T, _ *desk) {
		d := openDesk(t, 200_000)
		a := d.wants(d.session()(ocs.Initial, 0, ask()), 2001, 2001)
		if g := a.Services[0]; g.Validity != 300 || !g.FinalUnit.Present || a.Command.Validity != 0 || a.Command.FinalUnit.Present {
			t.Errorf("CCA-I %+v", a)
		}
	}},
	{"B-119 the price changes in mid-call", func(t *testing.T, d *desk) {
		s := d.session()
		d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
		old := used(20)
		old.Reasons, old.Triggers = []uint32{6}, []uint32{60}
		moved := Service{RatingGroup: Some(uint32(ocstest.OffNet)), Requested: Some(ServiceUnits{})}
		if a := d.wants(s(ocs.Update, 1, old, moved), 2001, 2001, 2001); a.Services[0].Granted.Present || !a.Services[1].Granted.Present {
			t.Errorf("CCA-U %+v", a)
		}
		last := report(30)
		last.RatingGroup = moved.RatingGroup
		if a := d.wants(s(ocs.Terminate, 2, last), 2001, 2001); a.Cost != Some(AmountOf(850_000, 156)) { // 0.20, then 0.05 and a minute
			t.Errorf("CCA-T %+v", a)
		}
		// The same group, another number.
		s = d.session()
		far := func(r CCR) CCR { r.Call.IMS.CalledParty = "tel:+441632960000"; return r }
		here := Service{RatingGroup: Some(uint32(abroad)), Requested: Some(ServiceUnits{})}
		d.wants(s(ocs.Initial, 0, here), 2001, 2001)
		here.Used, here.Reasons = []UsedUnits{threshold(20)}, []uint32{6}
		d.wants(far(s(ocs.Update, 1, here)), 2001, 2001)
		last.RatingGroup = here.RatingGroup
		if a := d.wants(far(s(ocs.Terminate, 2, last)), 2001, 2001); a.Cost != Some(AmountOf(1_100_000, 156)) { // 0.20 and 0.90
			t.Errorf("CCA-T %+v", a)
		}
		d.ledger(8_050_000, 0)
	}},
}
