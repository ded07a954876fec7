package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gygate/sql/localpg"
)

func TestInstallPostgreSQL(t *testing.T) {
	missing := localpg.ErrNotInstalled
	found := func(string) (string, error) { return "/usr/bin/apt-get", nil }
	absent := func(string) (string, error) { return "", errors.New("not found") }
	for _, tc := range []struct {
		name   string
		uid    int
		look   func(string) (string, error)
		chosen string // GYGATE_PG_BIN
		fail   string // first argument of the command that fails
		ran    []string
		err    string // part of the error, "" for none
	}{
		{"as root on Debian", 0, found, "", "", []string{"update", "install"}, ""},
		{"as an ordinary user", 1000, found, "", "", nil, missing.Error()},
		{"not on Debian", 0, absent, "", "", nil, missing.Error()},
		{"a folder was named and holds nothing", 0, found, "/nowhere", "", nil, missing.Error()},
		{"package missing", 0, found, "", "install", []string{"update", "install"}, "installing it failed: apt-get install"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			drop := filepath.Join(t.TempDir(), "createcluster.d", "gygate.conf")
			var ran []string
			i := installer{say: io.Discard, uid: tc.uid, chosen: tc.chosen, noCluster: drop, look: tc.look,
				run: func(_ context.Context, _ string, args ...string) error {
					ran = append(ran, args[0])
					if b, err := os.ReadFile(drop); err != nil || !strings.Contains(string(b), "create_main_cluster = false") {
						t.Errorf("apt-get %s runs without the drop-in: %v", args[0], err)
					}
					if args[0] == tc.fail {
						return errors.New("no such package")
					}
					return nil
				}}
			err := i.install(t.Context(), missing)
			if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err) || !errors.Is(err, missing)) {
				t.Errorf("error %v, want %q", err, tc.err)
			}
			if !slices.Equal(ran, tc.ran) {
				t.Errorf("ran %q, want %q", ran, tc.ran)
			}
			if _, err := os.Stat(drop); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the drop-in is left behind: %v", err)
			}
		})
	}
}
