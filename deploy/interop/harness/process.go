package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// stopMax is how long a program may take to end in an orderly way.
const stopMax = 30 * time.Second

// Process is a program under test: its output goes to a file, and its end is
// waited for once. It is only ever signalled by its own process id.
type Process struct {
	cmd  *exec.Cmd
	done chan error
}

// start runs the command with its output appended to the log file.
func (p *Process) start(cmd *exec.Cmd, log string) error {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd, p.done = cmd, make(chan error, 1)
	go func() { p.done <- cmd.Wait() }()
	return nil
}

// Pid is the process id, 0 before the start.
func (p *Process) Pid() int {
	if p.cmd == nil || p.cmd.Process == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// StartProcess runs a program with its output appended to the log file.
func StartProcess(cmd *exec.Cmd, log string) (*Process, error) {
	p := new(Process)
	return p, p.start(cmd, log)
}

// Wait blocks until the process has ended.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case err := <-p.done:
		p.done <- err
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s still runs", p.cmd.Path)
	}
}

// Freeze stops the process where it stands: it keeps its connections and
// answers nothing, until Kill or Thaw.
func (p *Process) Freeze() error { return p.cmd.Process.Signal(syscall.SIGSTOP) }

// Thaw lets a frozen process run again.
func (p *Process) Thaw() error { return p.cmd.Process.Signal(syscall.SIGCONT) }

// Kill ends the process with SIGKILL, as a crash does.
func (p *Process) Kill() error { return p.end(syscall.SIGKILL) }

// Stop ends the process in an orderly way, which one that is over has done. A
// frozen one is thawed for it, and one that takes longer than stopMax is killed.
func (p *Process) Stop() error {
	err := p.end(syscall.SIGTERM, syscall.SIGCONT)
	if err == nil {
		return nil
	}
	return errors.Join(fmt.Errorf("%w after SIGTERM and %s", err, stopMax), p.Kill())
}

func (p *Process) end(signals ...os.Signal) error {
	if p.cmd == nil {
		return nil
	}
	for _, signal := range signals {
		if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopMax)
	defer cancel()
	return p.Wait(ctx)
}
