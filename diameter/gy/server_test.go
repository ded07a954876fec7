package gy

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/ocs"
)

var testLocal = diameter.Origin{Host: "ocs1.vpn.example", Realm: "vpn.example", StateID: 3973000000}

// books is a Submitter that answers as the ledger of a trace would.
type books struct {
	steps    []*ocs.Step
	outcomes []ocs.Outcome
}

func (b *books) Submit(s *ocs.Step, done func(ocs.Outcome)) {
	b.steps = append(b.steps, s)
	o := b.outcomes[0]
	b.outcomes = b.outcomes[1:]
	done(o)
}

// The service contexts of the fixtures of conformance-wire.
const (
	ContextData  = "32251@3gpp.org" // packet-switched data
	ContextEvent = "32274@3gpp.org" // short messages
	ContextVoice = "32276@3gpp.org" // voice call service
)

func testTariff() *ocs.Tariff {
	tariff, err := ocs.NewTariff(nil, []ocs.ServiceContext{
		{Name: ContextSIP, DefaultRatingGroup: 100, Unit: ocs.Seconds},
		{Name: ContextVoice, DefaultRatingGroup: 100, Unit: ocs.Seconds},
		{Name: ContextData, DefaultRatingGroup: 10, Unit: ocs.Octets, ItemRefusals: true},
		{Name: ContextEvent, DefaultRatingGroup: 8, Unit: ocs.Events},
	})
	if err != nil {
		panic(err)
	}
	return tariff
}

// testServer serves for outcomes, in order.
func testServer(outcomes ...ocs.Outcome) (*Server, *books) {
	b := &books{outcomes: outcomes}
	return NewServer(ServerConfig{Local: testLocal, Tariff: testTariff, SharedDatabase: true}, b), b
}

// serveOne passes one request through validation, as a connection does, and the
// server, and returns the one answer.
func serveOne(t testing.TB, s *Server, from peer.Remote, m diameter.Message) []byte {
	t.Helper()
	if fault := dictionary().Validate(m, from.Tolerate); fault != nil {
		return diameter.ErrorAnswer(nil, m, fault, s.config.Local)
	}
	var answers [][]byte
	s.Serve(context.Background(), from, m, func(frame []byte) { answers = append(answers, bytes.Clone(frame)) })
	if len(answers) != 1 {
		t.Fatalf("answered %d times", len(answers))
	}
	return answers[0]
}

// call is a request of the VPN's own client in the voice traces.
func call(session string, kind ocs.StepType, number uint32, s Service) CCR {
	return CCR{
		SessionID: "vpnas1.vpn.example;3973000001;" + session, OriginHost: "vpnas1.vpn.example", OriginRealm: "vpn.example",
		DestinationRealm: "vpn.example", ServiceContextID: ContextVoice, Type: kind, Number: number,
		EventTimestamp: at("2026-11-23T08:00:00Z"), Payer: []Subscription{{ocs.E164, "8613800000001"}},
		Services: []Service{s},
		Call: ServiceInformation{IMS: &IMSInformation{
			NodeFunctionality: Some(uint32(6)), CalledParty: "tel:+8613800000002",
			Specific: []SpecificInfo{{SpecificClass, "on-net"}},
		}},
	}
}

func ask(used ...UsedUnits) Service {
	return Service{RatingGroup: Some(uint32(100)), Requested: Some(ServiceUnits{}), Used: used}
}

func report(used uint32) Service {
	return Service{RatingGroup: Some(uint32(100)), Used: []UsedUnits{{ServiceUnits: timeUnits(used)}}, Reasons: []uint32{2}}
}

func threshold(used uint32) UsedUnits {
	return UsedUnits{ServiceUnits: timeUnits(used), Reason: Some(uint32(0))}
}

func message(t testing.TB, r CCR) diameter.Message {
	t.Helper()
	return parse(t, r.Append(nil, diameter.Header{HopByHop: 0xa00 + r.Number, EndToEnd: 0x5a100000 + r.Number}))
}

