package gy

import (
	"sync"
	"time"

	"gygate/diameter"
)

const (
	// askedLife is how long a duplicate is recognised: End-to-End Identifiers
	// stay unique for four minutes (RFC 6733 §3).
	askedLife = 4 * time.Minute
	// askedMax bounds what is remembered, some 100 octets each: a thousand
	// questions in four minutes are a mass top-up already. The oldest one makes
	// room; its duplicate would be asked of the call anew, which is harmless.
	askedMax = 4096
)

// questionKey recognises a duplicate (conformance C-079).
type questionKey struct {
	host     string // Origin-Host, folded
	endToEnd uint32
	command  uint32
}

// questions remembers what was asked and answered. The zero value is ready.
type questions struct {
	mu    sync.Mutex
	known map[questionKey]*asked
	order []*asked // by age
}

// asked is one question: its answer, or who waits for it.
type asked struct {
	key     questionKey
	at      time.Time
	code    diameter.ResultCode // 0: not answered yet
	waiting []func(diameter.ResultCode)
}

// enter takes a question. The first of its key is to be answered through settle;
// a duplicate gets the same code, at once or when the first has it.
func (q *questions) enter(key questionKey, reply func(diameter.ResultCode)) (first bool, settle func(diameter.ResultCode)) {
	q.mu.Lock()
	if a := q.known[key]; a != nil && time.Since(a.at) < askedLife {
		code := a.code
		if code == 0 {
			a.waiting = append(a.waiting, reply)
		}
		q.mu.Unlock()
		if code != 0 {
			reply(code)
		}
		return false, nil
	}
	defer q.mu.Unlock()
	q.makeRoom()
	if q.known == nil {
		q.known = make(map[questionKey]*asked)
	}
	a := &asked{key: key, at: time.Now(), waiting: []func(diameter.ResultCode){reply}}
	q.known[key] = a
	q.order = append(q.order, a)
	return true, func(code diameter.ResultCode) { q.settle(a, code) }
}

// settle answers everybody who waits; only the first call counts.
func (q *questions) settle(a *asked, code diameter.ResultCode) {
	q.mu.Lock()
	waiting := a.waiting
	if a.code == 0 {
		a.code = code
	}
	a.waiting = nil
	q.mu.Unlock()
	for _, reply := range waiting {
		reply(code)
	}
}

// makeRoom forgets what is too old, and the oldest when there is no room.
func (q *questions) makeRoom() {
	for len(q.order) > 0 && (len(q.order) >= askedMax || time.Since(q.order[0].at) >= askedLife) {
		oldest := q.order[0]
		q.order[0] = nil
		q.order = q.order[1:]
		if q.known[oldest.key] == oldest {
			delete(q.known, oldest.key)
		}
	}
}
