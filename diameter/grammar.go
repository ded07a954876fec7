package diameter

import (
	"fmt"
	"math"
)

// grammar says which members a command or a group must have and how often.
// go-diameter's own rules are not used: they allow one Subscription-Id and one
// Multiple-Services-Credit-Control, and miss Auth-Application-Id in the CCA.
// An AVP without a rule may occur any number of times.
type grammar struct {
	rules  []rule
	choice []Attribute // exactly one of these must be present

	// What compile makes of it. Rules are bits, in their order.
	slots     []uint8 // by definition: its rule plus one, 0 for none
	required  uint64  // must be present
	single    uint64  // at most once
	forbidden uint64  // never
	chosen    uint64  // stand in choice
}

type rule struct {
	Attribute
	min, max int
	harmless bool // real peers leave it out, and nothing is lost
}

const (
	many     = math.MaxInt // any number of times
	rulesMax = 64          // rules of one grammar: each is a bit
)

func one(a Attribute) rule        { return rule{Attribute: a, min: 1, max: 1} }
func maybe(a Attribute) rule      { return rule{Attribute: a, max: 1} }
func atLeastOne(a Attribute) rule { return rule{Attribute: a, min: 1, max: many} }
func never(a Attribute) rule      { return rule{Attribute: a} }

// should makes a rule of the standard that real peers break harmlessly.
func should(r rule) rule { r.harmless = true; return r }

func rules(rs ...rule) *grammar { return &grammar{rules: rs} }

func (g *grammar) exactlyOneOf(as ...Attribute) *grammar {
	g.choice = as
	return g
}

// compile builds the table that finds an AVP's rule, and the sets of rules.
func (g *grammar) compile(d *Dictionary) error {
	if len(g.rules) > rulesMax {
		return fmt.Errorf("%d rules in one grammar, room for %d", len(g.rules), rulesMax)
	}
	g.slots = make([]uint8, d.defined)
	for i, r := range g.rules {
		def := d.lookup(r.Code, r.Vendor)
		if def == nil || g.slots[def.id] != 0 {
			return fmt.Errorf("%s is unknown or has two rules", d.Name(r.Code, r.Vendor))
		}
		g.slots[def.id] = uint8(i + 1)
		g.add(r, 1<<i)
	}
	for _, c := range g.choice {
		slot := g.slots[d.lookup(c.Code, c.Vendor).id]
		if slot == 0 {
			return fmt.Errorf("%s is a choice without a rule", d.Name(c.Code, c.Vendor))
		}
		g.chosen |= 1 << (slot - 1)
	}
	return nil
}

// add puts a rule into the sets it belongs to.
func (g *grammar) add(r rule, bit uint64) {
	if r.min > 0 {
		g.required |= bit
	}
	switch r.max {
	case 0:
		g.forbidden |= bit
	case 1:
		g.single |= bit
	}
}

// command names a grammar: a command has one for its request, one for its answer.
type command struct {
	code    uint32
	request bool
}

// application returns the application a command belongs to here.
func (c command) application() uint32 {
	switch c.code {
	case CmdCapabilitiesExchange, CmdDeviceWatchdog, CmdDisconnectPeer:
		return AppBase
	}
	return AppCreditControl
}

