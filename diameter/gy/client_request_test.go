package gy

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/ocs"
	"gygate/vpnlogic"
)

// Trace 1 from the client's side (C-090 to C-104).
func TestClientTrace1(t *testing.T) {
	proves(t, "C-036", "C-090", "C-091", "C-093", "C-096", "C-098", "C-102")
	c, w := newTestClient(t, ClientConfig{}, answering(sixty()))
	ctx := context.Background()
	id := c.NewSession(ctx)

	a := c.Charge(ctx, initial(id))
	if a.Result != vpnlogic.ChargeGranted || a.Code != 2001 || !a.SessionOpen || a.Server != "ocs1.vpn.example" ||
		a.Grant != (vpnlogic.Grant{Time: time.Minute, Threshold: 10 * time.Second, ValidFor: 5 * time.Minute}) {
		t.Errorf("answer %+v", a)
	}
	c.Charge(ctx, update(id, 1))
	done := sixty()
	done.Services[0].Granted, done.Cost = Optional[GrantedUnits]{}, Some(AmountOf(920_000, 156))
	w.say(answering(done))
	a = c.Charge(ctx, final(id, 2))
	if a.Cost != "0.92" || a.Currency != 156 || a.SessionOpen || a.Grant.Time != 0 {
		t.Errorf("answer %+v", a)
	}

	vpn := []SpecificInfo{{1, "7001"}, {2, "6001"}, {3, "6002"}, {4, "on-net"}, {5, "m1"}, {6, "private"}}
	information := IMSInformation{
		RoleOfNode: Some(uint32(0)), NodeFunctionality: Some(uint32(6)), UserSessionID: "call-1@pbx", ChargingID: "icid-1",
		CallingParty: "tel:+8613800000001", CalledParty: "tel:+8613800000002",
		RequestedParty: "tel:6002;phone-context=vpn7001.vpn.example", Specific: vpn,
	}
	want := CCR{
		SessionID: id, OriginHost: testClient.Host, OriginRealm: testClient.Realm, DestinationRealm: "vpn.example",
		OriginStateID: testClient.StateID, ServiceContextID: "32260@3gpp.org", Payer: []Subscription{{ocs.E164, "8613800000001"}},
	}
	i, u, l := want, want, want

	first := information
	first.SIPMethod, first.RequestedAt = "INVITE", theCall.SetupAt
	i.Type, i.MultipleServices, i.EventTimestamp = ocs.Initial, Some(uint32(1)), theCall.SetupAt
	i.Services, i.Call.IMS = []Service{ask()}, &first

	second := information
	second.RequestedAt, second.RespondedAt, second.CalledAsserted = theCall.SetupAt, answered().AnsweredAt, "tel:+8613800000002"
	u.Type, u.Number, u.EventTimestamp, u.DestinationHost = ocs.Update, 1, at("2026-11-23T08:01:02Z"), "ocs1.vpn.example"
	u.Services, u.Call.IMS = []Service{ask(threshold(50))}, &second

	third := information
	third.SIPMethod, third.RequestedAt, third.CalledAsserted, third.CauseCode = "BYE", at("2026-11-23T08:01:44Z"), "tel:+8613800000002", Some(uint32(0))
	l.Type, l.Number, l.EventTimestamp, l.DestinationHost = ocs.Terminate, 2, at("2026-11-23T08:01:44Z"), "ocs1.vpn.example"
	l.TerminationCause, l.Services, l.Call.IMS = Some(uint32(1)), []Service{report(42)}, &third

	for n, want := range []CCR{i, u, l} {
		got := w.sent[n].ccr
		if g, w := canonical(got.Append(nil, diameter.Header{})[20:], 0), canonical(want.Append(nil, diameter.Header{})[20:], 0); g != w {
			t.Errorf("CCR #%d:\n%s\nwant:\n%s", n, g, w)
		}
	}
	if len(c.sessions) != 0 {
		t.Errorf("%d sessions are remembered after the end", len(c.sessions))
	}
}

