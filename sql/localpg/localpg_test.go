package localpg

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"
)

// ownerEnv makes the test binary play a gygate that is going to be killed.
const ownerEnv = "LOCALPG_TEST_OWNER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(ownerEnv); dir != "" {
		playOwner(dir)
	}
	goleak.VerifyTestMain(m)
}

func TestStartStopStart(t *testing.T) {
	dir := shortDir(t)
	s := mustStart(t, Options{DataDir: dir})
	execute(t, s.DSN(), "create table kept as select 42 as n")
	mustStop(t, s)
	if _, err := pgx.Connect(t.Context(), s.DSN()); err == nil {
		t.Fatal("the server still answers after Stop")
	}

	s = mustStart(t, Options{DataDir: dir})
	if n := number(t, s.DSN(), "select n from kept"); n != 42 {
		t.Errorf("after the restart n = %d, want 42", n)
	}
	for setting, want := range map[string]string{
		"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "listen_addresses": "", "server_encoding": "UTF8",
	} {
		if got := text(t, s.DSN(), "show "+setting); got != want {
			t.Errorf("%s = %q, want %q", setting, got, want)
		}
	}
	mustStop(t, s)
	mustStop(t, s) // again does nothing
}

// The folder is private, because the socket in it asks for no password.
func TestFolderIsPrivate(t *testing.T) {
	dir := shortDir(t)
	s := mustStart(t, Options{DataDir: dir})
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("data folder has mode %v (%v), want 0700", info.Mode().Perm(), err)
	}
	mustStop(t, s)
}

// An error is in the server's log, the subscriber number it is about is not: neither
// the statement nor the details. The client is told them.
func TestLogHoldsNoNumbers(t *testing.T) {
	const number = "493023125001"
	s := mustStart(t, Options{DataDir: shortDir(t)})
	execute(t, s.DSN(), "create table line (number text primary key)")
	execute(t, s.DSN(), "insert into line values ('"+number+"')")
	conn, err := pgx.Connect(t.Context(), s.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), "insert into line values ('"+number+"')")
	if refused := (*pgconn.PgError)(nil); !errors.As(err, &refused) || !strings.Contains(refused.Detail, number) {
		t.Errorf("the client is told %v", err)
	}
	mustStop(t, s)
	log, err := os.ReadFile(s.folder.logPath())
	if err != nil || !strings.Contains(string(log), "line_pkey") || strings.Contains(string(log), number) {
		t.Errorf("%v, log:\n%s", err, log)
	}
}

func TestTCPWantsThePassword(t *testing.T) {
	port := freePort(t)
	s := mustStart(t, Options{DataDir: shortDir(t), Port: port})
	defer mustStop(t, s)
	if _, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
		t.Error("the port is not in use")
	}
	_, err := pgx.Connect(t.Context(), fmt.Sprintf("postgres://gygate:wrong@127.0.0.1:%d/gygate?sslmode=disable", port))
	if err == nil || !strings.Contains(err.Error(), "password") {
		t.Errorf("TCP with a wrong password: %v", err)
	}
	dsn := fmt.Sprintf("postgres://gygate:%s@127.0.0.1:%d/gygate?sslmode=disable", s.folder.password, port)
	if n := number(t, dsn, "select 1"); n != 1 {
		t.Error("TCP with the password does not work")
	}
}

// A path too long for a socket falls back to TCP on a free port.
func TestLongPathFallsBackToTCP(t *testing.T) {
	dir := filepath.Join(shortDir(t), strings.Repeat("long", 25))
	s := mustStart(t, Options{DataDir: dir})
	defer mustStop(t, s)
	if n := number(t, s.DSN(), "select 1"); n != 1 {
		t.Error("no answer")
	}
	if !strings.Contains(s.DSN(), "127.0.0.1") {
		t.Errorf("DSN does not use TCP")
	}
}

func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = Start(t.Context(), Options{DataDir: shortDir(t), Port: l.Addr().(*net.TCPAddr).Port})
	if err == nil || !strings.Contains(err.Error(), "port is taken") {
		t.Errorf("got %v, want an error that names the taken port", err)
	}
}

func TestSecondOwnerIsRefused(t *testing.T) {
	dir := shortDir(t)
	s := mustStart(t, Options{DataDir: dir})
	defer mustStop(t, s)
	_, err := Start(t.Context(), Options{DataDir: dir})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("got %v, want an error that names the process in the folder", err)
	}
	if n := number(t, s.DSN(), "select 1"); n != 1 {
		t.Error("the first server is gone")
	}
}

func TestRunning(t *testing.T) {
	dir := shortDir(t)
	if _, err := Running(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("in an empty folder: %v", err)
	}
	s := mustStart(t, Options{DataDir: dir})
	dsn, err := Running(dir)
	if err != nil || dsn != s.DSN() {
		t.Errorf("while it runs: %q, %v; want %q", dsn, err, s.DSN())
	}
	if n := number(t, dsn, "select 1"); n != 1 {
		t.Error("no answer")
	}
	mustStop(t, s)
	if _, err := Running(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after the stop: %v", err)
	}
}

