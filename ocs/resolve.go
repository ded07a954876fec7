package ocs

import (
	"context"
	"hash/maphash"
	"sync"
	"time"

	"gygate/ocs/recent"
)

// ResolveMax bounds the look-ups sent to the store at once.
const ResolveMax = 256

// resolver finds the account of each step. A step of a known session, or one that
// begins a session for known payers, goes straight to its shard; the others queue for
// one batched look-up without locks. That a session is an account's is a hint, which the
// store proves; that an identity names an account holds as long as the store's epoch.
//
// Steps of one session keep their order: while one of them is in the queue, the
// later ones queue behind it.
type resolver struct {
	engine *Engine
	queue  chan *job
	seed   maphash.Seed
	tries  tries

	mu       sync.Mutex
	closed   bool
	epoch    uint64             // of the store, when what is remembered was found
	pending  map[SessionKey]int // jobs in the queue or being looked up
	sessions recent.Map[SessionKey, sessionEntry]
	payers   recent.Map[Identity, AccountKey] // within an epoch an identity never moves to another account
}

func newResolver(e *Engine) *resolver {
	return &resolver{
		engine:   e,
		queue:    make(chan *job, e.config.QueueMax),
		seed:     maphash.MakeSeed(),
		pending:  make(map[SessionKey]int),
		sessions: recent.New[SessionKey, sessionEntry](e.config.CacheMax),
		payers:   recent.New[Identity, AccountKey](e.config.CacheMax),
	}
}

// submit sends a job to its lane or to the queue. It never blocks.
func (r *resolver) submit(j *job) {
	if !r.accept(j) {
		r.engine.answerNow(j, Busy)
	}
}

func (r *resolver) accept(j *job) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.forgetEarlier()
	if r.pending[j.key.Session] == 0 && r.known(j) {
		return r.pass(j)
	}
	select {
	case r.queue <- j:
		r.pending[j.key.Session]++
		return true
	default:
		return false
	}
}

// forgetEarlier forgets what was found over earlier connections: the server of now may
// have given the number of an account that it never heard of to somebody else.
func (r *resolver) forgetEarlier() {
	if epoch := r.engine.store.Epoch(); epoch != r.epoch {
		r.epoch = epoch
		r.sessions.Clear()
		r.payers.Clear()
		r.engine.clients.forget()
	}
}

// pass hands a job to its lane and remembers its session.
func (r *resolver) pass(j *job) bool {
	if !r.engine.dispatch(j) {
		return false
	}
	r.remember(j)
	return true
}

// known fills in the payer of a job whose session is remembered, with the same
// identities if it names any, or which may begin a session for identities that are
// remembered; a job of the sweeper brings its payer along.
func (r *resolver) known(j *job) bool {
	if j.payer != (AccountKey{}) {
		return true
	}
	if !j.step.sessionless() {
		if entry, ok := r.sessions.Get(j.key.Session); ok {
			if len(j.step.Payer) > 0 && entry.payers != r.hash(j.step.Payer) {
				return false
			}
			j.payer = entry.account
			return true
		}
	}
	return (j.step.Type == Initial || j.step.Type == Event) && r.knownPayer(j)
}

// knownPayer fills in the account that all identities are remembered to name. That
// the session is not there, under another account or refused before, the lane finds
// out.
func (r *resolver) knownPayer(j *job) bool {
	for i, id := range j.step.Payer {
		account, ok := r.payers.Get(id)
		if !ok || (i > 0 && account != j.payer) {
			j.payer = AccountKey{}
			return false
		}
		j.payer = account
	}
	return len(j.step.Payer) > 0
}

func (r *resolver) hash(ids []Identity) uint64 {
	var h maphash.Hash
	h.SetSeed(r.seed)
	for _, id := range ids {
		maphash.WriteComparable(&h, id)
	}
	return h.Sum64()
}

// closeIntake refuses everything from now on; what is queued is still served.
func (r *resolver) closeIntake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	close(r.queue)
}

// refuseQueued answers what is queued when the engine cannot run. Nothing was ever
// handed to a shard: only a look-up makes payers known.
func (r *resolver) refuseQueued() {
	for j := range r.queue {
		r.engine.answerNow(j, Unavailable)
	}
}

// run looks up what is queued, batch by batch, until the intake is closed.
func (r *resolver) run(ctx context.Context) {
	for first := range r.queue {
		r.tries = tries{began: time.Now()}
		r.serve(ctx, drain(r.queue, []*job{first}, ResolveMax))
	}
}

// serve looks up a batch; in halves when that fails, so that an account that cannot be
// read does not take the others with it.
func (r *resolver) serve(ctx context.Context, batch []*job) {
	if r.tries.over() {
		r.refuse(batch)
		return
	}
	epoch := r.engine.store.Epoch()
	found, err := r.lookUp(ctx, batch)
	if err == nil {
		if r.engine.store.Epoch() != epoch { // the server of now may say otherwise
			r.tries.failures++
			r.serve(ctx, batch)
			return
		}
		r.tries.succeeded()
		r.learn(batch, found, epoch)
		for i, j := range batch {
			r.leave(j, r.assign(j, found[i]))
		}
		return
	}
	r.tries.failed(err)
	if len(batch) > 1 && !r.tries.over() {
		r.serve(ctx, batch[:len(batch)/2])
		r.serve(ctx, batch[len(batch)/2:])
		return
	}
	r.engine.log.Error("accounts cannot be looked up; the requests are answered as unavailable", "steps", len(batch), "err", err)
	r.refuse(batch)
	if r.tries.unreachable { // what waits has waited as long, and would wait once more for each batch before it
		r.refuse(drain(r.queue, nil, len(r.queue)))
	}
}

