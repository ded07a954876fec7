package suite

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sync"
	"testing"

	"gygate/diameter"
)

// system is what TestStock needs of the system under test: a server with the
// account of the fixture.
type system struct {
	address string
	hold    func() (release func()) // makes every charging step wait
}

func startSystem(t testing.TB) system {
	t.Helper()
	if stock {
		s := startStock(t)
		return system{s.address, s.hold}
	}
	g := startGygate(t, 1000, change{})
	return system{g.address, g.hold}
}

// TestStock holds the rows that stock go-diameter breaks, D-080 to D-095, each by
// itself. Against that server every one of them must fail.
func TestStock(t *testing.T) {
	for _, c := range []struct {
		row    string
		proves []string
		test   func(*testing.T, system)
	}{
		{"D-080", []string{"A-040", "A-041", "D-028"}, unknownCommand},
		{"D-081", []string{"A-023", "A-026", "A-076"}, flagsOfAnswers},
		{"D-082", []string{"A-066", "A-067", "A-068", "A-069"}, envelopeOfAnswers},
		{"D-083", []string{"A-044", "A-046"}, unknownMandatory},
		{"D-084", []string{"A-049"}, badLengths},
		{"D-085", []string{"A-027", "A-028"}, badHeaders},
		{"D-086", nil, ownStateID},
		{"D-087", nil, watchdogAnswer},
		{"D-088", []string{"A-008"}, refusedCapabilities},
		{"D-089", []string{"A-013"}, strangers},
		{"D-090", []string{"A-082"}, watchdogRequests},
		{"D-091", nil, disconnectRequest},
		{"D-092", nil, slowCharging},
		{"D-093", []string{"B-054", "B-090"}, severalOfEach},
		{"D-094", []string{"B-062"}, extendedDictionary},
		{"D-095", nil, resentWithT},
	} {
		t.Run(c.row, func(t *testing.T) {
			t.Attr("proves", c.row)
			if !stock {
				for _, row := range c.proves {
					t.Attr("proves", row)
				}
			}
			c.test(t, startSystem(t))
		})
	}
}

func unknownCommand(t *testing.T, s system) {
	c := connect(t, s.address, as)
	expectSame(t, c.askGolden("G6"), goldenMessage(t, "G7"))
	a := c.ask(diameter.FlagProxiable, 999, diameter.AppCreditControl, append([]avp{text(diameter.SessionID, as.Host+";1;32")},
		c.base(text(diameter.DestinationRealm, realm), proxy("dra1.vpn.example", []byte{0, 255}), proxy("dra2.vpn.example", []byte{1}))...)...)
	expectCode(t, a, diameter.CommandUnsupported)
	if got := all(a, diameter.ProxyInfo); len(got) != 2 {
		t.Errorf("%d Proxy-Info", len(got))
	}
	gx := c.session("32", voice).envelope(initial, 0)
	expectCode(t, c.ask(diameter.FlagProxiable, diameter.CmdCreditControl, 16777238, gx...), diameter.ApplicationUnsupported)
	expectCode(t, c.watchdog(), diameter.Success)
}

func flagsOfAnswers(t *testing.T, s system) {
	c := connect(t, s.address, as)
	call := c.session("81", voice)
	for _, flags := range []diameter.Flags{diameter.FlagRetransmit, 0x0f} {
		a := c.ask(diameter.FlagProxiable|flags, diameter.CmdCreditControl, diameter.AppCreditControl,
			append(call.envelope(initial, 0), payer, u32(diameter.MultipleServicesIndicator, 1), mscc(rsu(), rg(100)))...)
		expectCode(t, a, diameter.Success)
		if a.Flags != diameter.FlagProxiable {
			t.Errorf("answer to flags %02x has flags %02x", flags, a.Flags)
		}
	}
}

