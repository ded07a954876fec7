package diameter_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"gygate/diameter"
)

var (
	proxy1 = group(diameter.ProxyInfo, text(diameter.ProxyHost, "dra1.vpn.example"),
		diameter.AppendBytes(nil, diameter.ProxyState, []byte{0, 0xff, 0x10}), unknown(diameter.AVPMandatory))
	proxy2 = group(diameter.ProxyInfo, text(diameter.ProxyHost, "dra2.vpn.example"),
		diameter.AppendBytes(nil, diameter.ProxyState, []byte{7}))
)

// success is an empty success answer.
func success(t testing.TB, m diameter.Message) diameter.Message {
	t.Helper()
	b := diameter.StartAnswer(nil, m, diameter.Success, origin)
	return parse(t, diameter.FinishAnswer(b, 0, m))
}

func refusal(t testing.TB, m diameter.Message, code diameter.ResultCode) diameter.Message {
	t.Helper()
	return parse(t, diameter.ErrorAnswer(nil, m, &diameter.Error{Code: code, Text: "why"}, origin))
}

func TestA021_A022_A023_HeaderOfAnswer(t *testing.T) {
	proves(t, "A-021", "A-022", "A-023", "D-081")
	for _, flags := range []diameter.Flags{0x80, 0xc0, 0x90, 0xd0, 0xdf} {
		h := ccrHeader
		h.Flags = flags
		m := request(t, h, required...)
		for _, answer := range []diameter.Message{success(t, m), refusal(t, m, diameter.UserUnknown)} {
			want := h
			want.Flags = flags & diameter.FlagProxiable
			if answer.Header != want {
				t.Errorf("answer to flags %02x has header %+v, want %+v", flags, answer.Header, want)
			}
		}
	}
}

func TestA024_ErrorBit(t *testing.T) {
	proves(t, "A-024", "D-081")
	m := ccr(t)
	for code, want := range map[diameter.ResultCode]bool{
		2001: false, 2002: false, 3001: true, 3002: true, 3003: true, 3004: true, 3005: true, 3007: true, 3008: true, 3009: true, 3010: true,
		4010: false, 4011: false, 4012: false, 5001: false, 5005: false, 5030: false,
	} {
		if got := refusal(t, m, code).Flags&diameter.FlagError != 0; got != want {
			t.Errorf("%d: E bit %v", code, got)
		}
	}
	t.Run("no Session-Id to return", func(t *testing.T) { // trace 11b
		answer := refusal(t, ccrWithout(t, diameter.SessionID), diameter.MissingAVP)
		if answer.Flags != diameter.FlagProxiable|diameter.FlagError {
			t.Errorf("flags %02x", answer.Flags)
		}
		if _, ok := answer.Find(diameter.SessionID); ok {
			t.Error("a Session-Id was made up")
		}
	})
	t.Run("5005 to a DWR", func(t *testing.T) {
		h := diameter.Header{Flags: diameter.FlagRequest, Command: diameter.CmdDeviceWatchdog}
		if answer := refusal(t, request(t, h), diameter.MissingAVP); answer.Flags != 0 {
			t.Errorf("flags %02x", answer.Flags)
		}
	})
}

func TestA055_RefusalRepeatsRequestKey(t *testing.T) {
	proves(t, "A-055")
	answer := refusal(t, ccr(t), diameter.AVPUnsupported)
	for _, want := range [][]byte{u32(diameter.AuthApplicationID, 4), u32(diameter.CCRequestType, 1), u32(diameter.CCRequestNumber, 0)} {
		if !bytes.Contains(answer.Raw, want) {
			t.Errorf("%x is not in the answer", want)
		}
	}
	t.Run("unreadable", func(t *testing.T) {
		m := ccrWithout(t, diameter.CCRequestNumber, diameter.AppendBytes(nil, diameter.CCRequestNumber, []byte{1, 2, 3}))
		if _, ok := refusal(t, m, diameter.InvalidAVPLength).Find(diameter.CCRequestNumber); ok {
			t.Error("an unreadable number was repeated")
		}
	})
}

