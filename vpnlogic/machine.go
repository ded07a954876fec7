package vpnlogic

import "time"

// point is a point in call of the originating basic call state model (ITU-T
// Q.1224 §11.2.1, "O_" left out). Screening is one pure function, so its
// points (Collect_Information, Analyse_Information, Select_Route) are passed
// at once, between Authorize_Origination_Attempt and Authorize_Call_Setup.
type point uint8

const (
	null                        point = iota // O_Null
	authorizeOriginationAttempt              // is the line a member, may it call this number?
	authorizeCallSetup                       // prepaid: authenticate and reserve are under way
	sendCall                                 // the called leg is being set up
	alerting                                 // it rings
	activeCall                               // O_Active: answered
	exception                                // O_Exception: released; charging is being settled
)

func (p point) String() string {
	return [...]string{"Null", "AuthorizeOriginationAttempt", "AuthorizeCallSetup", "SendCall", "Alerting", "Active", "Exception"}[p]
}

// Party is who did something to a call, in the words of CallRecord.ReleasedBy.
type Party string

// The parties of a call, and on its other sides the service and charging.
const (
	PartyCaller Party = "caller"
	PartyCalled Party = "called"
	byService   Party = "service"
	byCharging  Party = "charging"
)

// The events of a call.
type (
	event interface{ isEvent() }

	setUp    struct{} // the attempt is there
	screenOK struct { // screening let it through
		route    Route
		session  string   // Session-Id, "" when this service does not charge
		charging Charging // how it will be charged
	}
	screenRefused struct {
		route Route
		cause Cause
	}
	ringing    struct{ status int } // the called party is alerted
	answered   struct{}
	disconnect struct {
		by    Party
		cause Cause // zero: a plain hang-up
		hurry bool  // the gateway stops: no pauses between tries any more
	}
	connectedTo struct{ party }               // somebody else answers for the called party
	operator    struct{ ioi string }          // the network that serves the called party
	charged     struct{ answer ChargeAnswer } // the answer to the request in flight
	reauthorize struct {                      // the charging system wants a report
		group *uint32 // nil: of the whole session
		done  func(Reauthorization)
	}
	abort struct{ done func(Abortion) } // the charging system wants the call to end
	tick  struct{}                      // the earliest deadline has come
)

func (setUp) isEvent()         {}
func (screenOK) isEvent()      {}
func (screenRefused) isEvent() {}
func (ringing) isEvent()       {}
func (answered) isEvent()      {}
func (disconnect) isEvent()    {}
func (connectedTo) isEvent()   {}
func (operator) isEvent()      {}
func (charged) isEvent()       {}
func (reauthorize) isEvent()   {}
func (abort) isEvent()         {}
func (tick) isEvent()          {}

// The actions of a call, to be done in order.
type (
	action interface{ isAction() }

	screenCall   struct{}              // call Directory.Screen and tell the result
	connectLeg   struct{ Destination } // Leg.Connect
	releaseLeg   struct{ Cause }       // Leg.Release, once a call
	sendRequest  struct{ ChargeRequest }
	answerReauth struct {
		Reauthorization
		done func(Reauthorization)
	}
	answerAbort struct {
		Abortion
		done func(Abortion)
	}
	finish struct{ CallRecord } // the call is over, the record final
)

func (screenCall) isAction()   {}
func (connectLeg) isAction()   {}
func (releaseLeg) isAction()   {}
func (sendRequest) isAction()  {}
func (answerReauth) isAction() {}
func (answerAbort) isAction()  {}
func (finish) isAction()       {}

// limits are the machine's time limits.
type limits struct {
	callMax     time.Duration // from answer to release, whatever is granted (C-065)
	setUpMax    time.Duration // from connecting to answer
	requestLife time.Duration // of one unanswered charging request (C-010)
}

// machine is one call without I/O: step takes the time and an event and
// returns what is to be done. The call's own state is here, the
// credit-control session's in credit.
type machine struct {
	limits  limits
	id      string // of the record
	attempt Attempt
	at      point
	route   Route
	party   party    // who the caller is charged for talking to
	changes []change // of it, that wait for the answer to a charging request
	credit  credit
	timers  timers
	out     []action

	charging    Charging
	connectedAt time.Time
	answeredAt  time.Time
	releasedAt  time.Time
	cause       Cause
	by          Party
	finished    bool
}

func newMachine(id string, a Attempt, l limits) *machine {
	return &machine{id: id, limits: l, attempt: a, charging: ChargingNone}
}

// step is the whole machine.
func (m *machine) step(now time.Time, e event) []action {
	m.out = nil
	if m.finished {
		return nil
	}
	switch e := e.(type) {
	case setUp:
		m.onSetUp()
	case screenOK:
		m.onScreenOK(now, e)
	case screenRefused:
		m.onScreenRefused(now, e)
	case ringing:
		m.onRinging()
	case answered:
		m.onAnswered(now)
	case disconnect:
		m.onDisconnect(now, e)
	case connectedTo:
		m.onConnectedTo(now, e.party)
	case operator:
		m.attempt.TermIOI = e.ioi
	case charged:
		m.onCharged(now, e.answer)
	case reauthorize:
		m.onReauthorize(now, e)
	case abort:
		m.onAbort(now, e)
	case tick:
		m.onTick(now)
	}
	m.finishWhenSettled()
	return m.out
}

func (m *machine) do(a action) { m.out = append(m.out, a) }

// onSetUp:
//
//	Null × attempt → AuthorizeOriginationAttempt: screen
func (m *machine) onSetUp() {
	if m.at == null {
		m.at = authorizeOriginationAttempt
		m.do(screenCall{})
	}
}

