package gy

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/ocs"
)

// raw builds a request AVP by AVP, for what a CCR struct cannot say.
func raw(t testing.TB, members ...[]byte) diameter.Message {
	t.Helper()
	b := diameter.Start(nil, diameter.Header{Flags: diameter.FlagRequest | diameter.FlagProxiable,
		Command: diameter.CmdCreditControl, Application: 4, HopByHop: 0xb01, EndToEnd: 0x5a100011})
	return parse(t, diameter.Finish(append(b, slices.Concat(members...)...), 0))
}

// Trace 11: what is missing or wrong in a request, and nothing reaches the books.
func TestTrace11Faults(t *testing.T) {
	session := str(diameter.SessionID, "vpnas1.vpn.example;3973000001;31")
	origin := slices.Concat(str(diameter.OriginHost, "vpnas1.vpn.example"), str(diameter.OriginRealm, "vpn.example"),
		str(diameter.DestinationRealm, "vpn.example"), u32(diameter.AuthApplicationID, 4))
	contextID := str(diameter.ServiceContextID, ContextVoice)
	kind, number := u32(diameter.CCRequestType, 1), u32(diameter.CCRequestNumber, 0)
	app := u32(diameter.AuthApplicationID, 4)
	proxy := golden(t, "G4")
	proxyInfo, _ := proxy.Find(diameter.ProxyInfo)

	for _, c := range []struct {
		name  string
		m     diameter.Message
		flags []diameter.Flags
		want  [][]byte
	}{
		{"11 no CC-Request-Number A-047 A-066", proxy, []diameter.Flags{0x40, 0x60},
			[][]byte{result(5005), app, kind, group(diameter.FailedAVP, number), proxyInfo.Raw}},
		{"11b no Session-Id", raw(t, origin, contextID, kind, number), []diameter.Flags{0x60},
			[][]byte{result(5005), app, kind, number, group(diameter.FailedAVP, diameter.AppendBytes(nil, diameter.SessionID, nil))}},
		{"11c no Service-Context-Id", raw(t, session, origin, kind, number), []diameter.Flags{0x40},
			[][]byte{result(5005), app, kind, number, group(diameter.FailedAVP, diameter.AppendBytes(nil, diameter.ServiceContextID, nil))}},
		{"11h CC-Request-Type 9 A-048", raw(t, session, origin, contextID, u32(diameter.CCRequestType, 9), number), []diameter.Flags{0x40},
			[][]byte{result(5004), app, number, group(diameter.FailedAVP, u32(diameter.CCRequestType, 9))}},
		{"CC-Request-Type 0 B-005", raw(t, session, origin, contextID, u32(diameter.CCRequestType, 0), number), []diameter.Flags{0x40},
			[][]byte{result(5004), app, number, group(diameter.FailedAVP, u32(diameter.CCRequestType, 0))}},
		{"Subscription-Id-Type 77 B-053", raw(t, session, origin, contextID, kind, number,
			group(diameter.SubscriptionID, u32(diameter.SubscriptionIDType, 77), str(diameter.SubscriptionIDData, "1"))), []diameter.Flags{0x40},
			[][]byte{result(5004), app, kind, number, group(diameter.FailedAVP, u32(diameter.SubscriptionIDType, 77))}},
		{"two members of an extension B-062", raw(t, session, origin, contextID, kind, number,
			group(diameter.SubscriptionIDExtension, str(diameter.SubscriptionIDE164, "1"), str(diameter.SubscriptionIDIMSI, "2"))), []diameter.Flags{0x40},
			[][]byte{result(5009), app, kind, number, group(diameter.FailedAVP, str(diameter.SubscriptionIDIMSI, "2"))}},
		{"quantity beyond 63 bits", raw(t, session, origin, contextID, kind, number,
			group(diameter.RequestedServiceUnit, u64(diameter.CCTotalOctets, 1<<63))), []diameter.Flags{0x40},
			[][]byte{result(5004), app, kind, number, group(diameter.FailedAVP, u64(diameter.CCTotalOctets, 1<<63))}},
		{"unknown context B-003", raw(t, session, origin, str(diameter.ServiceContextID, "nope@x"), kind, number), []diameter.Flags{0x40},
			[][]byte{result(5031), app, kind, number, group(diameter.FailedAVP, str(diameter.ServiceContextID, "nope@x"))}},
		{"no identity B-059", raw(t, session, origin, contextID, kind, number), []diameter.Flags{0x40},
			[][]byte{result(5031), app, kind, number, group(diameter.FailedAVP, diameter.AppendBytes(nil, diameter.SubscriptionID, nil))}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, b := testServer()
			frame := serveOne(t, s, peer.Remote{Tolerate: diameter.Lenient}, c.m)
			flags := diameter.Flags(frame[4])
			if !slices.Contains(c.flags, flags) {
				t.Errorf("flags %02x", flags)
			}
			compare(t, c.m, frame, flags, c.want...)
			if len(b.steps) != 0 {
				t.Error("the request reached the books")
			}
		})
	}
}

