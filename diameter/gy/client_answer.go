package gy

import (
	"fmt"
	"time"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/ocs"
	"gygate/vpnlogic"
)

// read turns what came of a request into the answer to the call, and updates
// the session's memory.
func (c *Client) read(ccr *CCR, s *session, got peer.Answer, err error) vpnlogic.ChargeAnswer {
	if err != nil {
		return unreachable(ccr, sent(err))
	}
	cca, fault := ParseCCA(got.Message)
	if fault == nil && !cca.answers(ccr) {
		// Whatever it answers, our request has no answer (conformance C-115).
		s.last.sent = true
		c.config.Logger.Warn("charging answer is not for the request it came with; it is ignored",
			"session", ccr.SessionID, "number", ccr.Number, "peer", cca.OriginHost, "result_code", uint32(cca.ResultCode),
			"err", fmt.Sprintf("answer is for CCR-%s #%d", typeName(cca.Type), cca.Number))
		return unreachable(ccr, true)
	}
	s.learn(cca, got.From.Host)
	a := vpnlogic.ChargeAnswer{
		Result: meaning(cca.ResultCode),
		Code:   uint32(cca.ResultCode),
		Reason: cca.ErrorMessage,
		Server: cca.OriginHost,
	}
	if a.Result == vpnlogic.ChargeGranted {
		if fault == nil {
			fault = got.Fault
		}
		c.readSuccess(ccr, s, cca, fault, &a)
	} else {
		// A refusal ends the session at the server (RFC 8506 §7, table 6); an
		// answer from the way there says nothing about it.
		a.SessionOpen = a.Result == vpnlogic.ChargeUnreachable && ccr.Type == ocs.Update
	}
	s.barred = s.barred || a.Result == vpnlogic.ChargeRefused
	if a.Code == uint32(diameter.RatingFailed) {
		c.noteUnrated(ccr, cca)
	}
	return a
}

// readSuccess reads an answer whose command succeeded; the server holds the
// session then, whatever the answer says about the service.
func (c *Client) readSuccess(ccr *CCR, s *session, cca *CCA, fault *diameter.Error, a *vpnlogic.ChargeAnswer) {
	a.SessionOpen = ccr.Type != ocs.Terminate
	if fault == nil {
		fault = c.grant(ccr, cca, a)
	}
	if fault != nil {
		c.spoil(ccr, s, a, fault)
	}
}

// noteUnrated keeps requests like this one back for a while, and says so once.
func (c *Client) noteUnrated(ccr *CCR, cca *CCA) {
	if c.unrated.note(ccr, cca) {
		c.config.Logger.Error("the charging system cannot rate a service: check tariff and service context there; requests like it are held back until this node sees new prices, is started anew, or the time is over",
			"held_back", max(c.unrated.life, 0), "session", ccr.SessionID, "number", ccr.Number, "group", wanted(ccr).RatingGroup.Value,
			"result_code", uint32(diameter.RatingFailed), "err", cca.ErrorMessage)
	}
}

// unreachable is the answer to a request without one. If it may have arrived,
// the server may hold a session now.
func unreachable(ccr *CCR, arrived bool) vpnlogic.ChargeAnswer {
	open := ccr.Type == ocs.Update || ccr.Type == ocs.Initial && arrived
	return vpnlogic.ChargeAnswer{Result: vpnlogic.ChargeUnreachable, Reason: vpnlogic.ReasonUnreachable, SessionOpen: open}
}

// answers reports whether the answer is for that request. An answer in the
// general error form says no more than its Result-Code, and a server that could
// not read the request may leave out what it would have to echo.
func (a *CCA) answers(ccr *CCR) bool {
	if a.SessionID != "" && a.SessionID != ccr.SessionID {
		return false
	}
	if !a.ResultCode.Success() && a.Type == 0 {
		return true
	}
	return a.Type == ccr.Type && a.Number == ccr.Number
}

// learn takes over what an answer says about the whole session. Values that
// are absent leave what was known: a server says them once.
func (s *session) learn(cca *CCA, via string) {
	if cca.ResultCode.Success() && cca.OriginHost != "" {
		s.host, s.realm, s.via = cca.OriginHost, cca.OriginRealm, via
	}
	if cca.SessionFailover.Present {
		s.failover = cca.SessionFailover.Value == failoverSupported
	}
	if handling := cca.FailureHandling; handling.Present && handling.Value <= uint32(vpnlogic.FailRetryAndTerminate) {
		s.handling = vpnlogic.FailureHandling(handling.Value)
	}
}

