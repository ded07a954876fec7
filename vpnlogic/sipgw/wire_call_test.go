package sipgw

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"gygate/vpnlogic"
)

const (
	offerSDP  = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=offer\r\n"
	answerSDP = "v=0\r\no=- 2 1 IN IP4 127.0.0.1\r\ns=answer\r\n"
	holdSDP   = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=hold\r\n"
	heldSDP   = "v=0\r\no=- 2 2 IN IP4 127.0.0.1\r\ns=held\r\n"
)

// bench is a gateway between two bare sockets.
type bench struct {
	t        *testing.T
	g        *Gateway
	service  *fakeCalls
	a, b     *wire
	caller   *dialogue
	callee   *dialogue
	c        *fakeCall
	incoming *sip.Request // the INVITE the callee got
}

func newBench(t *testing.T, change func(*Config)) *bench {
	t.Helper()
	t.Parallel() // the waits of SIP go by side by side
	x := &bench{t: t, service: newFakeCalls(), b: newWire(t, "")}
	x.g = startGateway(t, x.service, func(c *Config) {
		c.Contacts = map[string]string{"8613800000002": "sip:8613800000002@" + x.b.addr()}
		if change != nil {
			change(c)
		}
	})
	x.a = newWire(t, addrOf(x.g, "udp"))
	x.caller = x.a.caller()
	return x
}

// invite brings a call to the callee.
func (x *bench) invite(body string, headers ...string) {
	x.t.Helper()
	x.caller.request(sip.INVITE, body, headers...)
	x.c = x.service.next(x.t)
	x.c.Connect(onNet(true))
	x.incoming = x.b.readRequest(sip.INVITE)
	x.callee = x.b.callee(x.incoming)
}

// connect brings a call to its talk.
func (x *bench) connect(inviteHeaders, answerHeaders []string) {
	x.t.Helper()
	x.invite(offerSDP, inviteHeaders...)
	x.b.answer(x.incoming, 200, answerSDP, answerHeaders...)
	ok := x.caller.readStatus(sip.INVITE, 200)
	x.caller.established(ok)
	x.caller.request(sip.ACK, "")
	x.b.readRequest(sip.ACK)
	x.c.expect(x.t, "answered")
	x.settle()
}

// settle waits until the gateway has taken the last ACK: the library hands
// requests over in goroutines of their own, in no order.
func (x *bench) settle() {
	x.t.Helper()
	b := x.bridge()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		settled := make(chan bool, 1)
		if !b.post(func() { settled <- b.phase == active && b.relay == nil && !b.ack.waiting }) {
			x.t.Fatal("the call is gone")
		}
		if <-settled {
			return
		}
	}
	x.t.Fatal("the ACK never came")
}

func (x *bench) bridge() *bridge {
	x.t.Helper()
	x.g.mu.Lock()
	defer x.g.mu.Unlock()
	for _, d := range x.g.dialogs {
		return d.bridge
	}
	x.t.Fatal("no call")
	return nil
}

// released answers the BYEs that the gateway sends to the ends given.
func (x *bench) released(ends ...*wire) {
	x.t.Helper()
	for _, w := range ends {
		w.answer(w.readRequest(sip.BYE), 200, "")
	}
}

