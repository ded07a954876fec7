package vpnlogic

import (
	"context"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

const scope = "gygate/vpnlogic"

// startCallSpan opens the span that lasts as long as the call. Numbers stand
// masked in spans.
func startCallSpan(ctx context.Context, a Attempt) (context.Context, trace.Span) {
	return otel.Tracer(scope).Start(ctx, "vpn.call",
		trace.WithTimestamp(a.At),
		trace.WithAttributes(
			attribute.String("call.id", a.CallID),
			attribute.String("vpn.calling", Mask(a.Calling)),
			attribute.String("vpn.dialled", Mask(a.Dialled)),
		))
}

func endCallSpan(span trace.Span, r CallRecord) {
	span.SetAttributes(
		attribute.String("vpn.group", r.Group),
		attribute.String("vpn.class", string(r.Class)),
		attribute.String("vpn.charging", string(r.Charging)),
		attribute.String("call.reason", r.Reason),
		attribute.String("call.released_by", r.ReleasedBy),
		attribute.Int("call.q850", r.Cause),
		attribute.Int("call.status", r.Status),
		attribute.Float64("call.talked_seconds", r.Talked.Seconds()),
		attribute.Int64("call.reported_seconds", int64(r.Reported/time.Second)),
	)
	if r.Session != "" {
		span.SetAttributes(attribute.String("session", r.Session))
	}
	if r.Reason == ReasonInternal {
		span.SetStatus(codes.Error, r.Reason)
	}
	span.End()
}

// screen is Directory.Screen inside its span.
func (s *Service) screen(ctx context.Context, a Attempt, now time.Time) (Route, *Cause) {
	_, span := otel.Tracer(scope).Start(ctx, "vpn.screen")
	defer span.End()
	route, cause := s.config.Directory().Screen(a, now)
	span.SetAttributes(
		attribute.String("vpn.group", route.Group),
		attribute.String("vpn.class", string(route.Class)),
		attribute.String("vpn.called", Mask(string(route.Called))),
		attribute.Bool("vpn.prepaid", route.Prepaid),
	)
	if cause != nil {
		span.SetAttributes(attribute.String("call.reason", cause.Reason))
	}
	return route, cause
}

// metrics are the service's instruments.
type metrics struct {
	calls    metric.Int64UpDownCounter
	attempts metric.Int64Counter
	setUp    metric.Float64Histogram
	retried  metric.Int64Counter
	lost     metric.Int64Counter
}

// setUpBuckets are seconds: a set-up is charging (milliseconds) and ringing
// (many seconds).
var setUpBuckets = []float64{.005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 20, 60, 180}

func newMetrics() *metrics {
	m := otel.Meter(scope)
	return &metrics{
		calls:    instrument(m.Int64UpDownCounter("gygate.vpn.calls", metric.WithDescription("Calls being served or settled."))),
		attempts: instrument(m.Int64Counter("gygate.vpn.attempts", metric.WithDescription("Finished call attempts by class, charging and reason."))),
		setUp:    instrument(m.Float64Histogram("gygate.vpn.setup.duration", metric.WithUnit("s"), metric.WithDescription("From the call request to the answer or the refusal."), metric.WithExplicitBucketBoundaries(setUpBuckets...))),
		retried:  instrument(m.Int64Counter("gygate.vpn.record.retries", metric.WithDescription("Writes of call records that had to be tried again."))),
		lost:     instrument(m.Int64Counter("gygate.vpn.record.lost", metric.WithDescription("Call records that were given up."))),
	}
}

// instrument keeps a service without one of its instruments running: the API answers
// a bad name with an error and a working no-op instrument.
func instrument[T any](i T, err error) T {
	if err != nil {
		otel.Handle(err)
	}
	return i
}

func (m *metrics) active(ctx context.Context, by int64) { m.calls.Add(ctx, by) }

// attempt counts a finished attempt. Reasons that are not in the release table
// come from a foreign charging system; they share one label value, so that no
// peer can grow the metric without bound.
func (m *metrics) attempt(ctx context.Context, r CallRecord) {
	reason := r.Reason
	if _, known := releaseTable[reason]; !known {
		reason = "other"
	}
	class := metric.WithAttributes(attribute.String("class", string(r.Class)))
	m.attempts.Add(ctx, 1, class, metric.WithAttributes(attribute.String("charging", string(r.Charging)), attribute.String("reason", reason)))
	m.setUp.Record(ctx, setUpTime(r).Seconds(), class)
}

func setUpTime(r CallRecord) time.Duration {
	if r.AnsweredAt.IsZero() {
		return max(0, r.ReleasedAt.Sub(r.SetupAt))
	}
	return max(0, r.AnsweredAt.Sub(r.SetupAt))
}

func (m *metrics) recordRetried(ctx context.Context) { m.retried.Add(ctx, 1) }
func (m *metrics) recordLost(ctx context.Context)    { m.lost.Add(ctx, 1) }
