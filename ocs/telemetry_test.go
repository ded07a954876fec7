package ocs_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// withTiming is a store that keeps the times of its phases, as pgstore does.
type withTiming struct{ *ocstest.Memory }

func (s withTiming) Transact(ctx context.Context, lane int, want []ocs.Want, decide func(*ocs.WorkingSet)) error {
	return s.Memory.Transact(ctx, lane, want, func(ws *ocs.WorkingSet) {
		at := time.Now()
		phase := func(n time.Duration) time.Time { return at.Add(n * time.Microsecond) }
		ws.Timing = ocs.Timing{Began: at, Loaded: phase(1), Decided: phase(2), Committed: phase(3)}
		decide(ws)
	})
}

func TestTelemetry(t *testing.T) {
	spans, reader := tracetest.NewInMemoryExporter(), sdkmetric.NewManualReader()
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	oldTracers, oldMeters := otel.GetTracerProvider(), otel.GetMeterProvider()
	otel.SetTracerProvider(tracers)
	otel.SetMeterProvider(meters)
	defer otel.SetTracerProvider(oldTracers)
	defer otel.SetMeterProvider(oldMeters)

	f := newFleet(t, 2)
	d := ocstest.Start(t, withTiming{f.Memory}, oneLane)
	sampled, plain := f.initial(0), f.initial(1)
	sampled.Trace = trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled,
	})
	d.Do(*sampled)
	d.Do(*plain)

	checkSpans(t, spans.GetSpans(), sampled.Trace)
	var got metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	if n := sumOf(t, got, "ocs.money.millionths"); n != 1_200_000 {
		t.Errorf("ocs.money is %d, want two freezes of 0.60", n)
	}
	if n := sumOf(t, got, "ocs.steps"); n != 2 {
		t.Errorf("ocs.steps is %d", n)
	}
	for _, name := range []string{"ocs.batch.size", "ocs.lane.queue", "ocs.lane.busy"} {
		if find(got, name) == nil {
			t.Errorf("%s is missing", name)
		}
	}
}

// checkSpans wants one step with its two phases in the call's trace, linked to
// the batch's own trace.
func checkSpans(t *testing.T, spans tracetest.SpanStubs, call trace.SpanContext) {
	t.Helper()
	byName := make(map[string]tracetest.SpanStub)
	var names []string
	for _, s := range spans {
		byName[s.Name] = s
		names = append(names, s.Name)
	}
	slices.Sort(names)
	if got := fmt.Sprint(names); got != "[ocs.batch ocs.step pg.lock_load pg.store_commit]" {
		t.Fatalf("spans: %s", got)
	}
	step, batch := byName["ocs.step"], byName["ocs.batch"]
	if step.Parent.SpanID() != call.SpanID() || step.SpanContext.TraceID() != call.TraceID() {
		t.Errorf("the step is not in the call's trace: %+v", step.Parent)
	}
	if batch.SpanContext.TraceID() == call.TraceID() || len(step.Links) != 1 || step.Links[0].SpanContext.SpanID() != batch.SpanContext.SpanID() {
		t.Errorf("the step is not linked to its batch: %+v", step.Links)
	}
	for _, name := range []string{"pg.lock_load", "pg.store_commit"} {
		if s := byName[name]; s.Parent.SpanID() != step.SpanContext.SpanID() || s.EndTime.Sub(s.StartTime) != time.Microsecond {
			t.Errorf("%s: parent %v, took %v", name, s.Parent.SpanID(), s.EndTime.Sub(s.StartTime))
		}
	}
}

func find(m metricdata.ResourceMetrics, name string) metricdata.Aggregation {
	for _, scope := range m.ScopeMetrics {
		for _, metric := range scope.Metrics {
			if metric.Name == name {
				return metric.Data
			}
		}
	}
	return nil
}

func sumOf(t *testing.T, m metricdata.ResourceMetrics, name string) int64 {
	t.Helper()
	sum, ok := find(m, name).(metricdata.Sum[int64])
	if !ok {
		t.Fatalf("%s is not a sum", name)
	}
	var n int64
	for _, point := range sum.DataPoints {
		n += point.Value
	}
	return n
}
