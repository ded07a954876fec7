package gy

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
)

// logLines collects a log.
type logLines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logLines) has(s string) bool { return l.count(s) > 0 }

func (l *logLines) count(s string) int { return strings.Count(l.String(), s) }

func (l *logLines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }
