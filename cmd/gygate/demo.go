package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gygate/cmd/gygate/config"
	"gygate/ocs"
	"gygate/vpnlogic"
)

// demoTimeout bounds the whole demo; it takes about half of it.
const demoTimeout = time.Minute

func newDemoCommand(a *app) *cobra.Command {
	var quiet bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Play the scripted tour: eight cases on a live gygate, checked to the cent",
		Long: `Demo runs a whole gygate on free ports with its own embedded database: SIP phones on
sockets, Diameter over TCP, the books in PostgreSQL. It plays every case, prints its
ladder, compares what came of it with what must, and verifies the books at the end.
Exits with 1 when anything differs.`,
		Example: "  gygate demo\n  gygate demo --quiet\n  gygate demo --data ./demo-data     # keep the books",
		Args:    cobra.NoArgs,
		RunE: a.run(func(c *invocation) error {
			data := ""
			if c.place.data != dataDefault {
				data = c.place.data
			}
			return c.runDemo(data, quiet)
		}),
	}
	cmd.Flags().BoolVar(&quiet, "quiet", false, "print results without ladders")
	return cmd
}

// runDemo plays the demo in data, or in a temporary folder that goes afterwards.
func (c *invocation) runDemo(data string, quiet bool) (err error) {
	ephemeral := data == ""
	ctx, cancel := context.WithTimeout(c.ctx, demoTimeout)
	defer cancel()
	if ephemeral {
		folder, err := os.MkdirTemp("", "gygate-demo-")
		if err != nil {
			return fmt.Errorf("demo folder: %w", err)
		}
		defer os.RemoveAll(folder)
		// PostgreSQL, which does not run as root, must be able to pass through.
		if err := os.Chmod(folder, 0o755); err != nil {
			return fmt.Errorf("demo folder: %w", err)
		}
		data = folder
	}
	fmt.Fprintln(c.out, "starting a gygate of its own for the demo …")
	logger := slog.New(slog.NewTextHandler(c.errs, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := newStage(ctx, demoConfig(), Options{Role: RoleAll, Data: data, Logger: logger, Say: c.errs, Ephemeral: ephemeral})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if !s.fresh {
		return refused("%s holds sample data already, and the demo counts on untouched accounts: give it a folder of its own", data)
	}
	s.main.WriteAddresses(c.out)
	return c.playAll(ctx, s, quiet)
}

// demoConfig has ports of the system's choice and slices of a few seconds, so
// that a short call has several.
func demoConfig() *config.Config {
	c := config.Default()
	c.Diameter.Listen = []string{loopbackAny}
	c.SIP.Listen = []string{"udp:" + loopbackAny, "tcp:" + loopbackAny}
	c.HTTP.Listen = loopbackAny
	p := &c.OCS.Policy
	p.SliceSeconds, p.ThresholdSeconds, p.MinimumSeconds = 3, 1, 1
	return c
}

func (c *invocation) playAll(ctx context.Context, s *stage, quiet bool) error {
	cases := demoCases()
	differ := 0
	for _, one := range cases {
		faults, err := c.playOne(ctx, s, one, quiet)
		if err != nil {
			return fmt.Errorf("case %s: %w", one.title, err)
		}
		if len(faults) > 0 {
			differ++
		}
	}
	report, err := s.main.admin.Verify(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(c.out)
	if err := writeVerify(c.out, report); err != nil {
		return err
	}
	if differ > 0 || !report.OK() {
		return refused("%d of %d cases differ, %d violations in the books", differ, len(cases), report.Found)
	}
	fmt.Fprintf(c.out, "all %d calls of the tour came out as they must\n", len(cases))
	return nil
}

// playOne plays a case, prints it and returns what differs.
func (c *invocation) playOne(ctx context.Context, s *stage, one demoCase, quiet bool) ([]string, error) {
	before, err := s.spent(ctx, one.from)
	if err != nil {
		return nil, err
	}
	if err := one.run(ctx, s, one.before); err != nil {
		return nil, err
	}
	p, err := s.play(ctx, string(one.from), one.dialled, one.talk)
	if err != nil {
		return nil, err
	}
	if err := one.run(ctx, s, one.after); err != nil {
		return nil, err
	}
	after, err := s.spent(ctx, one.from)
	if err != nil {
		return nil, err
	}
	faults := one.compare(p, after-before)
	return faults, writeCase(c.out, one, p, after-before, faults, quiet)
}

func (demoCase) run(ctx context.Context, s *stage, f func(context.Context, *stage) error) error {
	if f == nil {
		return nil
	}
	return f(ctx, s)
}

// spent is what the line's account has paid so far, 0 without an account.
func (s *stage) spent(ctx context.Context, line vpnlogic.E164) (ocs.Money, error) {
	for _, l := range sampleAccounts() {
		if l.Number == line {
			info, err := s.main.admin.Show(ctx, string(line))
			return info.Spent, err
		}
	}
	return 0, nil
}

// compare tells what differs between a played call and its case.
func (one demoCase) compare(p played, debited ocs.Money) []string {
	var faults []string
	differs := func(what string, got, want any) {
		if got != want {
			faults = append(faults, fmt.Sprintf("%s is %v, must be %v", what, got, want))
		}
	}
	r := p.Record
	differs("reason", r.Reason, one.reason)
	differs("class", r.Class, one.class)
	differs("charging", r.Charging, one.charging)
	differs("SIP status at the phone", p.Phone.Status, one.status())
	differs("charged time", r.Reported, one.charged)
	differs("debited", debited, one.debited)
	differs("CCRs", requestsOf(p), one.requests)
	return append(faults, p.Sum().Faults...)
}

// status is the final status the caller's phone must see: a call that was ever
// connected saw 200, whatever released it later.
func (one demoCase) status() int {
	if one.talk > 0 || one.charged > 0 {
		return 200
	}
	return vpnlogic.CauseOf(one.reason).Status
}

// requestsOf lists the CCRs of a call by their letters.
func requestsOf(p played) string {
	var b strings.Builder
	for _, e := range p.Events {
		if e.Request != nil {
			b.WriteString(e.Request.Type.String())
		}
	}
	return b.String()
}

func writeCase(w io.Writer, one demoCase, p played, debited ocs.Money, faults []string, quiet bool) error {
	fmt.Fprintf(w, "\n%s\n%s dials %s\n", one.title, one.from, one.dialled)
	if !quiet {
		if err := p.Write(w, widthOf(w)); err != nil {
			return err
		}
	}
	verdict := "as it must be"
	if len(faults) > 0 {
		verdict = "DIFFERS: " + strings.Join(faults, "; ")
	}
	_, err := fmt.Fprintf(w, "  expected %s for %s, %s; debited %s: %s\n", one.debited, one.charged, one.reason, debited, verdict)
	return err
}