func envelopeOfAnswers(t *testing.T, s system) {
	client := connect(t, s.address, as)
	call := client.session("82;"+string(bytes.Repeat([]byte{'x'}, 150)), voice)
	// An unknown member, and zero octets, must come back as they are.
	state := group(diameter.ProxyInfo, text(diameter.ProxyHost, "dra1.vpn.example"), octets(diameter.ProxyState, []byte{0, 255, 16}),
		octets(flagged(60003, 99999, 0), []byte{1}))
	other := proxy("dra2.vpn.example", []byte{7})
	nobody := subscription(typeE164, "8613899999999")
	good := append(call.envelope(initial, 0), u32(diameter.MultipleServicesIndicator, 1), mscc(rsu(), rg(100)), payer)
	for name, c := range map[string]struct {
		command uint32
		avps    []avp
	}{
		"2001":            {diameter.CmdCreditControl, good},
		"3001":            {999, good},
		"no context":      {diameter.CmdCreditControl, slices.Delete(slices.Clone(good), 5, 6)},
		"nobody's number": {diameter.CmdCreditControl, append(slices.Clone(good[:len(good)-1]), nobody)},
	} {
		a := client.ask(diameter.FlagProxiable, c.command, diameter.AppCreditControl, append(slices.Clone(c.avps), state, other)...)
		if first := one(a.Body()); !first.Is(diameter.SessionID) || first.Text() != call.id {
			t.Fatalf("%s: the answer begins with AVP %d", name, first.Code)
		}
		expect(t, a, text(diameter.OriginHost, "ocs1.vpn.example"), text(diameter.OriginRealm, realm))
		expectNone(t, a, diameter.DestinationHost, diameter.DestinationRealm)
		if tail := slices.Concat(state, other); !bytes.HasSuffix(a.Raw, tail) {
			t.Errorf("%s: the answer does not end with %x", name, tail)
		}
	}
}

func unknownMandatory(t *testing.T, s system) {
	c := connect(t, s.address, as)
	expectSame(t, c.askGolden("G14"), goldenMessage(t, "G15"))
	harmless := octets(flagged(60001, 99999, 0), []byte{0xde, 0xad})
	hidden := octets(flagged(60002, 0, 0), octets(flagged(60001, 99999, diameter.AVPMandatory), []byte{1}))
	a := c.session("33", voice).initial(mscc(rsu(), rg(100)), harmless, hidden)
	expectCode(t, a, diameter.Success)
	expect(t, a, slice(100))
}

func badLengths(t *testing.T, s system) {
	c := connect(t, s.address, as)
	expectSame(t, c.askGolden("G16"), goldenMessage(t, "G17"))
	call := c.session("84", voice)
	long, short := text(diameter.SubscriptionIDData, "4912"), octets(diameter.CCRequestNumber, []byte{0, 0, 1})
	header := diameter.AppendBytes(nil, diameter.OriginStateID, nil)
	for name, extra := range map[string]avp{
		"3 octets": short, "8 octets": octets(diameter.CCRequestNumber, make([]byte, 8)),
		"length 0": withLength(header, 0), "length 4": withLength(header, 4),
		"no room for the vendor": withLength(octets(flagged(873, 10415, 0), nil), 8),
		"member past its group":  group(diameter.SubscriptionID, u32(diameter.SubscriptionIDType, 0), withLength(long, 40)),
		"stray octets in group":  octets(diameter.SubscriptionID, []byte{0, 0, 1, 194}),
	} {
		envelope := call.envelope(initial, 0)
		if name == "3 octets" || name == "8 octets" {
			envelope = envelope[:7] // without the right CC-Request-Number
		}
		a := c.ask(diameter.FlagProxiable, diameter.CmdCreditControl, diameter.AppCreditControl, append(envelope, payer, extra)...)
		if a.ResultCode() != diameter.InvalidAVPLength {
			t.Errorf("%s: Result-Code %d", name, a.ResultCode())
		}
		failed := all(a, diameter.FailedAVP)
		if len(failed) != 1 || len(failed[0].Data) == 0 {
			t.Errorf("%s: %d Failed-AVP", name, len(failed))
			continue
		}
		want := binary.BigEndian.Uint32(extra)
		if member := map[string]uint32{"member past its group": 444, "stray octets in group": 450}[name]; member != 0 {
			want = member // what is wrong stands inside
		}
		if got := one(failed[0].Data); got.Code != want {
			t.Errorf("%s: Failed-AVP has AVP %d", name, got.Code)
		}
	}
	expectCode(t, c.watchdog(), diameter.Success)
}

