package main

import (
	"context"
	"log/slog"
	"sync"
)

// lastTrouble is a log handler that keeps the last warning, for a command that
// tells only how it ended.
type lastTrouble struct {
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
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "err" {
			text += ": " + a.Value.String()
		}
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = text
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
