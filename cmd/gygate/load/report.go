package load

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"gygate/diameter"
	"gygate/ocs"
)

// Progress is how far a load is.
type Progress struct {
	After                             time.Duration
	Answered, Refused, Lost, InFlight int64
	Rate                              float64 // CCR/s since the last one
}

// Report is what a load came to.
type Report struct {
	Mode        Mode    `json:"mode"`
	Connections int     `json:"connections"`
	InFlight    int     `json:"in_flight"`              // sessions or events at a time
	Offered     float64 `json:"offered_rate,omitempty"` // CCR/s of an open loop
	Subscribers int     `json:"subscribers"`
	Pick        Pick    `json:"pick"`

	Seconds  float64 `json:"seconds"` // measured
	Rate     float64 `json:"rate"`    // CCR answered in a second of them
	Granted  float64 `json:"granted"` // those of them with a success, in a second
	Latency  Latency `json:"latency_ms"`
	CPU      float64 `json:"cpu_us_per_ccr"` // of this process, over all of the load
	Sent     int64   `json:"sent"`           // CCRs, a repeat and what it repeats are one
	Answered int64   `json:"answered"`
	// Codes counts answers by Result-Code, repeats left out; those without one, and
	// those beyond 64 different ones, stand under 0.
	Codes     map[string]int64 `json:"result_codes"`
	Sessions  int64            `json:"sessions"` // begun, or events
	Finished  int64            `json:"finished"` // of them
	Refused   int64            `json:"refused"`  // sessions whose CCR-I was refused
	Repeats   int64            `json:"repeats"`
	Differing int64            `json:"differing"` // repeats answered otherwise than what they repeat
	Lost      int64            `json:"lost"`      // CCRs without an answer
	Stray     int64            `json:"stray"`     // answers that came too late, or to nothing
	Unsent    int64            `json:"unsent"`    // sessions that were due but could not begin
	Unpriced  int64            `json:"unpriced"`  // final answers without Cost-Information
	Cost      ocs.Money        `json:"cost"`      // of all final answers and events, a decimal of the currency's unit
	Failures  []string         `json:"failures,omitempty"`
	// Refusal is the commonest refusal in words: its Result-Code and the first
	// Error-Message of those; "" without one.
	Refusal     string `json:"commonest_refusal,omitempty"`
	Interrupted bool   `json:"interrupted"`
	// Reached is how far an interrupted load has come, "1200 of 4000 requests".
	Reached string `json:"reached,omitempty"`
}

// Latency is in milliseconds, of requests that are no repeats: in the open loop from
// when a session's first request was due, else from when it was sent.
type Latency struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99_9"`
	Max  float64 `json:"max"`
	Mean float64 `json:"mean"`
}

// Err says what went wrong with the answers, nil when nothing did. Refusals are
// answers, unless there is nothing else.
func (r *Report) Err() error {
	if r.Lost == 0 && r.Differing == 0 && len(r.Failures) == 0 && r.Unsent == 0 {
		return r.allRefused()
	}
	return errors.Join(r.mishaps(), r.allRefused())
}

// allRefused is the fault that no request succeeded.
func (r *Report) allRefused() error {
	if r.Answered == 0 {
		return nil
	}
	for code := range r.Codes {
		if n, _ := strconv.Atoi(code); diameter.ResultCode(n).Success() {
			return nil
		}
	}
	return fmt.Errorf("no request succeeded: %s", r.Refusal)
}

func (r *Report) mishaps() error {
	return fmt.Errorf("%d requests lost, %d repeats answered otherwise, %d sessions not begun, %d connections failed", r.Lost, r.Differing, r.Unsent, len(r.Failures))
}

// newReport sums the connections up. cpu is what the process has used.
func newReport(c *Config, conns []*conn, cpu time.Duration) *Report {
	r := &Report{
		Mode: c.Mode, Connections: c.Connections, InFlight: c.InFlight, Offered: c.Rate, Subscribers: c.Subscribers, Pick: c.Pick,
		Codes: map[string]int64{},
	}
	all := NewHistogram()
	for _, one := range conns {
		r.add(one)
		all.Merge(one.latency)
	}
	r.Latency, r.Refusal = LatencyOf(all), commonest(conns)
	r.CPU = float64(cpu.Nanoseconds()) / 1e3 / float64(max(r.Answered, 1))
	return r
}

