package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"gygate/cmd/gygate/load"
	"gygate/cmd/gygate/sample"
	"gygate/diameter"
	"gygate/diameter/gy"
	"gygate/ocs"
	"gygate/ocs/pgstore"
)

// The limit is what the store's own statements and rows reach when nobody has to read
// Diameter, queue, or apply a rule: each lane does what the engine's lanes do, one batch
// after the other, and what a batch decides is known beforehand.

const (
	laneBatch  = ocs.BatchMaxDefault
	slicePrice = wish * ocs.MoneyScale / 100 // what a request reserves
	usedPrice  = used * ocs.MoneyScale / 100 // what a report debits
	tcc        = 10 * time.Minute
)

// limitLanes are how many lanes are tried: a few sessions are faster with one.
func limitLanes(flight int) []int {
	switch {
	case flight == 1:
		return []int{1}
	case flight <= 64:
		return []int{1, 2}
	default:
		return []int{2}
	}
}

// measureLimit is the best of the lanes' numbers.
func measureLimit(ctx context.Context, l *lab, flight, accounts int) (best result, err error) {
	for _, lanes := range limitLanes(flight) {
		one, err := l.runLimit(ctx, flight, lanes, accounts)
		if err != nil {
			return one, err
		}
		best.improve(one)
	}
	return best, nil
}

func (l *lab) runLimit(ctx context.Context, flight, lanes, accounts int) (result, error) {
	store, err := pgstore.Open(ctx, pgstore.Options{DSN: l.db.DSN, Lanes: lanes})
	if err != nil {
		return result{}, err
	}
	defer store.Close()
	keys, err := l.accountKeys(ctx, lanes, accounts)
	if err != nil {
		return result{}, err
	}
	r := &replay{ids: diameter.NewSessionIDs(clientHost, time.Now()), store: store, until: time.Now().Add(l.plan.warmup + l.plan.window), warm: time.Now().Add(l.plan.warmup)}
	for n := range lanes {
		if share := flight*(n+1)/lanes - flight*n/lanes; share > 0 && len(keys[n]) > 0 {
			r.lanes = append(r.lanes, newReplayLane(r, n, share, keys[n]))
		}
	}
	return l.inProcess(ctx, fmt.Sprintf("limit, %d lanes", lanes), flight, accounts, r.run)
}

// accountKeys are the subscribers' accounts, by the lane that owns them.
func (l *lab) accountKeys(ctx context.Context, lanes, accounts int) ([][]ocs.AccountKey, error) {
	c := l.inside()
	c.Subscribers = accounts
	keys, err := load.AccountKeys(ctx, l.pool, &c)
	byLane := make([][]ocs.AccountKey, lanes)
	for _, key := range keys {
		n := key.Owner(lanes)
		byLane[n] = append(byLane[n], key)
	}
	return byLane, err
}

// replay replays sessions on a store.
type replay struct {
	ids         *diameter.SessionIDs
	store       ocs.Store
	lanes       []*replayLane
	warm, until time.Time
}

// measurement is what a load inside this process came to.
type measurement struct {
	latency  *hdrhistogram.Histogram // microseconds
	measured int64                   // steps within the window
	all      int64                   // steps, warm-up included
	cost     ocs.Money
}

func newMeasurement() measurement {
	return measurement{latency: load.NewHistogram()}
}

func (m *measurement) add(other *measurement) {
	m.latency.Merge(other.latency)
	m.measured, m.all, m.cost = m.measured+other.measured, m.all+other.all, m.cost+other.cost
}

func (r *replay) run(ctx context.Context) (measurement, error) {
	errs := make([]error, len(r.lanes))
	var running sync.WaitGroup
	for n, lane := range r.lanes {
		running.Go(func() { errs[n] = lane.run(ctx) })
	}
	running.Wait()
	total := newMeasurement()
	for n, lane := range r.lanes {
		total.add(&lane.measurement)
		if errs[n] != nil {
			return total, errs[n]
		}
	}
	return total, nil
}

// replayLane is a lane with the sessions it has under way.
type replayLane struct {
	*replay
	measurement
	number   int
	accounts []ocs.AccountKey
	sessions []*replaySession
	want     []ocs.Want
	next     int // of the sessions, who is in the next batch first
}

