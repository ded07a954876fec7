package gy

import (
	"testing"
	"time"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/ocs"
)

func gateway(kind ocs.StepType, number uint32, services ...Service) CCR {
	return CCR{
		SessionID: "pgw1.vpn.example;3973000100;5", OriginHost: "pgw1.vpn.example", OriginRealm: "vpn.example",
		DestinationRealm: "vpn.example", ServiceContextID: ContextData, Type: kind, Number: number,
		Payer:    []Subscription{{ocs.IMSI, "460001234567890"}, {ocs.E164, "8613800000003"}},
		Services: services,
	}
}

func volume(rg uint32) Service {
	return Service{RatingGroup: Some(rg), Requested: Some(ServiceUnits{})}
}

func megabytes(target ocs.Target) ocs.ItemOutcome {
	return ocs.ItemOutcome{Target: target, Granted: granted(ocs.Octets, 100_000_000), ValidFor: 1800 * time.Second, Threshold: 10_000_000}
}

func megabytesAnswer(rg uint32) []byte {
	return mscc(gsu(u64(diameter.CCTotalOctets, 100_000_000)), u32(diameter.RatingGroup, rg), u32(diameter.ValidityTime, 1800),
		result(2001), u32(diameter.VolumeQuotaThreshold, 10_000_000))
}

// Trace 7: two rating groups in one session, a third without a price, an idle
// group.
func TestTrace7Data(t *testing.T) {
	outcome := func(items ...ocs.ItemOutcome) ocs.Outcome { return ocs.Outcome{Currency: 156, Items: items} }
	s, b := testServer(
		outcome(megabytes("10"), megabytes("20")),
		outcome(megabytes("20")),
		outcome(ocs.ItemOutcome{Target: "30", Refusal: ocs.Unrated}),
		outcome(ocs.ItemOutcome{Target: "10"}),
		outcome(ocs.ItemOutcome{Target: "20"}),
	)
	serve := func(r CCR, want ...[]byte) {
		t.Helper()
		m := message(t, r)
		compare(t, m, serveOne(t, s, peer.Remote{Tolerate: diameter.Lenient}, m), proxiable, append(want, credit(uint32(r.Type), r.Number), result(2001))...)
	}

	open := gateway(ocs.Initial, 0, volume(10), volume(20))
	open.MultipleServices = Some(uint32(1))
	serve(open, sessionAVPs(), megabytesAnswer(10), megabytesAnswer(20))
	checkStep(t, b.steps[0], ocs.VerbOpen|ocs.VerbAuthenticate|ocs.VerbReserve, "",
		ocs.Item{Target: "10", RatingGroup: 10, Requested: &ocs.Units{}}, ocs.Item{Target: "20", RatingGroup: 20, Requested: &ocs.Units{}})

	// B-079: no total, so input and output are added.
	both := volume(20)
	both.Used = []UsedUnits{{ServiceUnits: ServiceUnits{Input: Some(uint64(10_000_000)), Output: Some(uint64(80_000_000))}, Reason: Some(uint32(0))}}
	serve(gateway(ocs.Update, 1, both), megabytesAnswer(20))
	checkStep(t, b.steps[1], ocs.VerbAuthenticate|ocs.VerbDebit|ocs.VerbRefund|ocs.VerbReserve, "",
		ocs.Item{Target: "20", RatingGroup: 20, Requested: &ocs.Units{}, Used: []ocs.Usage{{Units: ocs.Units{Kind: ocs.Octets, Quantity: 90_000_000}}}})

	serve(gateway(ocs.Update, 3, volume(30)), mscc(u32(diameter.RatingGroup, 30), result(5031)),
		group(diameter.FailedAVP, mscc(u32(diameter.RatingGroup, 30))))

	// B-088: idle: reported without a request; no grant, no Validity-Time.
	idle := Service{RatingGroup: Some(uint32(10)), Used: []UsedUnits{{ServiceUnits: octetUnits(5_000_000)}}, Reasons: []uint32{1}}
	serve(gateway(ocs.Update, 4, idle), plainAnswer(10))
	if got := b.steps[3]; got.Verbs&ocs.VerbReserve != 0 || got.Items[0].Requested != nil || got.Items[0].Final {
		t.Errorf("idle report: verbs %b, item %+v", got.Verbs, got.Items[0])
	}

	last := Service{RatingGroup: Some(uint32(20)), Used: []UsedUnits{{ServiceUnits: octetUnits(30_000_000)}}, Reasons: []uint32{2}}
	serve(gateway(ocs.Terminate, 5, last), plainAnswer(20))
}

