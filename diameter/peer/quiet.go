package peer

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// quietInterval is the pace of warnings about the same one: strangers can cause
	// them at will.
	quietInterval = time.Second
	// quietMax is about how many in an interval warnings are logged: all gateways
	// of a network start together after a power failure, and one that makes up a
	// new identity each time must not fill the log.
	quietMax = 64
)

// quiet logs one warning per quietInterval about each of at most quietMax, so that
// none hides another, and says how many it kept back. The zero value is ready.
type quiet struct {
	mu      sync.Mutex
	until   time.Time // of the interval
	told    map[string]struct{}
	skipped int
}

// warn logs a warning; about is an identity or address of bounded length.
func (q *quiet) warn(log *slog.Logger, about, message string, fields ...any) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now := time.Now(); !now.Before(q.until) {
		q.until, q.told = now.Add(quietInterval), map[string]struct{}{}
	}
	if _, told := q.told[about]; told || len(q.told) >= quietMax {
		q.skipped++
		return
	}
	q.told[about] = struct{}{}
	if q.skipped > 0 {
		fields = append(fields, "skipped", q.skipped)
	}
	q.skipped = 0
	log.Warn(message, fields...)
}
