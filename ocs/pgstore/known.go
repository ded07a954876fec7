package pgstore

import (
	"cmp"
	"slices"
	"sync"

	"gygate/ocs"
	"gygate/ocs/recent"
)

// KnownMaxDefault bounds the accounts, and likewise the sessions, that a store
// keeps over its lanes, beside up to arrivalsMax accounts a lane; a session takes about
// 1.5 KB, an account half of that.
const KnownMaxDefault = 200_000

// account is what is known of an account: the rows as they were last loaded or
// stored. Whether they still are so, only a store that names the versions tells.
type account struct {
	*ocs.Account
	epoch    uint64         // of the store's connections when it was loaded
	balances []*ocs.Balance // by id: the first one is the guard
	marks    []mark         // of balances, as they are stored
	written  bool           // something under the account is stored by the batch under way
	kept     bool           // in its shard, unless that has forgotten it since
}

// mark is by what a store proves that a balance is what it was known as.
type mark struct{ version, amount, frozen int64 }

func (a *account) key() ocs.AccountKey { return a.Account.Key }

// guarded reports whether the account has a balance to guard it.
func (a *account) guarded() bool { return len(a.balances) > 0 }

// settle gives the account its balances, which were read beside it, by priority.
func (a *account) settle() {
	a.Balances = slices.Clone(a.balances)
	slices.SortStableFunc(a.Balances, func(x, y *ocs.Balance) int { return cmp.Compare(x.Priority, y.Priority) })
}

// session is a known session. It is worth something only as long as its account is
// known without a break: what others did under the account in between went by.
type session struct {
	*ocs.Session
	under  *account
	client ocs.Client // as stored
	kept   bool       // among the open ones of its shard, unless that has forgotten it since
}

// shard is what is known of the buckets of one lane. One transaction at a time
// holds it.
type shard struct {
	mu       sync.Mutex
	accounts recent.Map[ocs.AccountKey, *account]
	open     recent.Map[ocs.SessionRef, *session]
	// Sessions that are over wait for repeats only, and not long: they must not push
	// out those that go on.
	closed recent.Map[ocs.SessionRef, *session]

	arrived  arrivals
	welcomed []*account // a buffer of welcome
}

// closedShare is the part of the known sessions that may be over.
const closedShare = 8

func newShard(limit int) *shard {
	return &shard{
		accounts: recent.New[ocs.AccountKey, *account](limit),
		open:     recent.New[ocs.SessionRef, *session](limit),
		closed:   recent.New[ocs.SessionRef, *session](limit / closedShare),
	}
}

// session is the known session under an account; none when that is not known (nil).
func (s *shard) session(ref ocs.SessionRef, a *account) *session {
	n, ok := s.open.Get(ref)
	if !ok {
		n, ok = s.closed.Get(ref)
	}
	if ok && n.under == a {
		return n
	}
	return nil
}

// keep makes a session known, as it is now.
func (s *shard) keep(n *session) {
	ref := ocs.SessionRef{Key: n.Key, Sub: n.SubID}
	switch {
	case !n.Open():
		s.open.Drop(ref)
		s.closed.Put(ref, n)
	case !n.kept: // else asking for it has counted as a use
		n.kept = true
		s.open.Put(ref, n)
	}
}
