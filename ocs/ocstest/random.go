package ocstest

import (
	"math/rand/v2"
	"testing"
	"time"

	"gygate/ocs"
)

// RandomConfig says how long and how closely Random runs.
type RandomConfig struct {
	Seed       uint64
	Rounds     int // of up to roundMax steps each
	CheckEvery int // rounds between two checks of the books
}

// roundMax is how many steps of a round are under way together.
const roundMax = 8

// Random throws a seeded mixture at the engine: several sessions on each of few
// accounts, reports in and out of order, repeats at once and much later,
// terminations racing expiry, events and their reversal. It checks the books,
// and that every target was charged the price of its whole use.
func Random(t testing.TB, store ocs.Store, seeder Seeder, config RandomConfig) {
	t.Helper()
	p := ocs.DefaultPolicy()
	p.ClockTolerance = 24 * time.Hour
	p.Supervision = time.Nanosecond // an Expire step ends any session
	r := &randomizer{
		Driver: Start(t, store, ocs.EngineConfig{Policy: p, Sweep: -1}),
		Rand:   rand.New(rand.NewPCG(config.Seed, 2026)),
	}
	for i := range 4 {
		payer := NewPayer()
		seeder.AddAccount(t, randomAccount(i), payer)
		r.payers = append(r.payers, payer)
	}
	for round := range config.Rounds {
		r.round()
		if round%config.CheckEvery == 0 || round == config.Rounds-1 {
			books := seeder.Books(t)
			if err := CheckBooks(books); err != nil {
				t.Fatalf("seed %d, round %d: the books are wrong:\n%v", config.Seed, round, err)
			}
			checkPrices(t, books)
		}
	}
	if r.served == 0 || r.replayed == 0 || r.refused == 0 {
		t.Errorf("served %d, replayed %d, refused %d: each must happen", r.served, r.replayed, r.refused)
	}
}

// randomAccount: the first has plenty, the second runs dry, the third pays the
// first minutes from a bundle, the fourth has several pots.
func randomAccount(i int) ocs.Account {
	a := Prepaid([]ocs.Money{1_000_000_000, 4_000_000, 100_000_000, 5_000_000}[i])
	switch i {
	case 2:
		a.Balances = append(a.Balances, &ocs.Balance{Unit: ocs.Seconds, Amount: 600, Targets: []uint32{OnNet}})
	case 3:
		a.Balances = append(a.Balances,
			&ocs.Balance{Unit: ocs.Amount, Amount: 3_000_000, Services: []string{Voice}},
			&ocs.Balance{Unit: ocs.Amount, Amount: 50_000_000, Priority: 9})
	}
	return a
}

// checkPrices compares each target's charge with the price of its use. Use paid
// by a unit balance costs nothing, so it is the rated use that counts.
func checkPrices(t testing.TB, b Books) {
	t.Helper()
	for _, s := range b.Sessions {
		for _, target := range s.Targets {
			if want := Price(target.RatingGroup, target.Meter.Rated); target.Charged != want {
				t.Errorf("session %s, target %q: %d used cost %v, want %v", s.ID, target.Target, target.Meter.Rated, target.Charged, want)
			}
			if target.Meter.Rated > target.Used {
				t.Errorf("session %s, target %q: %d rated of %d used", s.ID, target.Target, target.Meter.Rated, target.Used)
			}
		}
	}
}

type randomizer struct {
	*Driver
	*rand.Rand
	payers   []ocs.Identity
	sessions []*randomSession
	past     []ocs.Step // what may be repeated
	tokens   [][]byte

	served, replayed, refused int
}

type randomSession struct {
	id      string
	payer   ocs.Identity
	service string
	groups  []uint32
	unit    ocs.UnitKind
	next    uint32
	skipped []uint32 // numbers to come later than their successors
}

// pastMax bounds the steps kept for repeats.
const pastMax = 400

