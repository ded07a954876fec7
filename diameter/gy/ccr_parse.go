package gy

import (
	"encoding/binary"
	"fmt"
	"hash"

	"gygate/diameter"
	"gygate/ocs"
)

// parser collects one CCR.
type parser struct {
	ccr     *CCR
	content hash.Hash
	sum     [32]byte
	head    [12]byte
}

func (p *parser) take(a diameter.AVP) *diameter.Error {
	if a.Vendor == 0 {
		return p.takeBase(a)
	}
	switch {
	case a.Is(diameter.ServiceInformation):
		return p.ccr.Call.parse(a)
	case a.Is(diameter.RefundInformation), a.Is(diameter.ReportingReason):
		return p.takeUnits(a)
	}
	return nil
}

// takeBase reads the AVPs of the base protocol and of RFC 8506. Whatever is not
// named here is not needed: validation has refused what must be understood.
func (p *parser) takeBase(a diameter.AVP) *diameter.Error {
	r := p.ccr
	switch a.Code {
	case diameter.SessionID.Code:
		r.SessionID = a.Text()
	case diameter.OriginHost.Code:
		r.OriginHost = a.Text()
	case diameter.OriginRealm.Code:
		r.OriginRealm = a.Text()
	case diameter.DestinationRealm.Code:
		r.DestinationRealm = a.Text()
	case diameter.DestinationHost.Code:
		r.DestinationHost = a.Text()
	case diameter.RouteRecord.Code:
		r.RouteRecord = append(r.RouteRecord, a.Text())
	case diameter.OriginStateID.Code:
		r.OriginStateID = a.Uint32()
	case diameter.EventTimestamp.Code:
		r.EventTimestamp = a.Time()
	case diameter.UserName.Code:
		r.UserName = a.Text()
	case diameter.TerminationCause.Code:
		r.TerminationCause = Some(a.Uint32())
	default:
		return p.takeCharging(a)
	}
	return nil
}

func (p *parser) takeCharging(a diameter.AVP) (err *diameter.Error) {
	r := p.ccr
	switch a.Code {
	case diameter.ServiceContextID.Code:
		r.ServiceContextID = a.Text()
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
func (p *parser) takeUnits(a diameter.AVP) *diameter.Error {
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
		s, err := parseService(a)
		p.ccr.Services = append(p.ccr.Services, s)
		return err
	default:
		known, err := p.ccr.Command.take(a)
		if known {
			p.hash(a)
		}
		return err
	}
	return nil
}

// hash adds the AVP without its flags, which a relay may change.
func (p *parser) hash(a diameter.AVP) {
	binary.BigEndian.PutUint32(p.head[:], a.Code)
	binary.BigEndian.PutUint32(p.head[4:], a.Vendor)
	binary.BigEndian.PutUint32(p.head[8:], uint32(len(a.Data)))
	p.content.Write(p.head[:])
	p.content.Write(a.Data)
}

func parseService(group diameter.AVP) (s Service, err *diameter.Error) {
	for a := range group.Group() {
		if _, err = s.take(a); err != nil {
			return s, err
		}
	}
	return s, nil
}

// identifiersMax bounds the Service-Identifiers of one target: their list names
// the target, and names stand in keys of the database, which have a limit.
const identifiersMax = 32

// take reads one member of an MSCC, or of the command when there is none. It
// reports whether the AVP is one that moves money.
func (s *Service) take(a diameter.AVP) (known bool, err *diameter.Error) {
	switch {
	case a.Is(diameter.RequestedServiceUnit):
		var u ServiceUnits
		u, err = parseUnits(a)
		s.Requested = Some(u)
	case a.Is(diameter.UsedServiceUnit):
		var u UsedUnits
		u, err = parseUsed(a)
		s.Used = append(s.Used, u)
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
