package diameter

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/fiorix/go-diameter/v4/diam/datatype"
)

// ResultCode is a Result-Code (RFC 6733 §7.1, RFC 8506 §9).
type ResultCode uint32

// Protocol reports whether the code is a protocol error (3xxx), which is what
// sets the E bit of an answer.
func (c ResultCode) Protocol() bool { return c/1000 == 3 }

// Success reports whether the code is 2xxx.
func (c ResultCode) Success() bool { return c/1000 == 2 }

// Error is a fault of a message, as the answer reports it.
type Error struct {
	Code   ResultCode // 0: no answer is possible
	Failed []byte     // what Failed-AVP holds, the last AVP without its padding; nil: none
	Text   string     // Error-Message; never holds a subscriber identity
	Fatal  bool       // framing is lost: answer if Code is set, then close
}

// Error renders the fault for a log.
func (e *Error) Error() string { return fmt.Sprintf("diameter %d: %s", e.Code, e.Text) }

func fatal(code ResultCode, text string) *Error {
	return &Error{Code: code, Text: text, Fatal: true}
}

// fault reports an AVP with a copy of it (RFC 6733 §7.5).
func (d *Dictionary) fault(code ResultCode, a AVP, text string) *Error {
	return &Error{Code: code, Failed: a.Raw, Text: d.Name(a.Code, a.Vendor) + " " + text}
}

// wrongSize reports data that does not fit the type.
func (d *Dictionary) wrongSize(a AVP, def *definition) *Error {
	return invalidLength(Attribute{a.Code, a.Vendor, a.Flags}, def.kind, fmt.Sprintf("%s has %d octets of data", def.name, len(a.Data)))
}

// brokenHeader reports that no AVP fits at the start of b: it is shorter than a
// header, or the length runs short of the header or past the end.
func (d *Dictionary) brokenHeader(b []byte) *Error {
	var head [12]byte
	n := copy(head[:], b)
	length := int(head[5])<<16 | int(head[6])<<8 | int(head[7])
	a := Attribute{Code: binary.BigEndian.Uint32(head[:]), Flags: head[4]}
	if n == len(head) && length >= len(head) && a.Flags&AVPVendor != 0 {
		a.Vendor = binary.BigEndian.Uint32(head[8:])
	}
	kind := datatype.UnknownType
	if def := d.lookup(a.Code, a.Vendor); def != nil {
		kind = def.kind
	}
	return invalidLength(a, kind, fmt.Sprintf("%s has length %d where %d octets are left", d.Name(a.Code, a.Vendor), length, len(b)))
}

// invalidLength is 5014 with the header put right and the smallest payload of
// the type, zero-filled (RFC 6733 §7.1.5). A header alone or the broken AVP
// itself would break off the connection of peers that decode Failed-AVP by type.
func invalidLength(a Attribute, kind datatype.TypeID, text string) *Error {
	return &Error{Code: InvalidAVPLength, Failed: example(a, smallest(kind)), Text: text}
}

// required reports that an AVP is missing, with a zero-filled example; of
// several that would do, with an example of each.
func (d *Dictionary) required(as ...Attribute) *Error {
	var names []string
	var failed []byte
	for _, a := range as {
		def := d.lookup(a.Code, a.Vendor)
		names = append(names, def.name)
		failed = AppendRaw(failed, example(a, smallest(def.kind)))
	}
	return &Error{Code: MissingAVP, Failed: failed, Text: "missing " + strings.Join(names, " or ")}
}

// contradicting reports members of b of which only one may be there.
func (d *Dictionary) contradicting(choice []Attribute, b []byte) *Error {
	fault := &Error{Code: AVPOccursTooManyTimes}
	var names []string
	for a := range Walk(b) {
		if slices.ContainsFunc(choice, a.Is) {
			names = append(names, d.Name(a.Code, a.Vendor))
			fault.Failed = AppendRaw(fault.Failed, a.Raw)
		}
	}
	fault.Text = "only one is allowed of " + strings.Join(names, ", ")
	return fault
}

// example encodes an AVP without padding, with the V and M bits of a.
func example(a Attribute, data []byte) []byte {
	a.Flags &= AVPVendor | AVPMandatory
	head := 8
	if a.Vendor == 0 {
		a.Flags &^= AVPVendor
	} else {
		head = 12
	}
	return append(appendAVPHeader(make([]byte, 0, head+len(data)), a, len(data)), data...)
}

// smallest is the shortest data of a type that every decoder accepts.
func smallest(kind datatype.TypeID) []byte {
	if kind == datatype.AddressType {
		return []byte{0, familyIPv4, 0, 0, 0, 0}
	}
	return make([]byte, fixedSize[kind])
}