func badHeaders(t *testing.T, s system) {
	broken := func(origin diameter.Origin, change func([]byte)) *client {
		c := connect(t, s.address, origin)
		frame := encode(diameter.Header{Flags: diameter.FlagRequest, Command: diameter.CmdDeviceWatchdog, HopByHop: 5, EndToEnd: 6}, c.base()...)
		change(frame)
		c.raw(frame)
		return c
	}
	c := broken(as, func(b []byte) { b[0] = 2 })
	if m := c.read(); m.ResultCode() != diameter.UnsupportedVersion || m.HopByHop != 5 || m.EndToEnd != 6 {
		t.Fatalf("version 2: %d, %+v", m.ResultCode(), m.Header)
	}
	c.closed()
	for length, origin := range map[byte]diameter.Origin{19: pgw, 22: dra} {
		c = broken(origin, func(b []byte) { b[1], b[2], b[3] = 0, 0, length })
		if m := c.read(); m.ResultCode() != diameter.InvalidMessageLength {
			t.Fatalf("length %d: %d", length, m.ResultCode())
		}
		c.closed()
	}
	broken(as2, func(b []byte) { b[1] = 0x7f }).closed() // more than anybody may send: not even read
}

func ownStateID(t *testing.T, s system) {
	c := dial(t, s.address, as)
	cea := c.capabilities(diameter.AppCreditControl, u32(diameter.OriginStateID, 99))
	expectCode(t, cea, diameter.Success)
	state, ok := cea.Find(diameter.OriginStateID)
	if !ok || state.Uint32() == 99 {
		t.Fatalf("Origin-State-Id %d in the CEA, the peer's is 99", state.Uint32())
	}
	expect(t, c.watchdog(), u32(diameter.OriginStateID, state.Uint32()))
	expect(t, c.session("86", voice).exchange(initial, payer, u32(diameter.MultipleServicesIndicator, 1), mscc(rsu(), rg(100))), u32(diameter.OriginStateID, state.Uint32()))
}

func watchdogAnswer(t *testing.T, s system) {
	a := connect(t, s.address, as).watchdog()
	expectCode(t, a, diameter.Success)
	expect(t, a, text(diameter.OriginHost, "ocs1.vpn.example"), text(diameter.OriginRealm, realm))
	expectNone(t, a, diameter.SessionID)
	if _, ok := a.Find(diameter.OriginStateID); !ok {
		t.Error("no Origin-State-Id")
	}
}

func refusedCapabilities(t *testing.T, s system) {
	c := dial(t, s.address, as)
	expectCode(t, c.capabilities(16777999), diameter.NoCommonApplication)
	c.closed()
	for _, missing := range []diameter.Attribute{diameter.OriginRealm, diameter.OriginHost, diameter.HostIPAddress, diameter.VendorID, diameter.ProductName} {
		c := dial(t, s.address, as)
		avps := slices.DeleteFunc(c.cer(diameter.AppCreditControl), func(a avp) bool { return one(a).Is(missing) })
		a := c.ask(0, diameter.CmdCapabilitiesExchange, diameter.AppBase, avps...)
		expectCode(t, a, diameter.MissingAVP)
		failed := all(a, diameter.FailedAVP)
		if len(failed) != 1 || len(failed[0].Data) == 0 || !one(failed[0].Data).Is(missing) {
			t.Errorf("Failed-AVP %v, want AVP %d", failed, missing.Code)
		}
		c.closed()
	}
}

func strangers(t *testing.T, s system) {
	c := dial(t, s.address, diameter.Origin{Host: "stranger.example", Realm: "example"})
	expectCode(t, c.capabilities(diameter.AppCreditControl), diameter.UnknownPeer)
	c.closed()

	c = dial(t, s.address, as)
	c.session("89", voice).send(initial, payer, mscc(rsu(), rg(100)))
	c.closed()

	first := connect(t, s.address, as)
	second := dial(t, s.address, as)
	second.send(0, diameter.CmdCapabilitiesExchange, diameter.AppBase, second.cer(diameter.AppCreditControl)...)
	second.refused()
	expectCode(t, first.watchdog(), diameter.Success)
}

// refused expects the connection closed, after a CEA that says so or without one.
func (c *client) refused() {
	c.t.Helper()
	c.deadline()
	m, err := diameter.ReadMessage(c.reader)
	if err != nil {
		return
	}
	if m.ResultCode().Success() {
		c.t.Fatal("a second connection of the same peer is welcome")
	}
	c.closed()
}