// onScreenOK:
//
//	AuthorizeOriginationAttempt × route, prepaid → AuthorizeCallSetup: CCR-I (C-001)
//	AuthorizeOriginationAttempt × route, else    → SendCall: connect
func (m *machine) onScreenOK(now time.Time, e screenOK) {
	if m.at != authorizeOriginationAttempt {
		return
	}
	m.route, m.charging = e.route, e.charging
	m.party = party{number: e.route.Called, class: e.route.Class, group: e.route.RatingGroup}
	if e.session == "" {
		m.connect(now)
		return
	}
	m.at = authorizeCallSetup
	m.credit.session = e.session
	m.sendInitial(now)
}

// onScreenRefused:
//
//	AuthorizeOriginationAttempt × refused → Exception: release
func (m *machine) onScreenRefused(now time.Time, e screenRefused) {
	if m.at == authorizeOriginationAttempt {
		m.route = e.route
		m.release(now, byService, e.cause)
	}
}

// connect:
//
//	AuthorizeOriginationAttempt, AuthorizeCallSetup × may go on → SendCall: connect
func (m *machine) connect(now time.Time) {
	m.at, m.connectedAt = sendCall, now
	if !m.emergency() {
		m.timers.setUp = now.Add(m.limits.setUpMax)
	}
	destination := m.route.Destination
	destination.Charged = m.charging != ChargingNone && m.charging != ChargingEmergency
	m.do(connectLeg{destination})
}

// onRinging:
//
//	SendCall × alerted → Alerting
func (m *machine) onRinging() {
	if m.at == sendCall {
		m.at = alerting
	}
}

// onAnswered:
//
//	SendCall, Alerting × answer → Active: the clock starts (C-050)
func (m *machine) onAnswered(now time.Time) {
	if m.at != sendCall && m.at != alerting {
		return
	}
	m.at = activeCall
	m.answeredAt = now
	m.timers.setUp = time.Time{}
	if !m.emergency() {
		m.timers.callEnd = now.Add(m.limits.callMax)
	}
	m.setQuotaTimers()
}

// connected tells whether there is a called leg.
func (m *machine) connected() bool { return !m.connectedAt.IsZero() }

// emergency tells that no limit may end the call.
func (m *machine) emergency() bool { return m.route.Class == Emergency }

// onDisconnect:
//
//	any before Exception × hang-up, failure, loss, stop → Exception: release, settle
//	Exception × stop                                    → Exception: settle without pauses
func (m *machine) onDisconnect(now time.Time, e disconnect) {
	m.credit.hurry = m.credit.hurry || e.hurry
	if m.at == exception {
		m.hurryUp(now)
		return
	}
	if e.cause.Reason == "" {
		e.cause = m.hangUpCause(e.by)
	}
	m.release(now, e.by, e.cause)
}

// hangUpCause is the cause of a hang-up, which depends on how far the call was.
func (m *machine) hangUpCause(by Party) Cause {
	switch {
	case m.at == activeCall:
		return CauseOf(ReasonNormal)
	case by == PartyCaller:
		return CauseOf(ReasonCancelled)
	default:
		return CauseOf(ReasonRejected)
	}
}

// release ends the call towards its parties at once; charging is settled
// after it.
func (m *machine) release(now time.Time, by Party, cause Cause) {
	if m.at == exception {
		return
	}
	m.at, m.by, m.cause, m.releasedAt = exception, by, cause, now
	m.timers = timers{}
	m.do(releaseLeg{cause})
	m.settle(now)
}

// finishWhenSettled:
//
//	Exception × nothing left to charge → Null: record
func (m *machine) finishWhenSettled() {
	if m.finished || m.at != exception || m.credit.state != idle {
		return
	}
	m.applyChanges()
	m.finished, m.at = true, null
	m.timers = timers{}
	m.do(finish{m.record()})
}

// talk is the time since the answer, until the release. Its clock is the
// monotonic one that the times carry (C-061, C-062).
func (m *machine) talk(now time.Time) time.Duration {
	if m.answeredAt.IsZero() {
		return 0
	}
	if !m.releasedAt.IsZero() && now.After(m.releasedAt) {
		now = m.releasedAt
	}
	return max(0, now.Sub(m.answeredAt))
}

// record is the call as it ended.
func (m *machine) record() CallRecord {
	r := CallRecord{
		ID: m.id, CallID: m.attempt.CallID, ICID: m.attempt.ICID,
		Session: m.credit.session,
		Group:   m.route.Group, Member: string(m.route.Caller.Number),
		Calling: m.calling(), Dialled: m.attempt.Dialled, Called: m.called(), Connected: string(m.elsewhere()),
		Class: m.route.Class, Charging: m.charging,
		SetupAt: m.attempt.At, AnsweredAt: m.answeredAt, ReleasedAt: m.releasedAt,
		Talked: m.talk(m.releasedAt), Reported: m.credit.confirmed,
		Cost: m.credit.cost, Currency: m.credit.currency,
		Cause: m.cause.Q850, Status: m.status(), Reason: m.cause.Reason,
		ReleasedBy: string(m.by),
	}
	if r.Session != "" {
		r.Payer = m.route.payer()
	}
	return r
}

func (m *machine) calling() string {
	if m.route.Caller.Number != "" {
		return string(m.route.Caller.Number)
	}
	return m.attempt.Calling
}

func (m *machine) called() string {
	if m.emergency() {
		return m.route.Destination.Emergency
	}
	return string(m.route.Called)
}

// status is the final SIP status the caller got: an answered call has had its
// 200, however it ended.
func (m *machine) status() int {
	if !m.answeredAt.IsZero() {
		return statusOK
	}
	return m.cause.Status
}

const statusOK = 200
