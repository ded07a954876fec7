package ocs

import (
	"math"
	"slices"
	"time"
)

// reserve freezes quota for the target (RFC 8506 §5.2.2, §5.3): what was asked,
// at most the slice, at most what can be paid, never past the validity of the
// account or of the balances it is paid from.
func (m *movement) reserve(asked Units) Refusal {
	if asked.Quantity < 0 {
		return UnitMismatch
	}
	if m.state == nil {
		if r := m.begin(asked.Kind); r != "" {
			return r
		}
	} else if asked.Kind != Unspecified && asked.Kind != m.state.Unit {
		return UnitMismatch
	}
	var g grant
	var refusal Refusal
	switch {
	case m.state.Unit == Amount:
		g, refusal = m.planMoney(asked.Quantity)
	case m.price == nil:
		return Unrated
	case m.price.free() && !m.step.Habits.NoFree:
		return Free
	case m.price.free():
		g = m.planFree(asked.Quantity)
	default:
		g, refusal = m.planUnits(asked.Quantity)
	}
	if refusal == "" {
		m.grant(g)
	}
	return refusal
}

// grant is a plan for a reservation that the account can pay.
type grant struct {
	quantity int64
	units    []*Balance // unit balances, used first
	ofUnits  int64      // how much of quantity they pay
	pots     []*Balance // money
	cost     int64
	final    bool
}

// grant carries the plan out.
func (m *movement) grant(g grant) {
	m.keep()
	if m.freeze(g.units, g.ofUnits) != g.ofUnits || m.freeze(g.pots, g.cost) != g.cost {
		panic("a planned freeze is not covered")
	}
	m.state.Granted += g.quantity
	m.state.GrantNumber = m.key.Number
	m.state.Final = g.final
	m.session.Dirty = true
	m.out.Granted = &Units{m.state.Unit, g.quantity}
	if m.out.Final = g.final; g.final {
		m.out.FinalAction = m.service.FinalAction
	}
	m.out.ValidFor = m.validFor()
	m.share(g)
	if t := m.policy.threshold(m.state.Unit, g.quantity); !g.final && t < g.quantity {
		m.out.Threshold = t
	}
	if m.price != nil && m.price.clock != nil && m.state.Unit != Seconds {
		m.out.SwitchAt = m.price.nextSwitch(m.ws.Now, m.ws.Now.Add(m.out.ValidFor))
	}
}

// validFor is the grant's Validity-Time: the service's, but not past the end of
// the account or of a balance the grant is frozen in, and never below ValidityMin
// (conformance B-110): what is frozen stays debitable.
func (m *movement) validFor() time.Duration {
	validity := m.policy.validity(m.service)
	end := m.account.ValidUntil
	for _, f := range m.state.Freezes {
		if b := m.account.balance(f.Balance); compareEnds(b.ValidUntil, end) < 0 {
			end = b.ValidUntil
		}
	}
	if !end.IsZero() {
		validity = min(validity, end.Sub(m.ws.Now))
	}
	return max(validity.Truncate(time.Second), ValidityMin)
}

// planFree plans a grant of what costs nothing, for clients that take 4011 for a
// failure (conformance D-004). Nothing is frozen, unit balances are left alone.
func (m *movement) planFree(asked int64) grant {
	slice := m.policy.slice(m.state.Unit)
	if asked > 0 {
		slice = min(asked, slice)
	}
	return grant{quantity: max(1, min(slice, m.lifetime()))}
}

// planMoney plans a freeze of an exact amount; 0 leaves it to the policy.
func (m *movement) planMoney(asked int64) (grant, Refusal) {
	pots := m.pots(Amount)
	have := total(pots)
	want := asked
	if asked == 0 {
		want = min(have, int64(m.policy.SliceMoney))
	}
	if want > have || want == 0 {
		return grant{}, m.account.why(m.ws.Now, have, Amount)
	}
	return grant{quantity: want, pots: pots, cost: want, final: want == have}, ""
}

