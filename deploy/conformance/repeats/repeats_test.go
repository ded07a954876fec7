package repeats

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"gygate/diameter/peer"
	"gygate/ocs"
)

// How much is repeated. The small size is for every run of the tests.
const (
	seed = 2026

	repeatsSmall, killsSmall = 3_000, 3
	repeatsFull, killsFull   = 100_000, 50
	interruptedFull          = 1_000 // requests that the kills of a full run catch under way (B-220); more kills follow if they do not

	// runMax ends a run in which some request is never answered; a full one takes
	// half a minute on two cores.
	runMax = 5 * time.Minute

	workers = 128 // conversations at a time
	pastMax = 256 // requests a worker keeps for repeating; a random one makes room
)

// full reports whether this is the run that counts.
func full() bool { return os.Getenv("GYGATE_CONFORMANCE") == "1" }

// A repeat is answered like the first sending, whatever has happened since, and
// moves no money: see the package comment. That is shown by the answers, octet by
// octet, and at the end by the journal, row by row.
func TestRepeats(t *testing.T) {
	for _, row := range []string{"B-020", "A-075", "A-076", "B-027", "D-060"} {
		t.Attr("proves", row)
	}
	total, kills := repeatsSmall, killsSmall
	if full() {
		total, kills = repeatsFull, killsFull
		t.Attr("proves", "B-220") // each request a kill catches has got to a point of its own
	}
	run := newRun(t, total)
	for _, n := range run.cluster.nodes {
		run.cluster.start(t, n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), runMax)
	defer cancel()
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return run.killing(ctx, kills) })
	for i := range workers {
		w := newWorker(run, i)
		all.Go(func() error { return w.work(ctx) })
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	run.report(t)
	run.compareJournal(t)
	run.cluster.verify(t)
}

// run is what the workers share.
type run struct {
	cluster *cluster
	payers  []string
	total   int64
	done    atomic.Int64  // repeats answered
	moved   chan struct{} // a hint that done has risen
	killed  chan struct{} // closed when the last kill is over
	kills   int           // to be read after that

	mu          sync.Mutex
	counts      map[class]int
	restarted   int              // repeats after the first answer's node was killed
	firsts      int              // requests answered at first
	firstWithT  int              // of them sent with the T bit at once
	twins       int              // of them sent to both nodes at the same time
	borrowed    int              // of them under the End-to-End Identifier of another
	interrupted int              // sendings a kill left without an answer
	expected    map[key]movement // of each request, by its first answer
}

// class is a kind of repeat.
type class struct {
	kind           ocs.StepType
	flag           bool // with T
	other          bool // to the other node than answered first
	sameIdentifier bool // End-to-End
}

func newRun(t *testing.T, total int) *run {
	r := &run{total: int64(total), moved: make(chan struct{}, 1), killed: make(chan struct{}),
		counts: map[class]int{}, expected: map[key]movement{}}
	var lines []string
	add := func(count int, balance string) {
		for range count {
			number := fmt.Sprintf("4685550%04d", len(r.payers))
			r.payers = append(r.payers, number)
			lines = append(lines, fmt.Sprintf("%s,%s,978\n", number, balance))
		}
	}
	add(10, "100000.00") // never run dry
	add(5, "20.00")      // run dry on the way
	add(1, "0")
	r.cluster = newCluster(t, lines...)
	r.payers = append(r.payers, "46855599999") // nobody knows it
	return r
}

