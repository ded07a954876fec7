package pgstore

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"gygate/diameter"
	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// silence lets time pass for a session: its deadline comes nearer.
func (l *ledger) silence(t testing.TB, id string, d time.Duration) {
	t.Helper()
	l.exec(t, `update session set opened_at = opened_at - make_interval(secs => $2), deadline = deadline - make_interval(secs => $2),
		due = due - make_interval(secs => $2) where session_id = $1`, id, d.Seconds())
}

func (l *ledger) deadline(t testing.TB, id string) (at time.Time) {
	t.Helper()
	if err := l.pool.QueryRow(t.Context(), "select deadline from session where session_id = $1", id).Scan(&at); err != nil {
		t.Fatal(err)
	}
	return at
}

// tcc is the supervision time of the engines here: twice the validity.
const tcc = 600 * time.Second

// B-040: a client that falls silent.
func TestSupervisionEndsASilentSession(t *testing.T) {
	t.Attr("proves", "B-040")
	l := newLedger(t)
	payer := ocstest.NewPayer()
	a := l.AddAccount(t, ocstest.Prepaid(10*money), payer)
	n := newNode(t, l.Store, "ocs1.example")
	id := ocstest.NewSession()
	codes(t, n.send(t, request(id, payer, ocs.Initial, 0, 0), 0), 2001)
	var opened time.Time
	if err := l.pool.QueryRow(t.Context(), "select opened_at from session").Scan(&opened); err != nil || l.deadline(t, id).Sub(opened) != tcc {
		t.Fatalf("supervised for %v (%v), want %v", l.deadline(t, id).Sub(opened), err, tcc)
	}
	l.silence(t, id, tcc-30*time.Second)
	if ended := n.Sweep(t.Context()); ended != 0 {
		t.Fatal("ended before its time")
	}
	l.silence(t, id, 30*time.Second)
	if ended := n.Sweep(t.Context()); ended != 1 {
		t.Fatalf("%d sessions ended, want 1", ended)
	}
	if released := l.count(t, "journal where kind = 'expire' and refunded = 600000 and debited = 0"); released != 1 {
		t.Errorf("%d rows give 0.60 back, want 1", released)
	}
	if b := l.account(t, a.Key).Balances[0]; b.Amount != int64(10*money) || b.Frozen != 0 {
		t.Errorf("balance %+v", b)
	}
	written := l.journalled(t)
	codes(t, n.send(t, request(id, payer, ocs.Update, 1, 50), 0), 5002)
	codes(t, n.send(t, request(id, payer, ocs.Terminate, 2, 50), 0), 5002)
	if l.journalled(t) != written {
		t.Error("use after the end moved money")
	}
	l.audit(t)
}

// B-042: what renews the supervision and what does not.
func TestOnlyNewRequestsRenewTheSupervision(t *testing.T) {
	t.Attr("proves", "B-042")
	l := newLedger(t)
	payer := ocstest.NewPayer()
	l.AddAccount(t, ocstest.Prepaid(10*money), payer)
	n := newNode(t, l.Store, "ocs1.example")
	id := ocstest.NewSession()
	codes(t, n.send(t, request(id, payer, ocs.Initial, 0, 0), 0), 2001)
	l.silence(t, id, 100*time.Second)
	codes(t, n.send(t, request(id, payer, ocs.Update, 1, 50), 0), 2001)
	if left := l.deadline(t, id).Sub(l.clock(t, "clock_timestamp()")); left < tcc-30*time.Second || left > tcc {
		t.Errorf("%v left after an update, want %v", left, tcc)
	}
	l.silence(t, id, 500*time.Second)
	was := l.deadline(t, id)

	codes(t, n.send(t, request(id, payer, ocs.Update, 1, 50), again), 2001)
	n.ClientState(gateway.Host, 9) // a CER
	codes(t, n.send(t, request(id, payer, ocs.Initial, 0, 0), again), 2001)
	notices := newNotices(t, l)
	l.topUp(t, payer, 1)
	settle(t, notices, claimOne(t, notices), ocs.NoticeExpected, 1) // RAR, RAA
	stranger := request(id, payer, ocs.Update, 2, 50)
	stranger.OriginRealm = "elsewhere"
	codes(t, n.send(t, stranger, 0), 5002)
	if is := l.deadline(t, id); !is.Equal(was) {
		t.Errorf("the deadline moved by %v", is.Sub(was))
	}
}

