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
		return unreachable(ccr, err)
	}
	cca, fault := ParseCCA(got.Message)
	s.learn(cca, got.From.Host)
	a := vpnlogic.ChargeAnswer{
		Result: meaning(cca.ResultCode),
		Code:   uint32(cca.ResultCode),
		Reason: cca.ErrorMessage,
		Server: cca.OriginHost,
	}
	if a.Result != vpnlogic.ChargeGranted {
		// A refusal ends the session at the server (RFC 8506 §7, table 6); an
		// answer from the way there says nothing about it.
		a.SessionOpen = a.Result == vpnlogic.ChargeUnreachable && ccr.Type == ocs.Update
		return a
	}
	a.SessionOpen = ccr.Type != ocs.Terminate
	if fault == nil {
		fault = got.Fault
	}
	if fault == nil {
		fault = c.grant(ccr, cca, &a)
	}
	if fault != nil {
		c.spoil(ccr, s, &a, fault)
	}
	return a
}

// unreachable is the answer to a request without one. If it may have arrived,
// the server may hold a session now.
func unreachable(ccr *CCR, err error) vpnlogic.ChargeAnswer {
	open := ccr.Type == ocs.Update || ccr.Type == ocs.Initial && sent(err)
	return vpnlogic.ChargeAnswer{Result: vpnlogic.ChargeUnreachable, Reason: vpnlogic.ReasonUnreachable, SessionOpen: open}
}

// learn takes over what an answer says about the whole session. Values that
// are absent leave what was known: a server says them once.
func (s *session) learn(cca *CCA, via string) {
	if cca.ResultCode.Success() && cca.OriginHost != "" {
		s.host, s.via = cca.OriginHost, via
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
	if cca.Type != ccr.Type || cca.Number != ccr.Number || cca.SessionID != ccr.SessionID {
		return bad("answer is for CCR-%s #%d of session %q", typeName(cca.Type), cca.Number, cca.SessionID)
	}
	if cca.Cost.Present {
		a.Cost, a.Currency = cca.Cost.Value.Value.String(), cca.Cost.Value.Currency
	}
	if ccr.Type == ocs.Terminate {
		return nil
	}
	service, fault := serviceFor(ccr, cca)
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
	if !granted.TariffTimeChange.IsZero() {
		// A client that does not split its reports at the switch must treat
		// this as an incorrect answer (RFC 8506 §8.20).
		return bad("Tariff-Time-Change for continuous time")
	}
	a.Grant = vpnlogic.Grant{
		Time:      time.Duration(granted.Time.Value) * time.Second,
		Threshold: time.Duration(service.TimeThreshold) * time.Second,
		ValidFor:  time.Duration(service.Validity) * time.Second,
		// Whatever action the server wants, a call can only end.
		Final: service.FinalUnit.Present,
	}
	return nil
}

// serviceFor finds the result for the call: the MSCC of its rating group, or
// the only one, or the units of the command.
func serviceFor(ccr *CCR, cca *CCA) (ServiceAnswer, *diameter.Error) {
	for _, s := range cca.Services {
		if s.RatingGroup == ccr.Services[0].RatingGroup {
			return s, nil
		}
	}
	switch {
	case len(cca.Services) == 0:
		return cca.Command, nil
	case len(cca.Services) == 1 && !cca.Services[0].RatingGroup.Present:
		return cca.Services[0], nil
	default:
		return ServiceAnswer{}, bad("no Multiple-Services-Credit-Control for rating group %d", ccr.Services[0].RatingGroup.Value)
	}
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
