package pgstore

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"gygate/ocs"
)

// TariffLinesMax bounds a tariff file: every engine keeps the tariff in memory.
const TariffLinesMax = 200_000

// Tariff loads the prices and service contexts as an immutable snapshot.
func (a *Admin) Tariff(ctx context.Context) (*ocs.Tariff, error) {
	var t *ocs.Tariff
	err := pgx.BeginTxFunc(ctx, a.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) (err error) {
		t, err = loadTariff(ctx, tx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("tariff: %w", err)
	}
	return t, nil
}

// TariffVersion rises with every change of prices or contexts, so that a poll need
// not load them.
func (a *Admin) TariffVersion(ctx context.Context) (version int64, err error) {
	if err := a.pool.QueryRow(ctx, "select tariff_version from meta").Scan(&version); err != nil {
		return 0, fmt.Errorf("tariff version: %w", err)
	}
	return version, nil
}

// ListTariff lists all versions of all prices.
func (a *Admin) ListTariff(ctx context.Context) ([]ocs.TariffEntry, error) {
	t, err := a.Tariff(ctx)
	if err != nil {
		return nil, err
	}
	return t.Entries(), nil
}

func loadTariff(ctx context.Context, tx pgx.Tx) (*ocs.Tariff, error) {
	rows, err := tx.Query(ctx, `
		select id, version, service, rating_group, prefix, unit, currency, fee, minimum, first, following, price, per, bands, zone, valid_from
		from tariff_entry`)
	if err != nil {
		return nil, err
	}
	entries, err := pgx.CollectRows(rows, scanTariffEntry)
	if err != nil {
		return nil, err
	}
	rows, err = tx.Query(ctx, "select "+contextColumns+" from service_context")
	if err != nil {
		return nil, err
	}
	contexts, err := pgx.CollectRows(rows, scanServiceContext)
	if err != nil {
		return nil, err
	}
	return ocs.NewTariff(entries, contexts)
}

const contextColumns = "name, default_rating_group, unit, item_refusals, validity_seconds, supervision_seconds, options"

func scanTariffEntry(row pgx.CollectableRow) (e ocs.TariffEntry, err error) {
	var bands []byte
	var from *time.Time
	err = row.Scan(&e.ID, &e.Version, &e.Service, &e.RatingGroup, &e.Prefix, &e.Unit, &e.Currency, &e.Fee, &e.Minimum,
		&e.First, &e.Following, &e.Price, &e.Per, &bands, &e.Zone, &from)
	if err == nil && bands != nil {
		err = json.Unmarshal(bands, &e.Bands)
	}
	e.ValidFrom = timeOf(from)
	return e, err
}

func scanServiceContext(row pgx.CollectableRow) (c ocs.ServiceContext, err error) {
	var validity, supervision int64
	var options []byte
	err = row.Scan(&c.Name, &c.DefaultRatingGroup, &c.Unit, &c.ItemRefusals, &validity, &supervision, &options)
	if err == nil {
		err = json.Unmarshal(options, &c.ServiceOptions)
	}
	c.Validity, c.Supervision = time.Duration(validity)*time.Second, time.Duration(supervision)*time.Second
	return c, err
}

// PutTariff adds prices. A version that is there already must be the same: running
// sessions are pinned to it, so a change of price is a new version. All prices
// together must make a tariff (ocs.NewTariff). The clients of open sessions of the
// services concerned are asked to come back (see TellClients).
func (a *Admin) PutTariff(ctx context.Context, entries []ocs.TariffEntry) error {
	err := a.changeTariff(ctx, func(tx pgx.Tx) (changed []string, err error) {
		var faults []error
		for i := range entries {
			inForce, err := putEntry(ctx, tx, &entries[i])
			if inForce {
				changed = append(changed, entries[i].Service)
			}
			faults = append(faults, err)
		}
		return changed, errors.Join(faults...)
	})
	if err != nil {
		return fmt.Errorf("tariff: %w", err)
	}
	return nil
}

// ServiceContexts lists the services, by name.
func (a *Admin) ServiceContexts(ctx context.Context) ([]ocs.ServiceContext, error) {
	rows, err := a.pool.Query(ctx, "select "+contextColumns+" from service_context order by name")
	if err != nil {
		return nil, fmt.Errorf("service contexts: %w", err)
	}
	contexts, err := pgx.CollectRows(rows, scanServiceContext)
	if err != nil {
		return nil, fmt.Errorf("service contexts: %w", err)
	}
	return contexts, nil
}

// PutServiceContext adds or replaces a service context. When that changes one, the
// clients of its open sessions are asked to come back (see TellClients).
func (a *Admin) PutServiceContext(ctx context.Context, c ocs.ServiceContext) error {
	err := a.changeTariff(ctx, func(tx pgx.Tx) ([]string, error) { return putContext(ctx, tx, c) })
	if err != nil {
		return fmt.Errorf("change services: %w", err)
	}
	return nil
}

// putContext returns the service's name when the row is not what it was.
func putContext(ctx context.Context, tx pgx.Tx, c ocs.ServiceContext) (changed []string, err error) {
	options, err := json.Marshal(c.ServiceOptions)
	if err != nil {
		return nil, err
	}
	tag, err := tx.Exec(ctx, `
		insert into service_context as c (`+contextColumns+`) values ($1, $2, $3, $4, $5, $6, $7)
		on conflict (name) do update set default_rating_group = excluded.default_rating_group, unit = excluded.unit,
		   item_refusals = excluded.item_refusals, validity_seconds = excluded.validity_seconds,
		   supervision_seconds = excluded.supervision_seconds, options = excluded.options
		where c is distinct from excluded`,
		c.Name, int64(c.DefaultRatingGroup), int16(c.Unit), c.ItemRefusals, int64(c.Validity/time.Second), int64(c.Supervision/time.Second), options)
	switch {
	case err != nil:
		return nil, fmt.Errorf("service context %s: %w", c.Name, err)
	case tag.RowsAffected() == 0:
		return nil, nil
	}
	return []string{c.Name}, nil
}

// TellClients says whether changes of prices and services ask the clients of open
// sessions to come back; they do unless switched off. On a big network with many
// sessions that can be a burst of requests. It returns an Admin that does so.
func (a *Admin) TellClients(tell bool) *Admin {
	return &Admin{pool: a.pool, quietTariff: !tell}
}

// changeTariff changes and then loads the whole tariff, so that a change it does
// not survive is not committed. The row of meta makes changes come one by one.
// change returns the services for which something is different now.
func (a *Admin) changeTariff(ctx context.Context, change func(pgx.Tx) (services []string, err error)) error {
	return pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "update meta set tariff_version = tariff_version + 1"); err != nil {
			return err
		}
		services, err := change(tx)
		if err != nil {
			return err
		}
		if _, err := loadTariff(ctx, tx); err != nil {
			return err
		}
		if a.quietTariff || len(services) == 0 {
			return nil
		}
		if slices.Contains(services, ocs.AnyService) {
			services = nil
		}
		return raiseTariff(ctx, tx, services)
	})
}

