package load

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"gygate/diameter"
	"gygate/diameter/gy"
	"gygate/ocs"
)

// phase is where in its life a session is, and which request it sends.
type phase uint8

const (
	initial phase = iota
	update
	terminate
	event
	phases = iota
)

// stepTypes are the CC-Request-Types of the phases.
var stepTypes = [phases]ocs.StepType{ocs.Initial, ocs.Update, ocs.Terminate, ocs.Event}

// The part of a Session-Id that counts are numbers of ten digits within 32 bits, so that
// all requests of a phase have one length.
const (
	lowDigits = 10
	lowFirst  = 1_000_000_000
)

// lowStart is where a load that begins at this time counts from: no load of the same
// host that begins later in the same second can reach an earlier one's numbers.
func lowStart(began time.Time) uint32 { return lowFirst + 3*uint32(began.Nanosecond()) }

// Marks stand in a template where digits are written later; no other field has them.
const (
	sessionMark    = "#"
	subscriberMark = "*"
)

// template is an encoded request and where its changing fields are.
type template struct {
	frame       []byte
	sessions    []int // of the counting digits of the Session-Id
	subscribers []int // of the subscriber's digits
	number      int   // of CC-Request-Number's value
	stamp       int   // of Event-Timestamp's value
}

// newTemplate encodes the request of a phase as an IMS application server sends it.
func newTemplate(c *Config, local diameter.Origin, began time.Time, p phase) (*template, error) {
	session := fmt.Sprintf("%s;%d;%s", local.Host, ntpSeconds(began), strings.Repeat(sessionMark, lowDigits))
	number := strings.Repeat(subscriberMark, len(c.First))
	ccr := gy.CCR{
		SessionID: session, OriginHost: local.Host, OriginRealm: local.Realm, DestinationRealm: c.DestinationRealm,
		ServiceContextID: c.Context, Type: stepTypes[p], OriginStateID: local.StateID, EventTimestamp: began,
		Payer: []gy.Subscription{{Kind: ocs.E164, Data: number}},
		Call: gy.ServiceInformation{IMS: &gy.IMSInformation{
			SIPMethod: "INVITE", RoleOfNode: gy.Some(uint32(0)), NodeFunctionality: gy.Some(uint32(6)), UserSessionID: session,
			CallingParty: "tel:+" + number, CalledParty: "tel:+" + c.Called, ChargingID: session,
		}},
	}
	if p == event {
		ccr.Action = gy.Some(uint32(ocs.DirectDebit))
	}
	c.putUnits(&ccr, p)
	t := &template{frame: ccr.Append(nil, diameter.Header{})}
	t.sessions = positions(t.frame, strings.Repeat(sessionMark, lowDigits))
	t.subscribers = positions(t.frame, number)
	return t, t.findFields()
}

// putUnits adds what the phase asks for and reports.
func (c *Config) putUnits(ccr *gy.CCR, p phase) {
	var s gy.Service
	if p != terminate {
		s.Requested = gy.Some(gy.ServiceUnits{Time: gy.Some(c.Seconds)})
	}
	if p == update || p == terminate {
		s.Used = []gy.UsedUnits{{ServiceUnits: gy.ServiceUnits{Time: gy.Some(c.Used)}}}
	}
	if c.CommandLevel {
		ccr.Command = s
		return
	}
	s.RatingGroup = gy.Some(c.RatingGroup)
	ccr.MultipleServices, ccr.Services = gy.Some(uint32(1)), []gy.Service{s}
}

// positions are those of a mark in b.
func positions(b []byte, mark string) (all []int) {
	for at := 0; ; {
		next := bytes.Index(b[at:], []byte(mark))
		if next < 0 {
			return all
		}
		all = append(all, at+next)
		at += next + len(mark)
	}
}

// findFields looks for the changing fields of fixed length.
func (t *template) findFields() error {
	at := diameter.HeaderLen
	for a := range diameter.Walk(t.frame[at:]) {
		switch value := at + len(a.Raw) - len(a.Data); {
		case a.Is(diameter.CCRequestNumber):
			t.number = value
		case a.Is(diameter.EventTimestamp):
			t.stamp = value
		}
		at += (len(a.Raw) + 3) &^ 3
	}
	if t.number == 0 || t.stamp == 0 || len(t.sessions) == 0 || len(t.subscribers) == 0 {
		return fmt.Errorf("the encoded request lacks one of Session-Id, CC-Request-Number, Event-Timestamp and Subscription-Id")
	}
	return nil
}

// request is what of a request differs from others of its phase.
type request struct {
	hop, end   uint32
	session    uint32 // low half of the Session-Id
	number     uint32
	subscriber uint64 // number
	stamp      uint32 // NTP seconds
	repeat     bool
}

// append appends the request to b.
func (t *template) append(b []byte, r *request) []byte {
	start := len(b)
	b = append(b, t.frame...)
	frame := b[start:]
	diameter.SetHop(frame, r.hop)
	diameter.SetEnd(frame, r.end)
	if r.repeat {
		diameter.SetRetransmit(frame)
	}
	binary.BigEndian.PutUint32(frame[t.number:], r.number)
	binary.BigEndian.PutUint32(frame[t.stamp:], r.stamp)
	t.put(frame, t.sessions, uint64(r.session), sessionMark)
	t.put(frame, t.subscribers, r.subscriber, subscriberMark)
	return b
}

// put writes the digits of n over the marks at each of the positions: to the first
// one by one, to the others as a copy.
func (t *template) put(frame []byte, at []int, n uint64, mark string) {
	first := at[0]
	end := first
	for end < len(t.frame) && t.frame[end] == mark[0] {
		end++
	}
	for i := end - 1; i >= first; i-- {
		frame[i] = byte('0' + n%10)
		n /= 10
	}
	for _, other := range at[1:] {
		copy(frame[other:], frame[first:end])
	}
}

// ntpSeconds is a time as Diameter's Time has it (RFC 6733 §4.3.1).
func ntpSeconds(t time.Time) uint32 { return uint32(t.Unix() + 2208988800) }
