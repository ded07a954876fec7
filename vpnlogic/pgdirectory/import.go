package pgdirectory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"gygate/vpnlogic"
)

const (
	// importChunk is how many rows one statement inserts.
	importChunk = 5_000
	// FaultsMax bounds the faults a report lists; the rest is only counted.
	FaultsMax = 1_000
)

// ErrFaults says that an all-or-nothing import stored nothing because of the
// faults in its report.
var ErrFaults = errors.New("nothing imported: the file has faults")

// ImportOptions say how to import.
type ImportOptions struct {
	AllOrNothing bool             // store nothing if any line is at fault
	Progress     func(done int64) // told the lines read so far, may be nil
}

// ImportReport is what came of an import.
type ImportReport struct {
	Lines    int64   `json:"lines"`    // data lines read
	Imported int64   `json:"imported"` // rows stored
	Faulty   int64   `json:"faulty"`
	Faults   []Fault `json:"faults,omitempty"` // the first FaultsMax of them
}

// Fault is a line that was not imported, and why.
type Fault struct {
	Line   int    `json:"line"` // of the file, from 1
	Reason string `json:"reason"`
}

func (r *ImportReport) fault(line int, err error) {
	r.Faulty++
	if len(r.Faults) < FaultsMax {
		r.Faults = append(r.Faults, Fault{line, strings.ReplaceAll(err.Error(), "\n", "; ")})
	}
}

// ImportGroups reads groups as CSV with a header line. Columns: id and
// country_code; optionally name, customer, site_code, area_code, escape_code,
// short_digits, escape_required, forced_on_net, exclusions (space between),
// time_zone, payer (member or group; empty: member).
func (a *Admin) ImportGroups(ctx context.Context, r io.Reader, o ImportOptions) (ImportReport, error) {
	t, err := newTable(r, []string{"id", "country_code"}, []string{"name", "customer", "site_code", "area_code",
		"escape_code", "short_digits", "escape_required", "forced_on_net", "exclusions", "time_zone", "payer"})
	if err != nil {
		return ImportReport{}, err
	}
	return runImport(ctx, a, o, t, parseGroup, storeGroups)
}

func parseGroup(l *line) (vpnlogic.Group, error) {
	g := vpnlogic.Group{
		ID: l.text("id"), Name: l.text("name"), Customer: l.text("customer"), SiteCode: l.text("site_code"),
		CountryCode: l.text("country_code"), AreaCode: l.text("area_code"), EscapeCode: l.text("escape_code"),
		ShortDigits: l.number("short_digits"), EscapeRequired: l.flag("escape_required"),
		ForcedOnNet: l.flag("forced_on_net"), Exclusions: strings.Fields(l.text("exclusions")), TimeZone: l.text("time_zone"),
		Payer: vpnlogic.Payer(strings.ToLower(l.text("payer"))),
	}
	return g, errors.Join(l.err(), g.Check())
}

func storeGroups(ctx context.Context, tx pgx.Tx, groups []entry[vpnlogic.Group], report *ImportReport) error {
	for _, e := range groups {
		tag, err := tx.Exec(ctx, insertGroup+" on conflict do nothing", groupArgs(e.row)...)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			report.fault(e.line, fmt.Errorf("group %s: id, or site code of the customer, is taken", e.row.ID))
			continue
		}
		report.Imported++
	}
	return nil
}

// ImportMembers reads members as CSV with a header line. Columns: number and
// group; optionally short_number, display, prepaid, profile, bar_outgoing,
// bar_off_net, bar_international, bar_incoming.
func (a *Admin) ImportMembers(ctx context.Context, r io.Reader, o ImportOptions) (ImportReport, error) {
	t, err := newTable(r, []string{"number", "group"}, []string{"short_number", "display", "prepaid", "profile",
		"bar_outgoing", "bar_off_net", "bar_international", "bar_incoming"})
	if err != nil {
		return ImportReport{}, err
	}
	check, err := a.memberCheck(ctx)
	if err != nil {
		return ImportReport{}, err
	}
	parse := func(l *line) (vpnlogic.Member, error) {
		m := parseMember(l)
		return m, errors.Join(l.err(), check(m))
	}
	return runImport(ctx, a, o, t, parse, storeMembers)
}

func parseMember(l *line) vpnlogic.Member {
	return vpnlogic.Member{
		Number: vpnlogic.E164(strings.TrimPrefix(l.text("number"), "+")), Group: l.text("group"),
		Short: l.text("short_number"), Display: l.text("display"), Prepaid: l.flag("prepaid"), Profile: l.text("profile"),
		Bars: vpnlogic.Bars{
			Outgoing: l.flag("bar_outgoing"), OffNet: l.flag("bar_off_net"),
			International: l.flag("bar_international"), Incoming: l.flag("bar_incoming"),
		},
	}
}

// memberCheck checks a member against the groups and emergency numbers as they
// are now.
func (a *Admin) memberCheck(ctx context.Context) (func(vpnlogic.Member) error, error) {
	groups, err := a.Groups(ctx)
	if err != nil {
		return nil, err
	}
	emergency, err := a.Emergency(ctx)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]vpnlogic.Group, len(groups))
	for _, g := range groups {
		byID[g.ID] = g
	}
	hidden := vpnlogic.EmergencyIn(emergency)
	return func(m vpnlogic.Member) error {
		g, known := byID[m.Group]
		if !known {
			return fmt.Errorf("group %q %w", m.Group, ErrMissing)
		}
		return m.Check(g, hidden)
	}, nil
}