// putEntry reports whether the price is new and in force.
func putEntry(ctx context.Context, tx pgx.Tx, e *ocs.TariffEntry) (inForce bool, err error) {
	var bands []byte
	if len(e.Bands) > 0 {
		if bands, err = json.Marshal(e.Bands); err != nil {
			return false, err
		}
	}
	// The conflicting row is updated only when it is the same, so that one that
	// differs shows as no row; a row that was inserted has no deleter.
	err = tx.QueryRow(ctx, `
		insert into tariff_entry as t (id, version, service, rating_group, prefix, unit, currency, fee, minimum, first, following, price, per, bands, zone, valid_from)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
		on conflict (id, version) do update set zone = excluded.zone where t is not distinct from excluded
		returning xmax = 0 and coalesce(valid_from <= now(), true)`,
		e.ID, e.Version, e.Service, int64(e.RatingGroup), e.Prefix, int16(e.Unit), int32(e.Currency), int64(e.Fee), int64(e.Minimum),
		e.First, e.Following, int64(e.Price), e.Per, bands, e.Zone, nullable(e.ValidFrom)).Scan(&inForce)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, fmt.Errorf("%w: %s version %d is there with another content: give the change a new version", ErrInput, e.ID, e.Version)
	}
	if err != nil {
		return false, fmt.Errorf("%s version %d: %w", e.ID, e.Version, err)
	}
	return inForce, nil
}

