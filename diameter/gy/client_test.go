package gy

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/ocs"
	"gygate/vpnlogic"
)

var testClient = diameter.Origin{Host: "vpnas1.vpn.example", Realm: "vpn.example", StateID: 3973000001}

// sending is one request as it left the client.
type sending struct {
	request peer.Request
	ccr     *CCR
	at      time.Time
}

// wire is a Doer that keeps what was sent and answers by script.
type wire struct {
	t    testing.TB
	mu   sync.Mutex
	sent []sending
	// reply makes the answer to a request sent to that peer.
	reply func(ctx context.Context, s sending) (*CCA, error)
	host  string // the peer
}

func (w *wire) Do(ctx context.Context, r peer.Request) (peer.Answer, error) {
	host := w.host
	if host == "" {
		host = "ocs1.vpn.example"
	}
	m := parse(w.t, r.Encode(nil, host))
	valid(w.t, m)
	ccr, fault := ParseCCR(m)
	if fault != nil {
		w.t.Errorf("the client sends what does not parse: %v", fault)
	}
	s := sending{request: r, ccr: ccr, at: time.Now()}
	w.mu.Lock()
	w.sent = append(w.sent, s)
	w.mu.Unlock()
	answer := peer.Answer{EndToEnd: 77, From: peer.Remote{Host: host}}
	w.mu.Lock()
	reply := w.reply
	w.mu.Unlock()
	cca, err := reply(ctx, s)
	if err != nil {
		return answer, err
	}
	local := diameter.Origin{Host: cca.OriginHost, Realm: "vpn.example"}
	if local.Host == "" {
		local.Host = host
	}
	answer.Message = parse(w.t, cca.Append(nil, m, local))
	return answer, nil
}

