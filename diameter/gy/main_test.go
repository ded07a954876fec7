package gy

import (
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/goleak"
)

// Each test that looks at metrics installs a provider of its own; servers of tests
// before it must not report to that one.
func TestMain(m *testing.M) {
	otel.SetMeterProvider(noop.NewMeterProvider())
	goleak.VerifyTestMain(m)
}
