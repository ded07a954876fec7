package main

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"gygate/cmd/gygate/config"
	"gygate/diameter"
	"gygate/diameter/gy"
	"gygate/ocs"
	"gygate/ocs/pgstore"
	"gygate/vpnlogic"
)

// The tests of this file change an account while a call on it talks, by the command
// line of an operator, and follow what comes of it through all parts: database,
// charging system, Diameter, VPN logic, phones, and back into the books.

// checkAsked looks at a request of the charging system, and at its answer.
func checkAsked(t *testing.T, p *pair, session string, command uint32, code diameter.ResultCode) (request, answer heard) {
	t.Helper()
	request = p.wire.await(t, session, "the request of the charging system", isRequestOf(command))
	answer = p.wire.await(t, session, "its answer", isAnswerTo(request))
	node := p.charging.Node
	if !request.toClient || request.Flags&diameter.FlagProxiable == 0 || request.text(diameter.OriginHost) != node.OCS.Host || request.text(diameter.OriginRealm) != node.OCS.Realm ||
		request.text(diameter.DestinationHost) != node.VPN.Host || request.text(diameter.DestinationRealm) != node.VPN.Realm ||
		request.number(diameter.AuthApplicationID) != diameter.AppCreditControl {
		t.Errorf("request %x", request.Raw)
	}
	if answer.ResultCode() != code || answer.text(diameter.OriginHost) != node.VPN.Host {
		t.Errorf("Result-Code %d, want %d; answer %x", answer.ResultCode(), code, answer.Raw)
	}
	return request, answer
}

// ccr reads a CCR off the wire.
func (m heard) ccr(t *testing.T) *gy.CCR {
	t.Helper()
	ccr, fault := gy.ParseCCR(m.Message)
	if fault != nil || len(ccr.Services) != 1 {
		t.Fatalf("CCR %x: %v", m.Raw, fault)
	}
	return ccr
}

// cca reads the CCA to a CCR off the wire.
func (p *pair) cca(t *testing.T, session string, request heard) *gy.CCA {
	t.Helper()
	cca, fault := gy.ParseCCA(p.wire.await(t, session, "the CCA", isAnswerTo(request)).Message)
	if fault != nil || len(cca.Services) != 1 {
		t.Fatalf("CCA: %v, %+v", fault, cca)
	}
	return cca
}

// isForced is a CCR that reports because it was asked to.
func isForced(m heard) bool {
	if !isCCR(updateRequest)(m) {
		return false
	}
	ccr, fault := gy.ParseCCR(m.Message)
	return fault == nil && len(ccr.Services) == 1 && slices.Equal(ccr.Services[0].Reasons, []uint32{uint32(vpnlogic.ReportForced)})
}

// checkBooks: the account has paid the seconds of the call and nothing else, nothing
// is frozen, and the whole database adds up.
func checkBooks(t *testing.T, p *pair, call played, number string) {
	t.Helper()
	spent := demoCent * ocs.Money(call.Record.Reported/time.Second)
	if sum := call.Sum(); len(sum.Faults) > 0 || sum.Debited != spent {
		t.Errorf("debited %s for %s: %q", sum.Debited, call.Record.Reported, sum.Faults)
	}
	if a := p.account(t, number); a.Spent != spent || a.Frozen != 0 || len(a.OpenSessions) != 0 {
		t.Errorf("spent %s, want %s; account %+v", a.Spent, spent, a)
	}
	report, err := pgstore.NewAdmin(p.stage.main.books.pool).Verify(t.Context())
	if err != nil || !report.OK() {
		t.Errorf("verify: %+v, %v", report, err)
	}
}

func TestAskedInMidCall(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil, nil)
	t.Run("group", func(t *testing.T) {
		t.Run("top-up", func(t *testing.T) { t.Parallel(); topUpInMidCall(t, p) })
		t.Run("three top-ups", func(t *testing.T) { t.Parallel(); topUpsTogether(t, p) })
		t.Run("block", func(t *testing.T) {
			t.Parallel()
			endInMidCall(t, p, func(c *conversation) []string {
				return []string{"account", "set", c.number, "--blocked", "stolen"}
			})
		})
		t.Run("session close", func(t *testing.T) {
			t.Parallel()
			endInMidCall(t, p, func(c *conversation) []string { return []string{"session", "close", c.session} })
		})
	})
}