func granted(kind ocs.UnitKind, n int64) *ocs.Units { return &ocs.Units{Kind: kind, Quantity: n} }

// slice is the outcome of 60 seconds granted.
func slice(cost ocs.Money) ocs.Outcome {
	return ocs.Outcome{Currency: 156, Cost: cost, Items: []ocs.ItemOutcome{{
		Target: "100", RatingGroup: 100, Granted: granted(ocs.Seconds, 60), ValidFor: 300 * time.Second, Threshold: 10,
	}}}
}

// sliceAnswer is the MSCC of that outcome.
func sliceAnswer() []byte {
	return mscc(gsu(u32(diameter.CCTime, 60)), u32(diameter.RatingGroup, 100), u32(diameter.ValidityTime, 300),
		result(2001), u32(diameter.TimeQuotaThreshold, 10))
}

func plainAnswer(group uint32) []byte { return mscc(u32(diameter.RatingGroup, group), result(2001)) }

func closed(cost ocs.Money) ocs.Outcome {
	return ocs.Outcome{Currency: 156, Cost: cost, Items: []ocs.ItemOutcome{{Target: "100", RatingGroup: 100}}}
}

var proxiable = diameter.FlagProxiable

// sessionAVPs stand in CCA-I only.
func sessionAVPs() []byte {
	return slices.Concat(u32(diameter.CCSessionFailover, 1), u32(diameter.CreditControlFailureHandling, 0))
}

func TestTrace1Call(t *testing.T) {
	s, b := testServer(slice(0), slice(500_000), closed(920_000))

	first := golden(t, "G1")
	compare(t, first, serveOne(t, s, peer.Remote{Tolerate: diameter.Lenient}, first), proxiable,
		credit(1, 0), result(2001), sessionAVPs(), sliceAnswer())
	if want := golden(t, "G2"); canonical(parse(t, serveAgain(t, first, slice(0))).Body(), 0) != canonical(want.Body(), 0) {
		t.Error("CCA-I is not the multiset of G2")
	}

	update := message(t, call("17", ocs.Update, 1, ask(threshold(50))))
	compare(t, update, serveOne(t, s, peer.Remote{Tolerate: diameter.Lenient}, update), proxiable, credit(2, 1), result(2001), sliceAnswer())

	last := message(t, call("17", ocs.Terminate, 2, report(42)))
	frame := serveOne(t, s, peer.Remote{Tolerate: diameter.Lenient}, last)
	compare(t, last, frame, proxiable, credit(3, 2), result(2001), plainAnswer(100), cost(92, -2, 156))
	if want := golden(t, "G3"); canonical(parse(t, frame).Body(), 0) != canonical(want.Body(), 0) {
		t.Error("CCA-T is not the multiset of G3")
	}

	checkStep(t, b.steps[0], ocs.VerbOpen|ocs.VerbAuthenticate|ocs.VerbReserve, "8613800000002",
		ocs.Item{Target: "100", RatingGroup: 100, Requested: &ocs.Units{}})
	checkStep(t, b.steps[1], ocs.VerbAuthenticate|ocs.VerbDebit|ocs.VerbRefund|ocs.VerbReserve, "8613800000002",
		ocs.Item{Target: "100", RatingGroup: 100, Requested: &ocs.Units{}, Used: []ocs.Usage{{Units: ocs.Units{Kind: ocs.Seconds, Quantity: 50}}}})
	checkStep(t, b.steps[2], ocs.VerbDebit|ocs.VerbRefund|ocs.VerbClose, "8613800000002",
		ocs.Item{Target: "100", RatingGroup: 100, Final: true, Used: []ocs.Usage{{Units: ocs.Units{Kind: ocs.Seconds, Quantity: 42}}}})
	if got := b.steps[0]; got.Service != ContextVoice || got.SessionID != "vpnas1.vpn.example;3973000001;17" ||
		got.Payer[0] != (ocs.Identity{Kind: ocs.E164, Value: "8613800000001"}) || !got.At.Equal(at("2026-11-23T08:00:00Z")) {
		t.Errorf("step %+v", got)
	}
}

