package peer

import (
	"context"
	"errors"
	"maps"
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
// the program has installed, on none as well. Messages are counted here and read
// by OpenTelemetry when it collects: its own counters cost more than reading a
// message does.
type metrics struct {
	role    string // "server" or "client": one process may be both
	meter   metric.Meter
	late    metric.Int64Counter
	dropped metric.Int64Counter

	messages atomic.Pointer[map[series]*count] // never changed: replaced by one with more

	lock         sync.Mutex // of whoever replaces messages, and of the following
	observers    int
	registration metric.Registration
}

// series is one combination of the message counter's labels.
type series struct {
	out     bool
	request bool
	command uint32
	result  diameter.ResultCode
}

// otherSeries stands for all combinations beyond seriesMax.
var otherSeries = series{command: otherCommand}

// otherCommand is no command: those have 24 bits.
const otherCommand = 1 << 24

// count is the number of messages of one series. It has a cache line for itself:
// the reader and those who answer count at the same time.
type count struct {
	n      atomic.Int64
	labels metric.MeasurementOption
	_      [64 - 24]byte
}

func newMetrics(role string) *metrics {
	m := &metrics{role: role, meter: otel.Meter("gygate/diameter/peer")}
	m.messages.Store(&map[series]*count{})
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
	c := (*m.messages.Load())[s]
	if c == nil {
		c = m.add(s)
	}
	c.n.Add(1)
}

// add returns the count of a series that has none, that of all others once
// seriesMax combinations were seen.
func (m *metrics) add(s series) *count {
	m.lock.Lock()
	defer m.lock.Unlock()
	old := *m.messages.Load()
	if len(old) >= seriesMax-1 {
		s = otherSeries
	}
	if c := old[s]; c != nil {
		return c
	}
	c := &count{labels: metric.WithAttributeSet(m.attributes(s))}
	more := maps.Clone(old)
	more[s] = c
	m.messages.Store(&more)
	return c
}

func (m *metrics) attributes(s series) attribute.Set {
	if s == otherSeries {
		return attribute.NewSet(attribute.String("command", "other"))
	}
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

// observe reports the messages, the peers by state and what waits in their queues
// until the returned function is called. Of several who want it, the first begins
// and the last ends it: a node that listens twice is observed once.
func (m *metrics) observe(peers func() []Status, queued func() int) (stop func()) {
	m.lock.Lock()
	defer m.lock.Unlock()
	if m.observers++; m.observers == 1 {
		m.registration = m.register(peers, queued)
	}
	return func() {
		m.lock.Lock()
		defer m.lock.Unlock()
		if m.observers--; m.observers == 0 && m.registration != nil {
			_ = m.registration.Unregister() // it cannot fail for a registration of the SDK
		}
	}
}

// register returns nil when a name is refused; see counter.
func (m *metrics) register(peers func() []Status, queued func() int) metric.Registration {
	messages, err1 := m.meter.Int64ObservableCounter("diameter.messages", metric.WithDescription("Diameter messages by direction, command and Result-Code"))
	count, err2 := m.meter.Int64ObservableGauge("diameter.peers", metric.WithDescription("Diameter peers by state"))
	depth, err3 := m.meter.Int64ObservableGauge("diameter.queue", metric.WithDescription("Frames waiting to be written"))
	waits, err4 := m.meter.Int64ObservableGauge("diameter.pending", metric.WithDescription("Requests without an answer, either way"))
	role := attribute.String("role", m.role)
	registration, err5 := m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, c := range *m.messages.Load() {
			o.ObserveInt64(messages, c.n.Load(), c.labels)
		}
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
	}, messages, count, depth, waits)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		otel.Handle(err)
		return nil
	}
	return registration
}
