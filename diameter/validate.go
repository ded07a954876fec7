package diameter

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
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
	v := validator{Dictionary: d, mode: mode, application: m.Application, credit: m.Command == CmdCreditControl && m.Request(), noted: noted}
	if fault := v.members(m.Body(), g, 0, false); fault != nil {
		return fault
	}
	return v.contradiction()
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
	credit      bool      // the message is a CCR
	noted       func(AVP) // nil: nobody wants to know
	avps        int

	contradicted  *Error // the first contradiction among what compare has seen
	event, action bool   // it saw EVENT_REQUEST, and a Requested-Action
}

// members checks the AVPs in b against g. tolerant: AVPs of newer 3GPP releases
// are ignored here even when they have the M bit (D-066).
func (v *validator) members(b []byte, g *grammar, depth int, tolerant bool) *Error {
	if depth > GroupDepthMax {
		return &Error{Code: UnableToComply, Text: fmt.Sprintf("groups nested deeper than %d", GroupDepthMax)}
	}
	var seen uint64 // the rules of g that had an AVP
	var a AVP
	for rest := b; len(rest) > 0; {
		n, ok := a.read(rest)
		if !ok || n != padded(len(a.Raw)) {
			return v.brokenHeader(rest)
		}
		def := v.lookup(a.Code, a.Vendor)
		if fault := v.avp(&a, def, depth, tolerant); fault != nil {
			return fault
		}
		if def != nil && g != nil {
			if fault := v.count(g, &seen, &a, def); fault != nil {
				return fault
			}
		}
		if depth == 0 && def != nil && def.compared {
			v.compare(&a)
		}
		rest = rest[n:]
	}
	if g == nil {
		return nil
	}
	return v.missing(g, seen, b)
}

// avp checks one AVP and, if it is a group we know, its members.
func (v *validator) avp(a *AVP, def *definition, depth int, tolerant bool) *Error {
	if v.avps++; v.avps > AVPCountMax {
		return &Error{Code: UnableToComply, Text: fmt.Sprintf("more than %d AVPs", AVPCountMax)}
	}
	if def == nil {
		return v.unknown(*a, tolerant)
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
func (v *validator) value(a *AVP, def *definition) *Error {
	if size := fixedSize[def.kind]; size != 0 {
		if len(a.Data) != int(size) {
			if v.mode.TextChargingID && a.Is(chargingID3GPP) {
				return nil // text from some gateways, and of no use to us
			}
			return v.wrongSize(*a, def)
		}
		// A Final-Unit-Action that the client does not know is TERMINATE, no
		// fault of the answer (RFC 8506 §8.35, C-059).
		if len(def.values) > 0 && !a.Is(FinalUnitAction) && (a.Vendor == 0 || !v.mode.UnlistedValues) && !slices.Contains(def.values, int32(a.Uint32())) {
			return v.fault(InvalidAVPValue, *a, fmt.Sprintf("value %d is not defined", int32(a.Uint32())))
		}
		return nil
	}
	switch def.kind {
	case datatype.UTF8StringType, datatype.DiameterURIType:
		// PostgreSQL cannot store a zero octet in a text: refuse it at the door.
		if !utf8.Valid(a.Data) || bytes.IndexByte(a.Data, 0) >= 0 {
			return v.fault(InvalidAVPValue, *a, "no valid UTF-8 text")
		}
	case datatype.DiameterIdentityType:
		if !isIdentity(a.Data) {
			return v.fault(InvalidAVPValue, *a, "no DiameterIdentity")
		}
	case datatype.AddressType:
		return v.address(*a, def)
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
func (v *validator) count(g *grammar, seen *uint64, a *AVP, def *definition) *Error {
	slot := g.slots[def.id]
	if slot == 0 {
		return nil
	}
	bit := uint64(1) << (slot - 1)
	again := *seen&bit != 0
	*seen |= bit
	switch {
	case again && g.single&bit != 0:
		return v.fault(AVPOccursTooManyTimes, *a, "occurs too often")
	case g.forbidden&bit != 0 && !v.mode.ForbiddenAVPs:
		return v.fault(AVPNotAllowed, *a, "not allowed here")
	}
	return nil
}

// missing checks that everything required was seen in b.
func (v *validator) missing(g *grammar, seen uint64, b []byte) *Error {
	for rest := g.required &^ seen; rest != 0; rest &= rest - 1 {
		r := &g.rules[bits.TrailingZeros64(rest)]
		if r.harmless && v.mode.MissingMembers || v.forgiven(r, b) {
			continue
		}
		return v.required(r.Attribute)
	}
	if g.chosen != 0 {
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
func (v *validator) choice(g *grammar, seen uint64, b []byte) *Error {
	switch n := bits.OnesCount64(seen & g.chosen); {
	case n == 0:
		return v.required(g.choice...)
	case n > 1 && !v.mode.several(g):
		return v.contradicting(g.choice, b)
	}
	return nil
}

// compare takes note of an AVP that depends on others or goes beyond its type.
func (v *validator) compare(a *AVP) {
	switch a.Code {
	case SessionID.Code:
		if n := len(a.Data); n == 0 || n > SessionIDMax {
			v.contradict(InvalidAVPValue, example(SessionID, nil), fmt.Sprintf("Session-Id of %d octets", n))
		}
	case AuthApplicationID.Code:
		if v.credit && a.Uint32() != v.application {
			v.contradict(InvalidAVPValue, a.Raw, "Auth-Application-Id is not the application of the header")
		}
	case CCRequestType.Code:
		v.event = a.Uint32() == eventRequest
	case RequestedAction.Code:
		v.action = true
	}
}

// contradict keeps the first contradiction: it counts only when nothing else is
// wrong.
func (v *validator) contradict(code ResultCode, failed []byte, text string) {
	if v.contradicted == nil {
		v.contradicted = &Error{Code: code, Failed: failed, Text: text}
	}
}

// contradiction is the last check: what depends on more than one AVP.
func (v *validator) contradiction() *Error {
	if v.contradicted == nil && v.credit && v.event && !v.action {
		return &Error{Code: MissingAVP, Failed: example(RequestedAction, smallest(datatype.EnumeratedType)), Text: "missing Requested-Action"}
	}
	return v.contradicted
}
