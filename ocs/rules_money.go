package ocs

import (
	"math"
	"slices"
	"strings"
	"time"
)

// movement is what one step does to one target: the money it moves and the
// journal rows that say so.
type movement struct {
	*decision
	item    Item
	state   *TargetState // nil until something is granted or used
	price   *price       // of state or item; nil for money
	late    bool         // a younger request has granted since: only debit
	kind    JournalKind
	used    int64
	overrun Money
	flows   []flow
	out     ItemOutcome
}

// flow is what moved on one balance, in the balance's unit.
type flow struct {
	balance                               *Balance
	debited, refunded, forfeited, reserve int64
}

// move takes up one item of the step.
func (d *decision) move(item Item) *movement {
	m := &movement{decision: d, item: item, kind: JournalStep}
	m.out.Target, m.out.RatingGroup = item.Target, item.RatingGroup
	m.state = d.ownTarget(item)
	if m.state != nil {
		m.late = (d.key.Type == Update || d.key.Type == Direct) && d.key.Number < m.state.GrantNumber && !d.ends
		m.price = d.pinned(m.state)
	}
	if item.Currency != 0 && item.Currency != d.account.Currency {
		m.out.Refusal = ForeignCurrency
	}
	return m
}

// ownTarget is findTarget, unless another item of this step speaks for what it
// finds: the one that names it, or an earlier one. A step moves a target once.
func (d *decision) ownTarget(item Item) *TargetState {
	t := d.findTarget(item)
	switch {
	case t == nil || t.Target == item.Target:
		return t
	case itemOf(d.items, t.Target) != nil || slices.Contains(d.meant, t):
		return nil
	}
	d.meant = append(d.meant, t)
	return t
}

// findTarget finds the item's state: the same target, or, for a report, the
// only one of the rating group that is more or less specific than the item
// (clients that were granted a group report a service of it, and the reverse).
// What another item of this step has begun is that item's alone.
func (d *decision) findTarget(item Item) *TargetState {
	for _, t := range d.session.Targets {
		if t.Target == item.Target {
			return t
		}
	}
	report := reports(item.Used) || item.Final
	var found *TargetState
	for _, t := range d.session.Targets[:d.before] {
		if t.RatingGroup != item.RatingGroup || (t.Target.specific() && item.Target.specific()) {
			continue
		}
		if !report && (item.Requested != nil || !t.starved()) {
			continue
		}
		if found != nil {
			return nil // ambiguous
		}
		found = t
	}
	return found
}

// specific reports whether a target names a service, not only a group.
func (t Target) specific() bool { return strings.Contains(string(t), "/") }

func reports(used []Usage) bool {
	return slices.ContainsFunc(used, func(u Usage) bool { return u.Units.Quantity != 0 })
}

// pinned is the price a target began with; when the operator has deleted it,
// the one that would be pinned now.
func (d *decision) pinned(t *TargetState) *price {
	if t.Unit == Amount {
		return nil
	}
	if p := d.tariff.pinned[t.Rate]; p != nil {
		return p
	}
	p := d.tariff.find(d.session.Service, t.RatingGroup, t.Called, d.account.Currency, d.session.OpenedAt)
	if p != nil && p.Unit != t.Unit {
		return nil
	}
	if p != nil && t.Meter.Rest > 0 { // counted in the lost price's Per: round it up
		t.Meter.Whole, t.Meter.Rest = t.Meter.Whole+1, 0
	}
	return p
}

// begin makes the target's state and pins its price.
func (m *movement) begin(unit UnitKind) Refusal {
	if len(m.session.Targets) >= TargetsMax {
		return Internal
	}
	t := &TargetState{Target: m.item.Target, RatingGroup: m.item.RatingGroup, Called: m.step.Called, Unit: unit}
	if t.Called == "" && len(m.session.Targets) > 0 {
		t.Called = m.session.Targets[0].Called
	}
	if unit != Amount {
		at := m.session.OpenedAt
		if m.session.New && len(m.session.Outcomes) == 0 {
			at = m.at // Event-Timestamp of the first request
		}
		m.price = m.tariff.find(m.session.Service, t.RatingGroup, t.Called, m.account.Currency, at)
		switch {
		case m.price == nil:
			return Unrated
		case unit != Unspecified && unit != m.price.Unit:
			return UnitMismatch
		}
		t.Unit, t.Rate = m.price.Unit, m.price.rate
	}
	m.state = t
	return ""
}

// keep adds a state made by begin to the session.
func (m *movement) keep() {
	if !slices.Contains(m.session.Targets, m.state) {
		m.session.Targets = append(m.session.Targets, m.state)
	}
}

// refund unfreezes what is left of the target's freeze. What returns to a
// balance whose validity is over is forfeited: it is unfrozen there, where
// nobody can use it.
func (m *movement) refund() {
	if m.state == nil {
		return
	}
	for _, f := range m.state.Freezes {
		b := m.account.balance(f.Balance)
		b.Frozen -= f.Amount
		b.Dirty = true
		if b.over(m.ws.Now) {
			m.flow(b).forfeited += f.Amount
		} else {
			m.flow(b).refunded += f.Amount
		}
		if b.Unit == Amount {
			m.out.Refunded += Money(f.Amount)
		}
	}
	m.state.Freezes, m.state.Granted, m.state.Pool = nil, 0, false
	m.state.GrantNumber = m.key.Number
}

