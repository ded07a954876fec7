package ocstest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"gygate/ocs"
)

// ConverseConfig says how Converse runs.
type ConverseConfig struct {
	Seed     uint64
	Sessions int // first requests until it ends
	// Start and Advance are for a store whose clock the test holds: when it stands
	// at, and how to move it on. Without them the store's own clock runs, sessions
	// are ended by Expire steps alone, and only the Event-Timestamp moves on.
	Start   time.Time
	Advance func(time.Duration)
}

// Ledger lets Converse look at one account after every step. A Seeder without it
// has its whole books checked, every wholeEvery steps.
type Ledger interface {
	Account(ocs.AccountKey) ocs.Account
	OpenSessions(ocs.AccountKey) []ocs.Session
	// JournalFrom returns the journal from a row on, counted from 0.
	JournalFrom(row int) []ocs.JournalRow
}

// Teller lets Converse change accounts as an operator does: what clients learn of
// by RAR and ASR.
type Teller interface {
	Credit(t testing.TB, key ocs.AccountKey, balance, amount int64)
	Unblock(t testing.TB, key ocs.AccountKey)
	Close(t testing.TB, key ocs.AccountKey)
}

// Tally counts what happened, by name.
type Tally map[string]int

// The limits of a conversation.
const (
	talksMax   = 20  // clients' sessions at a time
	pastKept   = 200 // steps that may be repeated
	wholeEvery = 50  // steps between two checks of the whole books, without a Ledger
)

// Converse lets clients talk to the charging engine as they do: sessions of several
// services and groups at command level and in parts, on accounts with several
// balances each; reports of less and more than was granted, in and out of order,
// before and after final units; all four kinds of event; copies at once and later,
// changed ones too; restarts and silence of clients, end of supervision; prices that
// change by the clock and by the destination; top-ups, blocks and unblocks, with the
// clients' reaction to RAR and ASR. After every step it tests the books of the
// account concerned, at the end all of them and the price of everything.
//
// The same seed, sessions and kind of clock give the same conversation.
func Converse(t testing.TB, store ocs.Store, seeder Seeder, config ConverseConfig) Tally {
	t.Helper()
	p := ocs.DefaultPolicy()
	if config.Advance == nil {
		config.Start = time.Now()
		p.Supervision, p.ClockTolerance, p.ClockSkew = time.Nanosecond, 24*time.Hour, 48*time.Hour
	}
	tariff := converseTariff(t)
	c := &conversation{
		Driver: StartWith(t, store, func() *ocs.Tariff { return tariff }, ocs.EngineConfig{Policy: p, Sweep: -1}),
		Rand:   rand.New(rand.NewPCG(config.Seed, 8506)),
		store:  store, seeder: seeder, config: config, now: config.Start,
		auditor: NewAuditor(), tally: make(Tally), debits: make(map[ocs.AccountKey][]*eventDebit),
	}
	c.ledger, _ = seeder.(Ledger)
	c.teller, _ = seeder.(Teller)
	c.addAccounts()
	for i := range hosts {
		c.hosts = append(c.hosts, ocs.Client{Host: fmt.Sprintf("client%d.example", i), Realm: "example", State: uint32(10 * i)})
		c.started(c.hosts[i])
	}
	for c.opened < config.Sessions && !t.Failed() {
		c.turn()
	}
	c.whole()
	return c.tally
}

// conversation is the state of Converse.
type conversation struct {
	*Driver
	*rand.Rand
	store   ocs.Store
	seeder  Seeder
	ledger  Ledger
	teller  Teller
	config  ConverseConfig
	auditor *Auditor
	tally   Tally

	now    time.Time
	payers []payer
	hosts  []ocs.Client
	talks  []*talk
	past   []exchange
	debits map[ocs.AccountKey][]*eventDebit
	opened int
	turns  int
	ids    int
	rows   int // of the journal that were read
}

// payer is an account and how requests name it.
type payer struct {
	id      ocs.Identity
	account ocs.Account
	blocked bool
}

// eventDebit is what may still be taken back of a one-time debit.
type eventDebit struct {
	token []byte
	left  ocs.Money
}

// exchange is a step and its first outcome.
type exchange struct {
	step    ocs.Step
	outcome ocs.Outcome
}

// turn is one thing that happens, and some time.
func (c *conversation) turn() {
	c.turns++
	c.pass(time.Duration(c.Int64N(25)) * time.Second)
	switch n := c.IntN(1000); {
	case n < 220 || len(c.talks) == 0:
		c.begin()
	case n < 600:
		c.report(c.any(), ocs.Update)
	case n < 760:
		c.report(c.any(), ocs.Terminate)
	case n < 790:
		c.both(c.any())
	case n < 860:
		c.event()
	case n < 930:
		c.repeat()
	case n < 955:
		c.administer()
	case n < 975:
		c.forget(c.any()) // falls silent
	case n < 985:
		c.restart()
	case n < 988:
		c.pass(15 * time.Minute)
	default:
		c.end()
	}
}

