package gy

import (
	"sync"
	"time"

	"gygate/diameter"
	"gygate/ocs"
)

// CCA is a Credit-Control-Answer (RFC 8506 §3.2, TS 32.299 §6.4.3). Absent AVPs
// are zero values.
type CCA struct {
	// Append takes these from the request and the local node; ParseCCA fills them.
	SessionID   string
	OriginHost  string
	OriginRealm string

	ResultCode      diameter.ResultCode
	Type            ocs.StepType // echoed CC-Request-Type, 0 when the request had none
	Number          uint32
	SubSession      Optional[uint64]
	UserName        string
	SessionFailover Optional[uint32] // CC-Session-Failover
	Command         ServiceAnswer    // units of the command: profile P-RFC
	Services        []ServiceAnswer  // Multiple-Services-Credit-Control: profile P-3GPP
	Cost            Optional[Amount] // Cost-Information
	CheckBalance    Optional[uint32] // Check-Balance-Result: 1 is NO_CREDIT
	LowBalance      Optional[uint32] // Low-Balance-Indication
	Remaining       Optional[Amount] // Remaining-Balance
	FailureHandling Optional[uint32] // Credit-Control-Failure-Handling
	DebitFailure    Optional[uint32] // Direct-Debiting-Failure-Handling
	OriginStateID   uint32
	ErrorMessage    string
	Failed          [][]byte // the AVPs inside Failed-AVP, each encoded without padding
}

// ServiceAnswer is the result for one target: one MSCC, or the units of the
// command.
type ServiceAnswer struct {
	Granted           Optional[GrantedUnits]
	RatingGroup       Optional[uint32]
	Identifiers       []uint32
	Validity          uint32 // Validity-Time in seconds, 0: none
	ResultCode        diameter.ResultCode
	FinalUnit         Optional[uint32] // Final-Unit-Action: 0 is TERMINATE
	TimeThreshold     uint32           // Time-Quota-Threshold in seconds, 0: none
	VolumeThreshold   uint32           // Volume-Quota-Threshold in octets, 0: none
	UnitThreshold     uint32           // Unit-Quota-Threshold, 0: none
	RefundInformation []byte
	Control           *QuotaControl // nil: none of it, as in most answers
}

// QuotaControl is how a client is to handle a quota and its end. Only a server
// writes it: a call of ours has no use for it, so ParseCCA does not read it.
type QuotaControl struct {
	Redirect        Optional[RedirectServer] // with Final-Unit-Action 1
	Filters         []string                 // Restriction-Filter-Rule, with Final-Unit-Action 2
	FilterIDs       []string                 // Filter-Id, likewise
	HoldingTime     uint32                   // Quota-Holding-Time in seconds, 0: none
	ConsumptionTime uint32                   // Quota-Consumption-Time in seconds, 0: none
	Triggers        Optional[[]uint32]       // Trigger; without a member it disables all
	Pool            Optional[PoolReference]
	Announcement    Optional[Announcement]
}

// RedirectServer is where the end user goes when the units are used up (RFC 8506
// §8.37).
type RedirectServer struct {
	Type    uint32 // Redirect-Address-Type
	Address string
}

// PoolReference is a share in a credit pool (RFC 8506 §8.30).
type PoolReference struct {
	ID         uint32
	UnitType   uint32 // CC-Unit-Type
	Multiplier int64  // Unit-Value: how much of the pool one unit takes
}

// Announcement is Announcement-Information (TS 32.299 §7.2.12A) for the served
// party; the quota runs on meanwhile.
type Announcement struct {
	ID     uint32           // Announcement-Identifier
	Before Optional[uint32] // Time-Indicator: seconds before the quota ends
}

// draft is a CCA in the hands of the server, with room for what it nearly always
// has, and for the frame: whoever takes an answer copies it.
type draft struct {
	CCA
	services [1]ServiceAnswer
	frame    []byte
}

var draftPool = sync.Pool{New: func() any { return new(draft) }}

func (d *draft) empty() *CCA {
	d.CCA = CCA{Services: d.services[:0]}
	return &d.CCA
}

