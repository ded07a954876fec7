package gy

import (
	"testing"

	"gygate/diameter"
	"gygate/ocs"
)

// What was granted is charged, whichever units stand beside it in the report
// (conformance B-084, D-022, D-023).
func TestGrantedUnitIsChargedB084(t *testing.T) {
	t.Run("seconds at a service of octets", func(t *testing.T) {
		d := openDesk(t, ten)
		send := d.session()
		open := send(ocs.Initial, 0, wish(ServiceUnits{}))
		open.ServiceContextID = ContextData
		if a := d.wants(open, 2001, 2001); !seconds60(a) {
			t.Fatalf("%+v", a)
		}
		report := used(30)
		report.Used[0].Total = Some(uint64(5_000_000))
		last := send(ocs.Terminate, 1, report)
		last.ServiceContextID = ContextData
		d.wants(last, 2001, 2001)
		d.ledger(9_700_000, 0)
	})
	t.Run("money beside seconds", func(t *testing.T) {
		d := openDesk(t, ten)
		send := d.session()
		money := func(digits int64) Optional[Amount] { return Some(Amount{Value: Decimal{digits, -2}}) }
		d.wants(send(ocs.Initial, 0, wish(ServiceUnits{Money: money(250)})), 2001, 2001)
		d.ledger(7_500_000, 2_500_000)
		report := used(60)
		report.Used[0].Money = money(100)
		d.wants(send(ocs.Terminate, 1, report), 2001, 2001)
		d.ledger(9_000_000, 0)
	})
}

// The target is part of a key of the database, so that its length is bounded.
func TestServiceIdentifiersAreBounded(t *testing.T) {
	d := openDesk(t, ten)
	s := wish(ServiceUnits{})
	for n := range uint32(identifiersMax + 1) {
		s.Identifiers = append(s.Identifiers, 4_000_000_000+n)
	}
	a := d.wants(d.session()(ocs.Initial, 0, s), diameter.AVPOccursTooManyTimes)
	if len(a.Failed) != 1 {
		t.Errorf("%d AVPs failed", len(a.Failed))
	}
	s.Identifiers = s.Identifiers[:identifiersMax]
	d.wants(d.session()(ocs.Initial, 0, s), 2001, 2001)
}
