package gy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/ocs"
	"gygate/vpnlogic"
)

// memoryKeeper outlives a client, as a database outlives a process.
type memoryKeeper struct {
	mu     sync.Mutex
	kept   map[string]Kept
	writes int
	fail   error
}

func (m *memoryKeeper) Keep(_ context.Context, all []Kept) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writes++
	if m.fail != nil {
		return m.fail
	}
	if m.kept == nil {
		m.kept = map[string]Kept{}
	}
	for _, k := range all {
		m.kept[k.Session] = k
	}
	return nil
}

func (m *memoryKeeper) Drop(_ context.Context, sessions []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writes++
	if m.fail != nil {
		return m.fail
	}
	for _, s := range sessions {
		delete(m.kept, s)
	}
	return nil
}

func (m *memoryKeeper) Load(_ context.Context, start uint32, after string, limit int) ([]Kept, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return nil, m.fail
	}
	var page []Kept
	for _, k := range m.kept {
		if k.Start < start && k.Session > after {
			page = append(page, k)
		}
	}
	slices.SortFunc(page, func(a, b Kept) int { return cmp.Compare(a.Session, b.Session) })
	return page[:min(limit, len(page))], nil
}

func (m *memoryKeeper) sessions() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.kept)
}

func (m *memoryKeeper) of(session string) Kept {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.kept[session]
}

func (m *memoryKeeper) setFail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

// restart is the client of the next process, with the same keeper and wire.
func restart(t *testing.T, keeper Keeper, w *wire) *Client {
	t.Helper()
	return restartWith(t, keeper, w, nil)
}

func restartWith(t *testing.T, keeper Keeper, w *wire, log *slog.Logger) *Client {
	t.Helper()
	local := testClient
	local.StateID++
	c := NewClient(ClientConfig{Local: local, Keeper: keeper, Logger: log}, w)
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return c
}

// C-111: the calls of a process that died are ended within 30 s of the next start,
// marked as possible duplicates.
func TestCallsLostInCrashC111(t *testing.T) {
	for _, c := range []struct {
		name  string
		calls func(c *Client, w *wire)
		want  []string // what the next process sends
	}{
		{"before the answer", func(c *Client, w *wire) {
			w.say(failing(peer.ErrNoAnswer))
			c.Charge(context.Background(), initial("s"))
		}, []string{"T1"}},
		{"granted", func(c *Client, w *wire) { c.Charge(context.Background(), initial("s")) }, []string{"T1"}},
		{"reported", func(c *Client, w *wire) {
			c.Charge(context.Background(), initial("s"))
			c.Charge(context.Background(), update("s", 1))
		}, []string{"T2"}},
		{"report unanswered", func(c *Client, w *wire) {
			c.Charge(context.Background(), initial("s"))
			w.say(failing(peer.ErrNoAnswer))
			c.Charge(context.Background(), update("s", 1))
		}, []string{"U1", "T2"}},
		{"over", func(c *Client, w *wire) {
			c.Charge(context.Background(), initial("s"))
			c.Charge(context.Background(), final("s", 1))
		}, nil},
		{"refused", func(c *Client, w *wire) {
			w.say(answering(CCA{ResultCode: 4012}))
			c.Charge(context.Background(), initial("s"))
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			proves(t, "C-111")
			synctest.Test(t, func(t *testing.T) {
				keeper := new(memoryKeeper)
				client, w := newTestClient(t, ClientConfig{Keeper: keeper}, answering(sixty()))
				c.calls(client, w)
				pass(journalPause) // written; the process dies now
				before := len(w.sent)
				w.say(answering(CCA{ResultCode: 2001}))
				began := time.Now()
				restart(t, keeper, w)
				pass(time.Minute)

				sent := w.sent[before:]
				if len(sent) != len(c.want) {
					t.Fatalf("%d requests after the restart, want %q", len(sent), c.want)
				}
				for i, s := range sent {
					if name := typeName(s.ccr.Type) + string(rune('0'+s.ccr.Number)); name != c.want[i] || !s.request.Retransmission || s.at.Sub(began) > 30*time.Second {
						t.Errorf("%s after %v, T %v; want %s", name, s.at.Sub(began), s.request.Retransmission, c.want[i])
					}
				}
				if len(sent) > 0 {
					last := sent[len(sent)-1].ccr
					if last.TerminationCause != Some(causeLinkBroken) || last.MultipleServices.Present || len(last.Services) != 1 ||
						last.Services[0].Requested.Present || last.Services[0].Used[0].Time != Some(uint32(0)) || last.Services[0].RatingGroup != Some(uint32(100)) {
						t.Errorf("final report %+v", last)
					}
				}
				pass(time.Second)
				if keeper.sessions() != 0 {
					t.Errorf("%d sessions are kept after all", keeper.sessions())
				}
			})
		})
	}
}

