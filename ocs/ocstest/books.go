package ocstest

import (
	"errors"
	"fmt"

	"gygate/ocs"
)

// Books is a snapshot of everything the books consist of.
type Books struct {
	Accounts []ocs.Account // with their balances
	Sessions []ocs.Session // open and closed, with targets and freezes
	Journal  []ocs.JournalRow
}

// CheckBooks tests the books and returns all faults, joined:
//
//   - 0 <= frozen <= amount, and credits - debits = amount, for each balance;
//   - frozen = sum of the open sessions' freezes, and no other session has one;
//   - a balance's journal rows lead from one to the next, and the last one tells
//     its present values;
//   - each request moved each balance for each target once;
//   - what a target was charged = what its rows say was debited and overrun;
//   - an account's debt = its overruns, less what was paid of them.
func CheckBooks(b Books) error {
	c := newChecker()
	for _, a := range b.Accounts {
		c.learn(a)
	}
	c.read(b.Journal)
	sessions := make(map[ocs.AccountKey][]ocs.Session)
	for _, s := range b.Sessions {
		sessions[s.Account] = append(sessions[s.Account], s)
	}
	for _, a := range b.Accounts {
		c.account(a, sessions[a.Key])
	}
	c.strangers(b.Sessions)
	return errors.Join(c.faults...)
}

// Auditor tests the books of one account after the other, as the journal grows,
// by the truths of CheckBooks: so it can be asked after every step. It wants to see
// every row once.
type Auditor struct{ c *checker }

// NewAuditor makes an auditor of books that begin empty.
func NewAuditor() *Auditor { return &Auditor{newChecker()} }

// Audit reads the rows that were written since it was asked last, by any account,
// and tests an account with its open sessions.
func (a *Auditor) Audit(account ocs.Account, open []ocs.Session, rows []ocs.JournalRow) error {
	a.c.learn(account)
	a.c.read(rows)
	a.c.account(account, open)
	err := errors.Join(a.c.faults...)
	a.c.faults = nil
	return err
}

// checker holds what the journal says.
type checker struct {
	units  map[int64]ocs.UnitKind // of each balance
	amount map[int64]int64        // of each balance: credits less debits
	after  map[int64][2]int64     // of each balance, by its last row: amount, frozen
	moved  map[movement]bool
	paid   map[charge]ocs.Money // debited and overrun
	owed   map[ocs.AccountKey]ocs.Money
	faults []error
}

// movement names what a request may do once.
type movement struct {
	session ocs.SessionKey
	sub     uint64
	step    ocs.StepType
	number  uint32
	target  ocs.Target
	balance int64
	kind    ocs.JournalKind
}

// charge names what a session was charged for.
type charge struct {
	session ocs.SessionRef
	target  ocs.Target
}

func newChecker() *checker {
	return &checker{
		units: make(map[int64]ocs.UnitKind), amount: make(map[int64]int64), after: make(map[int64][2]int64),
		moved: make(map[movement]bool), paid: make(map[charge]ocs.Money), owed: make(map[ocs.AccountKey]ocs.Money),
	}
}

func (c *checker) fault(format string, args ...any) {
	c.faults = append(c.faults, fmt.Errorf(format, args...))
}

// learn notes an account's balances; before their rows are read.
func (c *checker) learn(a ocs.Account) {
	for _, b := range a.Balances {
		c.units[b.ID] = b.Unit
	}
}

// read follows the journal.
func (c *checker) read(journal []ocs.JournalRow) {
	for i := range journal {
		row := &journal[i]
		if row.Balance != 0 {
			c.follows(row)
			c.amount[row.Balance] += row.Credited - row.Debited
			c.after[row.Balance] = [2]int64{row.AmountAfter, row.FrozenAfter}
		}
		c.owed[row.Account] += ocs.Money(row.Overrun)
		if row.Kind == ocs.JournalDebt {
			c.owed[row.Account] -= ocs.Money(row.Debited)
		}
		if row.Session != (ocs.SessionKey{}) { // else an opening, a top-up, a debt paid: not a request's
			c.request(row)
		}
	}
}

