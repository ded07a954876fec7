package gy

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/vpnlogic"
)

// fakeCalls keeps what was asked and answers by the test's word.
type fakeCalls struct {
	asked   []string
	reauth  vpnlogic.Reauthorization
	abort   vpnlogic.Abortion
	waiting []func() // answers held back
	hold    bool
}

func (f *fakeCalls) Reauthorize(session string, group *uint32, done func(vpnlogic.Reauthorization)) {
	scope := "all"
	if group != nil {
		scope = fmt.Sprint(*group)
	}
	f.asked = append(f.asked, "RAR "+session+" "+scope)
	f.answer(func() { done(f.reauth) })
}

func (f *fakeCalls) Abort(session string, done func(vpnlogic.Abortion)) {
	f.asked = append(f.asked, "ASR "+session)
	f.answer(func() { done(f.abort) })
}

func (f *fakeCalls) answer(done func()) {
	if f.hold {
		f.waiting = append(f.waiting, done)
		return
	}
	done()
}

const askedSession = "vpnas1.vpn.example;3973000001;19"

// newTestCallServer knows askedSession, held by a charging system of vpn.example.
func newTestCallServer(calls Calls) *CallServer {
	s := NewCallServer(CallServerConfig{Local: testClient, Realm: func(id string) string {
		if id == askedSession {
			return "vpn.example"
		}
		return ""
	}})
	s.Attach(calls)
	return s
}

// questioned returns the frame that answers a request, nil for none yet.
func questioned(t testing.TB, s *CallServer, frame []byte) (answers [][]byte) {
	t.Helper()
	m := parse(t, frame)
	valid(t, m)
	s.Serve(context.Background(), peer.Remote{Host: "ocs1.vpn.example"}, m, func(b []byte) { answers = append(answers, b) })
	return answers
}

// RAA and ASA: Session-Id first, Result-Code, our identity, Proxy-Info as it
// came, the header mirrored; neither Auth-Application-Id nor Destination-*.
func TestAnswersToServerC077(t *testing.T) {
	proves(t, "C-077")
	proxies := slices.Concat(
		group(diameter.ProxyInfo, str(diameter.ProxyHost, "dra1.vpn.example"), diameter.AppendBytes(nil, diameter.ProxyState, []byte{0, 0xff, 0x10})),
		group(diameter.ProxyInfo, str(diameter.ProxyHost, "dra2.vpn.example"), diameter.AppendBytes(nil, diameter.ProxyState, []byte{7})))
	s := newTestCallServer(&fakeCalls{reauth: vpnlogic.ReauthWillReport})
	for command, code := range map[uint32]uint32{diameter.CmdReAuth: 2002, diameter.CmdAbortSession: 2001} {
		got := questioned(t, s, serverRequest(testLocal, command, askedSession, 0x7e000001, proxies))
		if len(got) != 1 {
			t.Fatalf("%d answers", len(got))
		}
		want := slices.Concat(str(diameter.SessionID, askedSession), u32(diameter.ResultCodeAVP, code),
			str(diameter.OriginHost, testClient.Host), str(diameter.OriginRealm, testClient.Realm), proxies)
		m := parse(t, got[0])
		valid(t, m)
		if string(m.Body()) != string(want) || m.Flags != diameter.FlagProxiable || m.Command != command || m.EndToEnd != 0x7e000001 || m.HopByHop != 0x7e000002 {
			t.Errorf("command %d: header %+v, body %x, want %x", command, m.Header, m.Body(), want)
		}
	}
}