// commandGrammars is RFC 6733 §10.1 and RFC 8506 §10.1 and §10.2. The order of
// the rules decides which missing AVP is reported.
func commandGrammars() map[command]*grammar {
	return map[command]*grammar{
		{CmdCapabilitiesExchange, true}: rules(one(OriginHost), one(OriginRealm), atLeastOne(HostIPAddress),
			one(VendorID), one(ProductName), maybe(OriginStateID), maybe(FirmwareRevision)),
		{CmdCapabilitiesExchange, false}: answer(one(OriginHost), one(OriginRealm), atLeastOne(HostIPAddress),
			one(VendorID), one(ProductName), maybe(OriginStateID), maybe(FirmwareRevision)),

		{CmdDeviceWatchdog, true}:  rules(one(OriginHost), one(OriginRealm), maybe(OriginStateID)),
		{CmdDeviceWatchdog, false}: answer(one(OriginHost), one(OriginRealm), maybe(OriginStateID)),
		{CmdDisconnectPeer, true}:  rules(one(OriginHost), one(OriginRealm), one(DisconnectCause)),
		{CmdDisconnectPeer, false}: answer(one(OriginHost), one(OriginRealm)),

		{CmdReAuth, true}:        serverRequest(one(ReAuthRequestType)),
		{CmdReAuth, false}:       answer(one(SessionID), one(OriginHost), one(OriginRealm), maybe(UserName)),
		{CmdAbortSession, true}:  serverRequest(),
		{CmdAbortSession, false}: answer(one(SessionID), one(OriginHost), one(OriginRealm), maybe(UserName)),

		{CmdCreditControl, true}:  creditControlRequest(),
		{CmdCreditControl, false}: creditControlAnswer(),
	}
}

// answerMessage is the answer of any command that did not succeed: its own
// grammar need not be met (RFC 6733 §7.2).
func answerMessage() *grammar {
	return answer(one(OriginHost), one(OriginRealm), maybe(SessionID), maybe(OriginStateID))
}

func answer(rs ...rule) *grammar {
	return rules(append(rs, maybe(ResultCodeAVP), maybe(ExperimentalResult),
		maybe(ErrorMessage), maybe(ErrorReportingHost))...).exactlyOneOf(ResultCodeAVP, ExperimentalResult)
}

// serverRequest is RAR or ASR. Destination-Host is required by the standard,
// but a server that reaches us directly may do without it.
func serverRequest(rs ...rule) *grammar {
	return rules(append([]rule{one(SessionID), one(OriginHost), one(OriginRealm), one(DestinationRealm),
		should(one(DestinationHost)), one(AuthApplicationID), maybe(UserName), maybe(OriginStateID),
		maybe(CCSubSessionID), maybe(GSUPoolIdentifier), maybe(ServiceIdentifier), maybe(RatingGroup)}, rs...)...)
}

func creditControlRequest() *grammar {
	return rules(
		one(SessionID), one(OriginHost), one(OriginRealm), one(DestinationRealm), one(AuthApplicationID),
		one(ServiceContextID), one(CCRequestType), one(CCRequestNumber),
		maybe(DestinationHost), maybe(UserName), maybe(CCSubSessionID), maybe(AcctMultiSessionID),
		maybe(OriginStateID), maybe(EventTimestamp), maybe(ServiceIdentifier), maybe(TerminationCause),
		maybe(RequestedServiceUnit), maybe(RequestedAction), maybe(MultipleServicesIndicator),
		maybe(CCCorrelationID), maybe(UserEquipmentInfo), maybe(UserEquipmentInfoExtension), maybe(ServiceInformation),
		never(ResultCodeAVP), never(GrantedServiceUnit), never(FinalUnitIndication), never(QoSFinalUnitIndication),
		never(ValidityTime), never(CCSessionFailover), never(CreditControlFailureHandling),
		never(DirectDebitingFailureHandling), never(CheckBalanceResult), never(CostInformation),
		never(FailedAVP), never(RedirectHost), never(RedirectHostUsage), never(RedirectMaxCacheTime))
}

