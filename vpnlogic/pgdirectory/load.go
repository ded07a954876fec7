package pgdirectory

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gygate/vpnlogic"
)

// load reads the whole directory as of one moment.
func load(ctx context.Context, pool *pgxpool.Pool) (*snapshot, error) {
	var s snapshot
	var data contents
	err := pgx.BeginTxFunc(ctx, pool, readOnly, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, "select version from vpn_directory").Scan(&s.version); err != nil {
			return err
		}
		return data.read(ctx, tx)
	})
	if err != nil {
		return nil, err
	}
	s.directory, err = vpnlogic.NewDirectory(data.groups, data.members, data.emergency)
	if err != nil {
		return nil, err
	}
	return &s, nil
}

// readOnly gives all statements of a load the same view of the data.
var readOnly = pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}

// contents are the rows of a directory.
type contents struct {
	groups    []vpnlogic.Group
	members   []vpnlogic.Member
	emergency []string
}

func (c *contents) read(ctx context.Context, tx pgx.Tx) (err error) {
	if c.emergency, err = readEmergency(ctx, tx); err != nil {
		return err
	}
	if c.groups, err = readGroups(ctx, tx); err != nil {
		return err
	}
	c.members, err = readMembers(ctx, tx, "")
	return err
}

func readEmergency(ctx context.Context, tx pgx.Tx) ([]string, error) {
	rows, err := tx.Query(ctx, "select number from emergency_number order by number")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

const selectGroups = `
	select id, name, customer, site_code, country_code, area_code, escape_code,
	       short_digits, escape_required, forced_on_net, exclusions, time_zone, payer
	from vpn_group order by id`

// readGroups reads all groups with their profiles and lists.
func readGroups(ctx context.Context, tx pgx.Tx) ([]vpnlogic.Group, error) {
	rows, err := tx.Query(ctx, selectGroups)
	if err != nil {
		return nil, err
	}
	groups, err := pgx.CollectRows(rows, scanGroup)
	if err != nil {
		return nil, err
	}
	profiles, err := readProfiles(ctx, tx)
	if err != nil {
		return nil, err
	}
	rules, err := readRules(ctx, tx, "member is null")
	if err != nil {
		return nil, err
	}
	for i := range groups {
		g := &groups[i]
		g.Profiles = profiles[g.ID]
		g.Rules = rules[owner{group: g.ID}]
		for j := range g.Profiles {
			g.Profiles[j].Rules = rules[owner{group: g.ID, profile: g.Profiles[j].Name}]
		}
	}
	return groups, nil
}

func scanGroup(row pgx.CollectableRow) (g vpnlogic.Group, err error) {
	err = row.Scan(&g.ID, &g.Name, &g.Customer, &g.SiteCode, &g.CountryCode, &g.AreaCode, &g.EscapeCode,
		&g.ShortDigits, &g.EscapeRequired, &g.ForcedOnNet, &g.Exclusions, &g.TimeZone, &g.Payer)
	return g, err
}

// readProfiles reads all profiles by group.
func readProfiles(ctx context.Context, tx pgx.Tx) (map[string][]vpnlogic.Profile, error) {
	rows, err := tx.Query(ctx, `
		select group_id, name, bar_outgoing, bar_off_net, bar_international, bar_incoming
		from profile order by group_id, name`)
	if err != nil {
		return nil, err
	}
	profiles := make(map[string][]vpnlogic.Profile)
	var group string
	var p vpnlogic.Profile
	_, err = pgx.ForEachRow(rows, []any{&group, &p.Name, &p.Bars.Outgoing, &p.Bars.OffNet, &p.Bars.International, &p.Bars.Incoming}, func() error {
		profiles[group] = append(profiles[group], p)
		return nil
	})
	return profiles, err
}

// readMembers reads the members of a group, or of all when it is "".
func readMembers(ctx context.Context, tx pgx.Tx, group string) ([]vpnlogic.Member, error) {
	rows, err := tx.Query(ctx, `
		select number, group_id, coalesce(short_number, ''), display, prepaid, coalesce(profile, ''),
		       bar_outgoing, bar_off_net, bar_international, bar_incoming
		from member where $1 = '' or group_id = $1 order by group_id, number`, group)
	if err != nil {
		return nil, err
	}
	members, err := pgx.CollectRows(rows, scanMember)
	if err != nil {
		return nil, err
	}
	rules, err := readRules(ctx, tx, "member is not null")
	if err != nil {
		return nil, err
	}
	for i := range members {
		m := &members[i]
		m.Rules = rules[owner{group: m.Group, member: string(m.Number)}]
	}
	return members, nil
}

func scanMember(row pgx.CollectableRow) (m vpnlogic.Member, err error) {
	err = row.Scan(&m.Number, &m.Group, &m.Short, &m.Display, &m.Prepaid, &m.Profile,
		&m.Bars.Outgoing, &m.Bars.OffNet, &m.Bars.International, &m.Bars.Incoming)
	return m, err
}

// owner is whose list an entry stands on.
type owner struct{ group, profile, member string }

// readRules reads the entries of one kind of owner, each list in the order it
// was written.
func readRules(ctx context.Context, tx pgx.Tx, where string) (map[owner][]vpnlogic.Rule, error) {
	rows, err := tx.Query(ctx, `
		select group_id, coalesce(profile, ''), coalesce(member, ''), allow, incoming, class, prefix, last, days, from_s, to_s
		from access_rule where `+where+` order by id`)
	if err != nil {
		return nil, err
	}
	rules := make(map[owner][]vpnlogic.Rule)
	var o owner
	var r vpnlogic.Rule
	var days, from, to int
	_, err = pgx.ForEachRow(rows, []any{&o.group, &o.profile, &o.member, &r.Allow, &r.Incoming, &r.Class, &r.Prefix, &r.Last, &days, &from, &to}, func() error {
		r.Span = vpnlogic.Span{Days: daysOf(days), From: time.Duration(from) * time.Second, To: time.Duration(to) * time.Second}
		rules[o] = append(rules[o], r)
		return nil
	})
	return rules, err
}

// daysOf and bitsOf convert between the days of a span and their bits, Sunday
// being bit 0.
func daysOf(bits int) (days [7]bool) {
	for i := range days {
		days[i] = bits&(1<<i) != 0
	}
	return days
}

func bitsOf(days [7]bool) (bits int) {
	for i, on := range days {
		if on {
			bits |= 1 << i
		}
	}
	return bits
}
