package ocs_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// part is an item for one service of a rating group.
func part(target ocs.Target, group uint32, used int64) ocs.Item {
	item := octets(group, used)
	item.Target = target
	return item
}

// Whatever a request names, it moves each balance for each target once: the
// books would show two rows of one request otherwise.
func TestOneRequestMovesATargetOnce(t *testing.T) {
	t.Run("D-034 two services of a granted group", func(t *testing.T) {
		w := data(t)
		w.initial(ask(rgData))
		o := w.terminate(part("10/7", rgData, 3*megabyte), part("10/8", rgData, 2*megabyte))
		w.ok(o)
		if len(o.Items) != 2 || o.Items[0].Target != "10/7" || o.Items[1].Target != "10/8" {
			t.Errorf("%+v", o.Items)
		}
		w.ledger("19.95", "0", "0.05")
	})
	t.Run("D-034 each service asks again", func(t *testing.T) {
		w := data(t)
		w.initial(ask(rgData))
		o := w.update(again(part("10/7", rgData, 3*megabyte)), again(part("10/8", rgData, 2*megabyte)))
		w.want(o, 0, 100*megabyte, false)
		w.want(o, 1, 100*megabyte, false)
		w.ledger("17.95", "2.00", "0.05") // a freeze for each of the grants
		w.ok(w.terminate())
		w.ledger("19.95", "0", "0.05")
	})
	t.Run("D-034 group and service side by side", func(t *testing.T) {
		w := data(t)
		w.initial(ask(rgData))
		o := w.update(again(part("10/7", rgData, 3*megabyte)), again(octets(rgData, 2*megabyte)))
		w.want(o, 0, 100*megabyte, false)
		w.want(o, 1, 100*megabyte, false)
		w.ledger("17.95", "2.00", "0.05")
	})
	t.Run("a late report that ends the session", func(t *testing.T) {
		w := voice(t)
		w.initial(ask(rgOnNet))
		first, second := w.step(ocs.Update, again(seconds(rgOnNet, 10))), w.step(ocs.Update, again(seconds(rgOnNet, 20)))
		w.want(w.do(second), 0, 60, false)
		w.store.Block(t, w.account.Key)
		w.refused(w.do(first), ocs.Blocked)
		w.ledger("9.70", "0", "0.30")
	})
	t.Run("a direct debit that closes", func(t *testing.T) {
		w := voice(t)
		w.initial(ask(rgOnNet))
		s := w.step(ocs.Direct, seconds(rgOnNet, 10))
		s.Verbs = ocs.VerbDebit | ocs.VerbClose
		w.ok(w.do(s))
		w.ledger("9.90", "0", "0.10")
	})
}

// A direct reservation that was overtaken by a younger one replaces nothing.
func TestLateDirectReservation(t *testing.T) {
	w := voice(t)
	w.initial(ask(rgOnNet))
	first, second := w.step(ocs.Direct, again(seconds(rgOnNet, 0))), w.step(ocs.Direct, again(seconds(rgOnNet, 0)))
	first.Verbs = ocs.VerbRefund | ocs.VerbReserve
	second.Verbs = first.Verbs
	first.Items[0].Requested = ocstest.Wish(ocs.Seconds, 5)
	w.want(w.do(second), 0, 60, false)
	w.ok(w.do(first))
	w.ledger("9.40", "0.60", "0")
}

// B-214 holds for reversals, too.
func TestReversalInAForeignCurrency(t *testing.T) {
	w := voice(t)
	token := w.event(ocs.DirectDebit, messages(1, nil)).Items[0].RefundToken
	back := messages(1, token)
	back.Requested, back.Currency = ocstest.Wish(ocs.Amount, 100_000), 840
	w.refused(w.event(ocs.RefundAccount, back), ocs.ForeignCurrency)
	w.ledger("9.70", "0", "0.30")
	back.Currency = ocstest.Currency
	if o := w.event(ocs.RefundAccount, back); o.Refusal != "" || o.Cost != -100_000 {
		t.Errorf("%+v", o)
	}
	w.ledger("9.80", "0", "0.20")
}

// Authenticate is asked anew each time, whatever else was refused before.
func TestAuthenticateIsNeverAnsweredFromStore(t *testing.T) {
	w := newWorld(t, ocstest.Voice, ocstest.Prepaid(0))
	ctx := context.Background()
	payer := []ocs.Identity{w.payer}
	_, err := w.Reserve(ctx, ocs.ReserveRequest{Payer: payer, Service: ocstest.Voice, RatingGroup: rgOnNet})
	if !errors.Is(err, ocs.NoBalance) {
		t.Fatal(err)
	}
	w.store.TopUp(w.account.Key, 0, 1_000_000)
	if _, err := w.Authenticate(ctx, ocs.AuthenticateRequest{Payer: payer, Service: ocstest.Voice}); err != nil {
		t.Errorf("after the top-up: %v", err)
	}
}

