package pgstore

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// Whoever holds the client, else its last relay, else anyone with a relay.
func TestWhoClaims(t *testing.T) {
	for _, c := range []struct {
		name   string
		hosts  []string
		relays bool
		waited time.Duration
		want   int
	}{
		{"the client", []string{"other.example", "pgw1.example"}, false, 0, 1},
		{"its last relay", []string{"relay1.example"}, false, 0, 1},
		{"neither", []string{"other.example"}, false, time.Minute, 0},
		{"nobody", nil, false, time.Minute, 0},
		{"any relay, at once", nil, true, 0, 0},
		{"any relay, after a while", nil, true, 4 * time.Second, 1},
		{"too late", []string{"pgw1.example"}, true, ocs.NoticeLife, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t, 10*money)
			converse(t, s.node, s.payer, gateway, ocstest.Voice, ocstest.OnNet)
			s.topUp(t, s.payer, 1)
			s.pass(t, c.waited)
			claimed, err := s.notices.Claim(t.Context(), c.hosts, c.relays, 10)
			if err != nil || len(claimed) != c.want {
				t.Errorf("%d claimed (%v), want %d", len(claimed), err, c.want)
			}
		})
	}
}

// Several nodes claim at once: each notice is one node's, up to its limit.
func TestNoNoticeIsClaimedTwice(t *testing.T) {
	s := newScene(t, 100*money)
	const sessions = 40
	for range sessions {
		converse(t, s.node, s.payer, gateway, ocstest.Voice, ocstest.OnNet)
	}
	s.topUp(t, s.payer, 1)
	var mu sync.Mutex
	seen := map[ocs.SessionKey]int{}
	var nodes sync.WaitGroup
	for range 4 {
		node, err := OpenNotices(t.Context(), newPool(t, s.dsn), nil)
		if err != nil {
			t.Fatal(err)
		}
		nodes.Go(func() {
			for range sessions {
				claimed, err := node.Claim(t.Context(), reach, false, 3)
				if err != nil || len(claimed) > 3 {
					t.Errorf("%d claimed (%v)", len(claimed), err)
				}
				mu.Lock()
				for _, n := range claimed {
					seen[n.Session]++
				}
				mu.Unlock()
			}
		})
	}
	nodes.Wait()
	for key, n := range seen {
		if n != 1 {
			t.Errorf("%x was claimed %d times", key, n)
		}
	}
	if len(seen) != sessions {
		t.Errorf("%d claimed, want %d", len(seen), sessions)
	}
}

// A new price, or another setting of a service, concerns the open sessions of that
// service, once every node can have read it; an unchanged one concerns nobody.
func TestTariffNotices(t *testing.T) {
	s := newScene(t, 10*money)
	voice := converse(t, s.node, s.payer, gateway, ocstest.Voice, ocstest.OnNet)
	data := converse(t, s.node, s.payer, gateway, ocstest.Data, ocstest.Volume)
	price := func(id, service string, from time.Time) ocs.TariffEntry {
		return ocs.TariffEntry{ID: id, Version: 1, Service: service, RatingGroup: 7, Unit: ocs.Seconds, Currency: 978, Price: 1, Per: 1, First: 1, Following: 1, ValidFrom: from}
	}
	put := func(a *Admin, e ocs.TariffEntry) {
		t.Helper()
		if err := a.PutTariff(t.Context(), []ocs.TariffEntry{e}); err != nil {
			t.Fatal(err)
		}
	}
	asked := func(want ...*conversation) {
		t.Helper()
		claimNone(t, s.notices) // not before all nodes have the tariff
		voice.report(ocs.Update, ocstest.OnNet, nil)
		data.report(ocs.Update, ocstest.Volume, nil) // may have been rated by the old one
		s.pass(t, tariffSettles)
		claimed := claim(t, s.notices, reach)
		for _, n := range claimed {
			if n.Reason != ocs.NoticeTariff || !slices.ContainsFunc(want, func(c *conversation) bool { return c.id == n.SessionID }) {
				t.Errorf("claimed %+v", n)
			}
		}
		if len(claimed) != len(want) {
			t.Errorf("%d claimed, want %d", len(claimed), len(want))
		}
		s.exec(t, "delete from notice")
	}
	put(s.admin, price("voice", ocstest.Voice, time.Time{}))
	asked(voice)
	put(s.admin, price("voice", ocstest.Voice, time.Time{})) // the same again
	asked()
	put(s.admin, price("all", ocs.AnyService, time.Time{}))
	asked(voice, data)
	put(s.admin, price("next year", ocs.AnyService, time.Now().Add(365*24*time.Hour)))
	asked()
	put(s.admin.TellClients(false), price("quiet", ocs.AnyService, time.Time{}))
	asked()
	context := ocs.ServiceContext{Name: ocstest.Data, Unit: ocs.Octets, ItemRefusals: true, ServiceOptions: ocs.ServiceOptions{HoldSeconds: 60}}
	for _, want := range [][]*conversation{{data}, nil} {
		if err := s.admin.PutServiceContext(t.Context(), context); err != nil {
			t.Fatal(err)
		}
		asked(want...)
	}
	// With nothing but the tariff changed, a report after the sending is enough.
	put(s.admin, price("more", ocstest.Voice, time.Time{}))
	s.pass(t, tariffSettles)
	settle(t, s.notices, claimOne(t, s.notices), ocs.NoticeUndelivered, 1)
	voice.report(ocs.Update, ocstest.OnNet, nil)
	s.pass(t, time.Second)
	claimNone(t, s.notices)
	if n := s.count(t, "notice"); n != 0 {
		t.Errorf("%d notices left", n)
	}
}