// What the call says, in Result-Codes; what it is asked, in its terms.
func TestScopesAndCodes(t *testing.T) {
	u := func(a diameter.Attribute, v uint32) []byte { return u32(a, v) }
	for _, c := range []struct {
		name    string
		command uint32
		session string
		more    []byte
		calls   fakeCalls
		code    diameter.ResultCode
		asked   string
	}{
		{"open", diameter.CmdReAuth, askedSession, nil, fakeCalls{reauth: vpnlogic.ReauthWillReport}, 2002, "RAR " + askedSession + " all"},
		{"one group", diameter.CmdReAuth, askedSession, u(diameter.RatingGroup, 100), fakeCalls{reauth: vpnlogic.ReauthWillReport}, 2002, "RAR " + askedSession + " 100"},
		{"under way", diameter.CmdReAuth, askedSession, nil, fakeCalls{reauth: vpnlogic.ReauthUnderWay}, 2001, "RAR " + askedSession + " all"},
		{"unknown", diameter.CmdReAuth, "vpnas1.vpn.example;1;1", nil, fakeCalls{reauth: vpnlogic.ReauthUnknown}, 5002, "RAR vpnas1.vpn.example;1;1 all"},
		{"other group", diameter.CmdReAuth, askedSession, u(diameter.RatingGroup, 7), fakeCalls{reauth: vpnlogic.ReauthNotActive}, 5012, "RAR " + askedSession + " 7"},
		{"a service", diameter.CmdReAuth, askedSession, u(diameter.ServiceIdentifier, 7), fakeCalls{}, 5012, ""},
		{"a pool", diameter.CmdReAuth, askedSession, u(diameter.GSUPoolIdentifier, 1), fakeCalls{}, 5012, ""},
		{"a sub-session", diameter.CmdReAuth, askedSession, u64(diameter.CCSubSessionID, 1), fakeCalls{}, 5012, ""},
		{"a service of an unknown session", diameter.CmdReAuth, "vpnas1.vpn.example;1;1", u(diameter.ServiceIdentifier, 7), fakeCalls{}, 5002, ""},
		{"abort", diameter.CmdAbortSession, askedSession, nil, fakeCalls{abort: vpnlogic.AbortAccepted}, 2001, "ASR " + askedSession},
		{"abort unknown", diameter.CmdAbortSession, "vpnas1.vpn.example;1;1", nil, fakeCalls{abort: vpnlogic.AbortUnknown}, 5002, "ASR vpnas1.vpn.example;1;1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newTestCallServer(&c.calls)
			got := questioned(t, s, serverRequest(testLocal, c.command, c.session, 1, c.more))
			if len(got) != 1 {
				t.Fatalf("%d answers", len(got))
			}
			if m := parse(t, got[0]); m.ResultCode() != c.code || m.Flags&diameter.FlagError != 0 {
				t.Errorf("Result-Code %d flags %02x, want %d", m.ResultCode(), m.Flags, c.code)
			}
			if asked := fmt.Sprint(c.calls.asked); c.asked != "" && asked != "["+c.asked+"]" || c.asked == "" && len(c.calls.asked) > 0 {
				t.Errorf("asked %s, want %q", asked, c.asked)
			}
		})
	}
}

// C-078: only the realm of the session's charging system may ask.
func TestForeignRealmC078(t *testing.T) {
	proves(t, "C-078")
	for _, command := range []uint32{diameter.CmdReAuth, diameter.CmdAbortSession} {
		calls := &fakeCalls{}
		s := newTestCallServer(calls)
		log := new(logLines)
		s.config.Logger = log.logger()
		stranger := diameter.Origin{Host: "ocs1.evil.example", Realm: "evil.example"}
		got := questioned(t, s, serverRequest(stranger, command, askedSession, 1))
		if m := parse(t, got[0]); m.ResultCode() != 5003 || len(calls.asked) > 0 || !log.has("evil.example") {
			t.Errorf("Result-Code %d, asked %v, log %s", m.ResultCode(), calls.asked, log)
		}
		friend := diameter.Origin{Host: "ocs9.vpn.example", Realm: "VPN.Example"}
		if questioned(t, s, serverRequest(friend, command, askedSession, 2)); len(calls.asked) != 1 {
			t.Error("another host of the realm is refused")
		}
	}
}

// C-079: a duplicate gets the answer of the first one; the call is asked once.
func TestDuplicateQuestionsC079(t *testing.T) {
	proves(t, "C-079")
	synctest.Test(t, func(t *testing.T) {
		calls := &fakeCalls{reauth: vpnlogic.ReauthWillReport, hold: true}
		s := newTestCallServer(calls)
		var order []string
		ask := func(name string, host string, endToEnd uint32) {
			from := diameter.Origin{Host: host, Realm: "vpn.example"}
			m := parse(t, serverRequest(from, diameter.CmdReAuth, askedSession, endToEnd))
			diameter.SetHop(m.Raw, uint32(len(order))+100)
			m = parse(t, m.Raw)
			s.Serve(t.Context(), peer.Remote{}, m, func(b []byte) {
				answer := parse(t, b)
				if answer.HopByHop != m.HopByHop || answer.EndToEnd != endToEnd {
					t.Errorf("%s: header %+v", name, answer.Header)
				}
				order = append(order, fmt.Sprint(name, " ", answer.ResultCode()))
			})
		}
		ask("first", "ocs1.vpn.example", 7)
		ask("copy while it waits", "OCS1.vpn.example", 7)
		calls.waiting[0]()
		ask("copy afterwards", "ocs1.vpn.example", 7)
		want := []string{"first 2002", "copy while it waits 2002", "copy afterwards 2002"}
		if !slices.Equal(order, want) || len(calls.asked) != 1 {
			t.Fatalf("%q, the call was asked %d times", order, len(calls.asked))
		}
		ask("another host", "ocs2.vpn.example", 7)
		ask("another identifier", "ocs1.vpn.example", 8)
		pass(askedLife)
		ask("after four minutes", "ocs1.vpn.example", 7)
		if len(calls.asked) != 4 {
			t.Errorf("the call was asked %d times, want 4", len(calls.asked))
		}
	})
}

// What is remembered is bounded, by number and by age.
func TestQuestionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q questions
		ignore := func(diameter.ResultCode) {}
		for i := range uint32(askedMax + 10) {
			_, settle := q.enter(questionKey{endToEnd: i}, ignore)
			settle(diameter.Success)
			settle(diameter.UnableToComply) // the first word counts
		}
		if len(q.order) != askedMax || len(q.known) != askedMax {
			t.Errorf("%d and %d are remembered", len(q.order), len(q.known))
		}
		if first, _ := q.enter(questionKey{endToEnd: 0}, ignore); !first {
			t.Error("the oldest one is still there")
		}
		code := diameter.ResultCode(0)
		if first, _ := q.enter(questionKey{endToEnd: askedMax}, func(c diameter.ResultCode) { code = c }); first || code != diameter.Success {
			t.Errorf("first %v, code %d", first, code)
		}
		pass(askedLife)
		q.enter(questionKey{endToEnd: 1}, ignore)
		if len(q.order) != 1 || len(q.known) != 1 {
			t.Errorf("%d and %d are remembered after four minutes", len(q.order), len(q.known))
		}
	})
}

// Before Attach no session is known.
func TestCallServerWithoutCalls(t *testing.T) {
	s := NewCallServer(CallServerConfig{Local: testClient})
	for _, command := range []uint32{diameter.CmdReAuth, diameter.CmdAbortSession} {
		got := questioned(t, s, serverRequest(testLocal, command, askedSession, 1))
		if m := parse(t, got[0]); m.ResultCode() != diameter.UnknownSessionID {
			t.Errorf("Result-Code %d", m.ResultCode())
		}
	}
}

// The client knows the realm of each session's charging system.
func TestServerRealm(t *testing.T) {
	c, w := newTestClient(t, ClientConfig{Realm: "charging.example"}, failing(peer.ErrNoAnswer))
	c.Charge(context.Background(), initial("s"))
	if got := c.ServerRealm("s"); got != "charging.example" {
		t.Errorf("before an answer: %q", got)
	}
	w.say(answering(sixty()))
	c.Charge(context.Background(), initial("s"))
	if got := c.ServerRealm("s"); got != "vpn.example" {
		t.Errorf("after it: %q", got)
	}
	if got := c.ServerRealm("other"); got != "" {
		t.Errorf("unknown session: %q", got)
	}
}
