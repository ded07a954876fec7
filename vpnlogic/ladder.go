package vpnlogic

import (
	"fmt"
	"time"
)

// This file tells the Observer, line by line, what happens to a call. The
// lifelines are "caller", "gygate", "called" and "ocs".

func (c *Call) tell(e CallEvent) {
	observer := c.service.config.Observer
	if observer == nil {
		return
	}
	e.CallID = c.attempt.CallID
	e.Session = c.machine.credit.session
	if e.At.IsZero() {
		e.At = time.Now()
	}
	defer func() { // who watches a call cannot end it
		if p := recover(); p != nil {
			c.logFault(fmt.Errorf("observer: %v", p))
		}
	}()
	observer.Observe(e)
}

// tellEvent shows what came in.
func (c *Call) tellEvent(s stamped) {
	line := CallEvent{At: s.at, From: "gygate", To: "gygate"}
	switch e := s.event.(type) {
	case setUp:
		line.From, line.Text = "caller", "INVITE "+c.attempt.Dialled
	case screenOK:
		line.Text = screenText(e)
	case screenRefused:
		line.Text = "refused " + e.cause.Reason + ": " + e.cause.Text()
	case ringing:
		line.From, line.Text = "called", statusText(e.status)
	case answered:
		line.From, line.Text = "called", statusText(statusOK)
	case disconnect:
		line.From, line.Text = c.hangUpText(e)
	case connectedTo:
		line.From, line.Text = "called", fmt.Sprintf("connected to %s, %s", e.number, e.class)
	case reauthorize:
		line.From, line.Text = "ocs", "RAR"
	case abort:
		line.From, line.Text = "ocs", "ASR"
	case charged:
		answer := e.answer
		line.From, line.Answer, line.Text = "ocs", &answer, answerText(c.machine.credit.request, answer)
	default:
		return // a tick is seen by what it does
	}
	c.tell(line)
}

func screenText(e screenOK) string {
	r := e.route
	if r.Class == Emergency {
		return "emergency " + r.Destination.Emergency + ", unscreened, uncharged"
	}
	return fmt.Sprintf("screened %s → %s, charging %s", r.Class, r.Called, e.charging)
}

func (c *Call) hangUpText(e disconnect) (from, text string) {
	connected := c.machine.at == activeCall
	switch {
	case e.by == byService:
		return "gygate", e.cause.Reason + ": " + e.cause.Text()
	case e.cause.Reason != "":
		return string(e.by), statusText(e.cause.Status)
	case e.by == PartyCaller && !connected:
		return "caller", "CANCEL"
	default:
		return string(e.by), "BYE"
	}
}

// tellAction shows what goes out.
func (c *Call) tellAction(a action) {
	switch a := a.(type) {
	case connectLeg:
		c.tell(CallEvent{From: "gygate", To: "called", Text: "INVITE " + string(a.Called) + a.Emergency})
	case releaseLeg:
		c.tellRelease(a.Cause)
	case sendRequest:
		request := a.ChargeRequest
		c.tell(CallEvent{At: request.At, From: "gygate", To: "ocs", Request: &request, Text: requestText(request)})
	case answerReauth:
		c.tell(CallEvent{From: "gygate", To: "ocs", Text: "RAA " + a.Reauthorization.String()})
	case answerAbort:
		c.tell(CallEvent{From: "gygate", To: "ocs", Text: "ASA " + a.Abortion.String()})
	case finish:
		record := a.CallRecord
		record.TraceID = traceID(c.ctx)
		c.tell(CallEvent{From: "gygate", To: "gygate", Record: &record, Text: "call record: " + record.Reason})
	}
}

// tellRelease shows the release towards the parties that did not cause it.
func (c *Call) tellRelease(cause Cause) {
	m := c.machine
	if m.answeredAt.IsZero() {
		c.tell(CallEvent{From: "gygate", To: "caller", Text: statusText(cause.Status) + " " + cause.Reason})
		if m.by != PartyCalled && m.connected() {
			c.tell(CallEvent{From: "gygate", To: "called", Text: "CANCEL"})
		}
		return
	}
	if m.by != PartyCaller {
		c.tell(CallEvent{From: "gygate", To: "caller", Text: "BYE"})
	}
	if m.by != PartyCalled {
		c.tell(CallEvent{From: "gygate", To: "called", Text: "BYE"})
	}
}

// tellRefusal shows an attempt that was refused before it became a call.
func (c *Call) tellRefusal(r CallRecord) {
	c.tell(CallEvent{From: "caller", To: "gygate", At: c.attempt.At, Text: "INVITE " + c.attempt.Dialled})
	c.tell(CallEvent{From: "gygate", To: "caller", Text: statusText(r.Status) + " " + r.Reason})
	c.tell(CallEvent{From: "gygate", To: "gygate", Record: &r, Text: "call record: " + r.Reason})
}

func statusText(status int) string {
	return fmt.Sprintf("%d %s", status, StatusPhrase(status))
}

func requestText(r ChargeRequest) string {
	text := fmt.Sprintf("CCR-%s #%d", r.Type, r.Number)
	if r.Type != ChargeInitial {
		text += fmt.Sprintf(" used %d s", r.Used/time.Second)
	}
	if r.Split {
		text += fmt.Sprintf(" (%d s after the tariff switch)", r.UsedAfter/time.Second)
	}
	if r.Wanted != 0 {
		text += fmt.Sprintf(", group %d → %d", r.RatingGroup, r.Wanted)
	}
	if r.Repeat {
		text += ", again"
	}
	return text
}

func answerText(r ChargeRequest, a ChargeAnswer) string {
	text := fmt.Sprintf("CCA-%s #%d %s", r.Type, r.Number, a.Result)
	if a.Grant.Time > 0 {
		text += fmt.Sprintf(" %d s", a.Grant.Time/time.Second)
	}
	if a.Grant.Final {
		text += ", final"
	}
	if a.Reason != "" {
		text += ": " + a.Reason
	}
	return text
}