// replaySession is a session under way: CCR-I, two CCR-U, CCR-T.
type replaySession struct {
	id      string
	key     ocs.SessionKey
	account ocs.AccountKey
	number  uint32
}

func newReplayLane(r *replay, number, sessions int, accounts []ocs.AccountKey) *replayLane {
	l := &replayLane{replay: r, measurement: newMeasurement(), number: number, accounts: accounts}
	for range sessions {
		s := new(replaySession)
		l.begin(s)
		l.sessions = append(l.sessions, s)
	}
	return l
}

func (l *replayLane) begin(s *replaySession) {
	s.id = l.ids.Next("")
	s.key, s.number = ocs.KeyOf(s.id), 0
	s.account = l.accounts[mathrand.IntN(len(l.accounts))]
}

// run runs batch after batch until the time is over, and then the sessions to their
// ends.
func (l *replayLane) run(ctx context.Context) error {
	for len(l.sessions) > 0 && ctx.Err() == nil {
		batch := l.batch()
		began := time.Now()
		err := l.store.Transact(ctx, l.number, l.want, func(ws *ocs.WorkingSet) {
			for _, s := range batch {
				s.decide(ws)
			}
		})
		if err != nil {
			return err
		}
		l.count(began, len(batch))
		l.proceed(batch)
	}
	return nil
}

// batch takes the sessions whose turn it is.
func (l *replayLane) batch() (batch []*replaySession) {
	l.want = l.want[:0]
	if l.next >= len(l.sessions) {
		l.next = 0
	}
	batch = l.sessions[l.next:min(l.next+laneBatch, len(l.sessions))]
	l.next += len(batch)
	for _, s := range batch {
		l.want = append(l.want, ocs.Want{Account: s.account, Step: ocs.StepKey{Session: s.key, Type: s.kind(), Number: s.number}})
	}
	return batch
}

// count notes a batch. With more sessions than a batch takes, each has waited for the
// others' batches, too.
func (l *replayLane) count(began time.Time, steps int) {
	now := time.Now()
	rounds := int64((len(l.sessions) + laneBatch - 1) / laneBatch)
	l.all += int64(steps)
	if now.After(l.warm) && now.Before(l.until) {
		l.measured += int64(steps)
		_ = l.latency.RecordValues(rounds*max(now.Sub(began).Microseconds(), 1), int64(steps))
	}
}

// proceed moves the sessions of a batch on. After the end no new one begins.
func (l *replayLane) proceed(batch []*replaySession) {
	over := time.Now().After(l.until)
	ended := false
	for _, s := range batch {
		if s.number++; s.number < perSession {
			continue
		}
		l.cost += (perSession - 1) * usedPrice
		if ended = over; over {
			s.number = math.MaxUint32
			continue
		}
		l.begin(s)
	}
	if !ended {
		return
	}
	kept := l.sessions[:0:0]
	for _, s := range l.sessions {
		if s.number != math.MaxUint32 {
			kept = append(kept, s)
		}
	}
	l.sessions, l.next = kept, 0
}

func (s *replaySession) kind() ocs.StepType {
	switch s.number {
	case 0:
		return ocs.Initial
	case perSession - 1:
		return ocs.Terminate
	}
	return ocs.Update
}

// decide makes the row changes that the rules make of the session's next request. It
// may be called again when the transaction has to be run again.
func (s *replaySession) decide(ws *ocs.WorkingSet) {
	account := ws.Accounts[s.account]
	pot := account.Balances[0]
	ref := ocs.SessionRef{Key: s.key}
	n := ws.Sessions[ref]
	if s.kind() == ocs.Initial {
		n = s.open(ws)
		if ws.Sessions == nil {
			ws.Sessions = map[ocs.SessionRef]*ocs.Session{}
		}
		ws.Sessions[ref] = n
	}
	t := n.Targets[0]
	row := ocs.JournalRow{
		At: ws.Now, Account: s.account, Balance: pot.ID, Kind: ocs.JournalStep, Session: s.key, Type: s.kind(), Number: s.number,
		Target: t.Target, RatingGroup: t.RatingGroup,
	}
	result := ocs.ItemOutcome{Target: t.Target, RatingGroup: t.RatingGroup}
	if s.kind() == ocs.Initial {
		row.SessionID = s.id
	} else {
		debit(t, pot, &row, &result)
	}
	if s.kind() != ocs.Terminate {
		reserve(t, pot, s.number, &row, &result)
	} else {
		n.ClosedAt = ws.Now
	}
	row.AmountAfter, row.FrozenAfter = pot.Amount, pot.Frozen
	ws.Journal = append(ws.Journal, row)
	pot.Dirty = true
	s.remember(n, account, pot, t, result)
	n.Deadline, n.Dirty = ws.Now.Add(tcc), !n.New
}