// grant reads a successful answer. A fault means that it cannot be used.
func (c *Client) grant(ccr *CCR, cca *CCA, a *vpnlogic.ChargeAnswer) *diameter.Error {
	if cca.Cost.Present {
		a.Cost, a.Currency = cca.Cost.Value.Value.String(), cca.Cost.Value.Currency
	}
	if ccr.Type == ocs.Terminate {
		return nil
	}
	service, fault := serviceFor(wanted(ccr).RatingGroup, cca)
	if fault != nil {
		return fault
	}
	if code := service.ResultCode; code != 0 {
		a.Result, a.Code = meaning(code), uint32(code) // no code is success (C-112)
	}
	if a.Result != vpnlogic.ChargeGranted {
		return nil
	}
	granted := service.Granted.Value
	if service.Granted.Present && !granted.Time.Present && granted.ServiceUnits != (ServiceUnits{}) {
		return bad("grant of a unit that a call does not have")
	}
	a.Grant = vpnlogic.Grant{
		Time:      time.Duration(granted.Time.Value) * time.Second,
		Threshold: time.Duration(service.TimeThreshold) * time.Second,
		ValidFor:  time.Duration(service.Validity) * time.Second,
		// A call can only end, whatever else the server would have done with
		// it, such as a redirection (RFC 8506 §8.35, conformance C-059).
		Final:    service.FinalUnit.Present,
		SwitchAt: granted.TariffTimeChange,
	}
	return nil
}

// wanted is the service units are asked for, else the one reported about.
func wanted(ccr *CCR) Service {
	for _, s := range ccr.Services {
		if s.Requested.Present {
			return s
		}
	}
	return ccr.Services[0]
}

// serviceFor finds the result for the wanted rating group: its MSCC, or the only
// one when it names no group, or the units of the command, where a server of the
// pure RFC form puts them. Results for other groups, of which use was reported
// with the same request, decide nothing.
func serviceFor(group Optional[uint32], cca *CCA) (ServiceAnswer, *diameter.Error) {
	var found *ServiceAnswer
	for i := range cca.Services {
		switch s := &cca.Services[i]; {
		case s.RatingGroup != group:
		case found == nil:
			found = s
		default:
			found.join(s)
		}
	}
	switch {
	case found != nil:
		return *found, nil
	case len(cca.Services) == 0:
		return cca.Command, nil
	case len(cca.Services) == 1 && !cca.Services[0].RatingGroup.Present:
		return cca.Services[0], nil
	default:
		return ServiceAnswer{}, bad("no Multiple-Services-Credit-Control for rating group %d", group.Value)
	}
}

// join takes a second result for the same group into s: the quotas before and
// after a tariff change (RFC 8506 §5.1.2). A call uses no more than the smaller
// one altogether, which either of them covers, and a refusal of one is one.
func (s *ServiceAnswer) join(other *ServiceAnswer) {
	if s.ResultCode == 0 || s.ResultCode.Success() {
		s.ResultCode = other.ResultCode
	}
	if !other.FinalUnit.Present {
		other.FinalUnit = s.FinalUnit
	}
	s.FinalUnit = other.FinalUnit
	s.Validity = smaller(s.Validity, other.Validity)
	s.TimeThreshold = max(s.TimeThreshold, other.TimeThreshold)
	if other.Granted.Present && (!s.Granted.Present || other.Granted.Value.Time.Value < s.Granted.Value.Time.Value) {
		s.Granted = other.Granted
	}
}

// smaller of two limits of which 0 is none.
func smaller(a, b uint32) uint32 {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

func bad(format string, arguments ...any) *diameter.Error {
	return &diameter.Error{Text: fmt.Sprintf(format, arguments...)}
}

// spoil marks an answer that cannot be used: the call fails as its failure
// handling says, and its final interrogation gives DIAMETER_BAD_ANSWER as the
// cause (conformance C-032, C-115).
func (c *Client) spoil(ccr *CCR, s *session, a *vpnlogic.ChargeAnswer, fault *diameter.Error) {
	s.spoilt = true
	a.Result, a.Reason, a.Grant = vpnlogic.ChargeFailed, vpnlogic.ReasonBadAnswer, vpnlogic.Grant{}
	c.config.Logger.Warn("charging answer cannot be used; check the charging system's configuration for this service context",
		"session", ccr.SessionID, "number", ccr.Number, "peer", a.Server, "result_code", a.Code, "err", fault.Text)
}
