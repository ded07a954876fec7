// Command conformance runs the tests of the module, gathers which rows of
// rows.tsv they prove (t.Attr("proves", "B-020") in a test that passed), and
// writes diameter/CONFORMANCE.md from them.
//
// It ends with status 1 when a must row has no passing test, another row has
// neither a test nor a note, a claim contradicts the rows, a test failed, or the
// table in the tree was not the one the tests prove; it then names every such
// fault. With -sut stock it proves the suite instead: against a server made of
// go-diameter's own state machine every row D-080 to D-095 must fail.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// runMax bounds one test binary, as the go command's own limit.
const runMax = 20 * time.Minute

// fullNumbers has the random tests run the numbers that the rows ask for.
const fullNumbers = "GYGATE_CONFORMANCE=1"

// errNotConformant ends the program with status 1; what it means is printed.
var errNotConformant = errors.New("not conformant")

type options struct {
	sut      string
	race     bool
	packages string
}

func main() {
	var o options
	flag.StringVar(&o.sut, "sut", "gygate", "what the suite runs against: gygate or stock")
	flag.BoolVar(&o.race, "race", false, "run the tests with the race detector")
	flag.StringVar(&o.packages, "packages", "", "only these packages; shows what they prove and writes no table")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, out io.Writer) error {
	module, dir, err := findModule(ctx)
	if err != nil {
		return err
	}
	tests := goTest{module: module, dir: dir, race: o.race, progress: out}
	switch o.sut {
	case "stock":
		return runStock(ctx, tests, out)
	case "gygate":
		return runGygate(ctx, o, tests, out)
	}
	return fmt.Errorf("-sut %s: want gygate or stock", o.sut)
}

// runGygate judges the product.
func runGygate(ctx context.Context, o options, tests goTest, out io.Writer) error {
	sections, err := parseRows(rowsText)
	if err != nil {
		return err
	}
	packages := []string{"./..."}
	if o.packages != "" {
		packages = strings.Fields(o.packages)
	}
	e, err := tests.run(ctx, []string{fullNumbers}, packages...)
	if err != nil {
		return err
	}
	all := judge(sections, e)
	report(out, all, e)
	list := faults(all, e)
	if o.packages == "" {
		list = append(list, update(filepath.Join(tests.dir, "diameter", "CONFORMANCE.md"), table(all), e)...)
	}
	for _, f := range list {
		fmt.Fprintln(out, "  "+f)
	}
	if len(list) > 0 || len(e.faulty) > 0 {
		return errNotConformant
	}
	fmt.Fprintln(out, "conformant: every row is proven or noted, and the table is up to date")
	return nil
}

// update writes the table when it differs from the one in the tree, and says so:
// what was committed is not what the tests prove. A run in which a package
// failed is no basis for a table.
func update(path, text string, e *evidence) []string {
	if len(e.faulty) > 0 {
		return []string{path + " is left as it is, because tests failed"}
	}
	old, err := os.ReadFile(path)
	if err == nil && string(old) == text {
		return nil
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return []string{err.Error()}
	}
	return []string{path + " was not what the tests prove; it is written anew, commit it"}
}

// report prints what failed and how many rows of each section are met.
func report(out io.Writer, all []judgement, e *evidence) {
	for _, t := range e.failed {
		fmt.Fprintf(out, "\n--- FAILED %s %s\n%s", t.pkg, t.test, e.outputs[t])
	}
	for _, p := range e.faulty {
		fmt.Fprintf(out, "\n--- FAILED package %s\n%s", p, e.outputs[testKey{pkg: p}])
	}
	fmt.Fprintf(out, "\n%-66s %8s %8s %8s\n", "met rows of all", "M", "S", "N")
	for _, j := range all {
		m, s, n := counts(j)
		fmt.Fprintf(out, "%-66.66s %8s %8s %8s\n", j.title, m, s, n)
	}
	m, s, n := counts(all...)
	fmt.Fprintf(out, "%-66s %8s %8s %8s\n\n", "all", m, s, n)
	if len(e.figures) > 0 {
		fmt.Fprintln(out, "measured on this machine, not judged:")
		for _, f := range slices.Sorted(slices.Values(e.figures)) {
			fmt.Fprintln(out, "  "+f)
		}
		fmt.Fprintln(out)
	}
}

// findModule is the module's path and folder.
func findModule(ctx context.Context) (path, dir string, err error) {
	b, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Path}}\n{{.Dir}}").Output()
	if err != nil {
		return "", "", fmt.Errorf("not inside the module: %w", err)
	}
	path, dir, ok := strings.Cut(strings.TrimSpace(string(b)), "\n")
	if !ok {
		return "", "", fmt.Errorf("go list -m: %q", b)
	}
	return path, dir, nil
}
