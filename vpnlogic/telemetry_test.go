package vpnlogic

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// TestTelemetry: a call is a span with its screening below, its record carries
// the trace, numbers stand masked, and attempts are counted.
func TestTelemetry(t *testing.T) {
	spans, reader := tracetest.NewSpanRecorder(), metric.NewManualReader()
	tracers, meters := otel.GetTracerProvider(), otel.GetMeterProvider()
	otel.SetTracerProvider(trace.NewTracerProvider(trace.WithSpanProcessor(spans)))
	otel.SetMeterProvider(metric.NewMeterProvider(metric.WithReader(reader)))
	t.Cleanup(func() {
		otel.SetTracerProvider(tracers)
		otel.SetMeterProvider(meters)
	})
	var record CallRecord
	onStage(t, ServiceConfig{}, &fakeCharger{answer: granting(time.Hour, 2*time.Hour)}, func(s *stage) {
		call, _ := s.begin(prepaidAttempt)
		call.Cancelled(time.Now())
		record = s.record()
		s.begin(Attempt{CallID: "call-2", Calling: "+4930123456", Dialled: "6002"})
	})
	ended := spans.Ended()
	if len(ended) != 4 || ended[0].Name() != "vpn.screen" || ended[1].Name() != "vpn.call" {
		t.Fatalf("spans %v", ended)
	}
	screen, call := ended[0], ended[1]
	if screen.Parent().SpanID() != call.SpanContext().SpanID() || call.Parent().IsValid() || record.TraceID != call.SpanContext().TraceID().String() {
		t.Errorf("screening belongs to %v, call %v to %v, record to %s", screen.Parent(), call.SpanContext(), call.Parent(), record.TraceID)
	}
	attributes := attribute.NewSet(call.Attributes()...)
	for key, want := range map[attribute.Key]string{"vpn.class": "on-net", "vpn.charging": "prepaid", "call.reason": ReasonCancelled, "session": "vpn;1;1", "vpn.calling": "+861********01"} {
		if got, _ := attributes.Value(key); got.AsString() != want {
			t.Errorf("%s = %q, want %q", key, got.AsString(), want)
		}
	}
	for _, span := range ended {
		for _, kv := range span.Attributes() {
			if strings.Contains(kv.Value.String(), "3800000") {
				t.Errorf("span %s shows a number: %s = %s", span.Name(), kv.Key, kv.Value.String())
			}
		}
	}
	if got := attempts(t, reader); got[ReasonCancelled] != 1 || got[ReasonNotAMember] != 1 {
		t.Errorf("attempts by reason: %v", got)
	}
}

// attempts reads the counter of attempts by reason, and checks that no call is
// counted as active any more.
func attempts(t *testing.T, reader *metric.ManualReader) map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil {
		t.Fatal(err)
	}
	byReason := make(map[string]int64)
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			sum, ok := m.Data.(metricdata.Sum[int64])
			if !ok {
				continue
			}
			for _, point := range sum.DataPoints {
				reason, _ := point.Attributes.Value("reason")
				if m.Name == "gygate.vpn.attempts" {
					byReason[reason.AsString()] += point.Value
				}
				if m.Name == "gygate.vpn.calls" && point.Value != 0 {
					t.Errorf("%d calls are counted as active", point.Value)
				}
			}
		}
	}
	return byReason
}
