package pgstore

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// gateway is the client of the sessions that the notices speak of.
var gateway = ocs.Client{Host: "PGW1.example", Realm: "example", Relay: "relay1.example", State: 7}

// reach is what a node has connected: the gateway.
var reach = []string{"pgw1.example"}

// conversation is one session of a client with an engine.
type conversation struct {
	*ocstest.Driver
	id    string
	payer ocs.Identity
	from  ocs.Client
	next  uint32
}

// converse opens a session that asks for quota in groups.
func converse(t testing.TB, d *ocstest.Driver, payer ocs.Identity, from ocs.Client, service string, groups ...uint32) *conversation {
	t.Helper()
	c := &conversation{Driver: d, id: ocstest.NewSession(), payer: payer, from: from}
	step := ocs.Step{SessionID: c.id, Type: ocs.Initial, Service: service, Payer: []ocs.Identity{payer}, Client: from}
	for _, g := range groups {
		step.Items = append(step.Items, ocstest.For(g, nil, ocstest.Wish(0, 0)))
	}
	if o := d.Do(step); o.Refusal != "" {
		t.Fatalf("the session is refused: %s", o.Refusal)
	}
	return c
}

// report is the session's next request: an update that asks for more, or its end.
func (c *conversation) report(kind ocs.StepType, group uint32, used []ocs.Usage) ocs.Outcome {
	c.next++
	item := ocstest.For(group, used, nil)
	if kind == ocs.Update {
		item.Requested = ocstest.Wish(0, 0)
	}
	return c.Do(ocs.Step{SessionID: c.id, Type: kind, Number: c.next, Client: c.from, Items: []ocs.Item{item}})
}

func engineConfig() ocs.EngineConfig {
	p := ocs.DefaultPolicy()
	p.ClockTolerance = 24 * time.Hour // the tests talk faster than the clock
	return ocs.EngineConfig{Policy: p, Sweep: -1}
}

