package gy

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/ocs"
)

// board is a port to notices: what is due is pinned to it, what came of it is read
// off.
type board struct {
	mu      sync.Mutex
	due     []ocs.Notice
	settled []settlement
	claims  []time.Time
	hosts   []string
	failing bool
}

type settlement struct {
	notice   ocs.Notice
	result   ocs.NoticeResult
	endToEnd uint32
}

func (b *board) Claim(_ context.Context, hosts []string, _ bool, limit int) ([]ocs.Notice, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.claims, b.hosts = append(b.claims, time.Now()), hosts
	if b.failing {
		return nil, errors.New("no database")
	}
	n := min(limit, len(b.due))
	due := b.due[:n]
	b.due = b.due[n:]
	return due, nil
}

func (b *board) Settle(_ context.Context, n ocs.Notice, r ocs.NoticeResult, endToEnd uint32) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settled = append(b.settled, settlement{n, r, endToEnd})
	return nil
}

func (b *board) pin(notices ...ocs.Notice) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.due = append(b.due, notices...)
}

func (b *board) fail() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failing = true
}

func (b *board) results() []settlement {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]settlement(nil), b.settled...)
}

// client answers requests of the charging system with a code, or an error.
type client struct {
	mu     sync.Mutex
	code   diameter.ResultCode
	err    error
	fault  *diameter.Error
	way    string
	gate   chan struct{} // when set, an answer waits for it
	asked  []peer.Request
	frames []diameter.Message
	atOnce int
	most   int
}

func (c *client) Reachable() ([]string, bool) { return []string{"vpnas1.vpn.example"}, false }

func (c *client) Do(_ context.Context, r peer.Request) (peer.Answer, error) {
	m, err := diameter.ParseMessage(r.Encode(nil, c.way))
	if err != nil {
		return peer.Answer{}, err
	}
	c.mu.Lock()
	c.asked, c.frames = append(c.asked, r), append(c.frames, m)
	c.atOnce++
	c.most = max(c.most, c.atOnce)
	c.mu.Unlock()
	if c.gate != nil {
		<-c.gate
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.atOnce--
	answer := peer.Answer{From: peer.Remote{Host: c.way}, EndToEnd: r.EndToEnd, Fault: c.fault}
	if r.EndToEnd == 0 {
		answer.EndToEnd = 0x7e000001
	}
	if c.err != nil {
		return answer, c.err
	}
	b := diameter.StartAnswer(nil, m, c.code, testClient)
	answer.Message, err = diameter.ParseMessage(diameter.FinishAnswer(b, 0, m))
	return answer, err
}

var called = ocs.Client{Host: "vpnas1.vpn.example", Realm: "vpn.example", Relay: "dra1.vpn.example"}

// notice is one about session 19 of trace 4.
func notice(reason ocs.NoticeReason) ocs.Notice {
	return ocs.Notice{Session: ocs.KeyOf("19"), SessionID: "vpnas1.vpn.example;3973000001;19", Service: ContextVoice, Client: called, Reason: reason, Attempt: 1}
}

// notified delivers a notice to a client.
func notified(t testing.TB, profile Profile, n ocs.Notice, c *client, log *logLines) settlement {
	t.Helper()
	b := new(board)
	config := NotifierConfig{Local: testLocal, Tariff: testTariff, Logger: log.logger(), Profile: func(string) (Profile, bool) { return profile, true }}
	NewNotifier(config, b, c).deliver(t.Context(), n)
	if len(b.settled) != 1 {
		t.Fatalf("settled %+v", b.settled)
	}
	return b.settled[0]
}

// notifiedTo is notified with a client that answers a code; it also says how many
// requests went out.
func notifiedTo(t testing.TB, profile Profile, n ocs.Notice, code diameter.ResultCode) (settlement, int) {
	c := &client{code: code}
	return notified(t, profile, n, c, new(logLines)), len(c.asked)
}

func TestRequestsOfTheServer(t *testing.T) {
	proves(t, "B-190", "B-052")
	want := hex.EncodeToString(golden(t, "G9").Raw)
	group, envelope := uint32(101), func(members ...[]byte) [][]byte {
		return append([][]byte{str(diameter.SessionID, "vpnas1.vpn.example;3973000001;19"), str(diameter.OriginHost, testLocal.Host),
			str(diameter.OriginRealm, testLocal.Realm), str(diameter.DestinationRealm, "vpn.example"),
			str(diameter.DestinationHost, "vpnas1.vpn.example"), u32(diameter.AuthApplicationID, 4)}, members...)
	}
	scoped, sub := notice(ocs.NoticeCredit), notice(ocs.NoticeCredit)
	scoped.RatingGroup, sub.SubID = &group, 2
	ended := notice(ocs.NoticeEnd)
	ended.SubID = 2
	again := u32(diameter.ReAuthRequestType, 0)
	for _, c := range []struct {
		name    string
		notice  ocs.Notice
		command uint32
		want    [][]byte
	}{
		{"top-up", notice(ocs.NoticeCredit), diameter.CmdReAuth, envelope(again)},
		{"one group", scoped, diameter.CmdReAuth, envelope(again, u32(diameter.RatingGroup, 101))},
		{"a sub-session", sub, diameter.CmdReAuth, envelope(again, u64(diameter.CCSubSessionID, 2))},
		{"prices", notice(ocs.NoticeTariff), diameter.CmdReAuth, envelope(again)},
		{"blocked", notice(ocs.NoticeBarred), diameter.CmdAbortSession, envelope()},
		{"ended", ended, diameter.CmdAbortSession, envelope(u64(diameter.CCSubSessionID, 2))},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked := &client{code: 2001}
			s := notified(t, LenientProfile, c.notice, asked, new(logLines))
			r, m := asked.asked[0], asked.frames[0]
			if m.Command != c.command || m.Application != 4 || m.Flags != diameter.FlagRequest|diameter.FlagProxiable {
				t.Errorf("header %+v", m.Header)
			}
			valid(t, m)
			var wanted []byte
			for _, member := range c.want {
				wanted = append(wanted, member...)
			}
			if g, w := canonical(m.Body(), 0), canonical(wanted, 0); g != w {
				t.Errorf("sent\n%s\nwant\n%s", g, w)
			}
			if state, _ := m.Find(diameter.OriginStateID); state.Uint32() != testLocal.StateID {
				t.Errorf("Origin-State-Id %d", state.Uint32())
			}
			if r.Stay != called.Host || r.Via != called.Relay || r.Avoid != "" || r.Retransmission || r.EndToEnd != 0 || r.Failover {
				t.Errorf("request %+v", r)
			}
			if s.notice.Abort != (c.command == diameter.CmdAbortSession) {
				t.Errorf("settled %+v", s)
			}
			if c.name == "top-up" {
				m.Raw[12], m.Raw[13], m.Raw[14], m.Raw[15] = 0, 0xc0, 0, 1 // what a connection fills in
				m.Raw[16], m.Raw[17], m.Raw[18], m.Raw[19] = 0x7e, 0, 0, 1
				if got := hex.EncodeToString(m.Raw); got != want {
					t.Errorf("octets\n%s\nwant G9\n%s", got, want)
				}
			}
		})
	}
}

