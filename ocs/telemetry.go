package ocs

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

const instrumentation = "gygate/ocs"

// telemetry holds the engine's instruments.
type telemetry struct {
	tracer    trace.Tracer
	meter     metric.Meter
	log       *slog.Logger
	batchSize metric.Int64Histogram
	busy      metric.Int64Counter
	steps     metric.Int64Counter
	money     metric.Int64Counter
	queue     metric.Int64ObservableGauge

	// The labels of what was counted before, so that counting makes none anew. There
	// are as many as refusals and currencies exist.
	stepLabels  sync.Map // stepClass → metric.MeasurementOption
	moneyLabels sync.Map // moneyClass → metric.MeasurementOption
	laneLabels  sync.Map // int → metric.MeasurementOption
}

func newTelemetry(log *slog.Logger) *telemetry {
	t := &telemetry{tracer: otel.Tracer(instrumentation), meter: otel.Meter(instrumentation), log: log}
	var errs [5]error
	t.batchSize, errs[0] = t.meter.Int64Histogram("ocs.batch.size",
		metric.WithDescription("Steps carried out in one transaction."),
		metric.WithExplicitBucketBoundaries(1, 2, 4, 8, 16, 32, 64, 128, 256))
	t.busy, errs[1] = t.meter.Int64Counter("ocs.lane.busy", metric.WithUnit("us"),
		metric.WithDescription("Time a lane spent in transactions; its rate is the lane's saturation."))
	t.steps, errs[2] = t.meter.Int64Counter("ocs.steps",
		metric.WithDescription("Steps answered, by type and refusal."))
	t.money, errs[3] = t.meter.Int64Counter("ocs.money.millionths",
		metric.WithDescription("Money moved, in millionths of the currency's unit."))
	t.queue, errs[4] = t.meter.Int64ObservableGauge("ocs.lane.queue",
		metric.WithDescription("Steps waiting in front of a lane."))
	for _, err := range errs {
		if err != nil {
			log.Warn("a metric is missing", "err", err)
		}
	}
	return t
}

// watch lets the queues be observed until the returned function is called.
func (t *telemetry) watch(shards []*shard) (stop func()) {
	registration, err := t.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for i, s := range shards {
			o.ObserveInt64(t.queue, int64(len(s.queue)), metric.WithAttributes(laneAttribute(i)))
		}
		return nil
	}, t.queue)
	if err != nil {
		t.log.Warn("lane queues are not observed", "err", err)
		return func() {}
	}
	return func() {
		if err := registration.Unregister(); err != nil {
			t.log.Warn("lane queues stay observed", "err", err)
		}
	}
}

func laneAttribute(index int) attribute.KeyValue { return attribute.Int("lane", index) }

func (t *telemetry) batch(lane, steps int, took time.Duration) {
	ctx := context.Background()
	t.batchSize.Record(ctx, int64(steps))
	t.busy.Add(ctx, took.Microseconds(), label(&t.laneLabels, lane, func() []attribute.KeyValue {
		return []attribute.KeyValue{laneAttribute(lane)}
	}))
}

func (t *telemetry) refused(s StepType, r Refusal) { t.countSteps(stepClass{s, r, false}, 1) }

// stepClass is what steps are counted by.
type stepClass struct {
	step     StepType
	refusal  Refusal
	replayed bool
}

// moneyMoved sums what a batch moved in one currency.
type moneyMoved struct {
	currency                             Currency
	reserved, debited, refunded, overrun Money
}

// count counts a committed batch; repeats moved nothing.
func (t *telemetry) count(jobs []*job, outcomes []Outcome) {
	classes := make(map[stepClass]int64, 8)
	var moved []moneyMoved
	for i := range outcomes {
		o := &outcomes[i]
		classes[stepClass{jobs[i].key.Type, o.Refusal, o.Replayed}]++
		if !o.Replayed {
			moved = addMoney(moved, o)
		}
	}
	for class, n := range classes {
		t.countSteps(class, n)
	}
	for _, m := range moved {
		t.countMoney("reserved", m.currency, m.reserved)
		t.countMoney("debited", m.currency, m.debited)
		t.countMoney("refunded", m.currency, m.refunded)
		t.countMoney("overrun", m.currency, m.overrun)
	}
}

