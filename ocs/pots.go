package ocs

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// free is what can still be reserved or spent.
func (b *Balance) free() int64 { return b.Amount - b.Frozen }

// over reports whether the balance's validity has ended.
func (b *Balance) over(now time.Time) bool {
	return !b.ValidUntil.IsZero() && !now.Before(b.ValidUntil)
}

func (b *Balance) valid(now time.Time) bool { return !now.Before(b.ValidFrom) && !b.over(now) }

func (b *Balance) serves(service string, ratingGroup uint32) bool {
	return b.servesService(service) && (b.Targets == nil || slices.Contains(b.Targets, ratingGroup))
}

func (b *Balance) servesService(service string) bool {
	return b.Services == nil || slices.Contains(b.Services, service)
}

// special orders balances: those only a named target of a named service may use
// come before those everything may use.
func (b *Balance) special() int {
	rank := 0
	if b.Targets == nil {
		rank += 2
	}
	if b.Services == nil {
		rank++
	}
	return rank
}

// comesBefore orders the balances a use is paid from: the most restricted
// first, then by priority, then what is over soonest.
func (b *Balance) comesBefore(other *Balance) int {
	return cmp.Or(
		cmp.Compare(b.special(), other.special()),
		cmp.Compare(b.Priority, other.Priority),
		compareEnds(b.ValidUntil, other.ValidUntil),
		cmp.Compare(b.ID, other.ID),
	)
}

func compareEnds(a, b time.Time) int {
	if a.IsZero() || b.IsZero() {
		return cmp.Compare(boolInt(a.IsZero()), boolInt(b.IsZero())) // for ever comes last
	}
	return a.Compare(b)
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// pots lists the balances of a unit that a target may use now, in the order in
// which they are used.
func (a *Account) pots(unit UnitKind, service string, ratingGroup uint32, now time.Time) []*Balance {
	var list []*Balance
	for _, b := range a.Balances {
		if b.Unit == unit && b.valid(now) && b.serves(service, ratingGroup) {
			list = append(list, b)
		}
	}
	if len(list) > 1 {
		slices.SortFunc(list, (*Balance).comesBefore)
	}
	return list
}

func (a *Account) balance(id int64) *Balance {
	for _, b := range a.Balances {
		if b.ID == id {
			return b
		}
	}
	return nil
}

// total is what the pots have left.
func total(pots []*Balance) int64 {
	var sum int64
	for _, b := range pots {
		sum = addFree(sum, b)
	}
	return sum
}

// addFree adds what a balance has free, as far as it can be counted.
func addFree(sum int64, b *Balance) int64 {
	return sum + min(b.free(), math.MaxInt64-sum)
}

// available is the money a service may spend on any of the items, and whether
// there are units it may use. Frozen money is not available.
func (d *decision) available(items []Item) (Money, bool) {
	var sum int64
	units := false
	for _, b := range d.account.Balances {
		if !b.valid(d.ws.Now) || b.free() <= 0 || !b.servesAny(d.serviceName(), items) {
			continue
		}
		if b.Unit == Amount {
			sum = addFree(sum, b)
		} else {
			units = true
		}
	}
	return Money(sum), units
}

func (d *decision) serviceName() string {
	if d.session != nil {
		return d.session.Service
	}
	return d.step.Service
}

func (b *Balance) servesAny(service string, items []Item) bool {
	if !b.servesService(service) {
		return false
	}
	if b.Targets == nil || len(items) == 0 {
		return true
	}
	for i := range items {
		if slices.Contains(b.Targets, items[i].RatingGroup) {
			return true
		}
	}
	return false
}

// why tells an account that has nothing from one whose money, or whose balance
// of a unit (Unspecified: any), is frozen or for other services, given what is
// available to the one that asked.
func (a *Account) why(now time.Time, available int64, unit UnitKind) Refusal {
	var all int64
	for _, b := range a.Balances {
		if !b.over(now) && (b.Unit == Amount || b.Unit == unit || unit == Unspecified) {
			all += min(b.Amount, math.MaxInt64-all)
		}
	}
	switch {
	case all > available:
		return NotAvailable
	case available == 0:
		return NoBalance
	}
	return CreditLimit
}
