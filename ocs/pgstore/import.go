package pgstore

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"gygate/ocs"
)

const (
	// FaultsMax bounds the faults a report lists; all are counted.
	FaultsMax = 1000
	// progressEvery is how many lines pass between two reports of progress.
	progressEvery = 1000
	// importCurrency is that of accounts whose line and options name none: EUR.
	importCurrency = 978
)

// ErrFaults says that an all-or-nothing import stored nothing because of the
// faults in its report.
var ErrFaults = errors.New("nothing imported: the file has faults")

// ImportOptions say how to import.
type ImportOptions struct {
	AllOrNothing bool             // store nothing if any line is at fault
	Currency     ocs.Currency     // of lines that name none; 0: EUR
	Progress     func(done int64) // told the lines read so far, may be nil
}

// ImportReport is what came of an import.
type ImportReport struct {
	Lines    int64   `json:"lines"`    // data lines read
	Imported int64   `json:"imported"` // accounts created
	Faulty   int64   `json:"faulty"`
	Faults   []Fault `json:"faults,omitempty"` // the first FaultsMax of them, by line
}

// Fault is a line that was not imported, and why.
type Fault struct {
	Line   int64  `json:"line"` // of the file, from 1
	Reason string `json:"reason"`
}

func (r *ImportReport) fault(line int64, reason string) {
	r.Faulty++
	if len(r.Faults) < FaultsMax {
		r.Faults = append(r.Faults, Fault{line, reason})
	}
}

// importColumns are the columns of an account file; those that are not optional
// come first.
var importColumns = [...]string{"msisdn", "balance", "imsi", "currency", "valid_until", "threshold"}

// importRequired is how many of importColumns a file must have.
const importRequired = 2

// ImportAccounts creates an account with one money balance for each line of a CSV
// file with a header. Columns: msisdn, balance (a decimal); optionally imsi,
// currency (ISO 4217 number), valid_until (a time of RFC 3339, or a day up to whose
// end, in UTC, the account is valid) and threshold (a decimal). Lines at fault are
// reported; the others are stored, all in one transaction, unless AllOrNothing and
// ErrFaults. A number that has an account already is a fault.
func (a *Admin) ImportAccounts(ctx context.Context, r io.Reader, opt ImportOptions) (ImportReport, error) {
	var report ImportReport
	source, err := newAccountSource(r, opt, &report)
	if err != nil {
		return report, fmt.Errorf("import accounts: %w", err)
	}
	err = pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		if err := stage(ctx, tx, source); err != nil {
			return err
		}
		if err := dropFaulty(ctx, tx, &report); err != nil {
			return err
		}
		slices.SortStableFunc(report.Faults, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
		if opt.AllOrNothing && report.Faulty > 0 {
			return ErrFaults
		}
		imported, err := insertStaged(ctx, tx)
		report.Imported = imported
		return err
	})
	if err != nil {
		report.Imported = 0
		return report, fmt.Errorf("import accounts: %w", err)
	}
	return report, nil
}

// stage copies the readable lines into a temporary table, as they are read.
func stage(ctx context.Context, tx pgx.Tx, source *accountSource) error {
	_, err := tx.Exec(ctx, `
		create temporary table import_line (
			line bigint, msisdn text, imsi text, balance bigint, currency integer, valid_until timestamptz, threshold bigint,
			id bigint default nextval('account_id')
		) on commit drop`)
	if err != nil {
		return err
	}
	columns := []string{"line", "msisdn", "imsi", "balance", "currency", "valid_until", "threshold"}
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{"import_line"}, columns, source); err != nil {
		return cmp.Or(source.err, err) // the server only tells that we broke off
	}
	_, err = tx.Exec(ctx, "analyze import_line")
	return err
}

// dropFaulty takes out the lines whose numbers stand in an earlier line or belong
// to an account, and reports them. From here on nobody else creates identities, so
// that the insert cannot fail on one; the engine, which only reads them, goes on.
func dropFaulty(ctx context.Context, tx pgx.Tx, report *ImportReport) error {
	for _, statement := range []string{
		"lock table identity in share row exclusive mode",
		`delete from import_line l using (select line, min(line) over (partition by msisdn) as first from import_line) d
		 where d.line = l.line and d.first < l.line returning l.line, 'msisdn ' || l.msisdn || ' stands in line ' || d.first || ' already'`,
		`delete from import_line l using (select line, min(line) over (partition by imsi) as first from import_line where imsi is not null) d
		 where d.line = l.line and d.first < l.line returning l.line, 'imsi ' || l.imsi || ' stands in line ' || d.first || ' already'`,
		`delete from import_line l using identity i where i.kind = 0 and i.value = l.msisdn
		 returning l.line, 'msisdn ' || l.msisdn || ' has an account already'`,
		`delete from import_line l using identity i where i.kind = 1 and i.value = l.imsi
		 returning l.line, 'imsi ' || l.imsi || ' has an account already'`,
	} {
		rows, err := tx.Query(ctx, statement)
		if err != nil {
			return err
		}
		var line int64
		var reason string
		if _, err := pgx.ForEachRow(rows, []any{&line, &reason}, func() error { report.fault(line, reason); return nil }); err != nil {
			return err
		}
	}
	return nil
}