func serveAgain(t testing.TB, m diameter.Message, o ocs.Outcome) []byte {
	t.Helper()
	s, _ := testServer(o)
	return serveOne(t, s, peer.Remote{Tolerate: diameter.Lenient}, m)
}

func checkStep(t testing.TB, s *ocs.Step, verbs ocs.Verbs, called string, items ...ocs.Item) {
	t.Helper()
	if s.Verbs != verbs || s.Called != called {
		t.Errorf("step #%d has verbs %b and called %q, want %b and %q", s.Number, s.Verbs, s.Called, verbs, called)
	}
	if len(s.Items) != len(items) {
		t.Fatalf("step #%d has %d items, want %d", s.Number, len(s.Items), len(items))
	}
	for i := range items {
		got, want := s.Items[i], items[i]
		if got.Target != want.Target || got.RatingGroup != want.RatingGroup || got.Final != want.Final ||
			!slices.Equal(got.Used, want.Used) || !equalUnits(got.Requested, want.Requested) || string(got.RefundToken) != string(want.RefundToken) {
			t.Errorf("step #%d item %d is %+v (requested %v), want %+v (requested %v)", s.Number, i, got, got.Requested, want, want.Requested)
		}
	}
}

func equalUnits(a, b *ocs.Units) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }

// Trace 2: refused at the beginning; the code and level of each reason.
func TestTrace2Refused(t *testing.T) {
	called := str(diameter.CalledPartyAddress, "tel:+8613800000002")
	for _, c := range []struct {
		name    string
		refusal ocs.Refusal
		want    [][]byte
		flags   diameter.Flags
	}{
		{"2 no balance B-031 B-137", ocs.CreditLimit, [][]byte{credit(1, 0), result(4012)}, proxiable},
		{"2b suspended B-150", ocs.Blocked, [][]byte{credit(1, 0), result(4010)}, proxiable},
		{"2c unknown subscriber B-058", ocs.UnknownSubscriber, [][]byte{credit(1, 0), result(5030)}, proxiable},
		{"2d free number B-151", ocs.Free, [][]byte{credit(1, 0), result(4011)}, proxiable},
		{"2e no price B-154", ocs.Unrated, [][]byte{credit(1, 0), result(5031), group(diameter.FailedAVP, called)}, proxiable},
		{"2g database down B-155", ocs.Unavailable, [][]byte{credit(1, 0), result(3002)}, proxiable | diameter.FlagError},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := message(t, call("18", ocs.Initial, 0, ask()))
			item := ocs.Outcome{Currency: 156, Items: []ocs.ItemOutcome{{Target: "100", Refusal: c.refusal}}}
			compare(t, m, serveAgain(t, m, item), c.flags, c.want...)
			compare(t, m, serveAgain(t, m, ocs.Outcome{Refusal: c.refusal}), c.flags, c.want...)
		})
	}
	t.Run("2f data keeps the session B-095", func(t *testing.T) {
		r := call("18", ocs.Initial, 0, Service{RatingGroup: Some(uint32(10)), Requested: Some(ServiceUnits{})})
		r.ServiceContextID = ContextData
		m := message(t, r)
		frame := serveAgain(t, m, ocs.Outcome{Currency: 156, Items: []ocs.ItemOutcome{{Target: "10", Refusal: ocs.NoBalance}}})
		compare(t, m, frame, proxiable, credit(1, 0), result(2001), sessionAVPs(),
			mscc(u32(diameter.RatingGroup, 10), result(4012)))
	})
}

