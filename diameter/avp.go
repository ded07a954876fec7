package diameter

import (
	"encoding/binary"
	"iter"
	"unsafe"
)

// AVP flag bits (RFC 6733 §4.1). The P bit (0x20) is never sent and ignored.
const (
	AVPVendor    uint8 = 0x80
	AVPMandatory uint8 = 0x40
)

// Attribute names an AVP: code and vendor together, with the flag bits a sender
// sets.
type Attribute struct {
	Code   uint32
	Vendor uint32 // 0: IETF
	Flags  uint8
}

// AVP is one AVP in place: Data and Raw alias the message.
type AVP struct {
	Code   uint32
	Vendor uint32
	Flags  uint8
	Data   []byte
	Raw    []byte // header and data, without padding
}

// Is reports whether the AVP is of that attribute: same code and same vendor.
func (a AVP) Is(t Attribute) bool { return a.Code == t.Code && a.Vendor == t.Vendor }

// Uint32 returns the value of a validated Unsigned32, Enumerated or Time AVP,
// 0 when the length is wrong.
func (a AVP) Uint32() uint32 {
	if len(a.Data) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(a.Data)
}

// Uint64 returns the value of a validated Unsigned64 or Integer64 AVP.
func (a AVP) Uint64() uint64 {
	if len(a.Data) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(a.Data)
}

// Text returns the data as a string (a copy).
func (a AVP) Text() string { return string(a.Data) }

// View returns the data as a string that lives off the message. That is sound
// because nobody writes into a message that was received (see Reader); but the
// string keeps all that arrived with it in memory, so what outlives the answer has
// to be cloned.
func (a AVP) View() string { return unsafe.String(unsafe.SliceData(a.Data), len(a.Data)) }

// Group iterates the members of a grouped AVP.
func (a AVP) Group() iter.Seq[AVP] { return Walk(a.Data) }

// Find returns the first member of that attribute in a grouped AVP.
func (a AVP) Find(t Attribute) (AVP, bool) { return Find(a.Data, t) }

// Walk iterates the AVPs in b without copying their data. It stops at the first AVP
// whose length does not fit; Validate has reported that before anybody relies on it.
func Walk(b []byte) iter.Seq[AVP] {
	return func(yield func(AVP) bool) {
		for a := range Scan(b) {
			if !yield(*a) {
				return
			}
		}
	}
}

// Scan is Walk for the hot path: the AVP is the same one each time, filled anew.
func Scan(b []byte) iter.Seq[*AVP] {
	return func(yield func(*AVP) bool) {
		var a AVP
		for len(b) > 0 {
			n, ok := a.read(b)
			if !ok || !yield(&a) {
				return
			}
			b = b[n:]
		}
	}
}

// Find returns the first AVP of that attribute in b.
func Find(b []byte, t Attribute) (AVP, bool) {
	for a := range Scan(b) {
		if a.Is(t) {
			return *a, true
		}
	}
	return AVP{}, false
}

// read makes a the AVP at the start of b and returns how many octets it takes with
// its padding. Missing padding behind the very last AVP is tolerated here and
// refused by Validate. It fills a in place: to copy it costs more than to read it.
func (a *AVP) read(b []byte) (n int, ok bool) {
	if len(b) < 8 {
		return 0, false
	}
	first := binary.BigEndian.Uint64(b) // code, flags, length
	length, head := int(first&(1<<24-1)), 8
	a.Code, a.Vendor, a.Flags = uint32(first>>32), 0, uint8(first>>24)
	if a.Flags&AVPVendor != 0 {
		head = 12
	}
	if length < head || length > len(b) {
		return 0, false
	}
	if head == 12 {
		a.Vendor = binary.BigEndian.Uint32(b[8:])
	}
	a.Data, a.Raw = b[head:length:length], b[:length:length]
	return min(padded(length), len(b)), true
}

func padded(n int) int { return (n + 3) &^ 3 }
