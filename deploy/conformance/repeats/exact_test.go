package repeats

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"gygate/deploy/interop/harness"
	"gygate/diameter/gy"
	"gygate/diameter/peer"
	"gygate/ocs"
)

const payer = "46855500001"

// startCluster is a cluster with one account that runs.
func startCluster(t *testing.T) *cluster {
	c := newCluster(t, payer+",10.00,978\n")
	for _, n := range c.nodes {
		c.start(t, n)
	}
	return c
}

// ask sends a request that must be answered, to the first node.
func (c *cluster) ask(t *testing.T, ccr gy.CCR) *request {
	t.Helper()
	r := newRequest(ccr)
	got, err := c.send(t.Context(), r, sending{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.first(c, got, 0); err != nil {
		t.Fatal(err)
	}
	return r
}

// voice is a request of a call that uses what it was granted, a second at a time.
func voice(id string, kind ocs.StepType, number uint32) gy.CCR {
	c := envelope(id, clientHost(0), payer, kind, number)
	c.ServiceContextID = "32260@3gpp.org"
	s := gy.Service{RatingGroup: gy.Some(uint32(100))}
	if kind != ocs.Terminate {
		s.Requested = gy.Some(gy.ServiceUnits{Time: gy.Some(uint32(60))})
	}
	if kind != ocs.Initial {
		s.Used = []gy.UsedUnits{{ServiceUnits: gy.ServiceUnits{Time: gy.Some(uint32(40))}}}
	}
	c.Services, c.MultipleServices = []gy.Service{s}, gy.Some(uint32(1))
	return c
}

// Copies that come while the original waits for the account: one to the same node
// and one to the other, for a session (B-021) and for an event (B-025).
func TestCopiesWhileTheOriginalIsUnderWay(t *testing.T) {
	c := startCluster(t)
	t.Run("CCR-U", func(t *testing.T) {
		t.Attr("proves", "B-021")
		id := clientHost(0) + ";copies;1"
		c.ask(t, voice(id, ocs.Initial, 0))
		want := movement{debited: 40 * harness.PerSecond, refunded: 20 * harness.PerSecond, reserved: 60 * harness.PerSecond}
		c.copies(t, newRequest(voice(id, ocs.Update, 1)), want)
	})
	t.Run("CCR-E", func(t *testing.T) {
		t.Attr("proves", "B-025")
		e := event{id: clientHost(0) + ";copies;2", host: clientHost(0), payer: payer, action: ocs.DirectDebit, count: 2}
		c.copies(t, newRequest(e.next(rand.New(rand.NewPCG(seed, 0)))), movement{debited: 2 * harness.PerEvent})
	})
	c.verify(t)
}

// copies holds the account, lets the request and two copies arrive, gives the
// account free, and wants three equal answers and one movement.
func (c *cluster) copies(t *testing.T, r *request, want movement) {
	t.Helper()
	account := c.lockAccount(t)
	sendings := []sending{{node: 0, connection: 0}, {node: 0, connection: 1, repeat: true}, {node: 1, connection: 0, repeat: true}}
	answers := make([]peer.Answer, len(sendings))
	var all errgroup.Group
	for i, s := range sendings {
		all.Go(func() (err error) {
			answers[i], err = c.send(t.Context(), r, s)
			return err
		})
		if i != 1 { // the second one waits behind the first, in the same lane
			account.awaitWaiting(t, max(1, i))
		}
	}
	account.release(t)
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := r.first(c, answers[0], 0); err != nil {
		t.Fatal(err)
	}
	for i, s := range sendings[1:] {
		if err := r.again(c, answers[i+1], s.node); err != nil {
			t.Error(err)
		}
	}
	if got := c.journal(t)[r.key()]; got != want {
		t.Errorf("moved: %v, want %v", got, want)
	}
}

// lock is a transaction that holds the account's row, as another writer would.
type lock struct {
	tx      pgx.Tx
	watcher *pgx.Conn
}

func (c *cluster) lockAccount(t *testing.T) *lock {
	t.Helper()
	var conns [2]*pgx.Conn
	for i := range conns {
		conn, err := pgx.Connect(t.Context(), c.dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close(t.Context()) }) //nolint:usetesting // the context of the cleanup does not matter to Close
		conns[i] = conn
	}
	tx, err := conns[0].Begin(t.Context())
	if err == nil {
		_, err = tx.Exec(t.Context(), "with a as (select from account for no key update) select (select count(*) from a), b.id from balance b for no key update of b")
	}
	if err != nil {
		t.Fatal(err)
	}
	return &lock{tx, conns[1]}
}

// awaitWaiting returns when so many lanes wait for the account.
func (l *lock) awaitWaiting(t *testing.T, lanes int) {
	t.Helper()
	const waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
	for tick := time.Tick(5 * time.Millisecond); ; {
		var n int
		if err := l.watcher.QueryRow(t.Context(), waiting).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n >= lanes {
			return
		}
		select {
		case <-tick:
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}

func (l *lock) release(t *testing.T) {
	if err := l.tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A node dies at the commit of CCR-U #3, right before it or right after it, in
// any case without an answer. The repeat goes to the other node, and the session
// on there.
func TestNodeDiesAtTheCommit(t *testing.T) {
	for _, at := range []string{"before-commit", "after-commit"} {
		t.Run(at, func(t *testing.T) {
			if at == "after-commit" {
				t.Attr("proves", "B-022")
			}
			c := newCluster(t, payer+",10.00,978\n")
			dying, living := c.nodes[0], c.nodes[1]
			dying.Bin = crashing
			c.start(t, dying, fmt.Sprintf("GYGATE_CRASH_AT=%s:4", at)) // I, U, U and this one
			c.start(t, living)
			id := clientHost(0) + ";dies;1"
			c.ask(t, voice(id, ocs.Initial, 0))
			c.ask(t, voice(id, ocs.Update, 1))
			c.ask(t, voice(id, ocs.Update, 2))
			r := newRequest(voice(id, ocs.Update, 3))
			lost, err := c.send(t.Context(), r, sending{})
			if !errors.Is(err, peer.ErrNoAnswer) {
				t.Fatalf("the dying node answered: %v %v", lost.Message, err)
			}
			if err := dying.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			booked := c.journal(t)[r.key()]
			if committed := at == "after-commit"; committed != (booked != movement{}) {
				t.Fatalf("the dead node has moved: %v", booked)
			}
			c.repeatThere(t, r, lost.EndToEnd)
			c.verify(t)
		})
	}
}

// repeatThere repeats the lost request at the other node, twice, and ends the
// session.
func (c *cluster) repeatThere(t *testing.T, r *request, endToEnd uint32) {
	t.Helper()
	there := sending{node: 1, endToEnd: endToEnd, repeat: true}
	got, err := c.send(t.Context(), r, there)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.first(c, got, 1); err != nil {
		t.Fatal(err)
	}
	if granted := r.answer.Services[0].Granted.Value.Time.Value; granted != 60 {
		t.Errorf("granted %d s", granted)
	}
	if got, err = c.send(t.Context(), r, there); err != nil {
		t.Fatal(err)
	}
	if err := r.again(c, got, 1); err != nil {
		t.Error(err)
	}
	last := newRequest(voice(r.ccr.SessionID, ocs.Terminate, 4))
	if _, err := c.send(t.Context(), last, sending{node: 1}); err != nil {
		t.Fatal(err)
	}
	booked := c.journal(t)
	want := movement{debited: 40 * harness.PerSecond, refunded: 20 * harness.PerSecond, reserved: 60 * harness.PerSecond}
	if booked[r.key()] != want {
		t.Errorf("CCR-U #3 has moved: %v, want %v", booked[r.key()], want)
	}
	if want.reserved = 0; booked[last.key()] != want {
		t.Errorf("CCR-T has moved: %v, want %v", booked[last.key()], want)
	}
}