// Append appends the whole answer to req: the header mirrored, Session-Id
// first, Proxy-Info as it came.
func (c *CCA) Append(b []byte, req diameter.Message, local diameter.Origin) []byte {
	start := len(b)
	b = diameter.StartAnswer(b, req, c.ResultCode, local)
	b = diameter.AppendUint32(b, diameter.AuthApplicationID, diameter.AppCreditControl)
	if c.Type != 0 {
		b = diameter.AppendUint32(b, diameter.CCRequestType, uint32(c.Type))
		b = diameter.AppendUint32(b, diameter.CCRequestNumber, c.Number)
	}
	b = appendOptional64(b, diameter.CCSubSessionID, c.SubSession)
	b = appendText(b, diameter.UserName, c.UserName)
	b = appendOptional32(b, diameter.CCSessionFailover, c.SessionFailover)
	b = c.appendCharging(b)
	b = appendOptional32(b, diameter.CreditControlFailureHandling, c.FailureHandling)
	b = appendOptional32(b, diameter.DirectDebitingFailureHandling, c.DebitFailure)
	if c.OriginStateID != 0 {
		b = diameter.AppendUint32(b, diameter.OriginStateID, c.OriginStateID)
	}
	b = appendText(b, diameter.ErrorMessage, c.ErrorMessage)
	if len(c.Failed) > 0 {
		b = diameter.AppendGroup(b, diameter.FailedAVP, c.appendFailed)
	}
	return diameter.FinishAnswer(b, start, req)
}

func (c *CCA) appendCharging(b []byte) []byte {
	b = c.Command.appendUnits(b)
	if len(c.Command.RefundInformation) > 0 {
		// A 3GPP AVP in the pure RFC form: without M a client may ignore it.
		token := diameter.RefundInformation
		token.Flags &^= diameter.AVPMandatory
		b = diameter.AppendBytes(b, token, c.Command.RefundInformation)
	}
	for i := range c.Services {
		b = diameter.AppendGroup(b, diameter.MultipleServicesCreditControl, c.Services[i].append)
	}
	if c.Cost.Present {
		b = diameter.AppendGroup(b, diameter.CostInformation, c.Cost.Value.append)
	}
	b = appendOptional32(b, diameter.CheckBalanceResult, c.CheckBalance)
	b = appendOptional32(b, diameter.LowBalanceIndication, c.LowBalance)
	if c.Remaining.Present {
		b = diameter.AppendGroup(b, diameter.RemainingBalance, c.Remaining.Value.append)
	}
	return b
}

func (c *CCA) appendFailed(b []byte) []byte {
	for _, raw := range c.Failed {
		b = diameter.AppendRaw(b, raw)
	}
	return b
}

// append writes the members of an MSCC.
func (s *ServiceAnswer) append(b []byte) []byte {
	b = s.appendGranted(b)
	b = appendOptional32(b, diameter.RatingGroup, s.RatingGroup)
	for _, id := range s.Identifiers {
		b = diameter.AppendUint32(b, diameter.ServiceIdentifier, id)
	}
	b = appendNonZero(b, diameter.ValidityTime, s.Validity)
	b = appendNonZero(b, diameter.ResultCodeAVP, uint32(s.ResultCode))
	b = s.appendFinal(b)
	b = appendNonZero(b, diameter.TimeQuotaThreshold, s.TimeThreshold)
	b = appendNonZero(b, diameter.VolumeQuotaThreshold, s.VolumeThreshold)
	b = appendNonZero(b, diameter.UnitQuotaThreshold, s.UnitThreshold)
	if s.Control != nil {
		b = s.Control.append(b)
	}
	if len(s.RefundInformation) > 0 {
		b = diameter.AppendBytes(b, diameter.RefundInformation, s.RefundInformation)
	}
	return b
}

