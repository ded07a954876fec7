package diameter_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"gygate/diameter"
)

var (
	strict  = diameter.Mode{}
	lenient = diameter.Lenient
)

func TestA026_ReservedHeaderBitsIgnored(t *testing.T) {
	proves(t, "A-026")
	h := ccrHeader
	h.Flags |= 0x0f
	m := request(t, h, required...)
	expect(t, m, strict, 0, nil)
	if answer := parse(t, diameter.FinishAnswer(diameter.StartAnswer(nil, m, diameter.Success, origin), 0, m)); answer.Flags != diameter.FlagProxiable {
		t.Errorf("answer has flags %02x", answer.Flags)
	}
}

func TestA025_ErrorBitInRequest(t *testing.T) {
	proves(t, "A-025")
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
	proves(t, "A-033")
	odd := diameter.AppendString(nil, diameter.SubscriptionIDData, "12345")
	if len(odd) != 16 || odd[7] != 13 || !bytes.Equal(odd[13:], make([]byte, 3)) {
		t.Errorf("encoded as %x, want length 13 and three zero octets", odd)
	}
	odd[14] = 0xaa
	subscription := group(diameter.SubscriptionID, u32(diameter.SubscriptionIDType, 0), odd)
	m := ccr(t, subscription) // the last AVP of its group and of the message is padded too
	if got := diameter.Finish(bytes.Clone(m.Raw), 0); len(got)%4 != 0 || !bytes.HasSuffix(got, odd) {
		t.Errorf("message of %d octets ends in %x", len(got), got[len(got)-16:])
	}
	expect(t, m, strict, 0, nil)
	t.Run("missing in a group", func(t *testing.T) {
		unpadded := diameter.AppendBytes(nil, diameter.SubscriptionID, odd[:13])
		expect(t, ccr(t, unpadded), lenient, diameter.InvalidAVPLength, nil)
	})
}

func TestA034_ProtectionBitIgnored(t *testing.T) {
	proves(t, "A-034")
	var old [][]byte
	for _, avp := range required {
		old = append(old, flags(avp, avp[4]|0x20))
	}
	m := request(t, ccrHeader, old...)
	expect(t, m, strict, 0, nil)
	fault := &diameter.Error{Code: diameter.CreditLimitReached, Text: "why"}
	for a := range parse(t, diameter.ErrorAnswer(nil, m, fault, origin)).AVPs() {
		if a.Flags&^(diameter.AVPVendor|diameter.AVPMandatory) != 0 {
			t.Errorf("AVP %d of the answer has flags %02x", a.Code, a.Flags)
		}
	}
}

func TestA037_InvalidUTF8(t *testing.T) {
	proves(t, "A-037")
	for name, bad := range map[string]string{"not UTF-8": "\xff\xfe", "zero octet": "86\x0013"} {
		t.Run(name, func(t *testing.T) {
			data := text(diameter.SubscriptionIDData, bad)
			expect(t, ccr(t, group(diameter.SubscriptionID, u32(diameter.SubscriptionIDType, 0), data)), lenient,
				diameter.InvalidAVPValue, data)
		})
	}
}

func TestA040_UnknownCommand(t *testing.T) {
	proves(t, "A-040")
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
	proves(t, "A-041")
	h := ccrHeader
	for _, application := range []uint32{16777238, diameter.AppRelay} { // D-028: a Gx CCR lands here
		h.Application = application
		expect(t, request(t, h, required...), lenient, diameter.ApplicationUnsupported, nil)
	}
}

func TestA042_OtherAuthApplicationID(t *testing.T) {
	proves(t, "A-042")
	other := u32(diameter.AuthApplicationID, 1)
	expect(t, ccrWithout(t, diameter.AuthApplicationID, other), lenient, diameter.InvalidAVPValue, other)
}

func TestA043_UnknownMandatoryAVP(t *testing.T) {
	proves(t, "A-043", "D-083")
	avp := unknown(diameter.AVPMandatory)
	expect(t, ccr(t, avp), lenient, diameter.AVPUnsupported, avp)
	expect(t, ccr(t, avp), strict, diameter.AVPUnsupported, avp)
}

