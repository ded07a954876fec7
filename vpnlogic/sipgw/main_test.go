package sipgw

import (
	"flag"
	"io"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
	"go.uber.org/goleak"
)

// T1 of the tests: all waits of SIP, 64×T1 at the longest, shrink with it. Half of
// this is too little when the machine is busy: transactions time out.
const testT1 = 50 * time.Millisecond

func TestMain(m *testing.M) {
	// Package variables of the library: once, before the first packet.
	sip.SetTimers(testT1, 4*testT1, 4*testT1)
	sip.SetDefaultLogger(slog.New(slog.NewTextHandler(io.Discard, nil)))
	// The tests wait more than they work.
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	code := m.Run()
	if code == 0 {
		// A packet that the library reads in the moment its socket is closed
		// makes it open another socket for the answer, and keep that.
		stray := goleak.IgnoreAnyFunction("github.com/emiago/sipgo/sip.(*TransportUDP).readUDPConnection")
		if err := goleak.Find(stray); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			code = 1
		}
	}
	os.Exit(code)
}
