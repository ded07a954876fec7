package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/spf13/cobra"

	"gygate/cmd/gygate/load"
	"gygate/cmd/gygate/sample"
	"gygate/diameter/gy"
	"gygate/vpnlogic"
)

// inFlightDefault is how many sessions a closed loop has at a time.
const inFlightDefault = 64

// loadFlags are the flags of load that are no field of load.Config.
type loadFlags struct {
	cfg     load.Config
	balance string
	prepare bool
	quiet   bool
}

func newLoadCommand(a *app) *cobra.Command {
	o := &loadFlags{}
	c := &o.cfg
	cmd := &cobra.Command{
		Use:   "load",
		Short: "Load a charging system with sessions or events, measure it and compare the books",
		Long: `Load is a credit-control client that keeps a charging system busy and measures it.

Without --rate it is a closed loop: --sessions at a time, each request sent when the
one before is answered. With --rate it is an open loop of so many CCR/s: sessions arrive
evenly whatever the answers do, and the latency of a session's first request counts from
when it was due, so that a server that stalls is charged for all that had to wait;
--sessions then bounds how many may be under way.

Modes: session (CCR-I, --updates times CCR-U, CCR-T), event (CCR-E, direct debiting) and
open (CCR-I alone: the sessions stay open).

Where the database can be reached (--dsn, or a serving gygate's --data) it adds up what the
answers say was charged, compares that with what the subscribers' accounts lost meanwhile,
and has the books verified. --prepare makes the accounts that are missing, and a tariff
where there is none. Nobody else may charge or top up these accounts during the load.

A charging system takes one connection of an Origin-Host. The second connection of a load
has ` + "`-2`" + ` behind the first label of --origin-host, and so on; each has to be let in. A gygate
on this machine lets in what has no --origin-host.

Exits with 1 when no request succeeded, answers were lost, repeats were answered
otherwise than what they repeat, sessions that were due could not begin, or the books
do not match.`,
		Example: `  gygate load --prepare --subscribers 10000 --sessions 64 --duration 10s
  gygate load --rate 5000 --duration 1m --dup 0.05 --json
  gygate load --mode event --pick one --sessions 16 --requests 100000`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&c.Target, "target", "", "charging system, `HOST:PORT`; empty: the first diameter.listen of the configuration")
	f.StringVar(&c.Host, "origin-host", "", "Origin-Host; empty: tool. followed by node.vpn.host")
	f.StringVar(&c.Realm, "realm", "", "Origin-Realm; empty: node.vpn.realm")
	f.StringVar(&c.DestinationRealm, "destination-realm", "", "Destination-Realm; empty: node.ocs.realm")
	f.StringVar(&c.Context, "context", gy.ContextSIP, "Service-Context-Id")
	f.IntVar(&c.Connections, "connections", 1, "Diameter connections")
	f.StringVar((*string)(&c.Mode), "mode", string(load.Sessions), "session, event or open")
	f.IntVar(&c.Updates, "updates", 2, "CCR-U of a session")
	f.IntVar(&c.InFlight, "sessions", 0, "sessions or events at a time, over all connections; 0: 64, in an open loop 4096")
	f.Float64Var(&c.Rate, "rate", 0, "open loop: CCR/s; 0: closed loop")
	f.StringVar(&c.First, "first", "493000000000", "number of the first subscriber")
	f.IntVar(&c.Subscribers, "subscribers", 1000, "how many, with numbers that follow one another")
	f.StringVar((*string)(&c.Pick), "pick", string(load.Uniform), "who pays for the next session: uniform, zipf or one")
	f.StringVar(&c.Called, "called", string(sample.Outside), "called number with its country code")
	f.Uint32Var(&c.RatingGroup, "rating-group", vpnlogic.RatingOnNet, "Rating-Group")
	f.BoolVar(&c.CommandLevel, "command-level", false, "units at the command instead of in a Multiple-Services-Credit-Control: no Rating-Group is sent, the default price applies")
	f.Uint32Var(&c.Seconds, "units", 60, "seconds requested by each request, and debited by an event")
	f.Uint32Var(&c.Used, "used", 15, "seconds reported by each CCR-U and CCR-T; those of a session must not run ahead of the clock by more than the server tolerates, gygate a minute")
	f.Float64Var(&c.Repeats, "dup", 0, "share of requests sent twice, the second time with the T flag")
	f.DurationVar(&c.Duration, "duration", 0, "how long sessions begin; 0 without --requests: 10s")
	f.Int64Var(&c.Requests, "requests", 0, "how many CCRs; 0: as many as the duration lets")
	f.DurationVar(&c.Warmup, "warmup", 0, "first part of the duration, which is not measured")
	f.DurationVar(&c.Timeout, "timeout", 0, "a request without an answer for so long is lost; 0: 10s")
	f.Uint64Var(&c.Seed, "seed", 1, "of what is drawn by lot")
	f.BoolVar(&o.prepare, "prepare", false, "make the missing accounts and, where there is none, a tariff")
	f.StringVar(&o.balance, "balance", "1000000.00", "of accounts that --prepare makes")
	f.BoolVar(&o.quiet, "quiet", false, "no progress line each second")
	a.jsonFlag(cmd)
	cmd.RunE = a.run(func(i *invocation) error { return i.runLoad(o) })
	return cmd
}

