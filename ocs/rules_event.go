package ocs

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"
)

// event carries out a one-time event (RFC 8506 §6). It takes effect for all its
// items or not at all, and leaves no session.
func (d *decision) event() {
	if d.account == nil {
		d.refuse(UnknownSubscriber)
		return
	}
	d.session = nil
	if d.serve(d.step.Service) {
		switch d.step.Action {
		case DirectDebit:
			d.directDebit()
		case RefundAccount:
			d.refundAccount()
		case CheckBalance:
			d.checkBalance()
		case PriceEnquiry:
			d.priceEnquiry()
		default:
			d.refuse(UnitMismatch)
		}
	}
	d.outcome.Available, _ = d.available(d.items)
	d.storeAlone()
}

// bill is what one item of an event asks for and costs.
type bill struct {
	*movement
	quantity int64
	unit     UnitKind
	amount   Money    // of the price at the Event-Timestamp
	parts    []Freeze // what it was paid from
}

// bill prices an item. What the client leaves open is one slice.
func (d *decision) bill(item Item) (bill, Refusal) {
	b := bill{movement: &movement{decision: d, item: item, kind: JournalStep}}
	b.out.Target, b.out.RatingGroup = item.Target, item.RatingGroup
	b.state = &TargetState{Target: item.Target, RatingGroup: item.RatingGroup}
	if item.Requested != nil {
		b.quantity, b.unit = item.Requested.Quantity, item.Requested.Kind
	}
	switch {
	case item.Currency != 0 && item.Currency != d.account.Currency:
		return b, ForeignCurrency
	case b.quantity < 0 || b.quantity > chargeMax:
		return b, UnitMismatch
	}
	if b.unit == Amount {
		return b, ""
	}
	b.price = d.tariff.find(d.step.Service, item.RatingGroup, d.step.Called, d.account.Currency, d.at)
	switch {
	case b.price == nil:
		return b, Unrated
	case b.unit != Unspecified && b.unit != b.price.Unit:
		return b, UnitMismatch
	}
	b.unit = b.price.Unit
	if b.quantity == 0 {
		b.quantity = d.policy.slice(b.unit)
	}
	b.amount, _ = b.price.priceAt(d.at)
	b.state.Unit = b.unit
	return b, ""
}

// cost is the price of n of the bill's units.
func (b *bill) cost(n int64) (Money, Refusal) {
	if b.unit == Amount {
		return Money(n), ""
	}
	cost, err := Meter{}.cost(n, b.price, b.amount)
	if err != nil {
		return 0, UnitMismatch
	}
	return cost, ""
}

// directDebit pays at once, without a freeze (RFC 8506 §6.3).
func (d *decision) directDebit() {
	if d.verbs&VerbAuthenticate != 0 {
		if d.refuse(d.authenticate()); d.outcome.Refusal != "" {
			return
		}
	}
	undo, rows := d.account.save(), len(d.ws.Journal)
	var bills []bill
	for i, item := range d.items {
		b, refusal := d.bill(item)
		if refusal == "" {
			refusal = b.payAtOnce()
		}
		if refusal != "" {
			undo()
			d.ws.Journal = d.ws.Journal[:rows]
			d.refuseEvent(item, refusal)
			return
		}
		d.token(&b, i)
		b.parts = b.debited()
		b.book() // before the next item moves the same balances
		bills = append(bills, b)
	}
	for _, b := range bills {
		d.keepDebit(b)
		d.outcome.Items = append(d.outcome.Items, b.out)
	}
}

// refuseEvent refuses the whole event for what one item is refused.
func (d *decision) refuseEvent(item Item, r Refusal) {
	d.refuse(r)
	d.outcome.Cost = 0
	d.outcome.Items = []ItemOutcome{{Target: item.Target, RatingGroup: item.RatingGroup, Refusal: r}}
}

// payAtOnce takes the whole price of the bill from what is available.
func (b *bill) payAtOnce() Refusal {
	switch {
	case b.price == nil || !b.price.free():
	case b.step.Habits.NoFree:
		b.out.Granted = &Units{b.unit, b.quantity}
		return ""
	default:
		return Free
	}
	units := int64(0)
	if b.unit != Amount {
		units = b.takeFree(b.pots(b.unit), b.quantity)
	}
	cost, refusal := b.cost(b.quantity - units)
	if refusal != "" {
		return refusal
	}
	pots := b.pots(Amount)
	have := total(pots)
	if b.takeFree(pots, int64(cost)) < int64(cost) {
		return b.account.why(b.ws.Now, have, b.unit)
	}
	b.used = b.quantity
	b.out.Granted = &Units{b.unit, b.quantity}
	b.outcome.Cost += cost
	return ""
}

