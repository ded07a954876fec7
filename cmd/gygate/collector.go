package main

import (
	"os"
	"runtime/debug"
)

// collectorPercent is how far the heap grows before it is collected (GOGC). What
// stays alive in a gateway is small, what each request leaves behind is not: at
// Go's default of 100 the collector took a fifth of the processor time of a
// request. GOMEMLIMIT still bounds the memory of the whole.
const collectorPercent = 400

// tuneCollector lets the heap grow further between two collections, unless the
// operator has said how far, and returns what undoes it.
func tuneCollector() (undo func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	before := debug.SetGCPercent(collectorPercent)
	return func() { debug.SetGCPercent(before) }
}
