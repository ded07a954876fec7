// Package localpg runs a private PostgreSQL server from the machine's own
// programs, in a folder of its own: the database behind the quick start, the
// demo and the tests.
//
// The server listens on a Unix socket inside its folder, which only its owner
// may enter (mode 0700); that is the access control, so the socket asks for no
// password. TCP, when asked for, is 127.0.0.1 alone and wants the random password
// kept in the folder. Everything a commit needs to be durable stays on.
//
// The server does not depend on the process that started it. When gygate is
// killed, the server stays, and the next Start in the folder shuts it down
// cleanly before it starts its own, which also ends the dead process's locks.
package localpg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// user and database are those of the private cluster.
	userName = "gygate"
	database = "gygate"
	// socketPort names the socket file when TCP is off; no port is taken.
	socketPort = 5432
	// socketDirMax is how long a socket's folder may be: sockaddr_un holds 104
	// bytes on the BSDs and macOS (108 on Linux), of which the file name
	// "/.s.PGSQL.65535" and a zero take 16.
	socketDirMax = 88
	// startTimeout bounds recovery after a crash plus the start itself.
	startTimeout = 60 * time.Second
	// stopTimeout bounds a fast shutdown, most of it the final checkpoint.
	stopTimeout = 60 * time.Second
	// pollInterval is how often a starting or stopping server is looked at.
	pollInterval = 20 * time.Millisecond
)

// Options say where the server lives.
type Options struct {
	// DataDir holds the cluster, its socket, log and password. It is created,
	// made private (0700) and, when gygate runs as root, given to the user
	// postgres (else nobody), because PostgreSQL does not run as root.
	DataDir string
	// Port makes the server also listen on 127.0.0.1. 0: socket only, or a free
	// port when DataDir is too long a path for a socket.
	Port int
	// Settings override the server's settings, for tests.
	Settings map[string]string
	// DieWithOwner shuts the server down when this process dies, where the
	// system can do that (Linux); for tests, which may be killed by a timeout.
	DieWithOwner bool
	Logger       *slog.Logger
}

// Server is a running private server.
type Server struct {
	folder  folder
	port    int
	tcp     bool
	process *os.Process
	exited  chan struct{} // closed when the server process has ended
	exitErr error         // readable after exited
	stop    sync.Once
	stopErr error
	logger  *slog.Logger
}

// Start initialises the folder when it is new, stops a server that a killed
// gygate left over in it, starts the server and returns when it answers. ctx
// bounds the start only.
func Start(ctx context.Context, opt Options) (*Server, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	f, err := openFolder(opt.DataDir)
	if err != nil {
		return nil, fmt.Errorf("private PostgreSQL: %w", err)
	}
	s, err := start(ctx, f, opt)
	if err != nil {
		f.unlock()
		return nil, fmt.Errorf("private PostgreSQL in %s: %w", f.dir, err)
	}
	return s, nil
}

func start(ctx context.Context, f folder, opt Options) (*Server, error) {
	bin, err := f.binaries()
	if err != nil {
		return nil, err
	}
	if err := f.initialise(ctx, bin); err != nil {
		return nil, err
	}
	if err := f.stopLeftOver(ctx, opt.Logger); err != nil {
		return nil, err
	}
	s := &Server{folder: f, port: socketPort, exited: make(chan struct{}), logger: opt.Logger}
	if opt.Port != 0 || len(f.dir) > socketDirMax {
		s.tcp = true
		if s.port, err = tcpPort(opt.Port); err != nil {
			return nil, err
		}
	}
	if err := s.launch(bin, opt); err != nil {
		return nil, err
	}
	if err := s.becomeReady(ctx); err != nil {
		s.kill()
		return nil, err
	}
	opt.Logger.Info("private PostgreSQL started", "data", f.dir, "programs", bin, "pid", s.process.Pid)
	return s, nil
}

// tcpPort checks that a wished port is free, or finds a free one.
func tcpPort(port int) (int, error) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return 0, fmt.Errorf("the database's port is taken, choose another or 0: %w", err)
	}
	port = l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}

// launch starts the server process. Its output goes to a file, not a pipe, so
// that it outlives this process; it has a thread of its own here, because
// DieWithOwner is bound to the thread that starts the process.
func (s *Server) launch(bin string, opt Options) error {
	log, err := s.folder.openLog()
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(bin, "postgres"), s.arguments(opt)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = s.folder.cluster()
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = s.folder.owner.attributes()
	if opt.DieWithOwner {
		dieWithOwner(cmd.SysProcAttr)
	}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			s.exitErr = cmd.Wait()
			close(s.exited)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	s.process = cmd.Process
	return nil
}

