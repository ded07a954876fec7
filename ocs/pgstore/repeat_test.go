package pgstore

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"gygate/diameter"
	"gygate/diameter/gy"
	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// B-020: each kind of request, sent again to the same and to another node, gets the
// stored answer in a new envelope, and writes nothing.
func TestRepeatsGetTheStoredAnswer(t *testing.T) {
	t.Attr("proves", "B-020")
	l := newLedger(t)
	payer := ocstest.NewPayer()
	l.AddAccount(t, ocstest.Prepaid(10*money), payer)
	one, two := newNode(t, l.Store, "ocs1.example"), newNode(t, openStore(t, l.dsn), "ocs2.example")
	id := ocstest.NewSession()
	debit := oneTime(ocstest.NewSession(), payer, ocs.DirectDebit, nil)
	for _, r := range []gy.CCR{
		request(id, payer, ocs.Initial, 0, 0),
		request(id, payer, ocs.Update, 1, 50),
		request(id, payer, ocs.Terminate, 2, 42),
		debit,
		oneTime(ocstest.NewSession(), payer, ocs.CheckBalance, nil),
		oneTime(ocstest.NewSession(), payer, ocs.PriceEnquiry, nil),
		request(ocstest.NewSession(), payer, ocs.Initial, 0, 0), // refused: see below
	} {
		if r.Type == ocs.Initial && r.SessionID != id {
			l.set(t, payer, Settings{Blocked: &yes})
		}
		first := one.send(t, r, 0)
		written := l.journalled(t)
		for _, n := range []*node{one, two, one} {
			m := frame(t, r, again)
			copied := await(t, n.submit(t, m))
			if charging(copied) != charging(first) {
				t.Errorf("%v: another answer from %s", r.Type, n.host)
			}
			if copied.HopByHop != m.HopByHop || copied.EndToEnd != m.EndToEnd || copied.Flags&diameter.FlagRetransmit != 0 {
				t.Errorf("%v: the header is not this copy's: %+v", r.Type, copied.Header)
			}
			proxy, _ := copied.Find(diameter.ProxyInfo)
			own, _ := m.Find(diameter.ProxyInfo)
			host, _ := copied.Find(diameter.OriginHost)
			if string(proxy.Raw) != string(own.Raw) || string(host.Data) != n.host {
				t.Errorf("%v: Proxy-Info %x from %s", r.Type, proxy.Raw, host.Data)
			}
		}
		if l.journalled(t) != written {
			t.Errorf("%v: a repeat wrote to the journal", r.Type)
		}
	}
	if b := l.account(t, l.key(t, payer.Value)).Balances[0]; b.Amount != int64(10*money)-920_000-300_000 || b.Frozen != 0 {
		t.Errorf("balance %+v", b)
	}
	l.audit(t)
}

// B-021: the copy that arrives while the original is under way.
func TestRepeatOfARequestUnderWay(t *testing.T) {
	t.Attr("proves", "B-021")
	l := newLedger(t)
	payer := ocstest.NewPayer()
	l.AddAccount(t, ocstest.Prepaid(10*money), payer)
	n := newNode(t, l.Store, "ocs1.example")
	id := ocstest.NewSession()
	codes(t, n.send(t, request(id, payer, ocs.Initial, 0, 0), 0), 2001)
	update := request(id, payer, ocs.Update, 1, 50)

	var answers [2]<-chan diameter.Message
	l.locked(t, l.key(t, payer.Value), func() {
		answers[0] = n.submit(t, frame(t, update, 0))
		l.awaitLockWait(t)
		answers[1] = n.submit(t, frame(t, update, again))
	})
	first, copied := await(t, answers[0]), await(t, answers[1])
	codes(t, first, 2001)
	if charging(first) != charging(copied) {
		t.Error("two answers")
	}
	if moved := l.count(t, "journal where session = $1 and type = 2 and debited > 0", [16]byte(ocs.KeyOf(id))); moved != 1 {
		t.Errorf("the use was debited %d times", moved)
	}
	l.audit(t)
}