func TestA044_UnknownOptionalAVP(t *testing.T) {
	proves(t, "A-044")
	expect(t, ccr(t, unknown(0)), strict, 0, nil)
}

func TestA045_UnknownMandatoryAVPInKnownGroup(t *testing.T) {
	proves(t, "A-045", "D-083")
	avp := unknown(diameter.AVPMandatory)
	m := ccr(t, group(diameter.MultipleServicesCreditControl, u32(diameter.RatingGroup, 100), group(diameter.RequestedServiceUnit), avp))
	expect(t, m, lenient, diameter.AVPUnsupported, avp)
	if fault := dictionary().Validate(m, lenient); !strings.HasPrefix(fault.Text, "Multiple-Services-Credit-Control: AVP 60001") {
		t.Errorf("the text %q does not name the path", fault.Text)
	}
}

func TestA046_UnknownGroupHidesItsMembers(t *testing.T) {
	proves(t, "A-046")
	hidden := diameter.AppendBytes(nil, diameter.Attribute{Code: 60002}, unknown(diameter.AVPMandatory))
	expect(t, ccr(t, hidden), strict, 0, nil)
}

func TestA047_MissingAVP(t *testing.T) {
	proves(t, "A-047")
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
	proves(t, "A-009")
	vendor, auth, acct := u32(diameter.VendorID, 10415), u32(diameter.AuthApplicationID, 4), u32(diameter.AcctApplicationID, 4)
	none := ccr(t, group(diameter.VendorSpecificApplicationID, vendor))
	expect(t, none, strict, diameter.MissingAVP,
		slices.Concat(u32(diameter.AuthApplicationID, 0), u32(diameter.AcctApplicationID, 0)))
	both := ccr(t, group(diameter.VendorSpecificApplicationID, vendor, auth, acct))
	expect(t, both, strict, diameter.AVPOccursTooManyTimes, slices.Concat(auth, acct))
	expect(t, both, lenient, 0, nil)
}

func TestA048_UndefinedEnumeratedValue(t *testing.T) {
	proves(t, "A-048")
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
	proves(t, "A-051")
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

// D-093: go-diameter's own rules allow one of each of these, and want no
// Auth-Application-Id in a CCA.
func TestD093_OccurrencesAreOurs(t *testing.T) {
	proves(t, "D-093")
	services := group(diameter.MultipleServicesCreditControl, u32(diameter.ServiceIdentifier, 1), u32(diameter.ServiceIdentifier, 2),
		group(diameter.UsedServiceUnit), group(diameter.UsedServiceUnit))
	private := group(diameter.SubscriptionID, u32(diameter.SubscriptionIDType, 4), text(diameter.SubscriptionIDData, "x"))
	expect(t, ccr(t, services, services, private, private, proxy1, proxy2), strict, 0, nil)

	h := ccrHeader
	h.Flags = 0
	answer := [][]byte{required[0], required[1], required[2], u32(diameter.ResultCodeAVP, 2001),
		u32(diameter.CCRequestType, 1), u32(diameter.CCRequestNumber, 0), group(diameter.FailedAVP), group(diameter.FailedAVP)}
	expect(t, request(t, h, answer...), strict, diameter.MissingAVP, u32(diameter.AuthApplicationID, 0))
	expect(t, request(t, h, append(answer, u32(diameter.AuthApplicationID, 4))...), strict, 0, nil)
}

func TestA052_ForbiddenAVP(t *testing.T) {
	proves(t, "A-052")
	for _, avp := range [][]byte{group(diameter.GrantedServiceUnit), u32(diameter.ResultCodeAVP, 2001)} {
		expect(t, ccr(t, avp), strict, diameter.AVPNotAllowed, avp)
		expect(t, ccr(t, avp), lenient, 0, nil)
	}
}

func TestA053_OtherVendorIsAnotherAVP(t *testing.T) {
	proves(t, "A-053")
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
	proves(t, "A-054")
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
