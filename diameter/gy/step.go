package gy

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/ocs"
	"gygate/vpnlogic"
)

// Values of AVPs that change what a step is.
const (
	multipleServicesSupported uint32 = 1 // Multiple-Services-Indicator
	reasonFinal               uint32 = uint32(vpnlogic.ReportFinal)
	reasonRatingChange        uint32 = uint32(vpnlogic.ReportRatingChange)
)

// stepUsual is a step with room for what it has in nearly every request, so that
// it is one piece of memory. What a step holds outlives the message: every string
// in it is a copy, or belongs to the connection or to the tariff.
type stepUsual struct {
	ocs.Step
	payer [2]ocs.Identity
	items [1]ocs.Item
	used  [1]ocs.Usage
	units [1]ocs.Units
}

// step is the request as one charging step of a service. The refusal is what
// the mapping itself finds wrong.
func (r *CCR) step(from *peer.Remote, service string, c *ocs.ServiceContext, p *Profile) (*ocs.Step, ocs.Refusal) {
	services := r.services()
	verbs, ok := verbsOf(r.Type, r.action(), requested(services))
	if !ok {
		return nil, ocs.Internal
	}
	moved := ratingChanged(services)
	s := &stepUsual{Step: ocs.Step{
		SessionID:    strings.Clone(r.SessionID),
		SubSession:   r.SubSession.Value,
		Type:         r.Type,
		Number:       r.Number,
		Action:       r.action(),
		Verbs:        verbs,
		Service:      lasting(service, c.Name),
		Called:       strings.Clone(r.called(moved)),
		At:           r.EventTimestamp,
		Client:       ocs.Client{Host: lasting(r.OriginHost, from.Host), Realm: lasting(r.OriginRealm, from.Realm), Relay: from.Host, State: r.stateID(from)},
		Habits:       p.habits(),
		CommandLevel: !r.multiple(),
		Content:      r.Content,
	}}
	s.Payer = r.payer(s.payer[:0])
	s.setItems(services, c, p, moved)
	if group, ok := r.classGroup(from, services); ok {
		s.Items[0].RatingGroup = group
	}
	if len(s.Payer) == 0 && (r.Type == ocs.Initial || r.Type == ocs.Event) {
		return nil, ocs.NoIdentity
	}
	return &s.Step, ""
}

// lasting is text as a string that outlives the message: usual, if it is the same.
func lasting(text, usual string) string {
	if text == usual {
		return usual
	}
	return strings.Clone(text)
}

// setItems asks for the services, the usual one of them in the step's own room.
func (s *stepUsual) setItems(services []Service, c *ocs.ServiceContext, p *Profile, moved bool) {
	items, units := s.items[:], s.units[:]
	if len(services) > 1 {
		items, units = make([]ocs.Item, len(services)), make([]ocs.Units, len(services))
	}
	s.Items = items[:len(services)]
	for i := range services {
		item := &s.Items[i]
		if i == 0 && len(services[i].Used) > 0 {
			item.Used = s.used[:0]
		}
		services[i].setItem(item, &units[i], c, s.Type != ocs.Terminate)
		item.Unlinked = p.RefundMax
		item.Rerated = services[i].rerated(moved)
	}
}

// action is Requested-Action, which counts in events only (conformance B-009).
func (r *CCR) action() ocs.EventAction {
	if r.Type != ocs.Event {
		return 0
	}
	return ocs.EventAction(r.Action.Value)
}

// stateID is the client's Origin-State-Id. A peer that is no relay speaks for itself
// alone: under another's name it could have that one's sessions ended.
func (r *CCR) stateID(from *peer.Remote) uint32 {
	if from.Relay || diameter.SameIdentity(r.OriginHost, from.Host) {
		return r.OriginStateID
	}
	return 0
}

// ratingChanged reports whether what sets the price has changed with this request
// (conformance B-119, C-064).
func ratingChanged(services []Service) bool {
	for i := range services {
		if services[i].reports(reasonRatingChange) {
			return true
		}
	}
	return false
}

// called is the number that sets the price: the one that was called, or, since the
// price has changed, the one that is connected now (conformance C-098).
func (r *CCR) called(moved bool) string {
	if connected := r.Call.connected(); moved && connected != "" {
		return connected
	}
	return r.Call.called()
}

// classGroup prices a VPN call by the class its VPN logic found, when the peer
// is ours: the class is the VPN's word, the rating group its echo (conformance
// C-102, C-103). A call is one service; a rating group that is none of a call's
// stays what it is.
func (r *CCR) classGroup(from *peer.Remote, services []Service) (uint32, bool) {
	if !from.Trusted || len(services) != 1 {
		return 0, false
	}
	switch sent := services[0].RatingGroup; sent {
	case Some(vpnlogic.RatingOnNet), Some(vpnlogic.RatingOffNet), Some(vpnlogic.RatingInternational), Optional[uint32]{}:
	default:
		return 0, false
	}
	group := vpnlogic.CallClass(r.Call.specific(SpecificClass)).RatingGroup()
	return group, group != 0
}

// requested reports whether units are wanted. A service of which nothing is
// reported either comes from a client that waits for credit and tries again (RFC
// 8506 §5.6.2, conformance B-135); the charging rules know whether it does.
func requested(services []Service) bool {
	for i := range services {
		if services[i].Requested.Present || len(services[i].Used) == 0 {
			return true
		}
	}
	return false
}

