package ocs

import "cmp"

// What follows the final units (RFC 8506 §5.6), and a price that changes in
// mid-session.

// wish is the quota the item asks for, false when it asks for none. A client that
// waits without credit asks by an empty report when the Validity-Time is over
// (RFC 8506 §5.6.2).
func (m *movement) wish() (Units, bool) {
	if m.verbs&VerbReserve == 0 || m.item.Final || m.late || m.ends {
		return Units{}, false
	}
	if m.item.Requested != nil {
		return *m.item.Requested, true
	}
	return Units{}, m.key.Type == Update && len(m.item.Used) == 0 && m.state != nil && m.state.starved()
}

// starved reports whether the target waits for credit: the final units are used
// up, or there were none.
func (t *TargetState) starved() bool { return t.Final && t.Granted == 0 && len(t.Freezes) == 0 }

// afterFinal answers the report of the final units: nothing is reserved, and the
// client may try again when the Validity-Time is over (conformance B-134).
func (m *movement) afterFinal() {
	switch {
	case m.state == nil || m.key.Type != Update || m.ends || m.late:
	case m.item.Final:
		m.state.Final = false // the client is done with this target
	case m.state.Final:
		m.out.ValidFor = m.validFor()
	}
}

// withoutCredit tells the client of a session that lives on what to do instead,
// when the service wants more than a code: zero units with the final action in
// mid-session, or where to go beside the code (RFC 8506 §5.6.2, §5.6.3;
// conformance B-095, B-136). A first request is never granted zero units.
func (m *movement) withoutCredit(unit UnitKind) {
	zero := m.service.ZeroGrant && m.key.Type == Update
	stays := m.refusesInItems() || (m.key.Type == Update && !m.step.CommandLevel)
	if !m.out.Refusal.lacksCredit() || !(zero || (stays && m.service.FinalAction != FinalTerminate)) {
		return
	}
	if m.state == nil && m.begin(unit) != "" {
		return
	}
	m.keep()
	m.state.Final, m.state.GrantNumber = true, m.key.Number
	m.out.Final, m.out.FinalAction = true, m.service.FinalAction
	if m.service.FinalAction != FinalTerminate {
		m.out.ValidFor = m.validFor()
	}
	if zero {
		m.out.Granted, m.out.Refusal = &Units{Kind: m.state.Unit}, ""
	}
}

// lacksCredit reports whether more money would help.
func (r Refusal) lacksCredit() bool {
	return r == NoBalance || r == NotAvailable || r == CreditLimit || r == BelowThreshold
}

// rerate gives the target the price that holds from now on, when the client says
// that what sets it has changed: the call was forwarded, say. What was used so
// far keeps what it cost (conformance B-119).
func (m *movement) rerate() {
	t := m.state
	if !m.item.Rerated || t == nil || t.Unit == Amount || m.ends {
		return
	}
	called := cmp.Or(m.step.Called, t.Called)
	p := m.tariff.find(m.session.Service, t.RatingGroup, called, m.account.Currency, m.session.OpenedAt)
	switch {
	case p == nil || p.Unit != t.Unit:
		m.out.Refusal = Unrated
	case p.rate != t.Rate:
		t.Called, t.Rate, m.price = called, p.rate, p
		t.Earlier, t.Meter = t.Charged, Meter{}
	}
}
