package gy

import (
	"testing"
	"time"

	"gygate/diameter"
	"gygate/ocs"
)

// Trace 12: the tariff changes at 20:00 in Shanghai, which is 12:00Z, in the
// middle of a quota.

// switching is a gateway's session at 11:58 with 20.00, and its first quota.
func switching(t *testing.T) (*desk, func(ocs.StepType, uint32, ...Service) CCR) {
	d := openDesk(t, 20*ocs.MoneyScale)
	d.sells(func(c *ocs.ServiceContext) { c.Validity = 1800 * time.Second })
	d.at(at("2026-11-23T11:58:00Z"))
	s := d.data()
	d.answers(s(ocs.Initial, 0, volume(nightly)), result(2001), sessionAVPs(), mscc(
		gsu(u32(diameter.TariffTimeChange, 0xeeaea940), u64(diameter.CCTotalOctets, 100_000_000)),
		rating(nightly), u32(diameter.ValidityTime, 1800), result(2001), u32(diameter.VolumeQuotaThreshold, 10_000_000)))
	d.ledger(18*ocs.MoneyScale, 2*ocs.MoneyScale) // at the dearer price
	d.at(at("2026-11-23T12:01:30Z"))
	return d, s
}

// side is use on one side of the switch.
func side(usage uint32, octets uint64) UsedUnits {
	return UsedUnits{ServiceUnits: octetUnits(octets), TariffChange: Some(usage), Reason: Some(uint32(0))}
}

func TestTrace12Volume(t *testing.T) {
	plain := mscc(hundredMB(), rating(nightly), u32(diameter.ValidityTime, 1800), result(2001), u32(diameter.VolumeQuotaThreshold, 10_000_000))
	t.Run("12a", func(t *testing.T) {
		proves(t, "B-082", "B-121")
		d, s := switching(t)
		both := volume(nightly)
		both.Used = []UsedUnits{side(0, 40_000_000), side(1, 50_000_000)}
		d.answers(s(ocs.Update, 1, both), result(2001), plain)
		d.ledger(16_600_000, 2*ocs.MoneyScale)
		d.at(at("2026-11-23T12:05:00Z"))
		last := Service{RatingGroup: Some(uint32(nightly)), Used: []UsedUnits{{ServiceUnits: octetUnits(30_000_000)}}, Reasons: []uint32{2}}
		d.answers(s(ocs.Terminate, 2, last), result(2001), plainAnswer(nightly))
		d.ledger(18*ocs.MoneyScale, 0)
	})
	t.Run("12b", func(t *testing.T) {
		proves(t, "B-083")
		d, s := switching(t)
		all := volume(nightly)
		all.Used = []UsedUnits{side(0, 40_000_000), side(1, 50_000_000), side(2, 4_000_000)}
		d.answers(s(ocs.Update, 1, all), result(2001), plain)
		d.ledger(16_560_000, 2*ocs.MoneyScale)
	})
	t.Run("little is left", func(t *testing.T) {
		proves(t, "B-121")
		d := openDesk(t, ocs.MoneyScale)
		d.at(at("2026-11-23T11:58:00Z"))
		a := d.wants(d.data()(ocs.Initial, 0, volume(nightly)), 2001, 2001)
		if g := a.Services[0].Granted.Value; g.ServiceUnits != octetUnits(50_000_000) || !g.TariffTimeChange.Equal(at("2026-11-23T12:00:00Z")) {
			t.Errorf("granted %+v", g)
		}
	})
}

// 12d: seconds carry no announcement; the server splits them by the clock, from
// Event-Timestamp, not from the arrival.
func TestTrace12Voice(t *testing.T) {
	for _, delay := range []time.Duration{0, 8 * time.Second} {
		proves(t, "B-010", "B-120", "B-123", "B-124")
		d := openDesk(t, ten)
		d.at(at("2026-11-23T11:59:30Z"))
		s := d.session()
		quota := ask()
		quota.RatingGroup = Some(uint32(evening))
		sliced := mscc(gsu(u32(diameter.CCTime, 60)), rating(evening), valid300(), result(2001), u32(diameter.TimeQuotaThreshold, 10))
		d.answers(s(ocs.Initial, 0, quota), result(2001), sessionAVPs(), sliced)
		d.ledger(8_800_000, 1_200_000)

		d.at(at("2026-11-23T12:00:30Z")) // 50 s since the answer at 11:59:40, 30 of them at the new price
		quota.Used = []UsedUnits{threshold(50)}
		update := s(ocs.Update, 1, quota)
		d.pass(delay)
		d.answers(update, result(2001), sliced)
		d.ledger(8_000_000, 1_200_000)

		d.at(at("2026-11-23T12:01:12Z"))
		last := report(42)
		last.RatingGroup = quota.RatingGroup
		if a := d.wants(s(ocs.Terminate, 2, last), 2001, 2001); a.Cost != Some(AmountOf(1_640_000, 156)) {
			t.Errorf("%v late: %+v", delay, a.Cost)
		}
		d.ledger(8_360_000, 0)
	}
}

// An Event-Timestamp before the switch counts, though the request arrives after it;
// none, or one that cannot be, is the arrival.
func TestEventTimestampB010(t *testing.T) {
	proves(t, "B-010")
	for name, c := range map[string]struct {
		stamp time.Time
		cost  ocs.Money
	}{
		"before the switch":    {at("2026-11-23T11:59:58Z"), 100_000},
		"none":                 {time.Time{}, 130_000}, // 7 s old, 3 s new
		"a clock a month fast": {at("2026-12-23T11:59:58Z"), 130_000},
		"a clock a month slow": {at("2026-10-23T11:59:58Z"), 130_000},
	} {
		d := openDesk(t, ten)
		d.at(at("2026-11-23T11:59:30Z"))
		s := d.session()
		quota := ask()
		quota.RatingGroup = Some(uint32(evening))
		d.wants(s(ocs.Initial, 0, quota), 2001, 2001)
		d.at(at("2026-11-23T12:00:03Z"))
		last := report(10)
		last.RatingGroup = quota.RatingGroup
		r := s(ocs.Terminate, 1, last)
		r.EventTimestamp = c.stamp
		if a := d.wants(r, 2001, 2001); a.Cost != Some(AmountOf(c.cost, 156)) {
			t.Errorf("%s: cost %+v, want %s", name, a.Cost, c.cost)
		}
	}
	for ahead, alarmed := range map[time.Duration]bool{-25 * time.Hour: true, -time.Hour: false, 0: false, 50 * time.Second: false, 2 * time.Minute: true} {
		d := openDesk(t, ten)
		r := d.session()(ocs.Initial, 0, ask())
		r.EventTimestamp = time.Now().Add(ahead)
		if d.wants(r, 2001, 2001); d.log.has("event_timestamp") != alarmed {
			t.Errorf("a clock %v ahead: log %s", ahead, &d.log)
		}
	}
}
