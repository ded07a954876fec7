package ocs

import (
	"errors"
	"math"
	"math/bits"
	"time"
)

// Meter is the exact state of a price function after the units rated so far, so
// that splitting use over reports never changes the total. Whole is in Money,
// Rest in Money/Per of the rate, 0 <= Rest < Per.
type Meter struct {
	Rated int64 `json:"rated"` // units rated, those paid by unit balances not counted
	Begun int64 `json:"begun"` // units whose increments are begun (and so priced)
	Whole Money `json:"whole"`
	Rest  int64 `json:"rest"`
}

// incrementMax bounds a tariff increment: one whole terabyte, or 31,000 years.
const incrementMax = 1_000_000_000_000

// errTooLarge refuses a quantity whose price does not fit into Money.
var errTooLarge = errors.New("quantity too large to be rated")

// span says when, or at which fixed price, a run of units was used.
type span struct {
	price *price
	start time.Time // when the first unit began; looked at with clock prices only
	fixed bool      // use amount for all units, whatever the clock says
	money Money
}

// at is the price of the increment that begins at a unit, and the unit from
// which another price may hold; both count from the span's first unit.
func (s *span) at(unit int64) (Money, int64) {
	switch {
	case s.fixed:
		return s.money, math.MaxInt64
	case s.price.clock == nil:
		return s.price.Price, math.MaxInt64
	}
	begin := s.start.Add(time.Duration(unit) * time.Second)
	money, until := s.price.priceAt(begin)
	return money, unit + max(1, int64(until.Sub(begin)/time.Second))
}

// advance rates n further units. Each increment is priced at its first unit;
// all increments that begin under one price are rated in one multiplication.
func (m *Meter) advance(n int64, s span) error {
	if n < 0 || n > math.MaxInt64-2*incrementMax-m.Rated || (!s.fixed && s.price.clock != nil && n > clockUnitsMax) {
		return errTooLarge
	}
	end := m.Rated + n
	for m.Begun < end {
		money, until := s.at(m.Begun - m.Rated)
		units := s.price.First
		if m.Begun > 0 {
			run := min(end-m.Begun, until-(m.Begun-m.Rated))
			units = roundUp(run, s.price.Following)
		}
		if err := m.add(money, units, s.price.Per); err != nil {
			return err
		}
		m.Begun += units
	}
	m.Rated = end
	return nil
}

// clockUnitsMax bounds the seconds rated by the clock in one go (ten years),
// and so the number of bands walked through.
const clockUnitsMax = 10 * 366 * daySeconds

func roundUp(n, step int64) int64 { return (n + step - 1) / step * step }

// add adds money*units/per exactly.
func (m *Meter) add(money Money, units, per int64) error {
	hi, lo := bits.Mul64(uint64(money), uint64(units))
	lo, carry := bits.Add64(lo, uint64(m.Rest), 0)
	hi += carry
	if hi >= uint64(per) {
		return errTooLarge
	}
	whole, rest := bits.Div64(hi, lo, uint64(per))
	if whole > chargeMax || m.Whole > chargeMax-Money(whole) {
		return errTooLarge
	}
	m.Whole += Money(whole)
	m.Rest = int64(rest)
	return nil
}

// chargeMax bounds what one target can cost, far above any account and far
// below the end of int64, so that the sum over all targets of a session
// (TargetsMax) cannot overflow.
const chargeMax = math.MaxInt64 / (2 * TargetsMax)

// debtMax bounds the debt to which an overrun may still be added.
const debtMax = math.MaxInt64 - 2*chargeMax

// charge is what everything rated so far costs: fee and exact price, rounded
// up once, and at least the minimum. Nothing used costs nothing.
func (m *Meter) charge(p *price) Money {
	if m.Rated == 0 {
		return 0
	}
	total := p.Fee + m.Whole
	if m.Rest > 0 {
		total++
	}
	return max(total, p.Minimum)
}

// cost is what n further units would cost at one price for all of them.
func (m Meter) cost(n int64, p *price, money Money) (Money, error) {
	before := m.charge(p)
	if err := m.advance(n, span{price: p, fixed: true, money: money}); err != nil {
		return 0, err
	}
	return m.charge(p) - before, nil
}

// affordable is the largest n up to limit whose cost is at most available. The
// cost is monotone in n, so the border is found by halving.
func (m Meter) affordable(limit int64, available Money, p *price, money Money) int64 {
	covers := func(n int64) bool {
		cost, err := m.cost(n, p, money)
		return err == nil && cost <= available
	}
	if covers(limit) {
		return limit
	}
	low, high := int64(0), limit // low is covered, high is not
	for high-low > 1 {
		if middle := low + (high-low)/2; covers(middle) {
			low = middle
		} else {
			high = middle
		}
	}
	return low
}
