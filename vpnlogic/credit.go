package vpnlogic

import "time"

// creditState is the state of the credit-control client (RFC 8506 §7, Tables
// 3 and 4).
type creditState uint8

const (
	idle     creditState = iota // no session, or none any more
	pendingI                    // CCR-I unanswered
	open
	pendingU // CCR-U unanswered
	pendingT // CCR-T unanswered
)

func (s creditState) String() string {
	return [...]string{"Idle", "PendingI", "Open", "PendingU", "PendingT"}[s]
}

const (
	// lead is how much earlier than on the second the quota timers act, so
	// that a timer that fires late never costs the caller a second more than
	// was granted; C-055 allows 200 ms.
	lead = 100 * time.Millisecond
	// askBefore is the least time before the end of a grant to ask for more
	// when the server gave no threshold (C-052); askShare the share of it.
	askBefore = 5 * time.Second
	askShare  = 10
	// retryPause is the pause before an unanswered request goes out again
	// while the call goes on: Tx has already passed, so it only keeps a
	// client without peers from spinning.
	retryPause = time.Second
)

// settlePauses are the pauses before the repetitions of an unanswered CCR-U of
// a call that is over: only its answer tells that its usage is booked, and the
// CCR-T waits for it. A settling call keeps its place among the calls, hence
// the short row.
var settlePauses = [...]time.Duration{time.Second, 5 * time.Second, 30 * time.Second}

// credit is the credit-control session of a call. At most one request is
// unanswered at a time (C-031); what has to follow waits for its answer.
type credit struct {
	state   creditState
	session string
	next    uint32 // CC-Request-Number of the next new request (C-030)

	request  ChargeRequest // the unanswered one
	flying   bool          // it is with the Charger; else its repetition is being waited for
	sentAt   time.Time     // when it went to the Charger
	known    bool          // the server has answered within this session
	granted  bool          // an initial was granted: usage is the server's
	failures int           // tries after the call's end that came back unanswered
	hurry    bool

	onFailure FailureHandling
	grant     Grant
	reported  time.Duration // whole seconds in requests so far
	confirmed time.Duration // of those, in answered ones
	end       time.Duration // talk time at which what is granted ends
	cost      string
	currency  uint32
}

// sendInitial:
//
//	Idle × call allowed → PendingI: CCR-I
func (m *machine) sendInitial(now time.Time) {
	m.credit.state = pendingI
	m.send(now, ChargeRequest{Type: ChargeInitial, At: now, Report: ReportNone, WantMore: true})
}

// sendUpdate:
//
//	Open × quota low, validity over, report wanted → PendingU: CCR-U
func (m *machine) sendUpdate(now time.Time, why ReportReason) {
	if m.credit.state != open || m.at == exception {
		return
	}
	m.timers.ask, m.timers.validity = time.Time{}, time.Time{}
	m.credit.state = pendingU
	m.send(now, ChargeRequest{Type: ChargeUpdate, At: now, Used: m.unreported(now), Report: why, WantMore: true})
}

// sendTerminate:
//
//	Open × call over → PendingT: CCR-T
func (m *machine) sendTerminate(now time.Time) {
	m.credit.state = pendingT
	m.send(now, ChargeRequest{
		Type: ChargeTerminate, At: m.releasedAt, Used: m.unreported(m.releasedAt),
		Report: ReportFinal, Cause: m.cause,
	})
}

// unreported is the whole seconds since the last report: cumulative talk time
// is rounded up, and each report is the difference, so that nothing drifts
// (C-061).
func (m *machine) unreported(now time.Time) time.Duration {
	return max(0, wholeSeconds(m.talk(now))-m.credit.reported)
}

func wholeSeconds(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}

func (m *machine) send(now time.Time, r ChargeRequest) {
	c := &m.credit
	r.Session, r.Number = c.session, c.next
	r.Payer, r.PayerAccount = m.route.Payer, m.route.PayerAccount
	if r.RatingGroup == 0 {
		r.RatingGroup = m.party.group
	}
	m.split(&r)
	r.Call = m.info()
	c.next++
	c.reported += r.Used
	c.request, c.flying, c.sentAt = r, true, now
	m.do(sendRequest{r})
}

