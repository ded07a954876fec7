package vpnlogic

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	// RecordsMaxDefault is how many records may wait for the database: ten
	// minutes of an outage at 20 calls a second. When it is full, finished
	// calls wait in their place until CallsMax refuses new ones, so that no
	// record of a served call is lost.
	RecordsMaxDefault = 12_000
	// recordWriters is how many writes run at a time, recordBatch how many records
	// one of them takes: what waits, and never a timer.
	recordWriters = 2
	recordBatch   = 256
	// Pauses between the tries to write a record.
	recordPauseMin = 100 * time.Millisecond
	recordPauseMax = 5 * time.Second
)

// ErrRecordRefused says that a Recorder will never take this record: trying
// again is no use. A Recorder wraps it.
var ErrRecordRefused = errors.New("call record refused")

// recordWriter writes call records in the background and tries again until
// they are written.
type recordWriter struct {
	recorder Recorder
	logger   *slog.Logger
	metrics  *metrics
	queue    chan CallRecord
	ctx      context.Context // ends when nobody waits for records any more
	cancel   context.CancelFunc
	writers  sync.WaitGroup
	closed   sync.Once
	mu       sync.RWMutex // a record is never sent on the closed queue
	stopped  bool
}

func newRecordWriter(r Recorder, queueMax int, logger *slog.Logger, m *metrics) *recordWriter {
	ctx, cancel := context.WithCancel(context.Background())
	w := &recordWriter{recorder: r, logger: logger, metrics: m, queue: make(chan CallRecord, queueMax), ctx: ctx, cancel: cancel}
	if r == nil {
		return w
	}
	for range recordWriters {
		w.writers.Go(w.write)
	}
	return w
}

// keep queues the record of a served call; it waits while the queue is full.
func (w *recordWriter) keep(r CallRecord) {
	if w.recorder == nil {
		return
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.stopped {
		w.lose(r, errors.New("the record came after the shutdown"))
		return
	}
	select {
	case w.queue <- r:
	case <-w.ctx.Done():
		w.lose(r, w.ctx.Err())
	}
}

// offer queues the record of an attempt that was refused at once, if there is
// room.
func (w *recordWriter) offer(r CallRecord) {
	if w.recorder == nil {
		return
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.stopped {
		w.lose(r, errors.New("the record came after the shutdown"))
		return
	}
	select {
	case w.queue <- r:
	default:
		w.lose(r, errors.New("the record queue is full"))
	}
}

func (w *recordWriter) write() {
	batch := make([]CallRecord, 0, recordBatch)
	for r := range w.queue {
		batch = w.drain(append(batch[:0], r))
		w.store(batch)
		clear(batch) // what is written is not held until the next batch is as long
	}
}

// drain takes what waits besides, without waiting itself.
func (w *recordWriter) drain(batch []CallRecord) []CallRecord {
	for len(batch) < recordBatch {
		select {
		case r, ok := <-w.queue:
			if !ok {
				return batch
			}
			batch = append(batch, r)
		default:
			return batch
		}
	}
	return batch
}

// store tries until the records are written, refused for good, or given up. Of a
// batch that is refused each is tried alone, so that a bad one spoils no other.
func (w *recordWriter) store(batch []CallRecord) {
	for pause := recordPauseMin; ; pause = min(2*pause, recordPauseMax) {
		err := w.try(batch)
		switch {
		case err == nil:
			return
		case w.ctx.Err() != nil, errors.Is(err, ErrRecordRefused) && len(batch) == 1:
			for _, r := range batch {
				w.lose(r, err)
			}
			return
		case errors.Is(err, ErrRecordRefused):
			for i := range batch {
				w.store(batch[i : i+1])
			}
			return
		}
		w.metrics.recordRetried(w.ctx)
		w.logger.Warn("call records not written, trying again", slog.Int("records", len(batch)), slog.String("call_id", batch[0].CallID), slog.String("trace_id", batch[0].TraceID), slog.Any("err", err))
		select {
		case <-time.After(pause):
		case <-w.ctx.Done():
		}
	}
}

func (w *recordWriter) try(batch []CallRecord) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: recorder: %v", ErrRecordRefused, p)
		}
	}()
	return w.recorder.Record(w.ctx, batch...)
}

// lose tells of a record that will never be written, with all of it that a log
// may show.
func (w *recordWriter) lose(r CallRecord, err error) {
	w.metrics.recordLost(context.Background())
	w.logger.Error("call record lost",
		slog.String("call_id", r.CallID), slog.String("session", r.Session),
		slog.String("group", r.Group), slog.String("calling", Mask(r.Calling)), slog.String("called", Mask(r.Called)),
		slog.Time("setup_at", r.SetupAt), slog.Duration("talked", r.Talked), slog.Duration("reported", r.Reported),
		slog.String("reason", r.Reason), slog.String("trace_id", r.TraceID), slog.Any("err", err))
}

// close writes what waits and ends the writers; at the end of ctx it gives up.
func (w *recordWriter) close(ctx context.Context) error {
	w.closed.Do(func() {
		stop := context.AfterFunc(ctx, w.cancel) // frees a keep that waits under the lock
		defer stop()
		w.mu.Lock()
		w.stopped = true
		close(w.queue)
		w.mu.Unlock()
	})
	defer w.cancel()
	done := make(chan struct{})
	go func() { w.writers.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		waiting := len(w.queue)
		w.cancel()
		<-done
		return fmt.Errorf("vpnlogic: call records were not written in time, %d of them still waiting: %w", waiting, ctx.Err())
	}
}
