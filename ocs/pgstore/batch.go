package pgstore

import (
	"context"
	"errors"
	"slices"
	"time"

	"gygate/ocs"
)

// closedKnown is how long a session that is over is still known, for repeats. What
// may still be written of it, a late report, maintenance does not delete.
const closedKnown = time.Minute

// errUnguarded: an account without a balance has no guard, and wants the lock.
var errUnguarded = errors.New("an account without a balance")

// batch is the work of one transaction, and what is known of what it wants.
type batch struct {
	ocs.WorkingSet
	shards   []*shard // of all lanes, those of the wanted accounts held
	want     []ocs.Want
	accounts map[ocs.AccountKey]*account
	known    []*session             // loaded or known before
	begun    map[ocs.SessionRef]int // first requests whose session is taken to be absent, by their place in want
}

func newBatch(shards []*shard) *batch {
	b := &batch{shards: shards, accounts: make(map[ocs.AccountKey]*account), begun: make(map[ocs.SessionRef]int)}
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
	b.want, b.known = want, b.known[:0]
}

func (b *batch) shard(key ocs.AccountKey) *shard { return b.shards[int(key.Bucket)%len(b.shards)] }

// gather takes what is known of the wants, and has a loader ask for the rest.
func (b *batch) gather(now time.Time) *loader {
	rest := newLoader()
	for i := range b.want {
		w := &b.want[i]
		if w.Account == (ocs.AccountKey{}) {
			continue
		}
		if a := b.knownAccount(w.Account); a != nil {
			b.gatherSession(rest, a, w, i, now)
			continue
		}
		rest.accountKeys = append(rest.accountKeys, w.Account)
		rest.sessionKeys = append(rest.sessionKeys, refOf(w.Step))
		rest.alone(w)
	}
	return rest
}

// knownAccount is the account when it is known.
func (b *batch) knownAccount(key ocs.AccountKey) *account {
	a := b.accounts[key]
	if a == nil {
		if a, _ = b.shard(key).accounts.Get(key); a != nil {
			b.addAccount(key, a)
		}
	}
	return a
}

func (b *batch) addAccount(key ocs.AccountKey, a *account) {
	a.written = false
	b.accounts[key], b.Accounts[key] = a, a.Account
}

// gatherSession takes the known session of a known account. A first request whose
// session is not known is taken to begin it: most do, and the store finds out when
// one does not. One that is to be ended for its silence is loaded always: what the
// sweeper found is in the database.
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
		b.begun[ref] = place
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
	for ref, n := range l.sessions {
		if n.under == nil {
			n.under = b.accounts[n.Account]
		}
		if n.under != nil || b.namedByKnown(ref) {
			if known := b.Sessions[ref]; known != nil { // another step wanted it, too
				b.known = slices.DeleteFunc(b.known, func(o *session) bool { return o.Session == known })
			}
			b.Sessions[ref] = n.Session
			b.known = append(b.known, n)
		}
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

// namedByKnown reports whether a step of an account that is there names the session.
// When the session is another account's, the rules see it and refuse the step.
func (b *batch) namedByKnown(ref ocs.SessionRef) bool {
	for i := range b.want {
		if refOf(b.want[i].Step) == ref && b.accounts[b.want[i].Account] != nil {
			return true
		}
	}
	return false
}

// unguarded reports whether an account has no guard.
func (b *batch) unguarded() bool {
	for _, a := range b.accounts {
		if !a.guarded() {
			return true
		}
	}
	return false
}

// keep makes what was committed what is known.
func (b *batch) keep() {
	for key, a := range b.accounts {
		if !a.guarded() {
			continue
		}
		for i, balance := range a.balances {
			if balance.Dirty || (i == 0 && a.written) {
				a.versions[i]++
			}
			balance.Dirty = false
		}
		a.Dirty = false
		b.shard(key).accounts.Put(key, a)
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

// transact carries out wants on what is known, or, when others have changed it of
// late, under the locks. Whatever way it is left but by a commit, and be it a panic
// of decide, nothing of it is stored or known.
func (l *lane) transact(ctx context.Context, want []ocs.Want, decide func(*ocs.WorkingSet)) error {
	if !l.trust.next() {
		return l.underLock(ctx, want, decide)
	}
	err := l.onTrust(ctx, want, decide)
	switch {
	case stale(err):
		l.trust.disappointed()
	case !errors.Is(err, errUnguarded):
		l.trust.confirmed()
		return err
	}
	return l.underLock(ctx, want, decide)
}

// onTrust decides on what is known, once the rest is loaded, and stores it in one
// round trip, which fails when something was not so any more.
func (l *lane) onTrust(ctx context.Context, want []ocs.Want, decide func(*ocs.WorkingSet)) error {
	b := l.batch
	b.reset(want)
	began := time.Now()
	now, fresh := l.clock.now()
	rest := b.gather(now)
	defer l.undo(b)()
	if !fresh || !rest.empty() || expires(want) {
		if err := l.load(ctx, rest, rest.read); err != nil {
			return err
		}
		now = l.clock.exact(rest.clock)
		b.take(rest)
	}
	if b.unguarded() {
		return errUnguarded
	}
	b.Now = now
	return l.finish(ctx, b, began, decide, onVersions)
}

// underLock locks and loads everything the wants name, decides, and stores and
// commits by a second round trip.
func (l *lane) underLock(ctx context.Context, want []ocs.Want, decide func(*ocs.WorkingSet)) error {
	b := l.batch
	b.reset(want)
	began := time.Now()
	all := newLoader()
	all.everything(want)
	defer l.undo(b)()
	if err := l.load(ctx, all, all.lock); err != nil {
		return err
	}
	b.take(all)
	b.Now = l.clock.exact(all.clock)
	return l.finish(ctx, b, began, decide, onLocks)
}

// undo returns what leaves a transaction that was not committed.
func (l *lane) undo(b *batch) func() {
	l.committed = false
	return func() {
		if !l.committed {
			b.forget()
			l.abandon()
		}
	}
}

// finish decides, stores, and keeps what came of it.
func (l *lane) finish(ctx context.Context, b *batch, began time.Time, decide func(*ocs.WorkingSet), how guarding) error {
	b.Timing.Began, b.Timing.Loaded = began, time.Now()
	decide(&b.WorkingSet)
	b.Timing.Decided = time.Now()
	if b.Discarded {
		return nil // undone by the caller, as it is not committed
	}
	if err := l.out.fill(b, how); err != nil {
		return err
	}
	l.hook(BeforeCommit)
	if err := l.store(ctx, how); err != nil {
		return err
	}
	l.committed = true
	b.keep()
	b.Timing.Committed = time.Now()
	l.hook(AfterCommit)
	return nil
}

// expires reports whether a step ends a session by the clock: it wants a reading
// that is not before the one by which the session was found to be over.
func expires(want []ocs.Want) bool {
	for i := range want {
		if want[i].Step.Type == ocs.Expire {
			return true
		}
	}
	return false
}

// trust says whether the next batch may rely on what is known. After one that was
// disappointed by changes of others, as happens when nodes share accounts, so many
// batches take the locks at once, twice as many each time.
type trust struct {
	locked int // batches still to be carried out under the locks
	pause  int // how many that were after the last disappointment
}

// distrustMax bounds the batches after which what is known is tried again.
const distrustMax = 64

func (t *trust) next() bool {
	if t.locked > 0 {
		t.locked--
		return false
	}
	return true
}

func (t *trust) disappointed() {
	t.pause = min(max(1, 2*t.pause), distrustMax)
	t.locked = t.pause - 1 // the batch itself is the first
}

func (t *trust) confirmed() { t.pause /= 2 }
