package ladder

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"gygate/ocs"
	"gygate/vpnlogic"
)

var rewrite = flag.Bool("rewrite", false, "rewrite testdata/*.ladder")

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// at is an event d milliseconds after the call request.
func at(ms int, from, to, text string) vpnlogic.CallEvent {
	return vpnlogic.CallEvent{CallID: "c1", At: start.Add(time.Duration(ms) * time.Millisecond), From: from, To: to, Text: text}
}

func request(ms int, r vpnlogic.ChargeRequest) vpnlogic.CallEvent {
	e := at(ms, "gygate", "ocs", "")
	e.Request = &r
	return e
}

func answer(ms int, a vpnlogic.ChargeAnswer) vpnlogic.CallEvent {
	e := at(ms, "ocs", "gygate", "")
	e.Answer = &a
	return e
}

func record(ms int, r vpnlogic.CallRecord) vpnlogic.CallEvent {
	e := at(ms, "gygate", "gygate", "")
	e.Record = &r
	return e
}

// row is a journal row of balance 1, amounts in cents.
func row(kind ocs.StepType, number uint32, debited, refunded, reserved, amount, frozen int64) ocs.JournalRow {
	const cent = int64(ocs.MoneyScale / 100)
	return ocs.JournalRow{Kind: ocs.JournalStep, Balance: 1, Type: kind, Number: number, Debited: debited * cent,
		Refunded: refunded * cent, Reserved: reserved * cent, AmountAfter: amount * cent, FrozenAfter: frozen * cent}
}

// prepaid is a call of 5 s at a cent a second in slices of 4 s.
func prepaid() Call {
	const s = time.Second
	return Call{
		Currency: "EUR",
		Events: []vpnlogic.CallEvent{
			at(0, "caller", "gygate", "INVITE 6002"),
			at(1, "gygate", "", "screened on-net: acme 6001 → 6002 (493023125002), prepaid, rating group 100"),
			request(1, vpnlogic.ChargeRequest{Type: 1, Number: 0, Report: vpnlogic.ReportNone}),
			answer(4, vpnlogic.ChargeAnswer{Code: 2001, Grant: vpnlogic.Grant{Time: 4 * s}}),
			at(5, "gygate", "called", "INVITE 493023125002"),
			at(6, "called", "gygate", "180 Ringing"),
			at(30, "called", "gygate", "200 OK"),
			request(3031, vpnlogic.ChargeRequest{Type: 2, Number: 1, Used: 3 * s, Report: vpnlogic.ReportThreshold}),
			answer(3034, vpnlogic.ChargeAnswer{Code: 2001, Grant: vpnlogic.Grant{Time: 4 * s, Final: true}}),
			at(4900, "caller", "gygate", "BYE"),
			at(4901, "gygate", "called", "BYE"),
			request(4902, vpnlogic.ChargeRequest{Type: 3, Number: 2, Used: 2 * s, Report: vpnlogic.ReportFinal}),
			answer(4906, vpnlogic.ChargeAnswer{Code: 2001, Cost: "0.05"}),
			record(4907, vpnlogic.CallRecord{Class: vpnlogic.OnNet, Charging: vpnlogic.ChargingPrepaid, Talked: 4870 * time.Millisecond,
				Reported: 5 * s, Cost: "0.05", Cause: 16, Status: 200, Reason: "normal", ReleasedBy: "caller"}),
		},
		Journal: []ocs.JournalRow{
			row(ocs.Initial, 0, 0, 0, 4, 1000, 4),
			row(ocs.Update, 1, 3, 1, 4, 997, 4),
			row(ocs.Terminate, 2, 2, 2, 0, 995, 0),
		},
	}
}

func refused() Call {
	return Call{Events: []vpnlogic.CallEvent{
		at(0, "caller", "gygate", "INVITE 6002"),
		request(1, vpnlogic.ChargeRequest{Type: 1, Report: vpnlogic.ReportNone}),
		answer(4, vpnlogic.ChargeAnswer{Code: 4010, Reason: "authenticate.lost"}),
		at(5, "gygate", "caller", `403 Forbidden, Reason: Q.850;cause=21;text="authenticate.lost"`),
		record(6, vpnlogic.CallRecord{Class: vpnlogic.OnNet, Charging: vpnlogic.ChargingPrepaid, Cause: 21, Status: 403,
			Reason: "authenticate.lost", ReleasedBy: "charging"}),
	}}
}

