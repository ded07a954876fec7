package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"

	"gygate/diameter"
)

// progressEvery is how often Config.Progress is told.
const progressEvery = time.Second

// Run connects, loads and reports. When ctx ends no session begins any more, those
// under way are finished, and the report is whole. An error means that there was no
// load; what went wrong in it, Report.Err tells.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	conns, err := connectAll(ctx, &cfg)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	before := cpuTime()
	failures, interrupted := runAll(ctx, &cfg, conns)
	r := newReport(&cfg, conns, cpuTime()-before)
	if interrupted {
		r.Interrupted, r.Reached = true, reached(&cfg, r.Sent, time.Since(conns[0].began))
	}
	for _, failure := range failures {
		if failure != nil {
			r.Failures = append(r.Failures, failure.Error())
		}
	}
	return r, nil
}

// connectAll opens every connection and spreads the load over them.
func connectAll(ctx context.Context, cfg *Config) ([]*conn, error) {
	conns := make([]*conn, cfg.Connections)
	for n := range conns {
		c, err := newConn(cfg, n)
		if err == nil {
			c.nc, err = connectFree(ctx, cfg.Target, c.local)
		}
		if err != nil {
			for _, opened := range conns[:n] {
				opened.nc.Close()
			}
			return nil, err
		}
		conns[n] = c
	}
	return conns, nil
}

// newConn makes the n-th connection with its share of the load, not yet connected.
func newConn(cfg *Config, n int) (*conn, error) {
	began := time.Now()
	c := &conn{
		config: cfg, local: cfg.local(n), random: rand.New(rand.NewPCG(cfg.Seed, uint64(n))),
		slots: make([]slot, share(cfg.InFlight, cfg.Connections, n)), lastSession: lowStart(began), budget: 1 << 62, wake: -1,
		until: cfg.Duration, in: make([]byte, 0, bufferSize), out: make([]byte, 0, bufferSize),
		latency: NewHistogram(), codes: map[diameter.ResultCode]*refusalsOf{},
	}
	c.lastEnd = c.random.Uint32()
	for i := range c.slots {
		c.idle = append(c.idle, uint32(len(c.slots)-1-i))
	}
	if cfg.Mode == Events {
		c.first = event
	}
	if cfg.Requests > 0 {
		sessions := (cfg.Requests + int64(cfg.perSession()) - 1) / int64(cfg.perSession())
		c.budget = int64(share(int(sessions), cfg.Connections, n))
	}
	if cfg.Rate > 0 {
		sessions := cfg.Rate / float64(cfg.perSession())
		c.gap = time.Duration(float64(cfg.Connections) * float64(time.Second) / sessions)
		c.arrival = c.gap * time.Duration(n) / time.Duration(cfg.Connections)
	}
	var err error
	for p := range c.templates {
		if c.templates[p], err = newTemplate(cfg, c.local, began, phase(p)); err != nil {
			return nil, err
		}
	}
	c.pick, err = newPicker(cfg, c.random)
	return c, err
}

// share is the n-th part of a total divided evenly among so many.
func share(total, among, n int) int { return total*(n+1)/among - total*n/among }

// runAll runs the connections to their end and returns how each failed, and whether
// the end of ctx was what ended the load.
func runAll(ctx context.Context, cfg *Config, conns []*conn) (failures []error, interrupted bool) {
	failures = make([]error, len(conns))
	var running sync.WaitGroup
	began := time.Now()
	for n, c := range conns {
		c.began = began
		running.Go(func() { failures[n] = c.live() })
	}
	ignore := context.AfterFunc(ctx, func() {
		for _, c := range conns {
			c.stop.Store(true)
		}
	})
	done := make(chan struct{})
	var watching sync.WaitGroup
	if cfg.Progress != nil {
		watching.Go(func() { watch(cfg.Progress, conns, began, done) })
	}
	running.Wait()
	interrupted = !ignore()
	close(done)
	watching.Wait()
	return failures, interrupted
}

// reached says how far a load has come.
func reached(cfg *Config, sent int64, after time.Duration) string {
	if cfg.Requests > 0 {
		return fmt.Sprintf("%d of %d requests", sent, cfg.Requests)
	}
	return fmt.Sprintf("%s of %s", after.Round(100*time.Millisecond), cfg.Duration)
}

// live is the life of a connection once it is open.
func (c *conn) live() error {
	if err := c.run(); err != nil {
		c.measure()
		c.closeWindow()
		c.nc.Close()
		return err
	}
	return c.finish()
}

// watch tells the progress each second.
func watch(tell func(Progress), conns []*conn, began time.Time, done <-chan struct{}) {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	last, at := int64(0), began
	for {
		select {
		case <-done:
			return
		case now := <-tick.C:
			p := Progress{After: now.Sub(began)}
			for _, c := range conns {
				if s := c.seen.Load(); s != nil {
					p.Answered, p.Lost, p.Refused = p.Answered+s.answered, p.Lost+s.lost, p.Refused+s.refused
					p.InFlight += s.sent - s.answered - s.lost
				}
			}
			p.Rate = float64(p.Answered-last) / now.Sub(at).Seconds()
			last, at = p.Answered, now
			tell(p)
		}
	}
}

// cpuTime is what this process has used, in user and kernel mode.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
