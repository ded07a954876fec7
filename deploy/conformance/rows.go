package main

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"
)

//go:embed rows.tsv
var rowsText string

// row is one requirement. Its identifier is what comments and tests cite.
type row struct {
	id          string
	source      string // clause of the standard, or what else it rests on
	requirement string
	priority    string // must, should or nice
	note        string // why it is not, or only partly met
}

// The priorities.
const (
	must   = "M"
	should = "S"
	nice   = "N"
)

// The beginnings of a note.
const (
	noteNo     = "no: "
	notePartly = "partly: "
)

// section is a group of rows as the table shows them.
type section struct {
	title string
	rows  []row
}

var rowID = regexp.MustCompile(`^[A-D]-\d{3}$`)

// parseRows reads the rows: "## title" starts a section, "# " a comment, and
// each other line is a row of five fields between tabs.
func parseRows(text string) ([]section, error) {
	var sections []section
	seen := map[string]bool{}
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			sections = append(sections, section{title: title})
			continue
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		r, err := parseRow(line)
		switch {
		case err != nil:
			return nil, fmt.Errorf("rows.tsv line %d: %w", i+1, err)
		case seen[r.id]:
			return nil, fmt.Errorf("rows.tsv line %d: %s stands there twice", i+1, r.id)
		case len(sections) == 0:
			return nil, fmt.Errorf("rows.tsv line %d: %s stands in no section", i+1, r.id)
		}
		seen[r.id] = true
		last := &sections[len(sections)-1]
		last.rows = append(last.rows, r)
	}
	return sections, nil
}

func parseRow(line string) (row, error) {
	f := strings.Split(line, "\t")
	if len(f) != 5 {
		return row{}, fmt.Errorf("%d fields between tabs, want 5", len(f))
	}
	r := row{id: f[0], source: f[1], requirement: f[2], priority: f[3], note: f[4]}
	switch {
	case !rowID.MatchString(r.id):
		return r, fmt.Errorf("%q is no row identifier", r.id)
	case r.priority != must && r.priority != should && r.priority != nice:
		return r, fmt.Errorf("%s: priority %q, want M, S or N", r.id, r.priority)
	case r.note != "" && !strings.HasPrefix(r.note, noteNo) && !strings.HasPrefix(r.note, notePartly):
		return r, fmt.Errorf("%s: the note starts with neither %q nor %q", r.id, noteNo, notePartly)
	}
	return r, nil
}
