package repeats

import (
	"testing"

	"github.com/jackc/pgx/v5"
)

// journalSums is what each request has moved by the journal. A row that stands
// twice would show as twice the sum.
const journalSums = `
select session, type, number, sum(debited)::bigint, sum(refunded)::bigint, sum(reserved)::bigint, sum(credited)::bigint,
       sum(overrun)::bigint
from journal where session is not null
group by session, type, number`

// compareJournal holds the journal against what was answered: each request moved
// once what its answer says, and nothing else moved anything.
func (r *run) compareJournal(t *testing.T) {
	t.Helper()
	booked := r.cluster.journal(t)
	wrong := 0
	for key, want := range r.expected {
		if got := booked[key]; got != want {
			t.Errorf("CCR-%s #%d of session %x: answered: %v; journal: %v", key.letter(), key.number, key.session, want, got)
			wrong++
		}
		delete(booked, key)
		if wrong > 20 {
			t.FailNow()
		}
	}
	for key, got := range booked {
		t.Errorf("CCR-%s #%d of session %x moved something and was never answered: %v", key.letter(), key.number, key.session, got)
	}
}

func (c *cluster) journal(t *testing.T) map[key]movement {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	rows, err := conn.Query(t.Context(), journalSums)
	if err != nil {
		t.Fatal(err)
	}
	all := map[key]movement{}
	for rows.Next() {
		var k key
		var m movement
		var overrun int64
		if err := rows.Scan(&k.session, &k.kind, &k.number, &m.debited, &m.refunded, &m.reserved, &m.credited, &overrun); err != nil {
			t.Fatal(err)
		}
		if overrun != 0 {
			t.Errorf("an overrun of %d, though nobody used more than was granted", overrun)
		}
		all[k] = m
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
