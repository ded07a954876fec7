package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// BinEnv is the environment variable that names the directory of PostgreSQL's
// server programs; when set, nothing else is searched.
const BinEnv = "GYGATE_PG_BIN"

// probeTimeout bounds a look-up such as `pg_config --bindir`.
const probeTimeout = 10 * time.Second

// ErrNotInstalled wraps every failure to find PostgreSQL's server programs.
var ErrNotInstalled = errors.New("PostgreSQL's server programs are not installed")

// installRemedy is what an operator does about ErrNotInstalled. pg_config alone
// is not enough: libpq-dev brings it without the server.
const installRemedy = `install the PostgreSQL server (version 15 or newer):
  Debian, Ubuntu:  apt-get install postgresql
  Fedora:          dnf install postgresql-server
  macOS:           brew install postgresql@17
or name the folder that holds initdb and postgres in ` + BinEnv + `, or give gygate the DSN of a running server`

// programs are those the private server needs.
var programs = []string{"initdb", "postgres"}

// globs are the places where packages put several major versions side by side:
// Debian and Ubuntu; Red Hat; Homebrew on Apple silicon and on Intel.
var globs = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/opt/homebrew/opt/postgresql@*/bin",
	"/usr/local/opt/postgresql@*/bin",
}

// Find returns the directory of PostgreSQL's server programs. It looks at
// GYGATE_PG_BIN, at `pg_config --bindir`, at the newest version among the
// packages' folders, and at PATH. The error wraps ErrNotInstalled, tells where
// it looked and what to install.
func Find() (binDir string, err error) {
	return finder{env: os.Getenv, globs: globs}.find("")
}

// finder holds where to look, so that a test can look elsewhere.
type finder struct {
	env   func(string) string
	globs []string
}

// find returns the first directory that has the programs, of the given major
// version unless that is "".
func (f finder) find(major string) (string, error) {
	var looked []string
	for _, dir := range f.candidates() {
		missing := missingPrograms(dir)
		switch {
		case missing != "":
			looked = append(looked, dir+" (no "+missing+")")
		case major != "" && majorOf(dir) != major:
			looked = append(looked, dir+" (version "+majorOf(dir)+")")
		default:
			return dir, nil
		}
	}
	if len(looked) == 0 {
		looked = []string{"PATH and the packages' usual folders"}
	}
	wanted := ""
	if major != "" {
		wanted = fmt.Sprintf(" (the data was written by version %s, which must read it)", major)
	}
	return "", fmt.Errorf("%w%s; looked at %s; %s", ErrNotInstalled, wanted, strings.Join(looked, ", "), installRemedy)
}

// candidates lists the directories to look at, best first.
func (f finder) candidates() []string {
	if dir := f.env(BinEnv); dir != "" {
		return []string{dir}
	}
	var dirs []string
	if dir, err := pgConfigBinDir(); err == nil {
		dirs = append(dirs, dir)
	}
	for _, pattern := range f.globs {
		matches, _ := filepath.Glob(pattern) // the patterns are constants and well formed
		slices.SortFunc(matches, func(a, b string) int { return versionInPath(b) - versionInPath(a) })
		dirs = append(dirs, matches...)
	}
	for _, dir := range filepath.SplitList(f.env("PATH")) {
		if missingPrograms(dir) == "" {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

func pgConfigBinDir() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output()
	return strings.TrimSpace(string(out)), err
}

func missingPrograms(dir string) string {
	var missing []string
	for _, name := range programs {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			missing = append(missing, name)
		}
	}
	return strings.Join(missing, ", ")
}

var digits = regexp.MustCompile(`\d+`)

// versionInPath reads the major version, the last number, out of a path such as
// /usr/lib/postgresql/15/bin; 0 when there is none.
func versionInPath(dir string) (version int) {
	for _, number := range digits.FindAllString(dir, -1) {
		version, _ = strconv.Atoi(number) // too long a number is no version: 0
	}
	return version
}

// majorOf asks the server program for its major version.
func majorOf(binDir string) string {
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(binDir, "postgres"), "--version").Output()
	if err != nil {
		return "unknown"
	}
	return digits.FindString(string(out))
}