// say changes the script.
func (w *wire) say(reply func(context.Context, sending) (*CCA, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reply = reply
}

// inTurn answers the first request by the first reply, and so on.
func inTurn(replies ...func(context.Context, sending) (*CCA, error)) func(context.Context, sending) (*CCA, error) {
	next := 0
	return func(ctx context.Context, s sending) (*CCA, error) {
		next++
		return replies[next-1](ctx, s)
	}
}

// answering makes the answer that echoes the request and holds the rest of a.
func answering(a CCA) func(context.Context, sending) (*CCA, error) {
	return func(_ context.Context, s sending) (*CCA, error) {
		a := a
		if a.ResultCode == 0 {
			a.ResultCode = diameter.Success
		}
		a.Type, a.Number = s.ccr.Type, s.ccr.Number
		return &a, nil
	}
}

func failing(err error) func(context.Context, sending) (*CCA, error) {
	return func(context.Context, sending) (*CCA, error) { return nil, err }
}

// sixty is a grant of a minute.
func sixty() CCA {
	return CCA{Services: []ServiceAnswer{{
		Granted: Some(GrantedUnits{ServiceUnits: timeUnits(60)}), RatingGroup: Some(uint32(100)),
		ResultCode: diameter.Success, Validity: 300, TimeThreshold: 10,
	}}}
}

var theCall = vpnlogic.CallInfo{
	CallID: "call-1@pbx", ICID: "icid-1", Calling: "8613800000001", Dialled: "6002", Called: "8613800000002",
	Group: "7001", CallerShort: "6001", CalledShort: "6002", Member: "m1", Class: vpnlogic.OnNet,
	SetupAt: at("2026-11-23T08:00:00Z"),
}

func answered() vpnlogic.CallInfo {
	c := theCall
	c.AnsweredAt = at("2026-11-23T08:00:12Z")
	return c
}

func initial(session string) vpnlogic.ChargeRequest {
	return vpnlogic.ChargeRequest{Session: session, Type: vpnlogic.ChargeInitial, At: theCall.SetupAt, Payer: "8613800000001",
		RatingGroup: 100, Report: vpnlogic.ReportNone, WantMore: true, Call: theCall}
}

func update(session string, number uint32) vpnlogic.ChargeRequest {
	r := initial(session)
	r.Type, r.Number, r.At, r.Call = vpnlogic.ChargeUpdate, number, at("2026-11-23T08:01:02Z"), answered()
	r.Used, r.Report = 50*time.Second, vpnlogic.ReportThreshold
	return r
}

func final(session string, number uint32) vpnlogic.ChargeRequest {
	r := update(session, number)
	r.Type, r.At, r.Used, r.WantMore = vpnlogic.ChargeTerminate, at("2026-11-23T08:01:44Z"), 42*time.Second, false
	r.Report, r.Cause = vpnlogic.ReportFinal, vpnlogic.CauseOf(vpnlogic.ReasonNormal)
	r.Call.ReleasedAt = r.At
	return r
}

func newTestClient(t testing.TB, config ClientConfig, reply func(context.Context, sending) (*CCA, error)) (*Client, *wire) {
	t.Helper()
	config.Local = testClient
	w := &wire{t: t, reply: reply}
	return NewClient(config, w), w
}

// Trace 1 from the client's side (C-090 to C-104).
func TestClientTrace1(t *testing.T) {
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
	for _, c := range []struct {
		report   vpnlogic.ReportReason
		wantMore bool
		inUnits  Optional[uint32]
		inMSCC   []uint32
	}{
		{vpnlogic.ReportThreshold, true, Some(uint32(0)), nil},
		{vpnlogic.ReportQuotaExhausted, true, Some(uint32(3)), nil},
		{vpnlogic.ReportValidityTime, true, Optional[uint32]{}, []uint32{4}},
		{vpnlogic.ReportFinal, false, Optional[uint32]{}, []uint32{2}},
		{vpnlogic.ReportNone, true, Optional[uint32]{}, nil},
	} {
		r := update("s", 1)
		r.Report, r.WantMore = c.report, c.wantMore
		got := serviceOf(r)
		if got.Requested.Present != c.wantMore || len(got.Used) != 1 || got.Used[0].Reason != c.inUnits || !slices.Equal(got.Reasons, c.inMSCC) {
			t.Errorf("reason %d: %+v", c.report, got)
		}
	}
	r := final("s", 1)
	r.WantMore, r.Used = true, -time.Second
	if got := serviceOf(r); got.Requested.Present || got.Used[0].Time.Value != 0 {
		t.Errorf("final report requests units or reports %d s", got.Used[0].Time.Value)
	}
}

// C-098: the dialled number is told when it is not the translated one.
func TestRequestedPartyC098(t *testing.T) {
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

// What each answer means, at each level and in each interrogation.
func TestChargeResults(t *testing.T) {
	inside := func(code diameter.ResultCode) CCA {
		return CCA{ErrorMessage: "token", Services: []ServiceAnswer{{RatingGroup: Some(uint32(100)), ResultCode: code}}}
	}
	whole := func(code diameter.ResultCode) CCA { return CCA{ResultCode: code, ErrorMessage: "token"} }
	for _, c := range []struct {
		name   string
		answer CCA
		result vpnlogic.ChargeResult
		code   uint32
		openI  bool // the server holds a session after a CCR-I
		openU  bool // … after a CCR-U
	}{
		{"refused C-003 C-025", whole(4010), vpnlogic.ChargeRefused, 4010, false, false},
		{"unknown payer", whole(5030), vpnlogic.ChargeRefused, 5030, false, false},
		{"free C-004", whole(4011), vpnlogic.ChargeFree, 4011, false, false},
		{"no credit C-005", whole(4012), vpnlogic.ChargeNoCredit, 4012, false, false},
		{"failure C-006", whole(5012), vpnlogic.ChargeFailed, 5012, false, false},
		{"session gone", whole(5002), vpnlogic.ChargeFailed, 5002, false, false},
		{"busy C-007", whole(3004), vpnlogic.ChargeUnreachable, 3004, false, true},
		{"no credit inside C-026", inside(4012), vpnlogic.ChargeNoCredit, 4012, true, true},
		{"refused inside", inside(4010), vpnlogic.ChargeRefused, 4010, true, true},
		{"free inside", inside(4011), vpnlogic.ChargeFree, 4011, true, true},
		{"no price inside", inside(5031), vpnlogic.ChargeFailed, 5031, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, w := newTestClient(t, ClientConfig{}, answering(c.answer))
			if a := client.Charge(context.Background(), initial("s")); a.Result != c.result || a.Code != c.code || a.SessionOpen != c.openI || a.Reason != "token" {
				t.Errorf("CCR-I: %+v", a)
			}
			w.say(answering(sixty()))
			client.Charge(context.Background(), initial("s"))
			w.say(answering(c.answer))
			a := client.Charge(context.Background(), update("s", 1))
			if a.Result != c.result || a.SessionOpen != c.openU {
				t.Errorf("CCR-U: %+v", a)
			}
			if _, kept := client.sessions["s"]; kept != c.openU {
				t.Errorf("session remembered: %v", kept)
			}
		})
	}
}

// C-112, C-113, C-058, C-059: answers that are unusual and usable.
func TestGrants(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*CCA)
		want vpnlogic.Grant
	}{
		{"no Result-Code in the MSCC C-112", func(a *CCA) { a.Services[0].ResultCode = 0 }, vpnlogic.Grant{Time: time.Minute, Threshold: 10 * time.Second, ValidFor: 5 * time.Minute}},
		{"nothing granted C-113", func(a *CCA) { a.Services[0] = ServiceAnswer{RatingGroup: Some(uint32(100))} }, vpnlogic.Grant{}},
		{"empty grant C-113", func(a *CCA) {
			a.Services[0] = ServiceAnswer{RatingGroup: Some(uint32(100)), Granted: Some(GrantedUnits{})}
		}, vpnlogic.Grant{}},
		{"zero and final C-058", func(a *CCA) {
			a.Services[0] = ServiceAnswer{Granted: Some(GrantedUnits{ServiceUnits: timeUnits(0)}), FinalUnit: Some(uint32(0))}
		}, vpnlogic.Grant{Final: true}},
		{"unknown final action C-059", func(a *CCA) { a.Services[0].FinalUnit = Some(uint32(9)) },
			vpnlogic.Grant{Time: time.Minute, Threshold: 10 * time.Second, ValidFor: 5 * time.Minute, Final: true}},
		{"time and octets", func(a *CCA) { a.Services[0].Granted.Value.Total = Some(uint64(5)) },
			vpnlogic.Grant{Time: time.Minute, Threshold: 10 * time.Second, ValidFor: 5 * time.Minute}},
		{"at the command", func(a *CCA) { a.Command, a.Services = a.Services[0], nil }, vpnlogic.Grant{Time: time.Minute, ValidFor: 5 * time.Minute}},
		{"another group too", func(a *CCA) {
			a.Services = []ServiceAnswer{{RatingGroup: Some(uint32(7)), ResultCode: 4012}, a.Services[0]}
		}, vpnlogic.Grant{Time: time.Minute, Threshold: 10 * time.Second, ValidFor: 5 * time.Minute}},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer := sixty()
			c.edit(&answer)
			client, _ := newTestClient(t, ClientConfig{}, answering(answer))
			if a := client.Charge(context.Background(), initial("s")); a.Result != vpnlogic.ChargeGranted || a.Grant != c.want {
				t.Errorf("answer %+v, want grant %+v", a, c.want)
			}
		})
	}
}

