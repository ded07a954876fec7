package suite

import (
	"slices"
	"testing"

	"gygate/diameter"
)

// opening is a CCR-I of a fresh session without the AVPs left out.
func (s *session) opening(without ...diameter.Attribute) []avp {
	avps := append(s.envelope(initial, 0), payer, u32(diameter.MultipleServicesIndicator, 1), mscc(rsu(), rg(100)))
	return slices.DeleteFunc(avps, func(a avp) bool { return slices.ContainsFunc(without, one(a).Is) })
}

// ccr sends AVPs as a CCR, whatever they are.
func (c *client) ccr(avps ...avp) diameter.Message {
	c.t.Helper()
	return c.ask(diameter.FlagProxiable, diameter.CmdCreditControl, diameter.AppCreditControl, avps...)
}

// Trace 11: what is missing or wrong in a CCR, each answered on a connection that
// stays, none with an effect.
func TestTrace11(t *testing.T) {
	g := startGygate(t, 1000, change{})
	f := &faulty{g: g, client: connect(t, g.address, as)}
	t.Run("G4", f.golden)
	t.Run("missing", f.missing)
	t.Run("wrong", f.wrong)
	t.Run("routing", f.routing)
	expectCode(t, f.client.watchdog(), 2001) // after all of them
}

// faulty is a client whose requests have faults.
type faulty struct {
	g      *gygate
	client *client
}

func (f *faulty) untouched(t *testing.T) {
	t.Helper()
	if f.g.count("session")+f.g.count("outcome") != 0 || f.g.account().Available != 1000*cent {
		t.Error("a faulty request left something in the books")
	}
}

func (f *faulty) golden(t *testing.T) {
	proves(t, "A-055", "A-066")
	got, want := f.client.askGolden("G4"), goldenMessage(t, "G5")
	if got.Flags == want.Flags|diameter.FlagError { // as conforming: there is no number to repeat
		got.Flags = want.Flags
	}
	expectSame(t, got, want)
	f.untouched(t)
}

func (f *faulty) missing(t *testing.T) {
	proves(t, "A-047")
	s := f.client.session("m", voice)
	for a, example := range map[diameter.Attribute]avp{
		diameter.SessionID: text(diameter.SessionID, ""), diameter.OriginHost: text(diameter.OriginHost, ""),
		diameter.OriginRealm: text(diameter.OriginRealm, ""), diameter.DestinationRealm: text(diameter.DestinationRealm, ""),
		diameter.AuthApplicationID: u32(diameter.AuthApplicationID, 0), diameter.ServiceContextID: text(diameter.ServiceContextID, ""),
		diameter.CCRequestType: u32(diameter.CCRequestType, 0), diameter.CCRequestNumber: u32(diameter.CCRequestNumber, 0),
	} {
		m := f.client.ccr(s.opening(a)...)
		if m.ResultCode() != diameter.MissingAVP {
			t.Errorf("without AVP %d: %d", a.Code, m.ResultCode())
		}
		expect(t, m, failed(example))
		if a == diameter.SessionID {
			expectNone(t, m, diameter.SessionID)
		}
	}
	f.untouched(t)
}

func (f *faulty) wrong(t *testing.T) {
	proves(t, "A-042", "A-043", "A-048", "A-051", "A-054", "B-003", "B-005", "B-056")
	s := f.client.session("w", voice)
	unknown := octets(attribute(60001, 99999), []byte{0xde, 0xad, 0xbe, 0xef})
	short := octets(diameter.EventTimestamp, []byte{1, 2, 3})
	for name, r := range map[string]struct {
		code   diameter.ResultCode
		failed avp
		avps   []avp
	}{
		"11e unknown with M":     {5001, unknown, append(s.opening(), unknown)},
		"11h type 9":             {5004, u32(diameter.CCRequestType, 9), append(s.opening(diameter.CCRequestType), u32(diameter.CCRequestType, 9))},
		"type 0":                 {5004, u32(diameter.CCRequestType, 0), append(s.opening(diameter.CCRequestType), u32(diameter.CCRequestType, 0))},
		"type 5":                 {5004, u32(diameter.CCRequestType, 5), append(s.opening(diameter.CCRequestType), u32(diameter.CCRequestType, 5))},
		"11i two numbers":        {5009, u32(diameter.CCRequestNumber, 1), append(s.opening(), u32(diameter.CCRequestNumber, 1))},
		"application 1":          {5004, u32(diameter.AuthApplicationID, 1), append(s.opening(diameter.AuthApplicationID), u32(diameter.AuthApplicationID, 1))},
		"two faults, length 1st": {5014, short, append(s.opening(), short, unknown)},
		"unknown context":        {5031, text(diameter.ServiceContextID, "nope@x"), append(s.opening(diameter.ServiceContextID), text(diameter.ServiceContextID, "nope@x"))},
	} {
		m := f.client.ccr(r.avps...)
		if m.ResultCode() != r.code || len(all(m, diameter.ResultCodeAVP)) != 1 {
			t.Errorf("%s: %d", name, m.ResultCode())
		}
		if name != "two faults, length 1st" { // of a wrong length an example is shown
			expect(t, m, failed(r.failed))
		} else if len(all(m, diameter.FailedAVP)) != 1 {
			t.Errorf("%s: %d Failed-AVP", name, len(all(m, diameter.FailedAVP)))
		}
	}
	f.untouched(t)
	m := f.client.ccr(append(s.opening(diameter.SubscriptionID), subscription(typeE164, "13800000001"))...)
	if m.ResultCode() != 5030 {
		t.Errorf("a national number: %d", m.ResultCode())
	}
	for i, number := range []string{msisdn, "+" + msisdn, "tel:+" + msisdn} {
		s := f.client.session("n"+string(rune('a'+i)), voice)
		expectCode(t, f.client.ccr(append(s.opening(diameter.SubscriptionID), subscription(typeE164, number))...), 2001)
		expectCode(t, f.client.ccr(append(s.envelope(termination, 1), mscc(usu(seconds(0)), rg(100)))...), 2001)
	}
}

func (f *faulty) routing(t *testing.T) {
	proves(t, "A-038", "A-060", "A-061", "A-062", "A-064", "A-065")
	host, record := diameter.DestinationHost, diameter.RouteRecord
	s := f.client.session("r", voice)
	chain := s.opening()
	for _, hop := range []string{"a", "b", "c", "d", "e"} {
		chain = append(chain, text(record, hop+".example"))
	}
	for name, r := range map[string]struct {
		code diameter.ResultCode
		avps []avp
	}{
		"11l foreign realm":  {3003, append(s.opening(diameter.DestinationRealm), text(diameter.DestinationRealm, "elsewhere.example"))},
		"11m another host":   {3002, append(s.opening(), text(host, "other.example"))},
		"host without realm": {3002, append(s.opening(diameter.DestinationRealm), text(host, f.g.host))},
		"11n a loop":         {3005, append(s.opening(), text(record, "OCS1.vpn.example"))},
		"us, by name":        {2001, append(s.opening(), text(host, "OCS1.VPN.Example"))},
		"our realm":          {2001, s.opening()},
		"five hops":          {2001, chain},
	} {
		m := f.client.ccr(r.avps...)
		if m.ResultCode() != r.code {
			t.Errorf("%s: %d, want %d", name, m.ResultCode(), r.code)
		}
		if isError := m.Flags&diameter.FlagError != 0; isError != r.code.Protocol() {
			t.Errorf("%s: E bit %t", name, isError)
		}
	}
}
