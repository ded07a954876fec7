package suite

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gygate/diameter"
)

// avp is one encoded AVP, padded.
type avp = []byte

func u32(a diameter.Attribute, v uint32) avp         { return diameter.AppendUint32(nil, a, v) }
func u64(a diameter.Attribute, v uint64) avp         { return diameter.AppendUint64(nil, a, v) }
func text(a diameter.Attribute, v string) avp        { return diameter.AppendString(nil, a, v) }
func octets(a diameter.Attribute, v []byte) avp      { return diameter.AppendBytes(nil, a, v) }
func instant(a diameter.Attribute, v time.Time) avp  { return diameter.AppendTime(nil, a, v) }
func group(a diameter.Attribute, members ...avp) avp { return octets(a, bytes.Join(members, nil)) }
func attribute(code, vendor uint32) diameter.Attribute {
	return flagged(code, vendor, diameter.AVPMandatory)
}
func result(code diameter.ResultCode) avp { return u32(diameter.ResultCodeAVP, uint32(code)) }
func rg(n uint32) avp                     { return u32(diameter.RatingGroup, n) }
func si(n uint32) avp                     { return u32(diameter.ServiceIdentifier, n) }
func validity(seconds uint32) avp         { return u32(diameter.ValidityTime, seconds) }
func reason(n uint32) avp                 { return u32(diameter.ReportingReason, n) }
func seconds(n uint32) avp                { return u32(diameter.CCTime, n) }
func total(n uint64) avp                  { return u64(diameter.CCTotalOctets, n) }
func units(n uint64) avp                  { return u64(diameter.CCServiceSpecificUnits, n) }
func mscc(members ...avp) avp             { return group(diameter.MultipleServicesCreditControl, members...) }
func rsu(members ...avp) avp              { return group(diameter.RequestedServiceUnit, members...) }
func usu(members ...avp) avp              { return group(diameter.UsedServiceUnit, members...) }
func gsu(members ...avp) avp              { return group(diameter.GrantedServiceUnit, members...) }
func failed(members ...avp) avp           { return group(diameter.FailedAVP, members...) }
func proxy(host string, state []byte) avp {
	return group(diameter.ProxyInfo, text(diameter.ProxyHost, host), octets(diameter.ProxyState, state))
}

func flagged(code, vendor uint32, flags uint8) diameter.Attribute {
	if vendor != 0 {
		flags |= diameter.AVPVendor
	}
	return diameter.Attribute{Code: code, Vendor: vendor, Flags: flags}
}

// Subscription-Id-Types (RFC 8506 §8.47).
const (
	typeE164    = 0
	typeIMSI    = 1
	typePrivate = 4
)

func subscription(kind uint32, data string) avp {
	return group(diameter.SubscriptionID, u32(diameter.SubscriptionIDType, kind), text(diameter.SubscriptionIDData, data))
}

func amount(digits int64, exponent int32) avp {
	return group(diameter.UnitValue, u64(diameter.ValueDigits, uint64(digits)), u32(diameter.Exponent, uint32(exponent)))
}

func money(digits int64, exponent int32, currency uint32) avp {
	return group(diameter.CCMoney, amount(digits, exponent), u32(diameter.CurrencyCode, currency))
}

// cents is Cost-Information of that many cents of the account's currency.
func cents(n int64) avp {
	return group(diameter.CostInformation, amount(n, -2), u32(diameter.CurrencyCode, uint32(currency)))
}

// The final units end the service: nothing else stands inside (RFC 8506 §8.34).
var terminate = group(diameter.FinalUnitIndication, u32(diameter.FinalUnitAction, 0))

// groups are the grouped AVPs whose members may come in any order.
var groups = []diameter.Attribute{
	diameter.MultipleServicesCreditControl, diameter.GrantedServiceUnit, diameter.CostInformation,
	diameter.UnitValue, diameter.FinalUnitIndication, diameter.CCMoney,
}

// canonical is the AVP without padding, with the members of groups in a fixed
// order, so that equal content is equal octets.
func canonical(a diameter.AVP) []byte {
	if !slices.ContainsFunc(groups, a.Is) {
		return slices.Clone(a.Raw)
	}
	head := slices.Clone(a.Raw[:len(a.Raw)-len(a.Data)])
	return append(head, bytes.Join(canonicals(a.Data), nil)...)
}

// canonicals are the AVPs in b, in a fixed order.
func canonicals(b []byte) (all [][]byte) {
	for a := range diameter.Walk(b) {
		all = append(all, canonical(a))
	}
	slices.SortFunc(all, bytes.Compare)
	return all
}

// one reads back an AVP this file encoded.
func one(encoded avp) diameter.AVP {
	for a := range diameter.Walk(encoded) {
		return a
	}
	panic("no AVP")
}

