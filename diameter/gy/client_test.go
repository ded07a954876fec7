package gy

import (
	"context"
	"sync"
	"testing"
	"time"

	"gygate/diameter"
	"gygate/diameter/peer"
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
	raw   func(diameter.Message)
}

func (w *wire) Do(ctx context.Context, r peer.Request) (peer.Answer, error) {
	host := w.host
	if host == "" {
		host = "ocs1.vpn.example"
	}
	m := parse(w.t, r.Encode(nil, host))
	valid(w.t, m)
	if w.raw != nil {
		w.raw(m)
	}
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

// C-011: failure handling is local until an answer tells, then that one.
func TestFailureHandlingC011(t *testing.T) {
	proves(t, "C-011")
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
	proves(t, "C-014", "C-016")
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
