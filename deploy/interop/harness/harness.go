// Package harness runs the real gygate binary for the interop programs: its own
// data folder, its own ports, its command line as an operator uses it.
package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Limits on how long the harness waits for gygate.
const (
	readyMax = 60 * time.Second // first start makes a database cluster
	stopMax  = 30 * time.Second
)

// Ports are the loopback ports of one gygate.
type Ports struct{ Diameter, DiameterTLS, SIP, HTTP, Phones int }

// The ports are drawn below the range from which the system takes the local
// ports of outgoing connections (32768 and up on Linux): one of those could
// take a port between the draw and its use, or while gygate is restarted.
const (
	portFirst = 20_000
	portCount = 10_000
)

var (
	drawMu sync.Mutex
	drawn  = rand.IntN(portCount) // so that two programs side by side differ
)

// FreePorts draws ports nobody listens on, never the same one twice.
func FreePorts() (Ports, error) {
	drawMu.Lock()
	defer drawMu.Unlock()
	var p Ports
	for _, port := range []*int{&p.Diameter, &p.DiameterTLS, &p.SIP, &p.HTTP, &p.Phones} {
		n, err := freePort()
		if err != nil {
			return p, err
		}
		*port = n
	}
	return p, nil
}

func freePort() (int, error) {
	for range portCount {
		drawn++
		port := portFirst + drawn%portCount
		if free(port) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port from %d to %d", portFirst, portFirst+portCount-1)
}

// free reports whether a port can be bound for TCP and UDP.
func free(port int) bool {
	address := fmt.Sprintf("127.0.0.1:%d", port)
	l, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	return u.Close() == nil
}

// Gygate is one gygate under test.
type Gygate struct {
	Bin   string
	Dir   string // holds configuration, data and log
	Ports Ports

	cmd  *exec.Cmd
	done chan error
}

// New prepares a gygate with that configuration in a fresh folder, and empty
// books to import into.
func New(bin, name, config string, ports Ports) (*Gygate, error) {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "gygate-"+name+"-")
	if err != nil {
		return nil, err
	}
	// The embedded database runs as another user when this runs as root.
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	g := &Gygate{Bin: bin, Dir: dir, Ports: ports}
	if err := os.WriteFile(g.config(), []byte(config), 0o600); err != nil {
		return nil, err
	}
	_, err = g.Run("migrate")
	return g, err
}

func (g *Gygate) config() string { return filepath.Join(g.Dir, "gygate.yaml") }
func (g *Gygate) data() string   { return filepath.Join(g.Dir, "data") }

// LogFile is where the server's output goes.
func (g *Gygate) LogFile() string { return filepath.Join(g.Dir, "serve.log") }

// Start runs `gygate serve` with extra environment and waits until it is ready.
func (g *Gygate) Start(ctx context.Context, env ...string) error {
	log, err := os.OpenFile(g.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	g.cmd = exec.Command(g.Bin, "serve", "--config", g.config(), "--data", g.data())
	g.cmd.Stdout, g.cmd.Stderr = log, log
	g.cmd.Env = append(os.Environ(), env...)
	if err := g.cmd.Start(); err != nil {
		return err
	}
	g.done = make(chan error, 1)
	go func() { g.done <- g.cmd.Wait() }()
	return g.awaitReady(ctx)
}

func (g *Gygate) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyMax)
	defer cancel()
	url := fmt.Sprintf("http://127.0.0.1:%d/readyz", g.Ports.HTTP)
	for {
		if r, err := http.Get(url); err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case err := <-g.done:
			g.done <- err
			return fmt.Errorf("gygate ended before it was ready (%v), see %s", err, g.LogFile())
		case <-ctx.Done():
			return fmt.Errorf("gygate is not ready after %s, see %s", readyMax, g.LogFile())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Serve runs work beside the started server, stops it in an orderly way, and
// removes the folder if nothing failed.
func (g *Gygate) Serve(ctx context.Context, work func() error) error {
	if err := g.Start(ctx); err != nil {
		return err
	}
	if err := errors.Join(work(), g.Stop()); err != nil {
		return err
	}
	return g.Remove()
}

// Wait blocks until the server process has ended by itself.
func (g *Gygate) Wait(ctx context.Context) error {
	select {
	case err := <-g.done:
		g.done <- err
		return nil
	case <-ctx.Done():
		return errors.New("gygate still runs")
	}
}

// Kill ends the server process with SIGKILL, as a crash does.
func (g *Gygate) Kill() error {
	if err := g.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopMax)
	defer cancel()
	return g.Wait(ctx)
}

// Stop ends the server in an orderly way.
func (g *Gygate) Stop() error {
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopMax)
	defer cancel()
	return g.Wait(ctx)
}

// Remove deletes the folder; call it only after a success, so that logs remain
// when something failed.
func (g *Gygate) Remove() error { return os.RemoveAll(g.Dir) }

// Run executes one gygate command against this gygate's books.
func (g *Gygate) Run(args ...string) ([]byte, error) {
	cmd := exec.Command(g.Bin, append(args, "--config", g.config(), "--data", g.data())...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("gygate %s: %w\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return out, nil
}

// JSON executes a command with --json and decodes what it prints.
func (g *Gygate) JSON(into any, args ...string) error {
	out, err := g.Run(append(args, "--json")...)
	if err != nil {
		return err
	}
	return json.Unmarshal(out, into)
}

// File writes a file into the gygate's folder and returns its path.
func (g *Gygate) File(name, content string) (string, error) {
	path := filepath.Join(g.Dir, name)
	return path, os.WriteFile(path, []byte(content), 0o644)
}

// Import writes a CSV file and imports it: "account", "tariff", "group" or
// "member".
func (g *Gygate) Import(what, csv string) error {
	path, err := g.File(what+".csv", csv)
	if err != nil {
		return err
	}
	_, err = g.Run(what, "import", path)
	return err
}