func newNotices(t testing.TB, l *ledger) *Notices {
	t.Helper()
	n, err := OpenNotices(t.Context(), l.pool, nil)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func claim(t testing.TB, n *Notices, hosts []string) []ocs.Notice {
	t.Helper()
	claimed, err := n.Claim(t.Context(), hosts, false, 100)
	if err != nil {
		t.Fatal(err)
	}
	return claimed
}

// claimOne claims the one notice there must be.
func claimOne(t testing.TB, n *Notices) ocs.Notice {
	t.Helper()
	claimed := claim(t, n, reach)
	if len(claimed) != 1 {
		t.Fatalf("%d notices claimed, want 1", len(claimed))
	}
	return claimed[0]
}

func claimNone(t testing.TB, n *Notices) {
	t.Helper()
	if claimed := claim(t, n, reach); len(claimed) != 0 {
		t.Fatalf("claimed %+v", claimed)
	}
}

func settle(t testing.TB, n *Notices, notice ocs.Notice, r ocs.NoticeResult, endToEnd uint32) {
	t.Helper()
	if err := n.Settle(t.Context(), notice, r, endToEnd); err != nil {
		t.Fatal(err)
	}
}

// pass lets time pass for the notices.
func (l *ledger) pass(t testing.TB, d time.Duration) {
	t.Helper()
	l.exec(t, `update notice set due = due - make_interval(secs => $1), raised_at = raised_at - make_interval(secs => $1),
		sent_at = sent_at - make_interval(secs => $1)`, d.Seconds())
}

var topUps int

func (l *ledger) topUp(t testing.TB, payer ocs.Identity, amount ocs.Money) {
	t.Helper()
	topUps++
	if _, err := l.admin.TopUp(t.Context(), TopUp{Identity: payer.Value, Amount: amount, Source: "top-up", Key: fmt.Sprint("notice ", topUps)}); err != nil {
		t.Fatal(err)
	}
}

func (l *ledger) set(t testing.TB, payer ocs.Identity, s Settings) {
	t.Helper()
	s.By, s.Reason = "test", "test"
	if _, err := l.admin.Set(t.Context(), payer.Value, s); err != nil {
		t.Fatal(err)
	}
}

var yes, no = true, false

// scene is an engine, a payer with money, and a notifier's view of the notices.
type scene struct {
	*ledger
	node    *ocstest.Driver
	payer   ocs.Identity
	account ocs.Account
	notices *Notices
}

func newScene(t testing.TB, balance ocs.Money) *scene {
	t.Helper()
	s := &scene{ledger: newLedger(t), payer: ocstest.NewPayer()}
	s.node = ocstest.Start(t, s.Store, engineConfig())
	s.account = s.AddAccount(t, ocstest.Prepaid(balance), s.payer)
	s.notices = newNotices(t, s.ledger)
	return s
}

// Each change of an account raises what its clients must hear, or nothing.
func TestWhatRaisesANotice(t *testing.T) {
	later, past, threshold := time.Now().Add(time.Hour), time.Now().Add(-time.Hour), ocs.Money(5)
	for _, c := range []struct {
		name   string
		before Settings
		change func(*testing.T, *scene)
		want   ocs.NoticeReason // 0: none
	}{
		{"top-up", Settings{}, func(t *testing.T, s *scene) { s.topUp(t, s.payer, 1) }, ocs.NoticeCredit},
		{"top-up of a blocked account", Settings{Blocked: &yes}, func(t *testing.T, s *scene) { s.topUp(t, s.payer, 1) }, 0},
		{"blocked", Settings{}, func(t *testing.T, s *scene) { s.set(t, s.payer, Settings{Blocked: &yes}) }, ocs.NoticeBarred},
		{"lost", Settings{}, func(t *testing.T, s *scene) { s.set(t, s.payer, Settings{Lost: &yes}) }, ocs.NoticeBarred},
		{"blocked again", Settings{Blocked: &yes}, func(t *testing.T, s *scene) { s.set(t, s.payer, Settings{Blocked: &yes}) }, 0},
		{"unblocked", Settings{Blocked: &yes}, func(t *testing.T, s *scene) { s.set(t, s.payer, Settings{Blocked: &no}) }, ocs.NoticeCredit},
		{"unblocked but lost", Settings{Blocked: &yes, Lost: &yes}, func(t *testing.T, s *scene) { s.set(t, s.payer, Settings{Blocked: &no}) }, 0},
		{"validity over", Settings{}, func(t *testing.T, s *scene) { s.set(t, s.payer, Settings{ValidUntil: &past}) }, ocs.NoticeBarred},
		{"validity renewed", Settings{ValidUntil: &past}, func(t *testing.T, s *scene) { s.set(t, s.payer, Settings{ValidUntil: &later}) }, ocs.NoticeCredit},
		{"threshold", Settings{}, func(t *testing.T, s *scene) { s.set(t, s.payer, Settings{Threshold: &threshold}) }, ocs.NoticeCredit},
		{"service class", Settings{}, func(t *testing.T, s *scene) { class := "gold"; s.set(t, s.payer, Settings{Class: &class}) }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t, 10*money)
			call := converse(t, s.node, s.payer, gateway, ocstest.Voice, ocstest.OnNet)
			converse(t, s.node, s.payer, ocs.Client{}, ocstest.Voice, ocstest.OnNet) // nobody to ask
			if c.before != (Settings{}) {
				s.set(t, s.payer, c.before)
				s.exec(t, "delete from notice")
			}
			c.change(t, s)
			claimed := claim(t, s.notices, reach)
			if c.want == 0 {
				if len(claimed) != 0 {
					t.Errorf("raised %+v", claimed)
				}
				return
			}
			want := ocs.Notice{Session: ocs.KeyOf(call.id), Account: s.account.Key, SessionID: call.id, Service: ocstest.Voice,
				Client: gateway, Reason: c.want, Attempt: 1, Raised: 1}
			if len(claimed) != 1 || claimed[0] != want {
				t.Errorf("got  %+v\nwant %+v", claimed, want)
			}
			if _, frozen := ocstest.Totals(s.ledger.account(t, s.account.Key)); frozen == 0 {
				t.Error("the notice moved money")
			}
		})
	}
}

