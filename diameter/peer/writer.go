package peer

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"time"
)

var (
	errQueueFull = errors.New("the peer does not read: write queue is full")
	errClosed    = errors.New("connection is closed")
)

// bufferKeepMax is the largest buffer a writer keeps for its next batch.
const bufferKeepMax = 1 << 20

// writer is the write side of one connection. Frames are copied behind one
// another; one goroutine writes out whatever has gathered, so that many small
// answers share one system call and nobody ever waits for a slow peer. A transport
// that preserves messages gets each frame by itself.
type writer struct {
	nc      net.Conn
	single  bool          // one frame for each write
	timeout time.Duration // of one write
	max     int           // frames waiting

	mu       sync.Mutex
	cond     sync.Cond
	buf      []byte
	frames   int
	finished bool // nothing is added any more; what is there goes out
	closed   bool // nothing goes out any more
}

func newWriter(nc net.Conn, timeout time.Duration, queueMax int) *writer {
	w := &writer{nc: nc, single: preservesMessages(nc), timeout: timeout, max: queueMax}
	w.cond.L = &w.mu
	return w
}

// put queues a copy of frame. After errQueueFull the connection has to be
// closed: a peer that does not read its answers must not cost memory.
func (w *writer) put(frame []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed || w.finished:
		return errClosed
	case w.frames >= w.max || len(w.buf)+len(frame) > queueOctetsMax:
		return errQueueFull
	}
	w.buf = append(w.buf, frame...)
	if w.frames++; w.frames == 1 {
		w.cond.Signal() // with more than one run is awake already
	}
	return nil
}

// run writes until the writer is closed, or finished and empty. The error is
// that of the failed write.
func (w *writer) run() error {
	var batch []byte
	for {
		batch = w.next(batch)
		if batch == nil {
			return nil
		}
		if err := w.write(batch); err != nil {
			return err
		}
	}
}

func (w *writer) write(batch []byte) error {
	for now := batch; len(now) > 0; {
		var later []byte
		if w.single {
			now, later = firstMessage(now)
		}
		if err := w.nc.SetWriteDeadline(time.Now().Add(w.timeout)); err != nil {
			return err
		}
		if _, err := w.nc.Write(now); err != nil {
			return err
		}
		now = later
	}
	return nil
}

// next waits for frames and takes all of them, leaving spare for the ones to
// come; nil when there will be none.
func (w *writer) next(spare []byte) []byte {
	if cap(spare) > bufferKeepMax {
		spare = nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.frames == 0 && !w.finished && !w.closed {
		w.cond.Wait()
		// Whoever else is about to put a frame goes first: fewer, larger
		// writes under load (a sixth less time per round trip), and no delay
		// without it.
		w.mu.Unlock()
		runtime.Gosched()
		w.mu.Lock()
	}
	if w.closed || w.frames == 0 {
		return nil
	}
	batch := w.buf
	w.buf, w.frames = spare[:0], 0
	return batch
}

// finish lets run end once everything queued is written.
func (w *writer) finish() { w.end(&w.finished) }

// close lets run end at once.
func (w *writer) close() { w.end(&w.closed) }

func (w *writer) end(how *bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*how = true
	w.cond.Broadcast()
}

// depth returns how many frames wait.
func (w *writer) depth() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.frames
}
