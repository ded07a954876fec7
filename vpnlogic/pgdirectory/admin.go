package pgdirectory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"gygate/vpnlogic"
)

// Errors of administration.
var (
	ErrExists  = errors.New("exists already")
	ErrMissing = errors.New("does not exist")
)

// Admin changes the virtual private networks. Each change checks the data as
// the snapshot will, and is one transaction that tells all Providers.
type Admin struct{ pool *pgxpool.Pool }

// NewAdmin returns an Admin on the caller's pool.
func NewAdmin(pool *pgxpool.Pool) *Admin { return &Admin{pool: pool} }

// CreateGroup stores a new group with its profiles and lists.
func (a *Admin) CreateGroup(ctx context.Context, g vpnlogic.Group) error {
	if err := g.Check(); err != nil {
		return err
	}
	err := a.change(ctx, func(tx pgx.Tx, c *changed) error {
		c.Groups = []string{g.ID}
		if _, err := tx.Exec(ctx, insertGroup, groupArgs(g)...); err != nil {
			return err
		}
		return writeGroupParts(ctx, tx, g)
	})
	return named(err, "group %s", g.ID)
}

// UpdateGroup replaces a group's settings, profiles and lists. Its members
// must fit what it becomes.
func (a *Admin) UpdateGroup(ctx context.Context, g vpnlogic.Group) error {
	if err := g.Check(); err != nil {
		return err
	}
	err := a.change(ctx, func(tx pgx.Tx, c *changed) error {
		c.Groups = []string{g.ID}
		if err := oneRow(tx.Exec(ctx, updateGroup, groupArgs(g)...)); err != nil {
			return err
		}
		if err := checkMembers(ctx, tx, g); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "delete from access_rule where group_id = $1 and member is null", g.ID); err != nil {
			return err
		}
		return writeGroupParts(ctx, tx, g)
	})
	return named(err, "group %s", g.ID)
}

// Groups lists all groups by id.
func (a *Admin) Groups(ctx context.Context) (groups []vpnlogic.Group, err error) {
	err = pgx.BeginTxFunc(ctx, a.pool, readOnly, func(tx pgx.Tx) error {
		groups, err = readGroups(ctx, tx, nil)
		return err
	})
	return groups, named(err, "list groups")
}

// CreateMember stores a new member with its list.
func (a *Admin) CreateMember(ctx context.Context, m vpnlogic.Member) error {
	return a.writeMember(ctx, m, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, insertMember, memberArgs(m)...)
		return err
	})
}

// UpdateMember replaces a member's settings and list.
func (a *Admin) UpdateMember(ctx context.Context, m vpnlogic.Member) error {
	return a.writeMember(ctx, m, func(tx pgx.Tx) error {
		return oneRow(tx.Exec(ctx, updateMember, memberArgs(m)...))
	})
}

// RemoveMember ends a membership.
func (a *Admin) RemoveMember(ctx context.Context, number vpnlogic.E164) error {
	err := a.change(ctx, func(tx pgx.Tx, c *changed) error {
		var group string
		err := tx.QueryRow(ctx, "delete from member where number = $1 returning group_id", number).Scan(&group)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrMissing
		}
		c.Groups = []string{group}
		return err
	})
	return named(err, "member %s", number)
}

// Members lists the members of a group by number, or of all groups when it
// is "".
func (a *Admin) Members(ctx context.Context, group string) (members []vpnlogic.Member, err error) {
	err = pgx.BeginTxFunc(ctx, a.pool, readOnly, func(tx pgx.Tx) error {
		members, err = collectMembers(ctx, tx, only(group))
		return err
	})
	return members, named(err, "list members")
}

// only names one group, or all when it is "".
func only(group string) []string {
	if group == "" {
		return nil
	}
	return []string{group}
}

// Emergency lists the emergency numbers.
func (a *Admin) Emergency(ctx context.Context) (numbers []string, err error) {
	err = pgx.BeginTxFunc(ctx, a.pool, readOnly, func(tx pgx.Tx) error {
		numbers, err = readEmergency(ctx, tx)
		return err
	})
	return numbers, named(err, "list emergency numbers")
}

