package gy

import (
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"gygate/diameter"
)

// golden reads a message of conformance-wire, made by an independent encoder.
func golden(t testing.TB, name string) diameter.Message {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name + ".hex")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(string(text), "\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, raw)
}

func parse(t testing.TB, raw []byte) diameter.Message {
	t.Helper()
	m, err := diameter.ParseMessage(raw)
	if err != nil {
		t.Fatalf("message of %d octets: %v", len(raw), err)
	}
	return m
}

// dictionary is compiled once for all tests.
var dictionary = sync.OnceValue(func() *diameter.Dictionary {
	d, err := diameter.NewDictionary()
	if err != nil {
		panic(err)
	}
	return d
})

// valid fails the test for a message that a strict peer would refuse.
func valid(t testing.TB, m diameter.Message) {
	t.Helper()
	if fault := dictionary().Validate(m, diameter.Mode{}); fault != nil {
		t.Errorf("command %d flags %02x is not valid: %v", m.Command, m.Flags, fault)
	}
}

// The expected answers are written AVP by AVP with these.

func u32(a diameter.Attribute, v uint32) []byte { return diameter.AppendUint32(nil, a, v) }

func u64(a diameter.Attribute, v uint64) []byte { return diameter.AppendUint64(nil, a, v) }

func str(a diameter.Attribute, s string) []byte { return diameter.AppendString(nil, a, s) }

func group(a diameter.Attribute, members ...[]byte) []byte {
	return diameter.AppendGroup(nil, a, func(b []byte) []byte { return append(b, slices.Concat(members...)...) })
}

func mscc(members ...[]byte) []byte {
	return group(diameter.MultipleServicesCreditControl, members...)
}

func gsu(members ...[]byte) []byte { return group(diameter.GrantedServiceUnit, members...) }

func result(code diameter.ResultCode) []byte { return u32(diameter.ResultCodeAVP, uint32(code)) }

func cost(digits int64, exponent int32, currency uint32) []byte {
	return group(diameter.CostInformation, unitValue(digits, exponent), u32(diameter.CurrencyCode, currency))
}

func unitValue(digits int64, exponent int32) []byte {
	return group(diameter.UnitValue, u64(diameter.ValueDigits, uint64(digits)), u32(diameter.Exponent, uint32(exponent)))
}

// grouped are the AVPs that the comparison looks into.
var grouped = []diameter.Attribute{
	diameter.MultipleServicesCreditControl, diameter.GrantedServiceUnit, diameter.RequestedServiceUnit,
	diameter.UsedServiceUnit, diameter.FinalUnitIndication, diameter.CostInformation, diameter.UnitValue,
	diameter.CCMoney, diameter.FailedAVP, diameter.SubscriptionID, diameter.ServiceInformation, diameter.IMSInformation,
	diameter.ServiceSpecificInfo, diameter.EventType, diameter.TimeStamps, diameter.RemainingBalance,
}

// canonical writes AVPs as sorted lines: the multiset that conformance-wire §0
// compares. Origin-State-Id and Error-Message are left out, as it says.
func canonical(body []byte, depth int) string {
	var lines []string
	for a := range diameter.Walk(body) {
		if a.Is(diameter.OriginStateID) || a.Is(diameter.ErrorMessage) {
			continue
		}
		line := fmt.Sprintf("%s%d/%d flags %02x", strings.Repeat("  ", depth), a.Code, a.Vendor, a.Flags)
		if slices.ContainsFunc(grouped, a.Is) {
			line += "\n" + canonical(a.Data, depth+1)
		} else {
			line += fmt.Sprintf(" %q\n", a.Data)
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// compare checks an answer against the AVPs it must have besides the envelope
// of every answer to that request.
func compare(t testing.TB, req diameter.Message, frame []byte, flags diameter.Flags, want ...[]byte) {
	t.Helper()
	got := parse(t, frame)
	if got.Command == diameter.CmdCreditControl {
		valid(t, got)
	}
	if got.Flags != flags {
		t.Errorf("flags %02x, want %02x", got.Flags, flags)
	}
	if got.HopByHop != req.HopByHop || got.EndToEnd != req.EndToEnd || got.Command != req.Command || got.Application != req.Application {
		t.Errorf("header %+v does not mirror %+v", got.Header, req.Header)
	}
	var envelope []byte
	session, hasSession := req.Find(diameter.SessionID)
	if hasSession {
		envelope = diameter.AppendRaw(envelope, session.Raw)
	}
	envelope = append(envelope, str(diameter.OriginHost, testLocal.Host)...)
	envelope = append(envelope, str(diameter.OriginRealm, testLocal.Realm)...)
	wanted := append(envelope, slices.Concat(want...)...)
	if g, w := canonical(got.Body(), 0), canonical(wanted, 0); g != w {
		t.Errorf("answer:\n%s\nwant:\n%s", g, w)
	}
	for a := range got.AVPs() {
		if hasSession && !a.Is(diameter.SessionID) {
			t.Errorf("first AVP is %d, want Session-Id", a.Code)
		}
		break
	}
}

// credit is the part of the envelope that a CCA has and an answer-message not.
func credit(kind, number uint32) []byte {
	return slices.Concat(u32(diameter.AuthApplicationID, 4), u32(diameter.CCRequestType, kind), u32(diameter.CCRequestNumber, number))
}
