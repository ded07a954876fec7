package gy

import (
	"context"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

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
	count    metric.Int64Counter
	duration metric.Float64Histogram
	alarms   metric.Int64Counter

	// labels keeps one option for each pair of type and code, so that
	// counting allocates nothing; see label for its bound.
	labels sync.Map // meterKey → metric.MeasurementOption
}

type meterKey struct {
	kind ocs.StepType
	code diameter.ResultCode
}

func newTelemetry(name string) *telemetry {
	meter := otel.Meter(scope)
	// The API returns working no-op instruments with its errors, which are
	// about names only.
	count, _ := meter.Int64Counter(name, metric.WithDescription("Credit-Control-Requests by type and Result-Code"))
	duration, _ := meter.Float64Histogram(name+".duration", metric.WithUnit("s"),
		metric.WithDescription("time from request to answer"), metric.WithExplicitBucketBoundaries(durationBuckets...))
	alarms, _ := meter.Int64Counter(name+".alarms", metric.WithDescription("what clients do that somebody should look at, by kind"))
	return &telemetry{tracer: otel.Tracer(scope), count: count, duration: duration, alarms: alarms}
}

// record counts one exchange; code 0 is one without an answer.
func (t *telemetry) record(kind ocs.StepType, code diameter.ResultCode, took time.Duration) {
	label := t.label(meterKey{kind, code})
	t.count.Add(context.Background(), 1, label)
	t.duration.Record(context.Background(), took.Seconds(), label)
}

// codeMax bounds the codes that get a label of their own: a foreign server may
// send any number, and each would be a time series for ever.
const codeMax = 5999

func (t *telemetry) label(key meterKey) metric.MeasurementOption {
	if key.code > codeMax {
		key.code = codeMax
	}
	if label, ok := t.labels.Load(key); ok {
		return label.(metric.MeasurementOption)
	}
	label := metric.WithAttributeSet(attribute.NewSet(
		attribute.String("type", typeName(key.kind)),
		attribute.String("result_code", strconv.Itoa(int(key.code))),
	))
	t.labels.Store(key, label)
	return label
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
func (x *exchange) startSpan(ctx context.Context) trace.Span {
	if x.from.Trusted {
		if parent, ok := traceOf(x.ccr.SessionID); ok {
			ctx = trace.ContextWithRemoteSpanContext(ctx, parent)
		}
	}
	_, span := x.server.metrics.tracer.Start(ctx, "gy.serve", serverSpan)
	if span.IsRecording() {
		span.SetAttributes(keyType.String(typeName(x.ccr.Type)), keyNumber.Int64(int64(x.ccr.Number)), keyPeer.String(x.from.Host))
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