// SetEmergency replaces the emergency numbers. One that a member's short
// number would hide is refused.
func (a *Admin) SetEmergency(ctx context.Context, numbers []string) error {
	err := a.change(ctx, func(tx pgx.Tx, _ *changed) error { // it concerns every group
		if _, err := tx.Exec(ctx, "delete from emergency_number"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "insert into emergency_number select distinct unnest($1::text[])", numbers); err != nil {
			return err
		}
		_, err := readDirectory(ctx, tx)
		return err
	})
	return named(err, "set emergency numbers")
}

// change runs do in a transaction that raises the directory's version and
// tells the Providers which groups it concerns; do names them, none: all. The version
// row is locked first, so that changes that check each other's data come one after the
// other.
func (a *Admin) change(ctx context.Context, do func(tx pgx.Tx, c *changed) error) error {
	return pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		var c changed
		if err := tx.QueryRow(ctx, "update vpn_directory set version = version + 1 returning version").Scan(&c.Version); err != nil {
			return err
		}
		if err := do(tx, &c); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "select pg_notify($1, $2)", channel, c.payload())
		return err
	})
}

func (a *Admin) writeMember(ctx context.Context, m vpnlogic.Member, write func(pgx.Tx) error) error {
	err := a.change(ctx, func(tx pgx.Tx, c *changed) (err error) {
		if c.Groups, err = groupsOf(ctx, tx, m); err != nil {
			return err
		}
		if err := checkMember(ctx, tx, m); err != nil {
			return err
		}
		if err := write(tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "delete from access_rule where member = $1", m.Number); err != nil {
			return err
		}
		return writeRules(ctx, tx, owner{group: m.Group, member: string(m.Number)}, m.Rules)
	})
	return named(err, "member %s", m.Number)
}

