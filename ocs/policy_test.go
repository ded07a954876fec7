package ocs

import "testing"

func TestThresholdOfSmallGrants(t *testing.T) {
	p := DefaultPolicy()
	for _, c := range []struct {
		unit        UnitKind
		grant, want int64
	}{
		{Octets, 100_000_000, 10_000_000},
		{Octets, 1_000_000, 200_000}, // what some gateways ask for each time: its own threshold, not none
		{Octets, 3, 0},
		{Seconds, 60, 10},
		{Seconds, 8, 10}, // not below the grant: it is not sent (B-111)
	} {
		if got := p.threshold(c.unit, c.grant); got != c.want {
			t.Errorf("threshold of %d %d is %d, want %d", c.grant, c.unit, got, c.want)
		}
	}
	p.ThresholdOctets = 0
	if got := p.threshold(Octets, 1_000_000); got != 0 {
		t.Errorf("switched off it is %d", got)
	}
}
