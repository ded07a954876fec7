package suite

import (
	"slices"
	"testing"
	"time"

	"gygate/diameter"
)

// The habits of real gateways, each in the messages it is known by. The peer is
// read leniently.

// kamailio is what Kamailio's ims_charging puts into every CCR: no
// Auth-Application-Id, accounting AVPs, the subscriber at two levels, a dummy event
// and a time stamp that is none.
func kamailio(s *session, kind uint32, more ...avp) diameter.Message {
	s.t.Helper()
	envelope := slices.DeleteFunc(s.envelope(kind, s.number), func(a avp) bool { return one(a).Is(diameter.AuthApplicationID) })
	s.number++
	number := subscription(typeE164, "+"+msisdn)
	avps := append(envelope,
		group(diameter.VendorSpecificApplicationID, u32(diameter.VendorID, 10415), u32(diameter.AuthApplicationID, 4)),
		u32(attribute(480, 0), 2), u32(attribute(485, 0), s.number),
		text(diameter.UserName, "+"+msisdn), number, u32(diameter.MultipleServicesIndicator, 1),
		instant(diameter.EventTimestamp, time.Now()),
		group(diameter.UserEquipmentInfo, u32(diameter.UserEquipmentInfoType, 1), text(diameter.UserEquipmentInfoValue, "not a MAC address")),
		group(diameter.ServiceInformation, number, group(diameter.IMSInformation, u32(diameter.NodeFunctionality, 0),
			group(diameter.EventType, text(diameter.SIPMethod, "dummy"), text(attribute(825, 10415), "dummy")),
			group(diameter.TimeStamps, octets(diameter.SIPRequestTimestamp, []byte{0, 12, 34, 56})))))
	return s.ccr(append(avps, more...)...)
}

func TestKamailio(t *testing.T) {
	proves(t, "B-011", "D-001", "D-002", "D-003", "D-005", "D-007", "D-008", "D-009", "D-012", "D-013", "D-018", "D-063")
	g := startGygate(t, 1000, change{})
	s := connect(t, g.address, pgw).session("k1", voice)
	a := kamailio(s, initial, mscc(rsu(seconds(60)), rg(100)))
	expectCode(t, a, 2001)
	expect(t, a, slice(100))
	g.holds("CCR-I", 940, 60, 0)
	a = kamailio(s, update, mscc(rsu(seconds(60)), usu(seconds(50)), rg(100)))
	expectCode(t, a, 2001)
	expect(t, a, slice(100))
	a = kamailio(s, termination, u32(diameter.TerminationCause, 1), mscc(usu(seconds(42)), rg(100)))
	expectCode(t, a, 2001)
	g.holds("CCR-T", 908, 0, 92)
}

// The caller gives up at once: the CCR-T is sent before the CCA-I is there.
func TestTerminationOvertakesTheFirstAnswer(t *testing.T) {
	proves(t, "D-016")
	g := startGygate(t, 1000, change{})
	s := connect(t, g.address, pgw).session("k2", voice)
	release := g.hold()
	first := s.send(initial, payer, u32(diameter.MultipleServicesIndicator, 1), mscc(rsu(), rg(100)))
	last := s.send(termination, mscc(usu(seconds(0)), rg(100)))
	release()
	got := s.answers(first, last)
	expectCode(t, got[first.HopByHop], 2001)
	expectCode(t, got[last.HopByHop], 2001)
	g.holds("both", 1000, 0, 0)
	if g.open() != 0 {
		t.Error("the session is still open")
	}
}

// Open5GS names neither rating group nor service, says that it cannot do several
// services, debits directly in every request, and reports units nobody granted.
func TestOpen5GS(t *testing.T) {
	proves(t, "B-009", "B-079", "D-019", "D-020", "D-021", "D-022", "D-023")
	g := startGygate(t, 2000, change{})
	s := connect(t, g.address, pgw).session("o1", data)
	habits := func(more ...avp) []avp {
		return append([]avp{subscription(typeIMSI, imsi), payer, u32(diameter.RequestedAction, directDebit),
			u32(attribute(2055, 10415), 1), u32(diameter.MultipleServicesIndicator, 0)}, more...)
	}
	wish := rsu(total(megabyte))
	grant := func(granted diameter.Message) {
		t.Helper()
		expectCode(t, granted, 2001)
		services := all(granted, diameter.MultipleServicesCreditControl)
		if len(services) != 1 {
			t.Fatalf("%d MSCC", len(services))
		}
		for _, a := range []diameter.Attribute{diameter.RatingGroup, diameter.ServiceIdentifier} {
			if _, ok := services[0].Find(a); ok {
				t.Errorf("the answer names AVP %d", a.Code)
			}
		}
		units, _ := services[0].Find(diameter.GrantedServiceUnit)
		if want := gsu(total(megabyte)); string(canonical(units)) != string(want) {
			t.Errorf("granted %x, want %x", units.Raw, want)
		}
	}
	grant(s.charge(initial, habits(mscc(wish))...))
	g.holds("CCR-I", 1999, 1, 0)
	report := usu(seconds(77), u64(diameter.CCInputOctets, 400_000), u64(diameter.CCOutputOctets, 600_000))
	grant(s.charge(update, habits(mscc(wish, report))...))
	g.holds("CCR-U", 1998, 1, 1)
	expectCode(t, s.charge(termination, habits(u32(diameter.TerminationCause, 1), mscc(report))...), 2001)
	g.holds("CCR-T", 1998, 0, 2)
}

