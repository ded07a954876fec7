package pgstore

import (
	"slices"
	"time"

	"gygate/ocs"
)

// closedKnown is how long a session that is over is still known, for repeats. As long
// as a late report may come, maintenance does not delete its row.
const closedKnown = time.Minute

// batch is the work of one transaction, and what is known of what it wants.
type batch struct {
	ocs.WorkingSet
	shards   []*shard // of all lanes, those of the wanted accounts held
	want     []ocs.Want
	accounts map[ocs.AccountKey]*account
	known    []*session               // loaded or known before
	begun    map[ocs.SessionRef][]int // first requests whose session is taken to be absent, by their places in want

	epoch     uint64 // of the store when the batch began
	committed bool
}

func newBatch(shards []*shard) *batch {
	b := &batch{shards: shards, accounts: make(map[ocs.AccountKey]*account), begun: make(map[ocs.SessionRef][]int)}
	b.reset(nil)
	return b
}

// reset empties the batch for other wants.
func (b *batch) reset(want []ocs.Want) {
	accounts, sessions, outcomes, debits := b.Accounts, b.Sessions, b.Outcomes, b.Debits
	if accounts == nil {
		accounts, sessions = make(map[ocs.AccountKey]*ocs.Account), make(map[ocs.SessionRef]*ocs.Session)
		outcomes, debits = make(map[ocs.StepKey]*ocs.StoredOutcome), make(map[string]*ocs.EventDebit)
	}
	clear(accounts)
	clear(sessions)
	clear(outcomes)
	clear(debits)
	clear(b.accounts)
	clear(b.begun)
	clear(b.known)
	clear(b.Journal)
	journal := b.Journal[:0]
	b.WorkingSet = ocs.WorkingSet{Accounts: accounts, Sessions: sessions, Outcomes: outcomes, Debits: debits, Journal: journal}
	b.want, b.known, b.committed = want, b.known[:0], false
}

func (b *batch) shard(key ocs.AccountKey) *shard { return b.shards[key.Owner(len(b.shards))] }

// gather takes what is known of the wants, and has a loader ask for the rest.
func (b *batch) gather(now time.Time) *loader {
	rest := newLoader()
	for i := range b.want {
		w := &b.want[i]
		if w.Account == (ocs.AccountKey{}) {
			continue
		}
		a := b.knownAccount(w.Account)
		if a == nil {
			rest.accountKeys = append(rest.accountKeys, w.Account)
		}
		b.gatherSession(rest, a, w, i, now)
	}
	return rest
}

// knownAccount is the account when it is known.
func (b *batch) knownAccount(key ocs.AccountKey) *account {
	a := b.accounts[key]
	if a == nil {
		if a, _ = b.shard(key).accounts.Get(key); a == nil || a.epoch != b.epoch {
			return nil
		}
		b.addAccount(key, a)
	}
	return a
}

func (b *batch) addAccount(key ocs.AccountKey, a *account) {
	a.written, a.epoch = false, b.epoch
	b.accounts[key], b.Accounts[key] = a, a.Account
}

// gatherSession takes the known session of an account; a is nil when that is not
// known. A first request whose session is not known is taken to begin it: most do,
// and the store finds out when one does not. One that is to be ended for its silence
// is loaded always: what the sweeper found is in the database.
func (b *batch) gatherSession(rest *loader, a *account, w *ocs.Want, place int, now time.Time) {
	ref := refOf(w.Step)
	n := b.shard(w.Account).session(ref, a)
	if n != nil && (w.Step.Type == ocs.Expire || !n.Open() && now.Sub(n.ClosedAt) > closedKnown) {
		n = nil
	}
	switch {
	case n != nil:
		if b.Sessions[ref] == nil {
			b.Sessions[ref] = n.Session
			b.known = append(b.known, n)
		}
		if w.Step.Type == ocs.Initial && n.begunBy(w.Step) {
			return // its outcome is there
		}
	case w.Step.Type == ocs.Initial:
		b.begun[ref] = append(b.begun[ref], place)
		return
	case w.Step.Type != ocs.Event:
		rest.sessionKeys = append(rest.sessionKeys, ref)
	}
	rest.alone(w)
}

// begunBy reports whether the session keeps the outcome of that first request.
func (n *session) begunBy(step ocs.StepKey) bool {
	for i := range n.Outcomes {
		if n.Outcomes[i].Type == step.Type && n.Outcomes[i].Number == step.Number {
			return true
		}
	}
	return false
}

// take adds what was loaded.
func (b *batch) take(l *loader) {
	for key, a := range l.accounts {
		b.addAccount(key, a)
	}
	for i := range b.want {
		b.takeSession(l, &b.want[i])
	}
	for key, o := range l.outcomes {
		b.Outcomes[key] = o
	}
	for token, d := range l.debits {
		if b.accounts[d.Account] != nil {
			b.Debits[token] = d
		}
	}
}

// takeSession takes the loaded session that a step names, when the step's account is
// there. It may be another account's: the rules see that and refuse.
func (b *batch) takeSession(l *loader, w *ocs.Want) {
	ref := refOf(w.Step)
	n := l.sessions[ref]
	if n == nil || b.accounts[w.Account] == nil || b.Sessions[ref] == n.Session {
		return
	}
	if known := b.Sessions[ref]; known != nil { // another step wanted it, too
		b.known = slices.DeleteFunc(b.known, func(o *session) bool { return o.Session == known })
	}
	n.under = b.accounts[n.Account]
	b.Sessions[ref] = n.Session
	b.known = append(b.known, n)
}

// keep makes what was committed what is known.
func (b *batch) keep() {
	for key, a := range b.accounts {
		if !a.guarded() {
			continue
		}
		for i, balance := range a.balances {
			if balance.Dirty || (i == 0 && a.written) {
				a.marks[i] = mark{a.marks[i].version + 1, balance.Amount, balance.Frozen}
			}
			balance.Dirty = false
		}
		a.Dirty = false
		if !a.kept { // else asking for it has counted as a use
			a.kept = true
			b.shard(key).accounts.Put(key, a)
		}
	}
	for _, n := range b.known {
		if n.under != nil {
			n.client = n.Client
			b.keepSession(n)
		}
	}
	for _, n := range b.Sessions {
		if n.New {
			b.keepSession(&session{Session: n, under: b.accounts[n.Account], client: n.Client})
		}
	}
}

func (b *batch) keepSession(n *session) {
	n.New, n.Dirty = false, false
	if n.under.guarded() {
		b.shard(n.Account).keep(n)
	}
}

// forget drops what the batch knew: it was stale, or is half changed.
func (b *batch) forget() {
	for key := range b.accounts {
		b.shard(key).accounts.Drop(key)
	}
}
