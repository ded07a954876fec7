package gy

import (
	"time"

	"gygate/diameter"
)

// ServiceInformation (TS 32.299 §7.2.192) says what is charged, as far as this
// gateway writes and reads it.
type ServiceInformation struct {
	Payer []Subscription // Subscription-Ids some gateways put here instead of the command
	IMS   *IMSInformation
	VCS   *VCSInformation
}

// IMSInformation is the call (TS 32.299 §7.2.79).
type IMSInformation struct {
	SIPMethod         string // Event-Type › SIP-Method
	RoleOfNode        Optional[uint32]
	NodeFunctionality Optional[uint32]
	UserSessionID     string // SIP Call-ID
	CallingParty      string // URI of the caller
	CalledParty       string // URI of the translated number
	CalledAsserted    string // URI of who answered
	RequestedParty    string // what was dialled, when it differs from CalledParty
	AlternateCharged  string // Alternate-Charged-Party-Address: who pays, when it is not the caller
	OriginatingIOI    string // Inter-Operator-Identifier, as far as known
	TerminatingIOI    string
	RequestedAt       time.Time
	RespondedAt       time.Time
	ChargingID        string // IMS-Charging-Identifier
	Specific          []SpecificInfo
	CauseCode         Optional[uint32] // Integer32
}

// VCSInformation is a call of the circuit-switched voice service (context
// 32276).
type VCSInformation struct {
	CallReference   []byte // Network-Call-Reference-Number
	MSCAddress      []byte // TBCD digits
	StartTime       time.Time
	StartOfCharging time.Time
	StopTime        time.Time
}

// SpecificInfo is Service-Specific-Info: VPN data has no AVPs of its own, so
// that Type comes from the private registry below (conformance C-102).
type SpecificInfo struct {
	Type uint32
	Data string
}

// The registry of Service-Specific-Type.
const (
	SpecificGroup       uint32 = 1 // VPN group id
	SpecificCallerShort uint32 = 2 // short number of the caller
	SpecificCalledShort uint32 = 3 // short number of the called member
	SpecificClass       uint32 = 4 // call class: "on-net", "off-net", …
	SpecificMember      uint32 = 5 // member id
	SpecificPayer       uint32 = 6 // "private" or "corporate"
)

// nodeApplicationServer is the Node-Functionality in what we send (conformance
// C-097).
const nodeApplicationServer uint32 = 6

func (s *ServiceInformation) empty() bool {
	return len(s.Payer) == 0 && s.IMS == nil && s.VCS == nil
}

func (s *ServiceInformation) append(b []byte) []byte {
	for _, p := range s.Payer {
		b = diameter.AppendGroup(b, diameter.SubscriptionID, p.append)
	}
	if s.IMS != nil {
		b = diameter.AppendGroup(b, diameter.IMSInformation, s.IMS.append)
	}
	if s.VCS != nil {
		b = diameter.AppendGroup(b, diameter.VCSInformation, s.VCS.append)
	}
	return b
}

func (i *IMSInformation) append(b []byte) []byte {
	if i.SIPMethod != "" {
		b = diameter.AppendGroup(b, diameter.EventType, func(b []byte) []byte {
			return diameter.AppendString(b, diameter.SIPMethod, i.SIPMethod)
		})
	}
	b = appendOptional32(b, diameter.RoleOfNode, i.RoleOfNode)
	b = appendOptional32(b, diameter.NodeFunctionality, i.NodeFunctionality)
	b = appendText(b, diameter.UserSessionID, i.UserSessionID)
	b = appendText(b, diameter.CallingPartyAddress, i.CallingParty)
	b = appendText(b, diameter.CalledPartyAddress, i.CalledParty)
	b = appendText(b, diameter.CalledAssertedIdentity, i.CalledAsserted)
	b = appendText(b, diameter.RequestedPartyAddress, i.RequestedParty)
	b = appendText(b, diameter.AlternateChargedPartyAddress, i.AlternateCharged)
	if !i.RequestedAt.IsZero() || !i.RespondedAt.IsZero() {
		b = diameter.AppendGroup(b, diameter.TimeStamps, i.appendTimeStamps)
	}
	if i.OriginatingIOI != "" || i.TerminatingIOI != "" {
		b = diameter.AppendGroup(b, diameter.InterOperatorIdentifier, func(b []byte) []byte {
			b = appendText(b, diameter.OriginatingIOI, i.OriginatingIOI)
			return appendText(b, diameter.TerminatingIOI, i.TerminatingIOI)
		})
	}
	b = appendText(b, diameter.IMSChargingIdentifier, i.ChargingID)
	for _, s := range i.Specific {
		b = diameter.AppendGroup(b, diameter.ServiceSpecificInfo, s.append)
	}
	return appendOptional32(b, diameter.CauseCode, i.CauseCode)
}