// repeat sends the unanswered request again, as it was (C-015). Only its
// answer can tell whether its usage is booked; a new request with the same
// usage could be booked beside it.
func (m *machine) repeat(now time.Time) {
	c := &m.credit
	if c.flying || (c.state != pendingI && c.state != pendingU) {
		return
	}
	c.request.Repeat, c.flying, c.sentAt = true, true, now
	m.timers.repeat = time.Time{}
	m.do(sendRequest{c.request})
}

// info is the call as the charging data carries it.
func (m *machine) info() CallInfo {
	return CallInfo{
		CallID: m.attempt.CallID, ICID: m.attempt.ICID,
		Calling: m.route.Caller.Number, Dialled: m.attempt.Dialled, Called: m.route.Called, Connected: m.elsewhere(),
		Role: m.attempt.Role, OrigIOI: m.attempt.OrigIOI, TermIOI: m.attempt.TermIOI,
		Group:       m.route.Group,
		CallerShort: m.route.Caller.Short, CalledShort: m.route.CalledMember.Short,
		Member: string(m.route.Caller.Number), Class: m.party.class,
		SetupAt: m.attempt.At, AnsweredAt: m.answeredAt, ReleasedAt: m.releasedAt,
		SIPStatus: m.setUpStatus(),
	}
}

// setUpStatus is the final status that ended the set-up, 0 when none did.
func (m *machine) setUpStatus() int {
	if m.at != exception || !m.answeredAt.IsZero() {
		return 0
	}
	return m.cause.Status
}

// onCharged takes the answer to the request in flight.
func (m *machine) onCharged(now time.Time, a ChargeAnswer) {
	c := &m.credit
	if !c.flying {
		return
	}
	c.flying = false
	c.onFailure = a.OnFailure
	if a.Cost != "" {
		c.cost, c.currency = a.Cost, a.Currency
	}
	if a.Result == ChargeUnreachable {
		m.onUnreachable(now, a)
		return
	}
	c.known, c.failures = true, 0
	c.confirmed += c.request.Used
	m.timers.life = time.Time{}
	switch {
	case c.state == pendingT:
		c.state = idle // PendingT × any answer → Idle (C-028)
	case m.at == exception:
		m.onLateAnswer(now, a)
	default:
		m.onAnswerInCall(now, a)
	}
}

// onLateAnswer: the call is over, its terminate was queued (C-012, C-024).
//
//	PendingI, PendingU × granted, call over → PendingT: CCR-T
//	PendingI, PendingU × other, call over   → Idle, or PendingT while the server holds the session
func (m *machine) onLateAnswer(now time.Time, a ChargeAnswer) {
	if a.Result == ChargeGranted || (a.SessionOpen && a.Result != ChargeFree) {
		m.sendLast(now)
		return
	}
	m.credit.state = idle
}

// onAnswerInCall:
//
//	PendingI × granted                  → Open: connect (C-002)
//	PendingU × granted                  → Open
//	PendingI, PendingU × free           → Idle: serve free (C-004, C-025)
//	PendingI, PendingU × not allowed, no credit → release; CCR-T only while the server holds the session (C-003, C-005, C-025, C-026, C-060)
//	PendingI, PendingU × failed, CONTINUE → Idle: serve uncontrolled (C-006)
//	PendingI, PendingU × failed, else     → release
func (m *machine) onAnswerInCall(now time.Time, a ChargeAnswer) {
	switch {
	case a.Result == ChargeGranted:
		m.credit.state, m.credit.granted = open, true
		m.charging = ChargingPrepaid
		if len(m.changes) > 0 {
			m.credit.hold(a.Grant)
		}
		if !m.nextChange(now) {
			m.takeGrant(now, a.Grant)
		}
	case a.Result == ChargeFree:
		m.uncontrolled(now, ChargingFree)
	case a.Result == ChargeFailed && !a.SessionOpen && a.OnFailure == FailContinue:
		m.uncontrolled(now, ChargingUncharged)
	default:
		m.credit.state = idle
		if a.SessionOpen {
			m.credit.state = open
		}
		m.release(now, byCharging, chargingCause(a))
	}
}