// B-191: a session of which one group starves is asked for that group.
func TestNoticeNamesTheStarvedGroup(t *testing.T) {
	s := newScene(t, 1_200_000) // two slices of data, and no more
	one := converse(t, s.node, s.payer, gateway, ocstest.Data, ocstest.Volume)
	scoped := func() *uint32 {
		t.Helper()
		s.topUp(t, s.payer, 1)
		notice := claimOne(t, s.notices)
		s.exec(t, "delete from notice")
		return notice.RatingGroup
	}
	if group := scoped(); group != nil {
		t.Errorf("a session of one group is asked for group %d", *group)
	}
	one.report(ocs.Update, ocstest.OnNet, nil) // the rest: a final grant
	if group := scoped(); group == nil || *group != ocstest.OnNet {
		t.Errorf("asked for %v, want the group with the final grant", group)
	}
	one.report(ocs.Update, ocstest.OffNet, nil) // refused inside the item
	if n := s.count(t, "session where closed_at is null"); n != 1 {
		t.Fatal("the session is over")
	}
}

// B-196: however often the account is topped up, and however fast the client
// answers, two sendings are a second apart; what came in between is one.
func TestTopUpsCoalesce(t *testing.T) {
	t.Attr("proves", "B-196")
	s := newScene(t, 10*money)
	call := converse(t, s.node, s.payer, gateway, ocstest.Voice, ocstest.OnNet)
	var sent []ocs.Notice
	for i := range 50 {
		s.topUp(t, s.payer, 1)
		s.exec(t, "update notice set sent_at = now()") // all in the second of the first sending
		for _, notice := range claim(t, s.notices, reach) {
			sent = append(sent, notice)
			s.topUp(t, s.payer, 1) // while it is under way
			claimNone(t, s.notices)
			if i%2 == 0 {
				call.report(ocs.Update, ocstest.OnNet, nil)
			}
			settle(t, s.notices, notice, ocs.NoticeDone, 1)
		}
	}
	if len(sent) != 1 {
		t.Errorf("%d sendings within a second of the first", len(sent))
	}
	s.pass(t, time.Second)
	settle(t, s.notices, claimOne(t, s.notices), ocs.NoticeExpected, 2) // for all the others
	call.report(ocs.Update, ocstest.OnNet, nil)
	s.pass(t, ocs.NoticeWait)
	claimNone(t, s.notices)
	if n := s.count(t, "notice"); n != 0 {
		t.Errorf("%d notices left", n)
	}
}

// A report that comes before the notice is sent, or before its answer, settles it:
// the client knows (B-195).
func TestReportSettlesTheNotice(t *testing.T) {
	s := newScene(t, 10*money)
	call := converse(t, s.node, s.payer, gateway, ocstest.Voice, ocstest.OnNet)
	s.topUp(t, s.payer, 1)
	call.report(ocs.Update, ocstest.OnNet, nil)
	claimNone(t, s.notices)

	s.topUp(t, s.payer, 1)
	notice := claimOne(t, s.notices)
	call.report(ocs.Update, ocstest.OnNet, nil)
	settle(t, s.notices, notice, ocs.NoticeUndelivered, 5)
	claimNone(t, s.notices)
	s.pass(t, time.Second)
	claimNone(t, s.notices)

	s.topUp(t, s.payer, 1)
	call.report(ocs.Terminate, ocstest.OnNet, nil)
	claimNone(t, s.notices)
	s.pass(t, ocs.NoticeLife)
	claimNone(t, s.notices)
	if n := s.count(t, "notice"); n != 0 {
		t.Errorf("%d notices left", n)
	}
}

