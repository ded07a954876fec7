package ocs

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// request is a step together with what was found out about it on the way: its
// key, and the account it was resolved to.
type request struct {
	step  *Step
	key   StepKey
	payer AccountKey
	// restarted and host are those of the Expiry behind an Expire step.
	restarted uint32
	host      string
}

// decision is the deciding of one step over a working set.
type decision struct {
	request
	ws      *WorkingSet
	tariff  *Tariff
	policy  *Policy
	account *Account
	session *Session
	service *ServiceContext
	verbs   Verbs
	at      time.Time      // Event-Timestamp, as far as it can be believed
	items   []Item         // one for each target
	before  int            // targets the session had before this step
	meant   []*TargetState // of these, what items have spoken for that do not name them
	ends    bool           // the step ends the session: no quota of it lives on
	outcome Outcome
}

// decide carries out one step on the working set and returns its outcome. It is
// the whole of the charging rules: no clock, no I/O, no state outside ws. The
// order is fixed: a repeat is answered from what is stored; then the session's
// state; then authenticate, and for each item debit, refund, reserve; then the
// end of the session; then the outcome is stored.
func decide(ws *WorkingSet, r request, tariff *Tariff, policy *Policy) Outcome {
	d := &decision{
		request: r, ws: ws, tariff: tariff, policy: policy,
		account: ws.Accounts[r.payer],
		session: ws.Sessions[SessionRef{r.key.Session, r.key.SubSession}],
		verbs:   r.step.Verbs,
		items:   mergeItems(r.step.Items),
	}
	if d.verbs == 0 {
		d.verbs = VerbsOf(r.step.Type, r.step.Action)
	}
	if r.step.Habits.Interim && r.key.Type == Initial {
		d.verbs |= VerbDebit
	}
	if outcome, done := d.replay(); done {
		outcome.Account = d.payer
		if d.account != nil {
			outcome.Class = d.account.Class
		}
		return outcome
	}
	d.at = d.believable(r.step.At)
	d.dispatch()
	if d.account != nil {
		d.sign()
		d.account.mustBalance()
	}
	return d.outcome
}

// replay answers a repeat from the stored outcome (RFC 8506 §5.7): no money
// moves and no deadline is renewed. A number known to be served whose outcome
// is no longer kept is refused, never served again.
func (d *decision) replay() (Outcome, bool) {
	if d.key.Type == Direct && d.step.sessionless() {
		return Outcome{}, false // authenticate alone has no session, and no repeats
	}
	if stored := d.ws.Outcomes[d.key]; stored != nil {
		return d.repeat(stored), true
	}
	s := d.session
	if s == nil || s.Account != d.payer || d.foreignClient() {
		return Outcome{}, false
	}
	for i := range s.Outcomes {
		if s.Outcomes[i].Type == d.key.Type && s.Outcomes[i].Number == d.key.Number {
			return d.repeat(&s.Outcomes[i]), true
		}
	}
	if d.servedBefore() {
		return Outcome{Refusal: OutcomeGone, Replayed: true}, true
	}
	return Outcome{}, false
}

// repeat answers with what is stored. That the repeat asks something else is
// recorded, as nobody else will ever see it (conformance B-023).
func (d *decision) repeat(o *StoredOutcome) Outcome {
	answer := o.Outcome
	answer.Replayed = true
	if answer.Mismatch = o.Content != d.step.Content; answer.Mismatch {
		record := d.orphanRecord()
		record.Mismatch = true
		for i := range d.items {
			record.Used = append(record.Used, d.items[i].Used...)
		}
		d.ws.Orphans = append(d.ws.Orphans, record)
	}
	return answer
}

// orphanRecord begins the record of use that is not charged.
func (d *decision) orphanRecord() OrphanUsage {
	record := OrphanUsage{SessionID: d.step.SessionID, Key: d.key, At: d.ws.Now}
	if d.session != nil {
		record.SessionID = d.session.ID
	}
	return record
}