// B-198: whether a bar ends the session or only refuses it follows the service.
func TestBarFollowsTheService(t *testing.T) {
	tariff := func(bar ocs.BarAction, inItems bool) func() *ocs.Tariff {
		c := ocs.ServiceContext{Name: ContextVoice, Unit: ocs.Seconds, ItemRefusals: inItems}
		c.Bar = bar
		made, err := ocs.NewTariff(nil, []ocs.ServiceContext{c})
		if err != nil {
			t.Fatal(err)
		}
		return func() *ocs.Tariff { return made }
	}
	withdrawn, err := ocs.NewTariff(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		tariff func() *ocs.Tariff
		abort  bool
	}{
		{tariff(ocs.BarDefault, false), true}, {tariff(ocs.BarDefault, true), false},
		{tariff(ocs.BarAbort, true), true}, {tariff(ocs.BarAsk, false), false},
		{func() *ocs.Tariff { return withdrawn }, true},
	} {
		n := NewNotifier(NotifierConfig{Local: testLocal, Tariff: c.tariff}, nil, nil)
		for reason, abort := range map[ocs.NoticeReason]bool{ocs.NoticeBarred: c.abort, ocs.NoticeEnd: true, ocs.NoticeCredit: false, ocs.NoticeTariff: false} {
			if got := n.aborts(notice(reason)); got != abort {
				t.Errorf("%v: abort %v, want %v", reason, got, abort)
			}
		}
	}
}

