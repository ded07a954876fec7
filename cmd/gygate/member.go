package main

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"gygate/vpnlogic"
	"gygate/vpnlogic/pgdirectory"
)

func newMemberCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "member", Short: "Create, list and import the lines of a group"}
	cmd.AddCommand(newMemberCreate(a), newMemberList(a),
		newImportCommand(a, "members", "Columns: number, group; optionally short_number, display, prepaid, profile,\nbar_outgoing, bar_off_net, bar_international, bar_incoming.",
			"  gygate member import members.csv", importMembers))
	return cmd
}

func newMemberCreate(a *app) *cobra.Command {
	var m vpnlogic.Member
	cmd := &cobra.Command{
		Use:     "create NUMBER --group ID",
		Short:   "Make a line a member of a group",
		Long:    "The prepaid account of the line is opened on its own, with gygate account create.",
		Example: "  gygate member create 493023125007 --group 7001 --short 6007 --prepaid --name Lena",
		Args:    cobra.ExactArgs(1),
		RunE: a.run(func(c *invocation) error {
			m.Number = vpnlogic.E164(strings.TrimPrefix(c.args[0], "+"))
			return c.withBooks(func(b *books) error {
				if err := pgdirectory.NewAdmin(b.pool).CreateMember(c.ctx, m); err != nil {
					return err
				}
				return c.show(m, "member %s created in group %s\n", m.Number, m.Group)
			})
		}),
	}
	f := cmd.Flags()
	f.StringVar(&m.Group, "group", "", "group id")
	f.StringVar(&m.Short, "short", "", "short number")
	f.StringVar(&m.Display, "name", "", "display name")
	f.BoolVar(&m.Prepaid, "prepaid", false, "the line also has the prepaid service")
	f.StringVar(&m.Profile, "profile", "", "class of service of the group")
	f.BoolVar(&m.Bars.Outgoing, "bar-outgoing", false, "bar all outgoing calls")
	f.BoolVar(&m.Bars.OffNet, "bar-off-net", false, "bar calls out of the network")
	f.BoolVar(&m.Bars.International, "bar-international", false, "bar international calls")
	f.BoolVar(&m.Bars.Incoming, "bar-incoming", false, "bar incoming calls")
	cobra.CheckErr(cmd.MarkFlagRequired("group"))
	a.jsonFlag(cmd)
	return cmd
}

func newMemberList(a *app) *cobra.Command {
	var group string
	cmd := &cobra.Command{
		Use: "list", Short: "List the members of a group, or of all", Example: "  gygate member list --group 7001", Args: cobra.NoArgs,
		RunE: a.run(func(c *invocation) error {
			return c.withBooks(func(b *books) error {
				members, err := pgdirectory.NewAdmin(b.pool).Members(c.ctx, group)
				if err != nil {
					return err
				}
				return c.list(members, len(members), "NUMBER\tGROUP\tSHORT\tNAME\tPREPAID\tPROFILE\tBARRED", func(t *table) {
					for _, m := range members {
						t.row("%s\t%s\t%s\t%s\t%t\t%s\t%s", m.Number, m.Group, m.Short, m.Display, m.Prepaid, m.Profile, barsText(m.Bars))
					}
				})
			})
		}),
	}
	cmd.Flags().StringVar(&group, "group", "", "group id")
	a.jsonFlag(cmd)
	return cmd
}

func barsText(b vpnlogic.Bars) string {
	var words []string
	for _, bar := range []struct {
		set  bool
		word string
	}{{b.Outgoing, "outgoing"}, {b.OffNet, "off-net"}, {b.International, "international"}, {b.Incoming, "incoming"}} {
		if bar.set {
			words = append(words, bar.word)
		}
	}
	return strings.Join(words, ", ")
}

func importMembers(c *invocation, b *books, r io.Reader, allOrNothing bool) (importReport, error) {
	report, err := pgdirectory.NewAdmin(b.pool).ImportMembers(c.ctx, r, pgdirectory.ImportOptions{AllOrNothing: allOrNothing})
	return directoryReport(report), err
}