// open makes the session of a CCR-I.
func (s *replaySession) open(ws *ocs.WorkingSet) *ocs.Session {
	return &ocs.Session{
		Key: s.key, ID: s.id, Account: s.account, Service: gy.ContextSIP, New: true, OpenedAt: ws.Now,
		Client: ocs.Client{Host: clientHost, Realm: realm, Relay: clientHost, State: 1},
		Targets: []*ocs.TargetState{{
			Target: "100", RatingGroup: 100, Called: string(sample.Outside), Rate: "on-net/1", Unit: ocs.Seconds,
		}},
	}
}

// debit pays a report and unfreezes the rest.
func debit(t *ocs.TargetState, pot *ocs.Balance, row *ocs.JournalRow, result *ocs.ItemOutcome) {
	frozen := t.Freezes[0].Amount
	pot.Amount -= int64(usedPrice)
	pot.Frozen -= frozen
	t.Used, t.Charged = t.Used+used, t.Charged+usedPrice
	t.Meter = ocs.Meter{Rated: t.Used, Begun: t.Used, Whole: t.Charged}
	t.Granted, t.Freezes = 0, nil
	row.Used, row.Debited, row.Refunded = used, int64(usedPrice), frozen-int64(usedPrice)
	result.Debited, result.Refunded = usedPrice, ocs.Money(frozen)-usedPrice
}

// reserve freezes the next slice.
func reserve(t *ocs.TargetState, pot *ocs.Balance, number uint32, row *ocs.JournalRow, result *ocs.ItemOutcome) {
	pot.Frozen += int64(slicePrice)
	t.Granted, t.GrantNumber, t.Freezes = wish, number, []ocs.Freeze{{Balance: pot.ID, Amount: int64(slicePrice)}}
	row.Reserved = int64(slicePrice)
	result.Reserved, result.Granted = slicePrice, &ocs.Units{Kind: ocs.Seconds, Quantity: wish}
	result.ValidFor, result.Threshold = tcc/2, wish/10
}

// remember stores the outcome for repeats.
func (s *replaySession) remember(n *ocs.Session, a *ocs.Account, pot *ocs.Balance, t *ocs.TargetState, result ocs.ItemOutcome) {
	stored := ocs.StoredOutcome{Type: s.kind(), Number: s.number, Outcome: ocs.Outcome{
		Items: []ocs.ItemOutcome{result}, Cost: t.Charged, Currency: a.Currency, Available: ocs.Money(pot.Amount - pot.Frozen),
	}}
	_, _ = rand.Read(stored.Content[:]) // never fails
	n.Outcomes = append(n.Outcomes, stored)
	n.Served.Top, n.Served.Bits = s.number, n.Served.Bits<<1|1
}

// inProcess measures a load that runs in this program.
func (l *lab) inProcess(ctx context.Context, name string, flight, accounts int, run func(context.Context) (measurement, error)) (result, error) {
	c := l.inside()
	c.Subscribers = max(accounts, 1)
	b, err := l.open(ctx, c)
	if err != nil {
		return result{}, err
	}
	before, err := l.meter.read(ctx)
	if err != nil {
		return result{}, err
	}
	m, err := run(ctx)
	if err != nil {
		return result{}, err
	}
	after, err := l.meter.read(ctx)
	if err != nil {
		return result{}, err
	}
	r := result{Name: name, InFlight: flight, Subscribers: accounts, consumption: before.until(after, m.all), Latency: load.LatencyOf(m.latency)}
	r.Rate = float64(m.measured) / l.plan.window.Seconds()
	r.Fault, err = b.check(ctx, m.cost)
	return r, err
}