// append writes what stands beside the quota.
func (q *QuotaControl) append(b []byte) []byte {
	b = appendNonZero(b, diameter.QuotaHoldingTime, q.HoldingTime)
	b = appendNonZero(b, diameter.QuotaConsumptionTime, q.ConsumptionTime)
	if q.Triggers.Present {
		b = diameter.AppendGroup(b, diameter.Trigger, func(b []byte) []byte {
			for _, kind := range q.Triggers.Value {
				b = diameter.AppendUint32(b, diameter.TriggerType, kind)
			}
			return b
		})
	}
	if q.Pool.Present {
		b = diameter.AppendGroup(b, diameter.GSUPoolReference, q.Pool.Value.append)
	}
	if q.Announcement.Present {
		b = diameter.AppendGroup(b, diameter.AnnouncementInformation, q.Announcement.Value.append)
	}
	return b
}

func (p PoolReference) append(b []byte) []byte {
	b = diameter.AppendUint32(b, diameter.GSUPoolIdentifier, p.ID)
	b = diameter.AppendUint32(b, diameter.CCUnitType, p.UnitType)
	return diameter.AppendGroup(b, diameter.UnitValue, func(b []byte) []byte {
		return diameter.AppendUint64(b, diameter.ValueDigits, uint64(p.Multiplier))
	})
}

func (a Announcement) append(b []byte) []byte {
	b = diameter.AppendUint32(b, diameter.AnnouncementIdentifier, a.ID)
	b = appendOptional32(b, diameter.TimeIndicator, a.Before)
	return diameter.AppendUint32(b, diameter.PlayAlternative, servedParty)
}

// servedParty is the Play-Alternative of every announcement.
const servedParty = 0

// appendUnits writes what of a service the command itself has room for: neither
// target nor code nor thresholds (RFC 8506 §3.2).
func (s *ServiceAnswer) appendUnits(b []byte) []byte {
	b = s.appendGranted(b)
	b = appendNonZero(b, diameter.ValidityTime, s.Validity)
	return s.appendFinal(b)
}

func (s *ServiceAnswer) appendGranted(b []byte) []byte {
	if !s.Granted.Present {
		return b
	}
	return diameter.AppendGroup(b, diameter.GrantedServiceUnit, s.Granted.Value.append)
}

// appendFinal writes Final-Unit-Indication; with TERMINATE nothing else may
// stand in the group (RFC 8506 §8.34).
func (s *ServiceAnswer) appendFinal(b []byte) []byte {
	if !s.FinalUnit.Present {
		return b
	}
	return diameter.AppendGroup(b, diameter.FinalUnitIndication, func(b []byte) []byte {
		b = diameter.AppendUint32(b, diameter.FinalUnitAction, s.FinalUnit.Value)
		if s.Control != nil {
			b = s.Control.appendWayOut(b)
		}
		return b
	})
}

// appendWayOut writes what stays possible when the units are used up.
func (q *QuotaControl) appendWayOut(b []byte) []byte {
	for _, rule := range q.Filters {
		b = diameter.AppendString(b, diameter.RestrictionFilterRule, rule)
	}
	for _, id := range q.FilterIDs {
		b = diameter.AppendString(b, diameter.FilterID, id)
	}
	if q.Redirect.Present {
		b = diameter.AppendGroup(b, diameter.RedirectServer, q.Redirect.Value.append)
	}
	return b
}

func (r RedirectServer) append(b []byte) []byte {
	b = diameter.AppendUint32(b, diameter.RedirectAddressType, r.Type)
	return diameter.AppendString(b, diameter.RedirectServerAddress, r.Address)
}

func appendNonZero(b []byte, a diameter.Attribute, v uint32) []byte {
	if v == 0 {
		return b
	}
	return diameter.AppendUint32(b, a, v)
}

// ParseCCA reads an answer in one pass. An error means that the answer cannot
// be used.
func ParseCCA(m diameter.Message) (*CCA, *diameter.Error) {
	c := new(CCA)
	for a := range m.AVPs() {
		if err := c.take(a); err != nil {
			return c, err
		}
	}
	if c.ResultCode == 0 {
		return c, &diameter.Error{Code: diameter.MissingAVP, Text: "answer without Result-Code"}
	}
	return c, nil
}

