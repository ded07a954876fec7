package vpnlogic

import "time"

// This file is what happens when charging does not answer, and what is left
// to charge when the call is over.

// sendFailureMax tells a request that found no way out, which shows at once, from
// one that was sent and waited for Tx in vain. Only the latter ends a call under
// TERMINATE before its quota does: a connection that is being restored costs
// nobody a call.
const sendFailureMax = time.Second

// onUnreachable: no answer within Tx, or no peer took the request.
//
//	PendingI × nothing sent, CONTINUE    → Idle: serve uncontrolled (C-007)
//	PendingI × Tx, not TERMINATE         → PendingI: connect, ask again (C-008)
//	PendingI × else                      → release; a CCR-T if the request was sent (C-008)
//	PendingU × Tx, TERMINATE             → release (C-027)
//	PendingU × else                      → PendingU: ask again; the quota's end decides (C-027, C-054)
//	any × call over                      → see retrySettling
func (m *machine) onUnreachable(now time.Time, a ChargeAnswer) {
	c := &m.credit
	switch {
	case m.at == exception:
		m.retrySettling(now, a.SessionOpen)
	case c.state == pendingU && a.OnFailure == FailTerminate && now.Sub(c.sentAt) > sendFailureMax:
		m.release(now, byCharging, CauseOf(ReasonUnreachable))
	case c.state == pendingU || m.at != authorizeCallSetup:
		m.retryInCall(now)
	case !a.SessionOpen && a.OnFailure == FailContinue:
		m.uncontrolled(now, ChargingUncharged)
	case a.SessionOpen && a.OnFailure != FailTerminate:
		m.charging = ChargingUncharged // until a late answer says otherwise
		m.connect(now)
		m.retryInCall(now)
	default:
		c.state = idle
		if a.SessionOpen {
			c.state = open
		}
		m.release(now, byCharging, CauseOf(ReasonUnreachable))
	}
}

// retryInCall sends the same request again after a pause, for as long as its
// life lasts.
func (m *machine) retryInCall(now time.Time) {
	if m.timers.life.IsZero() {
		m.timers.life = m.credit.request.At.Add(m.limits.requestLife)
	}
	m.timers.repeat = now.Add(retryPause)
}

// onLifeOver: the request was never answered (RFC 8506 §13, request timeout).
//
//	PendingI, PendingU × life over, CONTINUE → as it is: serve uncontrolled
//	PendingI, PendingU × life over, else     → release (C-010)
func (m *machine) onLifeOver(now time.Time) {
	m.stopQuotaTimers()
	if m.credit.onFailure != FailContinue {
		m.release(now, byCharging, CauseOf(ReasonUnreachable))
	}
}

// settle charges what is left when the call is over. Every path after a
// granted CCR-I leads to a CCR-T (C-063), but never past an unanswered
// request (C-012, C-024).
//
//	Idle × call over                 → Idle
//	Open × call over                 → PendingT: CCR-T (C-023)
//	PendingI, PendingU × call over   → as it is; an unanswered request is repeated first
func (m *machine) settle(now time.Time) {
	switch m.credit.state {
	case open:
		m.sendLast(now)
	case pendingI, pendingU:
		m.repeat(now)
	}
}

// sendLast sends what is left to report of a call that is over: a change of price
// first that still waits, then the CCR-T.
func (m *machine) sendLast(now time.Time) {
	if !m.nextChange(now) {
		m.sendTerminate(now)
	}
}

// retrySettling repeats a CCR-U of a finished call, then lets the CCR-T follow
// it. A session that no server ever answered is not worth more than that
// CCR-T: there may be nothing to free, and if there is, the server's
// supervision frees it.
//
//	PendingU × no answer, call over → PendingU after a pause, a few times
//	PendingI, PendingU × given up   → PendingT: CCR-T, if a server may hold the session
//	PendingT × no answer            → Idle: the Charger repeats it (C-029)
func (m *machine) retrySettling(now time.Time, sent bool) {
	c := &m.credit
	switch {
	case c.state == pendingT:
		c.state = idle
	case c.known && !c.hurry && c.failures < len(settlePauses):
		m.timers.repeat = now.Add(settlePauses[c.failures])
		c.failures++
	case c.known || sent:
		m.applyChanges()
		m.sendTerminate(now)
	default:
		c.state = idle
	}
}

// hurryUp cuts the pause of a settling request short: the gateway stops.
func (m *machine) hurryUp(now time.Time) {
	if m.credit.hurry && !m.timers.repeat.IsZero() {
		m.timers.repeat = time.Time{}
		m.repeat(now)
	}
}