// C-029: a final report outlives the process; it arrives once, with T.
func TestLateReportOutlivesProcessC029(t *testing.T) {
	proves(t, "C-029")
	synctest.Test(t, func(t *testing.T) {
		keeper := new(memoryKeeper)
		client, w := newTestClient(t, ClientConfig{Keeper: keeper}, answering(sixty()))
		client.Charge(t.Context(), initial("s"))
		w.say(failing(peer.ErrNoAnswer))
		client.Charge(t.Context(), final("s", 1))
		if err := client.Shutdown(t.Context()); err != nil {
			t.Errorf("what is kept is not lost: %v", err)
		}
		before := len(w.sent)
		w.say(answering(CCA{ResultCode: 5002}))
		next := restart(t, keeper, w)
		pass(time.Hour)
		if len(w.sent) != before+1 {
			t.Fatalf("%d requests after the restart", len(w.sent)-before)
		}
		got := w.sent[before]
		if got.ccr.Type != ocs.Terminate || got.ccr.Number != 1 || usedSeconds(got.ccr.Append(nil, diameter.Header{})) != 42 || !got.request.Retransmission ||
			got.request.EndToEnd != 77 || got.request.Stay != "ocs1.vpn.example" || got.ccr.DestinationHost != "ocs1.vpn.example" || got.ccr.OriginStateID != testClient.StateID {
			t.Errorf("%+v, request %+v", got.ccr, got.request)
		}
		if keeper.sessions() != 0 {
			t.Error("it is kept after its answer")
		}
		if err := next.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// C-029 on the wire: the charging system is away at the hang-up and for two
// minutes after it.
func TestServerAwayAtHangUpC029(t *testing.T) {
	proves(t, "C-029", "C-028")
	keeper := new(memoryKeeper)
	onStage(t, ClientConfig{Keeper: keeper}, single(granting(60, nil)), func(s *stage) {
		call, _ := s.talk()
		pass(20 * time.Second)
		s.servers[0].cut()
		pass(time.Second)
		call.HungUp(time.Now(), vpnlogic.PartyCaller)
		pass(2 * time.Minute)
		if keeper.sessions() != 1 {
			t.Errorf("%d sessions are kept during the outage", keeper.sessions())
		}
		s.servers[0].mend()
		pass(time.Hour)
		got := s.servers[0].got()
		if types(got) != "I0 T1" && types(got) != "I0 T1*" || usedIn(got[1]) != 21 {
			t.Errorf("requests %s", types(got))
		}
		if keeper.sessions() != 0 {
			t.Error("it is kept after its answer")
		}
	})
}

// C-083: so does a refund.
func TestRefundOutlivesProcessC083(t *testing.T) {
	proves(t, "C-083")
	synctest.Test(t, func(t *testing.T) {
		keeper := new(memoryKeeper)
		client, w := newTestClient(t, ClientConfig{Keeper: keeper}, failing(peer.ErrNoPeer))
		a, err := client.Event(t.Context(), messageEvent(ocs.RefundAccount))
		if err != nil || !a.Buffered {
			t.Fatalf("%v %+v", err, a)
		}
		if err := client.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		before := len(w.sent)
		pass(time.Hour)
		w.say(answering(CCA{ResultCode: 2001}))
		restart(t, keeper, w)
		pass(24 * time.Hour)
		if sent := w.sent[before:]; len(sent) != 1 || sent[0].ccr.SessionID != a.Session || !sent[0].request.Retransmission {
			t.Errorf("%d refunds after the restart", len(sent))
		}
	})
}

// Many changes are one write, and a call that is over leaves nothing behind.
func TestJournalGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keeper := new(memoryKeeper)
		client, _ := newTestClient(t, ClientConfig{Keeper: keeper}, answering(sixty()))
		for _, id := range []string{"a", "b", "c"} {
			client.Charge(t.Context(), initial(id))
			client.Charge(t.Context(), update(id, 1))
		}
		client.Charge(t.Context(), final("c", 2))
		pass(2 * journalPause)
		if keeper.writes != 2 || keeper.sessions() != 2 {
			t.Errorf("%d writes, %d sessions are kept", keeper.writes, keeper.sessions())
		}
		client.Charge(t.Context(), final("a", 2))
		client.Charge(t.Context(), final("b", 2))
		if err := client.Shutdown(t.Context()); err != nil || keeper.sessions() != 0 {
			t.Errorf("%v, %d sessions are kept", err, keeper.sessions())
		}
	})
}