// A call on its last three cents is topped up while it talks: the charging system
// asks for a report, the new grant lifts the cut-off, and the call goes on beyond
// the second at which it would have been cut.
func topUpInMidCall(t *testing.T, p *pair) {
	t.Attr("proves", "B-138")
	t.Attr("proves", "C-070")
	t.Attr("proves", "C-075")
	number := p.line(t, 3)
	call := p.talk(t, number)
	p.command(t, "account", "topup", number, "--amount", "5", "--key", "k1")
	checkAsked(t, p, call.session, diameter.CmdReAuth, diameter.LimitedSuccess)
	forced := p.wire.await(t, call.session, "the report that was asked for", isForced)
	if used := forced.ccr(t).Services[0]; used.Used[0].Time.Value == 0 || !used.Requested.Present {
		t.Errorf("CCR-U without use or request: %+v", used)
	}
	if first := p.cca(t, call.session, p.wire.all(call.session)[0]).Services[0]; first.FinalUnit != gy.Some(uint32(0)) || first.Granted.Value.Time != gy.Some(uint32(3)) {
		t.Errorf("the first grant is not the last units: %+v", first)
	}
	if next := p.cca(t, call.session, forced).Services[0]; next.FinalUnit.Present || next.Granted.Value.Time != gy.Some(uint32(3)) {
		t.Errorf("the grant after the top-up: %+v", next)
	}
	call.answers(t, 4) // two more reports: the first three seconds are over by then
	call.hangUp()
	done := call.ended(t)
	if done.Record.Reason != vpnlogic.ReasonNormal || done.Record.Reported <= 3*time.Second || done.Elsewhere != 500*demoCent {
		t.Errorf("record %+v, topped up %s", done.Record, done.Elsewhere)
	}
	checkBooks(t, p, done, number)
	checkLadder(t, done, "RAR", "RAA will report", "(asked for)", "+ 5.00 elsewhere")
	checkOneTree(t, done)
}

// checkLadder draws a call.
func checkLadder(t *testing.T, call played, lines ...string) {
	t.Helper()
	var b strings.Builder
	if err := call.Write(&b, 120); err != nil {
		t.Fatal(err)
	}
	for _, want := range lines {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the ladder has no %q\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "DOES NOT ADD UP") {
		t.Error(b.String())
	}
}

// checkOneTree: the spans of the call form one tree, with a step of the charging
// system for each CCR, the one that was asked for among them.
func checkOneTree(t *testing.T, call played) {
	t.Helper()
	requests := len(requestsOf(call))
	named := func(text, name string) int { return strings.Count(text, name+"\n") }
	spans := traced.await(t, call.Record.TraceID, func(spans []sdktrace.ReadOnlySpan) bool {
		text := tree(spans)
		return named(text, "gy.serve") >= requests && named(text, "vpn.call") == 1
	})
	text := tree(spans)
	if named(text, "gy.ccr") != requests || named(text, "gy.serve") != requests || !strings.HasPrefix(text, "vpn.call\n  ") || strings.Count("\n"+text, "\nvpn") != 1 {
		t.Errorf("%d CCRs, tree of spans\n%s", requests, text)
	}
}

