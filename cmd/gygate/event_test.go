package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"gygate/cmd/gygate/sample"
	"gygate/diameter"
	"gygate/ocs"
)

// event runs gygate event against a server and decodes what it prints.
func event(t *testing.T, server string, args ...string) (r eventResult, code int, errs string) {
	t.Helper()
	code, out, errs := gygate(t, append(append([]string{"event"}, args...), "--server", server, "--json")...)
	if out != "" {
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	return r, code, errs
}

// The four one-time events over a connection of their own, each as an operator sees
// it and as the books have it.
func TestEventCommand(t *testing.T) {
	s := liveStage(t)
	server := s.main.diameterAddr.String()
	payer := seedAccount(t, 2*ocs.MoneyScale, nil)[0].Value
	group := []string{"--rating-group", "100"}
	spent := func(want ocs.Money) {
		t.Helper()
		if a, err := s.main.admin.Show(t.Context(), payer); err != nil || a.Spent != want || a.Frozen != 0 || len(a.OpenSessions) != 0 {
			t.Errorf("account %+v, %v; want spent %s", a, err, want)
		}
	}
	for money, enough := range map[string]bool{"2.00": true, "2.01": false} {
		r, code, errs := event(t, server, "balance", payer, "--money", money, "--currency", "978")
		if code != exitOK || r.Enough == nil || *r.Enough != enough || r.Code != 2001 || r.Server != s.main.cfg.Node.OCS.Host {
			t.Errorf("balance for %s: exit code %d, %+v, %s", money, code, r, errs)
		}
	}
	// Off-net, as calls are unless told otherwise: 0.05 and 0.02 a second.
	if r, code, errs := event(t, server, "price", payer, "--units", "60"); code != exitOK || r.Cost != "1.25" || r.Currency != 978 {
		t.Errorf("price: exit code %d, %+v, %s", code, r, errs)
	}
	spent(0)
	debited, code, errs := event(t, server, append(group, "debit", payer, "--units", "25")...)
	if code != exitOK || debited.Cost != "0.25" || debited.Token == "" || !debited.Granted {
		t.Fatalf("debit: exit code %d, %+v, %s", code, debited, errs)
	}
	spent(25 * demoCent)
	refund := append(group, "refund", payer, "--units", "25", "--token", debited.Token)
	if r, code, errs := event(t, server, refund...); code != exitOK || r.Code != 2001 {
		t.Errorf("refund: exit code %d, %+v, %s", code, r, errs)
	}
	// Nothing is left of that debit to give back.
	if r, code, errs := event(t, server, refund...); code != exitRefused || r.Code == 2001 || !strings.Contains(errs, "refund refused:") {
		t.Errorf("second refund: exit code %d, %+v, %s", code, r, errs)
	}
	if a, err := s.main.admin.Show(t.Context(), payer); err != nil || a.Available != 2*ocs.MoneyScale {
		t.Errorf("account %+v, %v", a, err)
	}
}

// The wait for a connection ends with the first that fails; only one that stands in
// the way for a moment, another command's, is waited for.
func TestFailedConnectionEndsTheWait(t *testing.T) {
	refusal := func(code diameter.ResultCode) error {
		return fmt.Errorf("the peer refuses: %w", &diameter.Error{Code: code, Text: "why"})
	}
	for _, tc := range []struct {
		err  error
		ends bool
	}{
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, true},
		{refusal(diameter.UnknownPeer), true},
		{refusal(diameter.ElectionLost), false},
	} {
		ended := false
		trouble := &lastTrouble{tell: unlessBusy(func() { ended = true })}
		slog.New(trouble).Warn("diameter connect failed", "err", tc.err)
		if ended != tc.ends || trouble.text() != "diameter connect failed: "+tc.err.Error() {
			t.Errorf("%v: the wait ended: %t; said %q", tc.err, ended, trouble.text())
		}
	}
}

// What an event that is refused, or cannot be sent, tells a person and a script.
func TestEventCommandRefused(t *testing.T) {
	s := liveStage(t)
	server := s.main.diameterAddr.String()
	closed, err := net.Listen("tcp", loopbackAny)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close() // nobody listens there any more
	alone, _, _ := chargingAlone(t)
	payer, poor := string(sample.Number("6001")), string(sample.Number("6011"))
	elsewhere := filepath.Join(t.TempDir(), "elsewhere.yaml")
	if err := os.WriteFile(elsewhere, []byte("node: {vpn: {host: vpn.elsewhere.example}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		args []string
		code int
		says []string
	}{
		{"unknown subscriber", []string{"debit", "493023125999", "--units", "1", "--rating-group", "100"}, exitRefused, []string{"debit refused: 5030"}},
		{"no credit", []string{"debit", poor, "--units", "1", "--rating-group", "100"}, exitRefused, []string{"debit refused: 4012"}},
		{"no price", []string{"debit", payer, "--units", "1", "--rating-group", "4711"}, exitRefused, []string{"debit refused: 5031"}},
		{"unknown service", []string{"price", payer, "--units", "1", "--service", "99999@3gpp.org"}, exitRefused, []string{"price refused: "}},
		{"group of an enquiry", []string{"price", payer, "--units", "1", "--rating-group", "100"}, exitUsage, []string{"--rating-group", "--service-id"}},
		{"nobody there", []string{"balance", payer, "--money", "1", "--server", closed.Addr().String()}, exitUnreachable, []string{closed.Addr().String(), "--server"}},
		{"unknown peer", []string{"balance", payer, "--money", "1", "--server", alone.diameterAddr.String(), "--config", elsewhere}, exitUnreachable, []string{"tool.vpn.elsewhere.example", "diameter.peers", "3010"}},
		{"action", []string{"borrow", payer}, exitUsage, []string{`"borrow" is none of balance, debit, price, refund`}},
		{"payer", []string{"debit", "imsi:262011234567890"}, exitUsage, []string{"paid by a number or by private:NAME"}},
		{"token", []string{"refund", payer, "--token", "xyz"}, exitUsage, []string{"--token"}},
		{"unit", []string{"debit", payer, "--unit", "miles"}, exitUsage, []string{"--unit"}},
		{"money", []string{"balance", payer, "--money", "much"}, exitUsage, []string{"--money"}},
		{"money and units", []string{"debit", payer, "--money", "1", "--units", "1"}, exitUsage, []string{"none of the others can be"}},
		{"server", []string{"debit", payer, "--server", "here"}, exitUsage, []string{"--server"}},
		{"no payer", []string{"debit"}, exitUsage, []string{"accepts 2 arg"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, _, errs := gygate(t, append([]string{"event", "--server", server}, tc.args...)...)
			if code != tc.code {
				t.Errorf("exit code %d, want %d: %s", code, tc.code, errs)
			}
			for _, want := range tc.says {
				if !strings.Contains(errs, want) {
					t.Errorf("no %q in %q", want, errs)
				}
			}
		})
	}
}
