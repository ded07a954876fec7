package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"gygate/cmd/gygate/config"
	"gygate/diameter/gy"
	"gygate/ocs"
	"gygate/ocs/pgstore"
	"gygate/sql/localpg"
	"gygate/vpnlogic"
)

// Role says which half of a gygate a process is.
type Role string

// The roles.
const (
	RoleAll Role = "all" // charging system and VPN logic, with Diameter between them
	RoleOCS Role = "ocs" // charging system alone
	RoleVPN Role = "vpn" // VPN logic alone, charging at charging.servers
)

// Options are what a Main needs besides its configuration.
type Options struct {
	Role     Role
	Data     string            // folder of the embedded database
	Logger   *slog.Logger      // required
	Metrics  http.Handler      // serves /metrics, may be nil
	Observer vpnlogic.Observer // sees the calls, may be nil
	Say      io.Writer         // what a person should know, may be nil
	// Ephemeral says that the data folder goes with the process: the embedded
	// database then does, too, even when the process is killed.
	Ephemeral bool
}

// graceMargin is what a part has beyond the calls' own drain time.
const graceMargin = 10 * time.Second

// Main is a whole gygate: New wires it and binds its ports, Run serves, Close
// gives back what New took. Tests build the same Main.
type Main struct {
	cfg    *config.Config
	opt    Options
	books  *books
	admin  *pgstore.Admin
	parts  parts
	checks []check
	closes []func() error
	ran    bool

	engine       *ocs.Engine     // nil in role vpn
	tariff       *tariffSnapshot // likewise
	diameterAddr net.Addr        // of the first plain listener; nil without one
	plainAddrs   []net.Addr      // of the listeners without TLS
	secureAddrs  []net.Addr      // of those with TLS
	sctpAddrs    []net.Addr      // of those over SCTP
	profiles     map[string]gy.Profile
	calls        *vpnSide // nil in role ocs
	httpListener net.Listener
}

// New opens the database, wires the parts of the role and binds every port. A
// taken port is named together with the setting that moves it. After an error
// nothing is left open.
func New(ctx context.Context, cfg *config.Config, opt Options) (*Main, error) {
	if opt.Metrics == nil {
		opt.Metrics = http.NotFoundHandler()
	}
	if opt.Say == nil {
		opt.Say = io.Discard
	}
	m := &Main{cfg: cfg, opt: opt, profiles: profiles(cfg.Diameter.Peers), parts: parts{grace: cfg.SIP.Drain + graceMargin, logger: opt.Logger}}
	if err := m.wire(ctx); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func (m *Main) wire(ctx context.Context) error {
	if err := m.openDatabase(ctx); err != nil {
		return err
	}
	if err := m.listenHTTP(); err != nil {
		return err
	}
	if m.opt.Role != RoleVPN {
		if err := m.wireOCS(ctx); err != nil {
			return err
		}
	}
	if m.opt.Role != RoleOCS {
		return m.wireVPN(ctx)
	}
	return nil
}

// openDatabase connects to the configured database, or starts the embedded one.
func (m *Main) openDatabase(ctx context.Context) error {
	var err error
	if dsn := m.cfg.Database.DSN; dsn != "" {
		m.books, err = connectBooks(ctx, dsn)
	} else {
		m.books, err = startBooks(ctx, localpg.Options{
			DataDir: postgresFolder(m.opt.Data), Port: m.cfg.Database.Embedded.Port,
			DieWithOwner: m.opt.Ephemeral, Logger: m.opt.Logger,
		}, m.opt.Say, migrateAndDial)
	}
	if err != nil {
		return err
	}
	m.closes = append(m.closes, m.books.close)
	m.admin = pgstore.NewAdmin(m.books.pool)
	m.checks = append(m.checks, check{"database", m.books.pool.Ping})
	if m.books.server != nil {
		m.parts.add(part{name: "embedded PostgreSQL", run: m.watchServer})
	}
	return nil
}

// watchServer ends the gygate when its embedded database has ended by itself:
// nothing could be charged any more, and a restart is the remedy.
func (m *Main) watchServer(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-m.books.server.Done():
		return fmt.Errorf("it ended by itself; its log is in %s", postgresFolder(m.opt.Data))
	}
}

