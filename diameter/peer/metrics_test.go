package peer

import (
	"context"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"gygate/diameter"
)

func TestMetrics(t *testing.T) {
	reader := sdk.NewManualReader()
	provider := sdk.NewMeterProvider(sdk.WithReader(reader))
	before := otel.GetMeterProvider()
	otel.SetMeterProvider(provider)
	t.Cleanup(func() { otel.SetMeterProvider(before) })

	_, address := startServer(t, echo, nil)
	c := startClient(t, nil, Endpoint{Address: address})
	waitOpen(t, c)
	for range 3 {
		a, err := c.Do(within(t, 10*time.Second), ask(request{}))
		if err != nil || a.From.StateID != ocs.OriginStateID {
			t.Fatalf("%+v %v", a.From, err)
		}
	}
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		name   string
		labels []attribute.KeyValue
		value  int64
	}{
		{"diameter.messages", []attribute.KeyValue{attribute.String("role", "server"), attribute.String("direction", "in"),
			attribute.String("command", "CCR"), attribute.String("result_code", "")}, 3},
		{"diameter.messages", []attribute.KeyValue{attribute.String("role", "client"), attribute.String("direction", "in"),
			attribute.String("command", "CCA"), attribute.String("result_code", "2001")}, 3},
		{"diameter.peers", []attribute.KeyValue{attribute.String("role", "client"), attribute.String("state", "OKAY")}, 1},
		{"diameter.peers", []attribute.KeyValue{attribute.String("role", "server"), attribute.String("state", "OKAY")}, 1},
		{"diameter.queue", []attribute.KeyValue{attribute.String("role", "server")}, 0},
		{"diameter.pending", []attribute.KeyValue{attribute.String("role", "client")}, 0},
	} {
		if got, ok := measured(all, want.name, attribute.NewSet(want.labels...)); !ok || got != want.value {
			t.Errorf("%s %v is %d (%t), want %d", want.name, want.labels, got, ok, want.value)
		}
	}
}

// countLate returns a function that tells how many late answers were counted
// since.
func countLate(t *testing.T) func() int64 {
	t.Helper()
	reader := sdk.NewManualReader()
	before := otel.GetMeterProvider()
	otel.SetMeterProvider(sdk.NewMeterProvider(sdk.WithReader(reader)))
	t.Cleanup(func() { otel.SetMeterProvider(before) })
	return func() int64 {
		var all metricdata.ResourceMetrics
		if err := reader.Collect(context.Background(), &all); err != nil {
			t.Fatal(err)
		}
		n, _ := measured(all, "diameter.answers.late", attribute.NewSet())
		return n
	}
}

func measured(all metricdata.ResourceMetrics, name string, labels attribute.Set) (int64, bool) {
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			var points []metricdata.DataPoint[int64]
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				points = data.DataPoints
			case metricdata.Gauge[int64]:
				points = data.DataPoints
			}
			for _, p := range points {
				if m.Name == name && p.Attributes.Equals(&labels) {
					return p.Value, true
				}
			}
		}
	}
	return 0, false
}

// A node that listens twice counts its messages once, for as long as it listens at
// all; two nodes of a role add up.
func TestMetricsOfSeveralListeners(t *testing.T) {
	reader := sdk.NewManualReader()
	before := otel.GetMeterProvider()
	otel.SetMeterProvider(sdk.NewMeterProvider(sdk.WithReader(reader)))
	t.Cleanup(func() { otel.SetMeterProvider(before) })
	observe := func(m *metrics) func() {
		return m.observe(func() []Status { return nil }, func() int { return 0 })
	}
	one, two := newMetrics("server"), newMetrics("server")
	first, second, other := observe(one), observe(one), observe(two)
	for _, m := range []*metrics{one, one, two} {
		m.in(answerOf(diameter.Success))
	}
	labels := one.attributes(series{command: diameter.CmdCreditControl, result: diameter.Success})
	wants := func(want int64) {
		t.Helper()
		var all metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &all); err != nil {
			t.Fatal(err)
		}
		if got, _ := measured(all, "diameter.messages", labels); got != want {
			t.Errorf("%d messages, want %d", got, want)
		}
	}
	wants(3)
	first()
	wants(3)
	other()
	wants(2)
	second()
	wants(0)
}

func TestSeriesAreBounded(t *testing.T) {
	m := newMetrics("server")
	for code := range diameter.ResultCode(10 * seriesMax) {
		m.message(series{}, answerOf(code))
	}
	counted := *m.messages.Load()
	if len(counted) > seriesMax || counted[otherSeries].n.Load() != 10*seriesMax-(seriesMax-1) {
		t.Errorf("%d series, %d messages counted as others", len(counted), counted[otherSeries].n.Load())
	}
}

func answerOf(code diameter.ResultCode) diameter.Message {
	b := diameter.Start(nil, diameter.Header{Command: diameter.CmdCreditControl, Application: diameter.AppCreditControl})
	m, err := diameter.ParseMessage(diameter.Finish(diameter.AppendUint32(b, diameter.ResultCodeAVP, uint32(code)), 0))
	if err != nil {
		panic(err)
	}
	return m
}
