package main

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

const (
	// collectorPercent is how far the heap grows before it is collected (GOGC). What
	// stays alive in a gateway is mostly small, what each request leaves behind is
	// not: at Go's default of 100 the collector took a fifth of the processor time of
	// a request. GOMEMLIMIT still bounds the memory of the whole.
	collectorPercent = 400
	// collectorRoom is what the heap may grow by at the most, down to Go's default of
	// once what lives: twenty thousand open calls must not take five times their size.
	collectorRoom = 256 << 20
	// collectorDefault is Go's own.
	collectorDefault = 100
	// collectorPeriod is how often what lives is looked at.
	collectorPeriod = 5 * time.Second
)

// tuneCollector lets the heap grow further between two collections, unless the
// operator has said how far, and returns what undoes it.
func tuneCollector() (undo func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	before := debug.SetGCPercent(collectorPercent)
	stop := make(chan struct{})
	var following sync.WaitGroup
	following.Go(func() { followHeap(stop) })
	return func() {
		close(stop)
		following.Wait()
		debug.SetGCPercent(before)
	}
}

// followHeap keeps the percentage at what suits the living heap.
func followHeap(stop <-chan struct{}) {
	period := time.NewTicker(collectorPeriod)
	defer period.Stop()
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for now := collectorPercent; ; {
		select {
		case <-stop:
			return
		case <-period.C:
		}
		metrics.Read(live)
		// Setting it stops the world for a moment: not for every few objects.
		if next := collectorPercentAt(live[0].Value.Uint64()); next != now {
			now = next
			debug.SetGCPercent(now)
		}
	}
}

// collectorPercentAt is the percentage for a heap of which so many bytes live, in steps
// of fifty.
func collectorPercentAt(live uint64) int {
	percent := collectorRoom * 100 / max(live, 1)
	return int(max(collectorDefault, min(percent, collectorPercent))) / 50 * 50
}