// pass lets time go by.
func (c *conversation) pass(d time.Duration) {
	c.now = c.now.Add(d)
	if c.config.Advance != nil {
		c.config.Advance(d)
	}
}

// end has sessions ended that nobody ends: by the sweeper, or one by one when the
// store's clock is not ours.
func (c *conversation) end() {
	if c.config.Advance == nil {
		c.serve(nil, &ocs.Step{SessionID: c.any().id, Type: ocs.Expire})
		return
	}
	c.tally["swept"] += c.Sweep(context.Background())
	for i := range c.payers {
		key := c.payers[i].account.Key
		c.audit(key)
		for _, s := range c.openOf(key) {
			if !c.now.Before(s.Deadline) {
				c.t.Errorf("seed %d: %s was to end at %v, and is open at %v", c.config.Seed, s.ID, s.Deadline, c.now)
			}
		}
	}
}

// openOf lists an account's open sessions, when the store can show them.
func (c *conversation) openOf(key ocs.AccountKey) []ocs.Session {
	if c.ledger == nil {
		return nil
	}
	return c.ledger.OpenSessions(key)
}

// restart is a client that has lost its sessions: it says so by a higher
// Origin-State-Id. Some send a last report all the same.
func (c *conversation) restart() {
	host := &c.hosts[c.IntN(len(c.hosts))]
	host.State++
	c.started(*host)
	for _, k := range c.of(func(k *talk) bool { return k.host == host }) {
		if c.IntN(3) > 0 {
			c.forget(k)
		}
	}
	c.tally["restart"]++
	c.pass(ocs.OrphanGrace)
}

// started tells the engine of a client, and the store at once: the engine does it
// in its own time.
func (c *conversation) started(host ocs.Client) {
	if err := c.store.ClientStarted(context.Background(), host.Host, host.State); err != nil {
		c.t.Fatal(err)
	}
	c.ClientState(host.Host, host.State)
}

// administer is the operator at work, and what the clients make of the notice:
// after RAR they report and ask, after ASR they end; some do nothing.
func (c *conversation) administer() {
	if c.teller == nil {
		return
	}
	p := &c.payers[c.IntN(len(c.payers))]
	kind := ocs.Update
	switch n := c.IntN(20); {
	case p.blocked:
		p.blocked = false
		c.teller.Unblock(c.t, p.account.Key)
		c.tally["unblock"]++
	case n < 13:
		b := p.account.Balances[c.IntN(len(p.account.Balances))]
		c.teller.Credit(c.t, p.account.Key, b.ID, 1+c.Int64N(max(1, b.Amount)))
		c.tally["top-up"]++
	case n < 17 || c.opened < c.config.Sessions*3/4:
		p.blocked, kind = true, ocs.Terminate
		c.seeder.Block(c.t, p.account.Key)
		c.tally["block"]++
	default:
		kind = ocs.Terminate
		c.teller.Close(c.t, p.account.Key)
		c.tally["close"]++
	}
	c.audit(p.account.Key)
	for _, k := range c.of(func(k *talk) bool { return k.payer == p }) {
		if c.IntN(4) > 0 {
			c.report(k, kind)
		}
	}
}

// event is one of the four one-time requests.
func (c *conversation) event() {
	p := c.anyPayer()
	debits := c.debits[p.account.Key]
	var back *eventDebit
	item := For(Message, nil, Wish(ocs.Events, 1+c.Int64N(3)))
	step := ocs.Step{SessionID: c.newID("event"), Type: ocs.Event, Action: ocs.EventAction(c.IntN(4)), Service: Voice,
		Payer: []ocs.Identity{p.id}, At: c.now}
	if step.Action == ocs.RefundAccount {
		switch {
		case len(debits) > 0 && c.IntN(3) > 0:
			back = debits[c.IntN(len(debits))]
			item.RefundToken = back.token
		case c.IntN(2) == 0:
			item.Unlinked = 500_000
		}
	}
	step.Items = []ocs.Item{item}
	o := c.serve(nil, &step)
	c.tally[fmt.Sprintf("event %d: %v", step.Action, o.Refusal == "")]++
	for _, i := range o.Items {
		if i.RefundToken != nil {
			c.debits[p.account.Key] = append(debits, &eventDebit{i.RefundToken, i.Debited})
		}
	}
	if back == nil {
		return
	}
	if back.left += o.Cost; back.left < 0 { // a refund's cost is negative
		c.t.Errorf("seed %d: %v more than was debited came back by %s", c.config.Seed, -back.left, step.SessionID)
	}
}