// setItem asks for one target; what it requests goes into units. grant is false in
// a final interrogation, where requested units are ignored (conformance B-074).
func (s *Service) setItem(item *ocs.Item, units *ocs.Units, c *ocs.ServiceContext, grant bool) {
	item.Target, item.RatingGroup = s.target(), c.DefaultRatingGroup
	item.RefundToken, item.Final = s.RefundInformation, s.reports(reasonFinal)
	if s.RatingGroup.Present {
		item.RatingGroup = s.RatingGroup.Value
	}
	if s.Requested.Present && grant {
		*units = s.Requested.Value.Units(c.Unit)
		item.Requested, item.Currency = units, currencyOf(&s.Requested.Value)
	}
	for i := range s.Used {
		u := &s.Used[i]
		item.Currency = sameCurrency(item.Currency, currencyOf(&u.ServiceUnits))
		item.Used = u.appendUsage(item.Used)
	}
}

// rerated tells whether the service needs a new price. One that is no longer wanted
// does not: its client moves on to another rating group, of which it wants units and
// has no use to report (conformance B-119).
func (s *Service) rerated(moved bool) bool {
	return s.Requested.Present && (s.reports(reasonRatingChange) || moved && len(s.Used) == 0)
}

// reports tells whether the service has a Reporting-Reason at either level: beside
// the units or among them; which is right depends on the release (conformance
// B-086).
func (s *Service) reports(reason uint32) bool {
	for i := range s.Used {
		if s.Used[i].Reason == Some(reason) {
			return true
		}
	}
	return slices.Contains(s.Reasons, reason)
}

// appendUsage adds the report in every unit it names: only the charging rules know
// which one was granted, and they leave the others unrated (conformance B-084,
// D-022, D-023). An empty report is legal and reports nothing (B-085).
func (u *UsedUnits) appendUsage(reports []ocs.Usage) []ocs.Usage {
	for _, kind := range kinds {
		if n, ok := u.of(kind); ok {
			reports = append(reports, ocs.Usage{Units: ocs.Units{Kind: kind, Quantity: n}, Tariff: tariffChange(u.TariffChange)})
		}
	}
	return reports
}

// noCurrency is what no account has: ISO 4217 numbers have three digits.
const noCurrency ocs.Currency = math.MaxUint16

// currencyOf is the currency of CC-Money, 0 when there is none: the account's.
func currencyOf(u *ServiceUnits) ocs.Currency {
	return ocs.Currency(min(u.Money.Value.Currency, uint32(noCurrency)))
}

// sameCurrency is the one currency of a target's money; two are none.
func sameCurrency(a, b ocs.Currency) ocs.Currency {
	switch {
	case a == 0 || a == b:
		return b
	case b == 0:
		return a
	default:
		return noCurrency
	}
}

// tariffChange maps Tariff-Change-Usage (RFC 8506 §8.27). A value that does not
// exist has been refused by validation; it counts as no statement.
func tariffChange(v Optional[uint32]) ocs.TariffChange {
	sides := [...]ocs.TariffChange{ocs.TariffBefore, ocs.TariffAfter, ocs.TariffIndeterminate}
	if !v.Present || v.Value >= uint32(len(sides)) {
		return ocs.TariffUnmarked
	}
	return sides[v.Value]
}

// groupsUsual is below which rating groups have their targets' names made once.
const groupsUsual = 1024

var groupTargets = func() (names [groupsUsual]ocs.Target) {
	for group := range names {
		names[group] = ocs.Target(strconv.Itoa(group))
	}
	return names
}()

// target is the canonical name of what the service charges (ocs.Target):
// rating group, then the service identifiers in ascending order.
func (s *Service) target() ocs.Target {
	if s.RatingGroup.Present && s.RatingGroup.Value < groupsUsual && len(s.Identifiers) == 0 {
		return groupTargets[s.RatingGroup.Value]
	}
	var b strings.Builder
	if s.RatingGroup.Present {
		b.WriteString(strconv.FormatUint(uint64(s.RatingGroup.Value), 10))
	}
	ids := slices.Clone(s.Identifiers)
	slices.Sort(ids)
	for i, id := range slices.Compact(ids) {
		b.WriteByte("/,"[min(i, 1)])
		b.WriteString(strconv.FormatUint(uint64(id), 10))
	}
	return ocs.Target(b.String())
}

// service is the inverse of target: the rating group and service identifiers an
// MSCC carries. A stored outcome may name a target that the repeat does not, so
// the answer is made from the target alone.
func service(t ocs.Target) (group Optional[uint32], ids []uint32) {
	head, tail, _ := strings.Cut(string(t), "/")
	if v, err := strconv.ParseUint(head, 10, 32); err == nil {
		group = Some(uint32(v))
	}
	if tail == "" {
		return group, nil
	}
	for id := range strings.SplitSeq(tail, ",") {
		if v, err := strconv.ParseUint(id, 10, 32); err == nil {
			ids = append(ids, uint32(v))
		}
	}
	return group, ids
}

// indicatorFault reports MSCC without Multiple-Services-Indicator in the first
// interrogation (RFC 8506 §5.1.2, conformance B-012). Later ones need none (B-011).
func (r *CCR) indicatorFault(m diameter.Message) *diameter.Error {
	if r.Type != ocs.Initial || !r.multiple() || r.MultipleServices.Value == multipleServicesSupported {
		return nil
	}
	mscc, _ := m.Find(diameter.MultipleServicesCreditControl)
	return invalid(mscc.Raw, "Multiple-Services-Credit-Control without Multiple-Services-Indicator")
}
