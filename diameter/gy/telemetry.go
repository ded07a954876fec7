package gy

import (
	"context"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"gygate/diameter"
	"gygate/ocs"
)

// scope names this package to OpenTelemetry.
const scope = "gygate/diameter/gy"

// Span attributes of both roles.
const (
	keyType   = attribute.Key("cc.request_type")
	keyNumber = attribute.Key("cc.request_number")
	keyCode   = attribute.Key("cc.result_code")
	keyPeer   = attribute.Key("peer")
)

// durationBuckets, in seconds, are fine where a commit on the same machine is
// and reach to Tx.
var durationBuckets = []float64{.0005, .001, .002, .003, .005, .0075, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// telemetry counts requests by type and Result-Code, measures their latency and
// makes their spans.
type telemetry struct {
	tracer   trace.Tracer
	duration metric.Float64Histogram
	alarms   metric.Int64Counter

	meters atomic.Pointer[map[meterKey]*meter] // never changed: replaced by one with more
	adding sync.Mutex
}

type meterKey struct {
	kind ocs.StepType
	code diameter.ResultCode
}

// meter is what is recorded of one kind of request and one code. The count is
// OpenTelemetry's to read when it collects: its own counters cost more than
// writing an answer does.
type meter struct {
	n      atomic.Int64
	labels metric.MeasurementOption
	record []metric.RecordOption // labels
	_      [64 - 48]byte         // a cache line of its own: lanes count at the same time
}

func newTelemetry(name string) *telemetry {
	t := &telemetry{tracer: otel.Tracer(scope)}
	t.meters.Store(&map[meterKey]*meter{})
	instruments := otel.Meter(scope)
	// The API returns working no-op instruments with its errors, which are
	// about names only.
	count, _ := instruments.Int64ObservableCounter(name, metric.WithDescription("Credit-Control-Requests by type and Result-Code"))
	_, _ = instruments.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, m := range *t.meters.Load() {
			o.ObserveInt64(count, m.n.Load(), m.labels)
		}
		return nil
	}, count)
	t.duration, _ = instruments.Float64Histogram(name+".duration", metric.WithUnit("s"),
		metric.WithDescription("time from request to answer"), metric.WithExplicitBucketBoundaries(durationBuckets...))
	t.alarms, _ = instruments.Int64Counter(name+".alarms", metric.WithDescription("what clients do that somebody should look at, by kind"))
	return t
}

// record counts one exchange; code 0 is one without an answer.
func (t *telemetry) record(kind ocs.StepType, code diameter.ResultCode, took time.Duration) {
	key := meterKey{kind, min(code, codeMax)}
	m := (*t.meters.Load())[key]
	if m == nil {
		m = t.add(key)
	}
	m.n.Add(1)
	t.duration.Record(context.Background(), took.Seconds(), m.record...)
}

// codeMax bounds the codes that get a label of their own: a foreign server may
// send any number, and each would be a time series for ever.
const codeMax diameter.ResultCode = 5999

// add returns the meter of a pair that has none.
func (t *telemetry) add(key meterKey) *meter {
	t.adding.Lock()
	defer t.adding.Unlock()
	old := *t.meters.Load()
	if m := old[key]; m != nil {
		return m
	}
	m := &meter{labels: metric.WithAttributeSet(attribute.NewSet(
		attribute.String("type", typeName(key.kind)),
		attribute.String("result_code", strconv.Itoa(int(key.code))),
	))}
	m.record = []metric.RecordOption{m.labels}
	more := maps.Clone(old)
	more[key] = m
	t.meters.Store(&more)
	return m
}

// typeName is the letter people say: CCR-I, CCR-U, CCR-T, CCR-E.
func typeName(t ocs.StepType) string {
	switch t {
	case ocs.Initial:
		return "I"
	case ocs.Update:
		return "U"
	case ocs.Terminate:
		return "T"
	case ocs.Event:
		return "E"
	}
	return "?"
}

var serverSpan = trace.WithSpanKind(trace.SpanKindServer)

// startSpan opens gy.serve below the call's span, whose context rides in the
// Session-Id. Only a trusted peer may make us record into its traces.
func (x *exchange) startSpan(ctx context.Context, sessionID string) trace.Span {
	if _, off := x.server.metrics.tracer.(noop.Tracer); off {
		return noop.Span{} // the API would make a context first
	}
	if x.from.Trusted {
		if parent, ok := traceOf(sessionID); ok {
			ctx = trace.ContextWithRemoteSpanContext(ctx, parent)
		}
	}
	_, span := x.server.metrics.tracer.Start(ctx, "gy.serve", serverSpan)
	if span.IsRecording() {
		span.SetAttributes(keyType.String(typeName(x.echo.kind)), keyNumber.Int64(int64(x.echo.number)), keyPeer.String(x.from.Host))
	}
	return span
}

func (x *exchange) endSpan(code diameter.ResultCode, text string) {
	if x.span == nil {
		return
	}
	endSpan(x.span, code, text)
}

// endSpan closes a span of either role. A refusal is no fault of the span; only
// what nobody answered properly is.
func endSpan(span trace.Span, code diameter.ResultCode, text string) {
	if span.IsRecording() {
		span.SetAttributes(keyCode.Int64(int64(code)))
		if code == 0 || code.Protocol() || code == diameter.UnableToComply {
			span.SetStatus(codes.Error, text)
		}
	}
	span.End()
}

// traceOf reads the trace context in a Session-Id.
func traceOf(sessionID string) (trace.SpanContext, bool) {
	traceID, spanID, flags, ok := diameter.ParseTrace(sessionID)
	if !ok {
		return trace.SpanContext{}, false
	}
	parent := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: traceID, SpanID: spanID, TraceFlags: trace.TraceFlags(flags), Remote: true,
	})
	return parent, parent.IsValid()
}