func TestA056_TextOfRefusal(t *testing.T) {
	answer := refusal(t, ccr(t), diameter.AVPUnsupported)
	message, ok := answer.Find(diameter.ErrorMessage)
	if !ok || message.Text() != "why" || message.Flags != 0 {
		t.Errorf("Error-Message %q with flags %02x", message.Text(), message.Flags)
	}
	if _, ok := answer.Find(diameter.ErrorReportingHost); ok {
		t.Error("Error-Reporting-Host in our own answer")
	}
}

func TestA066_ProxyInfo(t *testing.T) {
	proves(t, "A-066", "D-082")
	m := ccr(t, proxy1, text(diameter.RouteRecord, "dra1.vpn.example"), proxy2)
	expect(t, m, strict, 0, nil)
	for name, answer := range map[string]diameter.Message{
		"2001": success(t, m), "3001": refusal(t, m, 3001), "5005": refusal(t, m, 5005), "5030": refusal(t, m, 5030),
	} {
		if !bytes.HasSuffix(answer.Raw, slices.Concat(proxy1, proxy2)) {
			t.Errorf("%s: answer %x does not end in both Proxy-Info", name, answer.Raw)
		}
	}
}

func TestA067_SessionIDFirst(t *testing.T) {
	proves(t, "A-067", "D-082")
	id := text(diameter.SessionID, "vpnas1.vpn.example;1;2;"+strings.Repeat("x", 200))
	m := request(t, ccrHeader, slices.Concat(required[1:], [][]byte{id})...) // last in the request
	for _, answer := range []diameter.Message{success(t, m), refusal(t, m, 3004), refusal(t, m, 4012)} {
		if !bytes.HasPrefix(answer.Body(), id) {
			t.Errorf("answer %x does not begin with the Session-Id", answer.Body())
		}
	}
}

func TestA068_A069_OriginOnceDestinationNever(t *testing.T) {
	proves(t, "A-068", "A-069", "D-082")
	m := ccr(t, text(diameter.DestinationHost, "ocs1.vpn.example"))
	for _, answer := range []diameter.Message{success(t, m), refusal(t, m, 3004), refusal(t, m, 5030)} {
		count := make(map[uint32]int)
		for a := range answer.AVPs() {
			count[a.Code]++
		}
		if count[diameter.OriginHost.Code] != 1 || count[diameter.OriginRealm.Code] != 1 ||
			count[diameter.DestinationHost.Code] != 0 || count[diameter.DestinationRealm.Code] != 0 {
			t.Errorf("answer has %v", count)
		}
		if host, _ := answer.Find(diameter.OriginHost); host.Text() != origin.Host {
			t.Errorf("Origin-Host %s", host.Text())
		}
	}
}

func TestErrorAnswerAppends(t *testing.T) {
	m := ccr(t, proxy1)
	local := origin
	local.StateID = 3973000000
	fault := &diameter.Error{Code: diameter.MissingAVP, Failed: u32(diameter.RequestedAction, 0), Text: "missing"}
	alone := diameter.ErrorAnswer(nil, m, fault, local)
	if state, ok := parse(t, alone).Find(diameter.OriginStateID); !ok || state.Uint32() != local.StateID {
		t.Error("no Origin-State-Id")
	}
	if both := diameter.ErrorAnswer(slices.Clone(alone), m, fault, local); !bytes.Equal(both, slices.Concat(alone, alone)) {
		t.Errorf("appended %x", both)
	}
	if none := diameter.ErrorAnswer(alone, m, &diameter.Error{}, local); len(none) != len(alone) {
		t.Error("answered where no answer is possible")
	}
}

func TestHugeAVPIsNotRepeated(t *testing.T) {
	huge := diameter.AppendBytes(nil, diameter.Attribute{Code: 60001, Flags: diameter.AVPMandatory}, make([]byte, 900<<10))
	m := ccr(t, huge)
	fault := dictionary().Validate(m, lenient)
	if fault == nil || fault.Code != diameter.AVPUnsupported {
		t.Fatal(fault)
	}
	if answer := diameter.ErrorAnswer(nil, m, fault, origin); len(answer) > 1000 {
		t.Errorf("answer of %d octets", len(answer))
	}
}
