package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"gygate/vpnlogic"
	"gygate/vpnlogic/pgdirectory"
)

func newGroupCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "group", Short: "Create, list and import virtual private networks"}
	cmd.AddCommand(newGroupCreate(a), newGroupList(a), newEmergencyCommand(a),
		newImportCommand(a, "groups", "Columns: id, country_code; optionally name, customer, site_code, area_code,\nescape_code, short_digits, escape_required, forced_on_net, exclusions, time_zone,\npayer (member or group).",
			"  gygate group import groups.csv", importGroups))
	return cmd
}

func newGroupCreate(a *app) *cobra.Command {
	var g vpnlogic.Group
	cmd := &cobra.Command{
		Use:   "create ID --country CODE",
		Short: "Create a group: a closed group of lines with a private numbering plan",
		Example: "  gygate group create 7001 --name acme --country 49 --area 30 --escape 0 --short-digits 4 --forced-on-net\n" +
			"  gygate account create private:7002 --balance 100   # the account of a group that pays\n" +
			"  gygate group create 7002 --country 49 --payer group",
		Args: cobra.ExactArgs(1),
		RunE: a.run(func(c *invocation) error {
			g.ID = c.args[0]
			return c.withBooks(func(b *books) error {
				if err := pgdirectory.NewAdmin(b.pool).CreateGroup(c.ctx, g); err != nil {
					return err
				}
				return c.show(g, "group %s created\n", g.ID)
			})
		}),
	}
	f := cmd.Flags()
	f.StringVar(&g.Name, "name", "", "name for people")
	f.StringVar(&g.Customer, "customer", "", "groups of one customer reach each other by site code")
	f.StringVar(&g.SiteCode, "site", "", "site code, dialled before an extension from another site")
	f.StringVar(&g.CountryCode, "country", "", "country code, for example 49")
	f.StringVar(&g.AreaCode, "area", "", "area code that completes local numbers")
	f.StringVar(&g.EscapeCode, "escape", "", "code dialled before a public number")
	f.IntVar(&g.ShortDigits, "short-digits", 0, "every dialled number of this length is a short number")
	f.BoolVar(&g.EscapeRequired, "escape-required", false, "refuse a public number without the escape code")
	f.BoolVar(&g.ForcedOnNet, "forced-on-net", false, "charge a colleague's public number on-net")
	f.StringSliceVar(&g.Exclusions, "exclude", nil, "public prefixes never forced on-net")
	f.StringVar(&g.TimeZone, "zone", "", "IANA time zone of the lists")
	f.StringVar((*string)(&g.Payer), "payer", string(vpnlogic.PayerMember), "who pays the calls: member, where the line is prepaid, or group for all lines, by the account private:ID")
	cobra.CheckErr(cmd.MarkFlagRequired("country"))
	a.jsonFlag(cmd)
	return cmd
}

func newGroupList(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List the groups", Example: "  gygate group list --json", Args: cobra.NoArgs,
		RunE: a.run(func(c *invocation) error {
			return c.withBooks(func(b *books) error {
				groups, err := pgdirectory.NewAdmin(b.pool).Groups(c.ctx)
				if err != nil {
					return err
				}
				return c.list(groups, len(groups), "GROUP\tNAME\tCUSTOMER\tSITE\tCOUNTRY\tAREA\tESCAPE\tDIGITS\tFORCED ON-NET\tPAYER", func(t *table) {
					for _, g := range groups {
						t.row("%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%t\t%s", g.ID, g.Name, g.Customer, g.SiteCode, g.CountryCode, g.AreaCode, g.EscapeCode, g.ShortDigits, g.ForcedOnNet, cmp.Or(g.Payer, vpnlogic.PayerMember))
					}
				})
			})
		}),
	}
	a.jsonFlag(cmd)
	return cmd
}

func newEmergencyCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "emergency [NUMBER...]",
		Short:   "List the emergency numbers, or replace them",
		Long:    "Calls to an emergency number are connected for everybody, unscreened and uncharged.",
		Example: "  gygate group emergency\n  gygate group emergency 112 911 110",
		RunE: a.run(func(c *invocation) error {
			return c.withBooks(func(b *books) error {
				admin := pgdirectory.NewAdmin(b.pool)
				if len(c.args) > 0 {
					if err := admin.SetEmergency(c.ctx, c.args); err != nil {
						return err
					}
				}
				numbers, err := admin.Emergency(c.ctx)
				if err != nil {
					return err
				}
				return c.show(numbers, "%s\n", strings.Join(numbers, " "))
			})
		}),
	}
	a.jsonFlag(cmd)
	return cmd
}

func importGroups(c *invocation, b *books, r io.Reader, allOrNothing bool) (importReport, error) {
	report, err := pgdirectory.NewAdmin(b.pool).ImportGroups(c.ctx, r, pgdirectory.ImportOptions{AllOrNothing: allOrNothing})
	return directoryReport(report), err
}

func directoryReport(r pgdirectory.ImportReport) importReport {
	out := importReport{Lines: r.Lines, Imported: r.Imported, Faulty: r.Faulty}
	for _, f := range r.Faults {
		out.Faults = append(out.Faults, importFault(f))
	}
	return out
}

// show prints v as JSON when that is asked for, else the line for a person.
func (c *invocation) show(v any, format string, args ...any) error {
	if c.json {
		return printJSON(c.out, v)
	}
	_, err := fmt.Fprintf(c.out, format, args...)
	return err
}

// list prints a slice as JSON ([] when empty), else as a table.
func (c *invocation) list(v any, n int, header string, rows func(*table)) error {
	if c.json && n == 0 {
		return printJSON(c.out, []struct{}{})
	}
	if c.json {
		return printJSON(c.out, v)
	}
	t := newTable(c.out, header)
	rows(t)
	return t.flush()
}

// noteLimit says that a list was cut: a cut must not pass for the end. Most is what a
// limit of 0 and a higher one stand for.
func (c *invocation) noteLimit(shown, limit, most int) {
	if limit <= 0 || limit > most {
		limit = most
	}
	switch {
	case shown == most:
		fmt.Fprintf(c.errs, "only the first %d, which is the most that a list shows\n", shown)
	case shown == limit:
		fmt.Fprintf(c.errs, "only the first %d: --limit shows more, up to %d\n", shown, most)
	}
}
