package main

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var updateConformance = flag.Bool("update", false, "write generated files anew")

var (
	conformanceRow = regexp.MustCompile(`^\| ([A-D]-\d{3}) \|(.*\|) [^|]*\|$`)
	conformanceID  = regexp.MustCompile(`\b[A-D]-\d{3}\b`)
)

// TestConformanceRowsExist keeps diameter/CONFORMANCE.md the key to every row
// that code and tests cite.
func TestConformanceRowsExist(t *testing.T) {
	root := filepath.Join("..", "..")
	table := filepath.Join(root, "diameter", "CONFORMANCE.md")
	b, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	cited := citations(t, root)
	lines := strings.Split(string(b), "\n")
	for i, line := range lines {
		row := conformanceRow.FindStringSubmatch(line)
		if row == nil {
			continue
		}
		files := cited[row[1]]
		delete(cited, row[1])
		slices.Sort(files)
		lines[i] = "| " + row[1] + " |" + row[2] + " " + strings.Join(files, ", ") + " |"
	}
	for id, files := range cited {
		t.Errorf("%s is cited in %s and stands in no row of %s", id, strings.Join(files, ", "), table)
	}
	if *updateConformance {
		if err := os.WriteFile(table, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// citations lists the Go files in which each row is cited.
func citations(t *testing.T, root string) map[string][]string {
	t.Helper()
	cited := map[string][]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		for _, id := range conformanceID.FindAllString(string(b), -1) {
			if !slices.Contains(cited[id], name) {
				cited[id] = append(cited[id], name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return cited
}
