package gy

import (
	"math"
	"time"

	"gygate/ocs"
	"gygate/vpnlogic"
)

// Termination-Cause (RFC 6733 §8.15) as conformance C-094 uses it.
const (
	causeLogout             uint32 = 1
	causeServiceNotProvided uint32 = 2
	causeBadAnswer          uint32 = 3
	causeAdministrative     uint32 = 4
	causeLinkBroken         uint32 = 5
	causeSessionTimeout     uint32 = 8
)

// Cause-Code (TS 32.299 §7.2.35) beside SIP statuses, which stand for themselves.
const (
	codeNormalEnd      uint32 = 0
	codeSetupFailed    uint32 = 2
	codeInternalFailed uint32 = 3
)

// request is the charging request as CCR: profile P-3GPP, one MSCC (conformance
// C-090).
func (c *Client) request(r vpnlogic.ChargeRequest, s session) *CCR {
	ccr := &CCR{
		SessionID:        r.Session,
		OriginHost:       c.config.Local.Host,
		OriginRealm:      c.config.Local.Realm,
		DestinationRealm: c.config.Realm,
		OriginStateID:    c.config.Local.StateID,
		ServiceContextID: c.config.Context,
		Type:             ocs.StepType(r.Type),
		Number:           r.Number,
		EventTimestamp:   r.At,
		Payer:            []Subscription{{Kind: ocs.E164, Data: string(r.Payer)}},
		Services:         []Service{serviceOf(r)},
		Call:             ServiceInformation{IMS: c.information(r)},
	}
	if ccr.EventTimestamp.IsZero() {
		ccr.EventTimestamp = time.Now()
	}
	switch r.Type {
	case vpnlogic.ChargeInitial:
		ccr.MultipleServices = Some(multipleServicesSupported)
	case vpnlogic.ChargeTerminate:
		ccr.TerminationCause = Some(terminationCause(r, s))
	case vpnlogic.ChargeUpdate:
	}
	return ccr
}

// serviceOf asks for units where more may come and reports them where some may
// have been used (conformance C-035, C-036, C-063).
func serviceOf(r vpnlogic.ChargeRequest) Service {
	s := Service{RatingGroup: Some(r.RatingGroup)}
	if r.Type == vpnlogic.ChargeInitial || r.Type == vpnlogic.ChargeUpdate && r.WantMore {
		s.Requested = Some(ServiceUnits{}) // "you decide"
	}
	if r.Type == vpnlogic.ChargeInitial {
		return s
	}
	used := UsedUnits{ServiceUnits: ServiceUnits{Time: Some(reportedSeconds(r.Used))}}
	switch reason := reportOf(r); reason {
	case vpnlogic.ReportThreshold, vpnlogic.ReportQuotaExhausted:
		used.Reason = Some(uint32(reason))
	case vpnlogic.ReportFinal, vpnlogic.ReportValidityTime:
		s.Reasons = []uint32{uint32(reason)}
	case vpnlogic.ReportNone:
	}
	s.Used = []UsedUnits{used}
	return s
}

// reportOf is the Reporting-Reason: the last report is the final one whatever
// led to it.
func reportOf(r vpnlogic.ChargeRequest) vpnlogic.ReportReason {
	if r.Type == vpnlogic.ChargeTerminate {
		return vpnlogic.ReportFinal
	}
	return r.Report
}

// reportedSeconds is a usage, which is in whole seconds already, as CC-Time.
func reportedSeconds(d time.Duration) uint32 {
	return uint32(min(max(d, 0)/time.Second, math.MaxUint32))
}

// information is the call as IMS-Information; its time stamps are those of the
// event behind this very request (conformance C-096 to C-102).
func (c *Client) information(r vpnlogic.ChargeRequest) *IMSInformation {
	call := r.Call
	i := &IMSInformation{
		RoleOfNode:        Some(roleOriginating),
		NodeFunctionality: Some(nodeApplicationServer),
		UserSessionID:     call.CallID,
		CallingParty:      telOrNone(call.Calling),
		CalledParty:       telOrNone(call.Called),
		RequestedParty:    c.requestedParty(call),
		ChargingID:        call.ICID,
		RequestedAt:       call.SetupAt,
		Specific:          specificInfos(r),
	}
	answered := !call.AnsweredAt.IsZero()
	if answered {
		i.CalledAsserted = telOrNone(call.Called)
		i.RespondedAt = call.AnsweredAt
	}
	switch r.Type {
	case vpnlogic.ChargeInitial:
		i.SIPMethod = "INVITE"
	case vpnlogic.ChargeTerminate:
		i.CauseCode = Some(causeCode(call, r.Cause))
		if answered {
			i.SIPMethod = "BYE"
			i.RequestedAt, i.RespondedAt = call.ReleasedAt, time.Time{}
		}
	case vpnlogic.ChargeUpdate:
	}
	return i
}

// requestedParty is what was dialled, when that is not the translated number.
func (c *Client) requestedParty(call vpnlogic.CallInfo) string {
	switch {
	case call.Dialled == "" || call.Dialled == string(call.Called) || call.Dialled == "+"+string(call.Called):
		return ""
	case call.Dialled[0] == '+':
		return "tel:" + call.Dialled
	default:
		return localTel(call.Dialled, call.Group, c.config.Local.Realm)
	}
}

func telOrNone(number vpnlogic.E164) string {
	if number == "" {
		return ""
	}
	return globalTel(string(number))
}

// specificInfos fills the private registry; what is not known is left out.
func specificInfos(r vpnlogic.ChargeRequest) (infos []SpecificInfo) {
	payer := "corporate"
	if r.Payer == r.Call.Calling {
		payer = "private"
	}
	for _, info := range []SpecificInfo{
		{SpecificGroup, r.Call.Group},
		{SpecificCallerShort, r.Call.CallerShort},
		{SpecificCalledShort, r.Call.CalledShort},
		{SpecificClass, string(r.Call.Class)},
		{SpecificMember, r.Call.Member},
		{SpecificPayer, payer},
	} {
		if info.Data != "" {
			infos = append(infos, info)
		}
	}
	return infos
}

// terminationCause tells the charging system why the session ends (conformance
// C-094).
func terminationCause(r vpnlogic.ChargeRequest, s session) uint32 {
	switch {
	case s.spoilt, r.Cause.Reason == vpnlogic.ReasonBadAnswer:
		return causeBadAnswer
	case r.Cause.Reason == vpnlogic.ReasonAborted, r.Cause.Reason == vpnlogic.ReasonShutdown:
		return causeAdministrative
	case r.Call.AnsweredAt.IsZero():
		return causeServiceNotProvided
	case r.Cause.Reason == vpnlogic.ReasonLinkLost:
		return causeLinkBroken
	case r.Cause.Reason == vpnlogic.ReasonCallLimit:
		return causeSessionTimeout
	default:
		return causeLogout
	}
}

// causeCode is the same in the terms of IMS charging (conformance C-095).
func causeCode(call vpnlogic.CallInfo, cause vpnlogic.Cause) uint32 {
	switch {
	case call.SIPStatus >= 400:
		return uint32(call.SIPStatus)
	case cause.Reason == vpnlogic.ReasonInternal:
		return codeInternalFailed
	case call.AnsweredAt.IsZero():
		return codeSetupFailed
	default:
		return codeNormalEnd
	}
}
