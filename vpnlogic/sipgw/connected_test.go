package sipgw

import (
	"net/netip"
	"testing"

	"github.com/emiago/sipgo/sip"

	"gygate/vpnlogic"
)

// trustedHop lets the callee's socket be the next hop of the trust domain instead of
// a phone's contact.
func (x *bench) trustedHop() {
	x.caller.target = "sip:6002@ims.example"
	x.invite(offerSDP, "Route: <sip:"+addrOf(x.g, "udp")+";lr>, <sip:"+x.b.addr()+";lr>",
		"P-Charging-Vector: icid-value=a;orig-ioi=home1.example")
}

func noContacts(c *Config) { c.Contacts = nil }

// answerFrom has the callee answer, and takes the ACKs.
func (x *bench) answerFrom(headers ...string) {
	x.t.Helper()
	x.b.answer(x.incoming, 200, answerSDP, headers...)
	ok := x.caller.readStatus(sip.INVITE, 200)
	x.caller.established(ok)
	x.caller.request(sip.ACK, "")
	x.b.readRequest(sip.ACK)
}

// TestConnectedParty: who answers, and who takes the call over later, is told by
// what the trusted called side asserts, each time that it changes (C-064).
func TestConnectedParty(t *testing.T) {
	x := newBench(t, noContacts)
	x.trustedHop()
	if a := x.c.attempt; a.OrigIOI != "home1.example" || a.TermIOI != "" || a.Role != vpnlogic.RoleOriginating {
		t.Errorf("attempt %+v", a)
	}
	x.answerFrom("P-Asserted-Identity: <tel:+8613800000003>", "P-Charging-Vector: icid-value=a;orig-ioi=home1.example;term-ioi=home2.example")
	x.c.expect(t, "answered by home2.example")
	x.c.expect(t, "answered")
	x.c.expect(t, "connected to +8613800000003")
	x.settle()

	// A re-INVITE without a word changes nothing, one that asserts another does.
	x.transfer(sip.INVITE)
	x.transfer(sip.INVITE, "P-Asserted-Identity: <sip:+862155551234@ims.example;user=phone>")
	x.c.expect(t, "connected to +862155551234")
	x.transfer(sip.UPDATE, "P-Asserted-Identity: <tel:+862155551234>")
	x.callee.request(sip.UPDATE, "", "P-Asserted-Identity: <tel:+4930901820>")
	x.callee.readStatus(sip.UPDATE, 200)
	x.c.expect(t, "connected to +4930901820")

	// So does the answer of the called side to the caller's own offer.
	x.caller.request(sip.UPDATE, holdSDP)
	x.b.answer(x.b.readRequest(sip.UPDATE), 200, heldSDP, "P-Asserted-Identity: <tel:+8613800000004>")
	x.caller.readStatus(sip.UPDATE, 200)
	x.c.expect(t, "connected to +8613800000004")
	x.c.quiet(t)
}

// transfer has the callee send an offer, which the caller takes.
func (x *bench) transfer(method sip.RequestMethod, headers ...string) {
	x.t.Helper()
	x.callee.request(method, holdSDP, headers...)
	x.a.answer(x.a.readRequest(method), 200, heldSDP)
	x.callee.readStatus(method, 200)
	if method == sip.INVITE {
		x.callee.request(sip.ACK, "")
		x.a.readRequest(sip.ACK)
	}
	x.settle()
}

// TestConnectedByFrom: a called side that asserts nothing, but changes its From (RFC
// 4916), is heard too.
func TestConnectedByFrom(t *testing.T) {
	x := newBench(t, noContacts)
	x.trustedHop()
	x.answerFrom()
	x.c.expect(t, "answered")
	x.settle()
	x.transfer(sip.UPDATE)
	x.callee.local = "<sip:+4930901820@ims.example>;tag=" + x.b.tag
	x.transfer(sip.UPDATE)
	x.c.expect(t, "connected to +4930901820")
	x.transfer(sip.UPDATE)
	x.c.quiet(t)
}

// TestConnectedUntrusted: a phone cannot make a call cheaper by asserting another
// number, nor can a next hop outside the trusted sources, nor the caller.
func TestConnectedUntrusted(t *testing.T) {
	const forged = "P-Asserted-Identity: <tel:+8613800000002>"
	t.Run("phone", func(t *testing.T) {
		x := newBench(t, nil)
		x.connect(nil, []string{forged})
		x.transfer(sip.UPDATE, forged)
		x.c.quiet(t)
	})
	t.Run("caller", func(t *testing.T) {
		x := newBench(t, noContacts)
		x.trustedHop()
		x.answerFrom()
		x.c.expect(t, "answered")
		x.settle()
		x.caller.request(sip.UPDATE, "", forged)
		x.caller.readStatus(sip.UPDATE, 200)
		x.c.quiet(t)
	})
	t.Run("source", func(t *testing.T) {
		x := newBench(t, noContacts)
		x.trustedHop()
		// The bridge reads the sources when the answer comes.
		b := x.bridge()
		set := make(chan bool)
		b.post(func() { b.gw.cfg.Trusted = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}; close(set) })
		<-set
		x.answerFrom("P-Asserted-Identity: <tel:+8613800000003>")
		x.c.expect(t, "answered")
		x.settle()
		x.c.quiet(t)
	})
}

// TestAnswerMeetsRelease: a called party who answers while the call is being released
// is hung up on; the caller never hears of an answer, so nothing is charged.
func TestAnswerMeetsRelease(t *testing.T) {
	x := newBench(t, nil)
	x.invite(offerSDP)
	x.c.releasing.Store(true)
	x.b.answer(x.incoming, 200, answerSDP)
	x.b.readRequest(sip.ACK)
	x.c.Release(vpnlogic.CauseOf(vpnlogic.ReasonShutdown))
	x.released(x.b)
	x.caller.readStatus(sip.INVITE, 503)
	x.c.quiet(t)
}