// B-091, B-092: targets and their answers; the default group is not echoed.
func TestTargetsB091B092(t *testing.T) {
	for _, c := range []struct {
		service Service
		target  ocs.Target
		group   uint32
		answer  []byte
	}{
		{Service{}, "", 100, mscc(result(2001))},
		{Service{RatingGroup: Some(uint32(101))}, "101", 101, mscc(u32(diameter.RatingGroup, 101), result(2001))},
		{Service{Identifiers: []uint32{7}}, "/7", 100, mscc(u32(diameter.ServiceIdentifier, 7), result(2001))},
		{Service{RatingGroup: Some(uint32(0)), Identifiers: []uint32{8, 7, 8}}, "0/7,8", 0,
			mscc(u32(diameter.RatingGroup, 0), u32(diameter.ServiceIdentifier, 7), u32(diameter.ServiceIdentifier, 8), result(2001))},
	} {
		c.service.Requested = Some(ServiceUnits{})
		m := message(t, call("50", ocs.Update, 1, c.service))
		s, b := testServer(ocs.Outcome{Items: []ocs.ItemOutcome{{Target: c.target}}})
		compare(t, m, serveOne(t, s, peer.Remote{Tolerate: diameter.Lenient}, m), proxiable, credit(2, 1), result(2001), c.answer)
		if got := b.steps[0].Items[0]; got.Target != c.target || got.RatingGroup != c.group {
			t.Errorf("target %q group %d, want %q %d", got.Target, got.RatingGroup, c.target, c.group)
		}
	}
}

// C-102, C-103: our own client is priced by its call class, others by what
// they sent.
func TestCallClassOfATrustedPeerC102(t *testing.T) {
	for _, c := range []struct {
		trusted bool
		sent    Optional[uint32]
		class   string
		want    uint32
	}{
		{true, Optional[uint32]{}, "off-net", 101},
		{true, Some(uint32(100)), "international", 102},
		{true, Some(uint32(101)), "forced on-net", 100},
		{true, Some(uint32(101)), "no such class", 101},
		{true, Some(uint32(8)), "on-net", 8}, // an event of the same peer
		{false, Some(uint32(101)), "on-net", 101},
		{false, Optional[uint32]{}, "off-net", 100},
	} {
		r := call("51", ocs.Initial, 0, Service{RatingGroup: c.sent, Requested: Some(ServiceUnits{})})
		r.Call.IMS.Specific = []SpecificInfo{{SpecificClass, c.class}}
		s, b := testServer(slice(0))
		serveOne(t, s, peer.Remote{Tolerate: diameter.Lenient, Trusted: c.trusted}, message(t, r))
		if got := b.steps[0].Items[0]; got.RatingGroup != c.want || got.Target != r.Services[0].target() {
			t.Errorf("%+v: rating group %d, target %q", c, got.RatingGroup, got.Target)
		}
	}
}

