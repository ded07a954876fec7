package gy

import (
	"slices"
	"testing"
	"time"

	"gygate/diameter"
	"gygate/ocs"
	"gygate/ocs/ocstest"
)

func TestQuotaConformance(t *testing.T) { runRows(t, quotaRows) }

func hundredMB() []byte { return gsu(u64(diameter.CCTotalOctets, 100_000_000)) }

func rating(group uint32) []byte { return u32(diameter.RatingGroup, group) }

func valid300() []byte { return u32(diameter.ValidityTime, 300) }

func finalUnit(members ...[]byte) []byte {
	return group(diameter.FinalUnitIndication, members...)
}

func action(a ocs.FinalAction) []byte { return u32(diameter.FinalUnitAction, uint32(a)) }

// timed is a wish for seconds in a gateway's session.
func timed() Service {
	return Service{RatingGroup: Some(uint32(ocstest.OnNet)), Requested: Some(ServiceUnits{})}
}

// How quota is handled, and what comes after the last (B.8, B.9).
var quotaRows = []row{
	{"B-110 Validity-Time is never short", func(t *testing.T, d *desk) {
		for _, left := range []time.Duration{6 * time.Second, 10 * time.Second, 29 * time.Second, 45 * time.Second, time.Hour, 0} {
			d.books.Change(d.key, func(a *ocs.Account) {
				if a.ValidUntil = d.now().Add(left); left == 0 {
					a.ValidUntil = time.Time{}
				}
			})
			for _, s := range []Service{ask(), {RatingGroup: Some(uint32(ocstest.OffNet)), Requested: Some(ServiceUnits{})}} {
				a := d.wants(d.session()(ocs.Initial, 0, s), 2001, 2001)
				if v := a.Services[0].Validity; v < 30 || v > 300 {
					t.Errorf("%v before the end of the account: Validity-Time %d", left, v)
				}
			}
		}
		for _, short := range []time.Duration{1, time.Second - 1} {
			if seconds(short) != 1 {
				t.Errorf("%v becomes Validity-Time %d", short, seconds(short))
			}
		}
	}},
	{"B-111 B-112 D-062 thresholds stand beside their unit", func(t *testing.T, d *desk) {
		d.answers(d.session()(ocs.Initial, 0, ask()), result(2001), sessionAVPs(), sliceAnswer())
		d.answers(d.session()(ocs.Initial, 0, wish(timeUnits(10))), result(2001), sessionAVPs(),
			mscc(gsu(u32(diameter.CCTime, 10)), rating(100), valid300(), result(2001)))
		d.answers(d.data()(ocs.Initial, 0, volume(ocstest.Volume)), result(2001), sessionAVPs(),
			mscc(hundredMB(), rating(ocstest.Volume), valid300(), result(2001), u32(diameter.VolumeQuotaThreshold, 10_000_000)))
		message := Service{RatingGroup: Some(uint32(ocstest.Message)), Requested: Some(ServiceUnits{})}
		d.answers(d.session()(ocs.Initial, 0, message), result(2001), sessionAVPs(),
			mscc(gsu(u64(diameter.CCServiceSpecificUnits, 1)), rating(ocstest.Message), valid300(), result(2001)))
	}},
	{"B-113 B-114 holding and consumption time", func(t *testing.T, d *desk) {
		d.profile = &Profile{Reauthorize: true}
		d.sells(func(c *ocs.ServiceContext) { c.HoldSeconds, c.ConsumptionSeconds = 40, 20 })
		hold, consume := u32(diameter.QuotaHoldingTime, 40), u32(diameter.QuotaConsumptionTime, 20)
		d.answers(d.session()(ocs.Initial, 0, ask()), result(2001), sessionAVPs(),
			mscc(gsu(u32(diameter.CCTime, 60)), rating(100), valid300(), result(2001), consume))
		d.answers(d.data()(ocs.Initial, 0, volume(ocstest.Volume), timed()), result(2001), sessionAVPs(),
			mscc(hundredMB(), rating(ocstest.Volume), valid300(), result(2001), hold),
			mscc(gsu(u32(diameter.CCTime, 60)), rating(100), valid300(), result(2001), hold, consume))
	}},
	{"B-118 triggers", func(t *testing.T, d *desk) {
		d.profile = &Profile{Reauthorize: true}
		for _, c := range []struct {
			set  *[]uint32
			want []byte
		}{
			{nil, nil},
			{&[]uint32{}, group(diameter.Trigger)},
			{&[]uint32{1, 61}, group(diameter.Trigger, u32(diameter.TriggerType, 1), u32(diameter.TriggerType, 61))},
		} {
			d.sells(func(s *ocs.ServiceContext) { s.Triggers = c.set })
			d.answers(d.data()(ocs.Initial, 0, volume(ocstest.Volume)), result(2001), sessionAVPs(),
				mscc(hundredMB(), rating(ocstest.Volume), valid300(), result(2001), c.want))
		}
	}},
	{"B-099 B-100 a pool", func(t *testing.T, d *desk) {
		d.profile = &Profile{Reauthorize: true}
		d.sells(func(c *ocs.ServiceContext) { c.Pool = true })
		share := func(kind, multiplier uint64) []byte {
			return group(diameter.GSUPoolReference, u32(diameter.GSUPoolIdentifier, 1), u32(diameter.CCUnitType, uint32(kind)),
				group(diameter.UnitValue, u64(diameter.ValueDigits, multiplier)))
		}
		d.answers(d.data()(ocs.Initial, 0, volume(ocstest.Volume), volume(video), timed()), result(2001), sessionAVPs(),
			mscc(hundredMB(), rating(ocstest.Volume), valid300(), result(2001), share(2, 10_000)),
			mscc(hundredMB(), rating(video), valid300(), result(2001), share(2, 20_000)),
			mscc(gsu(u32(diameter.CCTime, 60)), rating(100), valid300(), result(2001), share(0, 10_000_000_000)))
	}},
	{"B-130 B-131 B-139 D-025 the last affordable grant", func(t *testing.T, _ *desk) {
		d := openDesk(t, 200_000)
		d.answers(d.session()(ocs.Initial, 0, wish(timeUnits(60))), result(2001), sessionAVPs(),
			mscc(gsu(u32(diameter.CCTime, 20)), rating(100), valid300(), result(2001), finalUnit(action(ocs.FinalTerminate))))
		d.ledger(0, 200_000)
	}},
	{"B-132 D-052 redirected when the units are gone", func(t *testing.T, _ *desk) {
		d := openDesk(t, 1_000_000)
		d.profile = &Profile{Reauthorize: true}
		d.sells(func(c *ocs.ServiceContext) {
			c.FinalAction, c.Redirect = ocs.FinalRedirect, &ocs.Redirect{Type: 3, Address: "sip:topup@x"}
		})
		redirect := finalUnit(action(ocs.FinalRedirect), group(diameter.RedirectServer,
			u32(diameter.RedirectAddressType, 3), str(diameter.RedirectServerAddress, "sip:topup@x")))
		s := d.data()
		d.answers(s(ocs.Initial, 0, Service{Requested: Some(ServiceUnits{})}), result(2001), sessionAVPs(),
			mscc(hundredMB(), valid300(), result(2001), redirect))
		// The report of the final units, without a wish and without a group.
		d.answers(s(ocs.Update, 1, Service{Used: []UsedUnits{{ServiceUnits: octetUnits(100_000_000)}}}), result(2001),
			mscc(valid300(), result(2001)))
		d.ledger(0, 0)
		// The Validity-Time is over, and there is still nothing.
		d.answers(s(ocs.Update, 2, Service{Requested: Some(ServiceUnits{})}), result(2001), mscc(valid300(), result(4012), redirect))
		// An operator has withdrawn the redirection: the service ends.
		update := s(ocs.Update, 2, Service{Requested: Some(ServiceUnits{})})
		d.sells(func(*ocs.ServiceContext) {})
		d.answers(update, result(2001), mscc(valid300(), result(4012), finalUnit(action(ocs.FinalTerminate))))
	}},
	{"B-133 restricted when the units are gone", func(t *testing.T, _ *desk) {
		rule, id := "permit out ip from 192.0.2.1 to assigned", "walled-garden"
		for _, c := range []struct {
			filters, ids []string
			want         []byte
		}{
			{[]string{rule}, nil, str(diameter.RestrictionFilterRule, rule)},
			{nil, []string{id, "other"}, slices.Concat(str(diameter.FilterID, id), str(diameter.FilterID, "other"))},
		} {
			d := openDesk(t, 1_000_000)
			d.profile = &Profile{Reauthorize: true}
			d.sells(func(s *ocs.ServiceContext) {
				s.FinalAction, s.Filters, s.FilterIDs = ocs.FinalRestrict, c.filters, c.ids
			})
			d.answers(d.data()(ocs.Initial, 0, volume(ocstest.Volume)), result(2001), sessionAVPs(),
				mscc(hundredMB(), rating(ocstest.Volume), valid300(), result(2001), finalUnit(action(ocs.FinalRestrict), c.want)))
		}
	}},
	{"B-134 B-135 after the final units", func(t *testing.T, _ *desk) {
		d := openDesk(t, 200_000)
		s := d.session()
		d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
		d.answers(s(ocs.Update, 1, used(20)), result(2001), mscc(rating(100), valid300(), result(2001)))
		d.ledger(0, 0)
		d.wants(s(ocs.Update, 2, wish(ServiceUnits{})), 2001, 4012)
		d.books.TopUp(d.key, 0, 5_000_000)
		a := d.wants(s(ocs.Update, 3, Service{RatingGroup: Some(uint32(100))}), 2001, 2001)
		if !seconds60(a) || a.Services[0].FinalUnit.Present {
			t.Errorf("CCA-U %+v", a)
		}
		d.ledger(4_400_000, 600_000)
	}},
	{"B-136 D-061 nothing left in mid-session: a code, or zero units", func(t *testing.T, _ *desk) {
		for _, zero := range []bool{false, true} {
			d := openDesk(t, 200_000)
			d.sells(func(c *ocs.ServiceContext) { c.ZeroGrant = zero })
			s := d.session()
			d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
			want := mscc(rating(100), result(4012))
			if zero {
				want = mscc(gsu(u32(diameter.CCTime, 0)), rating(100), result(2001), finalUnit(action(ocs.FinalTerminate)))
			}
			d.answers(s(ocs.Update, 1, ask(threshold(20))), result(2001), want)
			d.ledger(0, 0)
		}
	}},
	{"B-137 D-006 D-061 an empty account at the beginning", func(t *testing.T, _ *desk) {
		for _, zero := range []bool{false, true} {
			d := openDesk(t, 0)
			d.sells(func(c *ocs.ServiceContext) { c.ZeroGrant = zero })
			if a := d.wants(d.session()(ocs.Initial, 0, ask()), 4012); a.Command.FinalUnit.Present {
				t.Errorf("CCA-I %+v", a)
			}
			d.answers(d.data()(ocs.Initial, 0, volume(ocstest.Volume)), result(2001), sessionAVPs(), mscc(rating(ocstest.Volume), result(4012)))
		}
	}},
	{"B-138 B-197 more credit lifts the end", func(t *testing.T, _ *desk) {
		d := openDesk(t, 200_000)
		s := d.session()
		if a := d.wants(s(ocs.Initial, 0, ask()), 2001, 2001); !a.Services[0].FinalUnit.Present {
			t.Errorf("CCA-I %+v", a)
		}
		d.books.TopUp(d.key, 0, 5_000_000)
		d.answers(s(ocs.Update, 1, ask()), result(2001), sliceAnswer())
		d.ledger(4_600_000, 600_000)
	}},
	{"B-140 no useless grants", func(t *testing.T, _ *desk) {
		d := openDesk(t, 30_000)
		d.wants(d.session()(ocs.Initial, 0, ask()), 4012)
		d = openDesk(t, 620_000)
		d.answers(d.session()(ocs.Initial, 0, ask()), result(2001), sessionAVPs(),
			mscc(gsu(u32(diameter.CCTime, 62)), rating(100), valid300(), result(2001), finalUnit(action(ocs.FinalTerminate))))
	}},
	{"B-181 announcements", func(t *testing.T, _ *desk) {
		for _, c := range []struct {
			on     bool
			money  ocs.Money
			before uint32
		}{{true, 200_000, 15}, {true, 80_000, 8}, {false, 200_000, 0}} {
			d := openDesk(t, c.money)
			d.profile = &Profile{Reauthorize: true, Announcements: c.on}
			d.sells(func(s *ocs.ServiceContext) { s.Announce = 1 })
			var announcement []byte
			if c.on {
				announcement = group(diameter.AnnouncementInformation, u32(diameter.AnnouncementIdentifier, 1),
					u32(diameter.TimeIndicator, c.before), u32(diameter.PlayAlternative, 0))
			}
			d.answers(d.session()(ocs.Initial, 0, ask()), result(2001), sessionAVPs(), mscc(gsu(u32(diameter.CCTime, uint32(c.money/10_000))),
				rating(100), valid300(), result(2001), finalUnit(action(ocs.FinalTerminate)), announcement))
		}
		d := openDesk(t, ten) // not before a quota that more will follow
		d.profile = &Profile{Reauthorize: true, Announcements: true}
		d.sells(func(s *ocs.ServiceContext) { s.Announce = 1 })
		d.answers(d.session()(ocs.Initial, 0, ask()), result(2001), sessionAVPs(), mscc(gsu(u32(diameter.CCTime, 60)), rating(100), valid300(), result(2001)))
	}},
}
