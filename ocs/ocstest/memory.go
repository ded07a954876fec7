package ocstest

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gygate/ocs"
)

// Memory is the reference store: maps under one mutex, everything copied on the
// way in and out. It keeps only what decide has marked, and panics when
// something changed without its mark.
type Memory struct {
	// Now is the store's clock; time.Now by default.
	Now func() time.Time
	// Before and After, when set, may fail a transaction: before decide, with
	// nothing stored, or after everything is stored.
	Before, After func([]ocs.Want) error

	mu         sync.Mutex
	accounts   map[ocs.AccountKey]ocs.Account
	identities map[ocs.Identity]ocs.AccountKey
	sessions   map[ocs.SessionRef]ocs.Session
	open       map[ocs.SessionRef]bool // of sessions, those that are open
	payers     map[ocs.SessionKey]ocs.AccountKey
	clients    map[string]clientState // by Origin-Host in lower case
	outcomes   map[ocs.StepKey]ocs.StoredOutcome
	debits     map[string]ocs.EventDebit
	journal    []ocs.JournalRow
	orphans    []ocs.OrphanUsage
	reported   map[ocs.StepKey]bool // has its row in orphans
	batches    []int                // sizes of the committed transactions, in wants
	lastID     int64
}

// clientState is a client's highest Origin-State-Id and when it was seen first.
type clientState struct {
	state uint32
	since time.Time
}

var (
	_ ocs.Store = (*Memory)(nil)
	_ Ledger    = (*Memory)(nil)
	_ Teller    = (*Memory)(nil)
)

// NewMemory makes an empty store.
func NewMemory() *Memory {
	return &Memory{
		Now:        time.Now,
		accounts:   make(map[ocs.AccountKey]ocs.Account),
		identities: make(map[ocs.Identity]ocs.AccountKey),
		sessions:   make(map[ocs.SessionRef]ocs.Session),
		open:       make(map[ocs.SessionRef]bool),
		payers:     make(map[ocs.SessionKey]ocs.AccountKey),
		clients:    make(map[string]clientState),
		reported:   make(map[ocs.StepKey]bool),
		outcomes:   make(map[ocs.StepKey]ocs.StoredOutcome),
		debits:     make(map[string]ocs.EventDebit),
	}
}

// Resolve implements ocs.Store.
func (m *Memory) Resolve(_ context.Context, lookups []ocs.Lookup) ([]ocs.Resolved, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	answers := make([]ocs.Resolved, len(lookups))
	for i, l := range lookups {
		answers[i].BySession = m.payers[l.Session]
		for _, id := range l.Identities {
			answers[i].ByIdentities = append(answers[i].ByIdentities, m.identities[id])
		}
	}
	return answers, nil
}

// Transact implements ocs.Store.
func (m *Memory) Transact(_ context.Context, _ int, want []ocs.Want, decide func(*ocs.WorkingSet)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.Before != nil {
		if err := m.Before(want); err != nil {
			return err
		}
	}
	ws := m.load(want)
	decide(ws)
	if !ws.Discarded {
		m.store(ws)
	}
	m.batches = append(m.batches, len(want))
	if m.After != nil {
		return m.After(want)
	}
	return nil
}

// Expired implements ocs.Store.
func (m *Memory) Expired(_ context.Context, limit int, skip []ocs.SessionRef) ([]ocs.Expiry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []ocs.Expiry
	for ref := range m.open {
		s := m.sessions[ref]
		x := ocs.Expiry{Want: ocs.Want{Account: s.Account, Step: ocs.StepKey{Session: ref.Key, SubSession: ref.Sub}}}
		over := !m.Now().Before(s.Deadline) || m.accounts[s.Account].Closed
		if !over {
			x.Restarted, x.Host = m.restarted(s.Client)
		}
		if (over || x.Restarted != 0) && !slices.Contains(skip, ref) {
			list = append(list, x)
		}
	}
	slices.SortFunc(list, func(a, b ocs.Expiry) int { // maps have no order, a test's run should
		return slices.Compare(a.Step.Session[:], b.Step.Session[:])
	})
	return list[:min(limit, len(list))], nil
}

