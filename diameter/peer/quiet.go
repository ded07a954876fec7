package peer

import (
	"log/slog"
	"sync"
	"time"
)

// quietInterval is the pace of warnings that strangers can cause at will.
const quietInterval = 100 * time.Millisecond

// quiet logs at most one warning per quietInterval and says how many it kept back.
type quiet struct {
	mu      sync.Mutex
	next    time.Time
	skipped int
}

func (q *quiet) warn(log *slog.Logger, message string, fields ...any) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if now.Before(q.next) {
		q.skipped++
		return
	}
	if q.skipped > 0 {
		fields = append(fields, "skipped", q.skipped)
	}
	q.next, q.skipped = now.Add(quietInterval), 0
	log.Warn(message, fields...)
}
