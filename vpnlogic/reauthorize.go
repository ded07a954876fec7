package vpnlogic

import "time"

// This file is what the charging system asks of a session by itself: a report at
// once (Re-Auth-Request) or its end (Abort-Session-Request).

// asksMax bounds the questions of the charging system that wait for a call. One
// more is told that a report is under way, which the waiting ones cause.
const asksMax = 4

// onReauthorize (RFC 8506 §5.5):
//
//	Idle, PendingT × RAR               → as it is: unknown (C-073)
//	other × RAR for another group      → as it is: not active (C-073)
//	PendingI, PendingU × RAR           → as it is: under way (C-071, C-073)
//	Open × RAR, ringing or answered    → PendingU: CCR-U (C-070, C-074, C-075)
func (m *machine) onReauthorize(now time.Time, e reauthorize) {
	answer := m.reauthorization(e.group)
	m.do(answerReauth{answer, e.done})
	if answer == ReauthWillReport {
		m.sendUpdate(now, ReportForced)
	}
}

func (m *machine) reauthorization(group *uint32) Reauthorization {
	switch state := m.credit.state; {
	case state == idle || state == pendingT:
		return ReauthUnknown
	case group != nil && !m.meters(*group):
		return ReauthNotActive
	case state == open:
		return ReauthWillReport
	default:
		return ReauthUnderWay
	}
}

// meters tells whether the session has the rating group: the one in use, or the one
// whose use is being reported.
func (m *machine) meters(group uint32) bool {
	return group == m.party.group || m.credit.state == pendingU && group == m.credit.request.RatingGroup
}

// onAbort (RFC 6733 §8.5):
//
//	Idle, PendingT × ASR         → as it is: unknown
//	Open, pending × ASR          → Exception: release; CCR-T, after the answer if one is missing (C-076)
func (m *machine) onAbort(now time.Time, e abort) {
	if m.credit.state == idle || m.credit.state == pendingT {
		m.do(answerAbort{AbortUnknown, e.done})
		return
	}
	m.do(answerAbort{AbortAccepted, e.done})
	m.release(now, byCharging, CauseOf(ReasonAborted))
}

// Reauthorize has the call of a session report its use and ask for quota anew. A
// rating group narrows it down; nil means the whole session. It returns at once;
// done is called exactly once, from any goroutine, before the report goes out.
func (s *Service) Reauthorize(session string, ratingGroup *uint32, done func(Reauthorization)) {
	known, heard := s.ask(session, reauthorize{ratingGroup, done})
	switch {
	case !known:
		done(ReauthUnknown)
	case !heard:
		done(ReauthUnderWay)
	}
}

// Abort ends the call of a session: both legs are released and a CCR-T follows. It
// returns at once; done is called exactly once, from any goroutine.
func (s *Service) Abort(session string, done func(Abortion)) {
	known, heard := s.ask(session, abort{done})
	switch {
	case !known:
		done(AbortUnknown)
	case !heard:
		done(AbortAccepted)
	}
}

// ask puts a question to the call of the session. It holds the lock that leave takes
// the call out under, so that no question is left behind in a call that is over.
func (s *Service) ask(session string, e event) (known, heard bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.sessions[session]
	if c == nil {
		return false, false
	}
	return true, c.asked(stamped{time.Now(), e})
}

// asked queues a question, unless too many wait. The first abortion always finds
// room; another one is answered for by it.
func (c *Call) asked(e stamped) bool {
	if _, isAbort := e.event.(abort); isAbort {
		if c.aborted.Swap(true) {
			return false
		}
	} else if c.asking.Add(1) > asksMax {
		c.asking.Add(-1)
		return false
	}
	c.events <- e
	return true
}

// hear steps the machine with a question and sees to it that it is answered, even
// if the machine fails over it.
func (c *Call) hear(e stamped) {
	if _, isReauth := e.event.(reauthorize); isReauth {
		c.asking.Add(-1)
	}
	c.answeredAsk = false
	defer func() {
		if !c.answeredAsk {
			unheard(e.event)
		}
	}()
	c.handle(e)
}

// unheard answers a question that reached its call too late.
func unheard(e event) {
	switch e := e.(type) {
	case reauthorize:
		e.done(ReauthUnknown)
	case abort:
		e.done(AbortUnknown)
	}
}