// Magma puts AVPs in an order of its own and counts everything three times.
func TestMagma(t *testing.T) {
	proves(t, "B-079", "D-030", "D-031", "D-032", "D-033")
	g := startGygate(t, 2000, change{})
	s := connect(t, g.address, pgw).session("m1", data)
	send := func(kind uint32, more ...avp) diameter.Message {
		t.Helper()
		envelope := s.envelope(kind, s.number)
		s.number++
		rest := append(append(envelope[1:], instant(diameter.EventTimestamp, time.Now()), u32(diameter.MultipleServicesIndicator, 1), payer), more...)
		slices.Reverse(rest)
		return s.ccr(append(envelope[:1:1], rest...)...)
	}
	a := send(initial, mscc(rsu(), rg(10)))
	expectCode(t, a, 2001)
	expect(t, a, megabytes(10))
	report := usu(total(10*megabyte), u64(diameter.CCInputOctets, 4*megabyte), u64(diameter.CCOutputOctets, 6*megabyte))
	a = send(update, mscc(rsu(), report, rg(10)))
	expect(t, a, megabytes(10))
	g.holds("CCR-U", 1890, 100, 10)
	expectCode(t, send(termination, mscc(report, rg(10))), 2001)
	g.holds("CCR-T", 1980, 0, 20)
}

// Gateways act on refusals where they look for them: 4010, 4012 and 5031 inside the
// service, 5030 at the command.
func TestCisco(t *testing.T) {
	proves(t, "D-050", "D-053")
	g := startGygate(t, 2000, change{})
	c := connect(t, g.address, pgw)
	s := c.session("c1", data)
	a := s.initial(mscc(rsu(), rg(10)), mscc(rsu(), rg(999)))
	expectCode(t, a, 2001)
	expect(t, a, megabytes(10), mscc(rg(999), result(5031))) // octets as a total alone
	g.block(true)
	a = s.charge(update, mscc(rsu(), usu(total(megabyte)), rg(10)))
	expectCode(t, a, 2001)
	expect(t, a, mscc(rg(10), result(4010)))
	g.block(false)
	expectCode(t, c.session("c2", data).charge(initial, subscription(typeIMSI, "460009999999999"), u32(diameter.MultipleServicesIndicator, 1), mscc(rsu(), rg(10))), 5030)
	poor := startGygate(t, 0, change{})
	a = connect(t, poor.address, pgw).session("c3", data).initial(mscc(rsu(), rg(10)))
	expectCode(t, a, 2001)
	expect(t, a, mscc(rg(10), result(4012)))
}

// An agent renumbers, drops Origin-State-Id, rewrites Destination-Host, and sends a
// request again on another path: each copy is answered where it came from.
func TestAgent(t *testing.T) {
	proves(t, "A-070", "D-065")
	g := startGygate(t, 1000, change{})
	direct := connect(t, g.address, as)
	relays := []*client{dial(t, g.address, dra), dial(t, g.address, as2)}
	s := direct.session("d1", voice)
	expectCode(t, s.initial(mscc(rsu(), rg(100))), 2001)
	avps := append(s.envelope(update, 1), mscc(rsu(), usu(seconds(50)), rg(100)))
	var first diameter.Message
	for i, relay := range relays {
		expectCode(t, relay.capabilities(diameter.AppRelay), 2001)
		copied := append(slices.Clone(avps), text(diameter.RouteRecord, as.Host), proxy(relay.origin.Host, []byte{byte(i)}))
		if i > 0 {
			copied = append(copied, text(diameter.DestinationHost, g.host))
		}
		a := relay.ccr(copied...) // the answer comes back over this connection
		expectCode(t, a, 2001)
		expect(t, a, slice(100), proxy(relay.origin.Host, []byte{byte(i)}))
		if i == 0 {
			first = a
		}
		expect(t, a, u32(diameter.CCRequestNumber, 1))
	}
	expect(t, first, slice(100))
	direct.watchdog() // nothing was sent to the client by itself
	g.holds("two copies", 890, 60, 50)
}
