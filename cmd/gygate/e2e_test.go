package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"gygate/cmd/gygate/config"
	"gygate/cmd/gygate/sample"
	"gygate/ocs"
	"gygate/ocs/pgstore"
	"gygate/sql/sqltest"
	"gygate/vpnlogic"
	"gygate/vpnlogic/pgdirectory"
	"gygate/vpnlogic/sipgw/phone"
)

func quietLogger() *slog.Logger { return slog.New(slog.DiscardHandler) }

// awaitTrue polls what no event tells of, such as a row in the database.
func awaitTrue(t *testing.T, what string, ask func() (bool, error)) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(testWait)
	for {
		if yes, err := ask(); err != nil {
			t.Fatalf("%s: %v", what, err)
		} else if yes {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// INVITE in; call record, closed session, journal and the tree of spans out.
func TestCallEndToEnd(t *testing.T) {
	s := liveStage(t)
	p, err := s.play(t.Context(), string(sample.Number("6001")), "6002", 500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if p.Phone.Status != 200 || requestsOf(p) != "IT" {
		t.Fatalf("phone saw %d, CCRs %s", p.Phone.Status, requestsOf(p))
	}
	if sum := p.Sum(); len(sum.Faults) > 0 || sum.Debited != demoCent || sum.Frozen != 0 {
		t.Errorf("sum %+v", sum)
	}
	t.Run("record", func(t *testing.T) {
		recorder := pgdirectory.NewRecorder(s.main.books.pool)
		awaitTrue(t, "the call record's row", func() (bool, error) {
			rows, err := recorder.Records(t.Context(), pgdirectory.Filter{CallID: p.Phone.CallID})
			return len(rows) == 1 && rows[0].Cost == "0.01" && rows[0].Session == p.Record.Session, err
		})
	})
	t.Run("session", func(t *testing.T) {
		info, err := s.main.admin.Show(t.Context(), string(sample.Number("6001")))
		if err != nil || len(info.OpenSessions) != 0 || info.Frozen != 0 {
			t.Errorf("%+v, %v", info, err)
		}
	})
	t.Run("spans", func(t *testing.T) { checkSpans(t, p.Record.TraceID) })
}

// checkSpans compares a call's spans with testdata/call.tree, the tree of a call
// with two CCRs such as the quick start's. Server spans are siblings of the
// client's: they find the call by its Session-Id.
func checkSpans(t *testing.T, trace string) {
	file, err := os.ReadFile("testdata/call.tree")
	if err != nil {
		t.Fatal(err)
	}
	want := string(file)
	ended := func(spans []sdktrace.ReadOnlySpan) bool { return len(spans) >= strings.Count(want, "\n") }
	spans := traced.await(t, trace, ended)
	if got := tree(spans); got != want {
		t.Errorf("tree of spans\n%swant\n%s", got, want)
	}
	for _, s := range spans {
		for _, a := range s.Attributes() {
			if strings.Contains(a.Value.String(), string(sample.Number("6001"))) {
				t.Errorf("span %s shows the whole number in %s", s.Name(), a.Key)
			}
		}
	}
}

// tree writes spans as an indented tree, siblings by name.
func tree(spans []sdktrace.ReadOnlySpan) string {
	children := map[string][]sdktrace.ReadOnlySpan{}
	known := map[string]bool{}
	for _, s := range spans {
		known[s.SpanContext().SpanID().String()] = true
	}
	for _, s := range spans {
		parent := s.Parent().SpanID().String()
		if !known[parent] {
			parent = ""
		}
		children[parent] = append(children[parent], s)
	}
	var b strings.Builder
	writeTree(&b, children, "", 0)
	return b.String()
}

func writeTree(b *strings.Builder, children map[string][]sdktrace.ReadOnlySpan, of string, depth int) {
	list := children[of]
	slices.SortStableFunc(list, func(x, y sdktrace.ReadOnlySpan) int { return strings.Compare(x.Name(), y.Name()) })
	for _, s := range list {
		fmt.Fprintf(b, "%s%s\n", strings.Repeat("  ", depth), s.Name())
		writeTree(b, children, s.SpanContext().SpanID().String(), depth+1)
	}
}

// All cases of the demo but the two long calls, which the seed tests play, come
// out to the cent.
func TestDemoCases(t *testing.T) {
	s := liveStage(t)
	for _, one := range demoCases()[2:] {
		t.Run(one.title, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			c := &invocation{app: &app{out: &out, errs: io.Discard}, ctx: t.Context()}
			faults, err := c.playOne(t.Context(), s, one, false)
			if err != nil || len(faults) > 0 {
				t.Errorf("%v %q\n%s", err, faults, out.String())
			}
		})
	}
}

func TestDemoCaseTellsWhatDiffers(t *testing.T) {
	one := demoCase{title: "x", reason: "normal", class: vpnlogic.OnNet, charging: vpnlogic.ChargingPrepaid, charged: time.Second, debited: demoCent, requests: "IT"}
	p := played{Record: &vpnlogic.CallRecord{Reason: "authenticate.lost", Class: vpnlogic.OffNet, Charging: vpnlogic.ChargingNone}, Phone: phone.Result{Status: 403}}
	faults := strings.Join(one.compare(p, 0), "\n")
	for _, what := range []string{"reason is authenticate.lost", "class is off-net", "charging is none", "SIP status at the phone is 403", "charged time is 0s", "debited is 0.00", "CCRs is ,"} {
		if !strings.Contains(faults, what) {
			t.Errorf("no %q in\n%s", what, faults)
		}
	}
}

func TestOperatorPort(t *testing.T) {
	s := liveStage(t)
	for path, want := range map[string]string{
		"/healthz": `"live"`, "/readyz": `"diameter":"ready"`, "/metrics": "gygate_diameter_messages_total",
	} {
		r, err := http.Get("http://" + s.main.httpListener.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || r.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s: %s, %v, no %q in\n%.300s", path, r.Status, err, want, body)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// Every instrument of ours is found under one prefix, with its own labels and no
// others, and no label or name holds a subscriber number.
func TestMetricsNames(t *testing.T) {
	s := liveStage(t)
	if _, err := s.play(t.Context(), string(sample.Number("6001")), "6002", 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	live.metrics.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	page := w.Body.String()
	for _, name := range []string{"gygate_ccr_total{", "gygate_ccr_duration_seconds_bucket{", "gygate_ocs_lane_queue{", "gygate_ocs_lane_busy_microseconds_total{",
		"gygate_ocs_batch_size_bucket{", "gygate_ocs_money_millionths_total{", "gygate_diameter_peers{", "gygate_vpn_calls", "gygate_vpn_attempts_total{"} {
		if !strings.Contains(page, "\n"+name) {
			t.Errorf("no %s", name)
		}
	}
	for _, never := range []string{"otel_scope", string(sample.Number("6001")), string(sample.Number("6002"))} {
		if strings.Contains(page, never) {
			t.Errorf("the metrics hold %q", never)
		}
	}
	for line := range strings.Lines(page) {
		if !slices.ContainsFunc([]string{"gygate_", "go_", "process_", "target_info", "#"}, func(p string) bool { return strings.HasPrefix(line, p) }) {
			t.Errorf("a name without the prefix: %s", line)
		}
	}
}

// One line for each attempt, with its end and without a whole number.
func TestCallLog(t *testing.T) {
	var out bytes.Buffer
	l := callLog{slog.New(slog.NewTextHandler(&out, nil))}
	l.Observe(vpnlogic.CallEvent{Text: "180 Ringing"})
	l.Observe(vpnlogic.CallEvent{Record: &vpnlogic.CallRecord{CallID: "c1", Calling: "493023125001", Dialled: "004066969100",
		Charging: vpnlogic.ChargingPrepaid, Talked: 1500 * time.Millisecond, Cost: "0.07", Cause: 16, Status: 200, Reason: "normal", ReleasedBy: "caller"}})
	line := out.String()
	if strings.Count(line, "\n") != 1 || strings.Contains(line, "493023125001") || strings.Contains(line, "004066969100") {
		t.Errorf("log %q", line)
	}
	for _, want := range []string{`msg="call ended"`, "call_id=c1", "number=4930******01", "talked=1.5s", "cost=0.07", "reason=normal"} {
		if !strings.Contains(line, want) {
			t.Errorf("no %q in %s", want, line)
		}
	}
}

// A gygate that listens on all addresses is called on loopback.
func TestQuickStartOnAllAddresses(t *testing.T) {
	cfg := demoConfig()
	cfg.Database.DSN = sqltest.Database(t)
	cfg.SIP.Listen, cfg.SIP.Host = []string{"tcp:0.0.0.0:0", "udp:[::]:0"}, "127.0.0.1"
	s, err := newStage(t.Context(), cfg, Options{Role: RoleAll, Logger: quietLogger()})
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.play(t.Context(), string(sample.Number("6001")), "6002", 100*time.Millisecond)
	if err != nil || p.Phone.Status != http.StatusOK {
		t.Errorf("call to %s: %+v, %v", s.sipAddr(), p.Phone, err)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

// A second gygate's ports are taken; each error names the setting that moves it.
func TestTakenPortIsNamedWithItsSetting(t *testing.T) {
	taken, err := net.Listen("tcp", loopbackAny)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dsn := sqltest.Database(t)
	for setting, take := range map[string]func(*config.Config, string){
		"http.listen":        func(c *config.Config, a string) { c.HTTP.Listen = a },
		"diameter.listen[0]": func(c *config.Config, a string) { c.Diameter.Listen = []string{a} },
		"sip.listen":         func(c *config.Config, a string) { c.SIP.Listen = []string{"tcp:" + a} },
	} {
		t.Run(setting, func(t *testing.T) {
			cfg := demoConfig()
			cfg.Database.DSN = dsn
			take(cfg, taken.Addr().String())
			_, err := New(t.Context(), cfg, Options{Role: RoleAll, Logger: quietLogger()})
			if err == nil || !strings.Contains(err.Error(), setting) || !strings.Contains(err.Error(), taken.Addr().String()) || codeOf(err) != exitUnreachable {
				t.Errorf("code %d, error %v", codeOf(err), err)
			}
		})
	}
}

// Two processes' worth of gygate on one database: the charging system alone, and
// the VPN logic alone that charges there.
func TestSplitRoles(t *testing.T) {
	charging := demoConfig()
	charging.Database.DSN = sqltest.Database(t)
	charging.Diameter.Peers = []config.Peer{{Host: charging.Node.VPN.Host, Addresses: []string{"127.0.0.1/32"}, Trusted: true}}
	m, err := New(t.Context(), charging, Options{Role: RoleOCS, Logger: quietLogger()})
	if err != nil {
		t.Fatal(err)
	}
	stop := runMain(t, m)
	defer stop()
	if err := loadMoney(t.Context(), m.admin); err != nil {
		t.Fatal(err)
	}
	if err := m.tariff.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	calls := demoConfig()
	calls.Database.DSN = charging.Database.DSN
	calls.Charging.Servers = []config.Server{{Address: m.diameterAddr.String(), Host: charging.Node.OCS.Host}}
	s, err := newStage(t.Context(), calls, Options{Role: RoleVPN, Logger: quietLogger()})
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.play(t.Context(), string(sample.Number("6001")), "6002", 500*time.Millisecond)
	if err != nil || requestsOf(p) != "IT" || p.Record.Cost != "0.01" {
		t.Errorf("record %+v, %v", p.Record, err)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

func TestRoleVPNNeedsAChargingSystem(t *testing.T) {
	cfg := demoConfig()
	cfg.Database.DSN = sqltest.Database(t)
	_, err := New(t.Context(), cfg, Options{Role: RoleVPN, Logger: quietLogger()})
	if err == nil || !strings.Contains(err.Error(), "charging.servers") || codeOf(err) != exitConfig {
		t.Errorf("code %d, error %v", codeOf(err), err)
	}
}

func runMain(t *testing.T, m *Main) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- m.Run(ctx) }()
	return func() {
		cancel()
		if err := errors.Join(<-ran, m.Close()); err != nil {
			t.Error(err)
		}
	}
}

// Ctrl-C in mid-call: both legs are released, the use is charged, the rest
// refunded, and nothing stays frozen.
func TestShutdownSettlesTheCall(t *testing.T) {
	cfg := demoConfig()
	cfg.Database.DSN = sqltest.Database(t)
	talking := make(answerWatch)
	s, err := newStage(t.Context(), cfg, Options{Role: RoleAll, Logger: quietLogger(), Observer: talking})
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan phone.Result, 1)
	go func() {
		r, err := phone.Dial(t.Context(), phone.DialOptions{From: string(sample.Number("6001")), To: "6002", Via: s.sipAddr()})
		if err != nil {
			t.Error(err)
		}
		result <- r
	}()
	<-talking
	if err := s.close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if r := <-result; r.HungUp != phone.Peer {
		t.Errorf("the phone was not hung up on: %+v", r)
	}
	b, err := connectBooks(t.Context(), cfg.Database.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	checkSettled(t, b, string(sample.Number("6001")), demoCent)
}

// answerWatch is an observer that closes itself at the answer of the one call.
type answerWatch chan struct{}

func (w answerWatch) Observe(e vpnlogic.CallEvent) {
	if e.From == "called" && e.Text == "200 OK" {
		close(w)
	}
}

// checkSettled: the account has paid so much, nothing is frozen or open, and the
// books add up.
func checkSettled(t *testing.T, b *books, account string, spent ocs.Money) {
	t.Helper()
	admin := pgstore.NewAdmin(b.pool)
	info, err := admin.Show(t.Context(), account)
	if err != nil || info.Spent != spent || info.Frozen != 0 || len(info.OpenSessions) > 0 {
		t.Errorf("account %+v, %v", info, err)
	}
	if report, err := admin.Verify(t.Context()); err != nil || !report.OK() {
		t.Errorf("verify: %+v, %v", report, err)
	}
}

// watcher is an output that tells when a text has come by.
type watcher struct {
	mu     sync.Mutex
	text   bytes.Buffer
	wanted string
	seen   chan struct{}
}

func (w *watcher) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := strings.Contains(w.text.String(), w.wanted)
	n, err := w.text.Write(b)
	if !before && strings.Contains(w.text.String(), w.wanted) {
		close(w.seen)
	}
	return n, err
}

// freePorts is a configuration with ports of the system's choice.
const freePorts = "diameter: {listen: ['127.0.0.1:0']}\nsip: {listen: ['udp:127.0.0.1:0', 'tcp:127.0.0.1:0']}\nhttp: {listen: '127.0.0.1:0'}\ntelemetry: {log_level: error}\n"

// The quick start as a newcomer sees it, on ports of the system's choice: a
// ladder that adds up, the journal, the next steps, and a clean end; the second
// start finds the books of the first.
func TestQuickStart(t *testing.T) {
	data, err := temporaryFolder()
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(filepath.Dir(data))
	file := filepath.Join(t.TempDir(), "gygate.yaml")
	if err := os.WriteFile(file, []byte(freePorts), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, balance := range []string{"10.00 - 0.04 = 9.96", "9.96 - 0.04 = 9.92"} {
		ctx, cancel := context.WithCancel(t.Context())
		out := &watcher{wanted: "Serving until Ctrl-C.", seen: make(chan struct{})}
		var errs bytes.Buffer
		code := make(chan int, 1)
		go func() {
			code <- execute(ctx, []string{"serve", "--quickstart", "--config", file, "--data", data}, out, &errs)
		}()
		select {
		case <-out.seen:
			cancel()
		case <-time.After(testWait):
			cancel()
			t.Error("the quick start does not come to its end")
		}
		if got := <-code; got != exitOK {
			t.Errorf("exit code %d: %s", got, errs.String())
		}
		text := out.text.String()
		for _, want := range []string{"CCR-I #0", "CCA 2001 granted 60 s", balance, "credit opening", "gygate call", "gygate verify --config " + file + " --data " + data, "stopping: releasing calls", "stopped in order"} {
			if !strings.Contains(strings.ReplaceAll(text, executable(), "gygate"), want) {
				t.Errorf("no %q in\n%s", want, text)
			}
		}
		if strings.Contains(text, "DOES NOT ADD UP") {
			t.Error(text)
		}
	}
}
