package gy

import (
	"math"
	"time"

	"gygate/ocs"
	"gygate/vpnlogic"
)

// changeInServiceCondition is the Trigger-Type of a report because the price has
// changed: another party is connected (TS 32.299 §7.2.236, conformance C-064).
const changeInServiceCondition uint32 = 60

// Tariff-Change-Usage in reports (RFC 8506 §8.27).
const (
	usedBeforeChange uint32 = 0
	usedAfterChange  uint32 = 1
)

// request is the charging request as CCR: profile P-3GPP (conformance C-090).
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
		Payer:            payerOf(r),
		Services:         servicesOf(r),
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

// payerOf names the paying account alone: the line by its number, or the group by
// its own identity (conformance C-092).
func payerOf(r vpnlogic.ChargeRequest) []Subscription {
	if r.PayerAccount != "" {
		return []Subscription{{Kind: ocs.Private, Data: r.PayerAccount}}
	}
	return []Subscription{{Kind: ocs.E164, Data: string(r.Payer)}}
}

// servicesOf reports what was used and asks for more. When the price has changed
// with this very request, the use belongs to the old rating group and the units
// that are wanted to the new one (conformance C-064).
func servicesOf(r vpnlogic.ChargeRequest) []Service {
	s := Service{RatingGroup: Some(r.RatingGroup)}
	if r.Type != vpnlogic.ChargeInitial {
		s.report(r)
	}
	if r.Type != vpnlogic.ChargeInitial && (r.Type != vpnlogic.ChargeUpdate || !r.WantMore) {
		return []Service{s} // no units are wanted (conformance C-036)
	}
	youDecide := Some(ServiceUnits{})
	if r.Wanted == 0 || r.Wanted == r.RatingGroup {
		s.Requested = youDecide
		return []Service{s}
	}
	return []Service{s, {RatingGroup: Some(r.Wanted), Requested: youDecide}}
}

// report fills in the use and why it is reported: THRESHOLD and QUOTA_EXHAUSTED
// stand beside the units, the other reasons in the MSCC (conformance C-035,
// C-038, C-063).
func (s *Service) report(r vpnlogic.ChargeRequest) {
	s.Used = usedOf(r)
	switch reason := reportOf(r); reason {
	case vpnlogic.ReportThreshold, vpnlogic.ReportQuotaExhausted:
		for i := range s.Used {
			s.Used[i].Reason = Some(uint32(reason))
		}
	case vpnlogic.ReportRatingChange:
		s.Reasons, s.Triggers = []uint32{uint32(reason)}, []uint32{changeInServiceCondition}
	case vpnlogic.ReportFinal, vpnlogic.ReportValidityTime, vpnlogic.ReportForced:
		s.Reasons = []uint32{uint32(reason)}
	case vpnlogic.ReportNone:
	}
}

// usedOf is the use, in two parts when the tariff changed in between (RFC 8506
// §8.27, conformance C-033).
func usedOf(r vpnlogic.ChargeRequest) []UsedUnits {
	whole := reportedSeconds(r.Used)
	if !r.Split {
		return []UsedUnits{{ServiceUnits: ServiceUnits{Time: Some(whole)}}}
	}
	after := min(reportedSeconds(r.UsedAfter), whole)
	return []UsedUnits{
		{ServiceUnits: ServiceUnits{Time: Some(whole - after)}, TariffChange: Some(usedBeforeChange)},
		{ServiceUnits: ServiceUnits{Time: Some(after)}, TariffChange: Some(usedAfterChange)},
	}
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