func TestOutgoingInvite(t *testing.T) {
	x := newBench(t, nil)
	x.invite(offerSDP,
		"Max-Forwards: 20",
		`P-Charging-Vector: icid-value="a;b=1";icid-generated-at=192.0.2.1`,
		"P-Asserted-Identity: \"A, B\" <sip:+86-138(0000)0001@ims.example;user=phone>, <tel:+8613800000001>",
		"Supported: 100rel, timer, replaces",
		"Subject: lunch", "X-Secret: stays")
	a := x.c.attempt
	if a.Calling != "+8613800000001" || a.Dialled != "6002" || a.ICID != "a;b=1" || a.Charged || a.CallID != x.caller.callID {
		t.Errorf("attempt %+v", a)
	}
	req := x.incoming
	if req.Recipient.User != "8613800000002" || req.From().Address.User != "6001" {
		t.Errorf("request line or From wrong:\n%s", req)
	}
	if req.CallID().Value() == x.caller.callID || req.From().Params.GetOr("tag", "") == x.a.tag {
		t.Error("the legs share a dialog")
	}
	if string(req.Body()) != offerSDP {
		t.Errorf("body %q", req.Body())
	}
	wantValue(t, req, "Max-Forwards", "19")
	wantValue(t, req, "Supported", "timer")
	wantValue(t, req, "Subject", "lunch")
	wantValue(t, req, "X-Secret", "")
	wantValue(t, req, "Content-Type", "application/sdp")
	wantValue(t, req, chargedHeader, chargedValue)
	wantValue(t, req, "Session-Expires", "180;refresher=uac")
	wantValue(t, req, "Min-SE", "90")
	if asserted := value(req, "P-Asserted-Identity"); !strings.Contains(asserted, "sip:6001@") {
		t.Errorf("P-Asserted-Identity %q", asserted)
	}
	x.b.answer(req, 486, "")
	x.c.expect(t, "failed called.busy")
	res := x.caller.readStatus(sip.INVITE, 486)
	wantValue(t, res, "Reason", `Q.850;cause=17;text="called.busy"`)
}

func TestTrustedHopKeepsRouteAndCharging(t *testing.T) {
	var scscf *wire
	x := newBench(t, func(c *Config) { c.Contacts, c.NextHop = nil, "192.0.2.9:5060" })
	scscf = x.b
	vector := `icid-value=AyretyU0dm;orig-ioi=home1.net`
	x.caller.target = "sip:6002@ims.example"
	x.invite(offerSDP,
		"Route: <sip:"+addrOf(x.g, "udp")+";lr>, <sip:odi-42@"+scscf.addr()+";lr>, <sip:far.example;lr>",
		"P-Charging-Vector: "+vector, "Privacy: id", "P-Access-Network-Info: 3GPP-E-UTRAN-FDD",
		"X-Prepaid-Charged: vpn")
	if !x.c.attempt.Charged {
		t.Error("the mark of another trigger was not seen")
	}
	req := x.incoming
	var routes []string
	for _, h := range req.GetHeaders("Route") {
		routes = append(routes, h.Value())
	}
	if got, want := strings.Join(routes, " "), "<sip:odi-42@"+scscf.addr()+";lr> <sip:far.example;lr>"; got != want {
		t.Errorf("Route %q, want %q", got, want)
	}
	if got := req.Recipient.String(); got != "sip:+8613800000002@ims.example;user=phone" {
		t.Errorf("Request-URI %q", got)
	}
	wantValue(t, req, "P-Charging-Vector", vector)
	wantValue(t, req, "Privacy", "id")
	wantValue(t, req, "P-Access-Network-Info", "3GPP-E-UTRAN-FDD")
	if req.From().Address.Host != "anonymous.invalid" || !strings.Contains(value(req, "P-Asserted-Identity"), "6001") {
		t.Errorf("privacy inside the trust domain:\n%s", req)
	}
	x.b.answer(req, 404, "")
	x.caller.readStatus(sip.INVITE, 404)
}

func TestPrivacyTowardsAPhone(t *testing.T) {
	x := newBench(t, nil)
	x.invite(offerSDP, "Privacy: id", "P-Asserted-Identity: <tel:+8613800000001>", "P-Access-Network-Info: secret")
	if strings.Contains(x.incoming.String(), "6001") || strings.Contains(x.incoming.String(), "13800000001") {
		t.Errorf("the caller shows:\n%s", x.incoming)
	}
	wantValue(t, x.incoming, "P-Access-Network-Info", "")
	x.b.answer(x.incoming, 480, "")
	x.caller.readStatus(sip.INVITE, 480)
}