// restarted is the higher Origin-State-Id that a client has shown for longer than
// the grace; 0: none.
func (m *Memory) restarted(c ocs.Client) (uint32, string) {
	host := strings.ToLower(c.Host)
	now := m.clients[host]
	if c.State == 0 || now.state <= c.State || m.Now().Before(now.since.Add(ocs.OrphanGrace)) {
		return 0, ""
	}
	return now.state, host
}

// Epoch implements ocs.Store: there is one memory.
func (m *Memory) Epoch() uint64 { return 0 }

// ClientStarted implements ocs.Store.
func (m *Memory) ClientStarted(_ context.Context, host string, state uint32) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if state > m.clients[host].state {
		m.clients[host] = clientState{state, m.Now()}
	}
	return nil
}

func (m *Memory) load(want []ocs.Want) *ocs.WorkingSet {
	ws := &ocs.WorkingSet{
		Now:      m.Now(),
		Accounts: make(map[ocs.AccountKey]*ocs.Account),
		Sessions: make(map[ocs.SessionRef]*ocs.Session),
		Outcomes: make(map[ocs.StepKey]*ocs.StoredOutcome),
		Debits:   make(map[string]*ocs.EventDebit),
	}
	for _, w := range want {
		if a, ok := m.accounts[w.Account]; ok {
			ws.Accounts[w.Account] = ptr(copyAccount(a))
		}
		ref := ocs.SessionRef{Key: w.Step.Session, Sub: w.Step.SubSession}
		if s, ok := m.sessions[ref]; ok {
			ws.Sessions[ref] = ptr(copySession(s))
		}
		if o, ok := m.outcomes[w.Step]; ok {
			ws.Outcomes[w.Step] = &o
		}
		if d, ok := m.debits[string(w.ReversalOf)]; ok {
			ws.Debits[string(w.ReversalOf)] = &d
		}
	}
	return ws
}

// store keeps what is marked and insists that nothing else changed.
func (m *Memory) store(ws *ocs.WorkingSet) {
	for key, a := range ws.Accounts {
		before := m.accounts[key]
		for i, b := range a.Balances {
			if !b.Dirty && !reflect.DeepEqual(*b, *before.Balances[i]) {
				panic("a balance changed without its mark")
			}
			b.Dirty = false
		}
		if !a.Dirty && a.Debt != before.Debt {
			panic("an account changed without its mark")
		}
		a.Dirty = false
		m.accounts[key] = copyAccount(*a)
	}
	for ref, s := range ws.Sessions {
		if !s.New && !s.Dirty && !reflect.DeepEqual(copySession(*s), copySession(m.sessions[ref])) {
			panic("a session changed without its mark")
		}
		s.New, s.Dirty = false, false
		m.sessions[ref] = copySession(*s)
		m.payers[ref.Key] = s.Account
		if delete(m.open, ref); s.Open() {
			m.open[ref] = true
		}
	}
	for _, o := range ws.NewOutcomes {
		if _, there := m.outcomes[o.Key]; there {
			panic("an outcome was stored twice")
		}
		m.outcomes[o.Key] = o.Stored
	}
	for _, d := range ws.NewDebits {
		m.debits[string(d.Token)] = *d
	}
	for token, d := range ws.Debits {
		if d.Dirty {
			d.Dirty = false
			m.debits[token] = *d
		}
	}
	m.journal = append(m.journal, ws.Journal...)
	for _, o := range ws.Orphans {
		if !m.reported[o.Key] {
			m.reported[o.Key] = true
			m.orphans = append(m.orphans, o)
		}
	}
}

// AddAccount implements Seeder. Balances get an id and an opening credit.
func (m *Memory) AddAccount(_ testing.TB, a ocs.Account, ids ...ocs.Identity) ocs.Account {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lastID++
	a = copyAccount(a)
	a.Key = ocs.AccountKey{Bucket: int16(m.lastID * 7 % ocs.Buckets), ID: m.lastID}
	for _, b := range a.Balances {
		m.lastID++
		b.ID = m.lastID
		m.journal = append(m.journal, ocs.JournalRow{
			At: m.Now(), Account: a.Key, Balance: b.ID, Kind: ocs.JournalCredit,
			Credited: b.Amount, AmountAfter: b.Amount, CreditSource: "opening",
		})
	}
	m.accounts[a.Key] = a
	for _, id := range ids {
		m.identities[id] = a.Key
	}
	return copyAccount(a)
}

