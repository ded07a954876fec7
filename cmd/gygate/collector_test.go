package main

import "testing"

// TestCollectorPercent: a small heap may grow to five times what lives, a big one by
// what it has room for, and never by less than Go's default.
func TestCollectorPercent(t *testing.T) {
	for live, want := range map[uint64]int{
		0: 400, 40 << 20: 400, 64 << 20: 400, 100 << 20: 250, 128 << 20: 200, 256 << 20: 100, 4 << 30: 100,
	} {
		if got := collectorPercentAt(live); got != want {
			t.Errorf("%d MB alive: %d %%, want %d", live>>20, got, want)
		}
	}
}