// B-076, B-078, B-079, B-084: which of several units counts.
func TestUnitsThatCount(t *testing.T) {
	opens := ServiceUnits{Time: Some(uint32(30)), Input: Some(uint64(400)), Output: Some(uint64(600))}
	for _, c := range []struct {
		name  string
		units ServiceUnits
		want  ocs.UnitKind
		got   ocs.Units
	}{
		{"total wins B-079", ServiceUnits{Total: Some(uint64(1100)), Input: Some(uint64(400)), Output: Some(uint64(600))}, ocs.Octets, ocs.Units{Kind: ocs.Octets, Quantity: 1100}},
		{"sum B-079", opens, ocs.Octets, ocs.Units{Kind: ocs.Octets, Quantity: 1000}},
		{"the context's unit B-084", opens, ocs.Seconds, ocs.Units{Kind: ocs.Seconds, Quantity: 30}},
		{"another unit is told B-076", octetUnits(5), ocs.Seconds, ocs.Units{Kind: ocs.Octets, Quantity: 5}},
		{"events", ServiceUnits{Specific: Some(uint64(3))}, ocs.Events, ocs.Units{Kind: ocs.Events, Quantity: 3}},
		{"money B-077", ServiceUnits{Money: Some(Amount{Value: Decimal{250, -2}})}, ocs.Seconds, ocs.Units{Kind: ocs.Amount, Quantity: 2_500_000}},
		{"empty B-070", ServiceUnits{}, ocs.Seconds, ocs.Units{}},
		{"zero B-072", timeUnits(0), ocs.Seconds, ocs.Units{Kind: ocs.Seconds}},
	} {
		if got := c.units.Units(c.want); got != c.got {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.got)
		}
	}
}

// B-077: a grant of money, in the form without MSCC.
func TestMoneyGrantB077(t *testing.T) {
	r := call("52", ocs.Initial, 0, Service{})
	r.Services, r.Command = nil, Service{Requested: Some(ServiceUnits{Money: Some(Amount{Value: Decimal{250, -2}})})}
	m := message(t, r)
	s, b := testServer(ocs.Outcome{Currency: 156, Items: []ocs.ItemOutcome{{Granted: granted(ocs.Amount, 2_500_000), ValidFor: 300 * time.Second, Threshold: 10}}})
	compare(t, m, serveOne(t, s, peer.Remote{Tolerate: diameter.Lenient}, m), proxiable, credit(1, 0), result(2001), sessionAVPs(),
		gsu(group(diameter.CCMoney, unitValue(250, -2), u32(diameter.CurrencyCode, 156))), u32(diameter.ValidityTime, 300))
	checkStep(t, b.steps[0], ocs.VerbOpen|ocs.VerbAuthenticate|ocs.VerbReserve, "8613800000002",
		ocs.Item{RatingGroup: 100, Requested: &ocs.Units{Kind: ocs.Amount, Quantity: 2_500_000}})
}

// A refusal in mid-session stands at the command when there is no MSCC.
func TestUpdateRefusedWithoutMSCC(t *testing.T) {
	r := call("53", ocs.Update, 1, Service{})
	r.Services, r.Command = nil, Service{Requested: Some(ServiceUnits{}), Used: []UsedUnits{threshold(50)}}
	m := message(t, r)
	frame := serveAgain(t, m, ocs.Outcome{Currency: 156, Items: []ocs.ItemOutcome{{Refusal: ocs.CreditLimit}}})
	compare(t, m, frame, proxiable, credit(2, 1), result(4012))
}

// B-213, B-214: the currency that CC-Money names goes to the books with it.
func TestCurrencyB213B214(t *testing.T) {
	money := func(currency uint32) ServiceUnits {
		return ServiceUnits{Money: Some(Amount{Value: Decimal{1, 0}, Currency: currency})}
	}
	for _, c := range []struct {
		requested, used uint32
		want            ocs.Currency
	}{{0, 0, 0}, {156, 0, 156}, {0, 156, 156}, {156, 156, 156}, {156, 48, noCurrency}, {1 << 20, 0, noCurrency}} {
		s := Service{Requested: Some(money(c.requested)), Used: []UsedUnits{{ServiceUnits: money(c.used)}}}
		if got := itemOf(s, &ocs.ServiceContext{Unit: ocs.Seconds}, true); got.Currency != c.want || got.Used[0].Units.Kind != ocs.Amount {
			t.Errorf("requested in %d, used in %d: %+v, want currency %d", c.requested, c.used, got, c.want)
		}
	}
}