// uncontrolled lets the call run without credit control from here on. A call
// that has been charged in part stays a charged one in its record.
func (m *machine) uncontrolled(now time.Time, as Charging) {
	m.credit.state = idle
	m.stopQuotaTimers()
	m.applyChanges()
	if !m.credit.granted {
		m.charging = as
	}
	if m.at == authorizeCallSetup {
		m.connect(now)
	}
}

// takeGrant puts a grant into force. It counts from the last report, not from
// the arrival of the answer (C-053).
func (m *machine) takeGrant(now time.Time, g Grant) {
	c := &m.credit
	if g.Time <= 0 && (g.Final || m.at == authorizeCallSetup) {
		m.release(now, byCharging, m.nothingGranted())
		return // zero units act at once (C-058)
	}
	c.hold(g)
	m.timers.validity = time.Time{}
	if m.spent(now) {
		m.sendUpdate(now, ReportQuotaExhausted)
		return // the old quota's end, if there is one, still cuts off
	}
	if g.ValidFor > 0 && g.Time > 0 {
		m.timers.validity = now.Add(g.ValidFor)
	}
	if m.at == authorizeCallSetup {
		m.connect(now)
	}
	m.setQuotaTimers()
}

// hold puts a grant in the place of the one before it, whose end stays when the new
// one has no time (C-113).
func (c *credit) hold(g Grant) {
	c.grant = g
	if g.Time > 0 {
		c.end = c.reported + g.Time
	}
}

// spent tells that an answer came so late that its grant is talked away
// already; more is asked for before the call is cut.
func (m *machine) spent(now time.Time) bool {
	c := &m.credit
	return m.at == activeCall && !c.grant.Final && c.grant.Time > 0 && m.talk(now) >= c.end-lead
}

func (m *machine) nothingGranted() Cause {
	if m.at == authorizeCallSetup {
		return CauseOf(ReasonNoCredit)
	}
	return CauseOf(ReasonQuotaEnd)
}

// setQuotaTimers sets cut-off and asking point of an answered call. A grant
// without time is an end without a date: the call stops where the quota held
// before stops (C-113).
func (m *machine) setQuotaTimers() {
	c := &m.credit
	if m.at != activeCall || (c.state != open && c.state != pendingU) {
		return
	}
	m.timers.cutOff = m.answeredAt.Add(c.end - lead)
	m.timers.ask = time.Time{}
	if c.state == open && !c.grant.Final && c.grant.Time > 0 {
		m.timers.ask = m.answeredAt.Add(c.end - c.grant.margin() - lead)
	}
}

func (m *machine) stopQuotaTimers() {
	m.timers.cutOff, m.timers.ask, m.timers.validity = time.Time{}, time.Time{}, time.Time{}
	m.timers.repeat, m.timers.life = time.Time{}, time.Time{}
}

// margin is how long before the grant's end more is asked for: the server's
// threshold (C-051), else a tenth and at least five seconds (C-052); never
// more than half of the grant, so that a small one does not ask at once and
// for ever.
func (g Grant) margin() time.Duration {
	margin := g.Threshold
	if margin <= 0 {
		margin = max(askBefore, g.Time/askShare)
	}
	return min(margin, g.Time/2)
}

// askReason is THRESHOLD when the server set one, else quota exhausted, which
// the client's own rule anticipates (TS 32.299 §7.2.175).
func (m *machine) askReason() ReportReason {
	if m.credit.grant.Threshold > 0 {
		return ReportThreshold
	}
	return ReportQuotaExhausted
}

// onQuotaEnd: the granted time is over and nothing new is there.
//
//	PendingU × quota end, CONTINUE → PendingU: go on, metering (C-054)
//	PendingU × quota end, else     → release; CCR-T after the answer (C-054)
//	PendingU × final units end     → release; CCR-T after the answer (C-021)
//	Open × quota end               → release, CCR-T (C-021, C-055, C-113)
func (m *machine) onQuotaEnd(now time.Time) {
	c := &m.credit
	switch {
	case c.state == pendingU && c.onFailure == FailContinue && !c.grant.Final:
	case c.state == pendingU && !c.grant.Final:
		m.release(now, byCharging, CauseOf(ReasonUnreachable))
	default:
		m.release(now, byCharging, CauseOf(ReasonQuotaEnd))
	}
}