func creditControlAnswer() *grammar {
	return answer(
		one(SessionID), one(OriginHost), one(OriginRealm), one(AuthApplicationID), one(CCRequestType), one(CCRequestNumber),
		maybe(UserName), maybe(CCSubSessionID), maybe(AcctMultiSessionID), maybe(OriginStateID), maybe(EventTimestamp),
		maybe(GrantedServiceUnit), maybe(FinalUnitIndication), maybe(QoSFinalUnitIndication), maybe(ValidityTime),
		maybe(CCSessionFailover), maybe(CreditControlFailureHandling), maybe(DirectDebitingFailureHandling),
		maybe(CheckBalanceResult), maybe(CostInformation), maybe(RedirectHostUsage), maybe(RedirectMaxCacheTime),
		maybe(LowBalanceIndication), maybe(RemainingBalance), maybe(ServiceInformation),
		never(DestinationHost), never(DestinationRealm), never(RequestedAction), never(RequestedServiceUnit),
		never(UsedServiceUnit), never(MultipleServicesIndicator), never(ServiceContextID), never(ServiceIdentifier),
		never(ServiceParameterInfo), never(SubscriptionID), never(SubscriptionIDExtension), never(TerminationCause),
		never(UserEquipmentInfo), never(UserEquipmentInfoExtension))
}

// groupGrammars is RFC 6733 §6.11 and §7.6, RFC 8506 §8 and TS 32.299 §7.2.
func groupGrammars() map[Attribute]*grammar {
	units := []rule{maybe(CCTime), maybe(CCMoney), maybe(CCTotalOctets), maybe(CCInputOctets),
		maybe(CCOutputOctets), maybe(CCServiceSpecificUnits)}
	return map[Attribute]*grammar{
		VendorSpecificApplicationID: rules(one(VendorID), maybe(AuthApplicationID), maybe(AcctApplicationID)).
			exactlyOneOf(AuthApplicationID, AcctApplicationID),
		ExperimentalResult:   rules(one(VendorID), one(ExperimentalResultCode)),
		SubscriptionID:       rules(one(SubscriptionIDType), one(SubscriptionIDData)),
		UserEquipmentInfo:    rules(one(UserEquipmentInfoType), one(UserEquipmentInfoValue)),
		ServiceParameterInfo: rules(one(ServiceParameterType), one(ServiceParameterValue)),
		SubscriptionIDExtension: rules(maybe(SubscriptionIDE164), maybe(SubscriptionIDIMSI), maybe(SubscriptionIDSIPURI),
			maybe(SubscriptionIDNAI), maybe(SubscriptionIDPrivate)).
			exactlyOneOf(SubscriptionIDE164, SubscriptionIDIMSI, SubscriptionIDSIPURI, SubscriptionIDNAI, SubscriptionIDPrivate),

		RequestedServiceUnit: rules(units...),
		UsedServiceUnit:      rules(append(units[:len(units):len(units)], maybe(TariffChangeUsage), maybe(ReportingReason))...),
		GrantedServiceUnit:   rules(append(units[:len(units):len(units)], maybe(TariffTimeChange))...),
		MultipleServicesCreditControl: rules(maybe(GrantedServiceUnit), maybe(RequestedServiceUnit), maybe(TariffChangeUsage),
			maybe(RatingGroup), maybe(ValidityTime), maybe(ResultCodeAVP), maybe(FinalUnitIndication), maybe(QoSFinalUnitIndication),
			maybe(TimeQuotaThreshold), maybe(VolumeQuotaThreshold), maybe(UnitQuotaThreshold), maybe(QuotaHoldingTime),
			maybe(QuotaConsumptionTime), maybe(RefundInformation)),
		CCMoney:             rules(one(UnitValue), maybe(CurrencyCode)),
		UnitValue:           rules(one(ValueDigits), maybe(Exponent)),
		CostInformation:     rules(one(UnitValue), should(one(CurrencyCode)), maybe(CostUnit)),
		RemainingBalance:    rules(should(one(UnitValue)), should(one(CurrencyCode))),
		GSUPoolReference:    rules(one(GSUPoolIdentifier), one(CCUnitType), one(UnitValue)),
		FinalUnitIndication: rules(one(FinalUnitAction), maybe(RedirectServer)),
		RedirectServer:      rules(one(RedirectAddressType), one(RedirectServerAddress)),
		IMSInformation:      rules(should(one(NodeFunctionality))),
		ServiceSpecificInfo: rules(maybe(ServiceSpecificData), maybe(ServiceSpecificType)),
	}
}
