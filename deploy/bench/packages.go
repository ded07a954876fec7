package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The packages' own benchmarks watch allocations and processor time of what every
// request passes through. They are compared with a baseline that is kept with the
// sources, not tested: times differ between machines, allocations do not.

const (
	baselineFile = "baseline.txt"
	microCount   = "6" // what benchstat needs to tell a difference from chance
	microTime    = "100ms"
)

// measuredPackages are those whose benchmarks need no database; what those with one
// measure is what the rest of this program measures.
var measuredPackages = []string{"./diameter/...", "./ocs", "./cmd/gygate/load"}

// comparePackages measures the packages and has benchstat compare them with the
// baseline.
func comparePackages(ctx context.Context, reports string, r *report) error {
	if _, err := os.Stat(filepath.Join(reports, baselineFile)); err != nil {
		return fmt.Errorf("nothing to compare the packages with, make bench-baseline keeps it: %w", err)
	}
	now, err := measurePackages(ctx)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp("", "bench-*.txt")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	if _, err := file.Write(now); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "go", "tool", "benchstat", filepath.Join(reports, baselineFile), file.Name()).CombinedOutput()
	if err != nil {
		return fmt.Errorf("benchstat: %w\n%s", err, out)
	}
	text := strings.ReplaceAll(string(out), file.Name(), "now")
	fmt.Printf("\n%s", text)
	r.Facts["packages"] = text
	return nil
}

// keepBaseline measures the packages and keeps that as what later runs are compared
// with.
func keepBaseline(ctx context.Context, reports string) error {
	now, err := measurePackages(ctx)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(reports, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(reports, baselineFile), now, 0o644)
}

func measurePackages(ctx context.Context) ([]byte, error) {
	args := append([]string{"test", "-run", "^$", "-bench", ".", "-benchmem", "-count", microCount, "-benchtime", microTime}, measuredPackages...)
	cmd := exec.CommandContext(ctx, "go", args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go test -bench: %w\n%s", err, out.String())
	}
	return out.Bytes(), nil
}
