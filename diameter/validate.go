package diameter

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/fiorix/go-diameter/v4/diam/datatype"
)

// SessionIDMax is the longest Session-Id taken from a peer, in octets. The
// standard sets no limit; it is stored with the session, so there must be one.
const SessionIDMax = 1024

// eventRequest is the CC-Request-Type EVENT_REQUEST (RFC 8506 §8.3).
const eventRequest = 4

// Validate checks one framed message from end to end and returns its first
// fault, nil when there is none: header bits, application and command
// (RFC 6733 §3), then every AVP in the order of the message (length, padding,
// M bit, type, value, occurrence), then what is missing, then what contradicts.
// After a nil result Walk sees every octet of the message and the typed readers
// of AVP can be relied upon.
//
// Failed in the fault aliases the message.
func (d *Dictionary) Validate(m Message, mode Mode) *Error {
	return d.ValidateNoting(m, mode, nil)
}

// ValidateNoting is Validate; noted, unless nil, is told of each AVP that passes
// only because of Mode.NewerAVPs, so that an operator can hear of it.
func (d *Dictionary) ValidateNoting(m Message, mode Mode, noted func(AVP)) *Error {
	g, fault := d.grammarOf(m)
	if fault != nil {
		return fault
	}
	v := validator{Dictionary: d, mode: mode, application: m.Application, noted: noted}
	if fault := v.members(m.Body(), g, 0, false); fault != nil {
		return fault
	}
	return contradiction(m)
}

// grammarOf checks the header and chooses the grammar.
func (d *Dictionary) grammarOf(m Message) (*grammar, *Error) {
	c := command{m.Command, m.Request()}
	g := d.commands[c]
	switch {
	case m.Request() && m.Flags&FlagError != 0:
		return nil, &Error{Code: InvalidHeaderBits, Text: "E bit in a request"}
	case m.Application != AppBase && m.Application != AppCreditControl:
		return nil, &Error{Code: ApplicationUnsupported, Text: fmt.Sprintf("application %d", m.Application)}
	case g == nil || c.application() != m.Application:
		return nil, &Error{Code: CommandUnsupported, Text: fmt.Sprintf("command %d of application %d", m.Command, m.Application)}
	case !m.Request() && failed(m):
		return d.failed, nil
	}
	return g, nil
}

// failed reports whether an answer is not a success.
func failed(m Message) bool {
	return m.Flags&FlagError != 0 || !m.ResultCode().Success()
}

// validator is the state of one validation.
type validator struct {
	*Dictionary
	mode        Mode
	application uint32
	noted       func(AVP) // nil: nobody wants to know
	avps        int
}

// members checks the AVPs in b against g. tolerant: AVPs of newer 3GPP releases
// are ignored here even when they have the M bit (D-066).
func (v *validator) members(b []byte, g *grammar, depth int, tolerant bool) *Error {
	if depth > GroupDepthMax {
		return &Error{Code: UnableToComply, Text: fmt.Sprintf("groups nested deeper than %d", GroupDepthMax)}
	}
	var seen [rulesMax]uint8
	for rest := b; len(rest) > 0; {
		a, n, ok := next(rest)
		if !ok || n != padded(len(a.Raw)) {
			return v.brokenHeader(rest)
		}
		def := v.lookup(a.Code, a.Vendor)
		if fault := v.avp(a, def, depth, tolerant); fault != nil {
			return fault
		}
		if fault := v.count(g, &seen, a, def); fault != nil {
			return fault
		}
		rest = rest[n:]
	}
	return v.missing(g, &seen, b)
}

// avp checks one AVP and, if it is a group we know, its members.
func (v *validator) avp(a AVP, def *definition, depth int, tolerant bool) *Error {
	if v.avps++; v.avps > AVPCountMax {
		return &Error{Code: UnableToComply, Text: fmt.Sprintf("more than %d AVPs", AVPCountMax)}
	}
	if def == nil {
		return v.unknown(a, tolerant)
	}
	if def.kind != datatype.GroupedType {
		return v.value(a, def)
	}
	if def.opaque {
		return nil
	}
	fault := v.members(a.Data, def.grammar, depth+1, tolerant || def.open && v.mode.NewerAVPs)
	if fault != nil {
		fault.Text = def.name + ": " + fault.Text
	}
	return fault
}

// unknown decides about an AVP that the dictionary lacks (A-043, A-044, D-066).
func (v *validator) unknown(a AVP, tolerant bool) *Error {
	switch {
	case a.Flags&AVPMandatory == 0:
		return nil
	case !tolerant || a.Vendor != Vendor3GPP:
		return v.fault(AVPUnsupported, a, "not supported")
	case v.noted != nil:
		v.noted(a)
	}
	return nil
}