// insertStaged creates the accounts in sets and returns how many there are.
func insertStaged(ctx context.Context, tx pgx.Tx) (int64, error) {
	tag, err := tx.Exec(ctx, `
		insert into account (bucket, id, currency, valid_until, threshold)
		select account_bucket(id), id, currency, valid_until, threshold from import_line order by line`)
	if err != nil {
		return 0, err
	}
	for _, statement := range []string{`
		insert into identity (kind, value, bucket, account)
		select 0, msisdn, account_bucket(id), id from import_line
		union all select 1, imsi, account_bucket(id), id from import_line where imsi is not null`, `
		with opened as (
			insert into balance (bucket, account, unit, amount) select account_bucket(id), id, 4, balance from import_line
			returning bucket, account, id, amount)
		insert into journal (bucket, account, at, balance, kind, sub, type, number, target, rating_group, used,
		       debited, refunded, reserved, credited, overrun, amount_after, frozen_after, credit_source)
		select bucket, account, clock_timestamp(), id, 'credit', 0, 0, 0, '', 0, 0, 0, 0, 0, amount, 0, amount, 0, 'opening'
		from opened where amount > 0`,
	} {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return 0, err
		}
	}
	return tag.RowsAffected(), nil
}

// accountSource reads the lines of an account file, and is the source of the copy:
// it stops only at the end of the file, and reports what it cannot use.
type accountSource struct {
	csv    *csv.Reader
	column [len(importColumns)]int // where each of importColumns stands, -1: nowhere
	opt    ImportOptions
	report *ImportReport
	row    []any
	err    error
}

func newAccountSource(r io.Reader, opt ImportOptions, report *ImportReport) (*accountSource, error) {
	if opt.Currency == 0 {
		opt.Currency = importCurrency
	}
	s := &accountSource{csv: csv.NewReader(r), opt: opt, report: report}
	s.csv.ReuseRecord, s.csv.TrimLeadingSpace = true, true
	header, err := s.csv.Read()
	if err != nil {
		return nil, fmt.Errorf("line 1: read the header: %w", err)
	}
	for i, name := range importColumns {
		s.column[i] = slices.IndexFunc(header, func(h string) bool { return columnName(h) == name })
		if s.column[i] < 0 && i < importRequired {
			return nil, fmt.Errorf("line 1: column %s is missing; a file has at least %s", name, strings.Join(importColumns[:importRequired], ", "))
		}
	}
	for _, h := range header {
		if !slices.Contains(importColumns[:], columnName(h)) {
			return nil, fmt.Errorf("line 1: column %q is not known; known are %s", h, strings.Join(importColumns[:], ", "))
		}
	}
	return s, nil
}

// columnName folds a heading; spreadsheets put a byte order mark before the first.
func columnName(heading string) string {
	return strings.ToLower(strings.TrimSpace(strings.TrimPrefix(heading, "\uFEFF")))
}

// Next implements pgx.CopyFromSource.
func (s *accountSource) Next() bool {
	for {
		fields, err := s.csv.Read()
		var broken *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			return false
		case errors.As(err, &broken):
			s.read()
			s.report.fault(int64(broken.Line), broken.Err.Error())
			continue
		case err != nil:
			s.err = err
			return false
		}
		s.read()
		line, _ := s.csv.FieldPos(0)
		if s.row, err = s.parse(int64(line), fields); err == nil {
			return true
		}
		s.report.fault(int64(line), err.Error())
	}
}

// read counts a line and tells the progress.
func (s *accountSource) read() {
	s.report.Lines++
	if s.opt.Progress != nil && s.report.Lines%progressEvery == 0 {
		s.opt.Progress(s.report.Lines)
	}
}

// Values implements pgx.CopyFromSource.
func (s *accountSource) Values() ([]any, error) { return s.row, nil }

// Err implements pgx.CopyFromSource.
func (s *accountSource) Err() error { return s.err }

// parse checks a line and brings it into the order of stage's columns.
func (s *accountSource) parse(line int64, fields []string) ([]any, error) {
	var value [len(importColumns)]string
	for i, at := range s.column {
		if at >= 0 {
			value[i] = strings.Clone(strings.TrimSpace(fields[at])) // the record is reused
		}
	}
	msisdn, ok := ocs.NormalizeIdentity(ocs.E164, value[0])
	if !ok {
		return nil, fmt.Errorf("msisdn %q is no E.164 number", value[0])
	}
	balance, err := parseAmount("balance", value[1])
	if err != nil {
		return nil, err
	}
	var imsi *string
	if value[2] != "" {
		id, ok := ocs.NormalizeIdentity(ocs.IMSI, value[2])
		if !ok {
			return nil, fmt.Errorf("imsi %q is no IMSI", value[2])
		}
		imsi = &id.Value
	}
	currency, err := parseCurrency(value[3], s.opt.Currency)
	if err != nil {
		return nil, err
	}
	until, err := parseUntil(value[4])
	if err != nil {
		return nil, err
	}
	threshold := int64(0)
	if value[5] != "" {
		if threshold, err = parseAmount("threshold", value[5]); err != nil {
			return nil, err
		}
	}
	return []any{line, msisdn.Value, imsi, balance, int32(currency), until, threshold}, nil
}

func parseAmount(column, text string) (int64, error) {
	m, err := ocs.ParseMoney(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", column, err)
	}
	if m < 0 {
		return 0, fmt.Errorf("%s %s is negative", column, text)
	}
	return int64(m), nil
}

func parseCurrency(text string, otherwise ocs.Currency) (ocs.Currency, error) {
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n < 1 || n > 999 {
		return 0, fmt.Errorf("currency %q is no ISO 4217 number, such as 978", text)
	}
	return ocs.Currency(n), nil
}

// parseUntil reads an exclusive end: a time, or the end of a day in UTC.
func parseUntil(text string) (*time.Time, error) {
	if text == "" {
		return nil, nil
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		end := day.AddDate(0, 0, 1)
		return &end, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, fmt.Errorf("valid_until %q is neither a day (2026-12-31) nor a time of RFC 3339", text)
	}
	return &t, nil
}