func TestMoreTargetsThanAStepHolds(t *testing.T) {
	r := call("54", ocs.Initial, 0, ask())
	r.Services = slices.Repeat(r.Services, ocs.ItemsMax+1)
	m := message(t, r)
	s, _ := testServer()
	compare(t, m, serveOne(t, s, peer.Remote{Tolerate: diameter.Lenient}, m), proxiable, credit(1, 0), result(5009),
		group(diameter.FailedAVP, mscc(group(diameter.RequestedServiceUnit), u32(diameter.RatingGroup, 100))))
}

// a full queue is 3004 to who named us, 3002 to who can go elsewhere.
func TestOverloadA063(t *testing.T) {
	for host, want := range map[string]diameter.ResultCode{"": 3002, "OCS1.vpn.example": 3004, "ocs2.vpn.example": 3002} {
		r := call("56", ocs.Update, 1, ask(threshold(50)))
		r.DestinationHost = host
		m := message(t, r)
		compare(t, m, serveAgain(t, m, ocs.Outcome{Refusal: ocs.Busy}), proxiable|diameter.FlagError, credit(2, 1), result(want))
	}
}

func TestOtherCommandsAreNotOurs(t *testing.T) {
	b := diameter.Start(nil, diameter.Header{Flags: diameter.FlagRequest | diameter.FlagProxiable, Command: 275, Application: 4})
	m := parse(t, diameter.Finish(append(b, str(diameter.SessionID, "a;1;2")...), 0))
	s, _ := testServer()
	compare(t, m, serveOne(t, s, peer.Remote{Tolerate: diameter.Lenient}, m), proxiable|diameter.FlagError, result(3001))
}

// panicking panics where told, and can answer late or twice.
type panicking struct {
	submit bool
	done   []func(ocs.Outcome)
}

func (p *panicking) Submit(_ *ocs.Step, done func(ocs.Outcome)) {
	p.done = append(p.done, done)
	if p.submit {
		panic("injected")
	}
}

// B-157: a fault of ours is 5012, once, and takes nobody else with it.
func TestPanicIsAnswered5012B157(t *testing.T) {
	proves(t, "B-157")
	var log bytes.Buffer
	p := &panicking{submit: true}
	s := NewServer(ServerConfig{Local: testLocal, Tariff: testTariff, Logger: slog.New(slog.NewTextHandler(&log, nil))}, p)
	m := message(t, call("57", ocs.Initial, 0, ask()))
	compare(t, m, serveOne(t, s, peer.Remote{Tolerate: diameter.Lenient}, m), proxiable, credit(1, 0), result(5012))
	if !strings.Contains(log.String(), "injected") || strings.Contains(log.String(), "8613800000001") {
		t.Errorf("log %s", &log)
	}

	// In the mapping of the outcome: a grant without a quantity to read.
	var answers [][]byte
	p.submit = false
	s.Serve(context.Background(), peer.Remote{Tolerate: diameter.Lenient}, m, func(frame []byte) { answers = append(answers, bytes.Clone(frame)) })
	broken := NewServer(ServerConfig{Local: testLocal, Tariff: testTariff}, nil)
	broken.Serve(context.Background(), peer.Remote{Tolerate: diameter.Lenient}, m, func(frame []byte) { answers = append(answers, bytes.Clone(frame)) })
	p.done[1](slice(0))
	p.done[1](slice(0))
	if len(answers) != 2 {
		t.Fatalf("answered %d times, want 2", len(answers))
	}
	compare(t, m, answers[0], proxiable, credit(1, 0), result(5012))
	compare(t, m, answers[1], proxiable, credit(1, 0), result(2001), u32(diameter.CreditControlFailureHandling, 0), sliceAnswer())
}

