package main

import (
	"bufio"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gygate/cmd/gygate/config"
	"gygate/diameter"
	"gygate/diameter/gy"
	"gygate/ocs"
	"gygate/ocs/pgstore"
	"gygate/vpnlogic/sipgw/phone"
)

// keptSessions is how many charging sessions the journal of the VPN logic holds.
func keptSessions(t *testing.T, b *books) (n int, err error) {
	t.Helper()
	err = b.pool.QueryRow(t.Context(), "select count(*) from charging_kept").Scan(&n)
	return n, err
}

// startOf is the Origin-State-Id in the CER of a connection.
func (p *pair) startOf(t *testing.T, link int) uint32 {
	t.Helper()
	return p.wire.await(t, "", "CER", func(m heard) bool {
		return isRequestOf(diameter.CmdCapabilitiesExchange)(m) && m.link == link
	}).number(diameter.OriginStateID)
}

// A call ends while nothing gets through to the charging system, and its process ends,
// too. The next process of the VPN logic delivers the last report when the charging
// system can be reached, marked as a possible duplicate, and it arrives once.
func TestLastReportOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	t.Attr("proves", "C-029")
	p := newPair(t, nil, func(c *config.Config) { c.Charging.Tx = 2 * time.Second })
	number := p.line(t, 1000)
	call := p.talk(t, number)
	p.wire.setCut(true)
	call.hangUp()
	first := p.wire.await(t, call.session, "CCR-T", isCCR(terminateRequest))
	if first.Flags&diameter.FlagRetransmit != 0 {
		t.Error("the first sending has the T bit")
	}
	<-call.result
	p.stopVPN()
	p.wire.setCut(false)
	p.startVPN()
	arrived := func(m heard) bool { return isCCR(terminateRequest)(m) && !m.lost }
	last := p.wire.await(t, call.session, "the last report of the call", arrived)
	answer := p.wire.await(t, call.session, "its answer", isAnswerTo(last))
	used := last.ccr(t).Services[0].Used[0].Time.Value
	if last.Flags&diameter.FlagRetransmit == 0 || answer.ResultCode() != diameter.Success || used == 0 {
		t.Errorf("T %t, used %d s, Result-Code %d", last.Flags&diameter.FlagRetransmit != 0, used, answer.ResultCode())
	}
	awaitTrue(t, "that nothing is kept", func() (bool, error) {
		n, err := keptSessions(t, p.main.books)
		return n == 0, err
	})
	if n := count(p.wire.all(call.session), arrived); n != 1 {
		t.Errorf("%d CCR-T arrived, want one", n)
	}
	checkSettled(t, p.main.books, number, demoCent*ocs.Money(used))
}

// A call in progress when its gateway is killed is ended at the charging system by
// the next start, which shows a higher Origin-State-Id in CER and CCR.
func TestKilledGatewayEndsItsCalls(t *testing.T) {
	t.Parallel()
	t.Attr("proves", "C-110")
	t.Attr("proves", "C-111")
	p := newPair(t, nil, nil)
	number := p.line(t, 1000)
	p.stopVPN()
	phones, err := phone.NewAnswerer(phone.AnswererConfig{Listen: loopbackAny})
	if err != nil {
		t.Fatal(err)
	}
	defer phones.Close()
	killed := startGateway(t, p, phones.Addr())
	ctx, hangUp := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		// Nobody answers the BYE of a phone whose gateway is gone.
		_, _ = phone.Dial(ctx, phone.DialOptions{From: number, To: "6002", Via: killed.sip})
	}()
	defer func() { hangUp(); <-over }()
	admin := pgstore.NewAdmin(p.main.books.pool)
	awaitTrue(t, "that the call talks and is written down", func() (bool, error) {
		n, err := keptSessions(t, p.main.books)
		calls := phones.Calls()
		return n == 1 && len(calls) == 1 && !calls[0].AnsweredAt.IsZero(), err
	})
	open, err := admin.Sessions(t.Context(), pgstore.SessionFilter{Identity: number})
	if err != nil || len(open) != 1 || open[0].Frozen == 0 {
		t.Fatalf("sessions %+v, %v", open, err)
	}
	session := open[0].SessionID
	before := p.startOf(t, p.wire.all(session)[0].link)
	killed.kill(t)

	p.startVPN()
	last := p.wire.await(t, session, "the end of the call", isCCR(terminateRequest))
	p.wire.await(t, session, "its answer", func(m heard) bool { return isAnswerTo(last)(m) && m.ResultCode() == diameter.Success })
	if after := p.startOf(t, last.link); after <= before || last.Flags&diameter.FlagRetransmit == 0 {
		t.Errorf("Origin-State-Id %d before, %d in CER; flags of CCR-T %x", before, after, last.Flags)
	}
	next := p.talk(t, p.line(t, 1000))
	if first := p.wire.all(next.session)[0]; first.number(diameter.OriginStateID) != p.startOf(t, first.link) {
		t.Errorf("Origin-State-Id %d in the next CCR", first.number(diameter.OriginStateID))
	}
	next.hangUp()
	next.ended(t)
	if used := last.ccr(t).Services[0].Used; len(used) != 1 || !used[0].Time.Present {
		t.Errorf("the last report tells of no use: %+v", used)
	}
	reported := ocs.Money(0)
	for _, m := range p.wire.all(session) {
		if ccr, fault := gy.ParseCCR(m.Message); m.Request() && fault == nil && m.Command == diameter.CmdCreditControl {
			for _, u := range ccr.Services[0].Used {
				reported += ocs.Money(u.Time.Value)
			}
		}
	}
	checkSettled(t, p.stage.main.books, number, demoCent*reported)
}

// gateway is a VPN logic in a process of its own.
type gateway struct {
	cmd *exec.Cmd
	sip string
}

// startGateway runs a VPN logic that charges over the pair's wire, and waits until it
// can.
func startGateway(t *testing.T, p *pair, nextHop string) *gateway {
	t.Helper()
	cfg := p.callsConfig()
	cfg.SIP.NextHop = nextHop
	cfg.HTTP.Listen = loopbackAny
	cfg.Database.DSN = ""
	text, err := cfg.Effective()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "vpn.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	g := &gateway{cmd: exec.Command(os.Args[0], "serve", "--role", "vpn", "--config", file, "--dsn", p.dsn)}
	g.cmd.Env = append(os.Environ(), asGygate+"=1")
	out, err := g.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.cmd.Process.Kill(); _ = g.cmd.Wait() }) // no harm when it is gone
	var operator string
	for lines := bufio.NewScanner(out); operator == "" && lines.Scan(); {
		switch words := strings.Fields(lines.Text()); {
		case len(words) == 3 && words[0] == "SIP" && words[2] == "udp":
			g.sip = words[1]
		case len(words) > 1 && words[0] == "HTTP":
			operator = strings.TrimSuffix(words[1], ",")
		}
	}
	awaitTrue(t, "that the gateway is ready", func() (bool, error) {
		r, err := http.Get(operator)
		if err != nil {
			return false, err
		}
		r.Body.Close()
		return r.StatusCode == http.StatusOK, nil
	})
	http.DefaultClient.CloseIdleConnections()
	return g
}

// kill ends the process as a crash does.
func (g *gateway) kill(t *testing.T) {
	t.Helper()
	if err := g.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := g.cmd.Wait(); err == nil {
		t.Error("the killed process ended in order")
	}
}
