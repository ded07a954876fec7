package vpnlogic

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the expected parts of testdata/calls")

// start is the time 0 of every transcript.
var start = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// TestTranscript runs the call machine through each file of testdata/calls. A
// file is a row of blocks: an input line ("12s ringing"; "tick" steps to the
// next deadline), "----", what the machine does and where it then stands, and
// an empty line. Lines that begin with # explain; "# proves C-027" names the rows
// of the conformance table that the transcript shows.
func TestTranscript(t *testing.T) {
	files, err := filepath.Glob("testdata/calls/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(want)) {
				if rows, ok := strings.CutPrefix(line, "# proves "); ok {
					proves(t, strings.Fields(rows)...)
				}
			}
			got := replay(t, string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("%s differs; run with -update and read the difference\n--- got\n%s", file, got)
			}
		})
	}
}

// proves names rows of the conformance table that a test shows.
func proves(t testing.TB, rows ...string) {
	for _, row := range rows {
		t.Attr("proves", row)
	}
}

// replay returns the transcript as the machine writes it.
func replay(t *testing.T, text string) string {
	var out strings.Builder
	r := &replayer{machine: newMachine("record-1", attempt, limits{callMax: time.Hour, setUpMax: 3 * time.Minute, requestLife: 2 * time.Minute}), now: start}
	inOutput := false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "----":
			inOutput = true
		case line == "":
			if !inOutput {
				out.WriteString("\n")
			}
			inOutput = false
		case inOutput:
		case strings.HasPrefix(line, "#"):
			out.WriteString(line + "\n")
		default:
			out.WriteString(line + "\n----\n" + r.input(t, line) + "\n")
		}
	}
	return out.String()
}

var attempt = Attempt{CallID: "call-1", Calling: "+8613800000001", Dialled: "6002", At: start}

type replayer struct {
	machine *machine
	now     time.Time
}

func (r *replayer) input(t *testing.T, line string) string {
	words := strings.Fields(line)
	if words[0] == "tick" {
		next := r.machine.timers.next()
		if next.IsZero() {
			t.Fatalf("%q: no deadline is set", line)
		}
		r.now = next
		return r.step(tick{})
	}
	at, err := time.ParseDuration(words[0])
	if err != nil || len(words) < 2 {
		t.Fatalf("%q: want a time and an event", line)
	}
	r.now = start.Add(at)
	return r.step(eventOf(t, line, words[1], words[2:]))
}

// step runs one event; screening is done at once, as the words of "attempt"
// said.
func (r *replayer) step(e event) string {
	var out strings.Builder
	first := e
	if _, isAttempt := e.(attempted); isAttempt {
		first = setUp{}
	}
	for _, a := range r.machine.step(r.now, first) {
		if _, isScreen := a.(screenCall); isScreen {
			for _, a := range r.machine.step(r.now, e.(attempted).screened) {
				out.WriteString(r.action(a))
			}
			continue
		}
		out.WriteString(r.action(a))
	}
	out.WriteString(r.state())
	return out.String()
}

// attempted is a set-up together with the result of its screening.
type attempted struct{ screened event }

func (attempted) isEvent() {}

func eventOf(t *testing.T, line, name string, words []string) event {
	switch name {
	case "attempt":
		return attempted{screenedBy(words)}
	case "ringing":
		return ringing{180}
	case "answered":
		return answered{}
	case "caller", "called":
		return disconnect{by: Party(name)}
	case "failed":
		status, _ := strconv.Atoi(words[0])
		return disconnect{by: PartyCalled, cause: CauseFromStatus(status)}
	case "lost":
		return disconnect{by: byService, cause: CauseOf(ReasonLinkLost)}
	case "fault":
		return disconnect{by: byService, cause: CauseOf(ReasonInternal)}
	case "stop":
		return disconnect{by: byService, cause: CauseOf(ReasonShutdown), hurry: true}
	case "charged":
		return charged{answerOf(t, line, words)}
	case "connected":
		class := CallClass(strings.Join(words[1:], " "))
		return connectedTo{party{E164(words[0]), class, class.RatingGroup()}}
	case "operator":
		return operator{words[0]}
	case "reauthorize":
		if len(words) == 0 {
			return reauthorize{}
		}
		group, _ := strconv.ParseUint(words[0], 10, 32)
		only := uint32(group)
		return reauthorize{group: &only}
	case "abort":
		return abort{}
	}
	t.Fatalf("%q: no such event", line)
	return nil
}

func screenedBy(words []string) event {
	caller := Member{Number: "8613800000001", Group: "7001", Short: "6001"}
	called := Member{Number: "8613800000002", Group: "7001", Short: "6002"}
	route := Route{
		Group: "7001", Caller: caller, CalledMember: called, Class: OnNet, Called: called.Number,
		Destination: Destination{Called: called.Number, CallerID: "6001", OnNet: true},
		RatingGroup: RatingOnNet, Payer: caller.Number,
	}
	switch words[0] {
	case "prepaid":
		route.Prepaid = true
		return screenOK{route: route, session: "vpn;1;1", charging: ChargingPrepaid}
	case "corporate":
		route.Prepaid, route.Payer, route.PayerAccount = true, "", "7001"
		return screenOK{route: route, session: "vpn;1;1", charging: ChargingPrepaid}
	case "emergency":
		return screenOK{route: Route{Class: Emergency, Destination: Destination{Emergency: "112"}}, charging: ChargingEmergency}
	case "refused":
		return screenRefused{cause: CauseOf(words[1])}
	default:
		return screenOK{route: route, charging: Charging(words[0])}
	}
}