// storeMembers inserts a chunk in one statement. What it leaves out has a
// number or short number that is taken, in the database or earlier in the
// file.
func storeMembers(ctx context.Context, tx pgx.Tx, members []entry[vpnlogic.Member], report *ImportReport) error {
	rows, err := tx.Query(ctx, insertMembers, memberColumns(members)...)
	if err != nil {
		return err
	}
	stored, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		return err
	}
	report.Imported += int64(len(stored))
	done := make([]bool, len(members))
	for _, position := range stored {
		done[position-1] = true
	}
	for i, e := range members {
		if !done[i] {
			report.fault(e.line, fmt.Errorf("member %s: number, or short number %s in group %s, is taken", e.row.Number, e.row.Short, e.row.Group))
		}
	}
	return nil
}

// insertMembers returns the positions of the rows it stored: of equal rows the
// first.
const insertMembers = `
	with given as (
		select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::boolean[], $6::text[],
			$7::boolean[], $8::boolean[], $9::boolean[], $10::boolean[])
		with ordinality as t(number, group_id, short_number, display, prepaid, profile, b1, b2, b3, b4, position)
	), stored as (
		insert into member (number, group_id, short_number, display, prepaid, profile,
			bar_outgoing, bar_off_net, bar_international, bar_incoming)
		select number, group_id, nullif(short_number, ''), display, prepaid, nullif(profile, ''), b1, b2, b3, b4
		from given order by position
		on conflict do nothing
		returning number, short_number
	)
	select min(position)::int
	from given g join stored s on s.number = g.number and s.short_number is not distinct from nullif(g.short_number, '')
	group by g.number`

func memberColumns(members []entry[vpnlogic.Member]) []any {
	var number, group, short, display, profile []string
	var prepaid, b1, b2, b3, b4 []bool
	for _, e := range members {
		m := e.row
		number, group, short = append(number, string(m.Number)), append(group, m.Group), append(short, m.Short)
		display, prepaid, profile = append(display, m.Display), append(prepaid, m.Prepaid), append(profile, m.Profile)
		b1, b2 = append(b1, m.Bars.Outgoing), append(b2, m.Bars.OffNet)
		b3, b4 = append(b3, m.Bars.International), append(b4, m.Bars.Incoming)
	}
	return []any{number, group, short, display, prepaid, profile, b1, b2, b3, b4}
}

// entry is a parsed row with the line it came from.
type entry[T any] struct {
	line int
	row  T
}

// runImport parses line by line and stores chunk by chunk: each chunk a
// transaction, or all of them one when nothing may be stored with a fault.
func runImport[T any](ctx context.Context, a *Admin, o ImportOptions, t *table, parse func(*line) (T, error),
	store func(context.Context, pgx.Tx, []entry[T], *ImportReport) error) (report ImportReport, err error) {
	inChunk := func(chunk []entry[T]) error {
		before := report
		err := a.change(ctx, func(tx pgx.Tx, c *changed) error {
			c.Groups = groupsIn(chunk)
			return store(ctx, tx, chunk, &report)
		})
		if err != nil {
			report = before // the chunk was rolled back
		}
		return err
	}
	if !o.AllOrNothing {
		err = readChunks(t, o, parse, &report, inChunk)
		return report, named(err, "import")
	}
	err = a.change(ctx, func(tx pgx.Tx, _ *changed) error {
		err := readChunks(t, o, parse, &report, func(chunk []entry[T]) error { return store(ctx, tx, chunk, &report) })
		if err == nil && report.Faulty > 0 {
			err = ErrFaults
		}
		return err
	})
	if err != nil {
		report.Imported = 0
	}
	return report, named(err, "import")
}

// groupsIn names the groups that rows of groups or members belong to.
func groupsIn[T any](chunk []entry[T]) []string {
	ids := make(map[string]bool)
	for i := range chunk {
		switch row := any(&chunk[i].row).(type) {
		case *vpnlogic.Group:
			ids[row.ID] = true
		case *vpnlogic.Member:
			ids[row.Group] = true
		}
	}
	return slices.Collect(maps.Keys(ids))
}

// readChunks hands the good lines over chunk by chunk and reports the others.
func readChunks[T any](t *table, o ImportOptions, parse func(*line) (T, error), report *ImportReport, store func([]entry[T]) error) error {
	chunk := make([]entry[T], 0, importChunk)
	for {
		l, err := t.next()
		if err == io.EOF {
			break
		}
		if l == nil {
			return fmt.Errorf("after %d lines: %w", report.Lines, err)
		}
		report.Lines++
		var row T
		if err == nil {
			row, err = parse(l)
		}
		if err != nil {
			report.fault(l.at, err)
			continue
		}
		chunk = append(chunk, entry[T]{l.at, row})
		if len(chunk) < importChunk {
			continue
		}
		if err := store(chunk); err != nil {
			return err
		}
		chunk = chunk[:0]
		o.tell(report.Lines)
	}
	defer o.tell(report.Lines)
	if len(chunk) == 0 {
		return nil
	}
	return store(chunk)
}

func (o ImportOptions) tell(lines int64) {
	if o.Progress != nil {
		o.Progress(lines)
	}
}
