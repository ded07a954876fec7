package main

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"gygate/deploy/bench/sipload"
	"gygate/sql/sqltest"
)

// BenchmarkStart is what an operator waits for after a restart: from the start of a
// gygate of role all, on a database that runs, until it is ready to charge calls.
func BenchmarkStart(b *testing.B) {
	for _, members := range []int{0, 1_000_000} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			dsn := sqltest.Database(b)
			fillDirectory(b, dsn, members)
			c := callBenchConfig()
			c.Database.DSN, c.SIP.NextHop = dsn, freeUDP(b)
			b.ResetTimer()
			for range b.N {
				m, err := New(b.Context(), c, Options{Role: RoleAll, Logger: quietLogger()})
				if err != nil {
					b.Fatal(err)
				}
				stop := start(b, m.Run)
				if err := m.Ready(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				stop()
				closeBench(b, m.Close)
				b.StartTimer()
			}
		})
	}
}

// fillDirectory makes that many members in groups of a thousand.
func fillDirectory(b *testing.B, dsn string, members int) {
	pool, err := pgxpool.New(b.Context(), dsn)
	if err != nil {
		b.Fatal(err)
	}
	defer pool.Close()
	for _, statement := range []string{
		`insert into vpn_group (id, country_code, short_digits) select 'bench' || g, '46', 4 from generate_series(0, $1::int / 1000) g`,
		`insert into member (number, group_id, short_number, display, prepaid)
		 select '4685' || lpad(m::text, 8, '0'), 'bench' || m / 1000, lpad((m % 1000)::text, 4, '0'), 'Member ' || m, true
		 from generate_series(0, $1::int - 1) m`,
	} {
		if _, err := pool.Exec(b.Context(), statement, members); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := pool.Exec(b.Context(), "vacuum analyze"); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkReloadUnderCalls places two hundred calls a second while a directory of a
// million members is read anew without a pause, and reports what the set-ups see of it.
func BenchmarkReloadUnderCalls(b *testing.B) {
	dsn := sqltest.Database(b)
	fillDirectory(b, dsn, 1_000_000)
	c := callBenchConfig()
	c.Database.DSN = dsn
	g := openCallBench(b, c, Options{Role: RoleAll, Logger: quietLogger()}, benchPlan)
	g.openAccounts(b)
	serve(b, g.main.Run)
	if err := g.main.Ready(b.Context()); err != nil {
		b.Fatal(err)
	}
	load, reloads := g.load(b.N), 0
	load.Rate = 200
	reloading, stop := context.WithCancel(b.Context())
	done := make(chan struct{})
	b.ResetTimer()
	go func() {
		defer close(done)
		for reloading.Err() == nil {
			if g.main.calls.directory.Reload(reloading) == nil {
				reloads++
			}
		}
	}()
	report, err := sipload.Run(b.Context(), load)
	b.StopTimer()
	stop()
	<-done
	if err != nil || len(report.Failed) > 0 {
		b.Fatal(report, err)
	}
	b.ReportMetric(float64(report.SetUpP50.Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(report.SetUpP99.Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(report.SetUpMax.Microseconds())/1000, "max-ms")
	b.ReportMetric(report.Elapsed.Seconds()/float64(reloads), "s/reload")
}