// What the answer of the client means for the notice (B-192 to B-194, B-199); what
// follows from it is the database's, and proven with it.
func TestAnswersOfTheClient(t *testing.T) {
	for code, want := range map[diameter.ResultCode][2]ocs.NoticeResult{ // RAA, ASA
		2001: {ocs.NoticeDone, ocs.NoticeExpected},
		2002: {ocs.NoticeExpected, ocs.NoticeExpected},
		5002: {ocs.NoticeUnknown, ocs.NoticeUnknown},
		3002: {ocs.NoticeUndelivered, ocs.NoticeUndelivered},
		3004: {ocs.NoticeUndelivered, ocs.NoticeUndelivered},
		5012: {ocs.NoticeUndelivered, ocs.NoticeUndelivered},
		3001: {ocs.NoticeUndelivered, ocs.NoticeUndelivered},
	} {
		for n, reason := range []ocs.NoticeReason{ocs.NoticeCredit, ocs.NoticeEnd} {
			for _, fault := range []*diameter.Error{nil, {Code: diameter.AVPNotAllowed}} { // of an AVP that should not be there
				c := &client{code: code, fault: fault, way: "dra1.vpn.example"}
				if got := notified(t, LenientProfile, notice(reason), c, new(logLines)); got.result != want[n] || got.endToEnd != 0x7e000001 {
					t.Errorf("%d to %v: %+v, want %d", code, reason, got, want[n])
				}
			}
		}
	}
	for err, endToEnd := range map[error]uint32{peer.ErrNoAnswer: 0x7e000001, peer.ErrNoPeer: 0, peer.ErrPendingFull: 0} {
		c := &client{err: err}
		if got := notified(t, LenientProfile, notice(ocs.NoticeCredit), c, new(logLines)); got.result != ocs.NoticeUndelivered || got.endToEnd != endToEnd {
			t.Errorf("%v: %+v", err, got)
		}
	}
}

// B-194: the repeat has the T bit, the identifier of the first, and another way.
func TestNoticeIsRepeatedElsewhere(t *testing.T) {
	proves(t, "B-194")
	log := new(logLines)
	c := &client{err: peer.ErrNoAnswer, way: "dra1.vpn.example"}
	n := NewNotifier(NotifierConfig{Local: testLocal, Tariff: testTariff, Logger: log.logger()}, new(board), c)
	first := notice(ocs.NoticeCredit)
	n.deliver(t.Context(), first)
	if log.has("cannot be told") {
		t.Error("given up after the first sending")
	}
	second := first
	second.Attempt, second.EndToEnd = 2, 0x7e000001
	n.deliver(t.Context(), second)
	if r := c.asked[1]; !r.Retransmission || r.EndToEnd != 0x7e000001 || r.Avoid != "dra1.vpn.example" {
		t.Errorf("repeated as %+v", r)
	}
	if !log.has("cannot be told") || len(n.ways) != 0 {
		t.Errorf("log %s, ways %v", log, n.ways)
	}
	for i := range waysMax + 1 {
		first.SubID = uint64(i)
		n.remember(first, "dra1.vpn.example")
	}
	if len(n.ways) > waysMax {
		t.Errorf("%d ways are remembered", len(n.ways))
	}
}

// A notice is delivered at once when there is a hint, within a second when there is
// none, and so many at a time as there is room for.
func TestNotifierRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c, log := new(board), &client{code: 2002}, new(logLines)
		n := NewNotifier(NotifierConfig{Local: testLocal, Tariff: testTariff, Logger: log.logger()}, b, c)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- n.Run(ctx) }()
		synctest.Wait()

		b.pin(notice(ocs.NoticeCredit))
		n.Hint()
		n.Hint()
		synctest.Wait()
		if got := b.results(); len(got) != 1 || got[0].result != ocs.NoticeExpected {
			t.Errorf("after a hint: %+v", got)
		}
		if len(b.hosts) != 1 || b.hosts[0] != "vpnas1.vpn.example" {
			t.Errorf("claimed for %v", b.hosts)
		}
		b.pin(notice(ocs.NoticeCredit))
		start := time.Now()
		time.Sleep(NoticePollDefault)
		synctest.Wait()
		if got := b.results(); len(got) != 2 || time.Since(start) != time.Second {
			t.Errorf("after a second: %+v", got)
		}

		c.gate = make(chan struct{})
		for range 3 * noticesAtOnce {
			b.pin(notice(ocs.NoticeTariff))
		}
		n.Hint()
		synctest.Wait()
		close(c.gate)
		synctest.Wait()
		if got := b.results(); len(got) != 2+3*noticesAtOnce || c.most != noticesAtOnce {
			t.Errorf("%d settled, %d at once", len(got), c.most)
		}

		b.fail()
		time.Sleep(3 * NoticePollDefault)
		synctest.Wait()
		if got := strings.Count(log.String(), "cannot be read"); got != 1 {
			t.Errorf("told %d times", got)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