// value checks the data of an AVP that is no group.
func (v *validator) value(a AVP, def *definition) *Error {
	if size := fixedSize[def.kind]; size != 0 {
		if len(a.Data) != int(size) {
			if v.mode.TextChargingID && a.Is(chargingID3GPP) {
				return nil // text from some gateways, and of no use to us
			}
			return v.wrongSize(a, def)
		}
		// A Final-Unit-Action that the client does not know is TERMINATE, no
		// fault of the answer (RFC 8506 §8.35, C-059).
		if len(def.values) > 0 && !a.Is(FinalUnitAction) && (a.Vendor == 0 || !v.mode.UnlistedValues) && !slices.Contains(def.values, int32(a.Uint32())) {
			return v.fault(InvalidAVPValue, a, fmt.Sprintf("value %d is not defined", int32(a.Uint32())))
		}
		return nil
	}
	switch def.kind {
	case datatype.UTF8StringType, datatype.DiameterURIType:
		// PostgreSQL cannot store a zero octet in a text: refuse it at the door.
		if !utf8.Valid(a.Data) || bytes.IndexByte(a.Data, 0) >= 0 {
			return v.fault(InvalidAVPValue, a, "no valid UTF-8 text")
		}
	case datatype.DiameterIdentityType:
		if !isIdentity(a.Data) {
			return v.fault(InvalidAVPValue, a, "no DiameterIdentity")
		}
	case datatype.AddressType:
		return v.address(a, def)
	}
	return nil
}

// fixedSize is the data length of the types that have one (RFC 6733 §4.2, §4.3).
var fixedSize = [...]uint8{
	datatype.Integer32Type:  4,
	datatype.Unsigned32Type: 4,
	datatype.Float32Type:    4,
	datatype.EnumeratedType: 4,
	datatype.TimeType:       4,
	datatype.IPv4Type:       4,
	datatype.Integer64Type:  8,
	datatype.Unsigned64Type: 8,
	datatype.Float64Type:    8,
	datatype.IPv6Type:       16, // the library's highest type: the array covers all of them
}

// Address families (IANA address family numbers), with their address lengths.
const (
	familyIPv4, lenIPv4 = 1, 4
	familyIPv6, lenIPv6 = 2, 16
)

// address checks family and length of an Address (RFC 6733 §4.3.1). Families
// other than IP are passed over, the reserved ones are not.
func (v *validator) address(a AVP, def *definition) *Error {
	if len(a.Data) < 2 {
		return v.wrongSize(a, def)
	}
	n := len(a.Data) - 2
	switch binary.BigEndian.Uint16(a.Data) {
	case familyIPv4:
		if n != lenIPv4 {
			return v.wrongSize(a, def)
		}
	case familyIPv6:
		if n != lenIPv6 {
			return v.wrongSize(a, def)
		}
	case 0, 0xffff:
		return v.fault(InvalidAVPValue, a, "reserved address family")
	}
	return nil
}

// count checks that a may occur once more.
func (v *validator) count(g *grammar, seen *[rulesMax]uint8, a AVP, def *definition) *Error {
	if g == nil || def == nil || g.slots[def.id] == 0 {
		return nil
	}
	i := g.slots[def.id] - 1
	if seen[i] == many {
		return nil
	}
	seen[i]++
	r := &g.rules[i]
	switch {
	case int(seen[i]) <= r.max, r.max == 0 && v.mode.ForbiddenAVPs:
		return nil
	case r.max == 0:
		return v.fault(AVPNotAllowed, a, "not allowed here")
	}
	return v.fault(AVPOccursTooManyTimes, a, "occurs too often")
}

// missing checks that everything required was seen in b.
func (v *validator) missing(g *grammar, seen *[rulesMax]uint8, b []byte) *Error {
	if g == nil {
		return nil
	}
	for i := range g.rules {
		r := &g.rules[i]
		if int(seen[i]) >= r.min || r.harmless && v.mode.MissingMembers || v.forgiven(r, b) {
			continue
		}
		return v.required(r.Attribute)
	}
	if len(g.choice) > 0 {
		return v.choice(g, seen, b)
	}
	return nil
}

// forgiven: Kamailio names the application only in a
// Vendor-Specific-Application-Id (D-001).
func (v *validator) forgiven(r *rule, b []byte) bool {
	if !v.mode.VendorApplication || r.Attribute != AuthApplicationID {
		return false
	}
	group, ok := Find(b, VendorSpecificApplicationID)
	if !ok {
		return false
	}
	id, ok := group.Find(AuthApplicationID)
	return ok && id.Uint32() == v.application
}

// choice checks that exactly one of g.choice is in b.
func (v *validator) choice(g *grammar, seen *[rulesMax]uint8, b []byte) *Error {
	n := 0
	for _, c := range g.choice {
		n += int(seen[g.slots[v.lookup(c.Code, c.Vendor).id]-1])
	}
	switch {
	case n == 0:
		return v.required(g.choice...)
	case n > 1 && !v.mode.several(g):
		return v.contradicting(g.choice, b)
	}
	return nil
}

// contradiction checks what depends on more than one AVP or goes beyond a type.
func contradiction(m Message) *Error {
	credit := m.Command == CmdCreditControl && m.Request()
	event, action := false, false
	for a := range m.AVPs() {
		switch {
		case a.Is(SessionID):
			if n := len(a.Data); n == 0 || n > SessionIDMax {
				return &Error{Code: InvalidAVPValue, Failed: example(SessionID, nil), Text: fmt.Sprintf("Session-Id of %d octets", n)}
			}
		case a.Is(AuthApplicationID):
			if credit && a.Uint32() != m.Application {
				return &Error{Code: InvalidAVPValue, Failed: a.Raw, Text: "Auth-Application-Id is not the application of the header"}
			}
		case a.Is(CCRequestType):
			event = a.Uint32() == eventRequest
		case a.Is(RequestedAction):
			action = true
		}
	}
	if credit && event && !action {
		return &Error{Code: MissingAVP, Failed: example(RequestedAction, smallest(datatype.EnumeratedType)), Text: "missing Requested-Action"}
	}
	return nil
}
