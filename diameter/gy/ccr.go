package gy

import (
	"sync"
	"time"

	"gygate/diameter"
	"gygate/ocs"
)

// CCR is a Credit-Control-Request (RFC 8506 §3.1, TS 32.299 §6.4.2). Absent
// AVPs are zero values.
type CCR struct {
	SessionID        string
	OriginHost       string
	OriginRealm      string
	DestinationRealm string
	DestinationHost  string
	ServiceContextID string
	Type             ocs.StepType // CC-Request-Type
	Number           uint32       // CC-Request-Number
	SubSession       Optional[uint64]
	UserName         string
	OriginStateID    uint32
	EventTimestamp   time.Time
	Payer            []Subscription
	TerminationCause Optional[uint32]
	Action           Optional[uint32] // Requested-Action
	MultipleServices Optional[uint32] // Multiple-Services-Indicator
	Services         []Service        // Multiple-Services-Credit-Control: profile P-3GPP
	Command          Service          // units of the command itself: profile P-RFC
	Call             ServiceInformation
	RouteRecord      []string

	// Content is the hash of what moves money: MSCC, units, service, action.
	// ParseCCR fills it; it tells a repeat from a request that reuses a number.
	Content [16]byte
}

// Service asks for and reports the units of one target: one MSCC, or the units
// of the command.
type Service struct {
	Requested         Optional[ServiceUnits] // Requested-Service-Unit; empty: "you decide"
	Used              []UsedUnits            // Used-Service-Unit
	RatingGroup       Optional[uint32]
	Identifiers       []uint32 // Service-Identifier
	Reasons           []uint32 // Reporting-Reason at this level
	Triggers          []uint32 // Trigger › Trigger-Type: what has changed; our own requests only
	RefundInformation []byte
}

// multiple reports the wire profile: P-3GPP when there is at least one MSCC.
func (r *CCR) multiple() bool { return len(r.Services) > 0 }

// services are the targets of the request in either profile.
func (r *CCR) services() []Service {
	if r.multiple() {
		return r.Services
	}
	if r.Type != ocs.Event && r.Command.empty() {
		return nil // a request about the session alone
	}
	return []Service{r.Command}
}

// echo is what the answer repeats of its request, and is made by.
type echo struct {
	kind       ocs.StepType
	number     uint32
	action     ocs.EventAction
	multiple   bool
	subSession Optional[uint64]
	userName   string // lives off the message
}

func (r *CCR) echo() echo {
	return echo{kind: r.Type, number: r.Number, action: r.action(), multiple: r.multiple(), subSession: r.SubSession, userName: r.UserName}
}

// request is a CCR in the hands of the server, with room for what nearly every
// request has one of. It is used again as soon as its step is made: the step and
// the exchange take nothing out of it but values and strings.
type request struct {
	CCR
	payer    [2]Subscription
	services [1]Service
	used     [2]UsedUnits
	ims      IMSInformation
	content  [contentUsual]byte
}

// contentUsual is room for what moves money in a request with one service, in
// octets.
const contentUsual = 256

var requestPool = sync.Pool{New: func() any { return new(request) }}

// parse is ParseCCR into the room there is.
func (r *request) parse(m diameter.Message) *diameter.Error {
	r.CCR = CCR{Payer: r.payer[:0], Services: r.services[:0]}
	p := parser{ccr: &r.CCR, content: r.content[:0], used: r.used[:0], ims: &r.ims}
	return p.parse(m)
}

func (s *Service) empty() bool {
	return !s.Requested.Present && len(s.Used) == 0 && len(s.Identifiers) == 0 && !s.RatingGroup.Present
}

