package pgstore

import (
	"fmt"
	"slices"
	"testing"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// A look-up reads the account that it finds, with its balances in the order of their
// ids, once, by however many identities it was found.
func TestResolveMakesAccountsKnown(t *testing.T) {
	l := newLedger(t)
	number, name := ocstest.NewPayer(), ocs.Identity{Kind: ocs.Private, Value: ocstest.NewSession()}
	a := l.AddAccount(t, ocs.Account{Currency: 978, Balances: []*ocs.Balance{
		{Unit: ocs.Amount, Amount: 100, Priority: 2}, {Unit: ocs.Seconds, Amount: 30, Priority: 1},
	}}, number, name)
	bare := ocstest.NewPayer()
	penniless := l.AddAccount(t, ocs.Account{Currency: 978, Balances: []*ocs.Balance{}}, bare).Key
	l.exec(t, fmt.Sprintf("delete from balance where account = %d", penniless.ID))
	found, err := l.Resolve(t.Context(), []ocs.Lookup{{Identities: []ocs.Identity{number, name, ocstest.NewPayer()}}, {Identities: []ocs.Identity{bare}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := found[0].ByIdentities; !slices.Equal(got, []ocs.AccountKey{a.Key, a.Key, {}}) || found[1].ByIdentities[0] != penniless {
		t.Errorf("found %+v, want %v twice and %v", found, a.Key, penniless)
	}
	defer l.hold([]ocs.Want{want(a, "s", ocs.Initial, 0), {Account: penniless}})()
	known, _ := l.shards[a.Key.Owner(len(l.shards))].accounts.Get(a.Key)
	if known == nil || known.epoch != l.epoch.Load() {
		t.Fatalf("known %+v", known)
	}
	if unguarded, ok := l.shards[penniless.Owner(len(l.shards))].accounts.Get(penniless); ok {
		t.Errorf("an account without a balance is known: %+v", unguarded)
	}
	if b := known.balances; len(b) != 2 || b[0].ID > b[1].ID || len(known.marks) != 2 || known.marks[1].amount != 30 || known.Balances[0].Unit != ocs.Seconds {
		t.Errorf("balances %+v, marks %+v, by priority %+v", known.balances, known.marks, known.Balances)
	}
}

// What has changed between the look-up and the step is noticed, and what a shard has
// stored itself is not pushed out by what was read before.
func TestResolveIsAHint(t *testing.T) {
	l := newLedger(t)
	payer := ocstest.NewPayer()
	a := l.AddAccount(t, ocs.Account{Currency: 978, Balances: []*ocs.Balance{{Unit: ocs.Amount, Amount: 100}}}, payer)
	look := func() {
		t.Helper()
		if _, err := l.Resolve(t.Context(), []ocs.Lookup{{Identities: []ocs.Identity{payer}}}); err != nil {
			t.Fatal(err)
		}
	}
	look()
	l.exec(t, "update balance set amount = 70, version = version + 1")
	w := want(a, "s", ocs.Initial, 0)
	var seen []int64
	see := func(set *ocs.WorkingSet) {
		seen = append(seen, set.Accounts[a.Key].Balances[0].Amount)
		if set.Sessions[refOf(w.Step)] == nil {
			openSession(set, w, "s", 40)
		}
	}
	transact(t, l.Store, w, see)
	if !slices.Equal(seen, []int64{100, 70}) {
		t.Errorf("decided on %v, want what was read and then what is there", seen)
	}
	shard := l.shards[a.Key.Owner(len(l.shards))]
	known, _ := shard.accounts.Get(a.Key)
	welcome := func(change func(*account)) *account {
		other := *known
		other.marks = slices.Clone(known.marks)
		change(&other)
		shard.arrived.add(&other)
		l.hold([]ocs.Want{w})()
		now, _ := shard.accounts.Get(a.Key)
		return now
	}
	if welcome(func(a *account) { a.marks[0].version-- }) != known || welcome(func(*account) {}) != known {
		t.Error("what was read before has pushed out what the shard has stored")
	}
	if welcome(func(a *account) { a.marks[0].version++; a.epoch-- }) != known {
		t.Error("what an earlier connection has read is known")
	}
	if welcome(func(a *account) { a.marks[0].version++ }) == known {
		t.Error("what is newer is not known")
	}
	l.exec(t, "update balance set amount = 100 where amount = 70") // what the account was opened with
	l.audit(t)
}

// A node that knows an account as it was before another node opened a session under it
// loads the session, whose freeze is not in the balance that it knows. When a rule breaks
// on that, it is asked again under the locks.
func TestARuleThatBreaksOnWhatIsKnown(t *testing.T) {
	l := newLedger(t)
	other := openStore(t, l.dsn)
	a := sampleAccount(t, l)
	w := want(a, "s", ocs.Initial, 0)
	transact(t, other, want(a, "earlier", ocs.Update, 1), func(*ocs.WorkingSet) {}) // now it knows the account
	transact(t, l.Store, w, func(set *ocs.WorkingSet) { openSession(set, w, "s", 40) })
	var seen []int64
	transact(t, other, later(w), func(set *ocs.WorkingSet) {
		frozen := set.Accounts[a.Key].Balances[0].Frozen
		seen = append(seen, frozen)
		set.Discarded = frozen < set.Sessions[refOf(w.Step)].Targets[0].Freezes[0].Amount
	})
	if !slices.Equal(seen, []int64{0, 40}) {
		t.Errorf("seen frozen: %v, want what is known and then what is there", seen)
	}
}

// A repeated first request is no reason to mistrust what is known of accounts.
func TestRepeatsCostNoTrust(t *testing.T) {
	l := newLedger(t)
	a := sampleAccount(t, l)
	open, refused := want(a, "s", ocs.Initial, 0), want(a, "refused", ocs.Initial, 0)
	transact(t, l.Store, open, func(set *ocs.WorkingSet) { openSession(set, open, "s", 40) })
	transact(t, l.Store, refused, func(set *ocs.WorkingSet) { refuse(set, refused) })
	other := openStore(t, l.dsn)
	for _, w := range []ocs.Want{open, refused} {
		found := false
		transact(t, other, w, func(set *ocs.WorkingSet) {
			if found = set.Sessions[refOf(w.Step)] != nil || set.Outcomes[w.Step] != nil; !found {
				refuse(set, w)
			}
		})
		if pause := other.lanes[0].trust.pause; !found || pause != 0 {
			t.Errorf("found %v, a pause of %d batches", found, pause)
		}
	}
	l.exec(t, "update balance set version = version + 1")
	transact(t, other, want(a, "s", ocs.Update, 1), func(*ocs.WorkingSet) {})
	if other.lanes[0].trust.pause != 1 {
		t.Errorf("%+v after a change by somebody else", other.lanes[0].trust)
	}
	l.audit(t)
}