// killing kills the nodes in turn, spread over the run.
func (r *run) killing(ctx context.Context, kills int) error {
	defer close(r.killed)
	for k := 0; k < kills || full() && r.caught() < interruptedFull; k++ {
		for r.done.Load() < min(r.total, r.total*int64(k+1)/int64(kills+1)) {
			select {
			case <-r.moved:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := r.cluster.restart(ctx, r.cluster.nodes[k%2]); err != nil {
			return err
		}
		r.kills++
	}
	return nil
}

// caught is how many requests the kills have left without an answer so far.
func (r *run) caught() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.interrupted
}

// finished: all is repeated, and every kill has had repeats after it.
func (r *run) finished() bool {
	select {
	case <-r.killed:
		return r.done.Load() >= r.total
	default:
		return false
	}
}

// worker holds one conversation after the other and repeats what it has said.
type worker struct {
	*run
	*rand.Rand
	index    int
	sessions int
	talk     conversation
	past     []*request
}

func newWorker(r *run, index int) *worker {
	return &worker{run: r, Rand: rand.New(rand.NewPCG(seed, uint64(index))), index: index}
}

func (w *worker) work(ctx context.Context) error {
	for !w.finished() {
		var err error
		if len(w.past) > 0 && w.IntN(4) > 0 {
			err = w.again(ctx)
		} else {
			err = w.onwards(ctx)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("seed %d, worker %d: %w", seed, w.index, err)
		}
	}
	return nil
}

// onwards sends the next request of the conversation until it is answered.
func (w *worker) onwards(ctx context.Context) error {
	if w.talk == nil || w.talk.over() {
		w.begin()
	}
	r := newRequest(w.talk.next(w.Rand))
	if err := w.first(ctx, r); err != nil {
		return err
	}
	moved := w.talk.take(r.answer)
	if len(w.past) < pastMax {
		w.past = append(w.past, r)
	} else {
		w.past[w.IntN(pastMax)] = r
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expected[r.key()] = moved
	w.firsts++
	return nil
}

func (w *worker) begin() {
	w.sessions++
	host := clientHost(w.IntN(connections))
	id := fmt.Sprintf("%s;%d;%d", host, w.index, w.sessions)
	payer := w.payers[w.IntN(len(w.payers))]
	if w.IntN(3) == 0 {
		w.talk = newEvent(w.Rand, id, host, payer)
	} else {
		w.talk = newSession(w.Rand, id, host, payer)
	}
}

// first sends a request that was never sent before: now and then with the T bit
// all the same, or under the End-to-End Identifier of another, or to both nodes
// at once. A kill may swallow the answer; then it is repeated until there is one.
func (w *worker) first(ctx context.Context, r *request) error {
	s := sending{node: w.IntN(2), connection: w.IntN(connections), repeat: w.IntN(8) == 0}
	if len(w.past) > 0 && w.IntN(8) == 0 {
		s.endToEnd = w.past[w.IntN(len(w.past))].endToEnd
	}
	twin := w.IntN(8) == 0
	w.mu.Lock()
	w.firstWithT += one(s.repeat)
	w.borrowed += one(s.endToEnd != 0)
	w.twins += one(twin)
	w.mu.Unlock()
	if twin {
		return w.both(ctx, r, s)
	}
	return w.until(ctx, r, s)
}

// until sends until an answer comes, after each failure to the other node.
func (w *worker) until(ctx context.Context, r *request, s sending) error {
	for {
		got, err := w.cluster.send(ctx, r, s)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil && !deferred(got.Message) && r.charging == nil:
			return r.first(w.cluster, got, s.node)
		case err == nil && !deferred(got.Message):
			return r.again(w.cluster, got, s.node)
		case errors.Is(err, peer.ErrNoAnswer):
			w.mu.Lock()
			w.interrupted++
			w.mu.Unlock()
			s.repeat = true // it may have been executed
		}
		s.node, s.endToEnd = 1-s.node, got.EndToEnd
		w.cluster.waitOpen(ctx, s)
	}
}

// both sends the request to both nodes at the same instant.
func (w *worker) both(ctx context.Context, r *request, s sending) error {
	copied, other := *r, s
	other.node, other.endToEnd = 1-s.node, 0
	var second errgroup.Group
	second.Go(func() error { return w.until(ctx, &copied, other) })
	if err := errors.Join(w.until(ctx, r, s), second.Wait()); err != nil {
		return err
	}
	if string(copied.charging) != string(r.charging) {
		return fmt.Errorf("CCR-%s #%d of %s to both nodes at once got two charging parts\n%x\n%x",
			letter(r.ccr.Type), r.ccr.Number, r.ccr.SessionID, r.charging, copied.charging)
	}
	return nil
}

// again repeats one of the past requests.
func (w *worker) again(ctx context.Context) error {
	r := w.past[w.IntN(len(w.past))]
	s := sending{node: w.IntN(2), connection: w.IntN(connections), repeat: w.IntN(2) == 0}
	same := w.IntN(2) == 0
	if same {
		s.endToEnd = r.endToEnd
	}
	got, err := w.cluster.send(ctx, r, s)
	if err != nil || deferred(got.Message) {
		return nil // the node is just being killed: such a repeat does not count
	}
	if err := r.again(w.cluster, got, s.node); err != nil {
		return err
	}
	w.mu.Lock()
	w.counts[class{r.ccr.Type, s.repeat, s.node != r.node, same}]++
	w.restarted += one(r.life != w.cluster.nodes[r.node].lives.Load())
	w.mu.Unlock()
	w.done.Add(1)
	select {
	case w.moved <- struct{}{}:
	default:
	}
	return nil
}

// report prints what was repeated, and fails when a kind of repeat is missing.
func (r *run) report(t *testing.T) {
	t.Logf("%d requests, of them %d first sent with T, %d under another's End-to-End, %d to both nodes at once",
		r.firsts, r.firstWithT, r.borrowed, r.twins)
	t.Logf("%d repeats, %d of them after kill -9 and restart of the node that had answered; %d kills left %d sendings without an answer",
		r.done.Load(), r.restarted, r.kills, r.interrupted)
	for _, kind := range []ocs.StepType{ocs.Initial, ocs.Update, ocs.Terminate, ocs.Event} {
		for i := range 8 {
			c := class{kind, i&4 > 0, i&2 > 0, i&1 > 0}
			t.Logf("CCR-%s T=%d other node=%-5v same End-to-End=%-5v %d", letter(kind), one(c.flag), c.other, c.sameIdentifier, r.counts[c])
			if r.counts[c] == 0 {
				t.Errorf("no repeat of the kind %+v", c)
			}
		}
	}
	if r.restarted == 0 || r.firstWithT == 0 || r.borrowed == 0 || r.twins == 0 || r.interrupted == 0 {
		t.Error("one of the situations has not occurred")
	}
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}