func answerOf(t *testing.T, line string, words []string) ChargeAnswer {
	a := ChargeAnswer{Code: 2001}
	for i := 0; i < len(words); i++ {
		value := func() string { i++; return words[i] }
		seconds := func() time.Duration { d, _ := time.ParseDuration(value() + "s"); return d }
		switch words[i] {
		case "granted":
			a.Grant.Time = seconds()
		case "threshold":
			a.Grant.Threshold = seconds()
		case "valid":
			a.Grant.ValidFor = seconds()
		case "final":
			a.Grant.Final = true
		case "switch":
			a.Grant.SwitchAt = start.Add(seconds())
		case "free":
			a.Result, a.Code = ChargeFree, 4011
		case "refused":
			a.Result, a.Code = ChargeRefused, 4010
		case "no-payer":
			a.Result, a.Code = ChargeRefused, 5030
		case "no-credit":
			a.Result, a.Code = ChargeNoCredit, 4012
		case "failed":
			a.Result, a.Code = ChargeFailed, 5012
		case "unreachable":
			a.Result, a.Code = ChargeUnreachable, 0
		case "open":
			a.SessionOpen = true
		case "continue":
			a.OnFailure = FailContinue
		case "retry":
			a.OnFailure = FailRetryAndTerminate
		case "reason":
			a.Reason = value()
		case "cost":
			a.Cost, a.Currency = value(), 156
		default:
			t.Fatalf("%q: no such word: %s", line, words[i])
		}
	}
	return a
}

func (r *replayer) action(a action) string {
	switch a := a.(type) {
	case connectLeg:
		return fmt.Sprintf("connect %s%s, present %q, charged mark %v\n", a.Called, a.Emergency, a.CallerID, a.Charged)
	case releaseLeg:
		return fmt.Sprintf("release %s\n", a.Cause)
	case sendRequest:
		return requestLine(a.ChargeRequest)
	case answerReauth:
		return fmt.Sprintf("RAA %s\n", a.Reauthorization)
	case answerAbort:
		return fmt.Sprintf("ASA %s\n", a.Abortion)
	case finish:
		return recordLine(a.CallRecord)
	}
	return fmt.Sprintf("%T\n", a)
}

func requestLine(c ChargeRequest) string {
	line := fmt.Sprintf("CCR-%s #%d at %v", c.Type, c.Number, c.At.Sub(start))
	if c.Type != ChargeInitial {
		line += fmt.Sprintf(" used %v", c.Used)
	}
	if c.Split {
		line += fmt.Sprintf(", %v of it after the switch", c.UsedAfter)
	}
	if c.RatingGroup != RatingOnNet || c.Wanted != 0 {
		line += fmt.Sprintf(", group %d", c.RatingGroup)
	}
	if c.Wanted != 0 {
		line += fmt.Sprintf(" → %d", c.Wanted)
	}
	if c.WantMore {
		line += ", wants more"
	}
	if c.Report != ReportNone {
		line += fmt.Sprintf(", reason %d", c.Report)
	}
	if c.Repeat {
		line += ", again"
	}
	if c.Type == ChargeTerminate {
		line += ", " + c.Cause.Reason
	}
	if c.Call.Connected != "" {
		line += fmt.Sprintf(", connected to %s, %s", c.Call.Connected, c.Call.Class)
	}
	if c.PayerAccount != "" {
		line += fmt.Sprintf(", account %s pays for %s%s", c.PayerAccount, c.Call.Member, c.Payer)
	}
	if c.Call.TermIOI != "" {
		line += ", at " + c.Call.TermIOI
	}
	if c.Call.SIPStatus != 0 {
		line += fmt.Sprintf(", set-up ended by %d", c.Call.SIPStatus)
	}
	return line + "\n"
}

func recordLine(c CallRecord) string {
	line := fmt.Sprintf("record %s, charging %s: talked %v, reported %v, released by %s, %d, Q.850 %d",
		c.Reason, c.Charging, c.Talked, c.Reported, c.ReleasedBy, c.Status, c.Cause)
	if c.Cost != "" {
		line += ", cost " + c.Cost
	}
	if c.Connected != "" {
		line += ", connected to " + c.Connected
	}
	if c.Payer == PayerGroup {
		line += ", the group pays"
	}
	return line + "\n"
}

func (r *replayer) state() string {
	m := r.machine
	line := fmt.Sprintf("= %s %s", m.at, m.credit.state)
	names := [...]string{"call end", "cut-off", "no answer", "life", "repeat", "validity", "ask"}
	for i, at := range m.timers.byRank() {
		if !at.IsZero() {
			line += fmt.Sprintf(" | %s %v", names[i], at.Sub(start))
		}
	}
	return line + "\n"
}