// listenHTTP binds the operator's port first, so that a probe sees the start.
func (m *Main) listenHTTP() error {
	if m.cfg.HTTP.Listen == "" {
		return nil
	}
	l, err := listen(m.cfg.HTTP.Listen, "http.listen")
	if err != nil {
		return err
	}
	m.httpListener = l
	m.closes = append(m.closes, func() error { return ignoreClosed(l.Close()) })
	// The mux is made when serving begins: then all checks are known.
	server := &http.Server{ReadHeaderTimeout: readyTimeout, ErrorLog: slog.NewLogLogger(m.opt.Logger.Handler(), slog.LevelWarn)}
	m.parts.add(part{
		name: "HTTP",
		run: func(context.Context) error {
			server.Handler = newOperatorMux(m.opt.Metrics, m.checks)
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		},
		stop: server.Shutdown,
	})
	return nil
}

// listen binds a TCP port; a failure names the setting that moves it.
func listen(address, setting string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, exitWith(exitUnreachable, fmt.Errorf("cannot listen on %s: stop what uses it, or set %s to a free address in the --config file: %w", address, setting, err))
	}
	return l, nil
}

// ignoreClosed forgets that something was closed before, by its server.
func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Run serves until ctx ends and everything is wound down: new calls refused,
// calls released and charged, peers told, steps answered.
func (m *Main) Run(ctx context.Context) error {
	m.ran = true
	return m.parts.run(ctx)
}

// Ready waits until every readiness check passes.
func (m *Main) Ready(ctx context.Context) error {
	for {
		waiting := m.notReady(ctx)
		if waiting == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", waiting)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (m *Main) notReady(ctx context.Context) error {
	for _, c := range m.checks {
		if err := c.ask(ctx); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

// reload reads tariff and directory now, instead of at their next poll.
func (m *Main) reload(ctx context.Context) error {
	var errs []error
	if m.tariff != nil {
		errs = append(errs, m.tariff.reload(ctx))
	}
	if m.calls != nil {
		errs = append(errs, m.calls.directory.Reload(ctx))
	}
	return errors.Join(errs...)
}

// Close gives back ports and database, in the reverse order of New. Call it
// after Run.
func (m *Main) Close() error {
	var errs []error
	for i := len(m.closes) - 1; i >= 0; i-- {
		errs = append(errs, m.closes[i]())
	}
	m.closes = nil
	return errors.Join(errs...)
}

// WriteAddresses tells what runs and where.
func (m *Main) WriteAddresses(w io.Writer) {
	fmt.Fprintf(w, "gygate %s, role %s\n", versionText(), m.opt.Role)
	where := config.MaskDSN(m.books.dsn)
	if m.books.server != nil {
		where = "embedded PostgreSQL in " + postgresFolder(m.opt.Data)
	}
	fmt.Fprintf(w, "  database   %s\n", where)
	for _, a := range m.plainAddrs {
		fmt.Fprintf(w, "  Diameter   %s (%s)\n", a, m.cfg.Node.OCS.Host)
	}
	for _, a := range m.secureAddrs {
		fmt.Fprintf(w, "  Diameter   %s TLS (%s)\n", a, m.cfg.Node.OCS.Host)
	}
	for _, a := range m.sctpAddrs {
		fmt.Fprintf(w, "  Diameter   %s SCTP (%s)\n", a, m.cfg.Node.OCS.Host)
	}
	if m.calls != nil {
		for _, e := range m.calls.gateway.Addrs() {
			fmt.Fprintf(w, "  SIP        %s %s\n", e.Addr, e.Network)
		}
	}
	if m.httpListener != nil {
		fmt.Fprintf(w, "  HTTP       http://%s/readyz, /metrics, /debug/pprof\n", m.httpListener.Addr())
	}
}
