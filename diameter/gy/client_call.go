package gy

import (
	"time"

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

// information is the call as IMS-Information; its time stamps are those of the
// event behind this very request (conformance C-096 to C-104).
func (c *Client) information(r vpnlogic.ChargeRequest) *IMSInformation {
	call := r.Call
	i := &IMSInformation{
		RoleOfNode:        Some(uint32(r.Call.Role)),
		NodeFunctionality: Some(nodeApplicationServer),
		UserSessionID:     call.CallID,
		CallingParty:      telOrNone(call.Calling),
		CalledParty:       telOrNone(call.Called),
		RequestedParty:    c.requestedParty(call),
		AlternateCharged:  alternatePayer(r),
		OriginatingIOI:    call.OrigIOI,
		TerminatingIOI:    call.TermIOI,
		ChargingID:        call.ICID,
		RequestedAt:       call.SetupAt,
		Specific:          specificInfos(r),
	}
	answered := !call.AnsweredAt.IsZero()
	if answered {
		i.CalledAsserted = telOrNone(connected(call))
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
		if r.Report == vpnlogic.ReportRatingChange {
			i.RequestedAt, i.RespondedAt = r.At, time.Time{} // the request that connected somebody else
		}
	}
	return i
}

// connected is who the caller talks to.
func connected(call vpnlogic.CallInfo) vpnlogic.E164 {
	if call.Connected != "" {
		return call.Connected
	}
	return call.Called
}

// alternatePayer is who pays when it is not the caller: the account of the group,
// or another line.
func alternatePayer(r vpnlogic.ChargeRequest) string {
	switch {
	case r.PayerAccount != "":
		return r.PayerAccount
	case r.Payer != r.Call.Calling:
		return telOrNone(r.Payer)
	default:
		return ""
	}
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
	if alternatePayer(r) == "" {
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
	case s.barred:
		return causeAdministrative
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
