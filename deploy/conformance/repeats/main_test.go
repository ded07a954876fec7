package repeats

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"gygate/sql/sqltest"
)

// The binaries under test: as shipped, and the one that kills itself at a named
// point of a transaction.
var gygate, crashing string

func TestMain(m *testing.M) {
	dir, err := build()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(sqltest.Run(m, func() error {
		http.DefaultClient.CloseIdleConnections() // of the readiness probes
		return errors.Join(goleak.Find(), os.RemoveAll(dir))
	}))
}

func build() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "gygate-repeats-"); err != nil {
		return "", err
	}
	gygate, crashing = filepath.Join(dir, "gygate"), filepath.Join(dir, "gygate-crashpoint")
	for _, args := range [][]string{{"-o", gygate}, {"-o", crashing, "-tags", "crashpoint"}} {
		out, err := exec.Command("go", append(append([]string{"build"}, args...), "gygate/cmd/gygate")...).CombinedOutput()
		if err != nil {
			return dir, fmt.Errorf("go build: %w\n%s", err, out)
		}
	}
	return dir, nil
}
