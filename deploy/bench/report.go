package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gygate/cmd/gygate/load"
	"gygate/ocs"
)

const (
	jsonFile = "bench.json"
	plotFile = "bench.png"
	// foreignMax is how many processors others may use before a number is spoiled.
	foreignMax = 0.2
)

// report is everything a run found.
type report struct {
	Command  string            `json:"command"`
	Date     time.Time         `json:"date"`
	Seconds  float64           `json:"seconds"` // the whole run
	Window   float64           `json:"window_seconds"`
	Settings settings          `json:"settings"`
	Results  []result          `json:"results"`
	Start    *start            `json:"start,omitempty"`
	Calls    []calls           `json:"sip,omitempty"`
	Facts    map[string]string `json:"facts,omitempty"`
	Spoiled  int               `json:"spoiled"` // results measured while others used the machine
}

// result is one row of the table.
type result struct {
	Part        string       `json:"part"`
	Name        string       `json:"name"`
	InFlight    int          `json:"in_flight"`
	Subscribers int          `json:"subscribers"`
	Rate        float64      `json:"rate"` // CCR/s, or steps
	OfLimit     float64      `json:"of_limit,omitempty"`
	Latency     load.Latency `json:"latency_ms"`
	consumption
	Generator  float64        `json:"generator_us"`
	Memory     float64        `json:"gateway_memory_mb"`
	MemoryPeak float64        `json:"gateway_memory_peak_mb"`
	Spoiled    bool           `json:"spoiled"`
	Fault      string         `json:"fault,omitempty"` // of the books or the answers
	Loads      []*load.Report `json:"loads,omitempty"`

	cost ocs.Money
}

// start is how long a gateway took to serve, in seconds.
type start struct {
	Accounts int64   `json:"accounts"`
	Open     int64   `json:"open_sessions"`
	Ready    float64 `json:"ready"`
	Answered float64 `json:"first_ccr_answered"`
	Target   float64 `json:"target"`
}

func newReport(p plan) *report {
	return &report{
		Command: strings.Join(append([]string{"go run ./deploy/bench"}, os.Args[1:]...), " "), Date: time.Now().UTC().Truncate(time.Second),
		Window: p.window.Seconds(), Facts: map[string]string{},
	}
}

// add prints a row and keeps it.
func (r *report) add(part string, one result) {
	one.Part, one.Spoiled = part, one.Foreign > foreignMax
	if one.Spoiled {
		r.Spoiled++
	}
	r.Results = append(r.Results, one)
	one.print(os.Stdout)
}

// fact prints and keeps what is no row of the table.
func (r *report) fact(name, format string, args ...any) {
	r.Facts[name] = fmt.Sprintf(format, args...)
	fmt.Println(r.Facts[name])
}

func (r *report) finish() { r.Seconds = time.Since(r.Date).Seconds() }

const rowFormat = "%-24s %5s %7s %6s  %7s %7s %7s  %5s %5s %5s  %6s %6s %5s %4s %5s %5s %5s %5s  %s\n"

func printHeader(w io.Writer) {
	fmt.Fprintf(w, rowFormat, "", "in", "", "of", "p50", "p99", "p99.9", "gw", "PG", "gen", "allocs", "WAL", "rows", "HOT", "fsync", "MB", "busy", "other", "")
	fmt.Fprintf(w, rowFormat, "", "fl.", "CCR/s", "limit", "ms", "ms", "ms", "us", "us", "us", "/CCR", "B/CCR", "/CCR", "%", "ms", "", "cores", "cores", "books")
}

// legend explains the columns of the table.
const legend = `in fl.     requests in flight at a time
of limit   the rate as a share of the limit's
           limit is the store's statements alone, engine has the rules too, Diameter is all of it
gw PG gen  microseconds of processor time for a CCR, of the gateway, PostgreSQL and the generator
allocs     memory allocations of the gateway for a CCR
WAL, rows  octets of write-ahead log and rows written for a CCR
HOT        share of row updates that touched no index (heap-only tuples)
fsync      how long one fsync of the write-ahead log takes
MB         memory of the gateway
busy       processors in use; other: those of them used by other programs, which spoil a result
books      whether the accounts paid what the answers say; all books are verified at the end
           a row is the turn with the median rate, a share the median of those of the turns
`

func printLegend(w io.Writer) { fmt.Fprint(w, "\n"+legend) }

func (r *result) print(w io.Writer) {
	number := func(format string, v float64) string {
		if v == 0 {
			return "-"
		}
		return fmt.Sprintf(format, v)
	}
	gateway := r.Gateway
	if len(r.Loads) == 0 {
		gateway = r.Bench // limit and engine run in this program
	}
	verdict := "right"
	if r.Fault != "" {
		verdict = "WRONG: " + r.Fault
	}
	if r.Spoiled {
		verdict += ", spoiled by other load"
	}
	fmt.Fprintf(w, rowFormat, r.Name, fmt.Sprint(r.InFlight), fmt.Sprintf("%.0f", r.Rate), number("%.0f%%", 100*r.OfLimit),
		number("%.2f", r.Latency.P50), number("%.2f", r.Latency.P99), number("%.2f", r.Latency.P999),
		number("%.1f", gateway), number("%.1f", r.Postgres), number("%.1f", r.Generator), number("%.0f", r.Mallocs),
		number("%.0f", r.WAL), number("%.2f", r.Rows), number("%.0f", 100*r.HOT), number("%.2f", r.Sync), number("%.0f", r.Memory), number("%.2f", r.Busy), fmt.Sprintf("%.2f", r.Foreign), verdict)
}

// err says what was wrong, nil when the numbers can be believed. Other load on the
// machine makes them worse, not wrong.
func (r *report) err() error {
	var faults []error
	for _, one := range r.Results {
		if one.Fault != "" {
			faults = append(faults, fmt.Errorf("%s, %d in flight: %s", one.Name, one.InFlight, one.Fault))
		}
	}
	if r.Spoiled > 0 {
		fmt.Printf("%d of %d results were measured while others used more than %.1f processors: measure them again\n", r.Spoiled, len(r.Results), foreignMax)
	}
	return errors.Join(faults...)
}

// write leaves the report as JSON and as a plot.
func (r *report) write(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, jsonFile), append(text, '\n'), 0o644); err != nil {
		return err
	}
	return r.plot(filepath.Join(folder, plotFile))
}
