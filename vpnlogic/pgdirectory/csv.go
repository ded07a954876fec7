package pgdirectory

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// table reads CSV with named columns.
type table struct {
	csv     *csv.Reader
	columns map[string]int
}

// newTable reads the header line: all required columns, others of the optional
// ones, none that is not known or stands twice.
func newTable(r io.Reader, required, optional []string) (*table, error) {
	t := &table{csv: csv.NewReader(r), columns: make(map[string]int)}
	t.csv.TrimLeadingSpace = true
	header, err := t.csv.Read()
	if err != nil {
		return nil, fmt.Errorf("line 1: read the header: %w", err)
	}
	for i, name := range header {
		name = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\uFEFF")))
		if !slices.Contains(required, name) && !slices.Contains(optional, name) {
			return nil, fmt.Errorf("line 1: column %q is not known; known are %s", name, strings.Join(append(required, optional...), ", "))
		}
		if _, twice := t.columns[name]; twice {
			return nil, fmt.Errorf("line 1: column %q stands twice", name)
		}
		t.columns[name] = i
	}
	for _, name := range required {
		if _, given := t.columns[name]; !given {
			return nil, fmt.Errorf("line 1: column %q is missing", name)
		}
	}
	return t, nil
}

// next returns the next line, or io.EOF. An error with a line is that line's
// alone, and reading goes on after it; without one the file cannot be read.
func (t *table) next() (*line, error) {
	fields, err := t.csv.Read()
	var broken *csv.ParseError
	switch {
	case errors.As(err, &broken):
		return &line{at: broken.Line}, broken.Err
	case err != nil:
		return nil, err
	}
	at, _ := t.csv.FieldPos(0)
	return &line{at: at, table: t, fields: fields}, nil
}

// line is one data line; its getters collect what they cannot read.
type line struct {
	at     int
	table  *table
	fields []string
	faults []error
}

func (l *line) err() error { return errors.Join(l.faults...) }

// text is a column's value, "" when the file lacks the column.
func (l *line) text(column string) string {
	i, given := l.table.columns[column]
	if !given {
		return ""
	}
	return strings.TrimSpace(l.fields[i])
}

// number is a column's value, 0 when empty.
func (l *line) number(column string) int {
	text := l.text(column)
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		l.faults = append(l.faults, fmt.Errorf("%s %q: want a number", column, text))
	}
	return n
}

// flag is a column's value, false when empty.
func (l *line) flag(column string) bool {
	switch strings.ToLower(l.text(column)) {
	case "", "false", "f", "no", "n", "0":
		return false
	case "true", "t", "yes", "y", "1":
		return true
	}
	l.faults = append(l.faults, fmt.Errorf("%s %q: want true or false", column, l.text(column)))
	return false
}
