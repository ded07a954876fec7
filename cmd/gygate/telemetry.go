package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"gygate/cmd/gygate/config"
)

// Telemetry is the process's logger, tracer and meter providers. The domain
// packages see only OpenTelemetry's API, through its global providers; the SDK
// and the exporters are known here and nowhere else.
type Telemetry struct {
	Logger  *slog.Logger
	Metrics http.Handler // what /metrics serves
	stops   []func(context.Context) error
}

// StartTelemetry sets the global providers. Exporters follow the standard
// OTEL_* variables; extra span processors are for tests. End it with Shutdown.
func StartTelemetry(ctx context.Context, c config.Telemetry, logs io.Writer, extra ...sdktrace.SpanProcessor) (*Telemetry, error) {
	t := &Telemetry{Logger: newLogger(c, logs), Metrics: http.NotFoundHandler()}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		t.Logger.Warn("telemetry failed; calls are not affected", "err", err)
	}))
	if os.Getenv("OTEL_SDK_DISABLED") == "true" {
		return t, nil
	}
	about, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithHost(),
		resource.WithAttributes(attribute.String("service.name", "gygate"), attribute.String("service.version", versionText())),
		resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("telemetry resource: %w", err)
	}
	if err := t.startTraces(ctx, about, extra); err != nil {
		return nil, err
	}
	return t, t.startMetrics(ctx, about)
}

// Shutdown sends what is not sent yet and ends the exporters.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	var errs []error
	for _, stop := range t.stops {
		errs = append(errs, stop(ctx))
	}
	return errors.Join(errs...)
}

func newLogger(c config.Telemetry, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		level = slog.LevelInfo // the configuration check lets no other word through
	}
	options := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// startTraces installs the provider that does nothing when nobody would receive a
// span, so that an untraced gateway pays nothing: the global one, which waits for
// another, makes four objects for each. The sampler is the SDK's: parent based, or
// what OTEL_TRACES_SAMPLER says.
func (t *Telemetry) startTraces(ctx context.Context, about *resource.Resource, extra []sdktrace.SpanProcessor) error {
	options := []sdktrace.TracerProviderOption{sdktrace.WithResource(about)}
	for _, p := range extra {
		options = append(options, sdktrace.WithSpanProcessor(p))
	}
	if wantsTraces() {
		exporter, err := autoexport.NewSpanExporter(ctx)
		if err != nil {
			return fmt.Errorf("trace exporter (OTEL_TRACES_EXPORTER): %w", err)
		}
		options = append(options, sdktrace.WithBatcher(exporter))
	}
	if len(options) == 1 {
		if _, taken := otel.GetTracerProvider().(*sdktrace.TracerProvider); !taken { // by another gygate in this process
			otel.SetTracerProvider(noop.NewTracerProvider())
		}
		return nil
	}
	provider := sdktrace.NewTracerProvider(options...)
	otel.SetTracerProvider(provider)
	t.stops = append(t.stops, provider.Shutdown)
	return nil
}

// wantsTraces: the standard's default is OTLP to localhost, which on a laptop
// without a collector is a log full of errors; so gygate wants to be asked.
func wantsTraces() bool {
	for _, name := range []string{"OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"} {
		if v := os.Getenv(name); v != "" {
			return v != "none"
		}
	}
	return false
}

// prefixed puts every instrument under one prefix, so that an operator finds all
// of them by gygate_. The Go runtime's and the process's own keep their names.
func prefixed(i metric.Instrument) (metric.Stream, bool) {
	if strings.HasPrefix(i.Name, metricPrefix) {
		return metric.Stream{}, false
	}
	return metric.Stream{Name: metricPrefix + i.Name, Description: i.Description, Unit: i.Unit}, true
}

const metricPrefix = "gygate."

func (t *Telemetry) startMetrics(ctx context.Context, about *resource.Resource) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	reader, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo())
	if err != nil {
		return fmt.Errorf("prometheus exporter: %w", err)
	}
	options := []metric.Option{metric.WithResource(about), metric.WithReader(reader), metric.WithView(prefixed)}
	if os.Getenv("OTEL_METRICS_EXPORTER") != "" {
		pushed, err := autoexport.NewMetricReader(ctx)
		if err != nil {
			return fmt.Errorf("metric exporter (OTEL_METRICS_EXPORTER): %w", err)
		}
		options = append(options, metric.WithReader(pushed))
	}
	provider := metric.NewMeterProvider(options...)
	otel.SetMeterProvider(provider)
	t.Metrics = promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	t.stops = append(t.stops, provider.Shutdown)
	return nil
}
