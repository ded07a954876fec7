package ocs_test

import (
	"fmt"
	"testing"
	"time"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

func TestBalances(t *testing.T) {
	t.Run("order of use", func(t *testing.T) {
		general, bonus, service, target, soon := cashPot(100_000), cashPot(100_000), cashPot(100_000), cashPot(100_000), cashPot(100_000)
		bonus.Priority = -1
		service.Services = []string{ocstest.Voice}
		target.Targets = []uint32{rgOnNet}
		soon.Priority, soon.ValidUntil = -1, morning.Add(time.Hour)
		for used, want := range map[int64][]int64{
			10: {100_000, 100_000, 100_000, 0, 100_000},
			20: {100_000, 100_000, 0, 0, 100_000},
			30: {100_000, 100_000, 0, 0, 0},
			40: {100_000, 0, 0, 0, 0},
			45: {50_000, 0, 0, 0, 0},
		} {
			w := newWorld(t, ocstest.Voice, pots(general, bonus, service, target, soon))
			w.initial(ask(rgOnNet))
			w.terminate(seconds(rgOnNet, used))
			if got := w.left(); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("after %d s: %v, want %v", used, got, want)
			}
		}
	})
}

func TestUnitBalances(t *testing.T) {
	t.Run("units before money", func(t *testing.T) {
		minutes := &ocs.Balance{Unit: ocs.Seconds, Amount: 100, Targets: []uint32{rgOnNet}}
		w := newWorld(t, ocstest.Voice, pots(cashPot(10_000_000), minutes))
		w.want(w.initial(ask(rgOnNet), ask(rgOffNet)), 0, 60, false)
		w.ledger("9.40", "0.60", "0")
		w.want(w.update(again(seconds(rgOnNet, 60))), 0, 60, false)
		w.ledger("9.20", "0.80", "0") // 40 s of the bundle, 20 s in money
		w.pass(time.Minute)
		if o := w.terminate(seconds(rgOnNet, 50), seconds(rgOffNet, 1)); o.Cost != 110_000 {
			t.Errorf("%+v", o)
		}
		w.ledger("9.89", "0", "0.11")
		if got := w.left(); got[1] != 0 {
			t.Errorf("%d s left in the bundle", got[1])
		}
	})
	t.Run("a bundle alone is enough", func(t *testing.T) {
		w := newWorld(t, ocstest.Voice, pots(cashPot(0), &ocs.Balance{Unit: ocs.Seconds, Amount: 62}))
		w.want(w.initial(ask(rgInterval)), 0, 62, true)
		w.terminate(seconds(rgInterval, 30))
		w.ledger("0", "0", "0") // not even the connection fee
	})
	t.Run("money frozen by another service", func(t *testing.T) {
		w := voice(t)
		other := w.step(ocs.Initial, ocstest.For(rgData, nil, ocstest.Wish(ocs.Amount, 10_000_000)))
		other.SessionID, other.Service = ocstest.NewSession(), ocstest.Data
		w.do(other)
		w.refused(w.initial(ask(rgOnNet)), ocs.NotAvailable)
		w.ledger("0", "10.00", "0")
	})
}

func TestValidity(t *testing.T) {
	t.Run("never past the account's validity", func(t *testing.T) {
		w := voice(t)
		w.store.Change(w.account.Key, func(a *ocs.Account) { a.ValidUntil = morning.Add(40 * time.Second) })
		if i := w.want(w.initial(ask(rgOnNet)), 0, 40, true); i.ValidFor != 40*time.Second {
			t.Errorf("valid for %v", i.ValidFor)
		}
		w.pass(37 * time.Second)
		w.number, w.id = 0, ocstest.NewSession()
		w.refused(w.initial(ask(rgOnNet)), ocs.Expired)
	})
	t.Run("never past a balance's validity", func(t *testing.T) {
		soon := cashPot(10_000_000)
		soon.ValidUntil = morning.Add(40 * time.Second)
		w := newWorld(t, ocstest.Voice, pots(soon, cashPot(10_000_000)))
		if i := w.want(w.initial(ask(rgOnNet)), 0, 40, false); i.ValidFor != 40*time.Second {
			t.Errorf("valid for %v", i.ValidFor)
		}
		w = newWorld(t, ocstest.Voice, pots(soon))
		w.want(w.initial(ask(rgOnNet)), 0, 40, true)
	})
	t.Run("what returns to an expired balance is forfeited", func(t *testing.T) {
		soon := cashPot(10_000_000)
		soon.ValidUntil = morning.Add(60 * time.Second)
		w := newWorld(t, ocstest.Voice, pots(soon))
		w.want(w.initial(ask(rgOnNet)), 0, 60, true)
		w.pass(61 * time.Second)
		if o := w.terminate(seconds(rgOnNet, 50)); o.Cost != 500_000 || o.Available != 0 {
			t.Errorf("the frozen part is not debitable: %+v", o)
		}
		w.ledger("9.50", "0", "0.50")
		forfeited := int64(0)
		for _, row := range w.store.Books(t).Journal {
			if row.Kind == ocs.JournalForfeit {
				forfeited += row.Refunded
			}
		}
		if forfeited != 100_000 {
			t.Errorf("forfeited %d", forfeited)
		}
		w.number, w.id = 0, ocstest.NewSession()
		w.refused(w.initial(ask(rgOnNet)), ocs.NoBalance)
	})
	t.Run("B-221 an event is paid in full or not at all", func(t *testing.T) {
		w := newWorld(t, ocstest.Voice, pots(cashPot(200_000), &ocs.Balance{Unit: ocs.Events, Amount: 1}))
		w.refused(w.event(ocs.DirectDebit, ocstest.For(rgMessage, nil, ocstest.Wish(ocs.Events, 2))), ocs.CreditLimit)
		if got := w.left(); got[0] != 200_000 || got[1] != 1 {
			t.Errorf("%v left", got)
		}
		o := w.event(ocs.DirectDebit, ocstest.For(rgMessage, nil, ocstest.Wish(ocs.Events, 1)))
		if o.Refusal != "" || o.Cost != 0 || o.Items[0].RefundToken != nil {
			t.Errorf("%+v", o)
		}
	})
}

// cashPot is a balance of money.
func cashPot(amount int64) *ocs.Balance { return &ocs.Balance{Unit: ocs.Amount, Amount: amount} }

// pots is an account with balances.
func pots(balances ...*ocs.Balance) ocs.Account {
	return ocs.Account{Currency: ocstest.Currency, Balances: balances}
}

// left lists what the balances hold.
func (w *world) left() []int64 {
	var list []int64
	for _, b := range w.store.Account(w.account.Key).Balances {
		list = append(list, b.Amount)
	}
	return list
}

// morning is when a world begins.
var morning = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