func (r *randomizer) round() {
	var steps []*ocs.Step
	for range 1 + r.IntN(roundMax) {
		s := r.step()
		steps = append(steps, &s)
		if r.IntN(8) == 0 {
			steps = append(steps, &s)
		}
		if len(r.past) < pastMax {
			r.past = append(r.past, s)
		} else {
			r.past[r.IntN(pastMax)] = s
		}
	}
	for _, o := range r.All(steps...) {
		switch {
		case o.Refusal != "":
			r.refused++
		case o.Replayed:
			r.replayed++
		default:
			r.served++
		}
		for _, item := range o.Items {
			if item.RefundToken != nil {
				r.tokens = append(r.tokens, item.RefundToken)
			}
		}
	}
}

func (r *randomizer) step() ocs.Step {
	switch n := r.IntN(20); {
	case n < 3 || len(r.sessions) == 0:
		return r.initial()
	case n < 5 && len(r.past) > 0:
		return r.past[r.IntN(len(r.past))]
	case n < 6:
		return r.event()
	case n < 7:
		s := r.any()
		return ocs.Step{SessionID: s.id, Type: ocs.Expire}
	case n < 9:
		return r.report(r.any(), ocs.Terminate)
	}
	return r.report(r.any(), ocs.Update)
}

func (r *randomizer) any() *randomSession { return r.sessions[r.IntN(len(r.sessions))] }

// sessionsOpen bounds the sessions that are worked on; older ones are left to
// repeats.
const sessionsOpen = 12

func (r *randomizer) initial() ocs.Step {
	s := &randomSession{
		id: NewSession(), payer: r.payers[r.IntN(len(r.payers))],
		service: Voice, groups: []uint32{OnNet, OffNet}, unit: ocs.Seconds, next: uint32(r.IntN(3)),
	}
	if r.IntN(3) == 0 {
		s.service, s.groups, s.unit = Data, []uint32{Volume}, ocs.Octets
	}
	r.sessions = append(r.sessions, s)
	if len(r.sessions) > sessionsOpen {
		r.sessions = r.sessions[1:]
	}
	step := ocs.Step{SessionID: s.id, Type: ocs.Initial, Number: s.next, Payer: []ocs.Identity{s.payer}, Service: s.service}
	s.next++
	for _, g := range s.groups[:1+r.IntN(len(s.groups))] {
		step.Items = append(step.Items, For(g, nil, r.wish(s)))
	}
	return step
}

func (r *randomizer) wish(s *randomSession) *ocs.Units {
	if r.IntN(2) == 0 {
		return Wish(ocs.Unspecified, 0)
	}
	return Wish(s.unit, 1+r.Int64N(r.scale(s)))
}

// scale is more than a slice, so that there is overrun.
func (r *randomizer) scale(s *randomSession) int64 {
	if s.unit == ocs.Octets {
		return 130_000_000
	}
	return 90
}

func (r *randomizer) report(s *randomSession, t ocs.StepType) ocs.Step {
	number := s.next
	s.next++
	if t == ocs.Update && r.IntN(6) == 0 {
		s.skipped = append(s.skipped, number) // this one comes later
		number = s.next
		s.next++
	} else if len(s.skipped) > 0 && r.IntN(3) == 0 {
		number, s.skipped = s.skipped[0], s.skipped[1:]
	}
	step := ocs.Step{SessionID: s.id, Type: t, Number: number}
	for _, g := range s.groups {
		if r.IntN(4) == 0 {
			continue // not every target reports each time
		}
		item := For(g, Used(s.unit, r.Int64N(r.scale(s))), nil)
		if t == ocs.Update && r.IntN(5) > 0 {
			item.Requested = r.wish(s)
		}
		item.Final = r.IntN(10) == 0
		step.Items = append(step.Items, item)
	}
	return step
}

func (r *randomizer) event() ocs.Step {
	item := For(Message, nil, Wish(ocs.Events, 1+r.Int64N(3)))
	step := ocs.Step{SessionID: NewSession(), Type: ocs.Event, Action: ocs.DirectDebit, Service: Voice,
		Payer: []ocs.Identity{r.payers[r.IntN(len(r.payers))]}}
	if len(r.tokens) > 0 && r.IntN(2) == 0 {
		step.Action = ocs.RefundAccount
		item.RefundToken = r.tokens[r.IntN(len(r.tokens))]
		item.Requested = Wish(ocs.Events, r.Int64N(3))
	}
	step.Items = []ocs.Item{item}
	return step
}
