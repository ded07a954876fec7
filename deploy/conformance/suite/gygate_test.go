package suite

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"gygate/diameter"
	"gygate/diameter/gy"
	"gygate/diameter/peer"
	"gygate/ocs"
	"gygate/ocs/pgstore"
	"gygate/sql/sqltest"
	"gygate/vpnlogic"
)

// currency of the fixtures: CNY, which has two decimals.
const currency ocs.Currency = 156

// cent is a hundredth of the currency's unit.
const cent = ocs.MoneyScale / 100

// gygate is the product under test: the whole charging system on a database of
// its own, with one account that has all identities of the fixtures.
type gygate struct {
	t      testing.TB
	dsn    string
	pool   *pgxpool.Pool
	admin  *pgstore.Admin
	tariff *ocs.Tariff
	policy ocs.Policy
	*node  // the first
}

// change is what a test wants otherwise than the fixture.
type change struct {
	policy  func(*ocs.Policy)
	context func(*ocs.ServiceContext)
	server  func(*gy.ServerConfig)
	hook    func(point string)
	price   func(*ocs.TariffEntry)
	notices bool // clients are told what changes (RAR, ASR)
}

// startGygate starts one node on an account with that many cents.
func startGygate(t testing.TB, balance ocs.Money, c change) *gygate {
	t.Helper()
	g := &gygate{t: t, dsn: sqltest.Database(t), policy: ocs.DefaultPolicy()}
	g.policy.ClockTolerance = time.Hour // the client talks faster than the clock
	if c.policy != nil {
		c.policy(&g.policy)
	}
	pool, err := pgxpool.New(t.Context(), g.dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	g.pool, g.admin = pool, pgstore.NewAdmin(pool)
	g.seed(balance, c)
	g.node = g.start("ocs1.vpn.example", c)
	return g
}

// seed opens the account and stores the prices, as an operator does.
func (g *gygate) seed(balance ocs.Money, c change) {
	g.t.Helper()
	ctx := g.t.Context()
	_, err := g.admin.CreateAccount(ctx, pgstore.NewAccount{
		Identities: []ocs.Identity{{Kind: ocs.E164, Value: msisdn}, {Kind: ocs.IMSI, Value: imsi}, {Kind: ocs.Private, Value: "group-7001"}},
		Currency:   currency, Balance: balance * cent,
	})
	for _, s := range contexts() {
		if c.context != nil {
			c.context(&s)
		}
		err = errors.Join(err, g.admin.PutServiceContext(ctx, s))
	}
	entries := prices()
	for i := range entries {
		if c.price != nil {
			c.price(&entries[i])
		}
	}
	err = errors.Join(err, g.admin.PutTariff(ctx, entries))
	if err != nil {
		g.t.Fatal(err)
	}
	if g.tariff, err = g.admin.Tariff(ctx); err != nil {
		g.t.Fatal(err)
	}
}

func contexts() []ocs.ServiceContext {
	return []ocs.ServiceContext{
		{Name: voice, DefaultRatingGroup: 100, Unit: ocs.Seconds},
		{Name: data, DefaultRatingGroup: 10, Unit: ocs.Octets, ItemRefusals: true, Validity: 30 * time.Minute},
		{Name: service, DefaultRatingGroup: 8, Unit: ocs.Events},
	}
}

// prices are those of fixtures F1 and F2, and some more.
func prices() []ocs.TariffEntry {
	entry := func(id string, group uint32, unit ocs.UnitKind, price ocs.Money, per int64) ocs.TariffEntry {
		return ocs.TariffEntry{ID: id, Version: 1, Service: ocs.AnyService, RatingGroup: group, Unit: unit, Currency: currency, Price: price, Per: per}
	}
	foreign := entry("some countries", 103, ocs.Seconds, 5*cent, 1)
	foreign.Prefix = "44"
	return []ocs.TariffEntry{
		entry("on-net", 100, ocs.Seconds, cent, 1), entry("off-net", 101, ocs.Seconds, cent, 1),
		entry("free call", 112, ocs.Seconds, 0, 1), foreign,
		entry("browsing", 10, ocs.Octets, cent, 1_000_000), entry("video", 20, ocs.Octets, 2*cent, 1_000_000),
		entry("free data", 11, ocs.Octets, 0, 1),
		entry("message", 8, ocs.Events, 30*cent, 1), entry("free message", 9, ocs.Events, 0, 1),
	}
}

// node is one charging system of a cluster.
type node struct {
	address string
	host    string
	stop    func() // in order, as at a shutdown; may be called again
}

// start starts a node on the database.
func (g *gygate) start(host string, c change) *node {
	g.t.Helper()
	store, err := pgstore.Open(g.t.Context(), pgstore.Options{DSN: g.dsn, Lanes: 2, Hook: c.hook})
	if err != nil {
		g.t.Fatal(err)
	}
	state, err := g.admin.OriginStateID(g.t.Context())
	if err != nil {
		g.t.Fatal(err)
	}
	engine := ocs.NewEngine(store, func() *ocs.Tariff { return g.tariff }, ocs.EngineConfig{Policy: g.policy, Sweep: 50 * time.Millisecond})
	config := gy.ServerConfig{
		Local:          diameter.Origin{Host: host, Realm: realm, StateID: state},
		Tariff:         func() *ocs.Tariff { return g.tariff },
		SharedDatabase: true, FailureHandling: vpnlogic.FailTerminate, Profile: profile,
	}
	if c.server != nil {
		c.server(&config)
	}
	server, err := peer.NewServer(peer.ServerConfig{
		Local: peer.Local{Host: host, Realm: realm, OriginStateID: state, Product: "gygate"},
		Peers: rules(), Dictionary: dictionary(), OnUp: func(r peer.Remote) { engine.ClientState(r.Host, r.StateID) },
	}, gy.NewServer(config, engine))
	if err != nil {
		g.t.Fatal(err)
	}
	parts := []func(context.Context) error{engine.Run}
	if c.notices {
		parts = append(parts, g.notifier(config, server)...)
	}
	return g.run(host, store, server, parts...)
}

// notifier tells clients what changes.
func (g *gygate) notifier(config gy.ServerConfig, server *peer.Server) []func(context.Context) error {
	g.t.Helper()
	notices, err := pgstore.OpenNotices(g.t.Context(), g.pool, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	n := gy.NewNotifier(gy.NotifierConfig{Local: config.Local, Tariff: config.Tariff, Profile: config.Profile}, notices, server)
	return []func(context.Context) error{n.Run, func(ctx context.Context) error { return notices.Listen(ctx, n.Hint) }}
}

// profile is what is known of the peers' habits: those of a gateway are forgiven.
func profile(host string) (gy.Profile, bool) {
	if host == pgw.Host {
		return gy.LenientProfile, true
	}
	return gy.StrictProfile, true
}

// run runs the parts of a node until it is stopped, at the end of the test at the
// latest.
func (g *gygate) run(host string, store *pgstore.Store, server *peer.Server, parts ...func(context.Context) error) *node {
	g.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		g.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, listener) }()
	var running errgroup.Group
	for _, part := range parts {
		running.Go(func() error { return part(ctx) })
	}
	var once sync.Once
	stop := func() {
		once.Do(func() {
			drain, done := context.WithTimeout(context.Background(), patience())
			defer done()
			err := errors.Join(server.Shutdown(drain), <-served)
			cancel()
			if err := errors.Join(err, running.Wait()); err != nil {
				g.t.Error(err)
			}
			store.Close()
		})
	}
	g.t.Cleanup(stop)
	return &node{address: listener.Addr().String(), host: host, stop: stop}
}

