package ocs

import (
	"slices"
	"strings"
	"time"
)

// TargetsMax bounds what one session may hold freezes for.
const TargetsMax = 128

// authenticate is the prepaid service's first function: may this payer use the
// service at all? The order of the reasons is fixed.
func (d *decision) authenticate() Refusal {
	if r := d.standing(); r != "" {
		return r
	}
	money, units := d.available(d.items)
	switch {
	case money < d.account.Threshold:
		return BelowThreshold
	case money > 0 || units:
		return ""
	}
	return d.account.why(d.ws.Now, 0, Unspecified)
}

// standing is the part of authenticate that also holds in mid-session.
func (d *decision) standing() Refusal {
	a, now := d.account, d.ws.Now
	switch {
	case a.Closed:
		return Closed
	case a.Lost != nil:
		return Lost
	case a.Blocked != nil:
		return Blocked
	case now.Before(a.ValidFrom):
		return NotYetValid
	case !a.ValidUntil.IsZero() && !now.Before(a.ValidUntil):
		return Expired
	}
	return ""
}

// peek is authenticate alone: nothing is moved, nothing stored.
func (d *decision) peek() {
	if d.account == nil {
		d.refuse(UnknownSubscriber)
		return
	}
	if !d.serve(d.step.Service) {
		return
	}
	d.refuse(d.authenticate())
	d.outcome.Available, _ = d.available(d.items)
}

// serve finds the service's context, or refuses.
func (d *decision) serve(name string) bool {
	if d.service = d.tariff.Context(name); d.service == nil {
		d.refuse(UnknownContext)
	}
	return d.service != nil
}

// open begins a session (CCR-I: authenticate, reserve). A refusal is stored
// without a session.
func (d *decision) open() {
	if d.account == nil {
		d.refuse(UnknownSubscriber)
		return
	}
	d.session = &Session{
		Key: d.key.Session, ID: d.step.SessionID, SubID: d.key.SubSession,
		Account: d.payer, Service: d.step.Service, Client: d.step.Client,
		OpenedAt: d.ws.Now, New: true,
	}
	if d.serve(d.step.Service) {
		d.openItems()
	}
	d.summarize()
	if d.outcome.Refusal != "" && !d.session.used() {
		d.session = nil
		d.storeAlone()
		return
	}
	if d.ws.Sessions == nil {
		d.ws.Sessions = make(map[SessionRef]*Session)
	}
	d.ws.Sessions[SessionRef{d.key.Session, d.key.SubSession}] = d.session
	d.renew()
	if d.outcome.Refusal != "" { // use that came with it was charged: the rows need their session
		d.session.ClosedAt = d.ws.Now
	}
	d.storeInSession()
}

// used reports whether anything was charged or taken out of a bundle.
func (s *Session) used() bool {
	return slices.ContainsFunc(s.Targets, func(t *TargetState) bool { return t.Used > 0 })
}

// openItems serves the items of a first request. What the account refuses
// stays inside the items where the service wants it so, and the session opens;
// what is free altogether needs no session (RFC 8506 §9.1, 4011).
func (d *decision) openItems() {
	refusal := d.authenticate()
	d.ends = refusal != "" && !d.refusesInItems()
	if d.ends {
		d.refuse(refusal)
	}
	if d.ends && !usesAnything(d.items) {
		return
	}
	for _, item := range d.items {
		d.serveItem(item, refusal)
	}
	if all := d.refusedByAll(); !d.ends && (all == Free || !d.refusesInItems()) {
		d.refuse(all)
	}
}

// refusesInItems reports whether refusals stay inside the items, so that the
// session lives on.
func (d *decision) refusesInItems() bool {
	return d.service.ItemRefusals && !d.step.CommandLevel && d.key.Type != Direct && len(d.items) > 0
}

// refusedByAll is the refusal of a step whose items are all refused, "" when
// one is not. A free item among refused ones does not make the call free.
func (d *decision) refusedByAll() Refusal {
	var first Refusal
	for i := range d.outcome.Items {
		switch r := d.outcome.Items[i].Refusal; {
		case r == "":
			return ""
		case first == "" || first == Free:
			first = r
		}
	}
	return first
}

// update is CCR-U: debit, refund the rest, reserve anew. When the account is no
// longer in good standing the report is still debited; then the session ends,
// or the refusal stands in the items where the service wants it so. A closed
// account ends it always.
func (d *decision) update() {
	d.continueSession()
	refusal := d.standing()
	d.ends = refusal == Closed || (refusal != "" && !d.refusesInItems())
	d.serveItems(refusal)
	if !d.ends && d.step.CommandLevel {
		refusal = d.refusedByAll()
		d.ends = refusal != ""
	}
	if d.ends {
		d.refuse(refusal)
		d.close(JournalStep)
		d.awaitFinalReport()
	} else {
		d.renew()
	}
	d.summarize()
	d.storeInSession()
}

// awaitFinalReport lets one CCR-T after the end still be debited: many clients
// send it all the same (conformance B-036).
func (d *decision) awaitFinalReport() {
	if d.step.Habits.NoLateTerminate {
		return
	}
	if until := d.ws.Now.Add(d.policy.LateTerminate); until.After(d.session.LateUntil) {
		d.session.LateUntil = until
	}
}

// terminate is CCR-T: debit, refund everything, end, whatever the account's
// standing. Targets the report leaves out are refunded without use. It may also
// come late, after a refusal or an operator ended the session (many clients send
// it all the same), but only one final report is debited.
func (d *decision) terminate() {
	d.continueSession()
	d.session.LateUntil = time.Time{}
	d.ends = true
	d.serveItems("")
	d.close(JournalStep)
	d.summarize()
	d.storeInSession()
}

