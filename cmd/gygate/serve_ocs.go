package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"gygate/cmd/gygate/config"
	"gygate/diameter"
	"gygate/diameter/gy"
	"gygate/diameter/peer"
	"gygate/ocs"
	"gygate/ocs/pgstore"
)

// tariffTimeout bounds one look for new prices, and their load: else a silent server
// leaves the old ones in force and nothing in the log.
const tariffTimeout = time.Minute

// wireOCS builds the charging system: store, engine, credit-control server and
// the Diameter listeners in front of it.
func (m *Main) wireOCS(ctx context.Context) error {
	store, err := pgstore.Open(ctx, pgstore.Options{DSN: m.books.dsn, Lanes: m.cfg.OCS.Lanes, KnownMax: m.cfg.OCS.CacheMax, Logger: m.opt.Logger, Hook: crashHook()})
	if err != nil {
		return exitWith(exitUnreachable, err)
	}
	m.closes = append(m.closes, func() error { store.Close(); return nil })
	tariff, err := m.wireTariff(ctx)
	if err != nil {
		return err
	}
	m.engine = ocs.NewEngine(store, tariff.current.Load, m.engineConfig())
	m.parts.add(part{name: "charging engine", run: m.engine.Run})
	return m.wireDiameterServer(ctx)
}

func (m *Main) engineConfig() ocs.EngineConfig {
	c := m.cfg.OCS
	return ocs.EngineConfig{
		Lanes: c.Lanes, BatchMax: c.BatchMax, QueueMax: c.QueueMax, CacheMax: c.CacheMax,
		Policy: ocs.Policy(c.Policy), Sweep: c.Sweep, Logger: m.opt.Logger,
	}
}

// wireTariff loads the prices and keeps them fresh.
func (m *Main) wireTariff(ctx context.Context) (*tariffSnapshot, error) {
	t := &tariffSnapshot{admin: m.admin, logger: m.opt.Logger}
	if err := t.reload(ctx); err != nil {
		return nil, exitWith(exitUnreachable, err)
	}
	m.tariff = t
	m.parts.add(part{name: "tariff", run: func(ctx context.Context) error { return t.follow(ctx, m.cfg.OCS.TariffPoll) }})
	m.parts.add(part{name: "maintenance", run: func(ctx context.Context) error {
		return m.admin.RunMaintenance(ctx, m.cfg.OCS.Policy.Retention, m.opt.Logger)
	}})
	return t, nil
}

// tariffSnapshot is the tariff in force. One that cannot be read leaves the last
// good one in force.
type tariffSnapshot struct {
	admin   *pgstore.Admin
	logger  *slog.Logger
	changed func() // told after each change, nil: nobody is
	current atomic.Pointer[ocs.Tariff]
	version int64
}

// reload reads the tariff now.
func (t *tariffSnapshot) reload(ctx context.Context) error {
	next, err := t.admin.Tariff(ctx)
	if err != nil {
		return err
	}
	t.current.Store(next)
	return nil
}

// follow reloads the tariff when its version has changed, until ctx ends.
func (t *tariffSnapshot) follow(ctx context.Context, period time.Duration) error {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := t.refresh(ctx); err != nil && ctx.Err() == nil {
			t.logger.Warn("tariff not reloaded, the last one stays in force", "err", err)
		}
	}
}

func (t *tariffSnapshot) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, tariffTimeout)
	defer cancel()
	version, err := t.admin.TariffVersion(ctx)
	if err != nil || version == t.version {
		return err
	}
	if err := t.reload(ctx); err != nil {
		return err
	}
	t.version = version // read before the tariff: a change in between is seen next time
	if t.changed != nil {
		t.changed()
	}
	return nil
}

