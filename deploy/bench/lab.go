package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"gygate/cmd/gygate/load"
	"gygate/cmd/gygate/sample"
	"gygate/deploy/interop/harness"
	"gygate/ocs"
	"gygate/ocs/pgstore"
	"gygate/vpnlogic"
)

const (
	clientHost = "load.bench.example" // Origin-Host of the generators; the second one has -2
	realm      = "gygate.example"
	balance    = "1000000.00" // of an account: it never runs out
	used       = 50           // seconds a report
	wish       = 60           // seconds a request
	updates    = 2
	perSession = updates + 2

	subscribers = 10_000
	firstSmall  = "493000000000"
	firstBig    = "494000000000"
	firstInside = "495000000000"
)

// lab is the database, the gateway beside it, and what is measured of them.
type lab struct {
	plan   plan
	bin    string
	db     *harness.Database
	pool   *pgxpool.Pool
	admin  *pgstore.Admin
	gate   *harness.Gygate
	peer   *harness.Gygate // a second gateway, while there is one
	meter  *meter
	report *report
}

// newLab starts a database with accounts and tariff, and a gateway on it.
func newLab(ctx context.Context, p plan, bin string, r *report) (l *lab, err error) {
	l = &lab{plan: p, bin: bin, report: r}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if l.db, err = harness.NewDatabase(ctx); err != nil {
		return l, err
	}
	if l.gate, err = l.newGateway("ocs.gygate.example"); err != nil {
		return l, err
	}
	if l.pool, err = pgxpool.New(ctx, l.db.DSN); err != nil {
		return l, err
	}
	l.admin = pgstore.NewAdmin(l.pool)
	for _, c := range []load.Config{l.config(), l.inside()} {
		if _, err = load.MakeAccounts(ctx, l.pool, &c, balance, sample.EUR); err != nil {
			return l, err
		}
	}
	if err = l.admin.PutTariff(ctx, sample.Tariff()); err != nil {
		return l, err
	}
	if err = errors.Join(l.settle(ctx), l.breakIn(ctx)); err != nil {
		return l, err
	}
	if r.Settings, err = readSettings(ctx, l.pool); err != nil {
		return l, err
	}
	if l.meter, err = newMeter(ctx, l); err != nil {
		return l, err
	}
	return l, l.gate.Start(ctx)
}

// inside is the load of limit and engine, which run in this program: on accounts of
// their own, or the gateway would find each time that all it knows is stale.
func (l *lab) inside() load.Config {
	c := l.config()
	c.First = firstInside
	return c
}

// settle sets the database up for short measurements. Autovacuum would fall into some of
// them and not into others: it is off, and tidy does its work in between. The long run
// has it on.
func (l *lab) settle(ctx context.Context) error {
	return l.execute(ctx, "alter system set track_wal_io_timing = on", "alter system set autovacuum = off", "select pg_reload_conf()",
		"select pg_sleep(1.1)") // PostgreSQL's counters of the import are reported within a second
}

// breakIn brings the database into the state of one that is in use.
func (l *lab) breakIn(ctx context.Context) error { return l.execute(ctx, usedSegments, "checkpoint") }

// usedSegments has the database fill as many segments of its write-ahead log as it
// keeps to use again (min_wal_size), as one that has worked for some minutes has. While
// it makes a new one, 16 MB of zeros and an fsync, nothing commits.
const usedSegments = `do $$ begin
	for i in 1 .. pg_size_bytes(current_setting('min_wal_size')) / pg_size_bytes(current_setting('wal_segment_size')) loop
		perform pg_logical_emit_message(false, 'gygate bench', '');
		perform pg_switch_wal();
	end loop;
end $$`

// checkpointDue is how much WAL makes tidy write a checkpoint, in octets: PostgreSQL
// begins one of its own at about twice as much.
const checkpointDue = 1 << 30

// tidy vacuums what charging updates, and writes a checkpoint when one would otherwise
// begin within the measurements that follow. It does so seldom: after each, every page
// is logged whole once.
func (l *lab) tidy(ctx context.Context) error {
	if err := l.execute(ctx, "vacuum (analyze) account", "vacuum (analyze) balance", "vacuum (analyze) session"); err != nil {
		return err
	}
	var written int64
	err := l.pool.QueryRow(ctx, "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), redo_lsn)::bigint from pg_control_checkpoint()").Scan(&written)
	if err != nil || written < checkpointDue {
		return err
	}
	return l.execute(ctx, "checkpoint")
}

