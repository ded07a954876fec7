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
	c := &checker{books: b, units: make(map[int64]ocs.UnitKind), frozen: make(map[int64]int64)}
	c.sessions()
	c.balances()
	c.once()
	c.charges()
	c.debts()
	return errors.Join(c.faults...)
}

type checker struct {
	books  Books
	units  map[int64]ocs.UnitKind // of each balance
	frozen map[int64]int64        // of each balance, by the sessions
	faults []error
}

func (c *checker) fault(format string, args ...any) {
	c.faults = append(c.faults, fmt.Errorf(format, args...))
}

func (c *checker) sessions() {
	for _, s := range c.books.Sessions {
		for _, t := range s.Targets {
			for _, f := range t.Freezes {
				if !s.Open() {
					c.fault("session %s is closed and still freezes %d of balance %d", s.ID, f.Amount, f.Balance)
				}
				if f.Amount <= 0 {
					c.fault("session %s freezes %d of balance %d", s.ID, f.Amount, f.Balance)
				}
				c.frozen[f.Balance] += f.Amount
			}
		}
	}
}

func (c *checker) balances() {
	amount := make(map[int64]int64)
	last := make(map[int64]ocs.JournalRow)
	for _, row := range c.books.Journal {
		if row.Balance != 0 {
			amount[row.Balance] += row.Credited - row.Debited
			c.follows(last[row.Balance], row)
			last[row.Balance] = row
		}
	}
	for _, a := range c.books.Accounts {
		for _, b := range a.Balances {
			c.units[b.ID] = b.Unit
			if b.Frozen < 0 || b.Amount < b.Frozen {
				c.fault("balance %d: amount %d, frozen %d", b.ID, b.Amount, b.Frozen)
			}
			if amount[b.ID] != b.Amount {
				c.fault("balance %d holds %d, its journal adds up to %d", b.ID, b.Amount, amount[b.ID])
			}
			if c.frozen[b.ID] != b.Frozen {
				c.fault("balance %d has %d frozen, its sessions %d", b.ID, b.Frozen, c.frozen[b.ID])
			}
			if row := last[b.ID]; row.AmountAfter != b.Amount || row.FrozenAfter != b.Frozen {
				c.fault("balance %d holds %d with %d frozen, its last journal row says %d and %d",
					b.ID, b.Amount, b.Frozen, row.AmountAfter, row.FrozenAfter)
			}
		}
	}
}

// follows tests one journal row against the one before it. What was debited may
// or may not have been frozen.
func (c *checker) follows(before, row ocs.JournalRow) {
	if want := before.AmountAfter + row.Credited - row.Debited; row.AmountAfter != want {
		c.fault("balance %d: a row of session %s, number %d leaves %d, want %d",
			row.Balance, row.SessionID, row.Number, row.AmountAfter, want)
	}
	most := before.FrozenAfter + row.Reserved - row.Refunded
	if row.FrozenAfter > most || row.FrozenAfter < most-row.Debited {
		c.fault("balance %d: a row of session %s, number %d leaves %d frozen, want %d to %d",
			row.Balance, row.SessionID, row.Number, row.FrozenAfter, most-row.Debited, most)
	}
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

func (c *checker) once() {
	seen := make(map[movement]bool, len(c.books.Journal))
	for _, r := range c.books.Journal {
		if r.Session == (ocs.SessionKey{}) {
			continue // an opening, a top-up, a debt paid: not a request's
		}
		m := movement{r.Session, r.SubSession, r.Type, r.Number, r.Target, r.Balance, r.Kind}
		if seen[m] {
			c.fault("session %s, type %d, number %d, target %q moved balance %d twice (%s)",
				r.SessionID, r.Type, r.Number, r.Target, r.Balance, r.Kind)
		}
		seen[m] = true
	}
}

func (c *checker) charges() {
	type target struct {
		session ocs.SessionRef
		target  ocs.Target
	}
	paid := make(map[target]ocs.Money)
	for _, r := range c.books.Journal {
		key := target{ocs.SessionRef{Key: r.Session, Sub: r.SubSession}, r.Target}
		switch {
		case r.Type == ocs.Event || r.Session == (ocs.SessionKey{}):
		case r.Kind == ocs.JournalOverrun:
			paid[key] += ocs.Money(r.Overrun)
		case c.units[r.Balance] == ocs.Amount:
			paid[key] += ocs.Money(r.Debited)
		}
	}
	for _, s := range c.books.Sessions {
		for _, t := range s.Targets {
			key := target{ocs.SessionRef{Key: s.Key, Sub: s.SubID}, t.Target}
			if paid[key] != t.Charged {
				c.fault("session %s, target %q was charged %v, its journal says %v", s.ID, t.Target, t.Charged, paid[key])
			}
			delete(paid, key)
		}
	}
	for key, money := range paid {
		if money != 0 {
			c.fault("%v was charged for target %q of a session that is not there", money, key.target)
		}
	}
}

func (c *checker) debts() {
	owed := make(map[ocs.AccountKey]ocs.Money)
	for _, r := range c.books.Journal {
		owed[r.Account] += ocs.Money(r.Overrun)
		if r.Kind == ocs.JournalDebt {
			owed[r.Account] -= ocs.Money(r.Debited)
		}
	}
	for _, a := range c.books.Accounts {
		if a.Debt != owed[a.Key] {
			c.fault("account %d owes %v, its overruns less what was paid are %v", a.Key.ID, a.Debt, owed[a.Key])
		}
	}
}