// Block implements Seeder.
func (m *Memory) Block(_ testing.TB, key ocs.AccountKey) {
	m.Change(key, func(a *ocs.Account) { a.Blocked = &ocs.Flag{Since: m.Now(), By: "test"} })
}

// Unblock implements Teller.
func (m *Memory) Unblock(_ testing.TB, key ocs.AccountKey) {
	m.Change(key, func(a *ocs.Account) { a.Blocked = nil })
}

// Close implements Teller: the sweeper ends the account's sessions.
func (m *Memory) Close(_ testing.TB, key ocs.AccountKey) {
	m.Change(key, func(a *ocs.Account) { a.Closed = true })
}

// Credit implements Teller.
func (m *Memory) Credit(_ testing.TB, key ocs.AccountKey, balance, amount int64) {
	a := m.Account(key)
	m.TopUp(key, slices.IndexFunc(a.Balances, func(b *ocs.Balance) bool { return b.ID == balance }), amount)
}

// Change edits an account's row and balances, as an administrator does.
func (m *Memory) Change(key ocs.AccountKey, change func(*ocs.Account)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := copyAccount(m.accounts[key])
	change(&a)
	m.accounts[key] = a
}

// TopUp credits an account's balance.
func (m *Memory) TopUp(key ocs.AccountKey, balance int, amount int64) {
	m.Change(key, func(a *ocs.Account) {
		b := a.Balances[balance]
		b.Amount += amount
		m.journal = append(m.journal, ocs.JournalRow{
			At: m.Now(), Account: key, Balance: b.ID, Kind: ocs.JournalCredit,
			Credited: amount, AmountAfter: b.Amount, FrozenAfter: b.Frozen, CreditSource: "top-up",
		})
	})
}

// Books implements Seeder.
func (m *Memory) Books(testing.TB) Books {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b Books
	for _, a := range m.accounts {
		b.Accounts = append(b.Accounts, copyAccount(a))
	}
	for _, s := range m.sessions {
		b.Sessions = append(b.Sessions, copySession(s))
	}
	b.Journal = append(b.Journal, m.journal...)
	return b
}

// OpenSessions implements Ledger.
func (m *Memory) OpenSessions(key ocs.AccountKey) []ocs.Session {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []ocs.Session
	for ref := range m.open {
		if s := m.sessions[ref]; s.Account == key {
			list = append(list, copySession(s))
		}
	}
	return list
}

// JournalFrom implements Ledger.
func (m *Memory) JournalFrom(n int) []ocs.JournalRow {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.journal[n:])
}

// Account returns an account as it stands.
func (m *Memory) Account(key ocs.AccountKey) ocs.Account {
	m.mu.Lock()
	defer m.mu.Unlock()
	return copyAccount(m.accounts[key])
}

// Session returns a session as it stands, nil when there is none.
func (m *Memory) Session(sessionID string) *ocs.Session {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.sessions[ocs.SessionRef{Key: ocs.KeyOf(sessionID)}]
	if !ok {
		return nil
	}
	return ptr(copySession(s))
}

// Orphans returns the use that was reported for unknown sessions.
func (m *Memory) Orphans() []ocs.OrphanUsage {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]ocs.OrphanUsage(nil), m.orphans...)
}

// Batches returns the sizes of the transactions so far.
func (m *Memory) Batches() []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]int(nil), m.batches...)
}

func copyAccount(a ocs.Account) ocs.Account {
	balances := make([]*ocs.Balance, len(a.Balances))
	for i, b := range a.Balances {
		balances[i] = ptr(*b)
	}
	a.Balances = balances
	return a
}

func copySession(s ocs.Session) ocs.Session {
	targets := make([]*ocs.TargetState, len(s.Targets))
	for i, t := range s.Targets {
		targets[i] = ptr(*t)
		targets[i].Freezes = append([]ocs.Freeze{}, t.Freezes...)
	}
	s.Targets = targets
	s.Outcomes = append([]ocs.StoredOutcome{}, s.Outcomes...)
	return s
}

func ptr[T any](v T) *T { return &v }