// rules admit the nodes of the traces: strictly, but for the gateway.
func rules() []peer.PeerRule {
	var rules []peer.PeerRule
	for _, host := range []string{as.Host, as2.Host, dra.Host} {
		rules = append(rules, peer.PeerRule{Host: host, Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	}
	return append(rules, peer.PeerRule{Host: pgw.Host, Addresses: rules[0].Addresses, Tolerate: diameter.Lenient})
}

var dictionary = sync.OnceValue(func() *diameter.Dictionary {
	d, err := diameter.NewDictionary()
	if err != nil {
		panic(err)
	}
	return d
})

// holds compares the ledger line, in cents: what the account has available,
// frozen and spent. It audits the books as a whole besides.
func (g *gygate) holds(step string, available, frozen, spent ocs.Money) {
	g.t.Helper()
	account := g.account()
	got := [3]ocs.Money{account.Available, account.Frozen, account.Spent}
	if want := [3]ocs.Money{available * cent, frozen * cent, spent * cent}; got != want {
		g.t.Errorf("after %s: available, frozen, spent %v, want %v", step, got, want)
	}
	report, err := g.admin.Verify(g.t.Context())
	if err != nil {
		g.t.Fatal(err)
	}
	for _, v := range report.Violations {
		g.t.Errorf("after %s the books are wrong: %+v", step, v)
	}
}

func (g *gygate) account() pgstore.AccountInfo {
	g.t.Helper()
	account, err := g.admin.Show(g.t.Context(), msisdn)
	if err != nil {
		g.t.Fatal(err)
	}
	return account
}

// open is how many sessions are open.
func (g *gygate) open() int { return len(g.account().OpenSessions) }

// journal is how many movements the account has seen.
func (g *gygate) journal() int {
	g.t.Helper()
	rows, err := g.admin.Journal(g.t.Context(), msisdn, 0)
	if err != nil {
		g.t.Fatal(err)
	}
	return len(rows)
}

// topUp credits the account.
func (g *gygate) topUp(n ocs.Money, key string) {
	g.t.Helper()
	if _, err := g.admin.TopUp(g.t.Context(), pgstore.TopUp{Identity: msisdn, Amount: n * cent, Source: "top-up", Key: key, By: "suite"}); err != nil {
		g.t.Fatal(err)
	}
}

// block blocks the account, or lets it go again.
func (g *gygate) block(on bool) {
	g.t.Helper()
	if _, err := g.admin.Set(g.t.Context(), msisdn, pgstore.Settings{Blocked: &on, By: "suite", Reason: "suite"}); err != nil {
		g.t.Fatal(err)
	}
}

// hold makes every step of the account wait, as another writer does, until
// release is called.
func (g *gygate) hold() (release func()) {
	g.t.Helper()
	tx, err := g.pool.Begin(g.t.Context())
	if err == nil {
		_, err = tx.Exec(g.t.Context(), "with a as (select from account for no key update) select (select count(*) from a), b.id from balance b for no key update of b")
	}
	if err != nil {
		g.t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(context.WithoutCancel(g.t.Context())); err != nil {
			g.t.Error(err)
		}
	}
}

// exec changes the database behind the product's back.
func (g *gygate) exec(statement string, args ...any) {
	g.t.Helper()
	if _, err := g.pool.Exec(g.t.Context(), statement, args...); err != nil {
		g.t.Fatalf("%s: %v", statement, err)
	}
}

// count counts rows.
func (g *gygate) count(from string, args ...any) (n int) {
	g.t.Helper()
	if err := g.pool.QueryRow(g.t.Context(), "select count(*) from "+from, args...).Scan(&n); err != nil {
		g.t.Fatalf("%s: %v", from, err)
	}
	return n
}

// eventually waits until something of the database is so.
func (g *gygate) eventually(what string, is func() bool) {
	g.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience())
	for !is() {
		select {
		case <-tick.C:
		case <-late:
			g.t.Fatalf("never came: %s", what)
		}
	}
}
