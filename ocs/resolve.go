package ocs

import (
	"container/list"
	"context"
	"hash/maphash"
	"sync"
)

// ResolveMax bounds the look-ups sent to the store at once.
const ResolveMax = 256

// resolver finds the account of each step. A step of a known session goes
// straight to its lane; the others queue for one batched look-up without locks.
// What it finds is a hint, which the lane verifies under the lock.
//
// Steps of one session keep their order: while one of them is in the queue, the
// later ones queue behind it.
type resolver struct {
	engine *Engine
	queue  chan *job
	seed   maphash.Seed

	mu      sync.Mutex
	closed  bool
	pending map[SessionKey]int // jobs in the queue or being looked up
	cache   *sessionCache
}

func newResolver(e *Engine) *resolver {
	return &resolver{
		engine:  e,
		queue:   make(chan *job, e.config.QueueMax),
		seed:    maphash.MakeSeed(),
		pending: make(map[SessionKey]int),
		cache:   newSessionCache(e.config.CacheMax),
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
	if r.pending[j.key.Session] == 0 && r.known(j) {
		return r.engine.dispatch(j)
	}
	select {
	case r.queue <- j:
		r.pending[j.key.Session]++
		return true
	default:
		return false
	}
}

// known fills in the payer of a job whose session is remembered, with the same
// identities if it names any; a job of the sweeper brings its payer along.
func (r *resolver) known(j *job) bool {
	if j.payer != (AccountKey{}) {
		return true
	}
	if j.step.sessionless() {
		return false
	}
	entry, ok := r.cache.get(j.key.Session)
	if !ok || (len(j.step.Payer) > 0 && entry.payers != r.hash(j.step.Payer)) {
		return false
	}
	j.payer = entry.account
	return true
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

// refuseQueued answers what is queued when the engine cannot run.
func (r *resolver) refuseQueued() {
	for j := range r.queue {
		r.engine.answerNow(j, Unavailable)
	}
	for _, l := range r.engine.lanes {
		close(l.queue)
		for j := range l.queue {
			r.engine.answerNow(j, Unavailable)
		}
	}
}

// run looks up what is queued, batch by batch, until the intake is closed.
func (r *resolver) run(ctx context.Context) {
	for first := range r.queue {
		batch := drain(r.queue, []*job{first}, ResolveMax)
		found, err := r.lookUp(ctx, batch)
		if err != nil {
			r.engine.log.Error("accounts cannot be looked up; the requests are answered as unavailable", "steps", len(batch), "err", err)
		}
		for i, j := range batch {
			refusal := Unavailable
			if err == nil {
				refusal = r.assign(j, found[i])
			}
			r.leave(j, refusal)
		}
	}
}

// drain adds what waits in a queue, up to limit jobs in all.
func drain(queue <-chan *job, batch []*job, limit int) []*job {
	for len(batch) < limit {
		select {
		case j, ok := <-queue:
			if !ok {
				return batch
			}
			batch = append(batch, j)
		default:
			return batch
		}
	}
	return batch
}

func (r *resolver) lookUp(ctx context.Context, batch []*job) ([]Resolved, error) {
	lookups := make([]Lookup, len(batch))
	for i, j := range batch {
		lookups[i].Identities = j.step.Payer
		if !j.step.sessionless() {
			lookups[i].Session = j.key.Session
		}
	}
	return r.engine.store.Resolve(ctx, lookups)
}

// leave sends a looked-up job to its lane, or answers it; both under the lock
// that lets the session's next step pass by the queue.
func (r *resolver) leave(j *job, refusal Refusal) {
	r.mu.Lock()
	if refusal == "" && !r.engine.dispatch(j) {
		refusal = Busy
	}
	if refusal == "" {
		r.remember(j)
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
func (r *resolver) remember(j *job) {
	if j.payer == (AccountKey{}) || j.step.sessionless() {
		return
	}
	if _, ok := r.cache.get(j.key.Session); ok && len(j.step.Payer) == 0 {
		return // the entry with the identities is worth more
	}
	r.cache.put(j.key.Session, sessionEntry{account: j.payer, payers: r.hash(j.step.Payer)})
}

// assign fills in the payer a look-up has found, or refuses.
func (r *resolver) assign(j *job, found Resolved) Refusal {
	session := found.BySession
	if account := r.remembered(j); account != (AccountKey{}) {
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

func (r *resolver) remembered(j *job) AccountKey {
	if j.step.sessionless() {
		return AccountKey{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	entry, _ := r.cache.get(j.key.Session)
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

// sessionCache remembers the most recently used sessions, up to a limit.
type sessionCache struct {
	limit   int
	order   *list.List // front: used last; values are *cachedSession
	entries map[SessionKey]*list.Element
}

type cachedSession struct {
	key   SessionKey
	entry sessionEntry
}

func newSessionCache(limit int) *sessionCache {
	return &sessionCache{limit: limit, order: list.New(), entries: make(map[SessionKey]*list.Element)}
}

func (c *sessionCache) get(key SessionKey) (sessionEntry, bool) {
	element := c.entries[key]
	if element == nil {
		return sessionEntry{}, false
	}
	c.order.MoveToFront(element)
	return element.Value.(*cachedSession).entry, true
}

func (c *sessionCache) put(key SessionKey, entry sessionEntry) {
	if element := c.entries[key]; element != nil {
		element.Value.(*cachedSession).entry = entry
		c.order.MoveToFront(element)
		return
	}
	c.entries[key] = c.order.PushFront(&cachedSession{key, entry})
	if len(c.entries) > c.limit {
		oldest := c.order.Remove(c.order.Back()).(*cachedSession)
		delete(c.entries, oldest.key)
	}
}
