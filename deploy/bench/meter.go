package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"gygate/deploy/interop/harness"
)

// clockTick is USER_HZ: what /proc counts processor time in.
const clockTick = 10 * time.Millisecond

// meter reads what the processes and the database have used so far.
type meter struct {
	lab        *lab
	postmaster int
}

func newMeter(ctx context.Context, l *lab) (*meter, error) {
	var data string
	if err := l.pool.QueryRow(ctx, "show data_directory").Scan(&data); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return nil, err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	return &meter{l, pid}, err
}

// reading is one look at the meters.
type reading struct {
	at       time.Time
	machine  time.Duration // all processors, busy
	postgres time.Duration // all its processes
	gateways time.Duration
	own      time.Duration // this process
	children time.Duration // generators that have ended
	mallocs  float64       // of the gateways
	database databaseCounters
}

// databaseCounters are PostgreSQL's. Its processes report all but the first about once
// a second and each all at once, so only their proportions are exact.
type databaseCounters struct {
	wal                              int64 // octets
	inserted, updated, hot, sessions int64 // rows; those inserted into session
	syncs                            int64
	syncTime                         float64 // milliseconds
}

func (m *meter) read(ctx context.Context) (r reading, err error) {
	if r.database, err = readDatabase(ctx, m.lab.pool); err != nil {
		return r, err
	}
	for _, g := range []*harness.Gygate{m.lab.gate, m.lab.peer} {
		if g != nil && g.Pid() != 0 {
			r.gateways += processTime(g.Pid(), false)
			r.mallocs += goMallocs(ctx, g)
		}
	}
	r.postgres = familyTime(m.postmaster)
	r.own, r.children = rusage(syscall.RUSAGE_SELF), rusage(syscall.RUSAGE_CHILDREN)
	r.machine = machineTime()
	r.at = time.Now()
	return r, nil
}

func readDatabase(ctx context.Context, pool *pgxpool.Pool) (c databaseCounters, err error) {
	err = pool.QueryRow(ctx, `
		select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint,
		       sum(n_tup_ins)::bigint, sum(n_tup_upd)::bigint, sum(n_tup_hot_upd)::bigint,
		       coalesce(sum(n_tup_ins) filter (where relname = 'session'), 0)::bigint
		from pg_stat_user_tables`).Scan(&c.wal, &c.inserted, &c.updated, &c.hot, &c.sessions)
	if err != nil {
		return c, fmt.Errorf("read PostgreSQL's counters: %w", err)
	}
	// Since 18 these stand elsewhere; then they are not told.
	_ = pool.QueryRow(ctx, "select wal_sync, wal_sync_time from pg_stat_wal").Scan(&c.syncs, &c.syncTime)
	return c, nil
}

// consumption is what lies between two readings, for each of so many CCRs.
type consumption struct {
	Gateway  float64 `json:"gateway_us"`
	Postgres float64 `json:"postgres_us"`
	Bench    float64 `json:"bench_us"` // of this program: limit and engine run in it
	Mallocs  float64 `json:"allocations"`
	WAL      float64 `json:"wal_octets"`
	Rows     float64 `json:"rows"`
	HOT      float64 `json:"hot_share"` // of updates
	Sync     float64 `json:"sync_ms"`   // of one fsync of the WAL
	Busy     float64 `json:"busy_processors"`
	// Foreign is what others used of the machine meanwhile, in processors.
	Foreign float64 `json:"foreign_processors"`
}

func (from reading) until(to reading, requests int64) consumption {
	n := float64(max(requests, 1))
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / n }
	ours := to.postgres - from.postgres + to.gateways - from.gateways + to.own - from.own + to.children - from.children
	c := consumption{
		Gateway: each(to.gateways - from.gateways), Postgres: each(to.postgres - from.postgres), Bench: each(to.own - from.own),
		Mallocs: (to.mallocs - from.mallocs) / n, WAL: float64(to.database.wal-from.database.wal) / n,
		Busy:    (to.machine - from.machine).Seconds() / to.at.Sub(from.at).Seconds(),
		Foreign: max(0, (to.machine-from.machine-ours).Seconds()/to.at.Sub(from.at).Seconds()),
	}
	a, b := &from.database, &to.database
	if sessions := b.sessions - a.sessions; sessions > 0 {
		c.Rows = float64(b.inserted-a.inserted+b.updated-a.updated) / float64(perSession*sessions)
	}
	if updated := b.updated - a.updated; updated > 0 {
		c.HOT = float64(b.hot-a.hot) / float64(updated)
	}
	if syncs := b.syncs - a.syncs; syncs > 0 {
		c.Sync = (b.syncTime - a.syncTime) / float64(syncs)
	}
	return c
}

// Fields of /proc/PID/stat behind the name, counted from 0.
const (
	statParent = 1
	statUser   = 11
	statKernel = 12
	statKids   = 13 // and the next: of children that have ended
)

// processStat are the numbers behind the name in /proc/PID/stat, nil when it is gone.
func processStat(pid int) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
}

func processTime(pid int, ended bool) time.Duration {
	f := processStat(pid)
	if len(f) <= statKids+1 {
		return 0
	}
	fields := f[statUser : statKernel+1]
	if ended {
		fields = f[statUser : statKids+2]
	}
	ticks := int64(0)
	for _, field := range fields {
		n, _ := strconv.ParseInt(field, 10, 64)
		ticks += n
	}
	return time.Duration(ticks) * clockTick
}

// familyTime is that of a process, its children and those that have ended.
func familyTime(parent int) time.Duration {
	total := processTime(parent, true)
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range all {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if f := processStat(pid); len(f) > statParent && f[statParent] == strconv.Itoa(parent) {
			total += processTime(pid, false)
		}
	}
	return total
}

func rusage(who int) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// machineTime is what all processors have worked: /proc/stat without idle and waiting
// for disks. Guests are in user time already.
func machineTime() time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	const idle, wait, steal = 3, 4, 7
	ticks := int64(0)
	for i, field := range strings.Fields(line)[1:] {
		if i == idle || i == wait || i > steal {
			continue
		}
		n, _ := strconv.ParseInt(field, 10, 64)
		ticks += n
	}
	return time.Duration(ticks) * clockTick
}

// memory is a process's resident memory in MB: now and at its highest.
func memory(pid int) (now, peak float64) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) < 2 {
			continue
		}
		kilobytes, _ := strconv.ParseFloat(f[1], 64)
		switch f[0] {
		case "VmRSS:":
			now = kilobytes / 1024
		case "VmHWM:":
			peak = kilobytes / 1024
		}
	}
	return now, peak
}

// goMallocs is a gateway's count of allocations, 0 when it does not tell.
func goMallocs(ctx context.Context, g *harness.Gygate) float64 {
	return gauge(ctx, g, "go_memstats_mallocs_total")
}

// gauge adds up what a gateway's metrics say under a name, whatever the labels; 0 when
// it does not tell.
func gauge(ctx context.Context, g *harness.Gygate, name string) (sum float64) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/metrics", g.Ports.HTTP), nil)
	if err != nil {
		return 0
	}
	r, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	defer r.Body.Close()
	for lines := bufio.NewScanner(r.Body); lines.Scan(); {
		if rest, found := strings.CutPrefix(lines.Text(), name); found && (rest[0] == ' ' || rest[0] == '{') {
			n, _ := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
			sum += n
		}
	}
	return sum
}