// B-043: the node that opened the session is gone; of the others one releases it,
// at the deadline it had.
func TestSupervisionSurvivesItsNode(t *testing.T) {
	t.Attr("proves", "B-043")
	l := newLedger(t)
	payer := ocstest.NewPayer()
	a := l.AddAccount(t, ocstest.Prepaid(10*money), payer)
	id := ocstest.NewSession()
	t.Run("the first node", func(t *testing.T) { // its engine and connections end with it
		n := newNode(t, openStore(t, l.dsn), "ocs1.example")
		codes(t, n.send(t, request(id, payer, ocs.Initial, 0, 0), 0), 2001)
	})
	was := l.deadline(t, id)
	nodes := []*node{newNode(t, l.Store, "ocs2.example"), newNode(t, openStore(t, l.dsn), "ocs3.example")}
	sweep := func() (ended int) {
		var all sync.WaitGroup
		counts := make([]int, len(nodes))
		for i, n := range nodes {
			all.Go(func() { counts[i] = n.Sweep(context.WithoutCancel(t.Context())) })
		}
		all.Wait()
		return counts[0] + counts[1]
	}
	if sweep() != 0 || !l.deadline(t, id).Equal(was) {
		t.Fatal("a restart moved the deadline")
	}
	l.silence(t, id, tcc)
	if ended := sweep(); ended != 1 {
		t.Errorf("%d ended it, want 1", ended)
	}
	if rows := l.count(t, "journal where kind = 'expire'"); rows != 1 {
		t.Errorf("%d refund rows, want 1", rows)
	}
	if b := l.account(t, a.Key).Balances[0]; b.Frozen != 0 {
		t.Errorf("balance %+v", b)
	}
	l.audit(t)
}

// B-044: the deadline has passed, and a report comes while the sweeper is at it.
func TestSupervisionRacesReports(t *testing.T) {
	t.Attr("proves", "B-044")
	const races = 1000
	l := newLedger(t)
	one, two := newNode(t, l.Store, "ocs1.example"), newNode(t, openStore(t, l.dsn), "ocs2.example")
	random := rand.New(rand.NewPCG(44, 2026))
	won := map[string]int{}
	for done := 0; done < races; {
		// Sessions of accounts of their own, all past their deadline.
		const atOnce = 50
		var ids []string
		var payers []ocs.Identity
		for range atOnce {
			payer := ocstest.NewPayer()
			l.AddAccount(t, ocstest.Prepaid(10*money), payer)
			id := ocstest.NewSession()
			codes(t, one.send(t, request(id, payer, ocs.Initial, 0, 0), 0), 2001)
			ids, payers = append(ids, id), append(payers, payer)
		}
		l.exec(t, "update session set deadline = now() - interval '1 s', due = now() - interval '1 minute', opened_at = now() - interval '1 h' where closed_at is null")
		var all sync.WaitGroup
		answers := make([]diameter.Message, atOnce)
		kinds := make([]ocs.StepType, atOnce)
		for i := range ids {
			kinds[i] = []ocs.StepType{ocs.Update, ocs.Terminate}[random.IntN(2)]
			expire := func() { two.Do(ocs.Step{SessionID: ids[i], Type: ocs.Expire}) }
			report := func() { answers[i] = one.send(t, request(ids[i], payers[i], kinds[i], 1, 10), 0) }
			if random.IntN(2) == 0 {
				expire, report = report, expire
			}
			all.Go(expire)
			all.Go(report)
		}
		all.Wait()
		for i, m := range answers {
			won[l.raced(t, ids[i], payers[i], kinds[i], m)]++
		}
		done += atOnce
	}
	t.Logf("%d races: %v", races, won)
	if won["report"] == 0 || won["expiry"] == 0 {
		t.Errorf("one side never won: %v", won)
	}
	l.audit(t)
}

// raced says who won, and fails the test unless only that one had an effect.
func (l *ledger) raced(t testing.TB, id string, payer ocs.Identity, kind ocs.StepType, m diameter.Message) string {
	t.Helper()
	var debited, refunded, reserved int64
	var expiries int
	var open bool
	err := l.pool.QueryRow(t.Context(), `
		select sum(j.debited), sum(j.refunded), sum(j.reserved), count(*) filter (where j.kind = 'expire'), bool_or(s.closed_at is null)
		from journal j join session s on s.bucket = j.bucket and s.key = j.session where s.session_id = $1`, id).
		Scan(&debited, &refunded, &reserved, &expiries, &open)
	if err != nil {
		t.Fatal(err)
	}
	b := l.account(t, l.key(t, payer.Value)).Balances[0]
	switch m.ResultCode() {
	case 2001:
		if debited != 100_000 || expiries != 0 || open != (kind == ocs.Update) || b.Amount != int64(10*money)-100_000 {
			t.Errorf("%s: the report won, but debited %d, %d expiries, open %v", id, debited, expiries, open)
		}
		return "report"
	case 5002:
		if debited != 0 || expiries != 1 || refunded != 600_000 || open || b.Amount != int64(10*money) || b.Frozen != 0 {
			t.Errorf("%s: the expiry won, but debited %d, refunded %d, %d expiries, open %v", id, debited, refunded, expiries, open)
		}
		return "expiry"
	}
	t.Errorf("%s: answered %d", id, m.ResultCode())
	return "neither"
}
