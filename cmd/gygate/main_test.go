package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.uber.org/goleak"

	"gygate/cmd/gygate/config"
	"gygate/sql/sqltest"
)

// testWait bounds every wait of the tests for something that must happen.
const testWait = 20 * time.Second

// traced holds the spans of the whole test binary.
var traced = newSpanLog()

func TestMain(m *testing.M) {
	if os.Getenv(asGygate) != "" {
		main()
	}
	telemetry, err := StartTelemetry(context.Background(), config.Default().Telemetry, io.Discard, traced)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	live.metrics = telemetry.Metrics
	os.Exit(sqltest.Run(m, closeLive,
		func() error { return telemetry.Shutdown(context.Background()) },
		func() error { return goleak.Find() }))
}

// live is the stage that the tests share: a whole gygate with an embedded
// database, the sample data and phones.
var live struct {
	once  sync.Once
	stage *stage
	data  string
	err   error

	metrics http.Handler // of the test binary
}

func liveStage(t *testing.T) *stage {
	t.Helper()
	live.once.Do(func() {
		if live.data, live.err = temporaryFolder(); live.err == nil {
			live.stage, live.err = newStage(context.Background(), demoConfig(), Options{
				Role: RoleAll, Data: live.data, Logger: quietLogger(), Metrics: live.metrics, Ephemeral: true})
		}
	})
	if live.err != nil {
		t.Fatal(live.err)
	}
	return live.stage
}

func closeLive() error {
	var err error
	if live.stage != nil {
		err = live.stage.close()
	}
	if live.data != "" {
		os.RemoveAll(filepath.Dir(live.data))
	}
	return err
}

// temporaryFolder is a data folder that PostgreSQL's own user can reach.
func temporaryFolder() (string, error) {
	dir, err := os.MkdirTemp("", "gygate-cmd-test-")
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "data"), os.Chmod(dir, 0o755)
}

// spanLog keeps ended spans, by trace, and lets a test wait for one.
type spanLog struct {
	mu      sync.Mutex
	spans   map[string][]sdktrace.ReadOnlySpan
	changed chan struct{} // closed and made anew with each span
}

func newSpanLog() *spanLog {
	return &spanLog{spans: map[string][]sdktrace.ReadOnlySpan{}, changed: make(chan struct{})}
}

func (l *spanLog) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (l *spanLog) Shutdown(context.Context) error                  { return nil }
func (l *spanLog) ForceFlush(context.Context) error                { return nil }

func (l *spanLog) OnEnd(s sdktrace.ReadOnlySpan) {
	l.mu.Lock()
	defer l.mu.Unlock()
	trace := s.SpanContext().TraceID().String()
	l.spans[trace] = append(l.spans[trace], s)
	close(l.changed)
	l.changed = make(chan struct{})
}

// await returns the spans of a trace once enough says that they are complete.
func (l *spanLog) await(t *testing.T, trace string, enough func([]sdktrace.ReadOnlySpan) bool) []sdktrace.ReadOnlySpan {
	t.Helper()
	late := time.After(testWait)
	for {
		l.mu.Lock()
		spans, changed := l.spans[trace], l.changed
		l.mu.Unlock()
		if enough(spans) {
			return spans
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("trace %s is not complete: %d spans", trace, len(spans))
		}
	}
}