func TestRefusedBeforeTheService(t *testing.T) {
	cases := []struct {
		name    string
		headers []string
		method  sip.RequestMethod
		status  int
		header  string
		want    string
	}{
		{"OPTIONS", nil, sip.OPTIONS, 200, "Allow", allowedMethods},
		{"REFER", []string{"Refer-To: <sip:6003@wire.example>"}, sip.REFER, 405, "Allow", allowedMethods},
		{"REGISTER", nil, sip.REGISTER, 405, "Allow", allowedMethods},
		{"Replaces", []string{"Replaces: x@y;to-tag=1;from-tag=2"}, sip.INVITE, 501, "Allow", allowedMethods},
		{"100rel required", []string{"Require: 100rel"}, sip.INVITE, 420, "Unsupported", "100rel"},
		{"short session", []string{"Supported: timer", "Session-Expires: 30"}, sip.INVITE, 422, "Min-SE", "90"},
		{"no hops left", []string{"Max-Forwards: 0"}, sip.INVITE, 483, "", ""},
		{"stray BYE", nil, sip.BYE, 481, "", ""},
		{"stray CANCEL", nil, sip.CANCEL, 481, "", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			x := newBench(t, nil)
			x.caller.invite = sip.GenerateBranch()
			x.caller.request(c.method, "", c.headers...)
			res := x.caller.readStatus(c.method, c.status)
			if c.header != "" {
				wantValue(t, res, c.header, c.want)
			}
			if len(x.service.begun) > 0 {
				t.Error("the service saw it")
			}
		})
	}
}

