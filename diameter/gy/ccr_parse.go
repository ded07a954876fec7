package gy

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"gygate/diameter"
	"gygate/ocs"
)

// parser collects one CCR.
type parser struct {
	ccr     *CCR
	content []byte // what Content is the hash of: all that moves money

	// Room for the first reports of use and for the call; nil: there is none.
	used []UsedUnits
	ims  *IMSInformation
}

func (p *parser) parse(m diameter.Message) *diameter.Error {
	for a := range diameter.Scan(m.Body()) {
		if err := p.take(a); err != nil {
			return err
		}
	}
	sum := sha256.Sum256(p.content)
	p.ccr.Content = [16]byte(sum[:16])
	return nil
}

func (p *parser) take(a *diameter.AVP) *diameter.Error {
	if a.Vendor == 0 {
		return p.takeBase(a)
	}
	switch {
	case a.Is(diameter.ServiceInformation):
		return p.ccr.Call.parse(a, p.ims)
	case a.Is(diameter.RefundInformation), a.Is(diameter.ReportingReason):
		return p.takeUnits(a)
	}
	return nil
}

// takeBase reads the AVPs of the base protocol and of RFC 8506. Whatever is not
// named here is not needed: validation has refused what must be understood.
func (p *parser) takeBase(a *diameter.AVP) *diameter.Error {
	r := p.ccr
	switch a.Code {
	case diameter.SessionID.Code:
		r.SessionID = a.View()
	case diameter.OriginHost.Code:
		r.OriginHost = a.View()
	case diameter.OriginRealm.Code:
		r.OriginRealm = a.View()
	case diameter.DestinationRealm.Code:
		r.DestinationRealm = a.View()
	case diameter.DestinationHost.Code:
		r.DestinationHost = a.View()
	case diameter.RouteRecord.Code:
		r.RouteRecord = append(r.RouteRecord, a.View())
	case diameter.OriginStateID.Code:
		r.OriginStateID = a.Uint32()
	case diameter.EventTimestamp.Code:
		r.EventTimestamp = a.Time()
	case diameter.UserName.Code:
		r.UserName = a.View()
	case diameter.TerminationCause.Code:
		r.TerminationCause = Some(a.Uint32())
	default:
		return p.takeCharging(a)
	}
	return nil
}

func (p *parser) takeCharging(a *diameter.AVP) (err *diameter.Error) {
	r := p.ccr
	switch a.Code {
	case diameter.ServiceContextID.Code:
		r.ServiceContextID = a.View()
	case diameter.CCRequestType.Code:
		if v := a.Uint32(); v < uint32(ocs.Initial) || v > uint32(ocs.Event) {
			return invalid(a.Raw, fmt.Sprintf("CC-Request-Type %d", v))
		}
		r.Type = ocs.StepType(a.Uint32())
	case diameter.CCRequestNumber.Code:
		r.Number = a.Uint32()
	case diameter.CCSubSessionID.Code:
		r.SubSession = Some(a.Uint64())
	case diameter.MultipleServicesIndicator.Code:
		r.MultipleServices = Some(a.Uint32())
	case diameter.SubscriptionID.Code:
		var s Subscription
		s, err = parseSubscription(a)
		r.Payer = append(r.Payer, s)
	case diameter.SubscriptionIDExtension.Code:
		var s Subscription
		s, err = parseExtension(a)
		r.Payer = append(r.Payer, s)
	default:
		return p.takeUnits(a)
	}
	return err
}

// takeUnits reads what moves money, and hashes it.
func (p *parser) takeUnits(a *diameter.AVP) *diameter.Error {
	switch {
	case a.Is(diameter.RequestedAction):
		p.hash(a)
		if a.Uint32() > uint32(ocs.PriceEnquiry) {
			return invalid(a.Raw, fmt.Sprintf("Requested-Action %d", a.Uint32()))
		}
		p.ccr.Action = Some(a.Uint32())
	case a.Is(diameter.MultipleServicesCreditControl):
		p.hash(a)
		if len(p.ccr.Services) == ocs.ItemsMax {
			return &diameter.Error{Code: diameter.AVPOccursTooManyTimes, Failed: a.Raw,
				Text: fmt.Sprintf("more than %d Multiple-Services-Credit-Control", ocs.ItemsMax)}
		}
		p.ccr.Services = append(p.ccr.Services, Service{})
		return p.takeService(&p.ccr.Services[len(p.ccr.Services)-1], a)
	default:
		known, err := p.takeMember(&p.ccr.Command, a)
		if known {
			p.hash(a)
		}
		return err
	}
	return nil
}

// hash adds the AVP without its flags, which a relay may change.
func (p *parser) hash(a *diameter.AVP) {
	p.content = binary.BigEndian.AppendUint32(p.content, a.Code)
	p.content = binary.BigEndian.AppendUint32(p.content, a.Vendor)
	p.content = binary.BigEndian.AppendUint32(p.content, uint32(len(a.Data)))
	p.content = append(p.content, a.Data...)
}

// takeService reads one MSCC. What stands before a fault counts.
func (p *parser) takeService(s *Service, group *diameter.AVP) *diameter.Error {
	for a := range diameter.Scan(group.Data) {
		if _, err := p.takeMember(s, a); err != nil {
			return err
		}
	}
	return nil
}

// identifiersMax bounds the Service-Identifiers of one target: their list names
// the target, and names stand in keys of the database, which have a limit.
const identifiersMax = 32

// takeMember reads one member of an MSCC, or of the command when there is none. It
// reports whether the AVP is one that moves money.
func (p *parser) takeMember(s *Service, a *diameter.AVP) (known bool, err *diameter.Error) {
	switch {
	case a.Is(diameter.RequestedServiceUnit):
		s.Requested.Present = true
		err = parseUnits(&s.Requested.Value, a)
	case a.Is(diameter.UsedServiceUnit):
		err = parseUsed(p.anotherUse(s), a)
	case a.Is(diameter.RatingGroup):
		s.RatingGroup = Some(a.Uint32())
	case a.Is(diameter.ServiceIdentifier):
		if len(s.Identifiers) == identifiersMax {
			return true, &diameter.Error{Code: diameter.AVPOccursTooManyTimes, Failed: a.Raw,
				Text: fmt.Sprintf("more than %d Service-Identifier", identifiersMax)}
		}
		s.Identifiers = append(s.Identifiers, a.Uint32())
	case a.Is(diameter.ReportingReason):
		s.Reasons = append(s.Reasons, a.Uint32())
	case a.Is(diameter.RefundInformation):
		s.RefundInformation = append([]byte(nil), a.Data...)
	default:
		return false, nil
	}
	return true, err
}

// anotherUse adds a report to the service, the first ones of a request in the
// parser's room.
func (p *parser) anotherUse(s *Service) *UsedUnits {
	if s.Used == nil {
		s.Used, p.used = p.used, nil
	}
	s.Used = append(s.Used, UsedUnits{})
	return &s.Used[len(s.Used)-1]
}