// servedBefore looks the number up in the window of served numbers. The window
// knows no types, so the number of a CCR-I whose outcome is still kept does not
// stand for an update with that number: had the update been served, its outcome
// would be younger and kept too. A CCR-T needs no window: it closes the session.
func (d *decision) servedBefore() bool {
	switch d.key.Type {
	case Initial, Update, Direct:
	default:
		return false
	}
	for i := range d.session.Outcomes {
		o := &d.session.Outcomes[i]
		if d.key.Type == Update && o.Type == Initial && o.Number == d.key.Number {
			return false
		}
	}
	return d.session.Served.has(d.key.Number)
}

// foreignClient reports whether the step comes from another client than the
// session's: for a CCR-I any other Origin-Host, since a Session-Id is globally
// unique (RFC 8506 §5.1); later a client may continue on another host of its
// realm.
func (d *decision) foreignClient() bool {
	own, other := d.session.Client, d.step.Client
	if own.Host == "" || other.Host == "" {
		return false
	}
	if d.key.Type == Initial {
		return !strings.EqualFold(own.Host, other.Host)
	}
	return !strings.EqualFold(own.Realm, other.Realm)
}

// believable is the Event-Timestamp when the clock allows it, else now.
func (d *decision) believable(at time.Time) time.Time {
	now := d.ws.Now
	earliest := now.Add(-d.policy.Retention)
	if d.session != nil {
		earliest = d.session.OpenedAt.Add(-d.policy.ClockSkew)
	}
	if at.Before(earliest) || at.After(now.Add(d.policy.ClockSkew)) {
		return now
	}
	return at
}

// dispatch is the session state machine of RFC 8506 §7, Table 6, extended by
// the direct verbs:
//
//	Idle  CCR-I accepted          Open   reserve, start Tcc
//	Idle  CCR-I refused           Idle   answer
//	Idle  CCR-U, CCR-T            Idle   answer "unknown session"
//	Idle  CCR-E                   Idle   one-time event
//	Open  CCR-U accepted          Open   debit, refund, reserve, restart Tcc
//	Open  CCR-U refused           Idle   debit, refund
//	Open  CCR-T                   Idle   debit, refund
//	Open  Tcc expired             Idle   refund
//	Open  client restarted        Idle   refund, after OrphanGrace (RFC 6733 §8.6)
//	Open  account closed          Idle   refund, or debit at the next CCR
//	Open  CCR-I (not listed)      Open   refused
func (d *decision) dispatch() {
	open := d.session != nil && d.session.Open()
	switch {
	case d.key.Type == Event:
		d.event()
	case d.step.sessionless():
		d.peek()
	case d.session == nil && d.opens():
		d.open()
	case d.session == nil:
		d.unknownSession()
	case d.session.Account != d.payer && d.key.Type != Initial:
		d.refuse(PayerChanged)
	case d.key.Type == Initial || (!open && d.opens()):
		d.refuse(SessionExists)
	case d.foreignClient():
		d.unknownSession()
	case d.key.Type == Expire:
		d.expire()
	case !open && d.key.Type == Terminate && d.ws.Now.Before(d.session.LateUntil):
		d.terminate()
	case !open:
		d.unknownSession()
	case d.key.Type == Update:
		d.update()
	case d.key.Type == Terminate:
		d.terminate()
	default:
		d.direct()
	}
}

// opens reports whether the step may begin a session.
func (d *decision) opens() bool {
	return d.key.Type == Initial || (d.key.Type == Direct && d.verbs&VerbReserve != 0)
}

func (d *decision) refuse(r Refusal) { d.outcome.Refusal = r }

// unknownSession refuses with nothing stored but what the client says it used:
// that is not charged, and an operator can see it.
func (d *decision) unknownSession() {
	d.refuse(UnknownSession)
	for _, item := range d.items {
		d.orphan(item.Used)
	}
}

// orphan records use that is not charged, one record for a step.
func (d *decision) orphan(used []Usage) {
	for _, u := range used {
		if u.Units.Quantity == 0 {
			continue
		}
		if n := len(d.ws.Orphans); n == 0 || d.ws.Orphans[n-1].Key != d.key {
			record := d.orphanRecord()
			record.At = d.at
			d.ws.Orphans = append(d.ws.Orphans, record)
		}
		last := &d.ws.Orphans[len(d.ws.Orphans)-1]
		last.Used = append(last.Used, u)
	}
}

