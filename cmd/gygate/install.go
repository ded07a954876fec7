package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"gygate/sql/localpg"
)

// installer puts PostgreSQL's programs on a machine that lacks them: with
// apt-get, as root, on Debian and its relatives. Anywhere else it only tells.
type installer struct {
	say io.Writer
	uid int
	// chosen is the folder that GYGATE_PG_BIN names: a wrong name is put right by
	// whoever gave it, not by changing the machine.
	chosen string
	// noCluster is a drop-in of postgresql-common which keeps the package from
	// starting a cluster of its own; it lies there during the installation only.
	noCluster string
	look      func(string) (string, error)
	run       func(context.Context, string, ...string) error
}

func newInstaller(say io.Writer) installer {
	i := installer{say: say, uid: os.Geteuid(), chosen: os.Getenv(localpg.BinEnv), look: exec.LookPath,
		noCluster: "/etc/postgresql-common/createcluster.d/gygate.conf"}
	i.run = i.runCommand
	return i
}

// install installs, or returns missing, which says what a person must install.
func (i installer) install(ctx context.Context, missing error) error {
	apt, err := i.look("apt-get")
	if err != nil || i.uid != 0 || i.chosen != "" {
		return missing
	}
	fmt.Fprintln(i.say, "PostgreSQL is not on this machine; installing Debian's package postgresql (no cluster is created) …")
	if err := os.MkdirAll(filepath.Dir(i.noCluster), 0o755); err != nil {
		return fmt.Errorf("%w\ninstalling it failed: %w", missing, err)
	}
	if err := os.WriteFile(i.noCluster, []byte("create_main_cluster = false\n"), 0o644); err != nil {
		return fmt.Errorf("%w\ninstalling it failed: %w", missing, err)
	}
	defer os.Remove(i.noCluster)
	for _, args := range [][]string{{"update"}, {"install", "--yes", "--no-install-recommends", "postgresql"}} {
		if err := i.run(ctx, apt, args...); err != nil {
			return fmt.Errorf("%w\ninstalling it failed: apt-get %s: %w", missing, args[0], err)
		}
	}
	return nil
}

func (i installer) runCommand(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	cmd.Stdout, cmd.Stderr = i.say, i.say
	return cmd.Run()
}
