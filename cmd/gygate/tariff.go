package main

import (
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gygate/ocs"
	"gygate/ocs/pgstore"
)

func newTariffCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "tariff", Short: "List and import prices"}
	cmd.AddCommand(newTariffList(a), newTariffImport(a))
	return cmd
}

func newTariffList(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List all versions of all prices", Example: "  gygate tariff list --json", Args: cobra.NoArgs,
		RunE: a.run(func(c *invocation) error {
			return c.withBooks(func(b *books) error {
				entries, err := pgstore.NewAdmin(b.pool).ListTariff(c.ctx)
				if err != nil {
					return err
				}
				lines := tariffLines(entries)
				return c.list(lines, len(lines), "ID\tVERSION\tSERVICE\tRATING GROUP\tPREFIX\tUNIT\tCURRENCY\tFEE\tMINIMUM\tINCREMENTS\tPRICE\tPER\tBANDS\tFROM", func(t *table) {
					for _, e := range lines {
						t.row("%s\t%d\t%s\t%d\t%s\t%s\t%d\t%s\t%s\t%d/%d\t%s\t%d\t%d\t%s", e.ID, e.Version, e.Service, e.RatingGroup, e.Prefix, e.Unit,
							e.Currency, e.Fee, e.Minimum, e.First, e.Following, e.Price, e.Per, len(e.Bands), dayText(e.ValidFrom, "always"))
					}
				})
			})
		}),
	}
	a.jsonFlag(cmd)
	return cmd
}

func newTariffImport(a *app) *cobra.Command {
	var quiet bool
	cmd := &cobra.Command{
		Use:   "import FILE.csv",
		Short: "Add prices from a CSV file, all or none (- for standard input)",
		Long: `Columns: id, rating_group, unit (seconds, octets, events), currency, price; optionally
version, service, prefix, fee, minimum, first, following, per, bands, zone, valid_from.
A price that changes is a new version: running sessions keep the one they began with.
A serving gygate takes the prices within ocs.tariff_poll, and then asks the clients of
open sessions to come back (Re-Auth-Request), so that what had no price is asked for anew.
VPN logic in another process than the charging system does not see the new prices: calls
it holds back for want of one wait for charging.rating_block, or for its restart.`,
		Example: "  gygate tariff import prices.csv\n  gygate tariff import --quiet prices.csv   # leave open sessions alone",
		Args:    cobra.ExactArgs(1),
		RunE: a.run(func(c *invocation) error {
			return c.withBooks(func(b *books) error {
				file, _, err := openInput(c.args[0])
				if err != nil {
					return usage("%w", err)
				}
				defer file.Close()
				if err := pgstore.NewAdmin(b.pool).TellClients(!quiet).ImportTariff(c.ctx, file); err != nil {
					return err
				}
				return c.show(map[string]string{"file": c.args[0], "status": "imported"}, "prices of %s imported\n", inputName(c.args[0]))
			})
		}),
	}
	cmd.Flags().BoolVar(&quiet, "quiet", false, "ask no client of an open session to come back")
	a.jsonFlag(cmd)
	return cmd
}

// tariffLine is a price as JSON. Prices are decimals of the currency's unit.
type tariffLine struct {
	ID          string       `json:"id"`
	Version     int          `json:"version"`
	Service     string       `json:"service"`
	RatingGroup uint32       `json:"rating_group"`
	Prefix      string       `json:"prefix"`
	Unit        string       `json:"unit"`
	Currency    ocs.Currency `json:"currency"`
	Fee         ocs.Money    `json:"fee"`
	Minimum     ocs.Money    `json:"minimum"`
	First       int64        `json:"first"`
	Following   int64        `json:"following"`
	Price       ocs.Money    `json:"price"`
	Per         int64        `json:"per"`
	Bands       []bandLine   `json:"bands,omitempty"`
	Zone        string       `json:"zone,omitempty"`
	ValidFrom   *time.Time   `json:"valid_from,omitempty"`
}

type bandLine struct {
	Days  []string  `json:"days,omitempty"`
	Dates []string  `json:"dates,omitempty"`
	From  string    `json:"from"`
	Until string    `json:"until"`
	Price ocs.Money `json:"price"`
}

func tariffLines(entries []ocs.TariffEntry) []tariffLine {
	lines := []tariffLine{}
	for _, e := range entries {
		l := tariffLine{
			ID: e.ID, Version: e.Version, Service: e.Service, RatingGroup: e.RatingGroup, Prefix: e.Prefix, Unit: e.Unit.String(),
			Currency: e.Currency, Fee: e.Fee, Minimum: e.Minimum, First: e.First, Following: e.Following, Price: e.Price, Per: e.Per, Zone: e.Zone,
		}
		if !e.ValidFrom.IsZero() {
			l.ValidFrom = &e.ValidFrom
		}
		for _, b := range e.Bands {
			l.Bands = append(l.Bands, newBandLine(b))
		}
		lines = append(lines, l)
	}
	return lines
}

func newBandLine(b ocs.Band) bandLine {
	l := bandLine{Dates: b.Dates, From: clockText(b.From), Until: clockText(b.Until), Price: b.Price}
	if b.Until == 0 {
		l.Until = "24:00"
	}
	for _, day := range b.Days {
		l.Days = append(l.Days, strings.ToLower(day.String()[:3]))
	}
	return l
}

// clockText writes a time of day: 18:30, 24:00.
func clockText(d time.Duration) string {
	if d == 24*time.Hour {
		return "24:00"
	}
	return time.Time{}.Add(d).Format("15:04")
}

func importAccounts(c *invocation, b *books, r io.Reader, allOrNothing bool) (importReport, error) {
	report, err := pgstore.NewAdmin(b.pool).ImportAccounts(c.ctx, r, pgstore.ImportOptions{AllOrNothing: allOrNothing})
	out := importReport{Lines: report.Lines, Imported: report.Imported, Faulty: report.Faulty}
	for _, f := range report.Faults {
		out.Faults = append(out.Faults, importFault{Line: int(f.Line), Reason: f.Reason})
	}
	return out, err
}