// C-038, C-036: where the Reporting-Reason stands, and when units are requested.
func TestReportingReasonsC038(t *testing.T) {
	proves(t, "C-036", "C-038")
	for _, c := range []struct {
		report   vpnlogic.ReportReason
		wantMore bool
		inUnits  Optional[uint32]
		inMSCC   []uint32
	}{
		{vpnlogic.ReportThreshold, true, Some(uint32(0)), nil},
		{vpnlogic.ReportQuotaExhausted, true, Some(uint32(3)), nil},
		{vpnlogic.ReportValidityTime, true, Optional[uint32]{}, []uint32{4}},
		{vpnlogic.ReportRatingChange, true, Optional[uint32]{}, []uint32{6}},
		{vpnlogic.ReportForced, true, Optional[uint32]{}, []uint32{7}},
		{vpnlogic.ReportFinal, false, Optional[uint32]{}, []uint32{2}},
		{vpnlogic.ReportNone, true, Optional[uint32]{}, nil},
	} {
		r := update("s", 1)
		r.Report, r.WantMore = c.report, c.wantMore
		got := servicesOf(r)[0]
		if got.Requested.Present != c.wantMore || len(got.Used) != 1 || got.Used[0].Reason != c.inUnits || !slices.Equal(got.Reasons, c.inMSCC) ||
			(c.report == vpnlogic.ReportRatingChange) != (len(got.Triggers) == 1) {
			t.Errorf("reason %d: %+v", c.report, got)
		}
	}
	r := final("s", 1)
	r.WantMore, r.Used = true, -time.Second
	if got := servicesOf(r)[0]; got.Requested.Present || got.Used[0].Time.Value != 0 {
		t.Errorf("final report requests units or reports %d s", got.Used[0].Time.Value)
	}
}

// C-098: the dialled number is told when it is not the translated one.
func TestRequestedPartyC098(t *testing.T) {
	proves(t, "C-098")
	c, _ := newTestClient(t, ClientConfig{}, nil)
	for dialled, want := range map[string]string{
		"6002": "tel:6002;phone-context=vpn7001.vpn.example", "8613800000002": "", "+8613800000002": "", "": "",
		"+8613800000009": "tel:+8613800000009", "913800000002": "tel:913800000002;phone-context=vpn7001.vpn.example",
	} {
		call := theCall
		call.Dialled = dialled
		if got := c.requestedParty(call); got != want {
			t.Errorf("dialled %q: %q, want %q", dialled, got, want)
		}
	}
}

// C-094, C-095: why the session ends.
func TestTerminationCausesC094C095(t *testing.T) {
	proves(t, "C-094", "C-095")
	for _, c := range []struct {
		reason      string
		answered    bool
		status      int
		spoilt      bool
		cause, code uint32
	}{
		{vpnlogic.ReasonNormal, true, 0, false, 1, 0},
		{vpnlogic.ReasonQuotaEnd, true, 0, false, 1, 0},
		{vpnlogic.ReasonBusy, false, 486, false, 2, 486},
		{vpnlogic.ReasonCancelled, false, 0, false, 2, 2},
		{vpnlogic.ReasonBadAnswer, true, 0, false, 3, 0},
		{vpnlogic.ReasonNormal, true, 0, true, 3, 0},
		{vpnlogic.ReasonAborted, true, 0, false, 4, 0},
		{vpnlogic.ReasonShutdown, false, 0, false, 4, 2},
		{vpnlogic.ReasonLinkLost, true, 0, false, 5, 0},
		{vpnlogic.ReasonCallLimit, true, 0, false, 8, 0},
		{vpnlogic.ReasonInternal, true, 0, false, 1, 3},
	} {
		r := final("s", 1)
		r.Cause = vpnlogic.CauseOf(c.reason)
		r.Call.SIPStatus = c.status
		if !c.answered {
			r.Call.AnsweredAt = time.Time{}
		}
		cause, code := terminationCause(r, session{spoilt: c.spoilt}), causeCode(r.Call, r.Cause)
		if cause != c.cause || code != c.code {
			t.Errorf("%s: Termination-Cause %d Cause-Code %d, want %d %d", c.reason, cause, code, c.cause, c.code)
		}
	}
}

// C-090: the order of AVPs in each request.
func TestOrderOfAVPsC090(t *testing.T) {
	proves(t, "C-090", "C-037")
	c, w := newTestClient(t, ClientConfig{}, answering(sixty()))
	var orders [][]uint32
	w.raw = func(m diameter.Message) {
		var order []uint32
		for a := range m.AVPs() {
			order = append(order, a.Code)
		}
		orders = append(orders, order)
	}
	c.Charge(context.Background(), initial("s"))
	c.Charge(context.Background(), update("s", 1))
	c.Charge(context.Background(), final("s", 2))
	for i, want := range [][]uint32{
		{263, 264, 296, 283, 258, 461, 416, 415, 278, 55, 443, 455, 456, 873},
		{263, 264, 296, 283, 258, 461, 416, 415, 293, 278, 55, 443, 456, 873},
		{263, 264, 296, 283, 258, 461, 416, 415, 293, 278, 55, 443, 456, 295, 873},
	} {
		if !slices.Equal(orders[i], want) {
			t.Errorf("CCR #%d has %v, want %v", i, orders[i], want)
		}
	}
}