func TestUntrustedSource(t *testing.T) {
	x := newBench(t, func(c *Config) { c.Trusted = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
	x.caller.request(sip.INVITE, offerSDP, "P-Asserted-Identity: <tel:+8613800000001>")
	x.caller.readStatus(sip.INVITE, 403)
	if len(x.service.begun) > 0 {
		t.Error("the service saw it")
	}
}

func TestMalformedRequest(t *testing.T) {
	x := newBench(t, nil)
	x.a.write("INVITE sip:6002@x SIP/2.0\r\nVia: SIP/2.0/UDP " + x.a.addr() + ";branch=z9hG4bKm\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n")
	x.a.readStatus(sip.INVITE, 1, 400)
	x.a.write("NONSENSE\r\n\r\n")
	x.caller.request(sip.OPTIONS, "")
	x.caller.readStatus(sip.OPTIONS, 200)
}

func TestReinvitePassedBothWays(t *testing.T) {
	x := newBench(t, nil)
	x.connect(nil, nil)

	x.caller.request(sip.INVITE, holdSDP)
	req := x.b.readRequest(sip.INVITE)
	if string(req.Body()) != holdSDP || !req.To().Params.Has("tag") {
		t.Fatalf("re-INVITE came through as\n%s", req)
	}
	x.b.answer(req, 200, heldSDP)
	if ok := x.caller.readStatus(sip.INVITE, 200); string(ok.Body()) != heldSDP {
		t.Errorf("answer %q", ok.Body())
	}
	x.b.readRequest(sip.ACK)
	x.caller.request(sip.ACK, "")
	x.settle()

	// The other way, without an offer: it comes in the 200, its answer in the ACK.
	x.callee.request(sip.INVITE, "")
	req = readOfferless(x.a)
	x.a.answer(req, 200, offerSDP)
	if ok := x.callee.readStatus(sip.INVITE, 200); string(ok.Body()) != offerSDP {
		t.Errorf("late offer %q", ok.Body())
	}
	x.callee.request(sip.ACK, answerSDP)
	if ack := x.a.readRequest(sip.ACK); string(ack.Body()) != answerSDP {
		t.Errorf("late answer %q", ack.Body())
	}
	x.settle()

	// Refused: the session stays, the call goes on.
	x.caller.request(sip.INVITE, holdSDP)
	x.b.answer(x.b.read("the third INVITE", func(m sip.Message) bool {
		r, ok := m.(*sip.Request)
		return ok && r.IsInvite() && r.CSeq().SeqNo == 3
	}).(*sip.Request), 488, "")
	x.caller.readStatus(sip.INVITE, 488)
	x.c.quiet(t)
	x.caller.request(sip.BYE, "")
	x.caller.readStatus(sip.BYE, 200)
	x.released(x.b)
	x.c.expect(t, "hung up by caller")
}

func readOfferless(w *wire) *sip.Request {
	return w.read("re-INVITE without an offer", func(m sip.Message) bool {
		r, ok := m.(*sip.Request)
		return ok && r.IsInvite() && len(r.Body()) == 0
	}).(*sip.Request)
}

func TestGlare(t *testing.T) {
	x := newBench(t, nil)
	x.connect(nil, nil)
	x.caller.request(sip.INVITE, holdSDP)
	req := x.b.readRequest(sip.INVITE)
	x.callee.request(sip.INVITE, holdSDP)
	x.callee.readStatus(sip.INVITE, 491)
	x.callee.request(sip.UPDATE, holdSDP)
	x.callee.readStatus(sip.UPDATE, 491)
	x.b.answer(req, 200, heldSDP)
	x.caller.readStatus(sip.INVITE, 200)
	x.caller.request(sip.ACK, "")
	x.settle()

	// With the first one settled the other side's turn has come.
	x.callee.request(sip.UPDATE, holdSDP)
	update := x.a.readRequest(sip.UPDATE)
	if string(update.Body()) != holdSDP {
		t.Errorf("UPDATE body %q", update.Body())
	}
	x.a.answer(update, 200, heldSDP)
	if ok := x.callee.readStatus(sip.UPDATE, 200); string(ok.Body()) != heldSDP {
		t.Errorf("UPDATE answer %q", ok.Body())
	}
	x.c.quiet(t)
}

func TestInfoPassed(t *testing.T) {
	x := newBench(t, nil)
	x.connect(nil, nil)
	x.caller.request(sip.INFO, "Signal=5\r\n", "Info-Package: dtmf")
	req := x.b.readRequest(sip.INFO)
	wantValue(t, req, "Info-Package", "dtmf")
	x.b.answer(req, 200, "")
	x.caller.readStatus(sip.INFO, 200)
}

func TestReinviteCancelled(t *testing.T) {
	x := newBench(t, nil)
	x.connect(nil, nil)
	x.caller.request(sip.INVITE, holdSDP)
	req := x.b.readRequest(sip.INVITE)
	x.b.answer(req, 180, "")
	x.caller.request(sip.CANCEL, "")
	x.caller.readStatus(sip.CANCEL, 200)
	x.caller.readStatus(sip.INVITE, 487)
	x.caller.request(sip.ACK, "")
	x.b.answer(x.b.readRequest(sip.CANCEL), 200, "")
	x.b.answer(req, 487, "")
	x.b.readRequest(sip.ACK)
	x.c.quiet(t)
	x.settle()
	x.callee.request(sip.UPDATE, holdSDP) // the way is free again
	x.a.answer(x.a.readRequest(sip.UPDATE), 200, heldSDP)
	x.callee.readStatus(sip.UPDATE, 200)
}

func TestDialogGoneOnReinvite(t *testing.T) {
	x := newBench(t, nil)
	x.connect(nil, nil)
	x.caller.request(sip.INVITE, holdSDP)
	x.b.answer(x.b.readRequest(sip.INVITE), 481, "")
	x.caller.readStatus(sip.INVITE, 481)
	x.c.expect(t, "lost")
	x.released(x.a, x.b)
}

func TestLateOffer(t *testing.T) {
	x := newBench(t, nil)
	x.invite("")
	if len(x.incoming.Body()) > 0 {
		t.Fatal("an offer came from nowhere")
	}
	x.b.answer(x.incoming, 200, offerSDP)
	ok := x.caller.readStatus(sip.INVITE, 200)
	if string(ok.Body()) != offerSDP {
		t.Errorf("offer %q", ok.Body())
	}
	x.caller.established(ok)
	x.caller.request(sip.ACK, answerSDP)
	if ack := x.b.readRequest(sip.ACK); string(ack.Body()) != answerSDP {
		t.Errorf("answer %q", ack.Body())
	}
	x.callee.request(sip.BYE, "", `Reason: SIP;cause=200;text="enough"`)
	x.callee.readStatus(sip.BYE, 200)
	bye := x.a.readRequest(sip.BYE)
	wantValue(t, bye, "Reason", `SIP;cause=200;text="enough"`)
	x.a.answer(bye, 200, "")
	x.c.expect(t, "answered")
	x.c.expect(t, "hung up by called")
}

func TestAnsweredInstant(t *testing.T) {
	x := newBench(t, nil)
	x.invite(offerSDP)
	before := time.Now()
	x.b.answer(x.incoming, 200, answerSDP)
	x.caller.readStatus(sip.INVITE, 200)
	// The ACK of the caller is still missing: the clock runs from the answer.
	if at := x.c.expect(t, "answered").at; at.Before(before) || at.After(time.Now()) {
		t.Errorf("answered at %v, the 200 came after %v", at, before)
	}
}

func TestAnswerCrossesCancel(t *testing.T) {
	x := newBench(t, nil)
	x.invite(offerSDP)
	x.b.answer(x.incoming, 180, "")
	x.a.read("180", func(m sip.Message) bool { r, ok := m.(*sip.Response); return ok && r.StatusCode == 180 })
	x.c.expect(t, "ringing 180")
	x.caller.request(sip.CANCEL, "", `Reason: SIP;cause=200;text="Call completed elsewhere"`)
	x.caller.readStatus(sip.INVITE, 487)
	cancel := x.b.readRequest(sip.CANCEL)
	wantValue(t, cancel, "Reason", `SIP;cause=200;text="Call completed elsewhere"`)
	if cancel.Via().Params.GetOr("branch", "") != x.incoming.Via().Params.GetOr("branch", "") {
		t.Error("the CANCEL does not match its INVITE")
	}
	x.b.answer(x.incoming, 200, answerSDP)
	x.b.readRequest(sip.ACK)
	x.released(x.b)
	x.c.expect(t, "cancelled")
	x.c.quiet(t)
}

func TestCancelWaitsForProvisional(t *testing.T) {
	x := newBench(t, nil)
	x.invite(offerSDP)
	x.caller.request(sip.CANCEL, "")
	x.caller.readStatus(sip.INVITE, 487)
	x.c.expect(t, "cancelled")
	x.b.answer(x.incoming, 100, "") // only now may the CANCEL go
	x.b.answer(x.b.readRequest(sip.CANCEL), 200, "")
	x.b.answer(x.incoming, 487, "")
	x.b.readRequest(sip.ACK)
}

func TestForkedAnswers(t *testing.T) {
	x := newBench(t, nil)
	x.connect(nil, nil)
	x.b.answerAs("second", x.incoming, 200, answerSDP)
	tagIs := func(method sip.RequestMethod, tag string) func(sip.Message) bool {
		return func(m sip.Message) bool {
			r, ok := m.(*sip.Request)
			return ok && r.Method == method && r.To().Params.GetOr("tag", "") == tag
		}
	}
	x.b.read("ACK of the fork", tagIs(sip.ACK, "second"))
	bye := x.b.read("BYE of the fork", tagIs(sip.BYE, "second")).(*sip.Request)
	x.b.answer(bye, 200, "")
	// The one that won repeats its 200: its ACK was lost.
	x.b.answer(x.incoming, 200, answerSDP)
	x.b.read("ACK again", tagIs(sip.ACK, x.b.tag))
	x.c.quiet(t)
}

func TestAckMissing(t *testing.T) {
	x := newBench(t, nil)
	x.invite(offerSDP)
	start := time.Now()
	x.b.answer(x.incoming, 200, answerSDP)
	x.caller.readStatus(sip.INVITE, 200)
	x.caller.readStatus(sip.INVITE, 200) // repeated
	x.c.expect(t, "answered")
	x.released(x.a, x.b)
	x.c.expect(t, "lost")
	if waited := time.Since(start); waited < 64*testT1 {
		t.Errorf("gave up after %v, want %v", waited, 64*testT1)
	}
}

func TestReleaseWaitsForAck(t *testing.T) {
	x := newBench(t, nil)
	x.invite(offerSDP)
	x.b.answer(x.incoming, 200, answerSDP)
	ok := x.caller.readStatus(sip.INVITE, 200)
	x.c.expect(t, "answered")
	x.c.Release(vpnlogic.CauseOf(vpnlogic.ReasonQuotaEnd))
	x.released(x.b)
	x.caller.established(ok)
	x.caller.request(sip.ACK, "")
	x.released(x.a)
}
