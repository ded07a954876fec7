package diameter_test

import (
	"net/netip"
	"testing"
	"time"

	"gygate/diameter"
)

// Time AVPs count NTP seconds; a clear top bit is the era from 2036.
func TestA036_Time(t *testing.T) {
	proves(t, "A-036")
	for name, c := range map[string]struct {
		at   time.Time
		wire uint32
	}{
		"trace 1":         {time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC), 0xeeae7100},
		"last of the era": {time.Date(2036, 2, 7, 6, 28, 15, 0, time.UTC), 0xffffffff},
		"first of next":   {time.Date(2036, 2, 7, 6, 28, 16, 0, time.UTC), 0},
		"next era":        {time.Date(2037, 1, 1, 0, 0, 0, 0, time.UTC), 0x01b16280},
	} {
		t.Run(name, func(t *testing.T) {
			a := avps(diameter.AppendTime(nil, diameter.EventTimestamp, c.at))[0]
			if a.Uint32() != c.wire || !a.Time().Equal(c.at) {
				t.Errorf("wire %08x, read back as %s; want %08x, %s", a.Uint32(), a.Time(), c.wire, c.at)
			}
		})
	}
}

func TestAddressBothWays(t *testing.T) {
	for address, octets := range map[string]int{"127.0.0.1": 6, "::ffff:127.0.0.1": 6, "2001:db8::1": 18} {
		ip := netip.MustParseAddr(address)
		a := avps(diameter.AppendAddress(nil, diameter.HostIPAddress, ip))[0]
		if len(a.Data) != octets || a.Address() != ip.Unmap() {
			t.Errorf("%s became %x, read back as %s", address, a.Data, a.Address())
		}
	}
	for _, data := range [][]byte{nil, {0}, {0, 1}, {0, 2, 127, 0, 0, 1}, {0, 8, '8', '6', '1', '3'}} {
		if got := (diameter.AVP{Data: data}).Address(); got.IsValid() {
			t.Errorf("%x read as %s", data, got)
		}
	}
}

// the V bit stands if and only if there is a vendor.
func TestA035_VendorBit(t *testing.T) {
	proves(t, "A-035")
	for _, a := range []diameter.Attribute{diameter.SessionID, diameter.ServiceInformation, diameter.ErrorMessage} {
		avp := avps(diameter.AppendBytes(nil, a, nil))[0]
		if vendor := avp.Flags&diameter.AVPVendor != 0; vendor != (a.Vendor != 0) || !avp.Is(a) {
			t.Errorf("%+v encoded as %+v", a, avp)
		}
	}
	wrong := diameter.Attribute{Code: 263, Flags: diameter.AVPVendor | diameter.AVPMandatory}
	if avp := avps(diameter.AppendBytes(nil, wrong, make([]byte, 4)))[0]; avp.Flags != diameter.AVPMandatory || len(avp.Data) != 4 {
		t.Errorf("a V bit without a vendor was sent: %+v", avp)
	}
}

// the M bit is clear on what is only informative.
func TestA018_InformativeAVPs(t *testing.T) {
	for _, a := range []diameter.Attribute{diameter.ProductName, diameter.FirmwareRevision, diameter.ErrorMessage, diameter.ErrorReportingHost} {
		if a.Flags != 0 || a.Vendor != 0 {
			t.Errorf("%+v", a)
		}
	}
}

func TestTypedReadersOfOtherLengths(t *testing.T) {
	a := diameter.AVP{Data: []byte{1, 2, 3}}
	if a.Uint32() != 0 || a.Uint64() != 0 {
		t.Error("a wrong length was read")
	}
}

// In place: a frame goes out again under another Hop-by-Hop Identifier with
// the T bit, which is how G11 becomes G12 but for its Destination-Host.
func TestHeaderInPlace(t *testing.T) {
	frame := golden(t, "G11")
	diameter.SetHop(frame, 0x1f07)
	diameter.SetEnd(frame, 0x5a1000d2)
	diameter.SetRetransmit(frame)
	if got, want := parse(t, frame).Header, parse(t, golden(t, "G12")).Header; got != want {
		t.Errorf("header %+v, want %+v", got, want)
	}
}
