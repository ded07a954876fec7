package fsm

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

// update rewrites the expected parts of testdata/*.txt.
var update = flag.Bool("update", false, "rewrite the expected output in testdata")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