// A database clock that steps back (a standby was promoted) must not leave a
// session that ended before it began.
func TestClockStepsBack(t *testing.T) {
	w := voice(t)
	w.initial(ask(rgOnNet))
	w.pass(-3 * time.Second)
	w.ok(w.terminate(seconds(rgOnNet, 0)))
	s := w.store.Session(w.id)
	if s.Open() || s.ClosedAt.Before(s.OpenedAt) {
		t.Errorf("opened %v, closed %v", s.OpenedAt, s.ClosedAt)
	}
}

// Balances beyond what can be counted together are not less than one of them.
func TestHugeBalances(t *testing.T) {
	huge := func() *ocs.Balance { return &ocs.Balance{Unit: ocs.Amount, Amount: math.MaxInt64 - 1} }
	w := newWorld(t, ocstest.Voice, ocs.Account{Currency: ocstest.Currency, Balances: []*ocs.Balance{huge(), huge()}})
	if o := w.Do(w.step(ocs.Initial, ask(rgOnNet))); o.Refusal != "" || o.Available != math.MaxInt64 {
		t.Errorf("%+v", o)
	}
}

// Use that would take the debt or the cost of a session beyond what can be
// counted is not charged, but recorded.
func TestDebtNeverOverflows(t *testing.T) {
	w := voice(t)
	w.store.Change(w.account.Key, func(a *ocs.Account) { a.Debt = math.MaxInt64 - 1_000_000 })
	w.Do(w.step(ocs.Initial, ask(rgOnNet)))
	o := w.Do(w.step(ocs.Terminate, ocstest.For(7, ocstest.Used(ocs.Amount, 1<<50), nil)))
	if o.Items[0].Refusal != ocs.UnitMismatch || len(w.store.Orphans()) != 1 {
		t.Errorf("%+v, %d orphans", o, len(w.store.Orphans()))
	}
	if a := w.store.Account(w.account.Key); a.Debt != math.MaxInt64-1_000_000 {
		t.Errorf("debt %d", a.Debt)
	}
}

// Use in a currency that nobody can convert is not charged, and not forgotten.
func TestUseInAForeignCurrencyIsRecorded(t *testing.T) {
	w := voice(t)
	w.initial(ocstest.For(7, nil, ocstest.Wish(ocs.Amount, 1_000_000)))
	report := ocstest.For(7, ocstest.Used(ocs.Amount, 400_000), nil)
	report.Currency = 840
	if o := w.terminate(report); o.Items[0].Refusal != ocs.ForeignCurrency || len(w.store.Orphans()) != 1 {
		t.Errorf("%+v, %d orphans", o, len(w.store.Orphans()))
	}
	w.ledger("10.00", "0", "0")

	for _, second := range []ocs.Target{"7", "7/1"} { // beside use in the account's own
		w = voice(t)
		w.initial(ocstest.For(7, nil, ocstest.Wish(ocs.Amount, 1_000_000)))
		own, foreign := report, report
		own.Currency, foreign.Target = ocstest.Currency, second
		if o := w.terminate(own, foreign); o.Items[0].Refusal != ocs.ForeignCurrency {
			t.Errorf("%+v", o)
		}
		w.ledger("10.00", "0", "0")
	}
}

// D-055: what a first request reports of an earlier session is no use of this
// one; it is not charged, and not forgotten.
func TestUseInAFirstRequestIsRecorded(t *testing.T) {
	w := data(t)
	w.want(w.initial(again(octets(rgData, 5*megabyte))), 0, 100*megabyte, false)
	if n := len(w.store.Orphans()); n != 1 {
		t.Errorf("%d orphan records", n)
	}
	w.ledger("19.00", "1.00", "0")
}

// B-010, B-225: use without an Event-Timestamp is dated by the database's clock.
func TestUseWithoutATimestamp(t *testing.T) {
	w := voice(t)
	w.at("11:59:50")
	w.initial(ask(rgEvening))
	w.at("12:00:00") // the price has just doubled
	s := w.step(ocs.Terminate, seconds(rgEvening, 5))
	s.At = time.Time{}
	w.ok(w.do(s))
	w.ledger("9.95", "0", "0.05")
}
