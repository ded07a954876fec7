package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gygate/cmd/gygate/config"
	"gygate/cmd/gygate/sample"
	"gygate/ocs"
	"gygate/ocs/pgstore"
	"gygate/sql/sqltest"
	"gygate/vpnlogic"
	"gygate/vpnlogic/sipgw/phone"
)

// pair is a gygate in two parts on one database, the charging system and the VPN
// logic with its phones, and the wire between them, on which everything is heard.
type pair struct {
	t        *testing.T
	dsn      string
	charging *config.Config
	main     *Main // of the charging system, nil while it is away
	stop     func()
	wire     *wiretap
	change   func(*config.Config) // of the VPN logic's configuration, may be nil
	stage    *stage               // of the VPN logic
	watch    *callWatch
}

// newPair starts both parts; what is not nil alters the configuration of one before.
func newPair(t *testing.T, charging, calls func(*config.Config)) *pair {
	t.Helper()
	p := &pair{t: t, change: calls, dsn: sqltest.Database(t), charging: demoConfig(), watch: newCallWatch()}
	p.charging.Database.DSN = p.dsn
	p.charging.Diameter.Peers = []config.Peer{{Host: p.charging.Node.VPN.Host, Addresses: []string{"127.0.0.1/32"}, Trusted: true}}
	if charging != nil {
		charging(p.charging)
	}
	p.startOCS()
	t.Cleanup(func() { p.stopOCS() })
	// After a restart it is found where it was.
	p.charging.Diameter.Listen = []string{p.main.diameterAddr.String()}
	p.wire = newWiretap(t, p.main.diameterAddr.String())
	p.startVPN() // which loads the sample data
	t.Cleanup(func() { p.stopVPN() })
	if err := p.main.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *pair) startOCS() {
	p.t.Helper()
	m, err := New(p.t.Context(), p.charging, Options{Role: RoleOCS, Logger: quietLogger()})
	if err != nil {
		p.t.Fatal(err)
	}
	p.main, p.stop = m, runMain(p.t, m)
}

func (p *pair) stopOCS() {
	if p.stop != nil {
		p.stop()
	}
	p.main, p.stop = nil, nil
}

// callsConfig is a VPN logic that charges over the wire.
func (p *pair) callsConfig() *config.Config {
	c := demoConfig()
	c.Database.DSN = p.dsn
	c.Charging.Servers = []config.Server{{Address: p.wire.addr(), Host: p.charging.Node.OCS.Host}}
	c.Charging.Reconnect = 100 * time.Millisecond
	c.HTTP.Listen = ""
	if p.change != nil {
		p.change(c)
	}
	return c
}

func (p *pair) startVPN() {
	p.t.Helper()
	var err error
	p.stage, err = newStage(p.t.Context(), p.callsConfig(), Options{Role: RoleVPN, Logger: quietLogger(), Observer: p.watch})
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *pair) stopVPN() {
	p.t.Helper()
	if p.stage == nil {
		return
	}
	if err := p.stage.close(); err != nil {
		p.t.Errorf("stop the VPN logic: %v", err)
	}
	p.stage = nil
}

// command runs a command line on the pair's database, as an operator does beside
// the serving processes.
func (p *pair) command(t *testing.T, args ...string) {
	t.Helper()
	if code, errs := on(t, p.dsn, nil, args...); code != exitOK {
		t.Fatalf("gygate %s: exit code %d: %s", strings.Join(args, " "), code, errs)
	}
}

// line adds a prepaid member with so much on its account, in cents, and returns its
// number.
func (p *pair) line(t *testing.T, cents ocs.Money) string {
	t.Helper()
	n := seedNumbers.Add(1)
	number := fmt.Sprintf("493023126%03d", n)
	p.command(t, "account", "create", number, "--balance", (cents * demoCent).String())
	p.command(t, "member", "create", number, "--group", sample.Group.ID, "--short", strconv.FormatInt(8000+n, 10), "--prepaid")
	if p.stage != nil {
		if err := p.stage.main.reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return number
}

func (p *pair) account(t *testing.T, number string) pgstore.AccountInfo {
	t.Helper()
	info, err := pgstore.NewAdmin(p.stage.main.books.pool).Show(t.Context(), number)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// conversation is a call that talks.
type conversation struct {
	pair    *pair
	number  string
	session string
	hangUp  context.CancelFunc
	result  chan phone.Result
}

// talk calls 6002 and returns when it has answered.
func (p *pair) talk(t *testing.T, number string) *conversation {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	via := p.stage.sipAddr()
	c := &conversation{pair: p, number: number, hangUp: cancel, result: make(chan phone.Result, 1)}
	go func() {
		r, err := phone.Dial(ctx, phone.DialOptions{From: number, To: "6002", Via: via})
		if err != nil {
			t.Error(err)
		}
		c.result <- r
	}()
	t.Cleanup(cancel)
	events := p.watch.await(t, number, "the answer of the called phone", func(events []vpnlogic.CallEvent) bool {
		return slices.ContainsFunc(events, func(e vpnlogic.CallEvent) bool { return e.From == "called" && e.Text == "200 OK" })
	})
	c.session = events[len(events)-1].Session
	return c
}

// answers waits until the call has had so many answers of the charging system.
func (c *conversation) answers(t *testing.T, n int) {
	t.Helper()
	c.pair.watch.await(t, c.number, fmt.Sprintf("%d answers of the charging system", n), func(events []vpnlogic.CallEvent) bool {
		return len(slices.DeleteFunc(slices.Clone(events), func(e vpnlogic.CallEvent) bool { return e.Answer == nil })) >= n
	})
}

// ended waits for the end of the call and tells all of it.
func (c *conversation) ended(t *testing.T) played {
	t.Helper()
	var result phone.Result
	select {
	case result = <-c.result:
	case <-time.After(testWait):
		t.Fatal("the call does not end")
	}
	p, err := c.pair.stage.finished(t.Context(), c.number, result)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// callWatch is an observer that keeps what it sees and lets a test wait for it.
type callWatch struct {
	mu      sync.Mutex
	calls   map[string][]vpnlogic.CallEvent // by Call-ID
	changed chan struct{}                   // closed and made anew with each event
}

func newCallWatch() *callWatch {
	return &callWatch{calls: map[string][]vpnlogic.CallEvent{}, changed: make(chan struct{})}
}

// Observe implements vpnlogic.Observer.
func (w *callWatch) Observe(e vpnlogic.CallEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls[e.CallID] = append(w.calls[e.CallID], e)
	close(w.changed)
	w.changed = make(chan struct{})
}

// await returns the events of the payer's call once enough says so.
func (w *callWatch) await(t *testing.T, payer, what string, enough func([]vpnlogic.CallEvent) bool) []vpnlogic.CallEvent {
	t.Helper()
	late := time.After(testWait)
	for {
		w.mu.Lock()
		events, changed := w.paidBy(payer), w.changed
		w.mu.Unlock()
		if enough(events) {
			return events
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("waited in vain for %s; seen: %q", what, textsOf(events))
		}
	}
}

func textsOf(events []vpnlogic.CallEvent) (texts []string) {
	for _, e := range events {
		texts = append(texts, e.Text)
	}
	return texts
}

func (w *callWatch) paidBy(payer string) []vpnlogic.CallEvent {
	for _, events := range w.calls {
		if slices.ContainsFunc(events, func(e vpnlogic.CallEvent) bool { return e.Request != nil && string(e.Request.Payer) == payer }) {
			return slices.Clone(events)
		}
	}
	return nil
}