// expire gives the freezes of a session back that nobody will end: it is silent
// (supervision time Tcc, RFC 8506 §7), its client has lost it, or its account was
// closed. When a report came first the reason is gone, and nothing happens.
func (d *decision) expire() {
	silent := !d.ws.Now.Before(d.session.Deadline)
	if !d.session.Open() || !(silent || d.orphaned() || d.account.Closed) {
		return
	}
	d.continueSession()
	d.close(JournalExpire)
	if d.account.Closed {
		d.awaitFinalReport()
	}
	d.summarize()
	d.outcome.ended = true
}

// orphaned reports whether the session's client has shown a higher
// Origin-State-Id than the session's: it knows nothing of the session any more
// (RFC 6733 §8.6). 0 means nothing.
func (d *decision) orphaned() bool {
	c := d.session.Client
	return c.State != 0 && c.State < d.restarted && strings.EqualFold(c.Host, d.host)
}

// direct carries out exactly the verbs a Prepaid call asks for.
func (d *decision) direct() {
	d.continueSession()
	d.ends = d.verbs&VerbClose != 0
	if d.verbs&VerbAuthenticate != 0 {
		d.refuse(d.standing())
	}
	if d.outcome.Refusal == "" {
		d.serveItems("")
		d.refuse(d.refusedByAll())
	}
	if d.ends {
		d.close(JournalStep)
	} else if d.outcome.Refusal == "" {
		d.renew()
	}
	d.summarize()
	d.storeInSession()
}

// continueSession takes up a session: its service, and where its client is now.
func (d *decision) continueSession() {
	if d.service = d.tariff.Context(d.session.Service); d.service == nil {
		d.service = &ServiceContext{Name: d.session.Service} // withdrawn meanwhile
	}
	if c := d.step.Client; c.Host != "" {
		if c.State == 0 && strings.EqualFold(c.Host, d.session.Client.Host) {
			c.State = d.session.Client.State // left out, or stripped on the way
		}
		d.session.Client = c
	}
	d.session.Dirty = true
}

// renew starts Tcc anew, unless an operator has ordered the end of the session:
// then an open session has its LateUntil already, and its deadline stays over.
func (d *decision) renew() {
	if !d.session.LateUntil.IsZero() {
		return
	}
	d.session.Deadline = d.ws.Now.Add(d.policy.supervision(d.service))
	d.session.Dirty = true
}

// close ends the session and refunds what is still frozen.
func (d *decision) close(kind JournalKind) {
	for _, t := range d.session.Targets {
		m := &movement{decision: d, state: t, kind: kind}
		m.refund()
		m.book()
		if d.key.Type == Direct && m.out.Refunded > 0 {
			m.out.Target, m.out.RatingGroup = t.Target, t.RatingGroup
			d.outcome.Items = append(d.outcome.Items, m.out)
		}
	}
	if d.session.Open() {
		d.session.ClosedAt = d.ws.Now
		if d.ws.Now.Before(d.session.OpenedAt) { // the database's clock has stepped back
			d.session.ClosedAt = d.session.OpenedAt
		}
	}
	d.session.Dirty = true
}

// summarize fills in what the outcome says about session and account.
func (d *decision) summarize() {
	d.outcome.Available, _ = d.available(d.items)
	for _, t := range d.session.Targets {
		d.outcome.Cost += t.Charged
	}
}

// serveItems serves all items of a request to a running session.
func (d *decision) serveItems(refusal Refusal) {
	d.before = len(d.session.Targets)
	d.settle()
	for _, item := range d.items {
		d.serveItem(item, refusal)
	}
}

// settle lets one item speak for each target that was granted. A client that was
// granted a group may report several of its services: their use belongs to the
// item that names the target, else to the first that means it, because a request
// moves a target once. The others keep their wish, for a target of their own.
func (d *decision) settle() {
	for i := range d.items {
		t := d.findTarget(d.items[i])
		if t == nil || t.Target == d.items[i].Target {
			continue
		}
		if first := d.speaker(t, i); first != i {
			d.items = slices.Clone(d.items) // the step's own stay as they came
			d.items[first].report(d.items[i])
			d.items[i].Used, d.items[i].Final = nil, false
		}
	}
}

// speaker is the item that speaks for a target, of those up to n and the one
// that names it.
func (d *decision) speaker(t *TargetState, n int) int {
	means := func(item Item) bool { return d.findTarget(item) == t }
	names := func(item Item) bool { return item.Target == t.Target }
	if i := slices.IndexFunc(d.items, names); i >= 0 {
		return i
	}
	return slices.IndexFunc(d.items[:n+1], means)
}

// serveItem carries out the step's verbs for one target. refusal, when set, is
// why no new quota is given.
func (d *decision) serveItem(item Item, refusal Refusal) {
	m := d.move(item)
	asked, wanted := m.wish()
	if d.verbs&VerbDebit != 0 {
		m.debit()
	} else {
		m.orphan(item.Used)
	}
	if (d.verbs&VerbRefund != 0 || d.ends) && !m.late {
		m.refund()
		m.rerate()
	}
	switch {
	case m.out.Refusal != "":
	case refusal != "":
		m.out.Refusal = refusal
	case wanted:
		m.out.Refusal = m.reserve(asked)
	default:
		m.afterFinal()
	}
	if wanted {
		m.withoutCredit(asked.Kind)
	}
	m.book()
	d.outcome.Items = append(d.outcome.Items, m.out)
}
