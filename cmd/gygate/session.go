package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gygate/ocs/pgstore"
)

func newSessionCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "session", Short: "List and close credit-control sessions"}
	cmd.AddCommand(newSessionList(a), newSessionClose(a))
	return cmd
}

func newSessionList(a *app) *cobra.Command {
	var filter pgstore.SessionFilter
	cmd := &cobra.Command{
		Use: "list", Short: "List open sessions, the oldest first", Args: cobra.NoArgs,
		Example: "  gygate session list\n  gygate session list --account 493023125001 --closed --json",
		RunE: a.run(func(c *invocation) error {
			return c.withBooks(func(b *books) error {
				sessions, err := pgstore.NewAdmin(b.pool).Sessions(c.ctx, filter)
				if err != nil {
					return err
				}
				if err := c.list(sessions, len(sessions), "SESSION\tCLIENT\tSERVICE\tOPENED\tUNTIL\tFROZEN\tCHARGED\tCLOSED\tNOTE", func(t *table) {
					for _, s := range sessions {
						t.row("%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s", s.SessionID, s.Client, s.Service, s.OpenedAt.Local().Format(time.DateTime),
							s.Deadline.Local().Format(time.DateTime), s.Frozen, s.Charged, dayText(s.ClosedAt, ""), sessionNote(s))
					}
				}); err != nil {
					return err
				}
				c.noteLimit(len(sessions), filter.Limit, pgstore.SessionsMax)
				return nil
			})
		}),
	}
	f := cmd.Flags()
	f.StringVar(&filter.Identity, "account", "", "of this account only")
	f.BoolVar(&filter.Closed, "closed", false, "closed ones that are still kept, too")
	f.IntVar(&filter.Limit, "limit", recordsDefault, fmt.Sprintf("how many at the most; 0: %d", pgstore.SessionsMax))
	a.jsonFlag(cmd)
	return cmd
}

// sessionNote is what is going on with a session: its client has restarted and lost
// it, or is being asked to come back or to end it.
func sessionNote(s pgstore.SessionInfo) string {
	if s.Orphaned {
		return strings.TrimSpace("orphaned " + s.Notice)
	}
	return s.Notice
}

func newSessionClose(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "close SESSION-ID",
		Short: "End a session: what it froze goes back to the account",
		Long: `Close ends the session's supervision now: the next sweep of a serving gygate gives its
freeze back and closes it, exactly once. Its client is asked to end it at once
(Abort-Session-Request); up to a minute later its final report is still charged.`,
		Example: "  gygate session close 'vpn.gygate.example;3883822;42'",
		Args:    cobra.ExactArgs(1),
		RunE: a.run(func(c *invocation) error {
			return c.withBooks(func(b *books) error {
				if err := pgstore.NewAdmin(b.pool).CloseSession(c.ctx, c.args[0]); err != nil {
					return err
				}
				return c.show(map[string]string{"session": c.args[0], "status": "closing"}, "session %s is being closed\n", c.args[0])
			})
		}),
	}
	a.jsonFlag(cmd)
	return cmd
}