// Trace 12a: the price of a volume grant changes at a known time.
func TestTrace12TariffTimeChange(t *testing.T) {
	item := megabytes("10")
	item.SwitchAt = at("2026-11-23T12:00:00Z")
	m := message(t, gateway(ocs.Update, 1, volume(10)))
	compare(t, m, serveAgain(t, m, ocs.Outcome{Currency: 156, Items: []ocs.ItemOutcome{item}}), proxiable, credit(2, 1), result(2001),
		mscc(gsu(u32(diameter.TariffTimeChange, 0xeeaea940), u64(diameter.CCTotalOctets, 100_000_000)), u32(diameter.RatingGroup, 10),
			u32(diameter.ValidityTime, 1800), result(2001), u32(diameter.VolumeQuotaThreshold, 10_000_000)))

	// The report of G13: both sides of the switch.
	s, b := testServer(ocs.Outcome{Currency: 156, Items: []ocs.ItemOutcome{megabytes("10")}})
	serveOne(t, s, peer.Remote{Tolerate: diameter.Lenient}, golden(t, "G13"))
	checkStep(t, b.steps[0], ocs.VerbAuthenticate|ocs.VerbDebit|ocs.VerbRefund|ocs.VerbReserve, "",
		ocs.Item{Target: "10", RatingGroup: 10, Requested: &ocs.Units{}, Used: []ocs.Usage{
			{Units: ocs.Units{Kind: ocs.Octets, Quantity: 40_000_000}, Tariff: ocs.TariffBefore},
			{Units: ocs.Units{Kind: ocs.Octets, Quantity: 50_000_000}, Tariff: ocs.TariffAfter}}})
}

// B-111: a threshold is below its grant, or not there.
func TestThresholdBelowGrantB111(t *testing.T) {
	for grant, want := range map[int64][]byte{8: nil, 10: nil, 11: u32(diameter.TimeQuotaThreshold, 10)} {
		o := slice(0)
		o.Items[0].Granted = granted(ocs.Seconds, grant)
		m := message(t, call("80", ocs.Update, 1, ask()))
		compare(t, m, serveAgain(t, m, o), proxiable, credit(2, 1), result(2001), mscc(gsu(u32(diameter.CCTime, uint32(grant))),
			u32(diameter.RatingGroup, 100), u32(diameter.ValidityTime, 300), result(2001), want))
	}
}

// B-074: what a final interrogation requests is not even asked of the books.
func TestFinalInterrogationAsksNothingB074(t *testing.T) {
	last := report(1)
	last.Requested = Some(ServiceUnits{})
	s, b := testServer(closed(0))
	serveOne(t, s, peer.Remote{Tolerate: diameter.Lenient}, message(t, call("81", ocs.Terminate, 1, last)))
	if got := b.steps[0]; got.Items[0].Requested != nil || got.Verbs&ocs.VerbReserve != 0 {
		t.Errorf("step %+v, item %+v", got, got.Items[0])
	}
}

// B-087: FINAL ends the target at whichever level it stands; nothing else does.
func TestFinalAtEitherLevelB087(t *testing.T) {
	for reason := range uint32(10) {
		inUnits := Service{Used: []UsedUnits{{ServiceUnits: timeUnits(1), Reason: Some(reason)}}}
		inService := Service{Used: []UsedUnits{{ServiceUnits: timeUnits(1)}}, Reasons: []uint32{reason}}
		for _, s := range []Service{inUnits, inService} {
			if got := itemOf(s, &ocs.ServiceContext{}, true).Final; got != (reason == 2) {
				t.Errorf("reason %d: final %v", reason, got)
			}
		}
	}
}

// itemOf is what a service asks for.
func itemOf(s Service, c *ocs.ServiceContext, grant bool) (item ocs.Item) {
	s.setItem(&item, new(ocs.Units), c, grant)
	return item
}