// asked is a call that the charging system speaks to by itself: on a top-up of its
// last units, and when the account is blocked.
func asked() Call {
	const s = time.Second
	const cent = ocs.MoneyScale / 100
	return Call{
		Currency: "EUR", Elsewhere: 500 * cent,
		Events: []vpnlogic.CallEvent{
			at(0, "caller", "gygate", "INVITE 6002"),
			request(1, vpnlogic.ChargeRequest{Type: 1, Report: vpnlogic.ReportNone}),
			answer(4, vpnlogic.ChargeAnswer{Code: 2001, Grant: vpnlogic.Grant{Time: 3 * s, Final: true}}),
			at(5, "gygate", "called", "INVITE 493023125002"),
			at(30, "called", "gygate", "200 OK"),
			at(1100, "ocs", "gygate", "RAR"),
			at(1100, "gygate", "ocs", "RAA will report"),
			request(1101, vpnlogic.ChargeRequest{Type: 2, Number: 1, Used: 2 * s, Report: vpnlogic.ReportForced}),
			answer(1104, vpnlogic.ChargeAnswer{Code: 2001, Grant: vpnlogic.Grant{Time: 3 * s}}),
			request(1900, vpnlogic.ChargeRequest{Type: 2, Number: 2, Used: s, RatingGroup: 100, Wanted: 101, Report: vpnlogic.ReportRatingChange}),
			answer(1990, vpnlogic.ChargeAnswer{}),
			request(2000, vpnlogic.ChargeRequest{Type: 2, Number: 2, Used: s, RatingGroup: 100, Wanted: 101, Report: vpnlogic.ReportRatingChange, Repeat: true}),
			answer(2003, vpnlogic.ChargeAnswer{Code: 2001, Grant: vpnlogic.Grant{Time: 3 * s}}),
			at(2500, "ocs", "gygate", "ASR"),
			at(2500, "gygate", "ocs", "ASA accepted"),
			at(2501, "gygate", "caller", "BYE"),
			at(2501, "gygate", "called", "BYE"),
			request(2502, vpnlogic.ChargeRequest{Type: 3, Number: 3, Report: vpnlogic.ReportFinal}),
			answer(2506, vpnlogic.ChargeAnswer{Code: 2001, Cost: "0.03"}),
			record(2507, vpnlogic.CallRecord{Class: vpnlogic.OnNet, Charging: vpnlogic.ChargingPrepaid, Talked: 2471 * time.Millisecond,
				Reported: 3 * s, Cost: "0.03", Cause: 21, Status: 200, Reason: vpnlogic.ReasonAborted, ReleasedBy: "charging"}),
		},
		Journal: []ocs.JournalRow{
			row(ocs.Initial, 0, 0, 0, 3, 3, 3),
			row(ocs.Update, 1, 2, 1, 3, 501, 3),
			row(ocs.Update, 2, 1, 2, 3, 500, 3),
			row(ocs.Terminate, 3, 0, 3, 0, 500, 0),
		},
	}
}

func TestWrite(t *testing.T) {
	for name, call := range map[string]Call{"prepaid": prepaid(), "refused": refused(), "asked": asked()} {
		for _, width := range []int{80, 100, 120} {
			t.Run(fmt.Sprintf("%s-%d", name, width), func(t *testing.T) {
				var b bytes.Buffer
				if err := call.Write(&b, width); err != nil {
					t.Fatal(err)
				}
				for _, line := range strings.Split(b.String(), "\n") {
					if len(line) > width {
						t.Errorf("%d columns: %q", len(line), line)
					}
				}
				compare(t, fmt.Sprintf("testdata/%s-%d.ladder", name, width), b.Bytes())
			})
		}
	}
}

func compare(t *testing.T, file string, got []byte) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; got\n%s", file, got)
	}
}

func TestSumAddsUp(t *testing.T) {
	s := prepaid().Sum()
	if len(s.Faults) > 0 {
		t.Error(s.Faults)
	}
	cent := ocs.MoneyScale / 100
	want := Moved{Debited: 5 * cent, Refunded: 3 * cent, Reserved: 8 * cent, Amount: 995 * cent}
	if s.Moved != want || s.Opening != 1000*cent || s.Used != 5*time.Second || s.Cost != "0.05" {
		t.Errorf("got %+v", s)
	}
}

func TestSumFindsWhatDoesNotAddUp(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(*Call)
		fault string
	}{
		{"cost differs", func(c *Call) { c.Events[len(c.Events)-1].Record.Cost = "0.06" }, "is not the cost 0.06"},
		{"cost unreadable", func(c *Call) { c.Events[len(c.Events)-1].Record.Cost = "much" }, "is not the cost much"},
		{"used differs", func(c *Call) { c.Events[len(c.Events)-1].Record.Reported = time.Second }, "5 s reported in CCRs, 1 s in the call record"},
		{"balance jumps", func(c *Call) { c.Journal[2].AmountAfter-- }, "opening 10.00 - debited 0.05 is not the balance"},
		{"freeze left", func(c *Call) { c.Journal[2].Refunded = 0 }, "0.02 reserved and neither debited nor refunded"},
		{"no record", func(c *Call) { c.Events = c.Events[:3] }, "no call record"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			call := prepaid()
			tc.spoil(&call)
			faults := call.Sum().Faults
			if !slices.ContainsFunc(faults, func(f string) bool { return strings.Contains(f, tc.fault) }) {
				t.Errorf("faults %q do not say %q", faults, tc.fault)
			}
			var b bytes.Buffer
			if err := call.Write(&b, 100); err != nil || !strings.Contains(b.String(), "DOES NOT ADD UP") {
				t.Errorf("the ladder hides it (%v):\n%s", err, b.String())
			}
		})
	}
}