func (m *movement) flow(b *Balance) *flow {
	for i := range m.flows {
		if m.flows[i].balance == b {
			return &m.flows[i]
		}
	}
	m.flows = append(m.flows, flow{balance: b})
	return &m.flows[len(m.flows)-1]
}

// freeze sets up to want aside from the pots, in their order, and returns what
// it got.
func (m *movement) freeze(pots []*Balance, want int64) int64 {
	got := int64(0)
	for _, b := range pots {
		n := min(want-got, b.free())
		if n <= 0 {
			continue
		}
		b.Frozen += n
		b.Dirty = true
		m.flow(b).reserve += n
		m.state.addFreeze(b.ID, n)
		if b.Unit == Amount {
			m.out.Reserved += Money(n)
		}
		got += n
	}
	return got
}

// addFreeze keeps one freeze for each balance.
func (t *TargetState) addFreeze(balance, n int64) {
	for i := range t.Freezes {
		if t.Freezes[i].Balance == balance {
			t.Freezes[i].Amount += n
			return
		}
	}
	t.Freezes = append(t.Freezes, Freeze{Balance: balance, Amount: n})
}

// takeFrozen debits up to want of a unit from the target's freeze and returns
// what it got.
func (m *movement) takeFrozen(unit UnitKind, want int64) int64 {
	return m.takeFrom(m.state, want, func(b *Balance) bool { return b.Unit == unit })
}

// takeFrom debits up to want from those of a target's freezes that are fit.
func (m *movement) takeFrom(t *TargetState, want int64, fit func(*Balance) bool) int64 {
	got := int64(0)
	for i := range t.Freezes {
		f := &t.Freezes[i]
		b := m.account.balance(f.Balance)
		n := min(want-got, f.Amount)
		if n <= 0 || !fit(b) {
			continue
		}
		f.Amount -= n
		b.Frozen -= n
		m.take(b, n)
		got += n
	}
	t.Freezes = slices.DeleteFunc(t.Freezes, func(f Freeze) bool { return f.Amount == 0 })
	return got
}

// takeFree debits up to want from what the pots have free.
func (m *movement) takeFree(pots []*Balance, want int64) int64 {
	got := int64(0)
	for _, b := range pots {
		if n := min(want-got, b.free()); n > 0 {
			m.take(b, n)
			got += n
		}
	}
	return got
}

func (m *movement) take(b *Balance, n int64) {
	b.Amount -= n
	b.Dirty = true
	m.flow(b).debited += n
	if b.Unit == Amount {
		m.out.Debited += Money(n)
	}
}

// pots lists the balances of a unit this target may use now.
func (m *movement) pots(unit UnitKind) []*Balance {
	return m.account.pots(unit, m.serviceName(), m.item.RatingGroup, m.ws.Now)
}

// book writes the journal rows of what moved.
func (m *movement) book() {
	for _, f := range m.flows {
		if f.debited|f.refunded|f.reserve != 0 {
			row := m.row(m.kind)
			row.Balance = f.balance.ID
			row.Debited, row.Refunded, row.Reserved = f.debited, f.refunded, f.reserve
			row.AmountAfter, row.FrozenAfter = f.balance.Amount, f.balance.Frozen+f.forfeited
			m.ws.Journal = append(m.ws.Journal, row)
		}
		if f.forfeited != 0 {
			row := m.row(JournalForfeit)
			row.Balance = f.balance.ID
			row.Refunded = f.forfeited
			row.AmountAfter, row.FrozenAfter = f.balance.Amount, f.balance.Frozen
			m.ws.Journal = append(m.ws.Journal, row)
		}
	}
	if m.overrun > 0 {
		row := m.row(JournalOverrun)
		row.Overrun = int64(m.overrun)
		m.ws.Journal = append(m.ws.Journal, row)
	}
	m.flows, m.overrun = nil, 0
}

// row begins a journal row of this step; the units used stand on the first.
func (m *movement) row(kind JournalKind) JournalRow {
	row := JournalRow{
		At: m.ws.Now, Account: m.payer, Kind: kind,
		Session: m.key.Session, SessionID: m.step.SessionID, SubSession: m.key.SubSession,
		Type: m.key.Type, Number: m.key.Number,
		Target: m.item.Target, RatingGroup: m.item.RatingGroup, Used: m.used,
	}
	if m.session != nil {
		row.SessionID = m.session.ID
	}
	if m.state != nil {
		row.Target, row.RatingGroup = m.state.Target, m.state.RatingGroup
	}
	m.used = 0
	return row
}

// clockLimit is how many seconds all reports of a target together can be
// believed to hold: the age of the session, with some tolerance (clients have
// been seen to report years, and their running total instead of what is new).
func (m *movement) clockLimit() (age, limit int64) {
	elapsed := m.ws.Now.Sub(m.session.OpenedAt)
	if at := m.at.Sub(m.session.OpenedAt); at > elapsed {
		elapsed = at
	}
	age = int64((max(elapsed, 0) + time.Second - 1) / time.Second)
	return age, age + int64(m.policy.ClockTolerance/time.Second)
}

// sum adds the usage of one unit; false when it cannot be a quantity.
func sum(used []Usage, unit UnitKind) (int64, bool) {
	var n int64
	for _, u := range used {
		if u.Units.Kind != unit {
			continue // other units are reported beside the granted one: not rated
		}
		if u.Units.Quantity < 0 || n > math.MaxInt64-u.Units.Quantity {
			return 0, false
		}
		n += u.Units.Quantity
	}
	return n, true
}
