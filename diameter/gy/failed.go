package gy

import (
	"gygate/diameter"
	"gygate/ocs"
)

// failedAVPs are the AVPs Failed-AVP shows for a refusal, found in the request
// again: refusals are rare, so parsing keeps no evidence.
func failedAVPs(shows offence, m diameter.Message, target ocs.Target, l level) [][]byte {
	switch shows {
	case nothing:
		return nil
	case theContext:
		return raws(m.Body(), diameter.ServiceContextID)
	case thePayers:
		return payers(m)
	case aPayer:
		if all := payers(m); len(all) > 0 {
			return all[:1]
		}
		return [][]byte{diameter.AppendBytes(nil, diameter.SubscriptionID, nil)}
	case thePrice:
		return unpriced(m, target, l)
	case theUnit:
		return unit(m)
	case theCurrency:
		return deep(m, diameter.RequestedServiceUnit, diameter.CCMoney, diameter.CurrencyCode)
	case theReference:
		return deep(m, diameter.RefundInformation)
	}
	return nil
}

// payers are the Subscription-Ids wherever the request has them.
func payers(m diameter.Message) [][]byte {
	all := append(raws(m.Body(), diameter.SubscriptionID), raws(m.Body(), diameter.SubscriptionIDExtension)...)
	if information, ok := m.Find(diameter.ServiceInformation); ok && len(all) == 0 {
		return raws(information.Data, diameter.SubscriptionID)
	}
	return all
}

// unpriced names why there is no price: for a call the called number, for one
// service among others its MSCC, reduced to the target (conformance B-097,
// B-154).
func unpriced(m diameter.Message, target ocs.Target, l level) [][]byte {
	if l == atCommand {
		if called := under(m.Body(), diameter.ServiceInformation, diameter.IMSInformation, diameter.CalledPartyAddress); called != nil {
			return [][]byte{called}
		}
	}
	group, ids := service(target)
	if !group.Present && len(ids) == 0 {
		return [][]byte{diameter.AppendUint32(nil, diameter.RatingGroup, 0)}
	}
	named := ServiceAnswer{RatingGroup: group, Identifiers: ids}
	return [][]byte{diameter.AppendGroup(nil, diameter.MultipleServicesCreditControl, named.append)}
}

// unit is the first requested, else the first reported unit (conformance B-076).
func unit(m diameter.Message) [][]byte {
	for _, group := range []diameter.Attribute{diameter.RequestedServiceUnit, diameter.UsedServiceUnit} {
		for _, service := range serviceBodies(m) {
			units, _ := diameter.Find(service, group)
			for a := range units.Group() {
				if a.Vendor == 0 && a.Code != diameter.TariffChangeUsage.Code {
					return [][]byte{a.Raw}
				}
			}
		}
	}
	return nil
}

// deep finds the first AVP under a path that begins in a service.
func deep(m diameter.Message, path ...diameter.Attribute) [][]byte {
	for _, service := range serviceBodies(m) {
		if raw := under(service, path...); raw != nil {
			return [][]byte{raw}
		}
	}
	return nil
}

// serviceBodies are the contents of every MSCC, and the command's own.
func serviceBodies(m diameter.Message) (bodies [][]byte) {
	for a := range m.AVPs() {
		if a.Is(diameter.MultipleServicesCreditControl) {
			bodies = append(bodies, a.Data)
		}
	}
	return append(bodies, m.Body())
}

// under follows a path of grouped AVPs and returns the last one whole.
func under(body []byte, path ...diameter.Attribute) []byte {
	var a diameter.AVP
	for _, attribute := range path {
		var ok bool
		if a, ok = diameter.Find(body, attribute); !ok {
			return nil
		}
		body = a.Data
	}
	return a.Raw
}

func raws(body []byte, attribute diameter.Attribute) (all [][]byte) {
	for a := range diameter.Walk(body) {
		if a.Is(attribute) {
			all = append(all, a.Raw)
		}
	}
	return all
}