// repeat sends an earlier step again, as it was or changed: the same charging part
// comes back, and nothing moves.
func (c *conversation) repeat() {
	if len(c.past) == 0 {
		return
	}
	first := c.past[c.IntN(len(c.past))]
	step := first.step
	if c.IntN(6) == 0 {
		step.Content = [16]byte{1}
	}
	before := c.rows
	o := c.serve(nil, &step)
	switch {
	case unstored(first.outcome.Refusal):
		return
	case !o.Replayed, c.ledger != nil && c.rows != before:
		c.t.Errorf("seed %d: a repeat of %s, number %d was served again: %+v", c.config.Seed, step.SessionID, step.Number, o)
	case o.Refusal == ocs.OutcomeGone:
		c.tally["gone"]++
	case charging(o) != charging(first.outcome):
		c.t.Errorf("seed %d: %s, number %d answered\n%s, then\n%s", c.config.Seed, step.SessionID, step.Number, charging(first.outcome), charging(o))
	default:
		c.tally["replayed"]++
	}
}

// unstored lists the refusals that leave nothing behind: the next time may be
// different.
func unstored(r ocs.Refusal) bool {
	return r == ocs.UnknownSession || r == ocs.SessionExists || r == ocs.PayerChanged || r == ocs.UnknownSubscriber
}

// charging is the part of an answer that a repeat must give again.
func charging(o ocs.Outcome) string {
	text := fmt.Sprintf("%q %v %v %v %v", o.Refusal, o.Cost, o.Currency, o.Available, o.NoCredit)
	for _, i := range o.Items {
		text += fmt.Sprintf(" [%q %q %d %v %d %v %d", i.Target, i.Refusal, i.ValidFor, i.Final, i.FinalAction, i.RefundToken, i.Threshold)
		if i.Granted != nil {
			text += fmt.Sprintf(" granted %+v", *i.Granted)
		}
		if i.Pool != nil {
			text += fmt.Sprintf(" pool %+v", *i.Pool)
		}
		if !i.SwitchAt.IsZero() {
			text += fmt.Sprint(" switch ", i.SwitchAt.Unix())
		}
		text += fmt.Sprintf(" %v %v %v %v]", i.Debited, i.Refunded, i.Reserved, i.Overrun)
	}
	return text
}

// serve carries out a step, tests the books of its account, and keeps it for
// repeats.
func (c *conversation) serve(k *talk, step *ocs.Step) ocs.Outcome {
	o := c.Do(*step)
	if o.Refusal == ocs.Internal || o.Refusal == ocs.Unavailable || o.Refusal == ocs.Busy {
		c.t.Fatalf("seed %d: %+v: %+v", c.config.Seed, step, o)
	}
	if !o.Replayed {
		c.remember(exchange{*step, o})
	}
	if k != nil {
		k.heed(c, step, o)
	}
	if o.Account != (ocs.AccountKey{}) {
		c.audit(o.Account)
	}
	return o
}

func (c *conversation) remember(x exchange) {
	if x.step.Type == ocs.Expire {
		return
	}
	if len(c.past) < pastKept {
		c.past = append(c.past, x)
	} else {
		c.past[c.IntN(pastKept)] = x
	}
}

// audit tests one account, or everything now and then when the store cannot show
// one.
func (c *conversation) audit(key ocs.AccountKey) {
	if c.ledger == nil {
		if c.turns%wholeEvery == 0 {
			MustBalance(c.t, c.seeder)
		}
		return
	}
	rows := c.ledger.JournalFrom(c.rows)
	c.rows += len(rows)
	if err := c.auditor.Audit(c.ledger.Account(key), c.ledger.OpenSessions(key), rows); err != nil {
		c.t.Fatalf("seed %d, turn %d: the books are wrong:\n%v", c.config.Seed, c.turns, err)
	}
}

// whole tests everything.
func (c *conversation) whole() {
	books := c.seeder.Books(c.t)
	if err := CheckBooks(books); err != nil {
		c.t.Fatalf("seed %d: the books are wrong:\n%v", c.config.Seed, err)
	}
	checkTalkPrices(c.t, books)
}

// newID is a Session-Id nobody has; the same in each run where the store is ours.
func (c *conversation) newID(kind string) string {
	c.ids++
	if c.config.Advance == nil {
		return NewSession() + ";" + kind
	}
	return fmt.Sprintf("client.example;%d;%d;%s", c.config.Seed, c.ids, kind)
}

func (c *conversation) any() *talk { return c.talks[c.IntN(len(c.talks))] }

func (c *conversation) anyPayer() *payer { return &c.payers[c.IntN(len(c.payers))] }

// of lists the talks that are meant.
func (c *conversation) of(meant func(*talk) bool) (list []*talk) {
	for _, k := range c.talks {
		if meant(k) {
			list = append(list, k)
		}
	}
	return list
}