// Trace 3: the last slice, and a report that is refused more.
func TestTrace3FinalUnit(t *testing.T) {
	final := slice(500_000)
	final.Items[0].Final, final.Items[0].Granted = true, granted(ocs.Seconds, 50)
	s, _ := testServer(final, ocs.Outcome{Currency: 156, Cost: 500_000, Items: []ocs.ItemOutcome{{Target: "100", Refusal: ocs.CreditLimit}}})

	m := message(t, call("19", ocs.Update, 1, ask(threshold(50))))
	frame := serveOne(t, s, peer.Remote{Tolerate: diameter.Lenient}, m)
	compare(t, m, frame, proxiable, credit(2, 1), result(2001), mscc(
		gsu(u32(diameter.CCTime, 50)), u32(diameter.RatingGroup, 100), u32(diameter.ValidityTime, 300), result(2001),
		group(diameter.FinalUnitIndication, u32(diameter.FinalUnitAction, 0))))
	if want := golden(t, "G8"); canonical(parse(t, frame).Body(), 0) != canonical(want.Body(), 0) {
		t.Error("CCA-U is not the multiset of G8")
	}

	// 3b: emptied by another session: the code stays inside, the session open.
	m = message(t, call("19", ocs.Update, 2, ask(threshold(50))))
	compare(t, m, serveOne(t, s, peer.Remote{Tolerate: diameter.Lenient}, m), proxiable, credit(2, 2), result(2001),
		mscc(u32(diameter.RatingGroup, 100), result(4012)))
}

// Trace 5b: blocked in mid-session, 4010 at the command.
func TestTrace5bBlocked(t *testing.T) {
	m := message(t, call("20", ocs.Update, 1, ask(UsedUnits{ServiceUnits: timeUnits(33)})))
	frame := serveAgain(t, m, ocs.Outcome{Refusal: ocs.Blocked, Currency: 156, Cost: 330_000,
		Items: []ocs.ItemOutcome{{Target: "100", Debited: 330_000, Refunded: 270_000}}})
	compare(t, m, frame, proxiable, credit(2, 1), result(4010))
	got, _ := ParseCCA(parse(t, frame))
	if got.ErrorMessage != "authenticate.blocked" {
		t.Errorf("Error-Message %q", got.ErrorMessage)
	}
}

// Trace 6: the repeat at the other node: the stored charging part, this
// request's envelope, T clear.
func TestTrace6Replay(t *testing.T) {
	b := &books{outcomes: []ocs.Outcome{slice(500_000)}}
	b.outcomes[0].Replayed = true
	second := diameter.Origin{Host: "ocs2.vpn.example", Realm: "vpn.example"}
	s := NewServer(ServerConfig{Local: second, Tariff: testTariff, SharedDatabase: true}, b)
	m := golden(t, "G12")
	frame := serveOne(t, s, peer.Remote{Tolerate: diameter.Lenient}, m)
	got := parse(t, frame)
	if got.Flags != proxiable || got.HopByHop != 0x1f07 || got.EndToEnd != 0x5a1000d2 {
		t.Errorf("header %+v", got.Header)
	}
	want := slices.Concat(str(diameter.SessionID, "vpnas1.vpn.example;3973000001;21"), str(diameter.OriginHost, second.Host),
		str(diameter.OriginRealm, second.Realm), credit(2, 1), result(2001), sliceAnswer())
	if g, w := canonical(got.Body(), 0), canonical(want, 0); g != w {
		t.Errorf("answer:\n%s\nwant:\n%s", g, w)
	}

	original, _ := ParseCCR(golden(t, "G11"))
	if b.steps[0].Key() != (&ocs.Step{SessionID: original.SessionID, Type: ocs.Update, Number: 1}).Key() {
		t.Error("the repeat has another key than the original")
	}
	if b.steps[0].Content != original.Content {
		t.Error("the repeat has another content hash, though only Destination-Host differs")
	}
	changed := updateOfTrace6("ocs1.vpn.example")
	changed.Services[0].Used[0].Time = Some(uint32(51))
	other, _ := ParseCCR(message(t, changed))
	if other.Content == original.Content {
		t.Error("51 seconds hash like 50 (B-023)")
	}
}