// arguments are the server's settings, on the command line so that a newer
// gygate brings its own to an old folder.
func (s *Server) arguments(opt Options) []string {
	settings := map[string]string{
		// Durability: what an answer promises is on disk.
		"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on",
		"shared_buffers": sharedBuffers(),
		// Fewer checkpoints mean fewer full-page images: about 700 bytes of
		// WAL a step fill 4 GB in minutes at full load.
		"max_wal_size": "4GB", "checkpoint_timeout": "15min",
		// Written segments are used again: a new one is 16 MB of zeros, during
		// which nothing commits.
		"min_wal_size": "2GB",
		// A standby attached later, or pg_rewind, finds recent WAL.
		"wal_keep_size": "256MB",
		// Sessions and freezes change often: vacuum little and often.
		"autovacuum_naptime": "10s",
		"max_connections":    "100",
		"jit":                "off",
		"timezone":           "UTC", "log_timezone": "UTC",
		"logging_collector": "off", "log_line_prefix": "%m [%p] ",
		// Statements, and the details of errors, can hold subscriber numbers; they
		// stay out of the log. The client is told them all the same.
		"log_min_error_statement": "panic", "log_error_verbosity": "terse",
		"unix_socket_permissions": "0700",
		"password_encryption":     "scram-sha-256",
	}
	for name, value := range opt.Settings {
		settings[name] = value
	}
	settings["listen_addresses"], settings["unix_socket_directories"] = "", s.folder.dir
	if s.tcp {
		settings["listen_addresses"] = "127.0.0.1"
	}
	if len(s.folder.dir) > socketDirMax {
		settings["unix_socket_directories"] = ""
	}
	args := []string{"-D", s.folder.cluster(), "-p", strconv.Itoa(s.port)}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	return args
}

// The memory of the server: a quarter of the machine's, within these bounds, in MB. It
// is taken as it is used. Below it the hot accounts and sessions have no room, above it
// the system's own cache serves as well.
const (
	buffersMin = 128
	buffersMax = 2048
)

// sharedBuffers is the setting of that name.
func sharedBuffers() string {
	return strconv.Itoa(min(max(machineMemory()/4, buffersMin), buffersMax)) + "MB"
}

// machineMemory is the machine's memory in MB, 0 where it is not told.
func machineMemory() int {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	var kilobytes int
	if _, err := fmt.Sscanf(string(text), "MemTotal: %d kB", &kilobytes); err != nil {
		return 0
	}
	return kilobytes / 1024
}

// becomeReady waits until the server answers a query, which is later than when
// it accepts a connection, and sees to the database.
func (s *Server) becomeReady(ctx context.Context) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := s.createDatabase(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.exited:
			return fmt.Errorf("the server ended at once (%v); its log %s ends:\n%s", s.exitErr, s.folder.logPath(), s.folder.logTail())
		case <-ctx.Done():
			return fmt.Errorf("the server did not become ready: %w (%v); its log %s ends:\n%s", err, ctx.Err(), s.folder.logPath(), s.folder.logTail())
		case <-tick.C:
		}
	}
}

func (s *Server) createDatabase(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.dsn("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var exists bool
	if err := conn.QueryRow(ctx, "select exists (select from pg_database where datname = $1)", database).Scan(&exists); err != nil {
		return err
	}
	if exists {
		return nil
	}
	_, err = conn.Exec(ctx, "create database "+database)
	return err
}

// DSN is the connection string of the database gygate.
func (s *Server) DSN() string { return s.dsn(database) }

func (s *Server) dsn(database string) string {
	if len(s.folder.dir) <= socketDirMax {
		return socketDSN(s.folder.dir, s.port, database)
	}
	u := url.URL{Scheme: "postgres", User: url.UserPassword(userName, s.folder.password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), Path: database, RawQuery: "sslmode=disable"}
	return u.String()
}

func socketDSN(dir string, port int, database string) string {
	q := url.Values{"host": {dir}, "port": {strconv.Itoa(port)}, "sslmode": {"disable"}}
	u := url.URL{Scheme: "postgres", User: url.User(userName), Path: "/" + database, RawQuery: q.Encode()}
	return u.String()
}

// Done is closed when the server has ended, by Stop or by itself.
func (s *Server) Done() <-chan struct{} { return s.exited }

// Stop shuts the server down (fast: sessions are ended, the checkpoint is
// written) and waits for its end. When ctx ends first, the server is told to end
// without a checkpoint, and recovers at its next start. It may be called again.
func (s *Server) Stop(ctx context.Context) error {
	s.stop.Do(func() { s.stopErr = s.shutDown(ctx) })
	return s.stopErr
}

func (s *Server) shutDown(ctx context.Context) error {
	defer s.folder.unlock()
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	select {
	case <-s.exited:
		return fmt.Errorf("private PostgreSQL had ended by itself (%v); its log is %s", s.exitErr, s.folder.logPath())
	default:
	}
	if err := s.process.Signal(syscall.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop private PostgreSQL: %w", err)
	}
	select {
	case <-s.exited:
	case <-ctx.Done():
		s.kill()
		return fmt.Errorf("stop private PostgreSQL: ended without a checkpoint: %w", ctx.Err())
	}
	if s.exitErr != nil {
		return fmt.Errorf("stop private PostgreSQL: %w; its log is %s", s.exitErr, s.folder.logPath())
	}
	s.logger.Info("private PostgreSQL stopped", "data", s.folder.dir)
	return nil
}

// kill is PostgreSQL's immediate shutdown: safe, recovery follows at the start.
func (s *Server) kill() {
	if s.process.Signal(syscall.SIGQUIT) == nil {
		<-s.exited
	}
}
