package pgdirectory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gygate/vpnlogic"
)

// load reads the whole directory as of one moment.
func load(ctx context.Context, pool *pgxpool.Pool) (*snapshot, error) {
	var s snapshot
	err := pgx.BeginTxFunc(ctx, pool, readOnly, func(tx pgx.Tx) (err error) {
		if s.version, err = readVersion(ctx, tx); err != nil {
			return err
		}
		s.directory, err = readDirectory(ctx, tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &s, nil
}

// errMoved says that the directory has changed once more.
var errMoved = errors.New("the directory has another version by now")

// loadGroups makes the snapshot of a version out of the one before and some groups,
// which are read anew: those that are not there any more are left out.
func loadGroups(ctx context.Context, pool *pgxpool.Pool, before *snapshot, version int64, ids []string) (*snapshot, error) {
	s := snapshot{version: version}
	err := pgx.BeginTxFunc(ctx, pool, readOnly, func(tx pgx.Tx) error {
		now, err := readVersion(ctx, tx)
		if err != nil {
			return err
		}
		if now != version {
			return errMoved
		}
		groups, err := readGroups(ctx, tx, ids)
		if err != nil {
			return err
		}
		b := before.directory.Change(groups, ids)
		if err := readMembers(ctx, tx, ids, b.Add); err != nil {
			return err
		}
		s.directory, err = b.Directory()
		return err
	})
	if err != nil {
		return nil, err
	}
	return &s, nil
}

func readVersion(ctx context.Context, tx pgx.Tx) (version int64, err error) {
	return version, tx.QueryRow(ctx, "select version from vpn_directory").Scan(&version)
}

// readDirectory reads everything; the members are not held twice.
func readDirectory(ctx context.Context, tx pgx.Tx) (*vpnlogic.Directory, error) {
	emergency, err := readEmergency(ctx, tx)
	if err != nil {
		return nil, err
	}
	groups, err := readGroups(ctx, tx, nil)
	if err != nil {
		return nil, err
	}
	b := vpnlogic.NewBuilder(groups, emergency)
	if err := readMembers(ctx, tx, nil, b.Add); err != nil {
		return nil, err
	}
	return b.Directory()
}

// readOnly gives all statements of a load the same view of the data.
var readOnly = pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}

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
	from vpn_group where $1::text[] is null or id = any($1) order by id`

// readGroups reads the named groups with their profiles and lists, nil: all.
func readGroups(ctx context.Context, tx pgx.Tx, ids []string) ([]vpnlogic.Group, error) {
	rows, err := tx.Query(ctx, selectGroups, ids)
	if err != nil {
		return nil, err
	}
	groups, err := pgx.CollectRows(rows, scanGroup)
	if err != nil {
		return nil, err
	}
	profiles, err := readProfiles(ctx, tx, ids)
	if err != nil {
		return nil, err
	}
	rules, err := readRules(ctx, tx, "member is null", ids)
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

// readProfiles reads the profiles of the named groups by group, nil: of all.
func readProfiles(ctx context.Context, tx pgx.Tx, ids []string) (map[string][]vpnlogic.Profile, error) {
	rows, err := tx.Query(ctx, `
		select group_id, name, bar_outgoing, bar_off_net, bar_international, bar_incoming
		from profile where $1::text[] is null or group_id = any($1) order by group_id, name`, ids)
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

// readMembers hands over the members of the named groups with their lists, nil: of all,
// in no order.
func readMembers(ctx context.Context, tx pgx.Tx, ids []string, take func(vpnlogic.Member)) error {
	rules, err := readRules(ctx, tx, "member is not null", ids)
	if err != nil {
		return err
	}
	selection, err := selectMembers(ctx, tx, ids)
	if err != nil {
		return err
	}
	table := copyReader{row: func(row []byte) error {
		m, err := memberOf(row)
		if err != nil {
			return err
		}
		m.Rules = rules[owner{group: m.Group, member: string(m.Number)}]
		take(m)
		return nil
	}}
	if _, err := tx.Conn().PgConn().CopyTo(ctx, &table, selection); err != nil {
		return fmt.Errorf("read members: %w", err)
	}
	return table.finished()
}

// selectMembers is the statement that copies the members out. COPY takes no parameters:
// a temporary table would be a write, so the names of the groups are quoted by the
// server.
func selectMembers(ctx context.Context, tx pgx.Tx, ids []string) (string, error) {
	where := ""
	if ids != nil {
		var list string
		if err := tx.QueryRow(ctx, "select string_agg(quote_literal(id), ', ') from unnest($1::text[]) id", ids).Scan(&list); err != nil {
			return "", err
		}
		where = "where group_id in (" + list + ")"
	}
	return `copy (select number, group_id, short_number, display, profile,
		prepaid, bar_outgoing, bar_off_net, bar_international, bar_incoming from member ` + where + `) to stdout (format binary)`, nil
}

// memberOf reads a row of selectMembers.
func memberOf(row []byte) (m vpnlogic.Member, err error) {
	f := copyFields{rest: string(row)} // one copy for all its texts
	f.begin(10)
	m.Number, m.Group, m.Short = vpnlogic.E164(f.text()), f.text(), f.text()
	m.Display, m.Profile = f.text(), f.text()
	m.Prepaid = f.flag()
	m.Bars = vpnlogic.Bars{Outgoing: f.flag(), OffNet: f.flag(), International: f.flag(), Incoming: f.flag()}
	return m, f.err
}

// collectMembers reads the members of the named groups, nil: of all, by group and
// number.
func collectMembers(ctx context.Context, tx pgx.Tx, ids []string) (members []vpnlogic.Member, err error) {
	err = readMembers(ctx, tx, ids, func(m vpnlogic.Member) { members = append(members, m) })
	slices.SortFunc(members, func(a, b vpnlogic.Member) int {
		return cmp.Or(strings.Compare(a.Group, b.Group), strings.Compare(string(a.Number), string(b.Number)))
	})
	return members, err
}

// owner is whose list an entry stands on.
type owner struct{ group, profile, member string }

// readRules reads the entries of one kind of owner in the named groups, nil: in all,
// each list in the order it was written.
func readRules(ctx context.Context, tx pgx.Tx, where string, ids []string) (map[owner][]vpnlogic.Rule, error) {
	rows, err := tx.Query(ctx, `
		select group_id, coalesce(profile, ''), coalesce(member, ''), allow, incoming, class, prefix, last, days, from_s, to_s
		from access_rule where `+where+` and ($1::text[] is null or group_id = any($1)) order by id`, ids)
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
