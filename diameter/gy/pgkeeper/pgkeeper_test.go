package pgkeeper

import (
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"gygate/diameter/gy"
	"gygate/sql/sqltest"
)

func TestMain(m *testing.M) {
	os.Exit(sqltest.Run(m, func() error { return goleak.Find() }))
}

func open(t *testing.T, pool *pgxpool.Pool, client string) *Keeper {
	t.Helper()
	k, err := Open(t.Context(), pool, client)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func load(t *testing.T, k *Keeper, start uint32, after string, limit int) []gy.Kept {
	t.Helper()
	kept, err := k.Load(t.Context(), start, after, limit)
	if err != nil {
		t.Fatal(err)
	}
	return kept
}

func TestKeptOutlivesTheProcess(t *testing.T) {
	pool, err := pgxpool.New(t.Context(), sqltest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	k := open(t, pool, "vpn.example")
	since := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	first := gy.Kept{Session: "a;1", Start: 7, Requests: [][]byte{{1, 2}, {3}}, Server: "ocs1.example", Via: "dra.example", Failover: true, Since: since}
	second := gy.Kept{Session: "b;1", Start: 7, Requests: [][]byte{{4}}, Since: since}
	if err := k.Keep(t.Context(), []gy.Kept{first, second, {Session: "c;1", Start: 8, Requests: [][]byte{{5}}, Since: since}}); err != nil {
		t.Fatal(err)
	}
	second.Requests = [][]byte{{6, 6}} // a later state takes the place of the earlier one
	if err := k.Keep(t.Context(), []gy.Kept{second}); err != nil {
		t.Fatal(err)
	}
	again := open(t, pool, "vpn.example") // another process of the same client
	got := load(t, again, 8, "", 10)
	for i := range got {
		got[i].Since = got[i].Since.UTC()
	}
	if want := []gy.Kept{first, second}; !reflect.DeepEqual(got, want) {
		t.Errorf("kept %+v\nwant %+v", got, want)
	}
	if page := load(t, again, 8, "a;1", 1); len(page) != 1 || page[0].Session != "b;1" {
		t.Errorf("behind a;1 there is %+v, want b;1", page)
	}
	if own := load(t, again, 7, "", 10); len(own) != 0 {
		t.Errorf("a process loads what it keeps itself: %+v", own)
	}
	if other := load(t, open(t, pool, "other.example"), 8, "", 10); len(other) != 0 {
		t.Errorf("another client sees %+v", other)
	}
	if err := again.Drop(t.Context(), []string{"a;1", "unknown"}); err != nil {
		t.Fatal(err)
	}
	if left := load(t, again, 8, "", 10); len(left) != 1 || left[0].Session != "b;1" {
		t.Errorf("after the drop there is %+v", left)
	}
}