// Three top-ups at once are not three questions.
func topUpsTogether(t *testing.T, p *pair) {
	number := p.line(t, 3)
	call := p.talk(t, number)
	admin := pgstore.NewAdmin(p.stage.main.books.pool)
	var all sync.WaitGroup
	for _, key := range []string{"a", "b", "c"} {
		all.Go(func() {
			if _, err := admin.TopUp(t.Context(), pgstore.TopUp{Identity: number, Amount: 10 * demoCent, Key: key, Source: "voucher"}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	awaitTrue(t, "that nothing is left to be asked", func() (bool, error) {
		sessions, err := admin.Sessions(t.Context(), pgstore.SessionFilter{Identity: number})
		return len(sessions) == 1 && (sessions[0].Notice == "" || sessions[0].Notice == "credit promised"), err
	})
	call.hangUp()
	done := call.ended(t)
	if n := count(p.wire.all(call.session), isRequestOf(diameter.CmdReAuth)); n < 1 || n > 2 {
		t.Errorf("%d RARs for three top-ups", n)
	}
	if done.Elsewhere != 30*demoCent {
		t.Errorf("topped up %s", done.Elsewhere)
	}
	checkBooks(t, p, done, number)
}

// An operator has a call ended: it is released at once, its use debited, and what
// was frozen is back.
func endInMidCall(t *testing.T, p *pair, order func(*conversation) []string) {
	number := p.line(t, 1000)
	call := p.talk(t, number)
	p.command(t, order(call)...)
	checkAsked(t, p, call.session, diameter.CmdAbortSession, diameter.Success)
	last := p.wire.await(t, call.session, "CCR-T", isCCR(terminateRequest))
	if cause := last.number(diameter.TerminationCause); cause != 4 { // DIAMETER_ADMINISTRATIVE
		t.Errorf("Termination-Cause %d", cause)
	}
	done := call.ended(t)
	if done.Record.Reason != vpnlogic.ReasonAborted || done.Phone.HungUp != "peer" || done.Record.Reported == 0 {
		t.Errorf("record %+v, phone %+v", done.Record, done.Phone)
	}
	checkBooks(t, p, done, number)
	checkLadder(t, done, "ASR", "ASA accepted")
	const sessionTermination = 275 // STR, which credit control never sends (RFC 8506 section 5.4)
	if n := count(p.wire.all(call.session), isRequestOf(sessionTermination)); n != 0 {
		t.Errorf("%d STRs", n)
	}
}

// What happens to an account while the charging system is away is asked about when
// it is back, over the new connection: a block that was lifted again is none, and a
// top-up finds the client that an earlier process let in.
func TestAskedAfterRestart(t *testing.T) {
	t.Parallel()
	t.Attr("proves", "B-201")
	p := newPair(t, func(c *config.Config) { c.OCS.Policy.SliceSeconds = 60 }, nil)
	number := p.line(t, 30)
	call := p.talk(t, number)
	first := p.wire.all(call.session)[0]
	if grant := p.cca(t, call.session, first).Services[0]; !grant.FinalUnit.Present || grant.Granted.Value.Time != gy.Some(uint32(30)) {
		t.Fatalf("the call does not begin with its last units: %+v", grant)
	}
	p.stopOCS()
	p.command(t, "account", "set", number, "--blocked", "a mistake")
	p.command(t, "account", "set", number, "--unblocked")
	p.startOCS()
	request, _ := checkAsked(t, p, call.session, diameter.CmdReAuth, diameter.LimitedSuccess)
	if request.link <= first.link {
		t.Errorf("RAR over connection %d, the call began over %d", request.link, first.link)
	}
	call.answers(t, 2)
	p.command(t, "account", "topup", number, "--amount", "5", "--key", "k1")
	call.answers(t, 3)
	if all := p.wire.all(call.session); count(all, isRequestOf(diameter.CmdReAuth)) != 2 || count(all, isForced) != 2 || count(all, isRequestOf(diameter.CmdAbortSession)) != 0 {
		t.Errorf("%d RARs, %d reports, %d ASRs", count(all, isRequestOf(diameter.CmdReAuth)), count(all, isForced), count(all, isRequestOf(diameter.CmdAbortSession)))
	}
	call.hangUp()
	done := call.ended(t)
	if requestsOf(done) != "IUUT" || done.Record.Reason != vpnlogic.ReasonNormal {
		t.Errorf("CCRs %s, record %+v", requestsOf(done), done.Record)
	}
	checkBooks(t, p, done, number)
}