// all returns the message's top-level AVPs of that attribute.
func all(m diameter.Message, a diameter.Attribute) (list []diameter.AVP) {
	for found := range m.AVPs() {
		if found.Is(a) {
			list = append(list, found)
		}
	}
	return list
}

// expectCode compares the Result-Code, and the E bit with it.
func expectCode(t testing.TB, m diameter.Message, want diameter.ResultCode) {
	t.Helper()
	if code := m.ResultCode(); code != want {
		why, _ := m.Find(diameter.ErrorMessage)
		t.Fatalf("Result-Code %d %q, want %d", code, why.Text(), want)
	}
	if isError := m.Flags&diameter.FlagError != 0; isError != want.Protocol() {
		t.Errorf("Result-Code %d with E bit %t", want, isError)
	}
}

// expect asks for AVPs with that very content at the top of the message, as many
// of each attribute as named.
func expect(t testing.TB, m diameter.Message, want ...avp) {
	t.Helper()
	byAttribute := map[diameter.Attribute][][]byte{}
	for _, w := range want {
		a := one(w)
		key := diameter.Attribute{Code: a.Code, Vendor: a.Vendor}
		byAttribute[key] = append(byAttribute[key], canonical(a))
	}
	for a, wanted := range byAttribute {
		var got [][]byte
		for _, found := range all(m, a) {
			got = append(got, canonical(found))
		}
		slices.SortFunc(got, bytes.Compare)
		slices.SortFunc(wanted, bytes.Compare)
		if !slices.EqualFunc(got, wanted, bytes.Equal) {
			t.Errorf("got  %s\nwant %s", show(got), show(wanted))
		}
	}
}

// expectNone asks that the message has no such AVP at its top.
func expectNone(t testing.TB, m diameter.Message, attributes ...diameter.Attribute) {
	t.Helper()
	for _, a := range attributes {
		if _, ok := m.Find(a); ok {
			t.Errorf("the message has AVP %d", a.Code)
		}
	}
}

// ignored says whether a comparison passes over an AVP: its value is the node's
// own affair, or is free text.
func ignored(a diameter.AVP) bool { return a.Is(diameter.OriginStateID) || a.Is(diameter.ErrorMessage) }

// expectSame compares an answer with a golden one: the same header, Session-Id
// first, Proxy-Info in order, and the same AVPs otherwise.
func expectSame(t testing.TB, got, want diameter.Message) {
	t.Helper()
	if got.Header != want.Header {
		t.Errorf("header %+v, want %+v", got.Header, want.Header)
	}
	expectSameCharging(t, got, want)
	for a := range want.AVPs() {
		if first := one(got.Body()); a.Is(diameter.SessionID) && !first.Is(diameter.SessionID) {
			t.Errorf("the answer begins with AVP %d", first.Code)
		}
		break
	}
}

// expectSameCharging compares two answers without their headers, Origin-Host and
// what is ignored.
func expectSameCharging(t testing.TB, got, want diameter.Message) {
	t.Helper()
	strip := func(m diameter.Message) (all [][]byte) {
		for a := range m.AVPs() {
			if !ignored(a) && !a.Is(diameter.OriginHost) && !a.Is(diameter.ProxyInfo) {
				all = append(all, canonical(a))
			}
		}
		slices.SortFunc(all, bytes.Compare)
		return all
	}
	if g, w := strip(got), strip(want); !slices.EqualFunc(g, w, bytes.Equal) {
		t.Errorf("the answer has %s\nwant           %s", show(g), show(w))
	}
	proxies := func(m diameter.Message) (raw []byte) {
		for _, a := range all(m, diameter.ProxyInfo) {
			raw = append(raw, a.Raw...)
		}
		return raw
	}
	if !bytes.Equal(proxies(got), proxies(want)) {
		t.Errorf("Proxy-Info %x, want %x", proxies(got), proxies(want))
	}
}

// withLength gives an encoded AVP another length, right or wrong.
func withLength(a avp, length uint32) avp {
	wrong := slices.Clone(a)
	binary.BigEndian.PutUint32(wrong[4:], uint32(wrong[4])<<24|length)
	return wrong
}

// show writes AVPs with their names.
func show(avps [][]byte) string {
	var b strings.Builder
	for _, raw := range avps {
		a := one(raw)
		b.WriteString(" " + dictionary().Name(a.Code, a.Vendor))
		if slices.ContainsFunc(groups, a.Is) {
			b.WriteString("{" + show(canonicals(a.Data)) + " }")
		} else {
			fmt.Fprintf(&b, "=%x", a.Data)
		}
	}
	return b.String()
}