// appendTimeStamps writes the seconds as Time AVPs and what is left of them, in
// milliseconds, beside.
func (i *IMSInformation) appendTimeStamps(b []byte) []byte {
	b = appendTimeIf(b, diameter.SIPRequestTimestamp, i.RequestedAt)
	b = appendTimeIf(b, diameter.SIPResponseTimestamp, i.RespondedAt)
	b = appendNonZero(b, diameter.SIPRequestTimestampFraction, milliseconds(i.RequestedAt))
	return appendNonZero(b, diameter.SIPResponseTimestampFraction, milliseconds(i.RespondedAt))
}

func milliseconds(t time.Time) uint32 { return uint32(t.Nanosecond() / int(time.Millisecond)) }

func (s SpecificInfo) append(b []byte) []byte {
	b = diameter.AppendUint32(b, diameter.ServiceSpecificType, s.Type)
	return diameter.AppendString(b, diameter.ServiceSpecificData, s.Data)
}

func (v *VCSInformation) append(b []byte) []byte {
	if len(v.CallReference) > 0 {
		b = diameter.AppendBytes(b, diameter.NetworkCallReferenceNumber, v.CallReference)
	}
	if len(v.MSCAddress) > 0 {
		b = diameter.AppendBytes(b, diameter.MSCAddress, v.MSCAddress)
	}
	b = appendTimeIf(b, diameter.StartTime, v.StartTime)
	b = appendTimeIf(b, diameter.StartOfCharging, v.StartOfCharging)
	return appendTimeIf(b, diameter.StopTime, v.StopTime)
}

// parse reads the group, a call into room unless that is nil.
func (s *ServiceInformation) parse(group *diameter.AVP, room *IMSInformation) *diameter.Error {
	for a := range diameter.Scan(group.Data) {
		switch {
		case a.Is(diameter.SubscriptionID):
			p, err := parseSubscription(a)
			if err != nil {
				return err
			}
			s.Payer = append(s.Payer, p)
		case a.Is(diameter.IMSInformation):
			s.IMS = parseIMS(a, room)
		case a.Is(diameter.VCSInformation):
			s.VCS = parseVCS(*a)
		}
	}
	return nil
}

func parseIMS(group *diameter.AVP, i *IMSInformation) *IMSInformation {
	if i == nil {
		i = new(IMSInformation)
	}
	*i = IMSInformation{} // the last of several counts
	for a := range diameter.Scan(group.Data) {
		if a.Vendor != diameter.Vendor3GPP {
			continue
		}
		switch a.Code {
		case diameter.EventType.Code:
			method, _ := a.Find(diameter.SIPMethod)
			i.SIPMethod = method.View()
		case diameter.RoleOfNode.Code:
			i.RoleOfNode = Some(a.Uint32())
		case diameter.NodeFunctionality.Code:
			i.NodeFunctionality = Some(a.Uint32())
		case diameter.UserSessionID.Code:
			i.UserSessionID = a.View()
		case diameter.CallingPartyAddress.Code:
			first(&i.CallingParty, a)
		case diameter.CalledPartyAddress.Code:
			i.CalledParty = a.View()
		case diameter.CalledAssertedIdentity.Code:
			first(&i.CalledAsserted, a)
		case diameter.RequestedPartyAddress.Code:
			first(&i.RequestedParty, a)
		case diameter.AlternateChargedPartyAddress.Code:
			i.AlternateCharged = a.View()
		case diameter.InterOperatorIdentifier.Code:
			i.parseOperators(*a)
		case diameter.TimeStamps.Code:
			i.parseTimeStamps(*a)
		case diameter.IMSChargingIdentifier.Code:
			i.ChargingID = a.View()
		case diameter.ServiceSpecificInfo.Code:
			i.Specific = append(i.Specific, parseSpecific(*a))
		case diameter.CauseCode.Code:
			i.CauseCode = Some(a.Uint32())
		}
	}
	return i
}

