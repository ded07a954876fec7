package diameter

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Start appends a header whose length Finish fills in. Everything is encoded by
// appending to one buffer, AVP after AVP.
func Start(b []byte, h Header) []byte {
	b = append(b, 1, 0, 0, 0, byte(h.Flags), byte(h.Command>>16), byte(h.Command>>8), byte(h.Command))
	b = binary.BigEndian.AppendUint32(b, h.Application)
	b = binary.BigEndian.AppendUint32(b, h.HopByHop)
	return binary.BigEndian.AppendUint32(b, h.EndToEnd)
}

// Finish writes the length of the message that starts at offset start of b.
func Finish(b []byte, start int) []byte {
	n := len(b) - start
	b[start+1], b[start+2], b[start+3] = byte(n>>16), byte(n>>8), byte(n)
	return b
}

// SetHop writes the Hop-by-Hop Identifier of an encoded message in place.
func SetHop(frame []byte, id uint32) { binary.BigEndian.PutUint32(frame[12:], id) }

// SetEnd writes the End-to-End Identifier of an encoded message in place.
func SetEnd(frame []byte, id uint32) { binary.BigEndian.PutUint32(frame[16:], id) }

// SetRetransmit sets the T bit of an encoded request in place.
func SetRetransmit(frame []byte) { frame[4] |= byte(FlagRetransmit) }

// AppendBytes appends one AVP with the given data, padded.
func AppendBytes(b []byte, a Attribute, data []byte) []byte {
	b = appendAVPHeader(b, a, len(data))
	b = append(b, data...)
	return pad(b, len(data))
}

// AppendString appends a text AVP.
func AppendString(b []byte, a Attribute, s string) []byte {
	b = appendAVPHeader(b, a, len(s))
	b = append(b, s...)
	return pad(b, len(s))
}

// AppendUint32 appends an Unsigned32, Integer32 or Enumerated AVP.
func AppendUint32(b []byte, a Attribute, v uint32) []byte {
	return binary.BigEndian.AppendUint32(appendAVPHeader(b, a, 4), v)
}

// AppendUint64 appends an Unsigned64 or Integer64 AVP.
func AppendUint64(b []byte, a Attribute, v uint64) []byte {
	return binary.BigEndian.AppendUint64(appendAVPHeader(b, a, 8), v)
}

// ntpEpoch is 1900-01-01 in Unix seconds.
const ntpEpoch = -2208988800

// AppendTime appends a Time AVP: NTP seconds, modulo the 2036 era (§4.3.1).
func AppendTime(b []byte, a Attribute, t time.Time) []byte {
	return AppendUint32(b, a, uint32(t.Unix()-ntpEpoch))
}

// Time reads a Time AVP; a clear top bit means the era that begins in 2036.
func (a AVP) Time() time.Time {
	v := int64(a.Uint32())
	if v < 1<<31 {
		v += 1 << 32
	}
	return time.Unix(v+ntpEpoch, 0).UTC()
}

// AppendAddress appends an Address AVP: family and address (§4.3.1).
func AppendAddress(b []byte, a Attribute, ip netip.Addr) []byte {
	family, octets := byte(familyIPv6), ip.Unmap().AsSlice()
	if ip.Unmap().Is4() {
		family = familyIPv4
	}
	b = append(appendAVPHeader(b, a, 2+len(octets)), 0, family)
	return pad(append(b, octets...), 2+len(octets))
}

// Address reads an Address AVP; the zero Addr stands for a family other than IP.
func (a AVP) Address() netip.Addr {
	if len(a.Data) < 2 {
		return netip.Addr{}
	}
	ip, _ := netip.AddrFromSlice(a.Data[2:])
	switch family := binary.BigEndian.Uint16(a.Data); {
	case family == familyIPv4 && ip.Is4(), family == familyIPv6 && ip.Is6():
		return ip
	}
	return netip.Addr{}
}

// AppendGroup appends a grouped AVP whose members are appended by members.
func AppendGroup(b []byte, a Attribute, members func([]byte) []byte) []byte {
	start := len(b)
	b = members(appendAVPHeader(b, a, 0))
	n := len(b) - start
	b[start+5], b[start+6], b[start+7] = byte(n>>16), byte(n>>8), byte(n)
	return b
}

// AppendRaw appends an AVP as it was received, padded: Proxy-Info, Failed-AVP.
func AppendRaw(b []byte, raw []byte) []byte {
	return pad(append(b, raw...), len(raw))
}

func appendAVPHeader(b []byte, a Attribute, data int) []byte {
	flags, n := a.Flags&^AVPVendor, 8+data
	if a.Vendor != 0 {
		flags, n = flags|AVPVendor, n+4
	}
	b = binary.BigEndian.AppendUint32(b, a.Code)
	b = append(b, flags, byte(n>>16), byte(n>>8), byte(n))
	if a.Vendor != 0 {
		b = binary.BigEndian.AppendUint32(b, a.Vendor)
	}
	return b
}

func pad(b []byte, n int) []byte {
	for ; n%4 != 0; n++ {
		b = append(b, 0)
	}
	return b
}