// locked holds the lock of an account while do runs.
func (l *ledger) locked(t testing.TB, key ocs.AccountKey, do func()) {
	t.Helper()
	err := pgx.BeginFunc(t.Context(), l.pool, func(tx pgx.Tx) error {
		_, err := lockAccount(t.Context(), tx, key)
		do()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// B-022: the node is gone between its commit and its answer. The client's repeat
// goes to another one.
func TestRepeatAtAnotherNodeAfterTheFirstDied(t *testing.T) {
	t.Attr("proves", "B-022")
	l := newLedger(t)
	payer := ocstest.NewPayer()
	l.AddAccount(t, ocstest.Prepaid(10*money), payer)
	died, buried := make(chan struct{}), make(chan struct{})
	var number3 sync.Once
	armed := false
	doomed := newNode(t, openStore(t, l.dsn, func(o *Options) {
		o.Hook = func(point string) {
			if armed && point == AfterCommit {
				number3.Do(func() { close(died); <-buried }) // it never gets to the answer
			}
		}
	}), "ocs1.example")
	t.Cleanup(func() { close(buried) })
	id := ocstest.NewSession()
	codes(t, doomed.send(t, request(id, payer, ocs.Initial, 0, 0), 0), 2001)
	for number := range uint32(2) {
		codes(t, doomed.send(t, request(id, payer, ocs.Update, number+1, 10), 0), 2001)
	}
	armed = true
	update := request(id, payer, ocs.Update, 3, 50)
	unanswered := doomed.submit(t, frame(t, update, 0))
	<-died
	written := l.journalled(t)

	survivor := newNode(t, openStore(t, l.dsn), "ocs2.example")
	answer := survivor.send(t, update, again)
	codes(t, answer, 2001)
	if l.journalled(t) != written {
		t.Error("the repeat moved money again")
	}
	select {
	case <-unanswered:
		t.Error("the dead node has answered: the test proves nothing")
	default:
	}
	if b := l.account(t, l.key(t, payer.Value)).Balances[0]; b.Amount != int64(10*money)-700_000 || b.Frozen != 600_000 {
		t.Errorf("balance %+v, want 70 s debited and 60 s frozen", b)
	}
	codes(t, survivor.send(t, request(id, payer, ocs.Terminate, 4, 5), 0), 2001) // and goes on
	l.audit(t)
}

// B-023: a repeat that says something else.
func TestRepeatWithAnotherContent(t *testing.T) {
	t.Attr("proves", "B-023")
	l := newLedger(t)
	payer := ocstest.NewPayer()
	l.AddAccount(t, ocstest.Prepaid(10*money), payer)
	seen := &alarms{}
	n := newNode(t, l.Store, "ocs1.example", func(c *ocs.EngineConfig) { c.Logger = seen.logger() })
	id := ocstest.NewSession()
	codes(t, n.send(t, request(id, payer, ocs.Initial, 0, 0), 0), 2001)
	first := n.send(t, request(id, payer, ocs.Update, 3, 60), 0)
	codes(t, first, 2001)
	written := l.journalled(t)
	if seen.count() != 0 {
		t.Fatalf("alarms before: %v", seen.seen)
	}
	second := n.send(t, request(id, payer, ocs.Update, 3, 90), again)
	if charging(second) != charging(first) || l.journalled(t) != written {
		t.Error("the second content had an effect")
	}
	if seen.count() == 0 {
		t.Error("no alarm")
	}
	report, err := l.admin.Reconcile(t.Context(), time.Now().Add(-time.Hour))
	if err != nil || len(report.Lines) != 1 || report.Lines[0].Kind != ReconciledMismatch || report.Lines[0].Amount != "90" {
		t.Errorf("reconciliation %+v, %v", report, err)
	}
}

// B-024: how long what answers repeats is kept, and what is not kept at all.
func TestRetentionOfAnswers(t *testing.T) {
	t.Attr("proves", "B-024")
	l := newLedger(t)
	payer := ocstest.NewPayer()
	l.AddAccount(t, ocstest.Prepaid(100*money), payer)
	n := newNode(t, l.Store, "ocs1.example")
	age := func(d time.Duration) {
		t.Helper()
		l.exec(t, "update outcome set at = at - make_interval(secs => $1)", d.Seconds())
		l.exec(t, "update session set opened_at = opened_at - make_interval(secs => $1), closed_at = closed_at - make_interval(secs => $1)", d.Seconds())
		if _, err := l.admin.Maintain(t.Context(), ocs.DefaultPolicy().Retention); err != nil {
			t.Fatal(err)
		}
	}
	paid := n.send(t, oneTime(ocstest.NewSession(), payer, ocs.DirectDebit, nil), 0)
	codes(t, paid, 2001)
	refund := oneTime(ocstest.NewSession(), payer, ocs.RefundAccount, refundToken(t, paid))
	back := n.send(t, refund, 0)
	codes(t, back, 2001)
	id := ocstest.NewSession()
	codes(t, n.send(t, request(id, payer, ocs.Initial, 0, 0), 0), 2001)
	final := request(id, payer, ocs.Terminate, 1, 5)
	ended := n.send(t, final, 0)
	l.set(t, payer, Settings{Blocked: &yes})
	barredInitial := request(ocstest.NewSession(), payer, ocs.Initial, 0, 0)
	refused := n.send(t, barredInitial, 0)
	codes(t, refused, 4010)
	l.set(t, payer, Settings{Blocked: &no})

	age(23 * time.Hour)
	late := newNode(t, openStore(t, l.dsn), "ocs2.example") // remembers nothing
	written := l.journalled(t)
	for _, c := range []struct {
		r     gy.CCR
		first diameter.Message
	}{{refund, back}, {final, ended}, {barredInitial, refused}} {
		if a := late.send(t, c.r, again); charging(a) != charging(c.first) {
			t.Errorf("type %v after 23 h: another answer, %d", c.r.Type, a.ResultCode())
		}
	}
	if l.journalled(t) != written || l.count(t, "journal where credit_source = 'reversal'") != 1 {
		t.Error("a repeat after 23 h moved money")
	}
	age(2 * time.Hour)
	if kept := l.count(t, "outcome") + l.count(t, "session"); kept != 0 {
		t.Errorf("%d outcomes and sessions kept after 25 h", kept)
	}

	// 5030 and 5002 store nothing.
	codes(t, n.send(t, request(ocstest.NewSession(), ocstest.NewPayer(), ocs.Initial, 0, 0), 0), 5030)
	codes(t, n.send(t, request(ocstest.NewSession(), payer, ocs.Update, 1, 0), 0), 5002)
	if stored := l.count(t, "outcome") + l.count(t, "session"); stored != 0 {
		t.Errorf("%d outcomes and sessions stored for unknown subscribers and sessions", stored)
	}
	l.audit(t)
}

// B-024: the last 16 outcomes, and a window of 64 numbers.
func TestRetentionInsideASession(t *testing.T) {
	t.Attr("proves", "B-024")
	l := newLedger(t)
	payer := ocstest.NewPayer()
	l.AddAccount(t, ocstest.Prepaid(100*money), payer)
	n := newNode(t, l.Store, "ocs1.example")
	id := ocstest.NewSession()
	codes(t, n.send(t, request(id, payer, ocs.Initial, 0, 0), 0), 2001)
	answers := map[uint32]string{}
	const last = 80
	for number := uint32(1); number <= last; number++ {
		a := n.send(t, request(id, payer, ocs.Update, number, 1), 0)
		codes(t, a, 2001)
		answers[number] = charging(a)
	}
	written := l.journalled(t)
	for number := uint32(1); number <= last; number++ {
		a := n.send(t, request(id, payer, ocs.Update, number, 1), again)
		if number > last-ocs.OutcomesKept {
			if charging(a) != answers[number] {
				t.Errorf("number %d: another answer", number)
			}
			continue
		}
		codes(t, a, 5012)
	}
	if l.journalled(t) != written {
		t.Error("a repeat moved money")
	}
	l.audit(t)
}

func refundToken(t testing.TB, m diameter.Message) []byte {
	t.Helper()
	a, err := gy.ParseCCA(m)
	if err != nil || len(a.Services) != 1 || len(a.Services[0].RefundInformation) == 0 {
		t.Fatalf("no Refund-Information: %+v, %v", a, err)
	}
	return a.Services[0].RefundInformation
}

// B-025 on the wire: the same CCR-E reaches two nodes at the same instant.
func TestTwoNodesSameEventOnTheWire(t *testing.T) {
	t.Attr("proves", "B-025")
	l := newLedger(t)
	payer := ocstest.NewPayer()
	l.AddAccount(t, ocstest.Prepaid(100*money), payer)
	nodes := []*node{newNode(t, l.Store, "ocs1.example"), newNode(t, openStore(t, l.dsn), "ocs2.example")}
	const rounds = 30
	for range rounds {
		r := oneTime(ocstest.NewSession(), payer, ocs.DirectDebit, nil)
		var answers [2]diameter.Message
		var both sync.WaitGroup
		for i, n := range nodes {
			both.Go(func() { answers[i] = n.send(t, r, 0) })
		}
		both.Wait()
		codes(t, answers[0], 2001)
		if charging(answers[0]) != charging(answers[1]) {
			t.Fatal("two answers")
		}
	}
	if b := l.account(t, l.key(t, payer.Value)).Balances[0]; b.Amount != int64(100*money)-rounds*300_000 {
		t.Errorf("%d left, want one debit for each of %d events", b.Amount, rounds)
	}
	l.audit(t)
}

// B-221: first requests at two nodes at once never reserve more than there is.
func TestParallelInitialsNeverOverReserve(t *testing.T) {
	t.Attr("proves", "B-221")
	l := newLedger(t)
	payer := ocstest.NewPayer()
	l.AddAccount(t, ocstest.Prepaid(10*money), payer)
	nodes := []*node{newNode(t, l.Store, "ocs1.example"), newNode(t, openStore(t, l.dsn), "ocs2.example")}
	var waiting []<-chan diameter.Message
	for i := range 200 {
		r := request(fmt.Sprint(ocstest.NewSession(), i), payer, ocs.Initial, 0, 0)
		r.Services[0].Requested = gy.Some(gy.ServiceUnits{Time: gy.Some(uint32(60))})
		waiting = append(waiting, nodes[i%2].submit(t, frame(t, r, 0)))
	}
	var seconds uint32
	var full, partial, refused int
	for _, answers := range waiting {
		m := await(t, answers)
		if m.ResultCode() == 4012 {
			refused++
			continue
		}
		codes(t, m, 2001)
		a, err := gy.ParseCCA(m)
		if err != nil || len(a.Services) != 1 {
			t.Fatalf("%+v, %v", a, err)
		}
		granted := a.Services[0].Granted.Value.Time.Value
		if seconds += granted; granted == 60 {
			full++
		} else {
			partial++
		}
	}
	if seconds != 1000 || full != 16 || partial != 1 || refused != 183 {
		t.Errorf("%d s granted by %d full and %d smaller grants, %d refused; want 1000 s by 16 and 1, 183 refused", seconds, full, partial, refused)
	}
	if b := l.account(t, l.key(t, payer.Value)).Balances[0]; b.Frozen != int64(10*money) || b.Amount != int64(10*money) {
		t.Errorf("balance %+v", b)
	}
	l.audit(t)
}