// A raise is heard by a listening node at once, also after its connection broke.
func TestListen(t *testing.T) {
	s := newScene(t, 10*money)
	converse(t, s.node, s.payer, gateway, ocstest.Voice, ocstest.OnNet)
	ctx, stop := context.WithCancel(t.Context())
	hints, ended := make(chan struct{}, 100), make(chan error, 1)
	go func() { ended <- s.notices.Listen(ctx, func() { hints <- struct{}{} }) }()
	heard := func() {
		t.Helper()
		select {
		case <-hints:
		case <-time.After(patience):
			t.Fatal("no hint")
		}
	}
	heard() // connected
	s.topUp(t, s.payer, 1)
	heard()
	s.exec(t, "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = current_database() and query like 'listen %'")
	heard() // connected anew
	s.topUp(t, s.payer, 1)
	heard()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Raising and claiming never wait for each other in a circle.
func TestNoticesUnderLoad(t *testing.T) {
	s := newScene(t, 1000*money)
	for range 6 {
		converse(t, s.node, s.payer, gateway, ocstest.Voice, ocstest.OnNet)
	}
	var all sync.WaitGroup
	for worker := range 3 {
		all.Go(func() {
			for i := range 15 {
				_, err := s.admin.TopUp(t.Context(), TopUp{Identity: s.payer.Value, Amount: 1, Source: "top-up", Key: fmt.Sprint(worker, i)})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Go(func() {
		for i := range 10 {
			e := ocs.TariffEntry{ID: fmt.Sprint(i), Version: 1, Service: ocs.AnyService, RatingGroup: 900 + uint32(i), Unit: ocs.Seconds, Currency: 978, Price: 1, Per: 1, First: 1, Following: 1}
			if err := s.admin.PutTariff(t.Context(), []ocs.TariffEntry{e}); err != nil {
				t.Error(err)
			}
		}
	})
	results := []ocs.NoticeResult{ocs.NoticeExpected, ocs.NoticeDone, ocs.NoticeUndelivered, ocs.NoticeWithheld}
	for range 2 {
		all.Go(func() {
			for i := range 40 {
				claimed, err := s.notices.Claim(t.Context(), reach, true, 4)
				if err != nil {
					t.Error(err)
				}
				for _, n := range claimed {
					if err := s.notices.Settle(t.Context(), n, results[i%len(results)], 1); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	s.audit(t)
}

// A restart loses nothing: what was raised before it is sent after it, and for what
// changes after it the session's row says whom to ask.
func TestNoticesSurviveARestart(t *testing.T) {
	l := newLedger(t)
	payer := ocstest.NewPayer()
	a := l.AddAccount(t, ocstest.Prepaid(10*money), payer)
	var before, after string
	t.Run("before", func(t *testing.T) { // engine and connections end with it
		node := ocstest.Start(t, openStore(t, l.dsn), engineConfig())
		before = converse(t, node, payer, gateway, ocstest.Voice, ocstest.OnNet).id
		l.topUp(t, payer, 1)
		after = converse(t, node, payer, gateway, ocstest.Voice, ocstest.OnNet).id
	})
	n, err := OpenNotices(t.Context(), newPool(t, l.dsn), nil)
	if err != nil {
		t.Fatal(err)
	}
	first := claimOne(t, n)
	settle(t, n, first, ocs.NoticeDone, 1)
	l.pass(t, time.Second)
	l.topUp(t, payer, 1)
	both := claim(t, n, reach)
	if first.SessionID != before || len(both) != 2 || !slices.ContainsFunc(both, func(n ocs.Notice) bool { return n.SessionID == after }) {
		t.Errorf("first %+v, then %+v", first, both)
	}
	for _, notice := range both {
		if notice.Client != gateway || notice.Account != a.Key {
			t.Errorf("%+v does not say whom to ask", notice)
		}
	}
}
