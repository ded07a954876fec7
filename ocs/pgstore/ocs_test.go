package pgstore

import (
	"testing"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// TestExercise runs the conformance suite for stores. Whenever the suite looks at
// the books, our own audit does so, too.
func TestExercise(t *testing.T) {
	ocstest.Exercise(t, func(t testing.TB) (ocs.Store, ocstest.Seeder) {
		l := newLedger(t)
		return l, audited{l}
	})
}

type audited struct{ *ledger }

// Close is that of an account, not of the store (ocstest.Teller).
func (a audited) Close(t testing.TB, key ocs.AccountKey) { a.closeAccount(t, key) }

// Clients talk to a real database as they do to the reference model, with fewer
// sessions; then the balances and what each session was charged are derived again
// from the journal alone (B-224).
func TestConversations(t *testing.T) {
	t.Attr("proves", "B-224")
	l := newLedger(t)
	const sessions = 400
	tally := ocstest.Converse(t, l.Store, audited{l}, ocstest.ConverseConfig{Seed: 2026, Sessions: sessions})
	for _, name := range []string{"replayed", "final", "overrun", "restart", "top-up", "block", "unblock", "event 0: true", "event 1: true"} {
		if tally[name] == 0 {
			t.Errorf("%q never happened", name)
		}
	}
	l.audit(t)
	if n := l.count(t, "journal where kind in ('step', 'expire', 'forfeit', 'overrun') and (session is null or rating_group = 0)"); n != 0 {
		t.Errorf("%d rows do not say for which session, request and group they are", n)
	}
	l.rederive(t)
}

// rederive compares balances and sessions with what the journal says.
func (l *ledger) rederive(t testing.TB) {
	t.Helper()
	wrong := l.count(t, `(
		select b.id from balance b left join (
			select balance, sum(credited - debited) amount, (array_agg(frozen_after order by at desc, id desc))[1] frozen
			from journal group by balance) j on j.balance = b.id
		where b.amount <> coalesce(j.amount, 0) or b.frozen <> coalesce(j.frozen, 0)) x`)
	if wrong != 0 || l.count(t, "balance") == 0 {
		t.Errorf("%d balances are not what the journal makes of them", wrong)
	}
	// What is frozen for a session is what its rows changed of the balances' frozen
	// sums; what it was charged, Verify has compared.
	wrong = l.count(t, `(
		select 1 from (
			select session, sub, balance, sum(moved) amount from (
				select session, sub, balance, frozen_after - lag(frozen_after, 1, 0::bigint) over (partition by balance order by at, id) moved
				from journal where balance <> 0) m
			where session is not null group by session, sub, balance) j
		full join (select session, sub, balance, sum(amount) amount from session_freezes group by session, sub, balance) f using (session, sub, balance)
		where coalesce(j.amount, 0) <> coalesce(f.amount, 0)) x`)
	if wrong != 0 {
		t.Errorf("%d sessions have another freeze than the journal makes of them", wrong)
	}
}