// loadResult is what `gygate load --json` prints.
type loadResult struct {
	*load.Report
	Books *loadBooks `json:"books"` // null: the database could not be reached

	gone bool // the database, in mid-load
}

func (c *invocation) runLoad(o *loadFlags) (err error) {
	if err := c.completeLoad(&o.cfg); err != nil {
		return err
	}
	if m, err := parseMoney("--balance", o.balance); err != nil || m < 0 {
		return cmp.Or(err, usage("--balance %s: want no negative amount", o.balance))
	}
	b, err := c.reachBooks()
	if err != nil {
		return err
	}
	if b != nil {
		defer func() { err = errors.Join(err, b.close()) }()
	} else if o.prepare {
		return exitWith(exitUnreachable, errors.New("--prepare needs the database: --dsn, or --data of a serving gygate"))
	}
	result, err := c.loadAndCompare(o, b)
	if result == nil {
		return err
	}
	if printed := c.printLoad(result); printed != nil {
		return printed
	}
	return err
}

// completeLoad fills in what the configuration knows.
func (c *invocation) completeLoad(l *load.Config) error {
	cfg, err := c.place.load()
	if err != nil {
		return err
	}
	for _, f := range []struct {
		value     *string
		otherwise string
	}{{&l.Target, ownTarget(cfg.Diameter.Listen)}, {&l.Host, toolHost(cfg.Node)}, {&l.Realm, cfg.Node.VPN.Realm}, {&l.DestinationRealm, cfg.Node.OCS.Realm}} {
		if *f.value == "" {
			*f.value = f.otherwise
		}
	}
	if l.InFlight == 0 && l.Rate == 0 {
		l.InFlight = max(inFlightDefault, l.Connections)
	}
	for flag, n := range map[string]int{"--subscribers": l.Subscribers, "--connections": l.Connections} {
		if n == 0 {
			return usage("%s 0: want at least 1", flag)
		}
	}
	if _, _, err := net.SplitHostPort(l.Target); err != nil {
		return usage("--target: %w, want HOST:PORT", err)
	}
	if err := l.Check(); err != nil {
		return usage("%w", err)
	}
	return nil
}

// ownTarget is where a gygate of this configuration can be reached from its machine.
func ownTarget(listen []string) string {
	if len(listen) == 0 {
		return "127.0.0.1:3868"
	}
	host, port, err := net.SplitHostPort(listen[0])
	if ip, _ := netip.ParseAddr(host); err == nil && (host == "" || ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return listen[0]
}

// loadAndCompare loads, between two looks at the books where they can be reached.
// After a load there is a result, also beside an error.
func (c *invocation) loadAndCompare(o *loadFlags, b *books) (*loadResult, error) {
	var ledger *loadLedger
	if b != nil {
		// What is wrong with the connections is told before anything is prepared.
		err := load.Probe(c.ctx, o.cfg)
		if err != nil {
			return nil, loadUnreached(err, &o.cfg)
		}
		if ledger, err = c.openLedger(o, b); err != nil {
			return nil, err
		}
	}
	if !o.quiet {
		o.cfg.Progress = func(p load.Progress) {
			fmt.Fprintf(c.errs, "%4.0fs  %7.0f CCR/s  answered %d  in flight %d  refused %d  lost %d\n", p.After.Seconds(), p.Rate, p.Answered, p.InFlight, p.Refused, p.Lost)
		}
	}
	report, err := load.Run(c.ctx, o.cfg)
	if err != nil {
		return nil, loadUnreached(err, &o.cfg)
	}
	result := &loadResult{Report: report}
	return result, errors.Join(interruptedLoad(report), result.compare(ledger))
}

// compare judges a load: its answers and, where there is a ledger, its books.
func (r *loadResult) compare(ledger *loadLedger) error {
	err := r.Err()
	if ledger == nil {
		return exitWith(exitRefused, err)
	}
	var differs error
	if r.Books, differs = ledger.compare(r.Report); r.Books == nil {
		r.gone = true
		return exitWith(exitUnreachable, errors.Join(err, fmt.Errorf("the books cannot be compared, the database is gone: %w", differs)))
	}
	return exitWith(exitRefused, errors.Join(err, differs))
}

// interruptedLoad is the error of a load that Ctrl-C has ended.
func interruptedLoad(r *load.Report) error {
	if !r.Interrupted {
		return nil
	}
	return exitWith(exitInterrupted, fmt.Errorf("interrupted after %s", r.Reached))
}

func (c *invocation) printLoad(r *loadResult) error {
	if c.json {
		return printJSON(c.out, r)
	}
	if err := r.Write(c.out); err != nil {
		return err
	}
	if r.gone {
		_, err := fmt.Fprintln(c.out, "books: NOT COMPARED, the database is gone")
		return err
	}
	if r.Books == nil {
		_, err := fmt.Fprintln(c.out, "books: not compared, the database cannot be reached from here (--dsn, or --data of a serving gygate)")
		return err
	}
	return r.Books.write(c.out)
}
