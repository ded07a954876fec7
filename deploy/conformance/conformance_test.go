package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// testRows are five rows, each of another kind.
const testRows = "# comment\n## A.1 First\n" +
	"A-001\t6733 §5.3\tis proven | twice\tM\t\n" +
	"A-002\t6733 §5.4\tis proven by nothing that passed\tM\t\n" +
	"A-003\t[D]\tis partly there\tS\tpartly: only half of it\n" +
	"## B.1 Second\n" +
	"B-001\t8506 §5\tis not there\tN\tno: nobody asks for it\n" +
	"B-002\t8506 §6\tis forgotten\tS\t\n"

// testStream is what `go test -json` prints, shortened.
const testStream = `{"Action":"start","Package":"m/p"}
{"Action":"attr","Package":"m/p","Test":"TestA","Key":"proves","Value":"A-001"}
{"Action":"attr","Package":"m/p","Test":"TestA","Key":"colour","Value":"A-002"}
{"Action":"attr","Package":"m/p","Test":"TestA/sub","Key":"proves","Value":"A-001"}
{"Action":"pass","Package":"m/p","Test":"TestA/sub"}
{"Action":"pass","Package":"m/p","Test":"TestA"}
{"Action":"attr","Package":"m/p","Test":"TestB","Key":"proves","Value":"A-002"}
{"Action":"output","Package":"m/p","Test":"TestB","Output":"it broke\n"}
{"Action":"fail","Package":"m/p","Test":"TestB"}
{"Action":"attr","Package":"m/p","Test":"TestC","Key":"proves","Value":"B-001"}
{"Action":"attr","Package":"m/p","Test":"TestC","Key":"proves","Value":"A-003"}
{"Action":"attr","Package":"m/p","Test":"TestC","Key":"proves","Value":"Z-999"}
{"Action":"pass","Package":"m/p","Test":"TestC"}
{"Action":"attr","Package":"m/p","Test":"TestD","Key":"proves","Value":"B-002"}
{"Action":"skip","Package":"m/p","Test":"TestD"}
{"Action":"fail","Package":"m/p","Elapsed":0.5}
`

func testEvidence(t *testing.T) ([]judgement, *evidence) {
	t.Helper()
	sections, err := parseRows(testRows)
	if err != nil {
		t.Fatal(err)
	}
	e, err := collect(strings.NewReader(testStream), "m", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return judge(sections, e), e
}

func TestTestsThatPassedProve(t *testing.T) {
	all, e := testEvidence(t)
	var got []string
	for _, j := range all {
		for _, v := range j.rows {
			got = append(got, v.id+" "+v.met+": "+v.evidence())
		}
	}
	want := []string{
		"A-001 yes: p TestA, p TestA/sub",
		"A-002 no: ",
		"A-003 partly: only half of it; p TestC",
		"B-001 no: nobody asks for it; p TestC",
		"B-002 no: ",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	if out := e.outputs[testKey{"p", "TestB"}]; out != "it broke\n" {
		t.Errorf("output of what failed: %q", out)
	}
}

func TestFaultsAreNamed(t *testing.T) {
	all, e := testEvidence(t)
	want := []string{
		"A-002 (M) is claimed by a test that did not pass: p TestB",
		"B-001 is noted as not met and proven by p TestC",
		"B-002 (S) is claimed by a test that did not pass: p TestD",
		`"Z-999" is no row; claimed by p TestC`,
	}
	if got := faults(all, e); !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	all, e = judge([]section{{rows: []row{
		{id: "A-001", priority: must, requirement: "r"},
		{id: "A-002", priority: must, note: "no: too hard"},
		{id: "A-003", priority: should, requirement: "s"},
	}}}, &evidence{}), &evidence{}
	want = []string{
		"A-001 (M) has no passing test: r",
		"A-002 must be met and has a note instead: no: too hard",
		"A-003 (S) has neither a passing test nor a note: s",
	}
	if got := faults(all, e); !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}

func TestTableShowsEveryRow(t *testing.T) {
	all, _ := testEvidence(t)
	text := table(all)
	for _, want := range []string{
		"| A-001 | 6733 §5.3 | is proven \\| twice | M | yes | p TestA, p TestA/sub |\n",
		"| A.1 First | 1/2 | 0/1 | – |\n",
		"| **all** | **1/2** | **0/2** | **0/1** |\n",
		"* B-001 (N, no): nobody asks for it\n",
		"* B-002 (S, no): no passing test\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the table lacks %q", want)
		}
	}
	again, _ := testEvidence(t)
	if table(again) != text {
		t.Error("the same evidence makes another table")
	}
}

func TestNamesAreShortened(t *testing.T) {
	if got := names([]testKey{{"p", "A"}, {"p", "B"}, {"q", "C"}, {"q", "D"}}); got != "p A, p B +2" {
		t.Error(got)
	}
}

func TestTableIsWrittenWhenStale(t *testing.T) {
	path := filepath.Join(t.TempDir(), "CONFORMANCE.md")
	good := &evidence{}
	if got := update(path, "a", good); len(got) != 1 {
		t.Errorf("a missing table: %q", got)
	}
	if got := update(path, "a", good); got != nil {
		t.Errorf("the same table: %q", got)
	}
	if got := update(path, "b", good); len(got) != 1 {
		t.Errorf("a stale table: %q", got)
	}
	if got := update(path, "c", &evidence{faulty: []string{"p"}}); len(got) != 1 {
		t.Errorf("tests failed: %q", got)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "b" {
		t.Errorf("the table is %q, %v", b, err)
	}
}

func TestBadRowsAreRefused(t *testing.T) {
	for name, text := range map[string]string{
		"too few fields": "## S\nA-001\tx\ty\tM\n",
		"no identifier":  "## S\nE-001\tx\ty\tM\t\n",
		"no priority":    "## S\nA-001\tx\ty\tX\t\n",
		"a loose note":   "## S\nA-001\tx\ty\tS\tperhaps\n",
		"twice":          "## S\nA-001\tx\ty\tM\t\nA-001\tx\ty\tM\t\n",
		"no section":     "A-001\tx\ty\tM\t\n",
	} {
		if _, err := parseRows(text); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestStockMustFail(t *testing.T) {
	sections, err := parseRows("## D.6 Stock\nD-080\tx\ty\tM\t\nD-081\tx\ty\tM\t\nD-082\tx\ty\tM\t\n")
	if err != nil {
		t.Fatal(err)
	}
	e, err := collect(strings.NewReader(`{"Action":"attr","Package":"m/s","Test":"T/D-080","Key":"proves","Value":"D-080"}
{"Action":"fail","Package":"m/s","Test":"T/D-080"}
{"Action":"attr","Package":"m/s","Test":"T/D-081","Key":"proves","Value":"D-081"}
{"Action":"pass","Package":"m/s","Test":"T/D-081"}
`), "m", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range judge(sections, e)[0].rows {
		got = append(got, stockResult(v, e))
	}
	if want := []string{stockFails, stockPasses, stockUntested}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
