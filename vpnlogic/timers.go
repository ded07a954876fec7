package vpnlogic

import "time"

// timers are the call's deadlines; zero is not set. The earliest is the only
// one the owner of the machine has to watch: when it comes, it steps a tick.
type timers struct {
	callEnd  time.Time // hard limit of the call
	cutOff   time.Time // the granted time ends
	setUp    time.Time // no answer in time
	life     time.Time // an unanswered charging request is given up
	repeat   time.Time // it is sent again
	validity time.Time // the grant is no longer valid
	ask      time.Time // more quota is asked for
}

// byRank are the deadlines in the order in which they act when several have
// come: what ends the call before what asks for more.
func (t *timers) byRank() [7]*time.Time {
	return [...]*time.Time{&t.callEnd, &t.cutOff, &t.setUp, &t.life, &t.repeat, &t.validity, &t.ask}
}

// next returns the earliest deadline, zero when none is set.
func (t *timers) next() time.Time {
	var next time.Time
	for _, at := range t.byRank() {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = *at
		}
	}
	return next
}

// due takes the first deadline that has come off the list.
func (t *timers) due(now time.Time) *time.Time {
	for _, at := range t.byRank() {
		if !at.IsZero() && !at.After(now) {
			*at = time.Time{}
			return at
		}
	}
	return nil
}

// onTick:
//
//	Active × hard limit                → Exception: release, settle (C-065)
//	Active × granted time over         → Exception: release, CCR-T (C-021, C-054, C-055)
//	SendCall, Alerting × no answer     → Exception: release, CCR-T (C-063)
//	Pending × request's life over      → by failure handling (C-010)
//	Pending × pause over               → the same request again (C-015)
//	Open × validity over               → PendingU: CCR-U (C-022)
//	Open × threshold reached           → PendingU: CCR-U (C-020, C-051)
func (m *machine) onTick(now time.Time) {
	switch m.timers.due(now) {
	case &m.timers.callEnd:
		m.release(now, byService, CauseOf(ReasonCallLimit))
	case &m.timers.cutOff:
		m.onQuotaEnd(now)
	case &m.timers.setUp:
		m.release(now, byService, CauseOf(ReasonNoAnswer))
	case &m.timers.life:
		m.onLifeOver(now)
	case &m.timers.repeat:
		m.repeat(now)
	case &m.timers.validity:
		m.sendUpdate(now, ReportValidityTime)
	case &m.timers.ask:
		m.sendUpdate(now, m.askReason())
	}
}
