package main

import (
	"fmt"
	"strings"
)

const tableHead = `# Conformance

Written by ` + "`make conformance`" + ` from the tests that prove each row; do not edit. The rows stand, with the clause each comes from, in
` + "`deploy/conformance/rows.tsv`" + `; their identifiers are what comments and tests cite.

How to read it: **P** is the priority (M must, S should, N nice). **Met** says *yes* when at least one test that would fail
without it passed in the run that wrote this file, *partly* and *no* with the reason. A test is named by its package and its name;
` + "`+n`" + ` counts further tests of the same row. In the source column [D] marks a decision of ours where the standard leaves a choice,
[K], [C] and [I] what rests on knowledge, on public source code or on public issues instead of a clause.

`

// table writes the conformance table.
func table(all []judgement) string {
	var b strings.Builder
	b.WriteString(tableHead)
	summary(&b, all)
	shortfalls(&b, all)
	for _, j := range all {
		fmt.Fprintf(&b, "\n## %s\n\n| row | source | requirement | P | met | test or reason |\n|---|---|---|---|---|---|\n", j.title)
		for _, v := range j.rows {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", v.id, cell(v.source), cell(v.requirement), v.priority, v.met, cell(v.evidence()))
		}
	}
	return b.String()
}

// evidence is the last column of a row.
func (v verdict) evidence() string {
	switch {
	case v.note == "":
		return names(v.tests)
	case len(v.tests) == 0:
		return v.reason()
	}
	return v.reason() + "; " + names(v.tests)
}

// count counts the rows of a priority, and how many of them are met.
type count struct{ met, all int }

func (c count) String() string {
	if c.all == 0 {
		return "–"
	}
	return fmt.Sprintf("%d/%d", c.met, c.all)
}

func counts(all ...judgement) (m, s, n count) {
	by := map[string]*count{must: &m, should: &s, nice: &n}
	for _, j := range all {
		for _, v := range j.rows {
			c := by[v.priority]
			c.all++
			if v.met == met {
				c.met++
			}
		}
	}
	return m, s, n
}

// summary writes how many rows of each section are met.
func summary(b *strings.Builder, all []judgement) {
	b.WriteString("## Summary\n\n| section | M | S | N |\n|---|---|---|---|\n")
	for _, j := range all {
		m, s, n := counts(j)
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", j.title, m, s, n)
	}
	m, s, n := counts(all...)
	fmt.Fprintf(b, "| **all** | **%s** | **%s** | **%s** |\n", m, s, n)
}

// shortfalls lists the rows that are not fully met, the part an integrator
// reads first.
func shortfalls(b *strings.Builder, all []judgement) {
	b.WriteString("\n## Not or only partly met\n\n")
	none := true
	for _, j := range all {
		for _, v := range j.rows {
			if v.met == met {
				continue
			}
			none = false
			reason := v.reason()
			if reason == "" {
				reason = "no passing test"
			}
			fmt.Fprintf(b, "* %s (%s, %s): %s\n", v.id, v.priority, v.met, reason)
		}
	}
	if none {
		b.WriteString("Nothing: all rows are met.\n")
	}
}

// cell keeps a text inside its column.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
