package ocs

import "time"

// debit rates what the item reports as used and pays for it.
func (m *movement) debit() {
	if !reports(m.item.Used) {
		return
	}
	if m.out.Refusal == ForeignCurrency {
		m.orphan(m.item.Used)
		return
	}
	if m.state == nil {
		if m.out.Refusal = m.begin(usedUnit(m.item.Used)); m.out.Refusal != "" {
			m.orphan(m.item.Used)
			return
		}
	}
	used, ok := m.plausible()
	if !ok {
		m.out.Refusal = UnitMismatch
		m.orphan(m.item.Used)
		return
	}
	m.keep()
	m.session.Dirty = true
	if m.state.Unit == Amount {
		m.used, _ = sum(used, Amount)
		m.pay(Money(m.used))
	} else {
		m.rate(used)
	}
	m.state.Used += m.used
	if m.key.Type == Initial {
		m.state.Interim += m.used // served while nobody could be asked
	}
	m.state.Granted = max(0, m.state.Granted-m.used)
}

// usedUnit is the unit of a first report: money when only money is reported,
// else whatever the price counts (clients report octets beside seconds).
func usedUnit(used []Usage) UnitKind {
	for _, u := range used {
		if u.Units.Kind != Amount {
			return Unspecified
		}
	}
	return Amount
}

// plausible returns the usage to be rated: seconds beyond what the clock allows
// are capped and the outcome says so; false when a quantity cannot be rated.
func (m *movement) plausible() ([]Usage, bool) {
	used := m.item.Used
	n, ok := sum(used, m.state.Unit)
	if !ok || n > chargeMax || m.account.Debt > debtMax {
		return nil, false
	}
	if m.state.Unit == Amount {
		return used, m.state.Charged <= chargeMax-Money(n)
	}
	if m.state.Unit == Seconds && m.key.Type != Initial {
		counted := m.state.Used - m.state.Interim
		if age, limit := m.clockLimit(); n > limit-counted {
			believed := max(0, min(n, age-counted))
			m.out.Capped = n - believed
			n = believed
			used = []Usage{{Units: Units{Seconds, believed}}}
		}
	}
	if m.price == nil || m.state.Earlier > chargeMax || (m.state.Unit == Seconds && n > clockUnitsMax) {
		return nil, false
	}
	_, err := m.state.Meter.cost(n, m.price, m.price.highest)
	return used, err == nil
}

// rate pays a report: units from unit balances first, the rest in money by the
// target's meter. Reports of seconds end at the Event-Timestamp and lie one
// after the other before it.
func (m *movement) rate(used []Usage) {
	unit := m.state.Unit
	left, _ := sum(used, unit)
	for _, u := range used {
		if u.Units.Kind != unit || u.Units.Quantity == 0 {
			continue
		}
		m.used += u.Units.Quantity
		rest := u.Units.Quantity
		if !m.price.free() { // a bundle is not spent on what costs nothing
			rest -= m.payUnits(rest)
		}
		left -= u.Units.Quantity
		end := m.at.Add(-time.Duration(left) * time.Second)
		if err := m.state.Meter.advance(rest, m.spanOf(u.Tariff, rest, end)); err != nil {
			panic(err) // plausible has tried more than this
		}
	}
	m.pay(m.state.Earlier + m.state.Meter.charge(m.price) - m.state.Charged)
}

// spanOf says how n units that were used up to end are priced: seconds by the
// clock, other units at the price when they are reported, and what the client
// itself has split at a tariff switch at the price of that side.
func (m *movement) spanOf(side TariffChange, n int64, end time.Time) span {
	s := span{price: m.price, fixed: true}
	if side == TariffUnmarked && m.state.Unit == Seconds {
		return span{price: m.price, start: end.Add(-time.Duration(n) * time.Second)}
	}
	if m.price.clock == nil {
		s.money = m.price.Price
		return s
	}
	before, after := m.price.switchBefore(m.at)
	switch side {
	case TariffBefore:
		s.money = before
	case TariffIndeterminate: // the cheaper side
		s.money = min(before, after)
	default:
		s.money = after
	}
	return s
}

// payUnits pays units one for one from unit balances and returns how many.
func (m *movement) payUnits(n int64) int64 {
	unit := m.state.Unit
	if m.late {
		got := m.takeFree(m.pots(unit), n)
		return got + m.takeFrozen(unit, n-got)
	}
	got := m.takeFrozen(unit, n)
	return got + m.takeFree(m.pots(unit), n-got)
}

// pay pays a price: from the freeze, then from those of the pool, then from what
// is available to the service; what is left is an overrun and the account's
// debt, and no balance goes below zero. A late report spares the freeze, which
// covers a younger grant, as long as there is something else.
func (m *movement) pay(due Money) {
	if due <= 0 {
		return
	}
	pots := m.pots(Amount)
	left := int64(due)
	if m.late {
		left -= m.takeFree(pots, left)
		left -= m.takeFrozen(Amount, left)
		left -= m.takePooled(left)
	} else {
		left -= m.takeFrozen(Amount, left)
		left -= m.takePooled(left)
		left -= m.takeFree(pots, left)
	}
	m.state.Charged += due
	if left > 0 {
		m.overrun += Money(left)
		m.out.Overrun += Money(left)
		m.account.Debt += Money(left)
		m.account.Dirty = true
	}
}