// wireDiameterServer binds the listeners and serves them with one peer table.
func (m *Main) wireDiameterServer(ctx context.Context) error {
	listeners, err := m.listenDiameter()
	if err != nil {
		return err
	}
	state, err := m.admin.OriginStateID(ctx)
	if err != nil {
		return exitWith(exitUnreachable, err)
	}
	local := peer.Local{Host: m.cfg.Node.OCS.Host, Realm: m.cfg.Node.OCS.Realm, OriginStateID: state, Product: "gygate"}
	origin := diameter.Origin{Host: local.Host, Realm: local.Realm, StateID: state}
	answers := m.cfg.OCS.Answers
	handler := gy.NewServer(gy.ServerConfig{
		Local: origin, Tariff: m.tariff.current.Load, Profile: m.profile,
		SharedDatabase: answers.SessionFailover, FailureHandling: failureHandling[answers.FailureHandling],
		CostInUpdates: answers.CostInUpdates, RemainingBalance: answers.RemainingBalance, LowBalanceBelow: answers.LowBalanceBelow,
		Logger: m.opt.Logger,
	}, m.engine)
	dictionary, err := diameter.NewDictionary()
	if err != nil {
		return fmt.Errorf("dictionary: %w", err)
	}
	server, err := peer.NewServer(m.serverConfig(local, dictionary), handler)
	if err != nil {
		return exitWith(exitConfig, fmt.Errorf("diameter: %w", err))
	}
	if m.opt.Role == RoleOCS {
		m.checks = append(m.checks, check{"diameter", func(context.Context) error { return nil }}) // its ports were bound above
	}
	m.parts.add(part{name: "Diameter server", stop: server.Shutdown, run: func(ctx context.Context) error {
		all, ctx := errgroup.WithContext(ctx)
		for _, l := range listeners {
			all.Go(func() error { return server.Serve(ctx, l) })
		}
		return all.Wait()
	}})
	return m.wireNotices(ctx, origin, server)
}

// wireNotices has clients asked to come back, or to end their sessions, when
// something about the payer has changed.
func (m *Main) wireNotices(ctx context.Context, origin diameter.Origin, server *peer.Server) error {
	notices, err := pgstore.OpenNotices(ctx, m.books.pool, m.opt.Logger)
	if err != nil {
		return exitWith(exitUnreachable, err)
	}
	notifier := gy.NewNotifier(gy.NotifierConfig{Local: origin, Tariff: m.tariff.current.Load, Profile: m.profile, Logger: m.opt.Logger}, notices, server)
	m.parts.add(part{name: "notices", run: notifier.Run})
	m.parts.add(part{name: "notice hints", run: func(ctx context.Context) error { return notices.Listen(ctx, notifier.Hint) }})
	return nil
}

// listenDiameter binds the plain, the SCTP and the TLS listeners.
func (m *Main) listenDiameter() ([]net.Listener, error) {
	var all []net.Listener
	for i, address := range m.cfg.Diameter.Listen {
		l, err := m.listenKept(address, fmt.Sprintf("diameter.listen[%d]", i))
		if err != nil {
			return nil, err
		}
		all = append(all, l)
		m.plainAddrs = append(m.plainAddrs, l.Addr())
	}
	if len(all) > 0 {
		m.diameterAddr = all[0].Addr()
	}
	for i, address := range m.cfg.Diameter.SCTP.Listen {
		l, err := peer.ListenSCTP(address)
		if err != nil {
			return nil, exitWith(exitUnreachable, fmt.Errorf("diameter.sctp.listen[%d]: cannot listen on %s: %w", i, address, err))
		}
		m.closes = append(m.closes, func() error { return ignoreClosed(l.Close()) })
		m.sctpAddrs = append(m.sctpAddrs, l.Addr())
		all = append(all, l)
	}
	t := m.cfg.Diameter.TLS
	if len(t.Listen) == 0 {
		return all, nil
	}
	secure, err := peer.ServerTLS(t.Certificate, t.Key, t.CA)
	if err != nil {
		return nil, exitWith(exitConfig, fmt.Errorf("diameter.tls: %w", err))
	}
	for i, address := range t.Listen {
		l, err := m.listenKept(address, fmt.Sprintf("diameter.tls.listen[%d]", i))
		if err != nil {
			return nil, err
		}
		m.secureAddrs = append(m.secureAddrs, l.Addr())
		all = append(all, tls.NewListener(l, secure))
	}
	return all, nil
}

// listenKept binds a port that Close gives back.
func (m *Main) listenKept(address, setting string) (net.Listener, error) {
	l, err := listen(address, setting)
	if err == nil {
		m.closes = append(m.closes, func() error { return ignoreClosed(l.Close()) })
	}
	return l, err
}

func (m *Main) serverConfig(local peer.Local, dictionary *diameter.Dictionary) peer.ServerConfig {
	d := m.cfg.Diameter
	policies := map[string]peer.Policy{config.UnknownReject: peer.Reject, config.UnknownDrop: peer.Drop, config.UnknownOpen: peer.Open}
	return peer.ServerConfig{
		Local: local, Peers: m.peerRules(), Unknown: policies[d.Unknown],
		OnUp:     func(r peer.Remote) { m.engine.ClientState(r.Host, r.StateID) },
		Watchdog: d.Watchdog, CERTimeout: d.CERTimeout, ConnectionsMax: d.Connections, PerAddressMax: d.PerAddress,
		Dictionary: dictionary, Logger: m.opt.Logger,
	}
}
