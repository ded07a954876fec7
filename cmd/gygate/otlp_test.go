package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"gygate/cmd/gygate/sample"
)

// asGygate makes the test binary behave as gygate, so that a test can start one
// with an environment and an end of its own.
const asGygate = "GYGATE_TEST_AS_GYGATE"

// otlpReceiver is a collector that keeps what it is sent, by trace.
type otlpReceiver struct {
	mu       sync.Mutex
	traces   map[string][]sdktrace.ReadOnlySpan
	services map[string]bool
	body     strings.Builder
	err      error
}

func (o *otlpReceiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.take(r); err != nil {
		o.err = err
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (o *otlpReceiver) take(r *http.Request) error {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(body)
		if err != nil {
			return err
		}
		body = unzipped
	}
	b, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	var request collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(b, &request); err != nil {
		return err
	}
	o.body.Write(b)
	o.keep(&request)
	return nil
}

func (o *otlpReceiver) keep(request *collector.ExportTraceServiceRequest) {
	for _, of := range request.ResourceSpans {
		for _, a := range of.Resource.Attributes {
			if a.Key == "service.name" {
				o.services[a.Value.GetStringValue()] = true
			}
		}
		for _, scope := range of.ScopeSpans {
			for _, s := range scope.Spans {
				id := trace.TraceID(s.TraceId)
				context := func(span []byte) trace.SpanContext {
					var of trace.SpanID
					copy(of[:], span)
					return trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: of})
				}
				o.traces[id.String()] = append(o.traces[id.String()],
					tracetest.SpanStub{Name: s.Name, SpanContext: context(s.SpanId), Parent: context(s.ParentSpanId)}.Snapshot())
			}
		}
	}
}

// With the standard variables, one call arrives at a collector as one trace, and
// its spans are those of testdata/call.tree: the last ones too, although gygate
// ends right after the call.
func TestCallArrivesByOTLP(t *testing.T) {
	receiver := &otlpReceiver{traces: map[string][]sdktrace.ReadOnlySpan{}, services: map[string]bool{}}
	server := httptest.NewServer(receiver)
	defer server.Close()
	quickstartOnce(t, "OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_ENDPOINT="+server.URL, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf")

	receiver.mu.Lock()
	defer receiver.mu.Unlock()
	if receiver.err != nil {
		t.Fatal(receiver.err)
	}
	if !receiver.services["gygate"] || len(receiver.services) != 1 {
		t.Errorf("service.name is %v", receiver.services)
	}
	want, err := os.ReadFile("testdata/call.tree")
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	for id, spans := range receiver.traces {
		got := tree(spans)
		if !strings.Contains(got, "vpn.call") {
			continue // the batches of the charging engine have traces of their own
		}
		calls++
		if got != string(want) {
			t.Errorf("trace %s:\n%swant\n%s", id, got, want)
		}
	}
	if calls != 1 {
		t.Errorf("%d traces hold a call, want the one of the sample call", calls)
	}
	if strings.Contains(receiver.body.String(), string(sample.Number("6001"))) {
		t.Error("a span shows a whole subscriber number")
	}
}

// quickstartOnce runs a gygate process with the given environment through its
// sample call to its orderly end.
func quickstartOnce(t *testing.T, environment ...string) {
	t.Helper()
	data, err := temporaryFolder()
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(filepath.Dir(data))
	file := filepath.Join(t.TempDir(), "gygate.yaml")
	if err := os.WriteFile(file, []byte(freePorts), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*testWait)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "serve", "--quickstart", "--config", file, "--data", data)
	cmd.Env = append(append(os.Environ(), asGygate+"=1"), environment...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said.WriteString(lines.Text() + "\n")
		if lines.Text() == "Serving until Ctrl-C." {
			cmd.Process.Signal(syscall.SIGINT) //nolint:errcheck // it ended: Wait tells
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s%s", err, said.String(), errs.String())
	}
	if !strings.Contains(said.String(), "stopped in order") {
		t.Errorf("no orderly end:\n%s%s", said.String(), errs.String())
	}
}
