package pgstore

import (
	"strings"
	"testing"

	"gygate/ocs"
)

// Every kind of fault that may be planted in the books is found, with the account
// and the numbers.
func TestVerifyFindsEachViolation(t *testing.T) {
	for _, c := range []struct {
		name  string
		plant string // on account 1 with balance 1: amount 100, frozen 40 by session s
		rule  Rule
		says  string
	}{
		{"money appears", "update balance set amount = 107", RuleAmount, "amount 107, but credits 100 - debits 0 = 100"},
		{"journal row lost", "delete from journal where kind = 'credit'", RuleAmount, "amount 100, but credits 0 - debits 0 = 0"},
		{"balance lost", "delete from balance", RuleAmount, "amount is missing"},
		{"frozen appears", "update balance set frozen = 41", RuleFrozen, "frozen 41, but its freezes are 40"},
		{"freeze lost", "update session set targets = '\\x030000' || substring(targets from 25)", RuleFrozen, "frozen 40, but its freezes are 0"},
		{"freeze on no balance", "update session set targets = overlay(targets placing int8send(99) from 9 for 8)", RuleFrozen, "frozen is missing, but its freezes are 40"},
		{"negative", "alter table balance drop constraint balance_never_below_frozen; update balance set frozen = 101", RuleRange, "amount 100, frozen 101"},
		{"session closed with a freeze", "update session set closed_at = deadline", RuleOrphan, `40 frozen for target "100", but the session is closed`},
		{"freeze on another's balance", `insert into account (bucket, id, currency) select bucket, 99, currency from account;
			insert into balance (bucket, account, id, unit, amount) select bucket, 99, 98, 4, 100 from account limit 1;
			update session set targets = overlay(targets placing int8send(98) from 9 for 8)`, RuleEndless, "the balance is not the account's"},
		{"no deadline", "update session set deadline = 'infinity'", RuleEndless, "the deadline is infinity"},
		{"freeze of no target", "update session set targets = overlay(targets placing '777' from 6 for 3)", RuleEndless, `40 frozen for target "777", which the session does not know`},
		{"session lost", "delete from session", RuleFrozen, "frozen 40, but its freezes are 0"},
		{"moved twice", "insert into journal select (r).* from (select jsonb_populate_record(j, '{\"id\": 0}') r from journal j where kind = 'step') x", RuleOnce, `request type 1, number 0 moved target "100" 2 times (step)`},
		{"debited without a charge", `insert into journal select (r).* from (select jsonb_populate_record(j, '{"id": 0, "number": 1, "debited": 5}') r from journal j where kind = 'step') x;
			update balance set amount = 95`, RuleCharged, `target "100" was charged 0, but debited and overrun are 5`},
		{"state broken", "update session set targets = '\\xff'", RuleCharged, "broken session state"},
		{"freezes cut off", "update session set targets = substring(targets for 12)", RuleCharged, "broken session state"},
		{"credited twice", `insert into journal select (r).* from (select jsonb_populate_record(j, jsonb_build_object('id', n, 'session', null, 'credit_key', 'k')) r from journal j, generate_series(-2, -1) n where kind = 'credit') x`,
			RuleOnce, `credit key "k" moved it 2 times (credit)`},
		{"reversed without a credit", `insert into event_debit select bucket, '\x01', id, now(), '{}', '{}', 10, 4, 3, 1 from account`, RuleReversed, "reversed 4 of debit 01, but 0 was credited back"},
		{"debt appears", "update account set debt = 3", RuleDebt, "debt 3, but overruns 0 - repaid 0 = 0"},
		{"debt lost", `insert into journal select (r).* from (select jsonb_populate_record(j, '{"id": 0, "kind": "overrun", "balance": 0, "session": null, "overrun": 9}') r from journal j where kind = 'step') x`, RuleDebt, "debt 0, but overruns 9 - repaid 0 = 9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLedger(t)
			a := sampleAccount(t, l)
			w := want(a, "s", ocs.Initial, 0)
			transact(t, l.Store, w, func(set *ocs.WorkingSet) { openSession(set, w, "s", 40) })
			l.audit(t)
			for statement := range strings.SplitSeq(c.plant, ";") {
				l.exec(t, statement)
			}
			report, err := l.admin.Verify(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range report.Violations {
				if v.Rule == c.rule && strings.Contains(v.Detail, c.says) && (v.Account == a.Key.ID || c.name == "balance lost" || c.name == "session lost") {
					return
				}
			}
			t.Errorf("not found; the report has %v", report.Violations)
		})
	}
}