// save remembers the balances and returns how to go back to them.
func (a *Account) save() (undo func()) {
	saved := make([]Balance, len(a.Balances))
	for i, b := range a.Balances {
		saved[i] = *b
	}
	return func() {
		for i := range saved {
			*a.Balances[i] = saved[i]
		}
	}
}

// tokenLen is the length of a refund token in octets.
const tokenLen = 16

// token gives a debit of money the token by which it can be taken back. It
// follows from the step's key, so that deciding twice gives the same.
func (d *decision) token(b *bill, item int) {
	if b.out.Debited == 0 {
		return
	}
	seed := append([]byte("refund "), d.key.Session[:]...)
	seed = binary.BigEndian.AppendUint64(seed, d.key.SubSession)
	seed = binary.BigEndian.AppendUint32(seed, d.key.Number)
	seed = append(seed, byte(d.key.Type), byte(item))
	hash := sha256.Sum256(seed)
	b.out.RefundToken = hash[:tokenLen]
}

// debited is what the bill took out of which balance.
func (b *bill) debited() (parts []Freeze) {
	for _, f := range b.flows {
		if f.debited > 0 {
			parts = append(parts, Freeze{Balance: f.balance.ID, Amount: f.debited})
		}
	}
	return parts
}

// keepDebit stores what a later REFUND_ACCOUNT may take back.
func (d *decision) keepDebit(b bill) {
	if b.out.RefundToken == nil {
		return
	}
	debit := &EventDebit{Account: d.payer, Token: b.out.RefundToken, Parts: b.parts, Cost: b.out.Debited, Units: *b.out.Granted}
	if d.ws.Debits == nil {
		d.ws.Debits = make(map[string]*EventDebit)
	}
	d.ws.Debits[string(debit.Token)] = debit
	d.ws.NewDebits = append(d.ws.NewDebits, debit)
}

// refundAccount takes debits back (RFC 8506 §6.4): a debit of the same payer
// named by its token, in total never more than it cost; or an amount without a
// debit, as far as the client may.
func (d *decision) refundAccount() {
	if d.account.Closed {
		d.refuse(Closed)
		return
	}
	var backs []reversal
	for _, item := range d.items {
		r, refusal := d.reversal(item)
		for _, other := range backs {
			switch {
			case r.debit == nil && other.debit == nil:
				refusal = RefundTooLarge // the cap is one for the request
			case other.debit == r.debit:
				refusal = RefundNotLinked // the same token twice in one request
			}
		}
		if refusal != "" {
			d.refuseEvent(item, refusal)
			return
		}
		backs = append(backs, r)
	}
	for _, r := range backs {
		d.reverse(r)
	}
}

// reversal is how much of a debit an item takes back.
type reversal struct {
	item   Item
	debit  *EventDebit // nil: a refund without one
	amount Money
	units  Units
}

// unlinked is a refund without a debit: what the item would cost, up to the
// client's cap (conformance B-175).
func (d *decision) unlinked(item Item) (reversal, Refusal) {
	if item.Requested == nil || item.Requested.Quantity == 0 {
		return reversal{}, RefundNotLinked
	}
	b, refusal := d.bill(item)
	if refusal != "" {
		return reversal{}, refusal
	}
	amount, refusal := b.cost(b.quantity)
	switch {
	case refusal != "":
		return reversal{}, refusal
	case amount > item.Unlinked:
		return reversal{}, RefundTooLarge
	case amount == 0 || refundTo(b.pots(Amount), amount) == nil:
		return reversal{}, RefundNotLinked
	}
	return reversal{item: item, amount: amount, units: Units{b.unit, b.quantity}}, ""
}

// refundTo is the balance that takes a refund without a debit: the most general
// one that lasts longest; nil when none can.
func refundTo(pots []*Balance, amount Money) *Balance {
	for _, b := range slices.Backward(pots) {
		if b.Amount <= math.MaxInt64-int64(amount) {
			return b
		}
	}
	return nil
}

