package harness

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Main is what every interop program does: it reads the flag -bin, does the work
// until it is over or somebody presses Ctrl-C or ends it with SIGTERM, and ends with a last line that
// says whether it passed.
func Main(name string, work func(ctx context.Context, bin string) error) {
	log.SetFlags(0)
	bin := flag.String("bin", "bin/gygate", "the gygate binary")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := work(ctx, *bin)
	stop()
	if err != nil {
		log.Fatalf("%s: FAILED: %v", name, err)
	}
	fmt.Printf("\n%s: passed\n", name)
}

// HasStatus reports whether a test phone's event is the response with that
// status.
func HasStatus(event string, status int) bool {
	return slices.Contains(strings.Fields(event), strconv.Itoa(status))
}
