package sipgw

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// metrics counts what the gateway says on SIP.
type metrics struct {
	responses metric.Int64Counter
	refreshes metric.Int64Counter
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

func (m *metrics) responded(method string, status int) {
	m.responses.Add(context.Background(), 1, metric.WithAttributes(
		attribute.String("method", method), attribute.Int("status", status)))
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
