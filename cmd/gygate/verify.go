package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"gygate/ocs/pgstore"
)

// violationsShown bounds the violations printed for a person.
const violationsShown = 50

func newVerifyCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check that the books add up; exits with 1 when they do not",
		Long: `Verify audits the books in one snapshot, beside running charging: of each balance,
credits - debits = amount and the freezes on it = frozen; no freeze without an open
session; each request moved money once; what was rated = debited + overrun.

Below that it lists what the last day left uncharged or unknown, which is no violation:
use that no session or grant was open for or that had no price (orphan usage), sessions
that were ended because nothing was heard of them, use that no balance covered, and
repeats that reported something else. Accounts stand there by their internal number,
which gygate account takes too.`,
		Example: "  gygate verify\n  gygate verify --json\n  gygate account show id:13",
		Args:    cobra.NoArgs,
		RunE: a.run(func(c *invocation) error {
			return c.withBooks(func(b *books) error {
				report, err := pgstore.NewAdmin(b.pool).Verify(c.ctx)
				if err != nil {
					return exitWith(exitUnreachable, err)
				}
				if c.json {
					err = printJSON(c.out, report)
				} else {
					err = writeVerify(c.out, report)
				}
				if err == nil && !report.OK() {
					err = refused("%d violations in the books", report.Found)
				}
				return err
			})
		}),
	}
	a.jsonFlag(cmd)
	return cmd
}

func writeVerify(w io.Writer, r pgstore.VerifyReport) error {
	for i, v := range r.Violations {
		if i == violationsShown {
			fmt.Fprintf(w, "… and %d more\n", r.Found-violationsShown)
			break
		}
		fmt.Fprintln(w, v)
	}
	for i, l := range r.Reconciliation.Lines {
		if i == violationsShown {
			fmt.Fprintf(w, "… and %d more\n", r.Reconciliation.Found-violationsShown)
			break
		}
		fmt.Fprintf(w, "%s %s\n", l.At.Local().Format(time.DateTime), l)
	}
	verdict := "the books add up"
	if !r.OK() {
		verdict = fmt.Sprintf("%d VIOLATIONS", r.Found)
	}
	_, err := fmt.Fprintf(w, "verify: %d accounts, %d balances, %d sessions, %d freezes, %d journal rows: %s\n",
		r.Accounts, r.Balances, r.Sessions, r.Freezes, r.Journal, verdict)
	return err
}
