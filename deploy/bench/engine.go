package main

import (
	"context"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"gygate/cmd/gygate/load"
	"gygate/cmd/gygate/sample"
	"gygate/diameter"
	"gygate/diameter/gy"
	"gygate/ocs"
	"gygate/ocs/pgstore"
	"gygate/vpnlogic"
)

// measureEngine hands the steps of the same sessions to an engine in this process: the
// rules and the queues are in it, Diameter is not.
func measureEngine(ctx context.Context, l *lab, flight, accounts int) (result, error) {
	store, err := pgstore.Open(ctx, pgstore.Options{DSN: l.db.DSN, Lanes: ocs.LanesDefault})
	if err != nil {
		return result{}, err
	}
	defer store.Close()
	tariff, err := l.admin.Tariff(ctx)
	if err != nil {
		return result{}, err
	}
	policy := ocs.DefaultPolicy()
	policy.ClockTolerance = 24 * time.Hour
	engine := ocs.NewEngine(store, func() *ocs.Tariff { return tariff }, ocs.EngineConfig{Policy: policy, Sweep: -1})
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(running) }()
	defer func() { stop(); <-ended }()
	e := &engineLoad{
		engine: engine, ids: diameter.NewSessionIDs(clientHost, time.Now()), subscribers: l.inside(), accounts: accounts, measurement: newMeasurement(),
		warm: time.Now().Add(l.plan.warmup), until: time.Now().Add(l.plan.warmup + l.plan.window),
	}
	return l.inProcess(ctx, "engine", flight, accounts, func(ctx context.Context) (measurement, error) { return e.run(ctx, flight) })
}

// engineLoad is a closed loop without a goroutine for a session: each outcome submits
// the session's next step from where it arrives.
type engineLoad struct {
	engine      *ocs.Engine
	ids         *diameter.SessionIDs
	subscribers load.Config
	accounts    int
	warm, until time.Time
	open        sync.WaitGroup

	mu sync.Mutex // outcomes arrive from each lane
	measurement
	refusal ocs.Refusal
}

type engineSession struct {
	id, number string
	request    uint32
	sent       time.Time
}

func (e *engineLoad) run(ctx context.Context, flight int) (measurement, error) {
	for range flight {
		e.open.Add(1)
		e.begin(new(engineSession))
	}
	e.open.Wait()
	if e.refusal != "" {
		return e.measurement, fmt.Errorf("the engine refused: %s", e.refusal)
	}
	return e.measurement, ctx.Err()
}

func (e *engineLoad) begin(s *engineSession) {
	s.id, s.request = e.ids.Next(""), 0
	s.number = e.subscribers.Number(mathrand.IntN(e.accounts))
	e.submit(s)
}

func (e *engineLoad) submit(s *engineSession) {
	item := ocs.Item{Target: "100", RatingGroup: vpnlogic.RatingOnNet}
	kind := ocs.Update
	switch s.request {
	case 0:
		kind = ocs.Initial
	case perSession - 1:
		kind = ocs.Terminate
	}
	if kind != ocs.Initial {
		item.Used = []ocs.Usage{{Units: ocs.Units{Kind: ocs.Seconds, Quantity: used}}}
	}
	if kind != ocs.Terminate {
		item.Requested = &ocs.Units{Kind: ocs.Seconds, Quantity: wish}
	}
	s.sent = time.Now()
	e.engine.Submit(&ocs.Step{
		SessionID: s.id, Type: kind, Number: s.request, Payer: []ocs.Identity{{Kind: ocs.E164, Value: s.number}},
		Service: gy.ContextSIP, Called: string(sample.Outside), At: s.sent,
		Client: ocs.Client{Host: clientHost, Realm: realm, Relay: clientHost, State: 1},
		Items:  []ocs.Item{item},
	}, func(o ocs.Outcome) { e.done(s, o) })
}

// done counts an outcome and goes on with its session, or with a new one.
func (e *engineLoad) done(s *engineSession, o ocs.Outcome) {
	now := time.Now()
	s.request++
	last := s.request == perSession
	e.mu.Lock()
	e.all++
	if now.After(e.warm) && now.Before(e.until) {
		e.measured++
		_ = e.latency.RecordValue(max(now.Sub(s.sent).Microseconds(), 1))
	}
	if last {
		e.cost += o.Cost
	}
	if o.Refusal != "" {
		e.refusal = o.Refusal
	}
	e.mu.Unlock()
	switch {
	case o.Refusal != "", last && now.After(e.until):
		e.open.Done()
	case last:
		e.begin(s)
	default:
		e.submit(s)
	}
}