func addMoney(moved []moneyMoved, o *Outcome) []moneyMoved {
	if len(o.Items) == 0 {
		return moved
	}
	at := 0
	for at < len(moved) && moved[at].currency != o.Currency {
		at++
	}
	if at == len(moved) {
		moved = append(moved, moneyMoved{currency: o.Currency})
	}
	for i := range o.Items {
		moved[at].reserved += o.Items[i].Reserved
		moved[at].debited += o.Items[i].Debited
		moved[at].refunded += o.Items[i].Refunded
		moved[at].overrun += o.Items[i].Overrun
	}
	return moved
}

func (t *telemetry) countSteps(c stepClass, n int64) {
	t.steps.Add(context.Background(), n, label(&t.stepLabels, c, func() []attribute.KeyValue {
		return []attribute.KeyValue{
			attribute.String("type", c.step.String()),
			attribute.String("refusal", string(c.refusal)),
			attribute.Bool("replayed", c.replayed),
		}
	}))
}

// moneyClass is what money is counted by.
type moneyClass struct {
	operation string
	currency  Currency
}

func (t *telemetry) countMoney(operation string, c Currency, m Money) {
	if m == 0 {
		return
	}
	t.money.Add(context.Background(), int64(m), label(&t.moneyLabels, moneyClass{operation, c}, func() []attribute.KeyValue {
		return []attribute.KeyValue{attribute.String("operation", operation), attribute.String("currency", strconv.Itoa(int(c)))}
	}))
}

// label finds the labels of a class, made once.
func label[K comparable](known *sync.Map, class K, make func() []attribute.KeyValue) metric.MeasurementOption {
	if option, ok := known.Load(class); ok {
		return option.(metric.MeasurementOption)
	}
	option := metric.WithAttributeSet(attribute.NewSet(make()...))
	known.Store(class, option)
	return option
}

// batchTrace is the trace of one transaction: a span of its own, and one span
// inside each sampled call, with the batch's times and a link to it.
type batchTrace struct {
	tracer trace.Tracer
	span   trace.Span  // nil: no step of the batch is sampled
	set    *WorkingSet // where the store leaves its times
}

func (t *telemetry) beginBatch(ctx context.Context, jobs []*job) (context.Context, *batchTrace) {
	b := &batchTrace{tracer: t.tracer}
	for _, j := range jobs {
		if j.sampled() {
			ctx, b.span = t.tracer.Start(ctx, "ocs.batch", trace.WithNewRoot(),
				trace.WithAttributes(attribute.Int("ocs.batch.size", len(jobs))))
			break
		}
	}
	return ctx, b
}

func (j *job) sampled() bool { return j.step.Trace.IsValid() && j.step.Trace.IsSampled() }

func (b *batchTrace) end(jobs []*job, outcomes []Outcome, err error) {
	if b.span == nil {
		return
	}
	if err != nil {
		b.span.SetStatus(codes.Error, err.Error())
	}
	for i, j := range jobs {
		if j.sampled() {
			outcome := Outcome{}
			if err == nil {
				outcome = outcomes[i]
			}
			b.step(j, &outcome, err)
		}
	}
	b.span.End()
}

// step writes one sampled step into its call's trace.
func (b *batchTrace) step(j *job, o *Outcome, err error) {
	ctx := trace.ContextWithRemoteSpanContext(context.Background(), j.step.Trace)
	ctx, span := b.tracer.Start(ctx, "ocs.step", trace.WithTimestamp(j.taken),
		trace.WithLinks(trace.Link{SpanContext: b.span.SpanContext()}),
		trace.WithAttributes(
			attribute.String("ocs.type", j.key.Type.String()),
			attribute.Int64("ocs.number", int64(j.key.Number)),
			attribute.String("ocs.refusal", string(o.Refusal)),
			attribute.Bool("ocs.replayed", o.Replayed),
			attribute.String("ocs.cost", o.Cost.String())))
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	if b.set != nil {
		b.phase(ctx, "pg.lock_load", b.set.Timing.Began, b.set.Timing.Loaded)
		b.phase(ctx, "pg.store_commit", b.set.Timing.Decided, b.set.Timing.Committed)
	}
	span.End()
}

func (b *batchTrace) phase(ctx context.Context, name string, from, until time.Time) {
	if from.IsZero() || until.IsZero() {
		return // the store keeps no times, or never got there
	}
	_, span := b.tracer.Start(ctx, name, trace.WithTimestamp(from))
	span.End(trace.WithTimestamp(until))
}
