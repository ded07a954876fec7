package pgdirectory

import (
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"gygate/sql/sqltest"
	"gygate/vpnlogic"
)

// benchPerGroup is how many members a group of the benchmarks has.
const benchPerGroup = 1000

// fillMany makes that many members, in groups: every one with a name and a short
// number, one in a hundred with a list of his own, one in ten with a profile.
func fillMany(b *testing.B, pool *pgxpool.Pool, members int) {
	b.Helper()
	for _, statement := range []string{
		`insert into vpn_group (id, country_code, escape_code, short_digits, forced_on_net)
		 select 'bench' || g, '46', '', 4, true from generate_series(0, ($1::int - 1) / $2) g`,
		`insert into profile (group_id, name, bar_international)
		 select 'bench' || g, 'desk', true from generate_series(0, ($1::int - 1) / $2) g`,
		`insert into member (number, group_id, short_number, display, prepaid, profile)
		 select '4685' || lpad(m::text, 8, '0'), 'bench' || m / $2, lpad((m % $2)::text, 4, '0'), 'Member ' || m, true,
		        case when m % 10 = 0 then 'desk' end
		 from generate_series(0, $1::int - 1) m`,
		`insert into access_rule (group_id, member, allow, prefix)
		 select 'bench' || m / $2, '4685' || lpad(m::text, 8, '0'), false, '4690' from generate_series(0, $1::int - 1, 100) m`,
	} {
		if _, err := pool.Exec(b.Context(), statement, members, benchPerGroup); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := pool.Exec(b.Context(), "analyze"); err != nil {
		b.Fatal(err)
	}
}

func benchNumber(member int) string { return fmt.Sprintf("4685%08d", member) }

func benchPool(b *testing.B) *pgxpool.Pool {
	pool, err := pgxpool.New(b.Context(), sqltest.Database(b))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	return pool
}

// BenchmarkLoad reads the whole directory and reports what a snapshot holds for each
// member, and the most that the heap grew by while it was read.
func BenchmarkLoad(b *testing.B) {
	for _, members := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			pool := benchPool(b)
			fillMany(b, pool, members)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				b.StopTimer()
				before := heap()
				peak := watchHeap()
				b.StartTimer()
				s, err := load(b.Context(), pool)
				b.StopTimer()
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(peak()-before)/float64(members), "peak-B/member")
				b.ReportMetric(float64(heap()-before)/float64(members), "B/member")
				runtime.KeepAlive(s)
				b.StartTimer()
			}
		})
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// watchHeap samples the heap until it is asked for the greatest size it saw.
func watchHeap() func() int64 {
	stop, most := make(chan struct{}), make(chan int64)
	go func() {
		var peak int64
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, int64(m.HeapAlloc))
			select {
			case <-stop:
				most <- peak
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() int64 { close(stop); return <-most }
}

// BenchmarkScreen screens a call of a short number and one of a public number, from
// members all over the directory.
func BenchmarkScreen(b *testing.B) {
	for _, members := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			pool := benchPool(b)
			fillMany(b, pool, members)
			p, err := Open(b.Context(), pool, slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			attempts := make([]vpnlogic.Attempt, 10_000)
			for i := range attempts {
				caller := i * (members / len(attempts))
				attempts[i] = vpnlogic.Attempt{Calling: "+" + benchNumber(caller), Dialled: fmt.Sprintf("%04d", (caller+1)%benchPerGroup)}
				if i%2 == 1 {
					attempts[i].Dialled = "+" + benchNumber((caller+7)%members)
				}
			}
			now := time.Now()
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				if _, cause := p.Current().Screen(attempts[i%len(attempts)], now); cause != nil {
					b.Fatal(cause)
				}
			}
		})
	}
}

// BenchmarkReload is a change of one group of a directory: what it takes until its
// snapshot is there, and what an unchanged rest costs.
func BenchmarkReload(b *testing.B) {
	for _, members := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			pool := benchPool(b)
			fillMany(b, pool, members)
			s, err := load(b.Context(), pool)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				if s, err = loadGroups(b.Context(), pool, s, s.version, []string{fmt.Sprint("bench", i%(members/benchPerGroup))}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