// tariffColumns are the columns of a tariff file; the first tariffRequired must be
// there.
var tariffColumns = []string{"id", "rating_group", "unit", "currency", "price",
	"version", "service", "prefix", "fee", "minimum", "first", "following", "per", "bands", "zone", "valid_from"}

const tariffRequired = 5

// ImportTariff adds the prices of a CSV file with a header, all or none. Columns:
// id, rating_group, unit (seconds, octets, events), currency (ISO 4217 number) and
// price (a decimal); optionally version (1), service (*), prefix, fee, minimum,
// first, following, per (1), zone (IANA; UTC), valid_from (a day or a time of RFC
// 3339) and bands, which are prices by the clock: "sat,sun 00:00-24:00 0.10;
// 2026-12-25 00:00-24:00 0.10; 18:00-24:00 0.20". The error names every line at
// fault.
func (a *Admin) ImportTariff(ctx context.Context, r io.Reader) error {
	entries, err := readTariff(r)
	if err != nil {
		return fmt.Errorf("import tariff: %w", err)
	}
	return a.PutTariff(ctx, entries)
}

func readTariff(r io.Reader) ([]ocs.TariffEntry, error) {
	reader := csv.NewReader(r)
	reader.TrimLeadingSpace = true
	header, err := reader.Read()
	if err != nil {
		return nil, fmt.Errorf("line 1: read the header: %w", err)
	}
	for i := range header {
		if header[i] = columnName(header[i]); !slices.Contains(tariffColumns, header[i]) {
			return nil, fmt.Errorf("line 1: column %q is not known; known are %s", header[i], strings.Join(tariffColumns, ", "))
		}
	}
	for _, name := range tariffColumns[:tariffRequired] {
		if !slices.Contains(header, name) {
			return nil, fmt.Errorf("line 1: column %s is missing", name)
		}
	}
	var entries []ocs.TariffEntry
	var faults []error
	for {
		fields, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return entries, errors.Join(faults...)
		}
		if len(entries)+len(faults) >= TariffLinesMax {
			return nil, fmt.Errorf("%w: more than %d prices", ErrInput, TariffLinesMax)
		}
		line, _ := reader.FieldPos(0)
		if err != nil && !errors.Is(err, csv.ErrFieldCount) {
			return nil, err // says its line; nothing after it can be read for sure
		}
		var e ocs.TariffEntry
		if err == nil {
			e, err = parseTariffLine(header, fields)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("line %d: %w", line, err))
			continue
		}
		entries = append(entries, e)
	}
}

func parseTariffLine(header, fields []string) (ocs.TariffEntry, error) {
	e := ocs.TariffEntry{Version: 1, Service: ocs.AnyService, First: 1, Following: 1, Per: 1}
	var faults []error
	for i, name := range header {
		text := strings.TrimSpace(fields[i])
		if text == "" && !slices.Contains(tariffColumns[:tariffRequired], name) {
			continue
		}
		if err := setTariffField(&e, name, text); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", name, err))
		}
	}
	return e, errors.Join(faults...)
}