func TestVerifyCountsWhatItChecked(t *testing.T) {
	l := newLedger(t)
	a := sampleAccount(t, l)
	w := want(a, "s", ocs.Initial, 0)
	transact(t, l.Store, w, func(set *ocs.WorkingSet) { openSession(set, w, "s", 40) })
	r, err := l.admin.Verify(t.Context())
	if err != nil || !r.OK() || r.Accounts != 1 || r.Balances != 1 || r.Sessions != 1 || r.Freezes != 1 || r.Journal != 2 || r.At.IsZero() {
		t.Errorf("%+v, %v", r, err)
	}
}

// The books hold when months of the journal are dropped.
func TestVerifyHoldsAfterJournalMonthsAreDropped(t *testing.T) {
	l := newLedger(t)
	a := sampleAccount(t, l)
	w := want(a, "s", ocs.Initial, 0)
	transact(t, l.Store, w, func(set *ocs.WorkingSet) { openSession(set, w, "s", 40) })
	transact(t, l.Store, w, func(set *ocs.WorkingSet) { // debit 30 with an overrun of 5, refund 10, close
		b, s := set.Accounts[a.Key].Balances[0], set.Sessions[refOf(w.Step)]
		b.Amount, b.Frozen, b.Dirty = b.Amount-30, 0, true
		set.Accounts[a.Key].Debt, set.Accounts[a.Key].Dirty = 5, true
		s.Targets[0].Charged, s.Targets[0].Freezes, s.ClosedAt, s.Dirty = 35, nil, set.Now, true
		row := ocs.JournalRow{At: set.Now, Account: a.Key, Session: w.Step.Session, Type: ocs.Terminate, Number: 1, Target: "100"}
		debit, overrun := row, row
		debit.Kind, debit.Balance, debit.Debited, debit.Refunded, debit.AmountAfter = ocs.JournalStep, b.ID, 30, 10, b.Amount
		overrun.Kind, overrun.Overrun = ocs.JournalOverrun, 5
		set.Journal = append(set.Journal, debit, overrun)
	})
	l.audit(t)
	before, err := l.admin.Show(t.Context(), l.identity(t, a.Key))
	if err != nil {
		t.Fatal(err)
	}

	var now, end = l.clock(t, "now()"), l.clock(t, "now() + interval '40 days'")
	if n, err := l.dropJournal(t.Context(), now); err != nil || n != 0 {
		t.Errorf("dropped %d months that are not over (%v)", n, err)
	}
	if n, err := l.dropJournal(t.Context(), end); err != nil || n == 0 {
		t.Errorf("dropped %d months (%v)", n, err)
	}
	if n := l.count(t, "journal"); n != 0 {
		t.Errorf("%d rows left", n)
	}
	l.audit(t)
	after, err := l.admin.Show(t.Context(), l.identity(t, a.Key))
	if err != nil || after.Spent != before.Spent || after.Spent != 30 {
		t.Errorf("spent %v, before %v (%v)", after.Spent, before.Spent, err)
	}
	if _, err := l.admin.TopUp(t.Context(), TopUp{Identity: l.identity(t, a.Key), Amount: 20, Source: "top-up", Key: "k", Debt: PayDebt}); err != nil {
		t.Fatal(err)
	}
	l.audit(t)
}
