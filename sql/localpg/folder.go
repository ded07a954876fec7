package localpg

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// logTailBytes is how much of the server's log an error shows.
const logTailBytes = 2048

// lockPatience is how long a folder may be in use before it is refused.
const lockPatience = 500 * time.Millisecond

// logBytesMax is the size from which the server's log starts anew.
const logBytesMax = 16 << 20

// folder is the data folder of one private server:
//
//	cluster/           PostgreSQL's own data folder
//	cluster.new/       the same while initdb fills it
//	.s.PGSQL.5432      the socket
//	server.log         what the server says
//	password           of user gygate over TCP
//	lock               held while a gygate uses the folder
type folder struct {
	dir      string
	owner    owner
	lock     *os.File
	password string
}

// openFolder creates the folder when needed and locks it for this process.
func openFolder(dir string) (folder, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return folder{}, err
	}
	o, err := serverOwner()
	if err != nil {
		return folder{}, err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return folder{}, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return folder{}, err
	}
	if err := o.checkReach(dir); err != nil {
		return folder{}, err
	}
	if err := o.take(dir, 0o700); err != nil {
		return folder{}, fmt.Errorf("make the data folder private: %w", err)
	}
	f := folder{dir: dir, owner: o}
	return f, f.takeLock()
}

// takeLock keeps two gygates from using one folder; the lock ends with its
// process, so a killed gygate leaves none.
func (f *folder) takeLock() error {
	lock, err := os.OpenFile(filepath.Join(f.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := flock(lock); err != nil {
		holder, _ := io.ReadAll(io.LimitReader(lock, 32))
		lock.Close()
		return fmt.Errorf("data folder %s is in use by another gygate (process %s): stop that one or choose another folder", f.dir, bytes.TrimSpace(holder))
	}
	f.lock = lock
	if err := lock.Truncate(0); err != nil {
		return err
	}
	_, err = lock.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
	return err
}

// flock tries for a moment: a command that only looks whether the folder is in use
// (Running) holds the lock for the blink of an eye.
func flock(lock *os.File) (err error) {
	for deadline := time.Now().Add(lockPatience); time.Now().Before(deadline); time.Sleep(pollInterval) {
		if err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			return nil
		}
	}
	return err
}

func (f folder) unlock() { f.lock.Close() }

func (f folder) cluster() string      { return filepath.Join(f.dir, "cluster") }
func (f folder) logPath() string      { return filepath.Join(f.dir, "server.log") }
func (f folder) passwordPath() string { return filepath.Join(f.dir, "password") }

// binaries finds the programs, of the version that wrote the data if there is
// data.
func (f folder) binaries() (string, error) {
	search := finder{env: os.Getenv, globs: globs}
	version, err := os.ReadFile(filepath.Join(f.cluster(), "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		return search.find("")
	}
	if err != nil {
		return "", err
	}
	return search.find(strings.TrimSpace(string(version)))
}

// initialise runs initdb when the folder has no cluster. It works aside and
// renames at the end, so that an interrupted initdb leaves no half cluster.
func (f *folder) initialise(ctx context.Context, bin string) error {
	if _, err := os.Stat(f.cluster()); err == nil {
		return f.readPassword()
	}
	fresh := f.cluster() + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	if err := f.writePassword(); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "initdb"),
		"-D", fresh, "-U", userName, "--pwfile", f.passwordPath(), "--encoding=UTF8", "--locale=C",
		"--auth-local=trust", "--auth-host=scram-sha-256", "--no-instructions")
	cmd.Dir = f.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = f.owner.attributes()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, bytes.TrimSpace(out))
	}
	return os.Rename(fresh, f.cluster())
}

func (f *folder) writePassword() error {
	f.password = rand.Text()
	if err := os.WriteFile(f.passwordPath(), []byte(f.password+"\n"), 0o600); err != nil {
		return err
	}
	return f.owner.take(f.passwordPath(), 0o600)
}

func (f *folder) readPassword() error {
	b, err := os.ReadFile(f.passwordPath())
	f.password = strings.TrimSpace(string(b))
	return err
}

// openLog opens the server's log for appending.
func (f folder) openLog() (*os.File, error) {
	if info, err := os.Stat(f.logPath()); err == nil && info.Size() > logBytesMax {
		if err := os.Truncate(f.logPath(), 0); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(f.logPath(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
}

// logTail is the end of the server's log, for an error.
func (f folder) logTail() string {
	b, err := os.ReadFile(f.logPath())
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(b[max(0, len(b)-logTailBytes):]))
}

// postmaster is what postmaster.pid tells of a running or dead server.
type postmaster struct {
	pid    int
	port   int
	socket string // folder of its socket, "" when it has none
}

// readPostmaster reads the lock file PostgreSQL keeps in its data folder. Its
// lines: process, data folder, start time, port, socket folder, address.
func (f folder) readPostmaster() (p postmaster, ok bool) {
	b, err := os.ReadFile(filepath.Join(f.cluster(), "postmaster.pid"))
	lines := strings.Split(string(b), "\n")
	if err != nil || len(lines) < 5 {
		return p, false
	}
	pid, errPID := strconv.Atoi(strings.TrimSpace(lines[0]))
	port, errPort := strconv.Atoi(strings.TrimSpace(lines[3]))
	return postmaster{pid: pid, port: port, socket: strings.TrimSpace(lines[4])}, errPID == nil && errPort == nil && pid > 1
}

// stopLeftOver shuts down the server of a gygate that was killed. The lock on the
// folder says that no living gygate uses it. A process that only happens to
// have the number in the file is left alone: it must answer as this cluster.
func (f folder) stopLeftOver(ctx context.Context, logger *slog.Logger) error {
	p, ok := f.readPostmaster()
	if !ok || !alive(p.pid) {
		return nil // PostgreSQL clears a dead server's file itself
	}
	if ours, err := f.isOurs(ctx, p); err != nil || !ours {
		return err
	}
	logger.Warn("stopping the PostgreSQL server that a killed gygate left over", "data", f.dir, "pid", p.pid)
	if err := syscall.Kill(p.pid, syscall.SIGINT); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop the server left over (process %d): %w", p.pid, err)
	}
	return f.awaitEnd(ctx, p)
}

// isOurs connects to the server of the lock file and asks for its data folder.
// While the server says that it is starting up or shutting down, it waits.
func (f folder) isOurs(ctx context.Context, p postmaster) (bool, error) {
	dsn := socketDSN(p.socket, p.port, "postgres")
	if p.socket == "" {
		dsn = fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/postgres?sslmode=disable", userName, f.password, p.port)
	}
	for {
		dir, err := askDataFolder(ctx, dsn)
		if err == nil {
			return dir == f.cluster(), nil
		}
		if !busyStarting(err) {
			return false, nil
		}
		if err := pause(ctx); err != nil {
			return false, err
		}
	}
}

func askDataFolder(ctx context.Context, dsn string) (dir string, err error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	err = conn.QueryRow(ctx, "show data_directory").Scan(&dir)
	return dir, err
}

// awaitEnd waits for the lock file to go, the last thing a server does. (The
// process may stay as a zombie where nobody reaps orphans.)
func (f folder) awaitEnd(ctx context.Context, p postmaster) error {
	for {
		now, ok := f.readPostmaster()
		if !ok || now.pid != p.pid {
			return nil
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("the server left over (process %d) does not end: %w", p.pid, err)
		}
	}
}

func alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pollInterval):
		return nil
	}
}

// busyStarting reports SQLSTATE 57P03, cannot_connect_now: the server is there
// and starts up, recovers or shuts down.
func busyStarting(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == "57P03"
}
