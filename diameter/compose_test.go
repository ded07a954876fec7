package diameter_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"gygate/diameter"
)

var ccrHeader = diameter.Header{
	Flags: diameter.FlagRequest | diameter.FlagProxiable, Command: diameter.CmdCreditControl,
	Application: diameter.AppCreditControl, HopByHop: 0xa01, EndToEnd: 0x5a100001,
}

// Encoded AVPs, for composing messages.

func text(a diameter.Attribute, s string) []byte { return diameter.AppendString(nil, a, s) }

func u32(a diameter.Attribute, v uint32) []byte { return diameter.AppendUint32(nil, a, v) }

func group(a diameter.Attribute, members ...[]byte) []byte {
	return diameter.AppendGroup(nil, a, func(b []byte) []byte { return append(b, bytes.Join(members, nil)...) })
}

// flags sets the flags octet of an encoded AVP without a change of length.
func flags(avp []byte, f uint8) []byte {
	avp = slices.Clone(avp)
	avp[4] = f
	return avp
}

// unknown is an AVP no dictionary has.
func unknown(f uint8) []byte {
	return diameter.AppendBytes(nil, diameter.Attribute{Code: 60001, Vendor: 99999, Flags: f}, []byte{0xde, 0xad})
}

// required is what a CCR-Initial must have, in the order of the grammar.
var required = [][]byte{
	text(diameter.SessionID, "vpnas1.vpn.example;3973000001;17"),
	text(diameter.OriginHost, "vpnas1.vpn.example"),
	text(diameter.OriginRealm, "vpn.example"),
	text(diameter.DestinationRealm, "vpn.example"),
	u32(diameter.AuthApplicationID, 4),
	text(diameter.ServiceContextID, "32276@3gpp.org"),
	u32(diameter.CCRequestType, 1),
	u32(diameter.CCRequestNumber, 0),
}

// request composes a message of those AVPs.
func request(t testing.TB, h diameter.Header, avps ...[]byte) diameter.Message {
	t.Helper()
	b := diameter.Start(nil, h)
	for _, a := range avps {
		b = append(b, a...)
	}
	return parse(t, diameter.Finish(b, 0))
}

// ccr is a CCR-Initial with more AVPs.
func ccr(t testing.TB, more ...[]byte) diameter.Message {
	t.Helper()
	return request(t, ccrHeader, slices.Concat(required, more)...)
}

// ccrWithout is a CCR-Initial that lacks one AVP, with more AVPs.
func ccrWithout(t testing.TB, a diameter.Attribute, more ...[]byte) diameter.Message {
	t.Helper()
	rest := slices.DeleteFunc(slices.Clone(required), func(avp []byte) bool { return binary.BigEndian.Uint32(avp) == a.Code })
	return request(t, ccrHeader, slices.Concat(rest, more)...)
}

// proves names the rows of the conformance table that the test shows.
func proves(t testing.TB, rows ...string) {
	for _, row := range rows {
		t.Attr("proves", row)
	}
}

// expect validates m and compares Result-Code and Failed-AVP; code 0 means no
// fault, failed nil that Failed-AVP is not compared.
func expect(t *testing.T, m diameter.Message, mode diameter.Mode, code diameter.ResultCode, failed []byte) {
	t.Helper()
	fault := dictionary().Validate(m, mode)
	switch {
	case fault == nil && code == 0:
	case fault == nil:
		t.Errorf("no fault, want %d", code)
	case fault.Code != code:
		t.Errorf("fault %v, want %d", fault, code)
	case failed != nil && !bytes.Equal(diameter.AppendRaw(nil, fault.Failed), failed):
		t.Errorf("Failed-AVP %x, want %x (%v)", fault.Failed, failed, fault)
	case fault.Fatal:
		t.Errorf("fault %v would close the connection", fault)
	}
}