// A gygate is killed with SIGKILL; its server stays, with what it committed and
// an open transaction; the next Start takes the folder over.
func TestTakesOverFromKilledOwner(t *testing.T) {
	dir := shortDir(t)
	owner, dsn := startOwner(t, dir)
	execute(t, dsn, "create table kept as select 42 as n")
	leftOver, ok := folder{dir: dir}.readPostmaster()
	if !ok {
		t.Fatal("no lock file")
	}
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	owner.Wait() // says "killed"
	if !alive(leftOver.pid) {
		t.Fatal("the server died with its owner: nothing is left over to take over")
	}

	s := mustStart(t, Options{DataDir: dir})
	if s.process.Pid == leftOver.pid {
		t.Error("same process")
	}
	if n := number(t, s.DSN(), "select n from kept"); n != 42 {
		t.Errorf("n = %d, want 42", n)
	}
	mustStop(t, s)
}

// A server that is killed itself recovers at the next start, although its lock
// file is still there.
func TestRecoversAfterServerWasKilled(t *testing.T) {
	dir := shortDir(t)
	s := mustStart(t, Options{DataDir: dir})
	execute(t, s.DSN(), "create table kept as select 42 as n")
	if err := s.process.Signal(syscall.SIGQUIT); err != nil { // immediate shutdown: no checkpoint
		t.Fatal(err)
	}
	<-s.Done()
	if err := s.Stop(t.Context()); err == nil {
		t.Error("Stop does not tell that the server had ended by itself")
	}
	s = mustStart(t, Options{DataDir: dir})
	if n := number(t, s.DSN(), "select n from kept"); n != 42 {
		t.Errorf("n = %d, want 42", n)
	}
	mustStop(t, s)
}

// The number in a lock file may belong to another process by now: it is left
// alone.
func TestStrangerWithTheNumberIsLeftAlone(t *testing.T) {
	stranger := exec.Command("sleep", "60")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { stranger.Process.Kill(); stranger.Wait() }()
	f := folder{dir: shortDir(t)}
	if err := os.MkdirAll(f.cluster(), 0o700); err != nil {
		t.Fatal(err)
	}
	lines := fmt.Sprintf("%d\n%s\n1\n5432\n%s\n\n", stranger.Process.Pid, f.cluster(), f.dir)
	if err := os.WriteFile(filepath.Join(f.cluster(), "postmaster.pid"), []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.stopLeftOver(t.Context(), slog.New(slog.DiscardHandler)); err != nil {
		t.Error(err)
	}
	if err := stranger.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the stranger was stopped: %v", err)
	}
}

func TestNotInstalledTellsWhatToDo(t *testing.T) {
	empty := t.TempDir()
	_, err := finder{env: func(name string) string { return map[string]string{BinEnv: empty}[name] }}.find("")
	if !errors.Is(err, ErrNotInstalled) {
		t.Fatalf("got %v, want ErrNotInstalled", err)
	}
	for _, want := range []string{empty, "initdb", "apt-get install postgresql", "dnf install postgresql-server", "brew install", BinEnv} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
}

func TestFindPrefersTheNewestPackagedVersion(t *testing.T) {
	root := t.TempDir()
	for _, version := range []string{"9", "15", "16"} {
		for _, name := range programs {
			file := filepath.Join(root, version, "bin", name)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte("#!/bin/sh\necho postgres "+version+".1\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	// pg_config alone, without the server, comes from libpq-dev: an empty PATH
	// entry before the packages' folders must not win.
	search := finder{env: func(string) string { return "" }, globs: []string{root + "/*/bin"}}
	t.Setenv("PATH", "/bin:/usr/bin") // the programs above are shell scripts
	dirs := search.candidates()
	if got := dirs[len(dirs)-3]; got != filepath.Join(root, "16", "bin") {
		t.Errorf("first packaged candidate is %s, want version 16", got)
	}
	dir, err := search.find("9")
	if err != nil || dir != filepath.Join(root, "9", "bin") {
		t.Errorf("for data of version 9: %s, %v", dir, err)
	}
	if _, err := search.find("12"); !errors.Is(err, ErrNotInstalled) || !strings.Contains(err.Error(), "version 12") {
		t.Errorf("for data of version 12: %v", err)
	}
}

// playOwner starts a server, tells its DSN, and waits to be killed.
func playOwner(dir string) {
	s, err := Start(context.Background(), Options{DataDir: dir})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println(s.DSN())
	select {}
}

func startOwner(t *testing.T, dir string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), ownerEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "postgres://") {
		t.Fatalf("owner says %q (%v)", line, err)
	}
	return cmd, strings.TrimSpace(line)
}

// shortDir is a temporary folder that the server's user can reach and whose path
// is short enough for a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "localpg-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "data")
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func mustStart(t *testing.T, opt Options) *Server {
	t.Helper()
	s, err := Start(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(context.Background()) }) // for a test that failed half-way
	return s
}

func mustStop(t *testing.T, s *Server) {
	t.Helper()
	if err := s.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}

func execute(t *testing.T, dsn, statement string) {
	t.Helper()
	withConn(t, dsn, func(conn *pgx.Conn) error {
		_, err := conn.Exec(t.Context(), statement)
		return err
	})
}

func number(t *testing.T, dsn, query string) (n int) {
	t.Helper()
	withConn(t, dsn, func(conn *pgx.Conn) error { return conn.QueryRow(t.Context(), query).Scan(&n) })
	return n
}

func text(t *testing.T, dsn, query string) (s string) {
	t.Helper()
	withConn(t, dsn, func(conn *pgx.Conn) error { return conn.QueryRow(t.Context(), query).Scan(&s) })
	return s
}

func withConn(t *testing.T, dsn string, do func(*pgx.Conn) error) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := do(conn); err != nil {
		t.Fatal(err)
	}
}