func (d *decision) reversal(item Item) (reversal, Refusal) {
	if len(item.RefundToken) == 0 && item.Unlinked > 0 {
		return d.unlinked(item)
	}
	debit := d.ws.Debits[string(item.RefundToken)]
	if len(item.RefundToken) == 0 || debit == nil || debit.Account != d.payer || debit.Reversed >= debit.Cost {
		return reversal{}, RefundNotLinked
	}
	if item.Currency != 0 && item.Currency != d.account.Currency {
		return reversal{}, ForeignCurrency
	}
	left := debit.Cost - debit.Reversed
	r := reversal{item: item, debit: debit, amount: left, units: debit.Units}
	asked := item.Requested
	switch {
	case asked == nil || asked.Quantity == 0:
		return r, ""
	case asked.Kind != Unspecified && asked.Kind != debit.Units.Kind && asked.Kind != Amount,
		asked.Quantity < 0:
		return r, UnitMismatch
	case asked.Kind == Amount:
		r.amount = Money(asked.Quantity)
	case asked.Quantity > debit.Units.Quantity:
		return r, RefundTooLarge
	default:
		r.amount = share(debit.Cost, asked.Quantity, debit.Units.Quantity)
	}
	r.units = *asked
	switch {
	case r.amount > left:
		return r, RefundTooLarge
	case r.amount < debit.Cost && d.paidInUnits(debit):
		return r, RefundTooLarge // units and money only come back together
	}
	return r, ""
}

// share is amount*n/of, rounded down, for n <= of.
func share(amount Money, n, of int64) Money {
	hi, lo := bits.Mul64(uint64(amount), uint64(n))
	q, _ := bits.Div64(hi, lo, uint64(of))
	return Money(q)
}

func (d *decision) paidInUnits(debit *EventDebit) bool {
	for _, part := range debit.Parts {
		if b := d.account.balance(part.Balance); b.Unit != Amount {
			return true
		}
	}
	return false
}

// reverse credits the balances the debit came from, the first one first.
func (d *decision) reverse(r reversal) {
	m := &movement{decision: d, item: r.item}
	units := r.units
	d.outcome.Items = append(d.outcome.Items, ItemOutcome{
		Target: r.item.Target, RatingGroup: r.item.RatingGroup, Granted: &units,
	})
	d.outcome.Cost -= r.amount
	if r.debit == nil {
		m.credit(refundTo(m.pots(Amount), r.amount), int64(r.amount), "refund", nil)
		return
	}
	skip, left := int64(r.debit.Reversed), int64(r.amount)
	for _, part := range r.debit.Parts {
		b := d.account.balance(part.Balance)
		n := part.Amount
		if b.Unit == Amount {
			done := min(skip, n)
			skip -= done
			n = min(n-done, left)
			left -= n
		}
		m.credit(b, n, "reversal", r.debit.Token)
	}
	r.debit.Reversed += r.amount
	if !d.isNew(r.debit) {
		r.debit.Dirty = true
	}
}

func (d *decision) isNew(debit *EventDebit) bool {
	for _, n := range d.ws.NewDebits {
		if n == debit {
			return true
		}
	}
	return false
}

func (m *movement) credit(b *Balance, n int64, source string, token []byte) {
	if n == 0 {
		return
	}
	b.Amount += n
	b.Dirty = true
	row := m.row(JournalCredit)
	row.Balance, row.Credited = b.ID, n
	row.AmountAfter, row.FrozenAfter = b.Amount, b.Frozen
	row.ReversalOf, row.CreditSource = token, source
	row.CreditKey = fmt.Sprintf("%s %s %d %s %d", source, m.step.SessionID, m.key.Number, m.item.Target, b.ID)
	m.ws.Journal = append(m.ws.Journal, row)
}

// checkBalance tells whether all items could be paid now (RFC 8506 §6.2).
// Frozen money does not count.
func (d *decision) checkBalance() {
	undo := d.account.save()
	defer undo()
	for _, item := range d.items {
		b, refusal := d.bill(item)
		if refusal == "" && b.price != nil && b.price.free() {
			continue
		}
		if refusal == "" {
			refusal = b.payAtOnce()
		}
		switch refusal {
		case "":
		case NoBalance, NotAvailable, CreditLimit:
			d.outcome.NoCredit = true
		default:
			d.refuseEvent(item, refusal)
			return
		}
	}
	d.outcome.Cost = 0
}

// priceEnquiry tells what the items would cost (RFC 8506 §6.1): no account's
// standing, no balance.
func (d *decision) priceEnquiry() {
	for _, item := range d.items {
		b, refusal := d.bill(item)
		var cost Money
		if refusal == "" {
			cost, refusal = b.cost(b.quantity)
		}
		if refusal == "" && d.outcome.Cost > math.MaxInt64-cost {
			refusal = UnitMismatch
		}
		if refusal != "" {
			d.refuseEvent(item, refusal)
			return
		}
		d.outcome.Cost += cost
		d.outcome.Items = append(d.outcome.Items, ItemOutcome{Target: b.out.Target, RatingGroup: b.out.RatingGroup})
	}
}