// C-032, C-114, C-115: what cannot be used fails the call, and the final
// interrogation says so.
func TestBadAnswersC032C115(t *testing.T) {
	echo := func(edit func(*CCA)) func(context.Context, sending) (*CCA, error) {
		return func(_ context.Context, s sending) (*CCA, error) {
			a := sixty()
			a.ResultCode, a.Type, a.Number = diameter.Success, s.ccr.Type, s.ccr.Number
			edit(&a)
			return &a, nil
		}
	}
	for name, edit := range map[string]func(*CCA){
		"octets C-032":       func(a *CCA) { a.Services[0].Granted = Some(GrantedUnits{ServiceUnits: octetUnits(5)}) },
		"money":              func(a *CCA) { a.Services[0].Granted.Value.ServiceUnits = ServiceUnits{Money: Some(AmountOf(5, 156))} },
		"tariff time change": func(a *CCA) { a.Services[0].Granted.Value.TariffTimeChange = time.Now() },
		"wrong number C-115": func(a *CCA) { a.Number++ },
		"wrong type C-115":   func(a *CCA) { a.Type = ocs.Event },
		"another group":      func(a *CCA) { a.Services[0].RatingGroup = Some(uint32(7)) },
	} {
		t.Run(name, func(t *testing.T) {
			c, w := newTestClient(t, ClientConfig{}, echo(edit))
			a := c.Charge(context.Background(), initial("s"))
			if a.Result != vpnlogic.ChargeFailed || a.Reason != vpnlogic.ReasonBadAnswer || !a.SessionOpen || a.Grant != (vpnlogic.Grant{}) {
				t.Errorf("answer %+v", a)
			}
			w.say(answering(CCA{}))
			c.Charge(context.Background(), final("s", 1))
			if got := w.sent[1].ccr.TerminationCause; got != Some(uint32(3)) {
				t.Errorf("Termination-Cause %+v, want DIAMETER_BAD_ANSWER", got)
			}
		})
	}
	t.Run("another session", func(t *testing.T) {
		c, _ := newTestClient(t, ClientConfig{}, nil)
		ccr := requests["G11"]
		ccr.SessionID = "somebody.else;1;2"
		answer := sixty()
		answer.ResultCode, answer.Type, answer.Number = diameter.Success, ocs.Update, 1
		m := parse(t, answer.Append(nil, golden(t, "G11"), testLocal))
		if a := c.read(&ccr, new(session), peer.Answer{Message: m}, nil); a.Result != vpnlogic.ChargeFailed {
			t.Errorf("answer %+v", a)
		}
	})
	t.Run("fault of validation C-114", func(t *testing.T) {
		c, _ := newTestClient(t, ClientConfig{}, nil)
		ccr := requests["G11"]
		m := parse(t, (&CCA{ResultCode: 2001, Type: 2, Number: 1}).Append(nil, golden(t, "G11"), testLocal))
		a := c.read(&ccr, new(session), peer.Answer{Message: m, Fault: &diameter.Error{Code: 5001}}, nil)
		if a.Result != vpnlogic.ChargeFailed {
			t.Errorf("answer %+v", a)
		}
	})
}

