package ocs_test

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"testing"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// watched is a store that tells of its transactions, and holds those of lane 0
// until it is opened.
type watched struct {
	*ocstest.Memory
	begun chan int // the lane
	open  chan struct{}

	mu      sync.Mutex
	batches [][]ocs.Want
}

func (w *watched) Transact(ctx context.Context, lane int, want []ocs.Want, decide func(*ocs.WorkingSet)) error {
	w.mu.Lock()
	w.batches = append(w.batches, slices.Clone(want))
	w.mu.Unlock()
	w.begun <- lane
	if lane == 0 {
		<-w.open
	}
	return w.Memory.Transact(ctx, lane, want, decide)
}

const lanes = 3

// busy is an engine of some lanes, the first of which is held in a transaction.
func busy(t *testing.T, accounts int) (*watched, *ocstest.Driver, *fleet, *sync.WaitGroup) {
	t.Helper()
	f := newFleet(t, accounts)
	w := &watched{Memory: f.Memory, begun: make(chan int, 100), open: make(chan struct{})}
	d := ocstest.Start(t, w, ocs.EngineConfig{Lanes: lanes, Sweep: -1})
	t.Cleanup(func() {
		select {
		case <-w.open:
		default:
			close(w.open)
		}
	})
	var answered sync.WaitGroup
	first := slices.IndexFunc(f.accounts, func(a ocs.AccountKey) bool { return a.Bucket%lanes == 0 })
	answered.Add(1)
	d.Submit(f.initial(first), func(ocs.Outcome) { answered.Done() })
	if lane := <-w.begun; lane != 0 {
		t.Fatalf("lane %d carries out the first step", lane)
	}
	return w, d, f, &answered
}

// Few steps are one batch, whatever buckets their accounts are in: the first lane
// takes what waits for the other one, too.
func TestFewStepsAreOneBatch(t *testing.T) {
	w, d, f, answered := busy(t, 10)
	for n := range f.accounts {
		answered.Add(1)
		d.Submit(f.initial(n), func(ocs.Outcome) { answered.Done() })
	}
	for d.Waiting() < len(f.accounts) { // they are looked up first
		runtime.Gosched()
	}
	close(w.open)
	answered.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.batches); n != 2 || len(w.batches[1]) != len(f.accounts) {
		t.Errorf("%d batches: %v", n, w.batches)
	}
}

// With many steps waiting the other lane works beside the first one.
func TestManyStepsAreCarriedOutSideBySide(t *testing.T) {
	w, d, f, answered := busy(t, 4)
	other := slices.IndexFunc(f.accounts, func(a ocs.AccountKey) bool { return a.Bucket%lanes == 1 })
	for range 2 * ocs.LaneAloneMax {
		answered.Add(1)
		d.Submit(f.initial(other), func(ocs.Outcome) { answered.Done() })
	}
	if lane := <-w.begun; lane != 1 {
		t.Errorf("lane %d carries out the steps of the second shard", lane)
	}
	close(w.open)
	answered.Wait()
}