func setTariffField(e *ocs.TariffEntry, name, text string) (err error) {
	switch name {
	case "id":
		e.ID = text
	case "version":
		e.Version, err = positive[int](text, math.MaxInt32)
	case "service":
		e.Service = text
	case "rating_group":
		n, bad := strconv.ParseUint(text, 10, 32)
		if bad != nil {
			return fmt.Errorf("%q is no whole number from 0 to %d", text, uint32(math.MaxUint32))
		}
		e.RatingGroup = uint32(n)
	case "prefix":
		e.Prefix = text
	case "unit":
		e.Unit, err = ParseUnit(text)
	case "currency":
		if text == "" {
			return errors.New("is missing")
		}
		e.Currency, err = parseCurrency(text, 0)
	case "fee":
		e.Fee, err = ocs.ParseMoney(text)
	case "minimum":
		e.Minimum, err = ocs.ParseMoney(text)
	case "price":
		e.Price, err = ocs.ParseMoney(text)
	case "first":
		e.First, err = positive[int64](text, math.MaxInt64)
	case "following":
		e.Following, err = positive[int64](text, math.MaxInt64)
	case "per":
		e.Per, err = positive[int64](text, math.MaxInt64)
	case "bands":
		e.Bands, err = parseBands(text)
	case "zone":
		e.Zone = text
	case "valid_from":
		if e.ValidFrom, err = time.Parse(time.DateOnly, text); err != nil {
			e.ValidFrom, err = time.Parse(time.RFC3339, text)
		}
		if err != nil {
			return fmt.Errorf("%q is neither a day (2026-12-31) nor a time of RFC 3339", text)
		}
	}
	return err
}

func positive[T int | int64](text string, limit T) (T, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 || n > int64(limit) {
		return 0, fmt.Errorf("%q is no whole number above zero", text)
	}
	return T(n), nil
}

// ParseUnit reads the name of a unit that is not money.
func ParseUnit(text string) (ocs.UnitKind, error) {
	kind, ok := ocs.ParseUnitKind(text)
	if !ok || kind == ocs.Amount {
		return 0, fmt.Errorf("%q is not seconds, octets or events", text)
	}
	return kind, nil
}

// parseBands reads "[days|dates] from-until price; …".
func parseBands(text string) (bands []ocs.Band, err error) {
	for part := range strings.SplitSeq(text, ";") {
		words := strings.Fields(part)
		if len(words) < 2 || len(words) > 3 {
			return nil, fmt.Errorf("band %q: want [days] from-until price", strings.TrimSpace(part))
		}
		var b ocs.Band
		if len(words) == 3 {
			if err := parseDays(&b, words[0]); err != nil {
				return nil, err
			}
		}
		from, until, found := strings.Cut(words[len(words)-2], "-")
		if b.From, err = parseClock(from); err == nil && found {
			b.Until, err = parseClock(until)
		}
		if err != nil || !found {
			return nil, fmt.Errorf("band %q: %q is not from-until, such as 18:00-24:00", strings.TrimSpace(part), words[len(words)-2])
		}
		if b.Price, err = ocs.ParseMoney(words[len(words)-1]); err != nil {
			return nil, err
		}
		bands = append(bands, b)
	}
	return bands, nil
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} // as time.Weekday counts

// parseDays reads a list of weekdays or of dates.
func parseDays(b *ocs.Band, text string) error {
	for day := range strings.SplitSeq(text, ",") {
		if n := slices.Index(weekdays, strings.ToLower(day)); n >= 0 {
			b.Days = append(b.Days, time.Weekday(n))
			continue
		}
		if _, err := time.Parse(time.DateOnly, day); err != nil {
			return fmt.Errorf("%q is neither a weekday (mon) nor a date (2026-12-25)", day)
		}
		b.Dates = append(b.Dates, day)
	}
	return nil
}

// parseClock reads a local time of day, 00:00 to 24:00.
func parseClock(text string) (time.Duration, error) {
	if text == "24:00" {
		return 24 * time.Hour, nil
	}
	t, err := time.Parse("15:04", text)
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, err
}