// C-011: failure handling is local until an answer tells, then that one.
func TestFailureHandlingC011(t *testing.T) {
	for _, c := range []struct {
		local  vpnlogic.FailureHandling
		answer Optional[uint32]
		want   vpnlogic.FailureHandling
	}{
		{vpnlogic.FailTerminate, Optional[uint32]{}, vpnlogic.FailTerminate},
		{vpnlogic.FailContinue, Optional[uint32]{}, vpnlogic.FailContinue},
		{vpnlogic.FailContinue, Some(uint32(0)), vpnlogic.FailTerminate},
		{vpnlogic.FailTerminate, Some(uint32(1)), vpnlogic.FailContinue},
		{vpnlogic.FailTerminate, Some(uint32(2)), vpnlogic.FailRetryAndTerminate},
		{vpnlogic.FailRetryAndTerminate, Some(uint32(9)), vpnlogic.FailRetryAndTerminate},
	} {
		answer := sixty()
		answer.FailureHandling = c.answer
		client, w := newTestClient(t, ClientConfig{FailureHandling: c.local}, answering(answer))
		first := client.Charge(context.Background(), initial("s"))
		w.say(failing(peer.ErrNoAnswer))
		second := client.Charge(context.Background(), update("s", 1))
		if first.OnFailure != c.want || second.OnFailure != c.want || second.Result != vpnlogic.ChargeUnreachable || !second.SessionOpen {
			t.Errorf("local %d, answer %+v: %d and then %+v, want %d", c.local, c.answer, first.OnFailure, second, c.want)
		}
	}
}

// C-014, C-016: where a request may go, and whom it names there.
func TestRoutingOfASession(t *testing.T) {
	for _, c := range []struct {
		name     string
		failover Optional[uint32]
		server   string // Origin-Host of the answer
		via, to  string // the peer of the CCR-I, and the one of the CCR-U
		want     string // Destination-Host of the CCR-U
		moves    bool
	}{
		{"direct", Optional[uint32]{}, "ocs1", "ocs1", "ocs1", "ocs1", false},
		{"relay", Optional[uint32]{}, "ocs1", "dra1", "dra1", "ocs1", false},
		{"other relay, session stays", Some(uint32(0)), "ocs1", "dra1", "dra2", "ocs1", false},
		{"other relay, session moves", Some(uint32(1)), "ocs1", "dra1", "dra2", "", true},
		{"same relay, session moves", Some(uint32(1)), "ocs1", "dra1", "dra1", "ocs1", true},
		{"direct, session moves", Some(uint32(1)), "ocs1", "ocs1", "ocs2", "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer := sixty()
			answer.OriginHost, answer.SessionFailover = c.server, c.failover
			client, w := newTestClient(t, ClientConfig{}, answering(answer))
			w.host = c.via
			client.Charge(context.Background(), initial("s"))
			if first := w.sent[0]; !first.request.Failover || first.request.Stay != "" || first.ccr.DestinationHost != "" {
				t.Errorf("CCR-I: %+v to %q", first.request, first.ccr.DestinationHost)
			}
			w.host = c.to
			client.Charge(context.Background(), update("s", 1))
			second := w.sent[1]
			if second.request.Stay != c.server || second.request.Failover != c.moves || second.ccr.DestinationHost != c.want {
				t.Errorf("CCR-U: stay %q failover %v Destination-Host %q", second.request.Stay, second.request.Failover, second.ccr.DestinationHost)
			}
		})
	}
	t.Run("second try of one request", func(t *testing.T) {
		s := session{host: "ocs1", via: "dra1", failover: true}
		if first, second := s.destination("dra1", 0), s.destination("dra1", 1); first != "ocs1" || second != "" {
			t.Errorf("Destination-Host %q, then %q", first, second)
		}
	})
}
