// Command bench measures gygate: one run, one table, so that its numbers stand side by
// side. It has a PostgreSQL of its own, runs the real binary with `gygate load` beside
// it, and relates both to the limit: the same statements and rows without Diameter and
// without rules. After each row the accounts are compared with the answers; all books
// are verified at the end. It writes bench.json and bench.png into the folder of reports.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// plan is how much is measured.
type plan struct {
	window  time.Duration // of each measurement
	warmup  time.Duration // before it
	flights []int         // sessions at a time
	rounds  int           // turns of each point of it
	million int           // accounts of the big database
	open    int           // sessions that stay open beside a load
	calls   int           // SIP calls at each number of them at a time
	long    time.Duration // of the long run, 0: none
}

var (
	fullPlan = plan{
		window: 6 * time.Second, warmup: 2 * time.Second, rounds: 3,
		million: 1_000_000, open: 100_000, calls: 20_000,
	}
	// shortPlan ends within five minutes.
	shortPlan = plan{
		window: 1500 * time.Millisecond, warmup: 500 * time.Millisecond, rounds: 3,
		million: 1_000_000, open: 100_000, calls: 5_000,
	}
)

func main() {
	log.SetFlags(0)
	bin := flag.String("bin", "bin/gygate", "the gygate binary")
	reports := flag.String("reports", "deploy/reports", "folder of the reports")
	short := flag.Bool("short", false, "end within five minutes")
	long := flag.Duration("long", 0, "a long run, too, with checkpoints, autovacuum and 5 % repeats")
	only := flag.String("only", "", "only these parts, with commas between, and no report")
	sessions := flag.String("sessions", "1,16,64,256,1024", "numbers of sessions at a time for the curve, with commas between")
	baseline := flag.Bool("baseline", false, "only measure the packages and keep that as the baseline")
	flag.Usage = usage
	flag.Parse()
	if err := checkArguments(flag.Args(), words(*only), *bin, *long, *baseline); err != nil {
		log.Printf("bench: %v", err)
		os.Exit(exitUsage)
	}
	p := fullPlan
	if *short {
		p = shortPlan
	}
	p.long = *long
	for _, word := range words(*sessions) {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 {
			log.Printf("bench: -sessions: %q is no number of sessions", word)
			os.Exit(exitUsage)
		}
		p.flights = append(p.flights, n)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if *baseline {
		err = keepBaseline(ctx, *reports)
	} else {
		err = bench(ctx, p, *bin, *reports, words(*only))
	}
	if err != nil {
		stop()
		log.Fatalf("bench: FAILED: %v", err)
	}
}

// exitUsage is the exit code of a wrong command line, as the flag package has it.
const exitUsage = 2

// usage prints what this is for, how long it takes and what there is to choose.
func usage() {
	w := flag.CommandLine.Output()
	fmt.Fprint(w, `Bench measures gygate with a PostgreSQL of its own and prints one table: the real binary under
load beside the limit, which is what the same statements reach without Diameter and rules.
With all parts it takes some ten minutes, with -short less than five; nothing else should run meanwhile.

Flags:
`)
	flag.PrintDefaults()
	fmt.Fprintln(w, "\nParts, in their order; the later ones need what the earlier ones leave in the database:")
	for _, one := range parts {
		fmt.Fprintf(w, "  %-9s %s\n", one.name, one.about)
	}
	fmt.Fprintf(w, "  %-9s %s\n", packagesPart, "the packages' own benchmarks beside their baseline; needs no database")
	printLegend(w)
}

// checkArguments refuses what cannot be measured before anything is started.
func checkArguments(rest, only []string, bin string, long time.Duration, baseline bool) error {
	if len(rest) > 0 {
		return fmt.Errorf("%q: there are only flags, bench -help lists them", rest)
	}
	if slices.Contains(only, "long") && long == 0 {
		return errors.New("-only long: say how long by -long, 10m for example")
	}
	known := append(partList(), packagesPart)
	for _, name := range only {
		if !slices.Contains(known, name) {
			return fmt.Errorf("-only: there is no part %q, only %s", name, strings.Join(known, ", "))
		}
	}
	if baseline || len(only) == 1 && only[0] == packagesPart {
		return nil // these do not run the binary
	}
	if _, err := os.Stat(bin); err != nil {
		return fmt.Errorf("-bin: %w: run make build first", err)
	}
	return nil
}

// words are the parts of a list with commas between.
func words(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

// part is a piece of the run.
type part struct {
	name  string
	run   func(context.Context, *lab) error
	about string
}

// parts are in the order in which they can be measured: the later ones need what the
// earlier ones leave in the database.
var parts = []part{
	{"curve", measureCurve, "limit, engine and Diameter, at rising numbers of sessions"},
	{"one", measureOneAccount, "all on one account"},
	{"two", measureTwoGateways, "two gateways on one database beside one, in turns"},
	{"million", measureMillion, "a million subscribers beside ten thousand, in turns"},
	{"open", measureOpenSessions, "a load before and beside 100,000 open sessions"},
	{"start", measureStart, "until a gateway with all that serves"},
	{"sip", measureCalls, "SIP calls set up and charged"},
	{"long", measureLong, "minutes, with all that short ones escape; only with -long"},
}

// packagesPart is the one that needs no database.
const packagesPart = "packages"

// partList are the names of the parts that are measured on a database.
func partList() []string {
	names := make([]string, 0, len(parts)+1)
	for _, one := range parts {
		names = append(names, one.name)
	}
	return names
}

func bench(ctx context.Context, p plan, bin, reports string, only []string) error {
	r := newReport(p)
	var err error
	if len(only) != 1 || only[0] != packagesPart {
		err = benchParts(ctx, p, bin, r, only)
	}
	if selected(packagesPart, only) && ctx.Err() == nil {
		err = errors.Join(err, comparePackages(ctx, reports, r))
	}
	r.finish()
	err = errors.Join(err, r.err())
	if len(only) > 0 {
		return err
	}
	if written := r.write(reports); written != nil {
		return errors.Join(err, written)
	}
	fmt.Printf("\nwritten: %s, %s\n", filepath.Join(reports, jsonFile), filepath.Join(reports, plotFile))
	return err
}

// benchParts measures the parts on a database of their own.
func benchParts(ctx context.Context, p plan, bin string, r *report, only []string) (err error) {
	l, err := newLab(ctx, p, bin, r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	r.Settings.print(os.Stdout)
	printHeader(os.Stdout)
	for _, one := range parts {
		if !selected(one.name, only) {
			continue
		}
		if err = cmp.Or(one.run(ctx, l), ctx.Err()); err != nil {
			err = fmt.Errorf("%s: %w", one.name, err)
			break
		}
	}
	printLegend(os.Stdout)
	if ctx.Err() != nil {
		return err
	}
	return errors.Join(err, l.verify(ctx))
}

func selected(name string, only []string) bool {
	return len(only) == 0 || slices.Contains(only, name)
}