// octetsOf are what the CCR would be on the wire, AVP by AVP.
func octetsOf(c *Client, r vpnlogic.ChargeRequest) string {
	return canonical(c.request(r, session{}).Append(nil, diameter.Header{})[diameter.HeaderLen:], 0)
}

// find is the data of an AVP of the encoded request, below a path of groups.
func find(t testing.TB, c *Client, r vpnlogic.ChargeRequest, path ...diameter.Attribute) (diameter.AVP, bool) {
	t.Helper()
	m := parse(t, c.request(r, session{}).Append(nil, diameter.Header{}))
	valid(t, m)
	raw := under(m.Body(), path...)
	if raw == nil {
		return diameter.AVP{}, false
	}
	for a := range diameter.Walk(diameter.AppendRaw(nil, raw)) {
		return a, true
	}
	return diameter.AVP{}, false
}

// C-092, C-102: who pays. The line by its number without '+', or the group by its
// own identity, alone; the member stays visible as caller and in the VPN data.
func TestPayersC092(t *testing.T) {
	proves(t, "C-092", "C-102")
	c, _ := newTestClient(t, ClientConfig{}, nil)
	ims := []diameter.Attribute{diameter.ServiceInformation, diameter.IMSInformation}
	for name, want := range map[string]struct {
		edit  func(*vpnlogic.ChargeRequest)
		payer Subscription
		other string
		data  string
	}{
		"the line":     {func(*vpnlogic.ChargeRequest) {}, Subscription{ocs.E164, "8613800000001"}, "", "private"},
		"the group":    {func(r *vpnlogic.ChargeRequest) { r.Payer, r.PayerAccount = "", "vpn-7001" }, Subscription{ocs.Private, "vpn-7001"}, "vpn-7001", "corporate"},
		"another line": {func(r *vpnlogic.ChargeRequest) { r.Payer = "8613800000099" }, Subscription{ocs.E164, "8613800000099"}, "tel:+8613800000099", "corporate"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, r := range []vpnlogic.ChargeRequest{initial("s"), update("s", 1), final("s", 2)} {
				want.edit(&r)
				ccr := c.request(r, session{})
				if len(ccr.Payer) != 1 || ccr.Payer[0] != want.payer {
					t.Errorf("Subscription-Ids %+v", ccr.Payer)
				}
				if other, _ := find(t, c, r, append(ims, diameter.AlternateChargedPartyAddress)...); other.Text() != want.other {
					t.Errorf("Alternate-Charged-Party-Address %q", other.Text())
				}
				if caller, _ := find(t, c, r, append(ims, diameter.CallingPartyAddress)...); caller.Text() != "tel:+8613800000001" {
					t.Errorf("caller %q", caller.Text())
				}
				if ccr.Call.specific(SpecificPayer) != want.data || ccr.Call.specific(SpecificMember) != "m1" {
					t.Errorf("VPN data %+v", ccr.Call.IMS.Specific)
				}
			}
		})
	}
}

// C-097, C-104: role and node, and the operators when they are known.
func TestRolesAndOperators(t *testing.T) {
	proves(t, "C-097")
	c, _ := newTestClient(t, ClientConfig{}, nil)
	for _, role := range []vpnlogic.Role{vpnlogic.RoleOriginating, vpnlogic.RoleTerminating, vpnlogic.RoleForwarding} {
		r := update("s", 1)
		r.Call.Role, r.Call.OrigIOI, r.Call.TermIOI = role, "home.example", "other.example"
		got := c.request(r, session{}).Call.IMS
		if got.RoleOfNode != Some(uint32(role)) || got.NodeFunctionality != Some(uint32(6)) {
			t.Errorf("role %+v, node %+v", got.RoleOfNode, got.NodeFunctionality)
		}
		for attribute, want := range map[diameter.Attribute]string{diameter.OriginatingIOI: "home.example", diameter.TerminatingIOI: "other.example"} {
			if a, _ := find(t, c, r, diameter.ServiceInformation, diameter.IMSInformation, diameter.InterOperatorIdentifier, attribute); a.Text() != want {
				t.Errorf("operator %q, want %q", a.Text(), want)
			}
		}
	}
	if _, found := find(t, c, update("s", 1), diameter.ServiceInformation, diameter.IMSInformation, diameter.InterOperatorIdentifier); found {
		t.Error("operators are told that nobody knows")
	}
}

