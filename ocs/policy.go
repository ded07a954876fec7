package ocs

import (
	"fmt"
	"time"
)

// Policy is what the operator decides for all accounts. DefaultPolicy gives
// usable values; a ServiceContext may override some of them for its service.
type Policy struct {
	// The slice is the largest grant, and what is granted when the client
	// leaves the quantity open (RFC 8506 §8.18).
	SliceSeconds int64
	SliceOctets  int64
	SliceEvents  int64
	SliceMoney   Money

	// The threshold is how many units before the end of a grant the client is
	// to report (3GPP TS 32.299 Time-/Volume-/Unit-Quota-Threshold). 0: none.
	ThresholdSeconds int64
	ThresholdOctets  int64
	ThresholdEvents  int64

	// The minimum is the least useful grant: less is refused at the start, and
	// folded into the grant before it.
	MinimumSeconds int64
	MinimumOctets  int64
	MinimumEvents  int64

	// Validity is Validity-Time of every grant (RFC 8506 §8.33).
	Validity time.Duration
	// Supervision is the supervision time Tcc of a session; 0: twice the
	// validity (RFC 8506 §13).
	Supervision time.Duration
	// LateTerminate is how long after a session was ended by a refusal one
	// final report is still debited.
	LateTerminate time.Duration
	// ClockTolerance is how much longer than the session has lasted a report
	// of seconds may be; a longer one is capped at the session's age.
	ClockTolerance time.Duration
	// ClockSkew is how far an Event-Timestamp may lie in the future before the
	// database's clock is used instead.
	ClockSkew time.Duration
	// Retention is how long closed sessions and outcomes are kept, and how old
	// an Event-Timestamp may be.
	Retention time.Duration
}

// DefaultPolicy is 60 s slices reported 10 s before their end, valid for 300 s.
func DefaultPolicy() Policy {
	return Policy{
		SliceSeconds: 60, ThresholdSeconds: 10, MinimumSeconds: 5,
		SliceOctets: 100_000_000, ThresholdOctets: 10_000_000, MinimumOctets: 1_000_000,
		SliceEvents: 1, MinimumEvents: 1,
		SliceMoney:     5 * MoneyScale,
		Validity:       300 * time.Second,
		LateTerminate:  60 * time.Second,
		ClockTolerance: 60 * time.Second,
		ClockSkew:      60 * time.Second,
		Retention:      24 * time.Hour,
	}
}

// ValidityMin is the shortest Policy.Validity: a shorter one would have every
// client report all the time.
const ValidityMin = 30 * time.Second

// sliceMax bounds a slice, so that no sum with one can overflow: a petabyte.
const sliceMax = 1_000_000_000_000_000

// Check reports what makes the policy unusable.
func (p Policy) Check() error {
	for _, s := range []struct {
		name           string
		slice, minimum int64
	}{
		{"seconds", p.SliceSeconds, p.MinimumSeconds},
		{"octets", p.SliceOctets, p.MinimumOctets},
		{"events", p.SliceEvents, p.MinimumEvents},
	} {
		if s.slice < 1 || s.minimum < 1 || s.minimum > s.slice || s.slice > sliceMax {
			return fmt.Errorf("policy: slice of %d %s with a minimum of %d: want 1 <= minimum <= slice <= %d", s.slice, s.name, s.minimum, int64(sliceMax))
		}
	}
	if p.SliceMoney < 1 {
		return fmt.Errorf("policy: slice of %s money: want more than zero", p.SliceMoney)
	}
	if p.Validity < ValidityMin {
		return fmt.Errorf("policy: validity %v: want at least %v", p.Validity, ValidityMin)
	}
	if p.Supervision < 0 || p.LateTerminate < 0 || p.ClockTolerance < 0 || p.ClockSkew < 0 || p.Retention <= 0 {
		return fmt.Errorf("policy: a duration is negative, or the retention is zero")
	}
	return nil
}

func (p *Policy) slice(unit UnitKind) int64 {
	switch unit {
	case Seconds:
		return p.SliceSeconds
	case Octets:
		return p.SliceOctets
	case Amount:
		return int64(p.SliceMoney)
	}
	return p.SliceEvents
}

func (p *Policy) minimum(unit UnitKind) int64 {
	switch unit {
	case Seconds:
		return p.MinimumSeconds
	case Octets:
		return p.MinimumOctets
	case Amount:
		return 1
	}
	return p.MinimumEvents
}

// threshold is for a grant of n units. A gateway stalls traffic at the end of a
// quota it was given no threshold for, so a small one of octets has its own
// (conformance D-062).
func (p *Policy) threshold(unit UnitKind, n int64) int64 {
	switch unit {
	case Seconds:
		return p.ThresholdSeconds
	case Octets:
		return min(p.ThresholdOctets, n/thresholdShare)
	case Events:
		return p.ThresholdEvents
	}
	return 0
}

// thresholdShare is the part of a small grant of octets that is its threshold.
const thresholdShare = 5

// validity is the Validity-Time for a service.
func (p *Policy) validity(c *ServiceContext) time.Duration {
	if c.Validity > 0 {
		return c.Validity
	}
	return p.Validity
}

// supervision is Tcc for a service: configured, or twice the validity.
func (p *Policy) supervision(c *ServiceContext) time.Duration {
	switch {
	case c.Supervision > 0:
		return c.Supervision
	case p.Supervision > 0 && c.Validity == 0:
		return p.Supervision
	}
	return 2 * p.validity(c)
}
