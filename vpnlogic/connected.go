package vpnlogic

import (
	"strings"
	"time"
)

// This file is a called party that changes in mid-call: a transfer, or a forwarding
// that only the answer shows. What was used until then belongs to the old price,
// what follows to the new one (RFC 8506 §5.3, conformance C-064).

// changesMax bounds the changes of the connected party that wait for the answer to
// a charging request. With one more the last of them is replaced: from its moment
// on the newest party counts.
const changesMax = 8

// party is who the caller is charged for talking to.
type party struct {
	number E164
	class  CallClass
	group  uint32
}

// change is a new party and since when.
type change struct {
	party
	at time.Time
}

// reclass screens a connected number anew: its class and rating group for the
// caller of the route. It bars nothing, for the call is on. ok is false when the
// number is none, or the caller is no member any more.
func (d *Directory) reclass(r Route, raw string) (p party, ok bool) {
	caller := d.find(r.Caller.Number)
	n, readable := readDialled(raw)
	if caller == nil || !readable || r.Class == Emergency {
		return party{}, false
	}
	if !n.absolute {
		if called := caller.group.extension(n.digits); called != nil {
			return r.colleague(called), true
		}
		n = dialled{digits: strings.TrimPrefix(n.digits, "00"), absolute: true}
	}
	number, ok := d.lookUp(n, caller.group)
	switch called := d.find(number); {
	case !ok:
		return party{}, false
	case number == r.Called:
		return party{number, r.Class, r.RatingGroup}, true
	case called != nil && caller.group.reaches(called.group) && r.RatingGroup == RatingOnNet:
		return r.colleague(called), true
	}
	t, cause := d.publicNumber(n, caller, true)
	return party{number, t.class, t.class.RatingGroup()}, cause == nil
}

// colleague is another member of the network in the place of the called one: a call
// that was on-net stays what it was.
func (r Route) colleague(called *member) party {
	if r.RatingGroup == RatingOnNet {
		return party{called.Number, r.Class, r.RatingGroup}
	}
	return party{called.Number, OnNet, RatingOnNet}
}

// elsewhere is who is connected, when it is not who was called.
func (m *machine) elsewhere() E164 {
	if m.party.number == m.route.Called {
		return ""
	}
	return m.party.number
}

// onConnectedTo:
//
//	Idle × other party                              → as it is: note it
//	Open × other party, same price                  → Open: note it
//	Open × other party, other price                 → PendingU: CCR-U (C-064)
//	PendingI, PendingU × other party, other price   → as it is: queued (C-013)
func (m *machine) onConnectedTo(now time.Time, p party) {
	if !m.connected() || m.at == exception || m.emergency() {
		return
	}
	if len(m.changes) == changesMax {
		m.changes[changesMax-1].party = p
	} else {
		m.changes = append(m.changes, change{p, now})
	}
	switch m.credit.state {
	case idle:
		m.applyChanges()
	case open:
		m.nextChange(now)
	default:
		m.skipUnpriced()
	}
}

// nextChange reports what was used until the next change of the price; false when
// none waits. The quota of the old price, final or not, is only an end to the wait
// for the new one.
func (m *machine) nextChange(now time.Time) bool {
	m.skipUnpriced()
	if len(m.changes) == 0 {
		return false
	}
	next := m.changes[0]
	m.changes = m.changes[1:]
	m.timers.ask, m.timers.validity = time.Time{}, time.Time{}
	m.credit.state = pendingU
	r := ChargeRequest{
		Type: ChargeUpdate, At: next.at, Used: m.unreported(next.at),
		Report: ReportRatingChange, RatingGroup: m.party.group,
	}
	if m.at != exception {
		r.WantMore, r.Wanted = true, next.group
	}
	m.party = next.party
	m.send(now, r)
	if !m.spent(now) {
		m.setQuotaTimers()
	}
	return true
}

// skipUnpriced takes over the changes at the head of the queue that leave the price
// as it is.
func (m *machine) skipUnpriced() {
	for len(m.changes) > 0 && !m.party.pricedUnlike(m.changes[0].party) {
		m.party, m.changes = m.changes[0].party, m.changes[1:]
	}
}

// pricedUnlike tells whether the charging system may price the two differently. On
// the network it looks at the class alone; off it also at the number.
func (p party) pricedUnlike(other party) bool {
	if p.class != other.class || p.group != other.group {
		return true
	}
	return p.group != RatingOnNet && p.number != other.number
}

// applyChanges takes over all changes at once, where nothing is reported any more
// or all that is left goes into one report.
func (m *machine) applyChanges() {
	if n := len(m.changes); n > 0 {
		m.party, m.changes = m.changes[n-1].party, nil
	}
}