// A store that fails is tried again with the latest news, and named to the operator
// once, as is its return.
func TestJournalRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keeper, log := new(memoryKeeper), new(logLines)
		keeper.setFail(errors.New("database away"))
		client, _ := newTestClient(t, ClientConfig{Keeper: keeper, Logger: log.logger()}, answering(sixty()))
		client.Charge(t.Context(), initial("a"))
		client.Charge(t.Context(), initial("b"))
		pass(journalPause)
		client.Charge(t.Context(), final("a", 1))
		pass(10 * journalRetry)
		if log.count("cannot be written") != 1 || log.count("database away") != 1 || log.has("is written again") {
			t.Errorf("while the database is away: %s", log)
		}
		keeper.setFail(nil)
		pass(journalRetry + journalPause)
		if keeper.sessions() != 1 || log.count("is written again") != 1 {
			t.Errorf("%d sessions are kept; log %s", keeper.sessions(), log)
		}
		keeper.setFail(errors.New("database away again"))
		client.Charge(t.Context(), final("b", 1))
		if err := client.Shutdown(t.Context()); err == nil {
			t.Error("what could not be written is no error at shutdown")
		}
		if log.count("cannot be written") != 2 {
			t.Errorf("a second failure is not told: %s", log)
		}
		client.Charge(t.Context(), initial("c")) // too late to be noted, and no harm
	})
}

// What shutdown cuts short is said to wait for the next start only when the journal
// has it; otherwise the operator reads what there was.
func TestShutdownTellsWhatIsKept(t *testing.T) {
	const waits = "waits for the next start"
	for name, tc := range map[string]struct {
		fail             error
		waits, mayBeLost int
	}{
		"the journal is written":        {nil, 1, 0},
		"the journal cannot be written": {errors.New("database away"), 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				keeper, log := new(memoryKeeper), new(logLines)
				client, w := newTestClient(t, ClientConfig{Keeper: keeper, Logger: log.logger()}, answering(sixty()))
				client.Charge(t.Context(), initial("s"))
				pass(journalPause)
				keeper.setFail(tc.fail)
				w.say(failing(peer.ErrNoAnswer))
				client.Charge(t.Context(), final("s", 1))
				if err := client.Shutdown(t.Context()); (err != nil) != (tc.fail != nil) {
					t.Error(err)
				}
				if log.count(waits) != tc.waits || log.count("number=1 used_s=42") != tc.mayBeLost {
					t.Errorf("log %s", log)
				}
			})
		})
	}
}