// What follows each result, up to the end.
func TestSettle(t *testing.T) {
	type sending struct {
		result   ocs.NoticeResult
		endToEnd uint32
		wait     time.Duration // until the next one is due
		attempt  int           // of the next, 0: none follows
		repeats  uint32        // End-to-End it repeats
	}
	for _, c := range []struct {
		name     string
		sendings []sending
	}{
		{"done", []sending{{ocs.NoticeDone, 1, time.Minute, 0, 0}}},
		{"withheld", []sending{{ocs.NoticeWithheld, 1, time.Minute, 0, 0}}},
		{"promised and not kept", []sending{{ocs.NoticeExpected, 1, ocs.NoticeWait, 2, 0}, {ocs.NoticeExpected, 2, ocs.NoticeWait, 0, 0}}},
		{"not delivered", []sending{{ocs.NoticeUndelivered, 77, 0, 2, 77}, {ocs.NoticeUndelivered, 77, time.Minute, 0, 0}}},
		{"not delivered, then done", []sending{{ocs.NoticeUndelivered, 77, 0, 2, 77}, {ocs.NoticeDone, 77, time.Minute, 0, 0}}},
		{"the node dies", []sending{{0, 0, ocs.NoticeLease, 2, 0}, {0, 0, ocs.NoticeLease, 0, 0}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t, 10*money)
			converse(t, s.node, s.payer, gateway, ocstest.Voice, ocstest.OnNet)
			s.topUp(t, s.payer, 1)
			notice := claimOne(t, s.notices)
			for _, step := range c.sendings {
				if step.result != 0 {
					settle(t, s.notices, notice, step.result, step.endToEnd)
				}
				if step.wait > 0 {
					s.pass(t, step.wait-time.Second/2)
					if step.wait < time.Minute {
						claimNone(t, s.notices) // not yet
					}
					s.pass(t, time.Second)
				}
				if step.attempt == 0 {
					claimNone(t, s.notices)
					continue
				}
				if notice = claimOne(t, s.notices); notice.Attempt != step.attempt || notice.EndToEnd != step.repeats {
					t.Errorf("attempt %d repeats %d, want attempt %d of %d", notice.Attempt, notice.EndToEnd, step.attempt, step.repeats)
				}
			}
			if n := s.count(t, "notice"); n != 0 {
				t.Errorf("%d notices left", n)
			}
			if s.count(t, "session where closed_at is null and late_until is null") != 1 {
				t.Error("the session was touched")
			}
		})
	}
}

// A session whose client has lost it, or accepted its end and did not report, is
// ended like one an operator closes; a report that comes in time counts.
func TestNoticeEndsTheSession(t *testing.T) {
	for _, c := range []struct {
		name   string
		abort  bool
		result ocs.NoticeResult
		wait   time.Duration
	}{
		{"the client lost it", false, ocs.NoticeUnknown, ocs.NoticeGrace},
		{"the client lost it, asked to end it", true, ocs.NoticeUnknown, ocs.NoticeGrace},
		{"the end was promised", true, ocs.NoticeExpected, ocs.NoticeWait},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t, 10*money)
			silent := converse(t, s.node, s.payer, gateway, ocstest.Voice, ocstest.OnNet)
			heard := converse(t, s.node, s.payer, gateway, ocstest.Voice, ocstest.OnNet)
			s.set(t, s.payer, Settings{Blocked: &yes})
			for _, notice := range claim(t, s.notices, reach) {
				notice.Abort = c.abort
				settle(t, s.notices, notice, c.result, 1)
			}
			heard.report(ocs.Terminate, ocstest.OnNet, ocstest.Used(ocs.Seconds, 7))
			s.pass(t, c.wait-time.Second)
			claimNone(t, s.notices)
			s.expired(t)
			s.pass(t, 2*time.Second)
			claimNone(t, s.notices)
			s.expired(t, silent.id)
			s.topUp(t, s.payer, 1) // asks nobody for a session that ends
			claimNone(t, s.notices)

			s.node.Do(ocs.Step{SessionID: silent.id, Type: ocs.Expire})
			if b := s.ledger.account(t, s.account.Key).Balances[0]; b.Frozen != 0 || b.Amount != int64(10*money)+1-70_000 {
				t.Errorf("balance %+v", b)
			}
			if o := silent.report(ocs.Terminate, ocstest.OnNet, ocstest.Used(ocs.Seconds, 3)); o.Refusal != "" || o.Cost != 30_000 {
				t.Errorf("the late final report: %+v", o)
			}
			if n := s.count(t, "notice"); n != 0 {
				t.Errorf("%d notices left", n)
			}
			s.audit(t)
		})
	}
}

