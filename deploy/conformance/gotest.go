package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// goTest runs tests of the module.
type goTest struct {
	module, dir string
	race        bool
	progress    io.Writer
}

// run runs the packages' tests, with env added to the environment and arguments
// before the packages' names. Tests that fail are evidence, not an error.
func (g goTest) run(ctx context.Context, env []string, arguments ...string) (*evidence, error) {
	args := []string{"test", "-json", "-count=1", "-timeout", runMax.String()}
	if g.race {
		args = append(args, "-race")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, arguments...)...)
	cmd.Dir = g.dir
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = g.progress
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("run the tests: %w", err)
	}
	e, err := collect(stdout, g.module, g.progress)
	if err != nil {
		_ = cmd.Process.Kill()
	}
	var failed *exec.ExitError
	if waited := cmd.Wait(); err == nil && waited != nil && (!errors.As(waited, &failed) || ctx.Err() != nil) {
		err = waited
	}
	if err != nil {
		return nil, fmt.Errorf("run the tests: %w", err)
	}
	return e, nil
}