// groupsOf are the groups that a change of the member concerns: the one he is in, if he
// is, and the one he comes to.
func groupsOf(ctx context.Context, tx pgx.Tx, m vpnlogic.Member) ([]string, error) {
	rows, err := tx.Query(ctx, "select group_id from member where number = $1 and group_id <> $2 union select $2", m.Number, m.Group)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

func checkMember(ctx context.Context, tx pgx.Tx, m vpnlogic.Member) error {
	groups, err := readGroups(ctx, tx, []string{m.Group})
	if err != nil {
		return err
	}
	emergency, err := readEmergency(ctx, tx)
	if err != nil {
		return err
	}
	if len(groups) == 0 {
		return fmt.Errorf("group %q %w", m.Group, ErrMissing)
	}
	return m.Check(groups[0], vpnlogic.EmergencyIn(emergency))
}

// checkMembers tells which members do not fit the changed group.
func checkMembers(ctx context.Context, tx pgx.Tx, g vpnlogic.Group) error {
	members, err := collectMembers(ctx, tx, []string{g.ID})
	if err != nil {
		return err
	}
	emergency, err := readEmergency(ctx, tx)
	if err != nil {
		return err
	}
	var faults []error
	hidden := vpnlogic.EmergencyIn(emergency)
	for _, m := range members {
		faults = append(faults, m.Check(g, hidden))
	}
	return errors.Join(faults...)
}

const (
	insertGroup = `
		insert into vpn_group (id, name, customer, site_code, country_code, area_code, escape_code,
			short_digits, escape_required, forced_on_net, exclusions, time_zone, payer)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`
	updateGroup = `
		update vpn_group set name = $2, customer = $3, site_code = $4, country_code = $5, area_code = $6,
			escape_code = $7, short_digits = $8, escape_required = $9, forced_on_net = $10, exclusions = $11, time_zone = $12, payer = $13
		where id = $1`
	insertMember = `
		insert into member (number, group_id, short_number, display, prepaid, profile,
			bar_outgoing, bar_off_net, bar_international, bar_incoming)
		values ($1, $2, nullif($3, ''), $4, $5, nullif($6, ''), $7, $8, $9, $10)`
	updateMember = `
		update member set group_id = $2, short_number = nullif($3, ''), display = $4, prepaid = $5, profile = nullif($6, ''),
			bar_outgoing = $7, bar_off_net = $8, bar_international = $9, bar_incoming = $10
		where number = $1`
)

func groupArgs(g vpnlogic.Group) []any {
	exclusions := g.Exclusions
	if exclusions == nil {
		exclusions = []string{}
	}
	payer := g.Payer
	if payer == "" {
		payer = vpnlogic.PayerMember
	}
	return []any{g.ID, g.Name, g.Customer, g.SiteCode, g.CountryCode, g.AreaCode, g.EscapeCode,
		g.ShortDigits, g.EscapeRequired, g.ForcedOnNet, exclusions, g.TimeZone, payer}
}

func memberArgs(m vpnlogic.Member) []any {
	return []any{m.Number, m.Group, m.Short, m.Display, m.Prepaid, m.Profile,
		m.Bars.Outgoing, m.Bars.OffNet, m.Bars.International, m.Bars.Incoming}
}

// writeGroupParts writes profiles and lists. A profile that is gone is deleted;
// members that still have it make that fail.
func writeGroupParts(ctx context.Context, tx pgx.Tx, g vpnlogic.Group) error {
	names := []string{}
	for _, p := range g.Profiles {
		names = append(names, p.Name)
		_, err := tx.Exec(ctx, `
			insert into profile (group_id, name, bar_outgoing, bar_off_net, bar_international, bar_incoming)
			values ($1, $2, $3, $4, $5, $6)
			on conflict (group_id, name) do update set bar_outgoing = excluded.bar_outgoing, bar_off_net = excluded.bar_off_net,
				bar_international = excluded.bar_international, bar_incoming = excluded.bar_incoming`,
			g.ID, p.Name, p.Bars.Outgoing, p.Bars.OffNet, p.Bars.International, p.Bars.Incoming)
		if err != nil {
			return err
		}
		if err := writeRules(ctx, tx, owner{group: g.ID, profile: p.Name}, p.Rules); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, "delete from profile where group_id = $1 and name <> all($2)", g.ID, names); err != nil {
		return err
	}
	return writeRules(ctx, tx, owner{group: g.ID}, g.Rules)
}

func writeRules(ctx context.Context, tx pgx.Tx, o owner, rules []vpnlogic.Rule) error {
	for _, r := range rules {
		_, err := tx.Exec(ctx, `
			insert into access_rule (group_id, profile, member, allow, incoming, class, prefix, last, days, from_s, to_s)
			values ($1, nullif($2, ''), nullif($3, ''), $4, $5, $6, $7, $8, $9, $10, $11)`,
			o.group, o.profile, o.member, r.Allow, r.Incoming, r.Class, r.Prefix, r.Last,
			bitsOf(r.Span.Days), int(r.Span.From/time.Second), int(r.Span.To/time.Second))
		if err != nil {
			return err
		}
	}
	return nil
}

func oneRow(tag pgconn.CommandTag, err error) error {
	if err == nil && tag.RowsAffected() == 0 {
		return ErrMissing
	}
	return err
}

// SQLSTATE values that are the caller's doing.
const (
	uniqueViolation     = "23505"
	foreignKeyViolation = "23503"
)

// named says what an error is about; a broken constraint becomes a sentinel
// with the database's own words.
func named(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	subject := fmt.Sprintf(format, args...)
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		switch refused.Code {
		case uniqueViolation:
			return fmt.Errorf("%s: %w: %s", subject, ErrExists, refused.Detail)
		case foreignKeyViolation:
			return fmt.Errorf("%s: %w: %s", subject, ErrMissing, refused.Detail)
		}
	}
	return fmt.Errorf("%s: %w", subject, err)
}
