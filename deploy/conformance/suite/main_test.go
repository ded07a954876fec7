package suite

import (
	"io"
	"log"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gygate/sql/sqltest"
)

// stock says that the system under test is go-diameter's own state machine.
var stock = os.Getenv("GYGATE_SUT") == "stock"

// patience bounds how long an exchange that fails is waited for. The stock server
// fails many.
func patience() time.Duration {
	if stock {
		return 3 * time.Second
	}
	return 30 * time.Second
}

func TestMain(m *testing.M) {
	if stock {
		log.SetOutput(io.Discard) // where it prints the stacks of its panics
		os.Exit(m.Run())
	}
	os.Exit(sqltest.Run(m, func() error { return goleak.Find() }))
}

// proves says which rows the test proves: it would fail without them.
func proves(t *testing.T, rows ...string) {
	for _, row := range rows {
		t.Attr("proves", row)
	}
}