func (c *CCA) take(a diameter.AVP) *diameter.Error {
	if a.Vendor != 0 {
		return c.takeVendor(a)
	}
	switch a.Code {
	case diameter.SessionID.Code:
		c.SessionID = a.Text()
	case diameter.ResultCodeAVP.Code:
		c.ResultCode = diameter.ResultCode(a.Uint32())
	case diameter.OriginHost.Code:
		c.OriginHost = a.Text()
	case diameter.OriginRealm.Code:
		c.OriginRealm = a.Text()
	case diameter.CCRequestType.Code:
		c.Type = ocs.StepType(a.Uint32())
	case diameter.CCRequestNumber.Code:
		c.Number = a.Uint32()
	case diameter.CCSubSessionID.Code:
		c.SubSession = Some(a.Uint64())
	case diameter.UserName.Code:
		c.UserName = a.Text()
	case diameter.OriginStateID.Code:
		c.OriginStateID = a.Uint32()
	case diameter.ErrorMessage.Code:
		c.ErrorMessage = a.Text()
	case diameter.FailedAVP.Code:
		for failed := range a.Group() {
			c.Failed = append(c.Failed, failed.Raw)
		}
	default:
		return c.takeCharging(a)
	}
	return nil
}

func (c *CCA) takeCharging(a diameter.AVP) *diameter.Error {
	switch a.Code {
	case diameter.CCSessionFailover.Code:
		c.SessionFailover = Some(a.Uint32())
	case diameter.CreditControlFailureHandling.Code:
		c.FailureHandling = Some(a.Uint32())
	case diameter.DirectDebitingFailureHandling.Code:
		c.DebitFailure = Some(a.Uint32())
	case diameter.CostInformation.Code:
		c.Cost = Some(readAmount(a))
	case diameter.CheckBalanceResult.Code:
		c.CheckBalance = Some(a.Uint32())
	case diameter.MultipleServicesCreditControl.Code:
		var s ServiceAnswer
		for member := range a.Group() {
			if err := s.take(member); err != nil {
				return err
			}
		}
		c.Services = append(c.Services, s)
	default:
		return c.Command.take(a)
	}
	return nil
}

func (c *CCA) takeVendor(a diameter.AVP) *diameter.Error {
	switch {
	case a.Is(diameter.LowBalanceIndication):
		c.LowBalance = Some(a.Uint32())
	case a.Is(diameter.RemainingBalance):
		c.Remaining = Some(readAmount(a))
	default:
		return c.Command.take(a)
	}
	return nil
}

func (s *ServiceAnswer) take(a diameter.AVP) (err *diameter.Error) {
	switch {
	case a.Is(diameter.GrantedServiceUnit):
		var g GrantedUnits
		g, err = parseGranted(a)
		s.Granted = Some(g)
	case a.Is(diameter.RatingGroup):
		s.RatingGroup = Some(a.Uint32())
	case a.Is(diameter.ServiceIdentifier):
		s.Identifiers = append(s.Identifiers, a.Uint32())
	case a.Is(diameter.ValidityTime):
		s.Validity = a.Uint32()
	case a.Is(diameter.ResultCodeAVP):
		s.ResultCode = diameter.ResultCode(a.Uint32())
	case a.Is(diameter.FinalUnitIndication):
		action, _ := a.Find(diameter.FinalUnitAction)
		s.FinalUnit = Some(action.Uint32())
	case a.Is(diameter.QoSFinalUnitIndication):
		action, _ := a.Find(diameter.FinalUnitAction)
		s.FinalUnit = Some(action.Uint32()) // what it restricts, a call does not have
	case a.Is(diameter.TimeQuotaThreshold):
		s.TimeThreshold = a.Uint32()
	case a.Is(diameter.VolumeQuotaThreshold):
		s.VolumeThreshold = a.Uint32()
	case a.Is(diameter.UnitQuotaThreshold):
		s.UnitThreshold = a.Uint32()
	case a.Is(diameter.RefundInformation):
		s.RefundInformation = append([]byte(nil), a.Data...)
	}
	return err
}

// seconds is a duration as a wire value, never 0 for something that is there:
// a Validity-Time of 0 would say "now".
func seconds(d time.Duration) uint32 {
	if d <= 0 {
		return 0
	}
	return uint32(min(max(d/time.Second, 1), 1<<31))
}