// C-098: who is connected stands in U and T, from the answer on.
func TestConnectedPartyC098(t *testing.T) {
	proves(t, "C-098")
	c, _ := newTestClient(t, ClientConfig{}, nil)
	connected := []diameter.Attribute{diameter.ServiceInformation, diameter.IMSInformation, diameter.CalledAssertedIdentity}
	if _, found := find(t, c, initial("s"), connected...); found {
		t.Error("a connected party before the answer")
	}
	for _, r := range []vpnlogic.ChargeRequest{update("s", 1), final("s", 2)} {
		if a, _ := find(t, c, r, connected...); a.Text() != "tel:+8613800000002" {
			t.Errorf("connected %q", a.Text())
		}
		r.Call.Connected = "4930123456"
		if a, _ := find(t, c, r, connected...); a.Text() != "tel:+4930123456" {
			t.Errorf("after a transfer %q", a.Text())
		}
	}
}

// Fractions of a second stand beside the seconds.
func TestFractionsOfTimeStamps(t *testing.T) {
	c, _ := newTestClient(t, ClientConfig{}, nil)
	r := update("s", 1)
	r.Call.SetupAt, r.Call.AnsweredAt = r.Call.SetupAt.Add(250*time.Millisecond), r.Call.AnsweredAt.Add(7*time.Millisecond)
	stamps := []diameter.Attribute{diameter.ServiceInformation, diameter.IMSInformation, diameter.TimeStamps}
	for attribute, want := range map[diameter.Attribute]uint32{diameter.SIPRequestTimestampFraction: 250, diameter.SIPResponseTimestampFraction: 7} {
		if a, _ := find(t, c, r, append(stamps, attribute)...); a.Uint32() != want {
			t.Errorf("fraction %d, want %d", a.Uint32(), want)
		}
	}
	read, fault := ParseCCR(parse(t, c.request(r, session{}).Append(nil, diameter.Header{})))
	if fault != nil || !read.Call.IMS.RequestedAt.Equal(r.Call.SetupAt) || !read.Call.IMS.RespondedAt.Equal(r.Call.AnsweredAt) {
		t.Errorf("read back: %v, %+v", fault, read.Call.IMS)
	}
}

// C-064, C-038: the price changes in mid-call. The use belongs to the old group,
// what is wanted to the new one.
func TestRatingChangeC064(t *testing.T) {
	proves(t, "C-038")
	c, _ := newTestClient(t, ClientConfig{}, nil)
	r := update("s", 1)
	r.Used, r.Report, r.Wanted, r.Call.Connected = 20*time.Second, vpnlogic.ReportRatingChange, 101, "4930123456"
	got := octetsOf(c, r)
	want := canonical(slices.Concat(
		mscc(group(diameter.UsedServiceUnit, u32(diameter.CCTime, 20)), u32(diameter.RatingGroup, 100),
			u32(diameter.ReportingReason, 6), group(diameter.Trigger, u32(diameter.TriggerType, 60))),
		mscc(group(diameter.RequestedServiceUnit), u32(diameter.RatingGroup, 101))), 0)
	for _, service := range splitTop(want) {
		if !slices.Contains(splitTop(got), service) {
			t.Errorf("no\n%s in\n%s", service, got)
		}
	}
	r.Wanted = 100
	if services := servicesOf(r); len(services) != 1 || !services[0].Requested.Present || len(services[0].Used) != 1 || services[0].Triggers == nil {
		t.Errorf("another price in the same group: %+v", services)
	}
}

// splitTop cuts canonical text at its top-level AVPs.
func splitTop(text string) (parts []string) {
	for _, line := range slices.Collect(strings.Lines(text)) {
		if line[0] != ' ' || len(parts) == 0 {
			parts = append(parts, "")
		}
		parts[len(parts)-1] += line
	}
	return parts
}

