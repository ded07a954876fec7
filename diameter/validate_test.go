package diameter_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"gygate/diameter"
)

var (
	strict  = diameter.Mode{Strict: true}
	lenient = diameter.Mode{}
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

func TestA026_ReservedHeaderBitsIgnored(t *testing.T) {
	h := ccrHeader
	h.Flags |= 0x0f
	m := request(t, h, required...)
	expect(t, m, strict, 0, nil)
	if answer := parse(t, diameter.FinishAnswer(diameter.StartAnswer(nil, m, diameter.Success, origin), 0, m)); answer.Flags != diameter.FlagProxiable {
		t.Errorf("answer has flags %02x", answer.Flags)
	}
}

func TestA025_ErrorBitInRequest(t *testing.T) {
	h := ccrHeader
	h.Flags |= diameter.FlagError
	m := request(t, h, required...)
	fault := dictionary().Validate(m, lenient)
	if fault == nil || fault.Code != diameter.InvalidHeaderBits {
		t.Fatalf("fault %v, want 3008", fault)
	}
	if answer := parse(t, diameter.ErrorAnswer(nil, m, fault, origin)); answer.Flags&diameter.FlagError == 0 {
		t.Error("the answer lacks the E bit")
	}
}

func TestA033_Padding(t *testing.T) {
	odd := diameter.AppendString(nil, diameter.UserName, "12345")
	if len(odd) != 16 || odd[7] != 13 || !bytes.Equal(odd[13:], make([]byte, 3)) {
		t.Errorf("encoded as %x, want length 13 and three zero octets", odd)
	}
	odd[14] = 0xaa
	expect(t, ccr(t, odd), strict, 0, nil)
	t.Run("missing in a group", func(t *testing.T) {
		unpadded := diameter.AppendBytes(nil, diameter.SubscriptionID, odd[:13])
		expect(t, ccr(t, unpadded), lenient, diameter.InvalidAVPLength, nil)
	})
}

func TestA034_ProtectionBitIgnored(t *testing.T) {
	var old [][]byte
	for _, avp := range required {
		old = append(old, flags(avp, avp[4]|0x20))
	}
	expect(t, request(t, ccrHeader, old...), strict, 0, nil)
}

func TestA037_InvalidUTF8(t *testing.T) {
	for name, bad := range map[string]string{"not UTF-8": "\xff\xfe", "zero octet": "86\x0013"} {
		t.Run(name, func(t *testing.T) {
			data := text(diameter.SubscriptionIDData, bad)
			expect(t, ccr(t, group(diameter.SubscriptionID, u32(diameter.SubscriptionIDType, 0), data)), lenient,
				diameter.InvalidAVPValue, data)
		})
	}
}

func TestA040_UnknownCommand(t *testing.T) {
	h := ccrHeader
	for _, command := range []uint32{999, 275, diameter.CmdDeviceWatchdog} { // 275: A-058, STR is not part of Ro
		h.Command = command
		expect(t, request(t, h, required...), lenient, diameter.CommandUnsupported, nil)
	}
	h = ccrHeader
	h.Application = diameter.AppBase
	expect(t, request(t, h, required...), lenient, diameter.CommandUnsupported, nil)
}

func TestA041_UnknownApplication(t *testing.T) {
	h := ccrHeader
	for _, application := range []uint32{16777238, diameter.AppRelay} { // D-028: a Gx CCR lands here
		h.Application = application
		expect(t, request(t, h, required...), lenient, diameter.ApplicationUnsupported, nil)
	}
}

func TestA042_OtherAuthApplicationID(t *testing.T) {
	other := u32(diameter.AuthApplicationID, 1)
	expect(t, ccrWithout(t, diameter.AuthApplicationID, other), lenient, diameter.InvalidAVPValue, other)
}

func TestA043_UnknownMandatoryAVP(t *testing.T) {
	avp := unknown(diameter.AVPMandatory)
	expect(t, ccr(t, avp), lenient, diameter.AVPUnsupported, avp)
	expect(t, ccr(t, avp), strict, diameter.AVPUnsupported, avp)
}

func TestA044_UnknownOptionalAVP(t *testing.T) {
	expect(t, ccr(t, unknown(0)), strict, 0, nil)
}

func TestA045_UnknownMandatoryAVPInKnownGroup(t *testing.T) {
	avp := unknown(diameter.AVPMandatory)
	m := ccr(t, group(diameter.MultipleServicesCreditControl, u32(diameter.RatingGroup, 100), group(diameter.RequestedServiceUnit), avp))
	expect(t, m, lenient, diameter.AVPUnsupported, avp)
	if fault := dictionary().Validate(m, lenient); !strings.HasPrefix(fault.Text, "Multiple-Services-Credit-Control: AVP 60001") {
		t.Errorf("the text %q does not name the path", fault.Text)
	}
}

func TestA046_UnknownGroupHidesItsMembers(t *testing.T) {
	hidden := diameter.AppendBytes(nil, diameter.Attribute{Code: 60002}, unknown(diameter.AVPMandatory))
	expect(t, ccr(t, hidden), strict, 0, nil)
}

func TestA047_MissingAVP(t *testing.T) {
	zeros := make([]byte, 4)
	for name, c := range map[string]struct {
		attribute diameter.Attribute
		example   []byte
	}{
		"Session-Id":          {diameter.SessionID, nil},
		"Origin-Host":         {diameter.OriginHost, nil},
		"Origin-Realm":        {diameter.OriginRealm, nil},
		"Destination-Realm":   {diameter.DestinationRealm, nil},
		"Auth-Application-Id": {diameter.AuthApplicationID, zeros},
		"Service-Context-Id":  {diameter.ServiceContextID, nil},
		"CC-Request-Type":     {diameter.CCRequestType, zeros},
		"CC-Request-Number":   {diameter.CCRequestNumber, zeros},
	} {
		t.Run(name, func(t *testing.T) {
			m := ccrWithout(t, c.attribute)
			expect(t, m, lenient, diameter.MissingAVP, diameter.AppendBytes(nil, c.attribute, c.example))
			if fault := dictionary().Validate(m, lenient); fault.Text != "missing "+name {
				t.Errorf("text %q", fault.Text)
			}
		})
	}
}

// the base protocol's own requests.
func TestA008_MissingAVPInBaseRequests(t *testing.T) {
	origin := [][]byte{text(diameter.OriginHost, "a.example"), text(diameter.OriginRealm, "example")}
	cer := slices.Concat(origin, [][]byte{
		diameter.AppendBytes(nil, diameter.HostIPAddress, []byte{0, 1, 127, 0, 0, 1}),
		u32(diameter.VendorID, 0), text(diameter.ProductName, "x"),
	})
	for command, avps := range map[uint32][][]byte{
		diameter.CmdCapabilitiesExchange: cer,
		diameter.CmdDeviceWatchdog:       origin,
		diameter.CmdDisconnectPeer:       append(slices.Clone(origin), u32(diameter.DisconnectCause, 0)),
	} {
		h := diameter.Header{Flags: diameter.FlagRequest, Command: command}
		expect(t, request(t, h, avps...), strict, 0, nil)
		for i := range avps {
			less := slices.Concat(avps[:i], avps[i+1:])
			expect(t, request(t, h, less...), lenient, diameter.MissingAVP, nil)
		}
	}
	h := diameter.Header{Flags: diameter.FlagRequest, Command: diameter.CmdCapabilitiesExchange}
	example := diameter.AppendBytes(nil, diameter.HostIPAddress, []byte{0, 1, 0, 0, 0, 0})
	expect(t, request(t, h, cer[0], cer[1], cer[3], cer[4]), lenient, diameter.MissingAVP, example)
}

func TestA009_MalformedVendorSpecificApplicationID(t *testing.T) {
	vendor, auth, acct := u32(diameter.VendorID, 10415), u32(diameter.AuthApplicationID, 4), u32(diameter.AcctApplicationID, 4)
	none := ccr(t, group(diameter.VendorSpecificApplicationID, vendor))
	expect(t, none, strict, diameter.MissingAVP,
		slices.Concat(u32(diameter.AuthApplicationID, 0), u32(diameter.AcctApplicationID, 0)))
	both := ccr(t, group(diameter.VendorSpecificApplicationID, vendor, auth, acct))
	expect(t, both, strict, diameter.AVPOccursTooManyTimes, slices.Concat(auth, acct))
	expect(t, both, lenient, 0, nil)
}

func TestA048_UndefinedEnumeratedValue(t *testing.T) {
	for _, value := range []uint32{0, 5, 9} { // B-005
		bad := u32(diameter.CCRequestType, value)
		expect(t, ccrWithout(t, diameter.CCRequestType, bad), lenient, diameter.InvalidAVPValue, bad)
	}
	bad := u32(diameter.SubscriptionIDType, 77) // B-053
	expect(t, ccr(t, group(diameter.SubscriptionID, bad, text(diameter.SubscriptionIDData, "x"))), lenient, diameter.InvalidAVPValue, bad)
	t.Run("newer 3GPP value", func(t *testing.T) {
		role := u32(diameter.RoleOfNode, 77)
		m := ccr(t, group(diameter.ServiceInformation, group(diameter.IMSInformation, u32(diameter.NodeFunctionality, 6), role)))
		expect(t, m, lenient, 0, nil)
		expect(t, m, strict, diameter.InvalidAVPValue, role)
	})
}

func TestB008_EventWithoutRequestedAction(t *testing.T) {
	event := u32(diameter.CCRequestType, 4)
	expect(t, ccrWithout(t, diameter.CCRequestType, event), lenient, diameter.MissingAVP, u32(diameter.RequestedAction, 0))
	expect(t, ccrWithout(t, diameter.CCRequestType, event, u32(diameter.RequestedAction, 2)), strict, 0, nil)
}

func TestA051_TooManyOccurrences(t *testing.T) {
	second := u32(diameter.CCRequestNumber, 1)
	expect(t, ccr(t, second), lenient, diameter.AVPOccursTooManyTimes, second)
	rg := u32(diameter.RatingGroup, 2)
	expect(t, ccr(t, group(diameter.MultipleServicesCreditControl, u32(diameter.RatingGroup, 1), rg)), lenient,
		diameter.AVPOccursTooManyTimes, rg)
	t.Run("any number", func(t *testing.T) {
		subscription := group(diameter.SubscriptionID, u32(diameter.SubscriptionIDType, 0), text(diameter.SubscriptionIDData, "1"))
		mscc := group(diameter.MultipleServicesCreditControl, group(diameter.UsedServiceUnit), group(diameter.UsedServiceUnit))
		record := text(diameter.RouteRecord, "dra1.vpn.example")
		expect(t, ccr(t, slices.Repeat([][]byte{subscription, mscc, record}, 100)...), strict, 0, nil)
	})
}

func TestA052_ForbiddenAVP(t *testing.T) {
	for _, avp := range [][]byte{group(diameter.GrantedServiceUnit), u32(diameter.ResultCodeAVP, 2001)} {
		expect(t, ccr(t, avp), strict, diameter.AVPNotAllowed, avp)
		expect(t, ccr(t, avp), lenient, 0, nil)
	}
}

func TestA053_OtherVendorIsAnotherAVP(t *testing.T) {
	foreign := text(diameter.Attribute{Code: 263, Vendor: diameter.Vendor3GPP, Flags: diameter.AVPMandatory}, "EVIL")
	expect(t, ccrWithout(t, diameter.SessionID, foreign), lenient, diameter.AVPUnsupported, foreign)
	expect(t, ccrWithout(t, diameter.SessionID, flags(foreign, diameter.AVPVendor)), lenient, diameter.MissingAVP, text(diameter.SessionID, ""))
	bare := group(diameter.Attribute{Code: diameter.ServiceInformation.Code, Flags: diameter.AVPMandatory})
	expect(t, ccr(t, bare), lenient, diameter.AVPUnsupported, bare)
	m := request(t, ccrHeader, slices.Concat([][]byte{flags(foreign, diameter.AVPVendor)}, required)...)
	if id, _ := m.Find(diameter.SessionID); id.Text() != "vpnas1.vpn.example;3973000001;17" {
		t.Errorf("Session-Id %q was smuggled in under another vendor", id.Text())
	}
}

func TestA054_FirstErrorOnly(t *testing.T) {
	short := diameter.AppendBytes(nil, diameter.EventTimestamp, []byte{1, 2, 3})
	avp := unknown(diameter.AVPMandatory)
	expect(t, ccr(t, short, avp), lenient, diameter.InvalidAVPLength, u32(diameter.EventTimestamp, 0))
	expect(t, ccr(t, avp, short), lenient, diameter.AVPUnsupported, avp)
	expect(t, ccrWithout(t, diameter.SessionID, avp), lenient, diameter.AVPUnsupported, avp)
}

// Kamailio: no Auth-Application-Id but a Vendor-Specific-Application-Id,
// accounting record AVPs, Subscription-Id at two levels.
func TestD001_D002_D008_KamailioRequest(t *testing.T) {
	vsai := group(diameter.VendorSpecificApplicationID, u32(diameter.VendorID, 10415), u32(diameter.AuthApplicationID, 4))
	subscription := group(diameter.SubscriptionID, u32(diameter.SubscriptionIDType, 0), text(diameter.SubscriptionIDData, "1"))
	record := diameter.Attribute{Code: 480, Flags: diameter.AVPMandatory}
	m := ccrWithout(t, diameter.AuthApplicationID, vsai, u32(record, 2), subscription,
		group(diameter.ServiceInformation, subscription))
	expect(t, m, lenient, 0, nil)
	expect(t, m, strict, diameter.MissingAVP, u32(diameter.AuthApplicationID, 0))
	other := group(diameter.VendorSpecificApplicationID, u32(diameter.VendorID, 10415), u32(diameter.AuthApplicationID, 5))
	expect(t, ccrWithout(t, diameter.AuthApplicationID, other), lenient, diameter.MissingAVP, u32(diameter.AuthApplicationID, 0))
}

// D-066: gateways put AVPs of newer releases into the service content.
func TestD066_UnknownAVPsInServiceContent(t *testing.T) {
	newer := u32(diameter.Attribute{Code: 4999, Vendor: diameter.Vendor3GPP, Flags: diameter.AVPMandatory}, 1)
	inside := map[string][]byte{
		"Service-Information": group(diameter.ServiceInformation, newer),
		"PS-Information":      group(diameter.ServiceInformation, group(diameter.PSInformation, newer)),
		"IMS-Information":     group(diameter.ServiceInformation, group(diameter.IMSInformation, u32(diameter.NodeFunctionality, 0), newer)),
		"MSCC":                group(diameter.MultipleServicesCreditControl, newer),
	}
	for name, avp := range inside {
		t.Run(name, func(t *testing.T) {
			expect(t, ccr(t, avp), lenient, 0, nil)
			expect(t, ccr(t, avp), strict, diameter.AVPUnsupported, newer)
		})
	}
	expect(t, ccr(t, newer), lenient, diameter.AVPUnsupported, newer)
	foreign := unknown(diameter.AVPMandatory)
	expect(t, ccr(t, group(diameter.ServiceInformation, foreign)), lenient, diameter.AVPUnsupported, foreign)
}

// Section E.8: some gateways send 3GPP-Charging-Id as text.
func TestChargingIDAsText(t *testing.T) {
	id := diameter.Attribute{Code: 2, Vendor: diameter.Vendor3GPP}
	m := ccr(t, group(diameter.ServiceInformation, group(diameter.PSInformation, text(id, "2a000001"))))
	expect(t, m, lenient, 0, nil)
	expect(t, m, strict, diameter.InvalidAVPLength, u32(id, 0))
	expect(t, ccr(t, group(diameter.ServiceInformation, group(diameter.PSInformation, u32(id, 7)))), strict, 0, nil)
}

func TestSessionIDLimits(t *testing.T) {
	for length, code := range map[int]diameter.ResultCode{
		0: diameter.InvalidAVPValue, 200: 0, diameter.SessionIDMax: 0, diameter.SessionIDMax + 1: diameter.InvalidAVPValue,
	} {
		id := text(diameter.SessionID, strings.Repeat("x", length))
		expect(t, request(t, ccrHeader, slices.Concat([][]byte{id}, required[1:])...), lenient, code, nil)
	}
}

func TestAddress(t *testing.T) {
	pdp := diameter.Attribute{Code: 1227, Vendor: diameter.Vendor3GPP, Flags: diameter.AVPMandatory}
	for name, c := range map[string]struct {
		data []byte
		code diameter.ResultCode
	}{
		"IPv4":             {[]byte{0, 1, 10, 0, 0, 1}, 0},
		"IPv6":             {append([]byte{0, 2}, make([]byte, 16)...), 0},
		"v4-mapped":        {slices.Concat([]byte{0, 2}, make([]byte, 10), []byte{0xff, 0xff, 10, 0, 0, 1}), 0},
		"E.164":            {[]byte{0, 8, '8', '6'}, 0},
		"one octet":        {[]byte{0}, diameter.InvalidAVPLength},
		"short IPv4":       {[]byte{0, 1, 10, 0, 0}, diameter.InvalidAVPLength},
		"IPv6 with 4":      {[]byte{0, 2, 10, 0, 0, 1}, diameter.InvalidAVPLength},
		"reserved family":  {[]byte{0, 0, 10, 0, 0, 1}, diameter.InvalidAVPValue},
		"reserved highest": {[]byte{0xff, 0xff, 10, 0, 0, 1}, diameter.InvalidAVPValue},
	} {
		t.Run(name, func(t *testing.T) {
			avp := diameter.AppendBytes(nil, pdp, c.data)
			var failed []byte
			if c.code == diameter.InvalidAVPLength {
				failed = diameter.AppendBytes(nil, pdp, []byte{0, 1, 0, 0, 0, 0})
			}
			expect(t, ccr(t, group(diameter.ServiceInformation, group(diameter.PSInformation, avp))), lenient, c.code, failed)
		})
	}
}

// An answer that failed need not meet its command's grammar; one that
// succeeded must.
func TestAnswers(t *testing.T) {
	h := ccrHeader
	h.Flags = 0
	minimal := [][]byte{text(diameter.OriginHost, "ocs1.vpn.example"), text(diameter.OriginRealm, "vpn.example")}
	with := func(avps ...[]byte) diameter.Message { return request(t, h, slices.Concat(minimal, avps)...) }
	expect(t, with(u32(diameter.ResultCodeAVP, 4012)), strict, 0, nil)
	expect(t, with(u32(diameter.ResultCodeAVP, 2001)), lenient, diameter.MissingAVP, text(diameter.SessionID, ""))
	expect(t, with(), lenient, diameter.MissingAVP, slices.Concat(u32(diameter.ResultCodeAVP, 0), group(diameter.ExperimentalResult)))
	experimental := group(diameter.ExperimentalResult, u32(diameter.VendorID, 10415), u32(diameter.ExperimentalResultCode, 5030))
	expect(t, with(experimental), strict, 0, nil)
	t.Run("D-011 RAA with Destination-Realm and D-024 Auth-Application-Id", func(t *testing.T) {
		h := h
		h.Command = diameter.CmdReAuth
		expect(t, request(t, h, required[0], minimal[0], minimal[1], u32(diameter.ResultCodeAVP, 2002),
			text(diameter.DestinationRealm, "vpn.example"), u32(diameter.AuthApplicationID, 4)), lenient, 0, nil)
	})
	t.Run("Failed-AVP is not read", func(t *testing.T) {
		broken := diameter.AppendBytes(nil, diameter.FailedAVP, []byte{0, 0, 1, 0x9f, 0x40, 0, 0, 2})
		expect(t, with(u32(diameter.ResultCodeAVP, 5014), broken), strict, 0, nil)
	})
}

func TestLimits(t *testing.T) {
	avp := unknown(0)
	fits := slices.Repeat([][]byte{avp}, diameter.AVPCountMax-len(required))
	expect(t, ccr(t, fits...), lenient, 0, nil)
	expect(t, ccr(t, append(fits, avp)...), lenient, diameter.UnableToComply, nil)

	nested := func(depth int) []byte {
		inner := group(diameter.MultipleServicesCreditControl)
		for range depth - 1 {
			inner = group(diameter.MultipleServicesCreditControl, inner)
		}
		return inner
	}
	expect(t, ccr(t, nested(diameter.GroupDepthMax)), lenient, 0, nil)
	expect(t, ccr(t, nested(diameter.GroupDepthMax+1)), lenient, diameter.UnableToComply, nil)
	expect(t, ccr(t, nested(5000)), lenient, diameter.UnableToComply, nil)
}

// A subscriber's number must not come back in a text (B-063).
func TestB063_TextHidesData(t *testing.T) {
	const secret = "8613800000001"
	for _, bad := range [][]byte{
		text(diameter.SubscriptionIDData, secret+"\xff"),
		text(diameter.OriginHost, secret+" "),
		diameter.AppendString(nil, diameter.CCRequestNumber, secret),
	} {
		m := ccr(t, group(diameter.MultipleServicesCreditControl, bad))
		fault := dictionary().Validate(m, lenient)
		if fault == nil || strings.Contains(fmt.Sprint(fault), secret) {
			t.Errorf("fault %v for %x", fault, bad)
		}
	}
}
