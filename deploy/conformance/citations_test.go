package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var citation = regexp.MustCompile(`\b[A-D]-\d{3}\b`)

// TestCitedRowsExist keeps rows.tsv the key to every row that code and tests
// cite.
func TestCitedRowsExist(t *testing.T) {
	sections, err := parseRows(rowsText)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, s := range sections {
		for _, r := range s.rows {
			known[r.id] = true
		}
	}
	if want := 416; len(known) != want {
		t.Errorf("%d rows, want %d", len(known), want)
	}
	root := filepath.Join("..", "..")
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasPrefix(path, "../../deploy/conformance/") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, id := range citation.FindAllString(string(b), -1) {
			if !known[id] {
				t.Errorf("%s cites %s, which is no row", path, id)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