// Two balances: the second is touched by the last step only, and yet counts
// from the first.
func TestSumOverTwoBalances(t *testing.T) {
	call := prepaid()
	second := row(ocs.Terminate, 2, 1, 0, 0, 49, 0)
	second.Balance = 2
	call.Journal = append(call.Journal, second)
	call.Events[len(call.Events)-1].Record.Cost = "0.06"
	s := call.Sum()
	if len(s.Faults) > 0 || s.Opening.String() != "10.50" || s.Amount.String() != "10.44" {
		t.Errorf("got %+v", s)
	}
}

// What others move on the same balances in mid-call is a term of the equation.
func TestSumKnowsOfOthers(t *testing.T) {
	const cent = ocs.MoneyScale / 100
	call := asked()
	if s := call.Sum(); len(s.Faults) > 0 || s.Amount != 500*cent {
		t.Errorf("got %+v", s)
	}
	call.Elsewhere = -2 * cent
	if faults := call.Sum().Faults; len(faults) != 1 || faults[0] != "opening 0.03 - debited 0.03 - 0.02 elsewhere is not the balance 5.00" {
		t.Errorf("faults %q", faults)
	}
}

func TestElsewhere(t *testing.T) {
	mine, other := ocs.KeyOf("mine"), ocs.KeyOf("other")
	of := func(session ocs.SessionKey, balance, debited, credited int64) ocs.JournalRow {
		return ocs.JournalRow{Session: session, Balance: balance, Debited: debited, Credited: credited}
	}
	got := Elsewhere(mine, []ocs.JournalRow{
		of(ocs.SessionKey{}, 1, 0, 1000), // before the session
		of(mine, 1, 0, 0),
		of(other, 1, 7, 0), of(ocs.SessionKey{}, 1, 0, 50), of(other, 2, 3, 0), // of another balance
		of(mine, 1, 5, 0), of(mine, 1, 0, 0),
		of(other, 1, 1, 0), // after the session
	})
	if got != 43 {
		t.Errorf("got %d, want 43", got)
	}
}

func TestWriteJournal(t *testing.T) {
	credit := ocs.JournalRow{At: start, Balance: 1, Kind: ocs.JournalCredit, CreditSource: "opening", Credited: 10_000_000, AmountAfter: 10_000_000}
	step := row(ocs.Update, 1, 3, 1, 4, 997, 4)
	step.At, step.Used = start, 3
	service := row(ocs.Direct, 7, 0, 0, 4, 997, 8)
	expire := ocs.JournalRow{Kind: ocs.JournalExpire, Type: ocs.Expire, Balance: 1, Refunded: 1}
	var b bytes.Buffer
	if err := WriteJournal(&b, []ocs.JournalRow{credit, step, service, expire}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"credit opening", "03:04:05.000", "CCR-U #1", "0.03", "9.97", "service #7", "expire"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestCollector(t *testing.T) {
	c := NewCollector()
	for _, e := range prepaid().Events {
		c.Observe(e)
	}
	events, rec, err := c.Wait(t.Context(), "c1")
	if err != nil || len(events) != len(prepaid().Events) || rec.Cost != "0.05" {
		t.Errorf("%d events, record %+v, %v", len(events), rec, err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := c.Wait(cancelled, "other"); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting for a call without an end: %v", err)
	}
}

func TestCollectorIsBounded(t *testing.T) {
	c := NewCollector()
	for i := range callsKept + 5 {
		c.Observe(vpnlogic.CallEvent{CallID: fmt.Sprint(i)})
	}
	if len(c.calls) != callsKept || len(c.order) != callsKept || c.calls["0"] != nil {
		t.Errorf("%d calls kept", len(c.calls))
	}
	for range eventsKept + 5 {
		c.Observe(vpnlogic.CallEvent{CallID: "long"})
	}
	if n := len(c.calls["long"].events); n != eventsKept {
		t.Errorf("%d events kept", n)
	}
}

func TestWrap(t *testing.T) {
	for _, tc := range []struct {
		text string
		n    int
		want []string
	}{
		{"one two three", 8, []string{"one two", "three"}},
		{"  in dent", 6, []string{"  in", "  dent"}},
		{"abcdefgh", 3, []string{"abc", "def", "gh"}},
		{"", 5, []string{""}},
	} {
		if got := wrap(tc.text, tc.n); !slices.Equal(got, tc.want) {
			t.Errorf("wrap(%q, %d) = %q, want %q", tc.text, tc.n, got, tc.want)
		}
	}
}
