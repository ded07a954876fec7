package ladder

import (
	"fmt"
	"time"

	"gygate/ocs"
	"gygate/vpnlogic"
)

// Call is one call with the money it moved.
type Call struct {
	Events  []vpnlogic.CallEvent
	Journal []ocs.JournalRow // of the call's session, oldest first; nil when the books are elsewhere
	// Elsewhere is what others did to the balances the session touched, between its
	// first step and its last: a top-up adds, another session's debit takes away.
	Elsewhere ocs.Money
	// Currency is written behind sums, e.g. "EUR".
	Currency string
}

// Moved is what one charging step, or a whole session, did to the account.
type Moved struct {
	Debited, Refunded, Reserved, Overrun ocs.Money
	Amount, Frozen                       ocs.Money // of the balances the session touches, afterwards
}

// Sum is the arithmetic of a call.
type Sum struct {
	Moved
	Opening ocs.Money // of the balances the session touched, before its first step
	Cost    string    // what the charging system told VPN logic, "" when nothing
	Used    time.Duration
	Faults  []string // why it does not add up; empty: it does
}

// stepKey finds a step inside a session.
type stepKey struct {
	kind   ocs.StepType
	number uint32
}

// steps adds the journal up by step, and gives what the touched balances held
// before the first of them.
func (c Call) steps() (map[stepKey]Moved, Moved) {
	amount, frozen := map[int64]ocs.Money{}, map[int64]ocs.Money{}
	for _, r := range c.Journal {
		if _, seen := amount[r.Balance]; !seen && r.Balance != 0 {
			amount[r.Balance] = ocs.Money(r.AmountAfter + r.Debited - r.Credited)
			frozen[r.Balance] = ocs.Money(max(0, r.FrozenAfter-r.Reserved))
		}
	}
	opening := Moved{Amount: total(amount), Frozen: total(frozen)}
	steps := map[stepKey]Moved{}
	for _, r := range c.Journal {
		m := steps[stepKey{r.Type, r.Number}]
		m.add(r)
		if r.Balance != 0 {
			amount[r.Balance], frozen[r.Balance] = ocs.Money(r.AmountAfter), ocs.Money(r.FrozenAfter)
		}
		m.Amount, m.Frozen = total(amount), total(frozen)
		steps[stepKey{r.Type, r.Number}] = m
	}
	return steps, opening
}

func (m *Moved) add(r ocs.JournalRow) {
	m.Debited += ocs.Money(r.Debited)
	m.Refunded += ocs.Money(r.Refunded)
	m.Reserved += ocs.Money(r.Reserved)
	m.Overrun += ocs.Money(r.Overrun)
}

func total(of map[int64]ocs.Money) (sum ocs.Money) {
	for _, m := range of {
		sum += m
	}
	return sum
}

// Sum adds the call up and compares what three parties say of it: the events
// (units reported), the journal (money moved) and the call record (cost).
func (c Call) Sum() Sum {
	var s Sum
	steps, opening := c.steps()
	s.Opening = opening.Amount
	s.Amount, s.Frozen = opening.Amount, opening.Frozen
	for _, r := range c.Journal {
		s.add(r)
		m := steps[stepKey{r.Type, r.Number}]
		s.Amount, s.Frozen = m.Amount, m.Frozen
	}
	var record *vpnlogic.CallRecord
	for _, e := range c.Events {
		if e.Request != nil && !e.Request.Repeat {
			s.Used += e.Request.Used
		}
		if e.Record != nil {
			record = e.Record
		}
	}
	s.check(c, record)
	return s
}

// check writes down every equation that does not hold.
func (s *Sum) check(c Call, record *vpnlogic.CallRecord) {
	fault := func(format string, args ...any) { s.Faults = append(s.Faults, fmt.Sprintf(format, args...)) }
	if record == nil {
		fault("there is no call record")
		return
	}
	s.Cost = record.Cost
	if s.Used != record.Reported {
		fault("%s reported in CCRs, %s in the call record", seconds(s.Used), seconds(record.Reported))
	}
	if c.Journal == nil {
		return
	}
	if s.Opening-s.Debited+c.Elsewhere != s.Amount {
		fault("opening %s - debited %s%s is not the balance %s", s.Opening, s.Debited, elsewhereText(c.Elsewhere), s.Amount)
	}
	if left := s.Reserved - s.Refunded - s.Debited; left > 0 {
		fault("%s reserved and neither debited nor refunded", left)
	}
	if rated := s.Debited + s.Overrun; s.Cost != "" && !sameMoney(s.Cost, rated) {
		fault("debited %s + overrun %s is not the cost %s of the call record", s.Debited, s.Overrun, s.Cost)
	}
}

// elsewhereText is the term of an equation for what others moved, "" for nothing.
func elsewhereText(m ocs.Money) string {
	switch {
	case m > 0:
		return fmt.Sprintf(" + %s elsewhere", m)
	case m < 0:
		return fmt.Sprintf(" - %s elsewhere", -m)
	}
	return ""
}

// Elsewhere adds up what the rows of an account's journal that are not of the
// session did to the balances it touched, between its first row and its last. The
// journal is whole and oldest first.
func Elsewhere(session ocs.SessionKey, account []ocs.JournalRow) (sum ocs.Money) {
	since := map[int64]ocs.Money{} // the session's last row, by balance
	for _, r := range account {
		moved, touched := since[r.Balance]
		switch {
		case r.Session == session:
			sum += moved
			since[r.Balance] = 0
		case touched:
			since[r.Balance] = moved + ocs.Money(r.Credited-r.Debited)
		}
	}
	return sum
}

func sameMoney(text string, m ocs.Money) bool {
	v, err := ocs.ParseMoney(text)
	return err == nil && v == m
}

// seconds writes a duration as charging counts it: "5 s", "1.5 s".
func seconds(d time.Duration) string {
	if d%time.Second == 0 {
		return fmt.Sprintf("%d s", d/time.Second)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
