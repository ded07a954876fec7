package pgstore

import (
	"math"
	"testing"
	"time"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// restarted lets the grace after a client's restart pass.
func (l *ledger) restarted(t testing.TB) {
	t.Helper()
	l.exec(t, "update client_state set since = since - make_interval(secs => $1)", ocs.OrphanGrace.Seconds())
}

// a client that has lost its sessions.
func TestOrphans(t *testing.T) {
	t.Attr("proves", "A-016")
	for _, how := range []string{"CER", "CCR"} {
		t.Run(how, func(t *testing.T) {
			s := newScene(t, 100*money)
			before, other := gateway, gateway
			before.State, other.Host, other.State = 10, "pgw2.example", 5
			silent := converse(t, s.node, s.payer, before, ocstest.Voice, ocstest.OnNet)
			heard := converse(t, s.node, s.payer, before, ocstest.Voice, ocstest.OnNet)
			stateless := before
			stateless.State = 0
			converse(t, s.node, s.payer, stateless, ocstest.Voice, ocstest.OnNet)
			converse(t, s.node, s.payer, other, ocstest.Voice, ocstest.OnNet) // of another client

			for _, state := range []uint32{0, 9, 10} { // says nothing, or is older
				s.node.ClientState("PGW1.example", state)
			}
			s.node.Sweep(t.Context())
			s.restarted(t)
			s.expired(t)

			after := before
			after.State, after.Relay = 11, "relay2.example"
			if how == "CER" {
				s.node.ClientState("pgw1.EXAMPLE", 11)
			}
			converse(t, s.node, s.payer, after, ocstest.Voice, ocstest.OnNet) // of the new state: shows it, and is no orphan
			s.until(t, "client_state where state = 11")
			s.expired(t) // not before the grace is over
			if sessions, err := s.admin.Sessions(t.Context(), SessionFilter{}); err != nil || orphaned(sessions) != 2 {
				t.Errorf("%d sessions are shown as orphaned (%v), want 2", orphaned(sessions), err)
			}
			heard.report(ocs.Terminate, ocstest.OnNet, ocstest.Used(ocs.Seconds, 7)) // the report that was on its way
			s.restarted(t)
			s.expired(t, silent.id)
			if ended := s.node.Sweep(t.Context()); ended != 1 {
				t.Errorf("%d sessions ended, want 1", ended)
			}
			s.expired(t)
			if n := s.count(t, "client_state where state = 11 and swept"); n != 1 {
				t.Error("the client is looked at for ever")
			}
			if b := s.ledger.account(t, s.account.Key).Balances[0]; b.Amount != int64(100*money)-70_000 || b.Frozen != 3*600_000 {
				t.Errorf("balance %+v, want the one report debited and three sessions frozen", b)
			}
			if o := silent.report(ocs.Update, ocstest.OnNet, ocstest.Used(ocs.Seconds, 3)); o.Refusal != ocs.UnknownSession {
				t.Errorf("the orphan goes on: %+v", o)
			}
			s.audit(t)
		})
	}
}

func orphaned(sessions []SessionInfo) (n int) {
	for _, s := range sessions {
		if s.Orphaned {
			n++
		}
	}
	return n
}

// A look is bounded, leaves out what could not be ended, and any node continues.
func TestExpiredIsBoundedAndSkips(t *testing.T) {
	s := newScene(t, 100*money)
	var ids []string
	for range 3 {
		ids = append(ids, converse(t, s.node, s.payer, gateway, ocstest.Voice, ocstest.OnNet).id)
	}
	if err := s.admin.CloseSession(t.Context(), ids[0]); err != nil {
		t.Fatal(err)
	}
	if err := s.ClientStarted(t.Context(), gateway.Host, gateway.State+1); err != nil {
		t.Fatal(err)
	}
	s.restarted(t)
	list := func(limit int, skip ...string) int {
		t.Helper()
		var refs []ocs.SessionRef
		for _, id := range skip {
			refs = append(refs, ocs.SessionRef{Key: ocs.KeyOf(id)})
		}
		wants, err := openStore(t, s.dsn).Expired(t.Context(), limit, refs)
		if err != nil {
			t.Fatal(err)
		}
		return len(wants)
	}
	for _, c := range []struct {
		limit int
		skip  []string
		want  int
	}{{1, nil, 1}, {2, nil, 2}, {10, ids[:1], 2}, {10, ids[:2], 1}, {1, ids[:1], 1}} {
		if n := list(c.limit, c.skip...); n != c.want {
			t.Errorf("limit %d, %d skipped: %d, want %d", c.limit, len(c.skip), n, c.want)
		}
	}
	if n := list(10, ids...); n != 0 {
		t.Errorf("%d although all are skipped", n)
	}
}

// B-040, B-226: what nobody was charged for is listed with session and amount.
func TestReconciliation(t *testing.T) {
	t.Attr("proves", "B-226")
	s := newScene(t, 100*money)
	poor := ocstest.NewPayer()
	s.AddAccount(t, ocstest.Prepaid(100_000), poor)
	began := time.Now().Add(-time.Hour)

	over := converse(t, s.node, poor, gateway, ocstest.Voice, ocstest.OnNet) // B-032: more than was granted
	over.report(ocs.Terminate, ocstest.OnNet, ocstest.Used(ocs.Seconds, 30))
	silent := converse(t, s.node, s.payer, gateway, ocstest.Voice, ocstest.OnNet) // B-040: supervision
	s.silence(t, silent.id, tcc)
	if s.node.Sweep(t.Context()) != 1 {
		t.Fatal("not ended")
	}
	stray := &conversation{Driver: s.node, id: ocstest.NewSession(), from: gateway} // B-080: no such session
	stray.report(ocs.Terminate, ocstest.OnNet, ocstest.Used(ocs.Seconds, 44))
	twice := converse(t, s.node, s.payer, gateway, ocstest.Voice, ocstest.OnNet) // B-023: another content
	twice.report(ocs.Update, ocstest.OnNet, ocstest.Used(ocs.Seconds, 10))
	for range 2 {
		other := ocs.Step{SessionID: twice.id, Type: ocs.Update, Number: 1, Client: gateway, Content: [16]byte{1},
			Items: []ocs.Item{ocstest.For(ocstest.OnNet, ocstest.Used(ocs.Seconds, 90), ocstest.Wish(0, 0))}}
		if o := s.node.Do(other); !o.Replayed || !o.Mismatch || o.Cost != 100_000 {
			t.Fatalf("%+v", o)
		}
	}

	report, err := s.admin.Verify(t.Context())
	if err != nil || !report.OK() {
		t.Fatalf("%v, %v", report.Violations, err)
	}
	rich, poorKey := s.account.Key.ID, s.key(t, poor.Value).ID
	want := map[ReconciledLine]bool{
		{Kind: ReconciledOverrun, Account: poorKey, Session: over.id, Target: "100", Unit: "money", Amount: "0.20"}: true,
		{Kind: ReconciledExpiry, Account: rich, Session: silent.id, Target: "100", Unit: "money", Amount: "0.60"}:   true,
		{Kind: ReconciledOrphan, Session: stray.id, Unit: "seconds", Amount: "44"}:                                  true,
		{Kind: ReconciledMismatch, Account: rich, Session: twice.id, Unit: "seconds", Amount: "90"}:                 true,
	}
	got := report.Reconciliation
	if got.Found != int64(len(want)) || len(got.Lines) != len(want) {
		t.Errorf("%d lines, want %d", len(got.Lines), len(want))
	}
	for _, l := range got.Lines {
		if l.At.Before(began) {
			t.Errorf("dated %v", l.At)
		}
		l.At = time.Time{}
		if !want[l] {
			t.Errorf("unexpected: %v", l)
		}
	}
	later, err := s.admin.Reconcile(t.Context(), time.Now().Add(time.Hour))
	if err != nil || len(later.Lines) != 0 {
		t.Errorf("%d lines of the future (%v)", len(later.Lines), err)
	}
}

// A client that reports more than can be counted does not keep an operator from the
// books.
func TestReconciliationOfTheUncountable(t *testing.T) {
	s := newScene(t, money)
	item := ocstest.For(ocstest.Volume, ocstest.Used(ocs.Octets, math.MaxInt64), nil)
	s.node.Do(ocs.Step{SessionID: ocstest.NewSession(), Type: ocs.Terminate, Client: gateway, Items: []ocs.Item{item, item}})
	report, err := s.admin.Verify(t.Context())
	if err != nil || len(report.Reconciliation.Lines) != 1 || report.Reconciliation.Lines[0].Amount != "9223372036854775807" {
		t.Errorf("%v, %+v", err, report.Reconciliation)
	}
}