// Damaged entries are dropped with a word; they stop nothing.
func TestDamagedJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := keep(session{host: "ocs1.vpn.example"}, time.Now(), repeat{}, &CCR{SessionID: "good", OriginHost: testClient.Host, OriginRealm: testClient.Realm,
			DestinationRealm: "vpn.example", ServiceContextID: ContextSIP, Type: ocs.Terminate, Number: 4, TerminationCause: Some(causeLogout)})
		keeper := &memoryKeeper{kept: map[string]Kept{
			"good": good, "a": {Session: "a"}, "b": {Session: "b", Requests: [][]byte{{1, 2, 3}}},
			"c": {Session: "c", Requests: [][]byte{diameter.Finish(diameter.Start(nil, diameter.Header{Command: 280}), 0)}},
			"d": {Session: "d", Requests: [][]byte{diameter.Finish(diameter.Start(nil, diameter.Header{Command: 272, Flags: diameter.FlagRequest}), 0)}},
		}}
		w := &wire{t: t, reply: answering(CCA{ResultCode: 2001})}
		restart(t, keeper, w)
		pass(time.Minute)
		if len(w.sent) != 1 || w.sent[0].ccr.SessionID != "good" || keeper.sessions() != 0 {
			t.Errorf("%d requests, %d sessions are left", len(w.sent), keeper.sessions())
		}
	})
}

// A final report that is on its way when the process dies is sent again.
func TestReportInFlightIsKept(t *testing.T) {
	proves(t, "C-111")
	synctest.Test(t, func(t *testing.T) {
		keeper := new(memoryKeeper)
		client, w := newTestClient(t, ClientConfig{Keeper: keeper}, answering(sixty()))
		client.Charge(t.Context(), initial("s"))
		w.say(func(ctx context.Context, _ sending) (*CCA, error) {
			<-ctx.Done()
			return nil, fmt.Errorf("%w: %w", peer.ErrNoAnswer, ctx.Err())
		})
		go client.Charge(t.Context(), final("s", 1))
		pass(time.Second)
		k := keeper.of("s")
		if err := k.check(); err != nil || len(k.Requests) != 1 || k.kind() != ocs.Terminate || usedSeconds(k.Requests[0]) != 42 || k.Server != "ocs1.vpn.example" {
			t.Errorf("%v, %+v", err, k)
		}
		pass(time.Hour)
	})
}

// What an earlier process left waits for room, and shutdown ends that wait.
func TestManyKeptRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keeper := &memoryKeeper{kept: map[string]Kept{}}
		for _, id := range []string{"a", "b", "c"} {
			keeper.kept[id] = keep(session{}, time.Now(), repeat{}, &CCR{SessionID: id, OriginHost: testClient.Host, OriginRealm: testClient.Realm,
				DestinationRealm: "vpn.example", ServiceContextID: ContextSIP, Type: ocs.Terminate, Number: 4, TerminationCause: Some(causeLogout)})
		}
		client, w := newTestClient(t, ClientConfig{Keeper: keeper, LateMax: 1}, failing(peer.ErrNoPeer))
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- client.Run(ctx) }()
		pass(time.Minute)
		if err := client.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		for _, s := range w.sent {
			if s.ccr.SessionID != "a" {
				t.Errorf("%s is sent though there is room for one", s.ccr.SessionID)
			}
		}
		if len(w.sent) < 2 || keeper.sessions() != 3 {
			t.Errorf("%d requests, %d are kept for the next start", len(w.sent), keeper.sessions())
		}
	})
}

// A journal that cannot be read at the start is read later; the gateway runs.
func TestJournalReadLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keeper := new(memoryKeeper)
		client, w := newTestClient(t, ClientConfig{Keeper: keeper}, answering(sixty()))
		client.Charge(t.Context(), initial("s"))
		pass(journalPause)
		keeper.setFail(errors.New("database away"))
		w.say(answering(CCA{ResultCode: 2001}))
		log := new(logLines)
		restartWith(t, keeper, w, log.logger())
		pass(time.Minute)
		if len(w.sent) != 1 || log.count("cannot be read") != 1 {
			t.Errorf("%d requests without a journal, log %s", len(w.sent)-1, log)
		}
		keeper.setFail(nil)
		pass(time.Minute)
		if len(w.sent) != 2 || w.sent[1].ccr.Type != ocs.Terminate || keeper.sessions() != 0 || log.count("can be read again") != 1 {
			t.Errorf("%d requests, %d sessions are kept, log %s", len(w.sent)-1, keeper.sessions(), log)
		}
		ctx, cancel := context.WithCancel(t.Context())
		keeper.setFail(errors.New("database away"))
		cancel()
		if err := client.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}
