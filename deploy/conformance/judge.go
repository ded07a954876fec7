package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The answers to "met?".
const (
	met    = "yes"
	partly = "partly"
	notMet = "no"
)

// verdict says whether a row is met, by which tests, and if not, why.
type verdict struct {
	row
	met   string
	tests []testKey
}

// judgement is a section with its verdicts.
type judgement struct {
	title string
	rows  []verdict
}

// judge holds the evidence against the rows.
func judge(sections []section, e *evidence) []judgement {
	all := make([]judgement, len(sections))
	for i, s := range sections {
		all[i].title = s.title
		for _, r := range s.rows {
			all[i].rows = append(all[i].rows, verdictOf(r, e.proofs[r.id]))
		}
	}
	return all
}

func verdictOf(r row, tests []testKey) verdict {
	v := verdict{row: r, met: notMet, tests: tests}
	switch {
	case len(tests) > 0 && r.note == "":
		v.met = met
	case strings.HasPrefix(r.note, notePartly):
		v.met = partly
	}
	return v
}

// reason is the note without its first word.
func (v verdict) reason() string {
	return strings.TrimPrefix(strings.TrimPrefix(v.note, noteNo), notePartly)
}

// faults lists what keeps the product from being conformant as it claims:
// rows without proof, and claims that contradict each other.
func faults(all []judgement, e *evidence) []string {
	var list []string
	known := map[string]bool{}
	for _, j := range all {
		for _, v := range j.rows {
			known[v.id] = true
			if f := v.fault(e.broken[v.id]); f != "" {
				list = append(list, v.id+" "+f)
			}
		}
	}
	for _, claims := range []map[string][]testKey{e.proofs, e.broken} {
		for _, id := range slices.Sorted(maps.Keys(claims)) {
			if !known[id] {
				list = append(list, fmt.Sprintf("%q is no row; claimed by %s", id, names(claims[id])))
			}
		}
	}
	return list
}

func (v verdict) fault(broken []testKey) string {
	switch {
	case v.priority == must && v.note != "":
		return "must be met and has a note instead: " + v.note
	case strings.HasPrefix(v.note, noteNo) && len(v.tests) > 0:
		return "is noted as not met and proven by " + names(v.tests)
	case len(v.tests) > 0 || v.note != "":
		return ""
	case len(broken) > 0:
		return "(" + v.priority + ") is claimed by a test that did not pass: " + names(broken)
	case v.priority == must:
		return "(M) has no passing test: " + v.requirement
	}
	return "(" + v.priority + ") has neither a passing test nor a note: " + v.requirement
}

// namesMax is how many tests the table names for a row.
const namesMax = 2

// names names the first tests and counts the others.
func names(tests []testKey) string {
	var b strings.Builder
	for i, t := range tests {
		if i == namesMax {
			fmt.Fprintf(&b, " +%d", len(tests)-namesMax)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(t.pkg + " " + t.test)
	}
	return b.String()
}