// add adds a connection. The rate is the sum of the connections' own: their windows
// differ by milliseconds.
func (r *Report) add(c *conn) {
	seconds := (c.window.until - c.window.from).Seconds()
	r.Seconds = max(r.Seconds, seconds)
	if seconds > 0 {
		r.Rate += float64(c.window.answered) / seconds
		r.Granted += float64(c.window.granted) / seconds
	}
	r.Sent, r.Answered = r.Sent+c.sent, r.Answered+c.answered
	r.Sessions, r.Finished, r.Refused = r.Sessions+c.started, r.Finished+c.finished, r.Refused+c.refused
	r.Repeats, r.Differing = r.Repeats+c.repeated, r.Differing+c.differing
	r.Lost, r.Stray, r.Unsent, r.Unpriced = r.Lost+c.lost, r.Stray+c.stray, r.Unsent+c.unsent, r.Unpriced+c.unpriced
	r.Cost += c.cost
	if c.success > 0 {
		r.Codes[successKey] += c.success
	}
	for code, refused := range c.codes {
		r.Codes[strconv.Itoa(int(code))] += refused.count
	}
}

// successKey is DIAMETER_SUCCESS among Report.Codes.
const successKey = "2001"

// NewHistogram is an empty one of latencies in microseconds.
func NewHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, latencyMax, latencyDigits) }

// LatencyOf sums a histogram of NewHistogram up.
func LatencyOf(h *hdrhistogram.Histogram) Latency {
	at := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1e3 }
	return Latency{P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: float64(h.Max()) / 1e3, Mean: h.Mean() / 1e3}
}

// Write prints the report for a person.
func (r *Report) Write(w io.Writer) error {
	kind := map[Mode]string{Sessions: "sessions", Events: "events", Opening: "openings"}[r.Mode]
	how := fmt.Sprintf("closed loop, %d %s at a time", r.InFlight, kind)
	if r.Offered > 0 {
		how = fmt.Sprintf("open loop, %g CCR/s offered", r.Offered)
	}
	fmt.Fprintf(w, "%s, %d connections, %d subscribers (%s)\n", how, r.Connections, r.Subscribers, r.Pick)
	fmt.Fprintf(w, "%.0f CCR/s answered, %.0f granted, over %.3g s; latency p50 %.2f  p90 %.2f  p99 %.2f  p99.9 %.2f  max %.2f ms\n",
		r.Rate, r.Granted, r.Seconds, r.Latency.P50, r.Latency.P90, r.Latency.P99, r.Latency.P999, r.Latency.Max)
	fmt.Fprintf(w, "sent %d, answered %d, lost %d%s; generator %.2f us CPU/CCR\n", r.Sent, r.Answered, r.Lost, ifAny(", late or stray %d", r.Stray), r.CPU)
	r.writeSessions(w)
	if r.Repeats > 0 {
		fmt.Fprintf(w, "repeats %d, answered otherwise %d\n", r.Repeats, r.Differing)
	}
	for _, code := range slices.Sorted(maps.Keys(r.Codes)) {
		n, _ := strconv.Atoi(code)
		fmt.Fprintf(w, "Result-Code %s: %d\n", nameCode(diameter.ResultCode(n)), r.Codes[code])
	}
	for _, failure := range r.Failures {
		fmt.Fprintln(w, failure)
	}
	_, err := fmt.Fprintf(w, "cost by the answers %s%s\n", r.Cost, ifAny(" (%d final answers without a cost)", r.Unpriced))
	return err
}

// writeSessions prints what became of the sessions or events.
func (r *Report) writeSessions(w io.Writer) {
	rest := ifAny(", refused %d", r.Refused) + ifAny(", not begun though due %d", r.Unsent)
	if r.Mode == Opening {
		fmt.Fprintf(w, "opened %d%s; they stay open until the supervision time\n", r.Finished, rest)
		return
	}
	fmt.Fprintf(w, "begun %d, finished %d%s\n", r.Sessions, r.Finished, rest)
}

// ifAny prints a number that is not 0.
func ifAny(format string, n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(format, n)
}