// expired checks which sessions are to be ended.
func (l *ledger) expired(t testing.TB, ids ...string) {
	t.Helper()
	wants, err := l.Expired(t.Context(), 100, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got, want []ocs.SessionKey
	for _, w := range wants {
		got = append(got, w.Step.Session)
	}
	for _, id := range ids {
		want = append(want, ocs.KeyOf(id))
	}
	order := func(a, b ocs.SessionKey) int { return slices.Compare(a[:], b[:]) }
	slices.SortFunc(got, order)
	slices.SortFunc(want, order)
	if !slices.Equal(got, want) {
		t.Errorf("%d sessions are to be ended, want %d: %v", len(got), len(want), ids)
	}
}

// An operator's order to end a session reaches the client even when the sweeper is
// faster.
func TestCloseSessionTellsTheClient(t *testing.T) {
	s := newScene(t, 10*money)
	call := converse(t, s.node, s.payer, gateway, ocstest.Voice, ocstest.OnNet)
	if err := s.admin.CloseSession(t.Context(), call.id); err != nil {
		t.Fatal(err)
	}
	s.node.Do(ocs.Step{SessionID: call.id, Type: ocs.Expire})
	if s.count(t, "session where closed_at is null") != 0 {
		t.Fatal("not closed")
	}
	notice := claimOne(t, s.notices)
	if notice.Reason != ocs.NoticeEnd {
		t.Errorf("%+v", notice)
	}
	settle(t, s.notices, notice, ocs.NoticeExpected, 1)
	if o := call.report(ocs.Terminate, ocstest.OnNet, ocstest.Used(ocs.Seconds, 9)); o.Refusal != "" || o.Cost != 90_000 {
		t.Errorf("%+v", o)
	}
	s.pass(t, ocs.NoticeWait)
	claimNone(t, s.notices)
	if n := s.count(t, "notice"); n != 0 {
		t.Errorf("%d notices left", n)
	}
	s.audit(t)
}

// B-045: the account is closed in mid-session.
func TestClosedAccountEndsItsSessions(t *testing.T) {
	t.Attr("proves", "B-045")
	s := newScene(t, 10*money)
	call := converse(t, s.node, s.payer, gateway, ocstest.Voice, ocstest.OnNet)
	s.set(t, s.payer, Settings{Closed: &yes})
	s.expired(t, call.id)
	sweeping := engineConfig()
	sweeping.Sweep = 5 * time.Millisecond
	ocstest.Start(t, openStore(t, s.dsn), sweeping)
	s.until(t, "session where closed_at is not null")
	if b := s.ledger.account(t, s.account.Key).Balances[0]; b.Frozen != 0 || b.Amount != int64(10*money) {
		t.Errorf("balance %+v", b)
	}
	if notice := claimOne(t, s.notices); notice.Reason != ocs.NoticeBarred || notice.SessionID != call.id {
		t.Errorf("the client is not told: %+v", notice)
	}
	s.audit(t)
}

// A block that is lifted before the client could be told is no reason to end calls;
// an order to end one stands.
func TestReasonsReplaceEachOther(t *testing.T) {
	s := newScene(t, 10*money)
	call := converse(t, s.node, s.payer, gateway, ocstest.Voice, ocstest.OnNet)
	next := func() ocs.NoticeReason {
		t.Helper()
		s.pass(t, time.Second)
		notice := claimOne(t, s.notices)
		settle(t, s.notices, notice, ocs.NoticeExpected, 1)
		return notice.Reason
	}
	s.set(t, s.payer, Settings{Blocked: &yes})
	s.set(t, s.payer, Settings{Blocked: &no})
	if r := next(); r != ocs.NoticeCredit {
		t.Errorf("after the block was lifted: %v", r)
	}
	s.topUp(t, s.payer, 1) // the report that is promised will see it
	claimNone(t, s.notices)
	s.set(t, s.payer, Settings{Blocked: &yes})
	if r := next(); r != ocs.NoticeBarred {
		t.Errorf("a block while a report is promised: %v", r)
	}
	if err := s.admin.CloseSession(t.Context(), call.id); err != nil {
		t.Fatal(err)
	}
	s.set(t, s.payer, Settings{Blocked: &no})
	if r := next(); r != ocs.NoticeEnd {
		t.Errorf("an order to end it: %v", r)
	}
}