// first keeps the first of an AVP that may stand several times.
func first(to *string, a *diameter.AVP) {
	if *to == "" {
		*to = a.View()
	}
}

func (i *IMSInformation) parseTimeStamps(group diameter.AVP) {
	var request, response time.Duration
	for a := range diameter.Scan(group.Data) {
		switch {
		case a.Is(diameter.SIPRequestTimestamp):
			i.RequestedAt = a.Time()
		case a.Is(diameter.SIPResponseTimestamp):
			i.RespondedAt = a.Time()
		case a.Is(diameter.SIPRequestTimestampFraction):
			request = fraction(a)
		case a.Is(diameter.SIPResponseTimestampFraction):
			response = fraction(a)
		}
	}
	i.RequestedAt = i.RequestedAt.Add(request)
	i.RespondedAt = i.RespondedAt.Add(response)
}

// fraction is part of a second, in milliseconds on the wire; what is more means
// nothing.
func fraction(a *diameter.AVP) time.Duration {
	return time.Duration(a.Uint32()%1000) * time.Millisecond
}

func (i *IMSInformation) parseOperators(group diameter.AVP) {
	for a := range diameter.Scan(group.Data) {
		switch {
		case a.Is(diameter.OriginatingIOI):
			i.OriginatingIOI = a.View()
		case a.Is(diameter.TerminatingIOI):
			i.TerminatingIOI = a.View()
		}
	}
}

func parseSpecific(group diameter.AVP) (s SpecificInfo) {
	for a := range diameter.Scan(group.Data) {
		switch {
		case a.Is(diameter.ServiceSpecificType):
			s.Type = a.Uint32()
		case a.Is(diameter.ServiceSpecificData):
			s.Data = a.View()
		}
	}
	return s
}

func parseVCS(group diameter.AVP) *VCSInformation {
	v := new(VCSInformation)
	for a := range diameter.Scan(group.Data) {
		switch {
		case a.Is(diameter.NetworkCallReferenceNumber):
			v.CallReference = append([]byte(nil), a.Data...)
		case a.Is(diameter.MSCAddress):
			v.MSCAddress = append([]byte(nil), a.Data...)
		case a.Is(diameter.StartTime):
			v.StartTime = a.Time()
		case a.Is(diameter.StartOfCharging):
			v.StartOfCharging = a.Time()
		case a.Is(diameter.StopTime):
			v.StopTime = a.Time()
		}
	}
	return v
}

// specific returns the VPN datum of a type, "" when the peer sent none.
func (s *ServiceInformation) specific(kind uint32) string {
	if s.IMS == nil {
		return ""
	}
	for _, info := range s.IMS.Specific {
		if info.Type == kind {
			return info.Data
		}
	}
	return ""
}

// called returns the digits of the translated number, "" when there is none.
func (s *ServiceInformation) called() string {
	if s.IMS == nil {
		return ""
	}
	return digitsOf(s.IMS.CalledParty)
}

// connected returns the digits of who answers for the called party, "" when that is
// not told.
func (s *ServiceInformation) connected() string {
	if s.IMS == nil {
		return ""
	}
	return digitsOf(s.IMS.CalledAsserted)
}