// Answers come from the engine's goroutines, for many requests at once.
func TestConcurrentAnswers(t *testing.T) {
	const requests = 64
	s := NewServer(ServerConfig{Local: testLocal, Tariff: testTariff}, later{})
	var answered sync.WaitGroup
	for n := range uint32(requests) {
		answered.Add(1)
		go s.Serve(context.Background(), peer.Remote{Tolerate: diameter.Lenient}, message(t, call("58", ocs.Update, n, ask())), func([]byte) { answered.Done() })
	}
	answered.Wait()
}

// later answers from another goroutine.
type later struct{}

func (later) Submit(_ *ocs.Step, done func(ocs.Outcome)) { go done(slice(0)) }

// B-053, B-054, B-056, B-057, B-060, B-062: who pays.
func TestPayers(t *testing.T) {
	a := ocs.Identity{Kind: ocs.E164, Value: "8613800000001"}
	imsi := ocs.Identity{Kind: ocs.IMSI, Value: "460001234567890"}
	for _, c := range []struct {
		name string
		edit func(*CCR)
		want []ocs.Identity
	}{
		{"plus B-056", func(r *CCR) { r.Payer = []Subscription{{ocs.E164, "+8613800000001"}} }, []ocs.Identity{a}},
		{"tel B-056", func(r *CCR) { r.Payer = []Subscription{{ocs.E164, "tel:+8613800000001"}} }, []ocs.Identity{a}},
		{"several B-054", func(r *CCR) {
			r.Payer = []Subscription{{ocs.IMSI, "460001234567890"}, {ocs.E164, "8613800000001"}}
		}, []ocs.Identity{imsi, a}},
		{"SIP URI B-057", func(r *CCR) { r.Payer = []Subscription{{ocs.SIPURI, "sip:+8613800000001@Ims.Example;user=phone"}} }, []ocs.Identity{a}},
		{"NAI B-053", func(r *CCR) { r.Payer = []Subscription{{ocs.NAI, "u@Ims.Example"}} }, []ocs.Identity{{Kind: ocs.NAI, Value: "u@ims.example"}}},
		{"private B-053", func(r *CCR) { r.Payer = []Subscription{{ocs.Private, "group-7001"}} }, []ocs.Identity{{Kind: ocs.Private, Value: "group-7001"}}},
		{"inside Service-Information B-060", func(r *CCR) { r.Payer, r.Call.Payer = nil, r.Payer }, []ocs.Identity{a}},
		{"the command's win D-008", func(r *CCR) { r.Call.Payer = []Subscription{{ocs.E164, "8613800000009"}} }, []ocs.Identity{a}},
		{"User-Name B-059", func(r *CCR) { r.Payer, r.UserName = nil, "tel:+8613800000001" }, []ocs.Identity{a}},
		{"User-Name is the last resort", func(r *CCR) { r.UserName = "tel:+8613800000009" }, []ocs.Identity{a}},
		{"an unusable one is left out", func(r *CCR) { r.Payer = append([]Subscription{{ocs.IMSI, "x"}}, r.Payer...) }, []ocs.Identity{a}},
		{"an update may omit it B-061", func(r *CCR) { r.Type, r.Payer, r.UserName = ocs.Update, nil, "tel:+8613800000001" }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := call("59", ocs.Initial, 0, ask())
			c.edit(&r)
			s, b := testServer(slice(0))
			frame := serveOne(t, s, peer.Remote{Tolerate: diameter.Lenient}, message(t, r))
			if len(b.steps) != 1 || !slices.Equal(b.steps[0].Payer, c.want) {
				t.Fatalf("steps %+v, want payer %v", b.steps, c.want)
			}
			if got, _ := ParseCCA(parse(t, frame)); got.UserName != r.UserName {
				t.Errorf("User-Name %q, want %q", got.UserName, r.UserName)
			}
		})
	}
	t.Run("extension B-062", func(t *testing.T) {
		m := raw(t, str(diameter.SessionID, "a;1;2"), str(diameter.OriginHost, "a.example"), str(diameter.OriginRealm, "example"),
			str(diameter.DestinationRealm, "vpn.example"), u32(diameter.AuthApplicationID, diameter.AppCreditControl),
			str(diameter.ServiceContextID, ContextSIP), u32(diameter.CCRequestType, 1), u32(diameter.CCRequestNumber, 0),
			group(diameter.SubscriptionIDExtension, str(diameter.SubscriptionIDE164, "8613800000001")))
		s, b := testServer(slice(0))
		serveOne(t, s, peer.Remote{Tolerate: diameter.Lenient}, m)
		if len(b.steps) != 1 || !slices.Equal(b.steps[0].Payer, []ocs.Identity{a}) {
			t.Errorf("steps %+v", b.steps)
		}
	})
	t.Run("two accounts B-055", func(t *testing.T) {
		r := call("59", ocs.Initial, 0, ask())
		r.Payer = append(r.Payer, Subscription{ocs.IMSI, "460001234567890"})
		m := message(t, r)
		compare(t, m, serveAgain(t, m, ocs.Outcome{Refusal: ocs.IdentityConflict}), proxiable, credit(1, 0), result(5007),
			group(diameter.FailedAVP, group(diameter.SubscriptionID, r.Payer[0].append(nil)), group(diameter.SubscriptionID, r.Payer[1].append(nil))))
	})
}

func TestDigitsOfPartyAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"tel:+8613800000002":                     "8613800000002",
		"TEL:+86-138.0000(0002);x=y":             "8613800000002",
		"8613800000002":                          "8613800000002",
		"+8613800000002":                         "8613800000002",
		"sip:+8613800000002@ims.example":         "8613800000002",
		"sips:8613800000002@ims.example;user=ph": "8613800000002",
		"sip:alice@ims.example":                  "",
		"tel:6002;phone-context=vpn7001.example": "",
		"":                                       "",
		"urn:service:sos":                        "",
	} {
		if got := digitsOf(address); got != want {
			t.Errorf("digits of %q are %q, want %q", address, got, want)
		}
	}
}

// B-004: operator and release labels in front of a context say nothing.
func TestContextNamesB004(t *testing.T) {
	for id, want := range map[string]string{
		"32260@3gpp.org": "32260@3gpp.org", "8.32260@3gpp.org": "32260@3gpp.org",
		"ext.01.001.8.32260@3GPP.org": "32260@3gpp.org", "nope": "nope", "": "", "a.b@C.d": "b@c.d", "x@y.z@q": "x@y.z@q",
	} {
		if got := contextName(id); got != want {
			t.Errorf("context %q is %q, want %q", id, got, want)
		}
	}
}

// B-178, B-179 and the other things an operator may add.
func TestOptionalAnswerAVPs(t *testing.T) {
	s, b := testServer()
	s.config.SharedDatabase, s.config.RemainingBalance, s.config.CostInUpdates = false, true, true
	s.config.LowBalanceBelow, s.config.FailureHandling = 1_000_000, 1
	for available, low := range map[ocs.Money][]byte{990_000: u32(diameter.LowBalanceIndication, 1), 1_000_000: nil} {
		o := closed(500_000)
		o.Available = available
		b.outcomes = append(b.outcomes, o, o)
		remaining := group(diameter.RemainingBalance, unitValue(int64(available)/10_000, -2), u32(diameter.CurrencyCode, 156))

		m := message(t, call("60", ocs.Update, 1, report(50)))
		compare(t, m, serveOne(t, s, peer.Remote{Tolerate: diameter.Lenient}, m), proxiable, credit(2, 1), result(2001), plainAnswer(100), cost(50, -2, 156), low, remaining)
		m = message(t, call("60", ocs.Initial, 0, ask()))
		compare(t, m, serveOne(t, s, peer.Remote{Tolerate: diameter.Lenient}, m), proxiable, credit(1, 0), result(2001), plainAnswer(100),
			u32(diameter.CreditControlFailureHandling, 1), low, remaining)
	}
}
