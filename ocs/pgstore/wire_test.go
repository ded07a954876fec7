package pgstore

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gygate/diameter"
	"gygate/diameter/gy"
	"gygate/diameter/peer"
	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// node is one OCS node: CCR bytes in, CCA bytes out, over a store.
type node struct {
	*ocstest.Driver
	server *gy.Server
	host   string
}

func newNode(t testing.TB, store ocs.Store, host string, change ...func(*ocs.EngineConfig)) *node {
	t.Helper()
	config := engineConfig()
	for _, c := range change {
		c(&config)
	}
	n := &node{Driver: ocstest.Start(t, store, config), host: host}
	tariff := ocstest.Tariff(t)
	n.server = gy.NewServer(gy.ServerConfig{
		Local:  diameter.Origin{Host: host, Realm: "example", StateID: 3973000000},
		Tariff: func() *ocs.Tariff { return tariff }, SharedDatabase: true, Logger: config.Logger,
	}, n.Engine)
	return n
}

// transmission numbers the copies of requests: each has its own hop-by-hop and
// end-to-end identifiers.
var transmission atomic.Uint32

// frame encodes a request of the gateway, through one proxy.
func frame(t testing.TB, r gy.CCR, flags diameter.Flags) diameter.Message {
	t.Helper()
	n := transmission.Add(1)
	b := r.Append(nil, diameter.Header{HopByHop: n, EndToEnd: 0x5a100000 + n, Flags: flags})
	b = diameter.AppendGroup(b, diameter.ProxyInfo, func(b []byte) []byte {
		b = diameter.AppendString(b, diameter.ProxyHost, "relay1.example")
		return diameter.AppendUint32(b, diameter.ProxyState, n)
	})
	m, err := diameter.ParseMessage(diameter.Finish(b, 0))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// submit sends a request and returns where its one answer will be.
func (n *node) submit(t testing.TB, m diameter.Message) <-chan diameter.Message {
	answers := make(chan diameter.Message, 2) // a second answer would stay and be found
	from := peer.Remote{Host: "relay1.example", Realm: "example", Tolerate: diameter.Lenient}
	n.server.Serve(t.Context(), from, m, func(b []byte) {
		a, err := diameter.ParseMessage(bytes.Clone(b)) // the frame is the server's again afterwards
		if err != nil {
			t.Errorf("the answer does not parse: %v", err)
		}
		answers <- a
	})
	return answers
}

func (n *node) send(t testing.TB, r gy.CCR, flags diameter.Flags) diameter.Message {
	t.Helper()
	return await(t, n.submit(t, frame(t, r, flags)))
}

func await(t testing.TB, answers <-chan diameter.Message) diameter.Message {
	t.Helper()
	select {
	case a := <-answers:
		return a
	case <-time.After(patience):
		t.Fatal("no answer")
		panic("unreachable")
	}
}

// again is a copy of the request sent once more.
const again = diameter.FlagRetransmit

// request is a request of the gateway's voice service for group 100.
func request(id string, payer ocs.Identity, kind ocs.StepType, number uint32, used uint32) gy.CCR {
	r := gy.CCR{
		SessionID: id, OriginHost: gateway.Host, OriginRealm: gateway.Realm, DestinationRealm: "example",
		ServiceContextID: ocstest.Voice, Type: kind, Number: number, EventTimestamp: time.Now(),
		Payer: []gy.Subscription{{Kind: payer.Kind, Data: payer.Value}},
	}
	s := gy.Service{RatingGroup: gy.Some(uint32(ocstest.OnNet))}
	if kind != ocs.Terminate {
		s.Requested = gy.Some(gy.ServiceUnits{})
	}
	if used > 0 {
		s.Used = []gy.UsedUnits{{ServiceUnits: gy.ServiceUnits{Time: gy.Some(used)}}}
	}
	r.Services = []gy.Service{s}
	return r
}

// oneTime is a one-time event of a message.
func oneTime(id string, payer ocs.Identity, action ocs.EventAction, token []byte) gy.CCR {
	r := request(id, payer, ocs.Event, 0, 0)
	r.Action = gy.Some(uint32(action))
	r.Services = []gy.Service{{
		RatingGroup: gy.Some(uint32(ocstest.Message)), RefundInformation: token,
		Requested: gy.Some(gy.ServiceUnits{Specific: gy.Some(uint64(1))}),
	}}
	return r
}

// charging is what a repeat must find again: all of an answer but its envelope.
func charging(m diameter.Message) string {
	var parts []string
	for a := range m.AVPs() {
		switch a.Code {
		case diameter.OriginHost.Code, diameter.OriginRealm.Code, diameter.OriginStateID.Code, diameter.ProxyInfo.Code:
		default:
			parts = append(parts, string(a.Raw))
		}
	}
	return strings.Join(parts, "")
}

// journalled is the whole journal, to see whether anything was written.
func (l *ledger) journalled(t testing.TB) (text string) {
	t.Helper()
	if err := l.pool.QueryRow(t.Context(), "select coalesce(string_agg(j::text, e'\n' order by j.at, j.id), '') from journal j").Scan(&text); err != nil {
		t.Fatal(err)
	}
	return text
}

// alarms collects what is logged as a warning or worse.
type alarms struct {
	mu   sync.Mutex
	seen []string
}

func (a *alarms) logger() *slog.Logger { return slog.New(a) }

// Enabled, Handle, WithAttrs and WithGroup implement slog.Handler.
func (a *alarms) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }
func (a *alarms) WithAttrs([]slog.Attr) slog.Handler               { return a }
func (a *alarms) WithGroup(string) slog.Handler                    { return a }
func (a *alarms) Handle(_ context.Context, r slog.Record) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = append(a.seen, r.Message)
	return nil
}

func (a *alarms) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.seen)
}

// codes fails the test unless the answer has this Result-Code, and the E bit as it
// goes with it (conformance A-024).
func codes(t testing.TB, m diameter.Message, want diameter.ResultCode) {
	t.Helper()
	failed := want >= 3000 && want < 4000
	if got := m.ResultCode(); got != want || (m.Flags&diameter.FlagError != 0) != failed {
		text, _ := m.Find(diameter.ErrorMessage)
		t.Fatalf("Result-Code %d, flags %x (%s); want %d", got, m.Flags, text.Data, want)
	}
}
