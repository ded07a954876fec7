package main

import (
	"context"
	"log/slog"
	"sync"
)

// lastTrouble is a log handler that keeps the last warning, for a command that
// tells only how it ended.
type lastTrouble struct {
	tell func(err error) // called with the error of each, unless nil

	mu   sync.Mutex
	last string
}

// Enabled implements slog.Handler.
func (l *lastTrouble) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn
}

// Handle implements slog.Handler.
func (l *lastTrouble) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	var cause error
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "err" {
			text += ": " + a.Value.String()
			cause, _ = a.Value.Any().(error)
		}
		return true
	})
	l.mu.Lock()
	l.last = text
	l.mu.Unlock()
	if cause != nil && l.tell != nil {
		l.tell(cause)
	}
	return nil
}

// WithAttrs implements slog.Handler.
func (l *lastTrouble) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup implements slog.Handler.
func (l *lastTrouble) WithGroup(string) slog.Handler { return l }

// text is the last warning, or that there was none.
func (l *lastTrouble) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == "" {
		return "nobody answered"
	}
	return l.last
}
