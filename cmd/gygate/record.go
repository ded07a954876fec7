package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"gygate/vpnlogic"
	"gygate/vpnlogic/pgdirectory"
)

// recordsDefault is how many call records are listed unless --limit says more.
const recordsDefault = 20

func newRecordCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "record", Short: "Show call records"}
	cmd.AddCommand(newRecordList(a))
	return cmd
}

func newRecordList(a *app) *cobra.Command {
	var filter pgdirectory.Filter
	var last time.Duration
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List call records, the newest first: one for each attempt",
		Example: "  gygate record list\n  gygate record list --number 493023125001 --last 1h --json",
		Args:    cobra.NoArgs,
		RunE: a.run(func(c *invocation) error {
			if last > 0 {
				filter.Since = time.Now().Add(-last)
			}
			return c.withBooks(func(b *books) error {
				records, err := pgdirectory.NewRecorder(b.pool).Records(c.ctx, filter)
				if err != nil {
					return err
				}
				if err := c.list(recordViews(records), len(records), "SET UP\tCALLING\tDIALLED\tCLASS\tCHARGING\tPAYER\tTALKED\tCOST\tREASON\tQ.850", func(t *table) {
					for _, r := range records {
						t.row("%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d", r.SetupAt.Local().Format(time.DateTime), r.Calling, r.Dialled,
							r.Class, r.Charging, r.Payer, r.Talked.Round(100*time.Millisecond), r.Cost, r.Reason, r.Cause)
					}
				}); err != nil {
					return err
				}
				c.noteLimit(len(records), filter.Limit, pgdirectory.RecordsMax)
				return nil
			})
		}),
	}
	f := cmd.Flags()
	f.StringVar(&filter.Group, "group", "", "group id")
	f.StringVar(&filter.Number, "number", "", "calling or called number")
	f.StringVar(&filter.CallID, "call-id", "", "SIP Call-ID")
	f.StringVar(&filter.Session, "session", "", "Diameter Session-Id")
	f.DurationVar(&last, "last", 0, "set up within this time, for example 1h")
	f.IntVar(&filter.Limit, "limit", recordsDefault, fmt.Sprintf("how many at the most; 0: %d", pgdirectory.RecordsMax))
	a.jsonFlag(cmd)
	return cmd
}

// recordView is a call record for scripts: durations with their unit in the name.
type recordView struct {
	vpnlogic.CallRecord
	TalkedMillis    int64 `json:"talked_ms"`
	ReportedSeconds int64 `json:"reported_seconds"` // to charging
}

func recordViews(records []vpnlogic.CallRecord) []recordView {
	views := make([]recordView, len(records))
	for i, r := range records {
		views[i] = recordView{r, r.Talked.Milliseconds(), int64(r.Reported / time.Second)}
	}
	return views
}