// planUnits plans a grant of units.
//
// What can be paid is looked for up to one minimum useful grant beyond the
// limit: when less than that remains, nothing useful would follow, so the rest
// is folded into this grant, which is the final one.
func (m *movement) planUnits(asked int64) (grant, Refusal) {
	slice, minimum := m.policy.slice(m.state.Unit), m.policy.minimum(m.state.Unit)
	limit, most := slice, slice+minimum-1
	if asked > 0 {
		limit = min(asked, slice)
		most = min(max(asked, limit), most)
	}
	g := grant{units: m.lasting(m.state.Unit), pots: m.lasting(Amount)}
	dearest := m.price.dearest(m.ws.Now, m.ws.Now.Add(m.horizon(limit+minimum)))
	reach := m.reach(g.units, g.pots, min(limit+minimum, m.lifetime()), dearest)
	switch useful := min(limit, minimum); {
	case m.lifetime() < useful:
		return grant{}, Expired
	case reach < useful:
		have := total(g.units) + total(g.pots)
		return grant{}, m.account.why(m.ws.Now, have, m.state.Unit)
	}
	g.quantity = min(reach, limit)
	if reach < limit+minimum {
		g.quantity = min(reach, most)
	}
	g.final = reach-g.quantity < minimum
	if end := m.firstEnd(g, dearest); end-minimum < g.quantity { // nothing useful follows in that balance
		g.quantity = min(g.quantity, end)
		units, pots := outlasting(g.units, m.ws.Now, end), outlasting(g.pots, m.ws.Now, end)
		g.final = g.final || m.reach(units, pots, minimum, dearest) < minimum
	}
	g.ofUnits = min(g.quantity, total(g.units))
	cost, err := m.state.Meter.cost(g.quantity-g.ofUnits, m.price, dearest)
	if err != nil {
		return grant{}, UnitMismatch
	}
	g.cost = int64(cost)
	return g, ""
}

// horizon is how far ahead a grant may still be used: it is valid for a time,
// and seconds run on from then.
func (m *movement) horizon(n int64) time.Duration {
	validity := m.policy.validity(m.service)
	if m.state.Unit == Seconds {
		validity += time.Duration(min(n, clockUnitsMax)) * time.Second
	}
	return validity
}

// lifetime is how many seconds the account's validity leaves; no bound for
// other units.
func (m *movement) lifetime() int64 {
	if m.state.Unit != Seconds || m.account.ValidUntil.IsZero() {
		return math.MaxInt64
	}
	return secondsUntil(m.ws.Now, m.account.ValidUntil)
}

func secondsUntil(now, end time.Time) int64 { return int64(end.Sub(now) / time.Second) }

// lasting lists the pots that are valid long enough to be of use to seconds.
func (m *movement) lasting(unit UnitKind) []*Balance {
	pots := m.pots(unit)
	if m.state.Unit != Seconds {
		return pots
	}
	return outlasting(pots, m.ws.Now, m.policy.MinimumSeconds-1)
}

// outlasting lists the pots that are still valid n seconds from now.
func outlasting(pots []*Balance, now time.Time, n int64) []*Balance {
	short := func(b *Balance) bool { return !b.ValidUntil.IsZero() && secondsUntil(now, b.ValidUntil) <= n }
	if !slices.ContainsFunc(pots, short) {
		return pots
	}
	return slices.DeleteFunc(slices.Clone(pots), short)
}

// reach is how many units, up to limit, unit balances and money can pay.
func (m *movement) reach(units, pots []*Balance, limit int64, dearest Money) int64 {
	n := min(limit, total(units))
	return n + m.state.Meter.affordable(limit-n, Money(total(pots)), m.price, dearest)
}

// firstEnd is how many seconds from now the first of the balances ends that the
// grant would be frozen in.
func (m *movement) firstEnd(g grant, dearest Money) int64 {
	end := int64(math.MaxInt64)
	if m.state.Unit != Seconds {
		return end
	}
	left := g.quantity
	for _, b := range g.units {
		if left > 0 && !b.ValidUntil.IsZero() {
			end = min(end, secondsUntil(m.ws.Now, b.ValidUntil))
		}
		left -= b.free()
	}
	if left <= 0 {
		return end
	}
	cost, err := m.state.Meter.cost(left, m.price, dearest)
	if err != nil {
		return end
	}
	for _, b := range g.pots {
		if cost > 0 && !b.ValidUntil.IsZero() {
			end = min(end, secondsUntil(m.ws.Now, b.ValidUntil))
		}
		cost -= Money(b.free())
	}
	return end
}
