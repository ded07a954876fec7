package gy

import (
	"gygate/diameter"
	"gygate/ocs"
)

// Values of AVPs in answers (RFC 8506 §8.4, §8.6, §8.35; TS 32.299 §7.2.97).
const (
	failoverSupported uint32 = 1 // CC-Session-Failover
	noCredit          uint32 = 1 // Check-Balance-Result
	terminate         uint32 = 0 // Final-Unit-Action
	balanceIsLow      uint32 = 1 // Low-Balance-Indication
)

// reply turns an outcome into the answer to the request.
func (s *Server) reply(r *CCR, m diameter.Message, c ocs.ServiceContext, o ocs.Outcome) *CCA {
	a := s.envelope(r)
	if refusal, target := refused(r, c, o); refusal != "" {
		s.refuse(a, r, m, refusal, target)
		return a
	}
	a.ResultCode = diameter.Success
	for i := range o.Items {
		item := &o.Items[i]
		answer := serve(item, o.Currency)
		if item.Refusal != "" && a.ErrorMessage == "" {
			a.ErrorMessage = string(item.Refusal)
			a.Failed = failedAVPs(answerTo(item.Refusal).shows, m, item.Target, atService)
		}
		if !r.multiple() {
			a.Command = answer
			break
		}
		a.Services = append(a.Services, answer)
	}
	s.addSession(a, r)
	s.addMoney(a, r, c, o)
	return a
}

// envelope is what every answer to a readable request carries.
func (s *Server) envelope(r *CCR) *CCA {
	return &CCA{
		Type:          r.Type,
		Number:        r.Number,
		SubSession:    r.SubSession,
		UserName:      r.UserName,
		OriginStateID: s.config.Local.StateID,
	}
}

// refused finds the refusal that stands at the command, and the target it is
// about: that of the step itself; of an item whose refusal concerns the whole
// request; of the first item when all are refused and nothing keeps the code
// inside an MSCC (conformance B-094, B-095).
func refused(r *CCR, c ocs.ServiceContext, o ocs.Outcome) (ocs.Refusal, ocs.Target) {
	if o.Refusal != "" {
		return o.Refusal, culprit(r, o)
	}
	all, free := len(o.Items) > 0, true
	for i := range o.Items {
		refusal := o.Items[i].Refusal
		if refusal != "" && answerTo(refusal).level == atCommand {
			return refusal, o.Items[i].Target
		}
		all = all && refusal != ""
		free = free && refusal == ocs.Free
	}
	if all && (free || !inside(r, c)) {
		return o.Items[0].Refusal, o.Items[0].Target
	}
	return "", ""
}

// inside reports whether a request of which nothing was granted still succeeds
// at the command, with the codes in its MSCC. P-RFC has no MSCC; an event has no
// session to keep. A first interrogation keeps the session only for clients
// that act on codes inside (data gateways); in mid-session the MSCC it is, so
// that a final interrogation can still report the rest.
func inside(r *CCR, c ocs.ServiceContext) bool {
	switch {
	case !r.multiple(), r.Type == ocs.Event:
		return false
	case r.Type == ocs.Initial:
		return c.ItemRefusals
	default:
		return true
	}
}

// culprit is the target that brought the whole step down, "" when none did.
func culprit(r *CCR, o ocs.Outcome) ocs.Target {
	for i := range o.Items {
		if o.Items[i].Refusal == o.Refusal {
			return o.Items[i].Target
		}
	}
	if services := r.services(); len(services) == 1 {
		return services[0].target()
	}
	return ""
}

// refuse makes a the answer to a request that is refused as a whole.
func (s *Server) refuse(a *CCA, r *CCR, m diameter.Message, refusal ocs.Refusal, target ocs.Target) {
	row := answerTo(refusal)
	a.ResultCode = row.code
	if refusal == ocs.Busy {
		a.ResultCode = diameter.Overloaded(m, s.config.Local.Host)
	}
	a.ErrorMessage = string(refusal)
	a.Failed = failedAVPs(row.shows, m, target, atCommand)
}

// serve is the result for one target. Its Result-Code is always there, although
// the grammar makes it optional (conformance B-093).
func serve(item *ocs.ItemOutcome, c ocs.Currency) ServiceAnswer {
	a := ServiceAnswer{ResultCode: diameter.Success, RefundInformation: item.RefundToken}
	a.RatingGroup, a.Identifiers = service(item.Target)
	if item.Refusal != "" {
		a.ResultCode = answerTo(item.Refusal).code
		return a
	}
	a.Validity = seconds(item.ValidFor)
	if item.Final {
		a.FinalUnit = Some(terminate)
	}
	if item.Granted != nil {
		a.Granted = Some(GrantedUnits{ServiceUnits: unitsOf(*item.Granted, c), TariffTimeChange: item.SwitchAt})
		a.addThreshold(item)
	}
	return a
}

// addThreshold adds the threshold of the granted unit: below the grant, and
// none for a final grant, as nothing is to be asked for before its end
// (conformance B-111, B-112).
func (a *ServiceAnswer) addThreshold(item *ocs.ItemOutcome) {
	if item.Final || item.Threshold <= 0 || item.Threshold >= item.Granted.Quantity {
		return
	}
	threshold := uint32(min(item.Threshold, 1<<32-1))
	switch item.Granted.Kind {
	case ocs.Seconds:
		a.TimeThreshold = threshold
	case ocs.Octets:
		a.VolumeThreshold = threshold
	case ocs.Events:
		a.UnitThreshold = threshold
	case ocs.Amount, ocs.Unspecified: // no such AVP
	}
}

// addSession adds what the client has to know about the whole session; once is
// enough, at its beginning.
func (s *Server) addSession(a *CCA, r *CCR) {
	if r.Type != ocs.Initial {
		return
	}
	if s.config.SharedDatabase {
		a.SessionFailover = Some(failoverSupported)
	}
	a.FailureHandling = Some(uint32(s.config.FailureHandling))
}

// addMoney adds what the service costs and what is left. Currency 0 means that
// no account was reached.
func (s *Server) addMoney(a *CCA, r *CCR, c ocs.ServiceContext, o ocs.Outcome) {
	enquiry := r.Type == ocs.Event && r.action() == ocs.CheckBalance
	if enquiry {
		a.CheckBalance = Some(uint32(0))
		if o.NoCredit {
			a.CheckBalance = Some(noCredit)
		}
	}
	if o.Currency == 0 || enquiry {
		return
	}
	if s.tellsCost(r, c) {
		a.Cost = Some(AmountOf(o.Cost, o.Currency))
	}
	if o.Available < s.config.LowBalanceBelow {
		a.LowBalance = Some(balanceIsLow)
	}
	if s.config.RemainingBalance {
		a.Remaining = Some(AmountOf(o.Available, o.Currency))
	}
}

// tellsCost leaves Cost-Information out where refusals stay inside the MSCC: such
// clients are data gateways, which have no use for it (conformance trace 7).
func (s *Server) tellsCost(r *CCR, c ocs.ServiceContext) bool {
	switch r.Type {
	case ocs.Terminate, ocs.Event:
		return !c.ItemRefusals
	case ocs.Update:
		return s.config.CostInUpdates && !c.ItemRefusals
	}
	return false
}