// C-033: the use is split where the tariff changed.
func TestSplitReportC033(t *testing.T) {
	proves(t, "C-033")
	for _, c := range []struct {
		used, after time.Duration
		want        [2]uint32
	}{{50 * time.Second, 25 * time.Second, [2]uint32{25, 25}}, {50 * time.Second, 0, [2]uint32{50, 0}}, {50 * time.Second, time.Minute, [2]uint32{0, 50}}} {
		r := update("s", 1)
		r.Used, r.UsedAfter, r.Split = c.used, c.after, true
		used := servicesOf(r)[0].Used
		if len(used) != 2 || used[0].TariffChange != Some(uint32(0)) || used[1].TariffChange != Some(uint32(1)) ||
			used[0].Time.Value != c.want[0] || used[1].Time.Value != c.want[1] || used[1].Reason != Some(uint32(0)) {
			t.Errorf("%v of %v: %+v", c.after, c.used, used)
		}
	}
	// The server announces the switch beside the time it grants.
	at := at("2026-11-23T08:00:25Z")
	answer := sixty()
	answer.Services[0].Granted.Value.TariffTimeChange = at
	client, w := newTestClient(t, ClientConfig{}, answering(answer))
	if a := client.Charge(context.Background(), initial("s")); a.Result != vpnlogic.ChargeGranted || !a.Grant.SwitchAt.Equal(at) || a.Grant.Time != time.Minute {
		t.Errorf("answer %+v", a)
	}
	r := update("s", 1)
	r.Used, r.UsedAfter, r.Split = 50*time.Second, 25*time.Second, true
	client.Charge(context.Background(), r)
	if used := w.sent[1].ccr.Services[0].Used; len(used) != 2 || used[0].Time.Value != 25 || used[1].Time.Value != 25 {
		t.Errorf("on the wire %+v", used)
	}
}

// C-103: the price does not hang on what only our own VPN logic tells: without
// class and VPN data it follows from rating group and number.
func TestPriceWithoutVPNDataC103(t *testing.T) {
	proves(t, "C-103")
	price := func(edit func(*IMSInformation)) Amount {
		d := openDesk(t, 10_000_000)
		next := d.session()
		for _, r := range []CCR{next(ocs.Initial, 0, ask()), next(ocs.Terminate, 1, report(42))} {
			edit(r.Call.IMS)
			if a := d.send(r); a.ResultCode != diameter.Success {
				t.Fatalf("answer %+v", a)
			} else if r.Type == ocs.Terminate {
				return a.Cost.Value
			}
		}
		return Amount{}
	}
	with := price(func(*IMSInformation) {})
	if without := price(func(i *IMSInformation) { i.Specific = nil }); with != without || with.Value.Digits == 0 {
		t.Errorf("%+v with the VPN data, %+v without", with, without)
	}
}

// D-012: a price hangs neither on Event-Type nor on Time-Stamps, which some
// clients fill with anything; Event-Timestamp dates the use.
func TestPriceWithDummyEventsD012(t *testing.T) {
	proves(t, "D-012")
	for _, edit := range []func(*IMSInformation){
		func(*IMSInformation) {},
		func(i *IMSInformation) { i.SIPMethod = "dummy" },
		func(i *IMSInformation) {
			i.RequestedAt, i.RespondedAt = at("1999-01-01T00:00:00Z"), at("2070-01-01T00:00:00Z")
		},
	} {
		d := openDesk(t, ten)
		next := d.session()
		first, update := next(ocs.Initial, 0, ask()), next(ocs.Update, 1, ask(threshold(50)))
		last := next(ocs.Terminate, 2, report(42))
		edit(update.Call.IMS)
		edit(last.Call.IMS)
		d.wants(first, diameter.Success, diameter.Success)
		d.wants(update, diameter.Success, diameter.Success)
		if a := d.wants(last, diameter.Success, diameter.Success); a.Cost.Value != AmountOf(920_000, 156) {
			t.Errorf("92 s cost %+v", a.Cost)
		}

		server, books := testServer(slice(0))
		r := call("d012", ocs.Initial, 0, ask())
		r.MultipleServices = Some(uint32(1))
		edit(r.Call.IMS)
		serveOne(t, server, peer.Remote{}, message(t, r))
		if got := books.steps[0].At; !got.Equal(r.EventTimestamp) {
			t.Errorf("the use is dated %v, want Event-Timestamp %v", got, r.EventTimestamp)
		}
	}
}

// C-099: a request of the circuit-switched flavour has IMS-Information and
// VCS-Information side by side in one Service-Information.
func TestVCSFlavourC099(t *testing.T) {
	proves(t, "C-099")
	r := requests["G1"]
	m := parse(t, r.Append(nil, diameter.Header{}))
	valid(t, m)
	for _, group := range []diameter.Attribute{diameter.IMSInformation, diameter.VCSInformation} {
		if under(m.Body(), diameter.ServiceInformation, group) == nil {
			t.Errorf("AVP %d is missing in Service-Information", group.Code)
		}
	}
	if n := len(raws(m.Body(), diameter.ServiceInformation)); n != 1 {
		t.Errorf("%d Service-Information", n)
	}
}
