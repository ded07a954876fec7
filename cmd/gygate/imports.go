package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
)

// faultsShown bounds the faulty lines printed for a person; --json prints all
// that the report holds.
const faultsShown = 20

// importReport is what came of an import, as the commands print it.
type importReport struct {
	Lines    int64         `json:"lines"`
	Imported int64         `json:"imported"`
	Faulty   int64         `json:"faulty"`
	Faults   []importFault `json:"faults,omitempty"`
	Seconds  float64       `json:"seconds"`
}

type importFault struct {
	Line   int    `json:"line"`
	Reason string `json:"reason"`
}

// importer stores a CSV file, allOrNothing or its good lines.
type importer func(c *invocation, b *books, r io.Reader, allOrNothing bool) (importReport, error)

// newImportCommand is the import subcommand of a kind of data.
func newImportCommand(a *app, what, long, example string, store importer) *cobra.Command {
	var allOrNothing bool
	cmd := &cobra.Command{
		Use:     "import FILE.csv",
		Short:   "Import " + what + " from a CSV file (- for standard input)",
		Long:    long + "\n\nA faulty line is reported with its number and reason, the others are stored; with\n--all-or-nothing a fault keeps everything out. Exits with 1 when a line was faulty.",
		Example: example,
		Args:    cobra.ExactArgs(1),
		RunE: a.run(func(c *invocation) error {
			return c.withBooks(func(b *books) error { return c.importFile(b, allOrNothing, store) })
		}),
	}
	cmd.Flags().BoolVar(&allOrNothing, "all-or-nothing", false, "store nothing if any line is faulty")
	a.jsonFlag(cmd)
	return cmd
}

// withBooks opens the database, works, and closes it.
func (c *invocation) withBooks(work func(*books) error) (err error) {
	b, err := c.openBooks(c.ctx)
	if err != nil {
		return err
	}
	defer func() {
		if closing := b.close(); err == nil {
			err = closing
		}
	}()
	return work(b)
}

func (c *invocation) importFile(b *books, allOrNothing bool, store importer) error {
	file, size, err := openInput(c.args[0])
	if err != nil {
		return usage("%w", err)
	}
	defer file.Close()
	bar := newProgress(c.errs, size)
	began := time.Now()
	report, err := store(c, b, io.TeeReader(file, bar), allOrNothing)
	report.Seconds = time.Since(began).Seconds()
	bar.Exit()
	if err != nil && report.Faulty == 0 {
		return err
	}
	if err := c.printImport(report); err != nil {
		return err
	}
	if report.Faulty > 0 {
		return refused("%d of %d lines were not imported", report.Lines-report.Imported, report.Lines)
	}
	return nil
}

func openInput(name string) (file *os.File, size int64, err error) {
	if name == "-" {
		return os.Stdin, -1, nil
	}
	if file, err = os.Open(name); err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, 0, err
	}
	return file, info.Size(), nil
}

// inputName is what a person calls the input.
func inputName(name string) string {
	if name == "-" {
		return "standard input"
	}
	return name
}

// newProgress shows how much of the file is read, when a person watches.
func newProgress(w io.Writer, size int64) *progressbar.ProgressBar {
	if !isTerminal(w) {
		w = io.Discard
	}
	return progressbar.NewOptions64(size, progressbar.OptionSetWriter(w), progressbar.OptionShowBytes(true),
		progressbar.OptionSetDescription("importing"), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
}

func (c *invocation) printImport(r importReport) error {
	if c.json {
		return printJSON(c.out, r)
	}
	for i, f := range r.Faults {
		if i == faultsShown {
			fmt.Fprintf(c.errs, "… and %d more\n", r.Faulty-faultsShown)
			break
		}
		fmt.Fprintf(c.errs, "line %d: %s\n", f.Line, f.Reason)
	}
	_, err := fmt.Fprintf(c.out, "imported %d of %d lines in %.1f s (%.0f lines/s)\n", r.Imported, r.Lines, r.Seconds, float64(r.Lines)/max(r.Seconds, 1e-3))
	return err
}