// follows tests one journal row against the one before it. What was debited may
// or may not have been frozen.
func (c *checker) follows(row *ocs.JournalRow) {
	before := c.after[row.Balance]
	if want := before[0] + row.Credited - row.Debited; row.AmountAfter != want {
		c.fault("balance %d: a row of session %s, number %d leaves %d, want %d",
			row.Balance, row.SessionID, row.Number, row.AmountAfter, want)
	}
	most := before[1] + row.Reserved - row.Refunded
	if row.FrozenAfter > most || row.FrozenAfter < most-row.Debited {
		c.fault("balance %d: a row of session %s, number %d leaves %d frozen, want %d to %d",
			row.Balance, row.SessionID, row.Number, row.FrozenAfter, most-row.Debited, most)
	}
}

// request adds what a request moved, once for each balance and target.
func (c *checker) request(r *ocs.JournalRow) {
	m := movement{r.Session, r.SubSession, r.Type, r.Number, r.Target, r.Balance, r.Kind}
	if c.moved[m] {
		c.fault("session %s, type %d, number %d, target %q moved balance %d twice (%s)",
			r.SessionID, r.Type, r.Number, r.Target, r.Balance, r.Kind)
	}
	c.moved[m] = true
	key := charge{ocs.SessionRef{Key: r.Session, Sub: r.SubSession}, r.Target}
	switch {
	case r.Type == ocs.Event:
	case r.Kind == ocs.JournalOverrun:
		c.paid[key] += ocs.Money(r.Overrun)
	case c.units[r.Balance] == ocs.Amount && r.Debited != 0:
		c.paid[key] += ocs.Money(r.Debited)
	}
}

// account tests an account against what its sessions freeze and its rows say.
func (c *checker) account(a ocs.Account, sessions []ocs.Session) {
	frozen := c.freezes(sessions)
	for _, b := range a.Balances {
		if b.Frozen < 0 || b.Amount < b.Frozen {
			c.fault("balance %d: amount %d, frozen %d", b.ID, b.Amount, b.Frozen)
		}
		if c.amount[b.ID] != b.Amount {
			c.fault("balance %d holds %d, its journal adds up to %d", b.ID, b.Amount, c.amount[b.ID])
		}
		if frozen[b.ID] != b.Frozen {
			c.fault("balance %d has %d frozen, its sessions %d", b.ID, b.Frozen, frozen[b.ID])
		}
		if row := c.after[b.ID]; row != [2]int64{b.Amount, b.Frozen} {
			c.fault("balance %d holds %d with %d frozen, its last journal row says %d and %d",
				b.ID, b.Amount, b.Frozen, row[0], row[1])
		}
		delete(frozen, b.ID)
	}
	for balance, n := range frozen {
		c.fault("%d of balance %d is frozen, which the account does not have", n, balance)
	}
	if a.Debt != c.owed[a.Key] {
		c.fault("account %d owes %v, its overruns less what was paid are %v", a.Key.ID, a.Debt, c.owed[a.Key])
	}
}

// freezes sums what the sessions freeze of each balance, and tests what they were
// charged.
func (c *checker) freezes(sessions []ocs.Session) map[int64]int64 {
	frozen := make(map[int64]int64)
	for _, s := range sessions {
		for _, t := range s.Targets {
			for _, f := range t.Freezes {
				if !s.Open() || f.Amount <= 0 {
					c.fault("session %s (open: %v) freezes %d of balance %d", s.ID, s.Open(), f.Amount, f.Balance)
				}
				frozen[f.Balance] += f.Amount
			}
			if paid := c.paid[chargeOf(&s, t)]; paid != t.Charged {
				c.fault("session %s, target %q was charged %v, its journal says %v", s.ID, t.Target, t.Charged, paid)
			}
		}
	}
	return frozen
}

func chargeOf(s *ocs.Session, t *ocs.TargetState) charge {
	return charge{ocs.SessionRef{Key: s.Key, Sub: s.SubID}, t.Target}
}

// strangers finds charges for what no session has.
func (c *checker) strangers(sessions []ocs.Session) {
	known := make(map[charge]bool)
	for i := range sessions {
		for _, t := range sessions[i].Targets {
			known[chargeOf(&sessions[i], t)] = true
		}
	}
	for key, money := range c.paid {
		if money != 0 && !known[key] {
			c.fault("%v was charged for target %q of a session that is not there", money, key.target)
		}
	}
}
