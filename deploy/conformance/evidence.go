package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// outputMax bounds what is kept of one test's output until it has passed.
const outputMax = 16 << 10

// lineMax bounds one event of the test stream.
const lineMax = 4 << 20

// event is one line of `go test -json` (go doc test2json).
type event struct {
	Action  string
	Package string
	Test    string
	Key     string // of an attribute
	Value   string
	Output  string
	Elapsed float64 // seconds
}

// testKey names one test or subtest.
type testKey struct{ pkg, test string }

func (k testKey) compare(o testKey) int {
	if c := strings.Compare(k.pkg, o.pkg); c != 0 {
		return c
	}
	return strings.Compare(k.test, o.test)
}

// evidence is what a run of the tests showed.
type evidence struct {
	proofs  map[string][]testKey // by row: the tests that claim it and passed
	broken  map[string][]testKey // by row: the tests that claim it and did not pass
	failed  []testKey            // tests that failed
	faulty  []string             // packages that failed or were not built
	outputs map[testKey]string   // of what failed
	figures []string             // measured on the clock of the wall, not judged
}

// collector turns the stream of events into evidence.
type collector struct {
	module   string // the prefix left out of package paths
	progress io.Writer
	claims   map[testKey][]string // rows claimed by a test
	passed   map[testKey]bool
	results  evidence
}

// collect reads the stream of `go test -json` to its end and writes a line for
// each package.
func collect(r io.Reader, module string, progress io.Writer) (*evidence, error) {
	c := &collector{
		module: module, progress: progress,
		claims: map[testKey][]string{}, passed: map[testKey]bool{},
		results: evidence{proofs: map[string][]testKey{}, broken: map[string][]testKey{}, outputs: map[testKey]string{}},
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, lineMax)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintln(progress, lines.Text()) // not of the tests: the go command speaks
			continue
		}
		c.take(e)
	}
	return c.evidence(), lines.Err()
}

func (c *collector) take(e event) {
	pkg := strings.TrimPrefix(e.Package, c.module+"/")
	key := testKey{pkg, e.Test}
	switch {
	case e.Action == "build-output":
		fmt.Fprint(c.progress, e.Output)
	case e.Action == "output":
		if b := c.results.outputs[key]; len(b) < outputMax {
			c.results.outputs[key] = b + e.Output
		}
	case e.Action == "attr" && e.Key == "proves":
		c.claims[key] = append(c.claims[key], e.Value)
	case e.Action == "attr" && e.Key == "figure":
		c.results.figures = append(c.results.figures, e.Value)
	case e.Test == "" && (e.Action == "pass" || e.Action == "fail" || e.Action == "skip"):
		c.packageDone(e, pkg)
	case e.Action == "pass":
		c.passed[key] = true
		delete(c.results.outputs, key)
	case e.Action == "fail":
		c.results.failed = append(c.results.failed, key)
	}
}

func (c *collector) packageDone(e event, pkg string) {
	switch e.Action {
	case "fail":
		c.results.faulty = append(c.results.faulty, pkg)
		fmt.Fprintf(c.progress, "FAILED  %6.1f s  %s\n", e.Elapsed, pkg)
	case "pass":
		delete(c.results.outputs, testKey{pkg: pkg})
		fmt.Fprintf(c.progress, "passed  %6.1f s  %s\n", e.Elapsed, pkg)
	}
}

// evidence sorts the claims by what became of the very test that made them. A
// test that was skipped or never ended proves nothing.
func (c *collector) evidence() *evidence {
	for _, key := range slices.SortedFunc(maps.Keys(c.claims), testKey.compare) {
		into := c.results.broken
		if c.passed[key] {
			into = c.results.proofs
		}
		for _, id := range c.claims[key] {
			if !slices.Contains(into[id], key) {
				into[id] = append(into[id], key)
			}
		}
	}
	slices.SortFunc(c.results.failed, testKey.compare)
	slices.Sort(c.results.faulty)
	return &c.results
}
