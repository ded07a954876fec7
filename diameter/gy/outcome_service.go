package gy

import (
	"gygate/diameter"
	"gygate/ocs"
)

// announceBefore is when an announcement is played before a final quota of time
// ends, in seconds (conformance B-181; C-056 has the same default).
const announceBefore = 15

// result makes a what one target gets. Its Result-Code is always there, although
// the grammar makes it optional (conformance B-093). A refusal for want of credit
// may say what to do instead (B-095, B-132).
func (x *exchange) result(a *ServiceAnswer, item *ocs.ItemOutcome, c ocs.Currency) {
	a.ResultCode, a.RefundInformation = diameter.Success, item.RefundToken
	a.RatingGroup, a.Identifiers = service(item.Target)
	if item.Refusal != "" {
		a.ResultCode = answerTo(item.Refusal).code
	}
	a.Validity = seconds(x.profile.validity(item.ValidFor))
	if item.Final {
		a.addFinal(item, x.context)
	}
	if item.Granted != nil {
		a.Granted.Present = true
		a.Granted.Value.set(*item.Granted, c)
		a.Granted.Value.TariffTimeChange = item.SwitchAt
		x.addControl(a, item)
	}
}

// addFinal adds Final-Unit-Indication: what follows the last units. An operator
// who has withdrawn the way out since the units were granted leaves nothing but
// the end of the service.
func (a *ServiceAnswer) addFinal(item *ocs.ItemOutcome, c *ocs.ServiceContext) {
	action := item.FinalAction
	switch {
	case action == ocs.FinalRedirect && c.Redirect != nil:
		a.control().Redirect = Some(RedirectServer{Type: c.Redirect.Type, Address: c.Redirect.Address})
	case action == ocs.FinalRestrict && len(c.Filters)+len(c.FilterIDs) > 0:
		a.control().Filters, a.control().FilterIDs = c.Filters, c.FilterIDs
	default:
		action = ocs.FinalTerminate
	}
	a.FinalUnit = Some(uint32(action))
}

// control is made when there is something to write into it.
func (a *ServiceAnswer) control() *QuotaControl {
	if a.Control == nil {
		a.Control = new(QuotaControl)
	}
	return a.Control
}

// addControl adds how the client is to handle the quota: nothing of it to zero
// units, which are none.
func (x *exchange) addControl(a *ServiceAnswer, item *ocs.ItemOutcome) {
	if item.Granted.Quantity == 0 {
		return
	}
	if x.profile.Thresholds {
		a.addThreshold(item)
	}
	c := x.context
	timed := item.Granted.Kind == ocs.Seconds
	if c.HoldSeconds != 0 && (!timed || c.ItemRefusals) { // a call is never idle (conformance B-113)
		a.control().HoldingTime = c.HoldSeconds
	}
	if c.ConsumptionSeconds != 0 && timed { // B-114
		a.control().ConsumptionTime = c.ConsumptionSeconds
	}
	if c.Triggers != nil {
		a.control().Triggers = Some(*c.Triggers)
	}
	if item.Pool != nil {
		a.control().Pool = poolOf(item)
	}
	if item.Final && c.Announce != 0 && x.profile.Announcements {
		a.control().Announcement = announcementOf(c.Announce, item.Granted)
	}
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

// poolOf is the grant's share in the session's pool. The unit type it names is
// the one that is granted (RFC 8506 §8.30, conformance B-099).
func poolOf(item *ocs.ItemOutcome) Optional[PoolReference] {
	types := [...]uint32{ocs.Seconds: 0, ocs.Amount: 1, ocs.Octets: 2, ocs.Events: 5}
	return Some(PoolReference{ID: item.Pool.ID, UnitType: types[item.Granted.Kind], Multiplier: int64(item.Pool.Multiplier)})
}

// announcementOf is played to the served party before the quota ends; units other
// than seconds have no time before their end.
func announcementOf(id uint32, granted *ocs.Units) Optional[Announcement] {
	a := Announcement{ID: id}
	if granted.Kind == ocs.Seconds {
		a.Before = Some(uint32(min(announceBefore, granted.Quantity)))
	}
	return Some(a)
}
