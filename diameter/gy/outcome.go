package gy

import (
	"gygate/diameter"
	"gygate/ocs"
)

// Values of AVPs in answers (RFC 8506 §8.4, §8.6; TS 32.299 §7.2.97).
const (
	failoverSupported uint32 = 1 // CC-Session-Failover
	noCredit          uint32 = 1 // Check-Balance-Result
	balanceIsLow      uint32 = 1 // Low-Balance-Indication
)

// reply makes a the answer to the request.
func (x *exchange) reply(a *CCA, o *ocs.Outcome) {
	a.Type, a.Number, a.SubSession, a.UserName = x.echo.kind, x.echo.number, x.echo.subSession, x.echo.userName
	a.OriginStateID = x.server.config.Local.StateID
	if refusal, target := x.refused(o); refusal != "" {
		x.refuse(a, refusal, target)
		return
	}
	a.ResultCode = diameter.Success
	for i := range o.Items {
		item := &o.Items[i]
		if item.Refusal != "" && a.ErrorMessage == "" {
			a.ErrorMessage = string(item.Refusal)
			a.Failed = failedAVPs(answerTo(item.Refusal).shows, x.m, item.Target, atService)
		}
		if !x.echo.multiple {
			x.result(&a.Command, item, o.Currency)
			break
		}
		a.Services = append(a.Services, ServiceAnswer{})
		x.result(&a.Services[len(a.Services)-1], item, o.Currency)
	}
	x.addHandling(a, o)
	x.addMoney(a, o)
}

// refused finds the refusal that stands at the command, and the target it is
// about: that of the step itself; of an item whose refusal concerns the whole
// request; of the first item when all are refused and nothing keeps the code
// inside an MSCC (conformance B-094, B-095). What is free is free at the command
// only where nothing else can be open in the session (B-151, B-152).
func (x *exchange) refused(o *ocs.Outcome) (ocs.Refusal, ocs.Target) {
	if o.Refusal != "" {
		return o.Refusal, x.culprit(o)
	}
	all, free := len(o.Items) > 0, x.echo.kind != ocs.Update
	for i := range o.Items {
		refusal := o.Items[i].Refusal
		if refusal != "" && answerTo(refusal).level == atCommand {
			return refusal, o.Items[i].Target
		}
		all = all && refusal != ""
		free = free && refusal == ocs.Free
	}
	if all && (free || !x.inside()) {
		return o.Items[0].Refusal, o.Items[0].Target
	}
	return "", ""
}

// inside reports whether a request of which nothing was granted still succeeds
// at the command, with the codes in its MSCC. P-RFC has no MSCC; an event has no
// session to keep. A first interrogation keeps the session only for clients
// that act on codes inside (data gateways); in mid-session the MSCC it is, so
// that a final interrogation can still report the rest.
func (x *exchange) inside() bool {
	switch {
	case !x.echo.multiple, x.echo.kind == ocs.Event:
		return false
	case x.echo.kind == ocs.Initial:
		return x.context.ItemRefusals
	default:
		return true
	}
}

// culprit is the target that brought the whole step down, "" when none did.
func (x *exchange) culprit(o *ocs.Outcome) ocs.Target {
	for i := range o.Items {
		if o.Items[i].Refusal == o.Refusal {
			return o.Items[i].Target
		}
	}
	if services := x.again().services(); len(services) == 1 {
		return services[0].target()
	}
	return ""
}

// refuse makes a the answer to a request that is refused as a whole.
func (x *exchange) refuse(a *CCA, refusal ocs.Refusal, target ocs.Target) {
	row := answerTo(refusal)
	a.ResultCode = row.code
	if refusal == ocs.Busy {
		a.ResultCode = diameter.Overloaded(x.m, x.server.config.Local.Host)
	}
	a.ErrorMessage = string(refusal)
	a.Failed = failedAVPs(row.shows, x.m, target, atCommand)
}

// addHandling says what the client is to do when no answer comes: for the session
// once, at its beginning; what the service itself has set in mid-session too,
// where it may have changed (conformance B-026, B-160 to B-162).
func (x *exchange) addHandling(a *CCA, o *ocs.Outcome) {
	first, event := x.echo.kind == ocs.Initial, x.echo.kind == ocs.Event
	if first && x.server.config.SharedDatabase {
		a.SessionFailover = Some(failoverSupported)
	}
	handling, own := x.context.FailureHandling[o.Class]
	if !own {
		handling, own = x.context.FailureHandling[""]
	}
	switch {
	case own && (first || x.echo.kind == ocs.Update):
		a.FailureHandling = Some(handling)
	case first:
		a.FailureHandling = Some(uint32(x.server.config.FailureHandling))
	}
	if x.context.DebitFailure != nil && (first || event) {
		a.DebitFailure = Some(*x.context.DebitFailure)
	}
}

// addMoney adds what the service costs and what is left. Currency 0 means that
// no account was reached.
func (x *exchange) addMoney(a *CCA, o *ocs.Outcome) {
	config := &x.server.config
	enquiry := x.echo.kind == ocs.Event && x.echo.action == ocs.CheckBalance
	if enquiry {
		a.CheckBalance = Some(uint32(0))
		if o.NoCredit {
			a.CheckBalance = Some(noCredit)
		}
	}
	if o.Currency == 0 || enquiry {
		return
	}
	if x.tellsCost() {
		a.Cost = Some(AmountOf(o.Cost, o.Currency))
	}
	if o.Available < config.LowBalanceBelow {
		a.LowBalance = Some(balanceIsLow)
	}
	if config.RemainingBalance {
		a.Remaining = Some(AmountOf(o.Available, o.Currency))
	}
}

// tellsCost leaves Cost-Information out where refusals stay inside the MSCC: such
// clients are data gateways, which have no use for it (conformance trace 7).
func (x *exchange) tellsCost() bool {
	switch x.echo.kind {
	case ocs.Terminate, ocs.Event:
		return !x.context.ItemRefusals
	case ocs.Update:
		return x.server.config.CostInUpdates && !x.context.ItemRefusals
	}
	return false
}
