package localpg

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// ErrNotRunning says that no living gygate runs a server in the folder.
var ErrNotRunning = errors.New("no private PostgreSQL runs in this folder")

// Holds tells whether the data folder dataDir has a database. One that cannot be
// looked into counts as having one: starting it names what is wrong.
func Holds(dataDir string) bool {
	_, err := os.Stat(folder{dir: dataDir}.cluster())
	return !errors.Is(err, os.ErrNotExist)
}

// Running gives the DSN of the server that another gygate, alive now, runs in
// dataDir. It changes nothing. The error is ErrNotRunning when the folder is
// free to Start in, or tells why the folder's server cannot be used.
func Running(dataDir string) (dsn string, err error) {
	dir, err := filepath.Abs(dataDir)
	if err != nil {
		return "", err
	}
	lock, err := os.Open(filepath.Join(dir, "lock"))
	if errors.Is(err, os.ErrNotExist) {
		return "", ErrNotRunning
	}
	if err != nil {
		return "", fmt.Errorf("data folder %s: %w", dir, err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err == nil {
		return "", ErrNotRunning // closing the file gives the lock back
	}
	f := folder{dir: dir}
	if err := f.readPassword(); err != nil {
		return "", fmt.Errorf("data folder %s is in use, but %w", dir, err)
	}
	p, ok := f.readPostmaster()
	if !ok {
		return "", fmt.Errorf("data folder %s is in use by a gygate that is only starting or stopping; try again", dir)
	}
	s := Server{folder: f, port: p.port}
	return s.DSN(), nil
}
