package ocs

import "math"

// Credit pools (RFC 8506 §5.1.2). The grants of one session whose price is a plain
// amount for each unit, paid in money alone, share one pool: the client may use any
// mix of them up to the sum of their worth. In the books each keeps its own freeze;
// use above one is paid from the others before anything else, so a report is
// always right by itself and the pool needs no state.

// sessionPool is the G-S-U-Pool-Identifier: a session has one pool.
const sessionPool = 1

// poolScale makes a pool unit a millionth of a millionth of the currency's unit, so
// that prices for a million octets have a whole multiplier.
const poolScale = 1_000_000

// share makes the grant a share of the session's pool, when the service has one.
func (m *movement) share(g grant) {
	if !m.service.Pool || m.price == nil || g.ofUnits > 0 {
		return
	}
	if weight, ok := m.price.weight(); ok {
		m.state.Pool = true
		m.out.Pool = &PoolShare{ID: sessionPool, Multiplier: weight}
	}
}

// weight is what one unit takes out of a pool; false when the price has no such
// number: it depends on time, or on what was used before, or is not whole.
func (p *price) weight() (Money, bool) {
	plain := p.Fee == 0 && p.Minimum == 0 && p.First == 1 && p.Following == 1 && p.clock == nil
	if !plain || p.Price <= 0 || p.Price > math.MaxInt64/poolScale || int64(p.Price)*poolScale%p.Per != 0 {
		return 0, false
	}
	return Money(int64(p.Price) * poolScale / p.Per), true
}

// takePooled debits up to want from the freezes of the pool's other shares, as far
// as this target may use the balances they are in.
func (m *movement) takePooled(want int64) int64 {
	if !m.state.Pool || want <= 0 {
		return 0
	}
	fit := func(b *Balance) bool { return b.Unit == Amount && b.serves(m.serviceName(), m.state.RatingGroup) }
	got := int64(0)
	for _, t := range m.session.Targets {
		if t != m.state && t.Pool {
			got += m.takeFrom(t, want-got, fit)
		}
	}
	return got
}
