package gy

import (
	"context"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/ocs"
)

// One call is one trace: gy.ccr below the span of the call, gy.serve its
// sibling, joined by the Session-Id alone.
func TestSpansOfOneCall(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	ctx, root := provider.Tracer("test").Start(context.Background(), "vpn.call")

	c, w := newTestClient(t, ClientConfig{TraceInSessionID: true}, answering(sixty()))
	c.metrics.tracer = provider.Tracer(scope)
	id := c.NewSession(ctx)
	if !strings.Contains(id, ";t1.") || len(id) > 128 {
		t.Fatalf("Session-Id %q", id)
	}
	if plain := c.NewSession(context.Background()); strings.Contains(plain, ";t1.") {
		t.Errorf("Session-Id %q of a call that is not sampled", plain)
	}
	c.Charge(ctx, initial(id))

	s, b := testServer(slice(0), slice(0), ocs.Outcome{Refusal: ocs.Unavailable})
	s.metrics.tracer = provider.Tracer(scope)
	request := parse(t, w.sent[0].ccr.Append(nil, diameter.Header{}))
	serveOne(t, s, peer.Remote{Host: "vpnas1.vpn.example", Tolerate: diameter.Lenient, Trusted: true}, request)
	serveOne(t, s, peer.Remote{Host: "stranger", Tolerate: diameter.Lenient}, request)
	serveOne(t, s, peer.Remote{Host: "vpnas1.vpn.example", Tolerate: diameter.Lenient, Trusted: true}, request)

	ended := spans.Ended()
	if len(ended) != 4 {
		t.Fatalf("%d spans", len(ended))
	}
	for i, want := range []struct {
		name, peer, status string
		kind               trace.SpanKind
		child              bool
		code               int64
	}{
		{"gy.ccr", "ocs1.vpn.example", "Unset", trace.SpanKindClient, true, 2001},
		{"gy.serve", "vpnas1.vpn.example", "Unset", trace.SpanKindServer, true, 2001},
		{"gy.serve", "stranger", "Unset", trace.SpanKindServer, false, 2001},
		{"gy.serve", "vpnas1.vpn.example", "Error", trace.SpanKindServer, true, 3002},
	} {
		got := ended[i]
		child := got.Parent().SpanID() == root.SpanContext().SpanID() && got.SpanContext().TraceID() == root.SpanContext().TraceID()
		if got.Name() != want.name || got.SpanKind() != want.kind || child != want.child || got.Status().Code.String() != want.status {
			t.Errorf("span %d: %s, kind %v, child of the call %v, status %v", i, got.Name(), got.SpanKind(), child, got.Status())
		}
		attributes := attribute.NewSet(got.Attributes()...)
		for key, value := range map[attribute.Key]attribute.Value{
			keyType: attribute.StringValue("I"), keyNumber: attribute.Int64Value(0),
			keyCode: attribute.Int64Value(want.code), keyPeer: attribute.StringValue(want.peer),
		} {
			if v, _ := attributes.Value(key); v != value {
				t.Errorf("span %d: %s = %v, want %v", i, key, v.String(), value.String())
			}
		}
	}
	if got := b.steps[0].Trace; got.SpanID() != ended[1].SpanContext().SpanID() || !got.IsSampled() {
		t.Errorf("the step's trace context is %v", got)
	}
}

func TestMetricsOfTheServer(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	otel.SetMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
	s, _ := testServer(slice(0), slice(0), ocs.Outcome{Refusal: ocs.NoBalance})
	for n := range uint32(3) {
		serveOne(t, s, peer.Remote{Tolerate: diameter.Lenient}, message(t, call("70", ocs.Update, n, ask())))
	}
	var data metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &data); err != nil {
		t.Fatal(err)
	}
	counted := map[string]uint64{}
	for _, m := range data.ScopeMetrics[0].Metrics {
		switch points := m.Data.(type) {
		case metricdata.Sum[int64]:
			for _, p := range points.DataPoints {
				counted[m.Name+label(p.Attributes)] += uint64(p.Value)
			}
		case metricdata.Histogram[float64]:
			if m.Unit != "s" {
				t.Errorf("%s is in %q", m.Name, m.Unit)
			}
			for _, p := range points.DataPoints {
				counted[m.Name+label(p.Attributes)] += p.Count
			}
		}
	}
	for name, want := range map[string]uint64{
		"gygate.ccr U 2001": 2, "gygate.ccr U 4012": 1,
		"gygate.ccr.duration U 2001": 2, "gygate.ccr.duration U 4012": 1,
	} {
		if counted[name] != want {
			t.Errorf("%s = %d, want %d (all: %v)", name, counted[name], want, counted)
		}
	}
}

func label(s attribute.Set) string {
	kind, _ := s.Value("type")
	code, _ := s.Value("result_code")
	return " " + kind.AsString() + " " + code.AsString()
}
