package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"golang.org/x/term"
)

// widthDefault is used when the output is no terminal.
const widthDefault = 100

// printJSON writes v as indented JSON with a final newline.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
}

// table prints rows in aligned columns below a header.
type table struct {
	w *tabwriter.Writer
}

func newTable(w io.Writer, header string) *table {
	t := &table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	t.row("%s", header)
	return t
}

// row adds a line; its cells are separated by tabs in format.
func (t *table) row(format string, args ...any) { fmt.Fprintf(t.w, format+"\n", args...) }

func (t *table) flush() error {
	if err := t.w.Flush(); err != nil {
		return fmt.Errorf("print table: %w", err)
	}
	return nil
}

// widthOf is the number of columns of a terminal, or widthDefault.
func widthOf(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return widthDefault
	}
	if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
		return width
	}
	return widthDefault
}

// isTerminal tells whether a person watches w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