// Append appends the whole request. R and P are set whatever h says; its
// identifiers and T stay.
func (r *CCR) Append(b []byte, h diameter.Header) []byte {
	start := len(b)
	h.Command, h.Application = diameter.CmdCreditControl, diameter.AppCreditControl
	h.Flags = h.Flags&diameter.FlagRetransmit | diameter.FlagRequest | diameter.FlagProxiable
	b = diameter.Start(b, h)
	b = r.appendEnvelope(b)
	b = r.appendCharging(b)
	for _, host := range r.RouteRecord {
		b = diameter.AppendString(b, diameter.RouteRecord, host)
	}
	return diameter.Finish(b, start)
}

func (r *CCR) appendEnvelope(b []byte) []byte {
	b = diameter.AppendString(b, diameter.SessionID, r.SessionID)
	b = diameter.AppendString(b, diameter.OriginHost, r.OriginHost)
	b = diameter.AppendString(b, diameter.OriginRealm, r.OriginRealm)
	b = diameter.AppendString(b, diameter.DestinationRealm, r.DestinationRealm)
	b = diameter.AppendUint32(b, diameter.AuthApplicationID, diameter.AppCreditControl)
	b = diameter.AppendString(b, diameter.ServiceContextID, r.ServiceContextID)
	b = diameter.AppendUint32(b, diameter.CCRequestType, uint32(r.Type))
	b = diameter.AppendUint32(b, diameter.CCRequestNumber, r.Number)
	b = appendText(b, diameter.DestinationHost, r.DestinationHost)
	b = appendText(b, diameter.UserName, r.UserName)
	b = appendOptional64(b, diameter.CCSubSessionID, r.SubSession)
	if r.OriginStateID != 0 {
		b = diameter.AppendUint32(b, diameter.OriginStateID, r.OriginStateID)
	}
	return appendTimeIf(b, diameter.EventTimestamp, r.EventTimestamp)
}

func (r *CCR) appendCharging(b []byte) []byte {
	for _, p := range r.Payer {
		b = diameter.AppendGroup(b, diameter.SubscriptionID, p.append)
	}
	b = appendOptional32(b, diameter.RequestedAction, r.Action)
	b = appendOptional32(b, diameter.MultipleServicesIndicator, r.MultipleServices)
	for i := range r.Services {
		b = diameter.AppendGroup(b, diameter.MultipleServicesCreditControl, r.Services[i].append)
	}
	b = r.Command.append(b)
	b = appendOptional32(b, diameter.TerminationCause, r.TerminationCause)
	if !r.Call.empty() {
		b = diameter.AppendGroup(b, diameter.ServiceInformation, r.Call.append)
	}
	return b
}

func (s *Service) append(b []byte) []byte {
	if s.Requested.Present {
		b = diameter.AppendGroup(b, diameter.RequestedServiceUnit, s.Requested.Value.append)
	}
	for i := range s.Used {
		b = diameter.AppendGroup(b, diameter.UsedServiceUnit, s.Used[i].append)
	}
	for _, id := range s.Identifiers {
		b = diameter.AppendUint32(b, diameter.ServiceIdentifier, id)
	}
	b = appendOptional32(b, diameter.RatingGroup, s.RatingGroup)
	for _, reason := range s.Reasons {
		b = diameter.AppendUint32(b, diameter.ReportingReason, reason)
	}
	if len(s.Triggers) > 0 {
		b = diameter.AppendGroup(b, diameter.Trigger, s.appendTriggers)
	}
	if len(s.RefundInformation) > 0 {
		b = diameter.AppendBytes(b, diameter.RefundInformation, s.RefundInformation)
	}
	return b
}

func (s *Service) appendTriggers(b []byte) []byte {
	for _, kind := range s.Triggers {
		b = diameter.AppendUint32(b, diameter.TriggerType, kind)
	}
	return b
}

// ParseCCR reads a validated request in one pass; that what it needs is there is
// the dictionary's business. Its error is what the answer has to say: a value that
// cannot be served. The strings of the request live off the message.
func ParseCCR(m diameter.Message) (*CCR, *diameter.Error) {
	r := new(CCR)
	p := parser{ccr: r}
	return r, p.parse(m)
}