// sign says whose account the outcome speaks of.
func (d *decision) sign() {
	d.outcome.Account, d.outcome.Currency, d.outcome.Class = d.account.Key, d.account.Currency, d.account.Class
}

// storeInSession keeps the outcome for repeats, the last OutcomesKept of them.
func (d *decision) storeInSession() {
	s := d.session
	d.sign()
	if len(s.Outcomes) >= OutcomesKept {
		s.Outcomes = append(s.Outcomes[:0:0], s.Outcomes[len(s.Outcomes)-OutcomesKept+1:]...)
	}
	s.Outcomes = append(s.Outcomes, d.stored())
	s.Served.add(d.key.Number)
	s.Dirty = true
}

// storeAlone keeps an outcome that has no session: an event, or a refused CCR-I.
func (d *decision) storeAlone() {
	d.sign()
	stored := d.stored()
	d.ws.NewOutcomes = append(d.ws.NewOutcomes, NewOutcome{Account: d.payer, Key: d.key, Stored: stored})
	if d.ws.Outcomes == nil {
		d.ws.Outcomes = make(map[StepKey]*StoredOutcome)
	}
	d.ws.Outcomes[d.key] = &stored
}

func (d *decision) stored() StoredOutcome {
	return StoredOutcome{Type: d.key.Type, Number: d.key.Number, Content: d.step.Content, Outcome: d.outcome}
}

// servedBits is the width of a ServedWindow.
const servedBits = 64

func (w *ServedWindow) add(n uint32) {
	switch {
	case w.Bits == 0:
		w.Top, w.Bits = n, 1
	case n > w.Top:
		w.Bits = w.Bits<<(n-w.Top) | 1 // Go shifts by 64 and more to 0
		w.Top = n
	case w.Top-n < servedBits:
		w.Bits |= 1 << (w.Top - n)
	}
}

// has reports whether n was served; a number below the window counts as served,
// since serving it twice would be worse than refusing it.
func (w ServedWindow) has(n uint32) bool {
	if w.Bits == 0 || n > w.Top {
		return false
	}
	return w.Top-n >= servedBits || w.Bits&(1<<(w.Top-n)) != 0
}

// mergeItems joins the items of one target: the use of all of them, the last
// wish for quota.
func mergeItems(items []Item) []Item {
	if !repeatsTarget(items) {
		return items
	}
	merged := make([]Item, 0, len(items))
	for _, item := range items {
		into := itemOf(merged, item.Target)
		if into == nil {
			merged = append(merged, item)
			continue
		}
		into.report(item)
		into.Final = into.Final || item.Final
		if item.Requested != nil {
			into.Requested = item.Requested
		}
		if item.RefundToken != nil {
			into.RefundToken = item.RefundToken
		}
	}
	return merged
}

// report adds what another item reports of the same target. Two currencies are
// none that an account has.
func (i *Item) report(other Item) {
	i.Used = slices.Concat(i.Used, other.Used)
	switch {
	case i.Currency == 0:
		i.Currency = other.Currency
	case other.Currency != 0 && other.Currency != i.Currency:
		i.Currency = math.MaxUint16
	}
}

func repeatsTarget(items []Item) bool {
	for i := range items {
		if itemOf(items[:i], items[i].Target) != nil {
			return true
		}
	}
	return false
}

func itemOf(items []Item, t Target) *Item {
	for i := range items {
		if items[i].Target == t {
			return &items[i]
		}
	}
	return nil
}

// mustBalance panics when a balance is broken. The lane then gives the step up
// and nothing of it is stored.
func (a *Account) mustBalance() {
	for _, b := range a.Balances {
		if b.Frozen < 0 || b.Amount < b.Frozen {
			panic(fmt.Sprintf("balance %d of account %d: amount %d, frozen %d", b.ID, a.Key.ID, b.Amount, b.Frozen))
		}
	}
}
