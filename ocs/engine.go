package ocs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// The engine's default limits.
const (
	// LanesDefault: two lanes keep PostgreSQL and the gateway busy on a small
	// machine; four were never faster. With little to do, one of them does it all
	// (laneAloneMax).
	LanesDefault = 2
	// BatchMaxDefault is a cap: a lane takes what is there, with a little patience
	// (lanePatience).
	BatchMaxDefault = 256
	// QueueMaxDefault bounds the steps waiting in front of a shard, and in front
	// of the resolver: a tenth of a second of work, then Busy.
	QueueMaxDefault = 4096
	// CacheMaxDefault bounds the remembered sessions; beyond it a step costs a
	// look-up.
	CacheMaxDefault = 200_000
	// SweepDefault is how often silent sessions are looked for.
	SweepDefault = time.Second
)

// EngineConfig sets the engine's limits; 0 means the default.
type EngineConfig struct {
	Lanes    int           // goroutines, each with a connection of the store
	BatchMax int           // steps in one transaction
	QueueMax int           // steps waiting for a shard, and for the resolver
	CacheMax int           // sessions whose account is remembered
	Policy   Policy        // the zero Policy: DefaultPolicy
	Sweep    time.Duration // between two looks for expired sessions; negative: never
	Logger   *slog.Logger  // nil: nothing is logged
}

func (c EngineConfig) withDefaults() EngineConfig {
	c.Lanes = cmp.Or(c.Lanes, LanesDefault)
	c.BatchMax = cmp.Or(c.BatchMax, BatchMaxDefault)
	c.QueueMax = cmp.Or(c.QueueMax, QueueMaxDefault)
	c.CacheMax = cmp.Or(c.CacheMax, CacheMaxDefault)
	c.Sweep = cmp.Or(c.Sweep, SweepDefault)
	if c.Policy == (Policy{}) {
		c.Policy = DefaultPolicy()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Engine carries steps to the store and their outcomes back. A step is resolved
// to an account, handed to the shard that owns the account's bucket, decided by a lane
// in a batch, as if under the account's lock, and answered after the commit. Steps of
// one session keep their order.
//
// Engine implements Prepaid.
type Engine struct {
	store     Store
	tariff    func() *Tariff
	config    EngineConfig
	log       *slog.Logger
	resolver  *resolver
	shards    []*shard // one for each lane
	lanes     []*lane
	waiting   atomic.Int64  // steps in the shards' queues
	last      chan struct{} // closed when nothing is dispatched any more
	clients   *clients
	sweeper   sweeper
	telemetry *telemetry
	started   sync.Once
}

// NewEngine makes an engine on a store. tariff returns the current snapshot and
// is called once for each batch. The policy must pass its Check.
func NewEngine(store Store, tariff func() *Tariff, config EngineConfig) *Engine {
	e := &Engine{store: store, tariff: tariff, config: config.withDefaults(), last: make(chan struct{})}
	e.log = e.config.Logger
	e.telemetry = newTelemetry(e.log)
	for i := range e.config.Lanes {
		e.shards = append(e.shards, &shard{queue: make(chan *job, e.config.QueueMax)})
		e.lanes = append(e.lanes, newLane(e, i))
	}
	e.resolver = newResolver(e)
	e.clients = newClients(e)
	return e
}

// job is one step on its way through the engine.
type job struct {
	request
	done  func(Outcome)
	taken time.Time // when Submit took it
}

// wants names what the job needs loaded: one Want, or one for each debit it
// takes back.
func (j *job) wants(list []Want) []Want {
	w := Want{Account: j.payer, Step: j.key}
	if j.step.Type == Event && j.step.Action == RefundAccount {
		for i := range j.step.Items {
			if w.ReversalOf = j.step.Items[i].RefundToken; w.ReversalOf != nil {
				list = append(list, w)
			}
		}
	}
	if w.ReversalOf == nil {
		list = append(list, w)
	}
	return list
}

// errRunTwice is a mistake of the caller.
var errRunTwice = errors.New("engine: Run was called twice")

// Run serves until ctx ends. Then it refuses new steps with Busy, carries out
// and answers all it has accepted, and returns; a commit is never cancelled.
func (e *Engine) Run(ctx context.Context) error {
	first := false
	e.started.Do(func() { first = true })
	if !first {
		return errRunTwice
	}
	if err := e.config.Policy.Check(); err != nil {
		e.resolver.closeIntake()
		e.resolver.refuseQueued()
		return fmt.Errorf("engine: %w", err)
	}
	defer e.telemetry.watch(e.shards)()

	work := context.WithoutCancel(ctx)
	var lanes, resolver, background sync.WaitGroup
	for _, l := range e.lanes {
		lanes.Go(func() { l.run(work) })
	}
	resolver.Go(func() { e.resolver.run(work) })
	background.Go(func() { e.sweep(ctx) })
	background.Go(func() { e.clients.run(ctx) })

	<-ctx.Done()
	background.Wait()
	e.resolver.closeIntake()
	resolver.Wait()
	close(e.last)
	lanes.Wait()
	return nil
}

// Submit takes a step and returns at once. done is called exactly once, after
// the commit, or right away with Busy when a queue is full; it must not block,
// since the lane waits for it. The step must not be changed any more.
func (e *Engine) Submit(s *Step, done func(Outcome)) {
	e.ClientState(s.Client.Host, s.Client.State)
	e.resolver.submit(&job{
		request: request{step: s, key: s.Key()},
		done:    done,
		taken:   time.Now(),
	})
}

// answerNow answers a job that never reaches a lane.
func (e *Engine) answerNow(j *job, r Refusal) {
	e.telemetry.refused(j.step.Type, r)
	j.done(Outcome{Refusal: r})
}
