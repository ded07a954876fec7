package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
)

// settings are what the numbers depend on.
type settings struct {
	Postgres map[string]string `json:"postgresql"`
	Machine  machine           `json:"machine"`
}

// settingNames are the settings of PostgreSQL that are printed.
var settingNames = []string{
	"server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size", "checkpoint_timeout", "autovacuum",
}

type machine struct {
	Processor  string `json:"processor"`
	Processors int    `json:"processors"`
	Memory     string `json:"memory"`
	Kernel     string `json:"kernel"`
	Go         string `json:"go"`
}

func readSettings(ctx context.Context, pool *pgxpool.Pool) (settings, error) {
	s := settings{Postgres: map[string]string{}, Machine: readMachine()}
	for _, name := range settingNames {
		var value string
		if err := pool.QueryRow(ctx, "select current_setting($1)", name).Scan(&value); err != nil {
			return s, err
		}
		s.Postgres[name] = value
	}
	return s, nil
}

func readMachine() machine {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return machine{
		Processor: field("/proc/cpuinfo", "model name"), Processors: runtime.NumCPU(), Memory: field("/proc/meminfo", "MemTotal"),
		Kernel: strings.TrimSpace(string(kernel)), Go: runtime.Version(),
	}
}

// field is the first value of that name in a file of "name: value" lines.
func field(path, name string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if key, value, found := strings.Cut(lines.Text(), ":"); found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (s *settings) print(w io.Writer) {
	m := &s.Machine
	fmt.Fprintf(w, "%d × %s, %s, Linux %s, %s\nPostgreSQL", m.Processors, m.Processor, m.Memory, m.Kernel, m.Go)
	for _, name := range settingNames {
		fmt.Fprintf(w, " %s=%s", name, s.Postgres[name])
	}
	fmt.Fprint(w, "\n\n")
}

// upkeep counts what PostgreSQL does beside the load.
type upkeep struct{ checkpoints, vacuums int64 }

func readUpkeep(ctx context.Context, pool *pgxpool.Pool) (u upkeep, err error) {
	var modern bool // since 17 checkpoints stand in a view of their own
	if err = pool.QueryRow(ctx, "select to_regclass('pg_stat_checkpointer') is not null").Scan(&modern); err != nil {
		return u, err
	}
	checkpoints := "select checkpoints_timed + checkpoints_req from pg_stat_bgwriter"
	if modern {
		checkpoints = "select num_timed + num_requested from pg_stat_checkpointer"
	}
	if err = pool.QueryRow(ctx, checkpoints).Scan(&u.checkpoints); err != nil {
		return u, err
	}
	err = pool.QueryRow(ctx, "select sum(autovacuum_count)::bigint from pg_stat_user_tables").Scan(&u.vacuums)
	return u, err
}
