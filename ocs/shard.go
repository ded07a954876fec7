package ocs

import "sync"

// laneAloneMax is up to how many waiting steps one lane carries out the steps of all
// shards. A transaction costs the database as much as some fifteen steps of it, so
// with few about, two small batches side by side are slower than one; with 64 in
// flight two lanes reached a fifth more than one.
const laneAloneMax = 16

// alone reports whether the first lane serves all shards.
func (e *Engine) alone() bool { return e.waiting.Load() <= laneAloneMax }

// shard is a fixed part of the buckets and the steps that wait for it. At any time
// one lane at most carries out its steps, so that those of one session keep their
// order.
type shard struct {
	queue chan *job
	busy  sync.Mutex // held by the lane that carries out the steps
}

// drain adds what waits in a queue, up to limit jobs in all.
func drain(queue <-chan *job, batch []*job, limit int) []*job {
	for len(batch) < limit {
		select {
		case j, ok := <-queue:
			if !ok {
				return batch
			}
			batch = append(batch, j)
		default:
			return batch
		}
	}
	return batch
}

// dispatch hands a resolved job to its shard; false when the queue is full. A shard
// owns whole buckets, so that a batch stays with one part of the database.
func (e *Engine) dispatch(j *job) bool {
	owner := j.payer.Owner(len(e.shards))
	if j.payer == (AccountKey{}) {
		owner = int(j.key.Session[0]) % len(e.shards)
	}
	select {
	case e.shards[owner].queue <- j:
	default:
		return false
	}
	e.waiting.Add(1)
	for _, l := range []*lane{e.lanes[0], e.lanes[owner]} {
		if l.needed(int(l.enough.Load())) {
			l.wake()
		}
	}
	return true
}

// collect gathers a batch for a lane and takes the shards that it comes from: the
// lane's own, and for the first lane, as long as few steps wait, those of lanes that
// are idle.
func (l *lane) collect(batch []*job) []*job {
	e := l.engine
	l.taken = append(l.taken[:0], e.shards[l.index])
	l.taken[0].busy.Lock()
	alone := l.index == 0 && e.alone()
	batch = drain(l.taken[0].queue, batch, e.config.BatchMax)
	for i, s := range e.shards {
		switch {
		case l.index != 0 || i == 0 || len(s.queue) == 0:
		case !alone:
			e.lanes[i].wake()
		case s.busy.TryLock():
			l.taken = append(l.taken, s)
			batch = drain(s.queue, batch, e.config.BatchMax)
		}
	}
	e.waiting.Add(-int64(len(batch)))
	return batch
}

// release gives the shards back. What a lane leaves in its own is the first one's.
func (l *lane) release() {
	for _, s := range l.taken {
		s.busy.Unlock()
	}
	if l.index != 0 && len(l.taken[0].queue) > 0 {
		l.engine.lanes[0].wake()
	}
}

// wake has a lane look at what waits. It never blocks.
func (l *lane) wake() {
	select {
	case l.woken <- struct{}{}:
	default: // it will look anyway
	}
}
