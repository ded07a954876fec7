package sipgw

import (
	"context"
	"log/slog"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// metrics counts what the gateway says on SIP.
type metrics struct {
	responses metric.Int64Counter
	refreshes metric.Int64Counter
	answers   sync.Map // of answer: the attributes of a response, made once
}

// answer is a response as it is counted.
type answer struct {
	method string
	status int
}

func newMetrics() (*metrics, error) {
	meter := otel.Meter("gygate/vpnlogic/sipgw")
	responses, err := meter.Int64Counter("gygate.sip.responses",
		metric.WithDescription("SIP responses sent, by method and status."))
	if err != nil {
		return nil, err
	}
	refreshes, err := meter.Int64Counter("gygate.sip.session_refreshes",
		metric.WithDescription("Session refreshes sent, by outcome: alive or lost."))
	return &metrics{responses: responses, refreshes: refreshes}, err
}

// responded counts a response. A method that is not served is "other": no peer can
// grow the metric without bound.
func (m *metrics) responded(method string, status int) {
	if !servedMethods[method] {
		method = "other"
	}
	key := answer{method, status}
	attributes, known := m.answers.Load(key)
	if !known {
		attributes, _ = m.answers.LoadOrStore(key, metric.WithAttributeSet(attribute.NewSet(
			attribute.String("method", method), attribute.Int("status", status))))
	}
	m.responses.Add(context.Background(), 1, attributes.(metric.MeasurementOption))
}

// servedMethods are those that have a label of their own.
var servedMethods = map[string]bool{
	"INVITE": true, "ACK": true, "CANCEL": true, "BYE": true, "OPTIONS": true, "UPDATE": true, "INFO": true,
}

func (m *metrics) refreshed(alive bool) {
	outcome := "lost"
	if alive {
		outcome = "alive"
	}
	m.refreshes.Add(context.Background(), 1, metric.WithAttributes(attribute.String("outcome", outcome)))
}

// libraryLogger is what the SIP library may say to our log: its errors, as
// warnings, without their attributes, which hold whole messages and with them
// subscriber numbers.
func libraryLogger(log *slog.Logger) *slog.Logger {
	return slog.New(libraryHandler{log.Handler()})
}

type libraryHandler struct{ next slog.Handler }

func (h libraryHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelError && h.next.Enabled(ctx, slog.LevelWarn)
}

func (h libraryHandler) Handle(ctx context.Context, r slog.Record) error {
	return h.next.Handle(ctx, slog.NewRecord(r.Time, slog.LevelWarn, "sip library: "+r.Message, r.PC))
}

func (h libraryHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h libraryHandler) WithGroup(string) slog.Handler      { return h }
