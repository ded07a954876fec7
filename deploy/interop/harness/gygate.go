// Package harness runs the real gygate binary for the interop programs: its own
// data folder, its own ports, its command line as an operator uses it.
package harness

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// readyMax is how long gygate may take to start; the first start makes a
// database cluster.
const readyMax = 60 * time.Second

// Gygate is one gygate under test.
type Gygate struct {
	Bin   string
	Dir   string // holds configuration, data and log
	Role  string // of serve: "" for all, ocs, vpn
	Ports Ports

	Process
}

// New prepares a gygate with that configuration in a fresh folder, and its
// tables in the database of the configuration.
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
	args := []string{"serve", "--config", g.config(), "--data", g.data()}
	if g.Role != "" {
		args = append(args, "--role", g.Role)
	}
	cmd := exec.Command(g.Bin, args...)
	cmd.Env = append(os.Environ(), env...)
	if err := g.start(cmd, g.LogFile()); err != nil {
		return err
	}
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
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Serve runs work beside the started server, stops it in an orderly way, and
// removes the folder if nothing failed.
func (g *Gygate) Serve(ctx context.Context, work func() error) error {
	if err := g.Start(ctx); err != nil {
		return errors.Join(err, g.Kill())
	}
	if err := errors.Join(work(), g.Stop()); err != nil {
		return err
	}
	return g.Remove()
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

// OpenPeers counts the Diameter peers whose connection to this gygate's server
// is in order, as /metrics reports them.
func (g *Gygate) OpenPeers(ctx context.Context) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/metrics", g.Ports.HTTP), nil)
	if err != nil {
		return 0, err
	}
	r, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	open := 0
	for lines := bufio.NewScanner(r.Body); lines.Scan(); {
		series, value, _ := strings.Cut(lines.Text(), "} ")
		if strings.HasPrefix(series, "gygate_diameter_peers{") && strings.Contains(series, `role="server"`) && strings.Contains(series, `state="OKAY"`) {
			n, err := strconv.Atoi(value)
			if err != nil {
				return 0, err
			}
			open += n
		}
	}
	return open, nil
}