func (r *resolver) refuse(batch []*job) {
	for _, j := range batch {
		r.leave(j, Unavailable)
	}
}

func (r *resolver) lookUp(ctx context.Context, batch []*job) ([]Resolved, error) {
	lookups := make([]Lookup, len(batch))
	for i, j := range batch {
		lookups[i].Identities = j.step.Payer
		// Whether a first request's session is there already, the lane finds out.
		if !j.step.sessionless() && j.step.Type != Initial {
			lookups[i].Session = j.key.Session
		}
	}
	return r.engine.store.Resolve(ctx, lookups)
}

// leave sends a looked-up job to its lane, or answers it; both under the lock
// that lets the session's next step pass by the queue.
func (r *resolver) leave(j *job, refusal Refusal) {
	r.mu.Lock()
	if refusal == "" && !r.pass(j) {
		refusal = Busy
	}
	if r.pending[j.key.Session]--; r.pending[j.key.Session] == 0 {
		delete(r.pending, j.key.Session)
	}
	r.mu.Unlock()
	if refusal != "" {
		r.engine.answerNow(j, refusal)
	}
}

// remember keeps the account of a job's session, so that the next steps of the
// session need no look-up; one that overtakes its CCR-I finds the same lane.
// A session that ends makes room for those that go on.
func (r *resolver) remember(j *job) {
	if j.payer == (AccountKey{}) || j.step.sessionless() {
		return
	}
	if j.key.Type == Terminate || j.key.Type == Expire {
		r.sessions.Drop(j.key.Session)
		return
	}
	if _, ok := r.sessions.Get(j.key.Session); ok && len(j.step.Payer) == 0 {
		return // the entry with the identities is worth more
	}
	r.sessions.Put(j.key.Session, sessionEntry{account: j.payer, payers: r.hash(j.step.Payer)})
}

// mistaken forgets the account of a session that the lane has found to be another
// one's, or that may never have begun: its Session-Id is free for somebody else's.
func (r *resolver) mistaken(j *job, refusal Refusal) {
	switch {
	case refusal == SessionExists, refusal == PayerChanged:
	case refusal == Unavailable && j.key.Type == Initial:
	default:
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if entry, _ := r.sessions.Get(j.key.Session); entry.account == j.payer {
		r.sessions.Drop(j.key.Session)
	}
}

// assign fills in the payer a look-up has found, or refuses.
func (r *resolver) assign(j *job, found Resolved) Refusal {
	session := found.BySession
	if account := r.remembered(j); session == (AccountKey{}) {
		session = account // its CCR-I may be on the way, unknown to the store
	}
	payer, agree := onePayer(found.ByIdentities)
	if !agree && session == (AccountKey{}) {
		return IdentityConflict
	}
	if session != (AccountKey{}) && j.step.Type != Initial {
		if len(j.step.Payer) > 0 && (!agree || payer != session) {
			return PayerChanged
		}
		j.payer = session
		return ""
	}
	return r.assignByIdentity(j, payer, agree, session)
}

// learn remembers whose the identities are that were looked up, unless the store has
// connected anew since.
func (r *resolver) learn(batch []*job, found []Resolved, epoch uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgetEarlier()
	if r.epoch != epoch {
		return
	}
	for i, j := range batch {
		for k, account := range found[i].ByIdentities {
			if account != (AccountKey{}) {
				r.payers.Put(j.step.Payer[k], account)
			}
		}
	}
}

// remembered is the account of a job's session, when that is remembered.
func (r *resolver) remembered(j *job) AccountKey {
	r.mu.Lock()
	defer r.mu.Unlock()
	if j.step.sessionless() {
		return AccountKey{}
	}
	entry, _ := r.sessions.Get(j.key.Session)
	return entry.account
}

func (r *resolver) assignByIdentity(j *job, payer AccountKey, agree bool, session AccountKey) Refusal {
	begins := j.step.Type == Initial || j.step.Type == Event ||
		(j.step.Type == Direct && j.step.Verbs&(VerbReserve|VerbAuthenticate) != 0)
	none := AccountKey{}
	switch {
	case begins && len(j.step.Payer) == 0:
		return NoIdentity
	case !agree:
		return IdentityConflict
	case begins && payer == none:
		return UnknownSubscriber
	case session != none && payer != session: // a CCR-I on another payer's session
		return SessionExists
	case payer == none && !usesAnything(j.step.Items):
		return UnknownSession // nothing to record
	}
	j.payer = payer
	return ""
}

// onePayer is the account all known identities name; false when they differ.
// So it does not matter which of them has priority.
func onePayer(accounts []AccountKey) (AccountKey, bool) {
	var one AccountKey
	for _, a := range accounts {
		switch {
		case a == AccountKey{} || a == one:
		case one == AccountKey{}:
			one = a
		default:
			return AccountKey{}, false
		}
	}
	return one, true
}

func usesAnything(items []Item) bool {
	for i := range items {
		if reports(items[i].Used) {
			return true
		}
	}
	return false
}

// sessionEntry is what is remembered of a session.
type sessionEntry struct {
	account AccountKey
	payers  uint64 // hash of the identities that led to the account
}