func (l *lab) execute(ctx context.Context, statements ...string) error {
	for _, statement := range statements {
		if _, err := l.pool.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// newGateway prepares a gateway of role ocs on the database.
func (l *lab) newGateway(host string) (*harness.Gygate, error) {
	ports, err := harness.FreePorts()
	if err != nil {
		return nil, err
	}
	config := fmt.Sprintf(`
node: {ocs: {host: %s, realm: %s}}
database: {dsn: %q}
diameter:
  listen: ["127.0.0.1:%d"]
  peers:
    - {host: load.bench.example, addresses: ["127.0.0.0/8"]}
    - {host: load-2.bench.example, addresses: ["127.0.0.0/8"]}
http: {listen: "127.0.0.1:%d"}
ocs: {policy: {clock_tolerance: 24h}}
telemetry: {log_level: warn}
`, host, realm, l.db.DSN, ports.Diameter, ports.HTTP)
	g, err := harness.New(l.bin, "bench", config, ports)
	if g != nil {
		g.Role = "ocs"
	}
	return g, err
}

func (l *lab) close() error {
	var errs []error
	for _, g := range []*harness.Gygate{l.peer, l.gate} {
		if g != nil {
			errs = append(errs, g.Stop(), g.Remove())
		}
	}
	if l.pool != nil {
		l.pool.Close()
	}
	if l.db != nil {
		errs = append(errs, l.db.Close())
	}
	return errors.Join(errs...)
}

// config is the load of a measurement; what is special the caller changes.
func (l *lab) config() load.Config {
	return load.Config{
		Host: clientHost, Realm: realm, Updates: updates, First: firstSmall, Subscribers: subscribers,
		Called: string(sample.Outside), RatingGroup: vpnlogic.RatingOnNet, Seconds: wish, Used: used,
		Duration: l.plan.warmup + l.plan.window, Warmup: l.plan.warmup, InFlight: 256, Connections: 1,
	}
}

// target is where a gateway answers Diameter.
func target(g *harness.Gygate) string { return fmt.Sprintf("127.0.0.1:%d", g.Ports.Diameter) }

// generate runs `gygate load` as a process of its own, without a database: the lab
// compares the books itself, after it has read its meters.
func (l *lab) generate(ctx context.Context, g *harness.Gygate, c load.Config) (*load.Report, error) {
	args := []string{"load", "--json", "--quiet", "--data", g.Dir, "--target", target(g), "--origin-host", c.Host, "--realm", c.Realm,
		"--destination-realm", realm, "--first", c.First, "--called", c.Called, "--pick", string(orUniform(c.Pick)), "--mode", string(orSessions(c.Mode))}
	for name, value := range map[string]any{
		"connections": c.Connections, "updates": c.Updates, "sessions": c.InFlight, "subscribers": c.Subscribers, "units": c.Seconds,
		"used": c.Used, "dup": c.Repeats, "duration": c.Duration, "warmup": c.Warmup, "requests": c.Requests, "rating-group": c.RatingGroup,
	} {
		args = append(args, fmt.Sprintf("--%s=%v", name, value))
	}
	cmd := exec.CommandContext(ctx, g.Bin, args...)
	cmd.WaitDelay = time.Minute
	cmd.Cancel = func() error { return nil } // it gets the Ctrl-C, too, and ends in order
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, failed := cmd.Output()
	r := new(load.Report)
	if err := json.Unmarshal(out, r); err != nil {
		return nil, errors.Join(failed, err, errors.New(complaints.String()))
	}
	if failed != nil {
		failed = errors.New(strings.TrimSpace(complaints.String()))
	}
	return r, failed
}

func orUniform(p load.Pick) load.Pick {
	if p == "" {
		return load.Uniform
	}
	return p
}

func orSessions(m load.Mode) load.Mode {
	if m == "" {
		return load.Sessions
	}
	return m
}

// books are the accounts before a measurement.
type books struct {
	lab    *lab
	config load.Config
	before load.Holdings
}

func (l *lab) open(ctx context.Context, c load.Config) (*books, error) {
	if err := l.tidy(ctx); err != nil {
		return nil, err
	}
	h, err := load.HoldingsOf(ctx, l.pool, &c)
	return &books{l, c, h}, err
}

// check compares what the accounts have paid with what the answers say; "" when they
// agree.
func (b *books) check(ctx context.Context, answered ocs.Money) (string, error) {
	after, err := load.HoldingsOf(ctx, b.lab.pool, &b.config)
	if err != nil {
		return "", err
	}
	if paid := after.PaidSince(b.before); paid != answered {
		return fmt.Sprintf("the accounts paid %s, the answers say %s", paid, answered), nil
	}
	return "", nil
}

// verify verifies all books, once everything is measured.
func (l *lab) verify(ctx context.Context) error {
	verdict, err := l.admin.Verify(ctx)
	if err != nil {
		return err
	}
	l.report.fact("verify", "verify: %d accounts, %d sessions, %d journal rows: %d violations", verdict.Accounts, verdict.Sessions, verdict.Journal, verdict.Found)
	if !verdict.OK() {
		return fmt.Errorf("the books do not add up: %d violations, the first: %s; measure the parts one by one (-only) to find the one", verdict.Found, verdict.Violations[0])
	}
	return nil
}