func disconnectRequest(t *testing.T, s system) {
	c := connect(t, s.address, as)
	call := c.session("91", voice)
	expectCode(t, call.exchange(initial, payer, u32(diameter.MultipleServicesIndicator, 1), mscc(rsu(), rg(100))), diameter.Success)
	a := c.ask(0, diameter.CmdDisconnectPeer, diameter.AppBase, c.base(u32(diameter.DisconnectCause, 0))...)
	expectCode(t, a, diameter.Success)
	_ = c.conn.Close()
	// The session is not touched by it: the peer comes back and goes on.
	call.client = connect(t, s.address, as)
	expectCode(t, call.exchange(update, mscc(rsu(), usu(seconds(20)), rg(100))), diameter.Success)
}

func slowCharging(t *testing.T, s system) {
	c := connect(t, s.address, as)
	release := sync.OnceFunc(s.hold())
	defer release()
	call := c.session("92", voice)
	slow := call.send(initial, payer, u32(diameter.MultipleServicesIndicator, 1), mscc(rsu(), rg(100)))
	alive := c.send(0, diameter.CmdDeviceWatchdog, diameter.AppBase, c.base()...)
	// It overtakes the charging step, else it would not come before that is let go.
	if m := c.read(); m.HopByHop != alive.HopByHop {
		t.Errorf("%+v came before the DWA", m.Header)
	}
	release()
	expectCode(t, c.answer(slow), diameter.Success)
}

func severalOfEach(t *testing.T, s system) {
	c := connect(t, s.address, as)
	for i, ids := range [][]avp{
		{subscription(typePrivate, "group-7001")},
		{subscription(typeIMSI, imsi), subscription(typeE164, msisdn)},
		{subscription(typeE164, msisdn), subscription(typeIMSI, imsi)},
	} {
		call := c.session("93"+string(rune('a'+i)), voice)
		services := []avp{u32(diameter.MultipleServicesIndicator, 1), mscc(rsu(seconds(5)), rg(100)), mscc(rsu(seconds(6)), rg(101)), mscc(rsu(), rg(999))}
		a := call.exchange(initial, append(ids, services...)...)
		expectCode(t, a, diameter.Success)
		expect(t, a, u32(diameter.AuthApplicationID, diameter.AppCreditControl))
		grant := func(group, n uint32) avp {
			return mscc(gsu(seconds(n)), rg(group), validity(300), result(2001))
		}
		expect(t, a, grant(100, 5), grant(101, 6), mscc(rg(999), result(5031)))
		// As many reports as services.
		a = call.exchange(termination, mscc(usu(seconds(2)), usu(seconds(1)), rg(100)), mscc(usu(seconds(4)), rg(101)))
		expect(t, a, mscc(rg(100), result(2001)), mscc(rg(101), result(2001)), cents(7))
	}
}

// Subscription-Id-Extension (RFC 8506 §8.58) is not in the library's dictionary.
func extendedDictionary(t *testing.T, s system) {
	c := connect(t, s.address, as)
	good := group(diameter.SubscriptionIDExtension, text(diameter.SubscriptionIDE164, msisdn))
	a := c.session("94", voice).exchange(initial, good, u32(diameter.MultipleServicesIndicator, 1), mscc(rsu(), rg(100)))
	expectCode(t, a, diameter.Success)
	two := group(diameter.SubscriptionIDExtension, text(diameter.SubscriptionIDE164, msisdn), text(diameter.SubscriptionIDIMSI, imsi))
	a = c.session("94b", voice).exchange(initial, two, u32(diameter.MultipleServicesIndicator, 1), mscc(rsu(), rg(100)))
	expectCode(t, a, diameter.AVPOccursTooManyTimes)
	// With the M bit it is still an AVP this node knows.
	mandatory := diameter.SubscriptionIDExtension
	mandatory.Flags = diameter.AVPMandatory
	a = c.session("94c", voice).exchange(initial, group(mandatory, text(diameter.SubscriptionIDE164, "8613899999999")),
		u32(diameter.MultipleServicesIndicator, 1), mscc(rsu(), rg(100)))
	expectCode(t, a, diameter.UserUnknown)
}
