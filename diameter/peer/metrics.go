package peer

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"gygate/diameter"
)

// seriesMax bounds the label combinations of the message counter: a peer chooses
// command and Result-Code freely.
const seriesMax = 512

// metrics are the instruments of one node. They work on whatever meter provider
// the program has installed, on none as well.
type metrics struct {
	role     string // "server" or "client": one process may be both
	meter    metric.Meter
	messages metric.Int64Counter
	late     metric.Int64Counter
	dropped  metric.Int64Counter

	series sync.Map // of series to metric.MeasurementOption
	count  atomic.Int64
}

// series is one combination of the message counter's labels.
type series struct {
	out     bool
	request bool
	command uint32
	result  diameter.ResultCode
}

func newMetrics(role string) *metrics {
	m := &metrics{role: role, meter: otel.Meter("gygate/diameter/peer")}
	m.messages = counter(m.meter, "diameter.messages", "Diameter messages by direction, command and Result-Code")
	m.late = counter(m.meter, "diameter.answers.late", "Answers for which nobody waited any more")
	m.dropped = counter(m.meter, "diameter.answers.dropped", "Answers that came after the connection was closed")
	return m
}

// counter makes a counter. A refused name is a programming error that the
// package's tests would show; the no-op instrument returned then does no harm.
func counter(m metric.Meter, name, description string) metric.Int64Counter {
	c, err := m.Int64Counter(name, metric.WithDescription(description))
	if err != nil {
		otel.Handle(err)
	}
	return c
}

func (m *metrics) in(msg diameter.Message) { m.message(series{}, msg) }

func (m *metrics) out(frame []byte) {
	if msg, err := diameter.ParseMessage(frame); err == nil {
		m.message(series{out: true}, msg)
	}
}

func (m *metrics) message(s series, msg diameter.Message) {
	s.request, s.command = msg.Request(), msg.Command
	if !s.request {
		s.result = msg.ResultCode()
	}
	m.messages.Add(context.Background(), 1, m.labels(s))
}

// labels returns the cached label set of s, or that of "other" once seriesMax
// combinations were seen.
func (m *metrics) labels(s series) metric.MeasurementOption {
	if option, ok := m.series.Load(s); ok {
		return option.(metric.MeasurementOption)
	}
	if m.count.Load() >= seriesMax {
		return otherSeries
	}
	m.count.Add(1)
	option, _ := m.series.LoadOrStore(s, metric.WithAttributeSet(m.attributes(s)))
	return option.(metric.MeasurementOption)
}

var otherSeries = metric.WithAttributeSet(attribute.NewSet(attribute.String("command", "other")))

func (m *metrics) attributes(s series) attribute.Set {
	direction, result := "in", ""
	if s.out {
		direction = "out"
	}
	if !s.request {
		result = strconv.Itoa(int(s.result))
	}
	return attribute.NewSet(
		attribute.String("role", m.role),
		attribute.String("direction", direction),
		attribute.String("command", commandName(s.command, s.request)),
		attribute.String("result_code", result),
	)
}

// commandName is the RFC's abbreviation, the number for others.
func commandName(command uint32, request bool) string {
	name, ok := map[uint32]string{
		diameter.CmdCapabilitiesExchange: "CE",
		diameter.CmdDeviceWatchdog:       "DW",
		diameter.CmdDisconnectPeer:       "DP",
		diameter.CmdCreditControl:        "CC",
		diameter.CmdReAuth:               "RA",
		diameter.CmdAbortSession:         "AS",
	}[command]
	switch {
	case !ok:
		return strconv.Itoa(int(command))
	case request:
		return name + "R"
	}
	return name + "A"
}

// observe reports the peers by state and what waits in their queues until the
// returned function is called.
func (m *metrics) observe(peers func() []Status, queued func() int) (stop func()) {
	count, err1 := m.meter.Int64ObservableGauge("diameter.peers", metric.WithDescription("Diameter peers by state"))
	depth, err2 := m.meter.Int64ObservableGauge("diameter.queue", metric.WithDescription("Frames waiting to be written"))
	waits, err3 := m.meter.Int64ObservableGauge("diameter.pending", metric.WithDescription("Requests without an answer, either way"))
	role := attribute.String("role", m.role)
	reg, err4 := m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		byState, pending := map[string]int64{}, 0
		for _, p := range peers() {
			byState[p.State]++
			pending += p.Pending
		}
		for state, n := range byState {
			o.ObserveInt64(count, n, metric.WithAttributes(role, attribute.String("state", state)))
		}
		o.ObserveInt64(depth, int64(queued()), metric.WithAttributes(role))
		o.ObserveInt64(waits, int64(pending), metric.WithAttributes(role))
		return nil
	}, count, depth, waits)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		otel.Handle(err)
		return func() {}
	}
	return func() { _ = reg.Unregister() } // it cannot fail for a registration of the SDK
}
