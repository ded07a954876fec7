package gy

import (
	"sync"
	"sync/atomic"
	"time"

	"gygate/diameter"
	"gygate/ocs"
	"gygate/vpnlogic"
)

const (
	// RatingBlockDefault is how long a request like one that could not be rated
	// is not sent again (RFC 8506 §4.1.3 and §9.2, conformance C-034).
	RatingBlockDefault = 10 * time.Minute
	// ratingBlocksMax bounds the list, some 100 octets each. When it is full
	// nothing more is blocked: the charging system is asked again, no more.
	ratingBlocksMax = 4096
)

// unrated is what a request that cannot be rated has in common with others like
// it. A part that had nothing to do with the failure is "".
type unrated struct {
	group  uint32
	payer  string
	called string
}

// ratingBlock remembers first interrogations that were answered with
// DIAMETER_RATING_FAILED. Only those are held back: what runs is always reported.
type ratingBlock struct {
	life time.Duration // negative: nothing is held back, only told once

	any   atomic.Bool // something is held back: all else need not look
	mu    sync.Mutex
	until map[unrated]time.Time
}

// holds reports whether a request like this one could not be rated lately.
func (b *ratingBlock) holds(ccr *CCR) bool {
	if b.life < 0 || !b.any.Load() || ccr.Type != ocs.Initial {
		return false
	}
	like := likeness(ccr)
	b.mu.Lock()
	defer b.mu.Unlock()
	held := b.fresh(like) || b.fresh(unrated{group: like.group})
	b.any.Store(len(b.until) > 0)
	return held
}

// fresh is called with the lock held.
func (b *ratingBlock) fresh(like unrated) bool {
	until, ok := b.until[like]
	if ok && !time.Now().Before(until) {
		delete(b.until, like)
		return false
	}
	return ok
}

// note remembers a failed rating. It reports whether that is news, so that an
// operator is told once.
func (b *ratingBlock) note(ccr *CCR, cca *CCA) bool {
	like := likeness(ccr)
	if wholeGroup(cca) {
		like = unrated{group: like.group}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fresh(like) || len(b.until) >= ratingBlocksMax && !b.makeRoom() {
		return false
	}
	if b.until == nil {
		b.until = make(map[unrated]time.Time)
	}
	b.until[like] = time.Now().Add(b.life.Abs())
	b.any.Store(true)
	return true
}

// makeRoom forgets what is over; it is called with the lock held.
func (b *ratingBlock) makeRoom() bool {
	for like := range b.until {
		b.fresh(like)
	}
	return len(b.until) < ratingBlocksMax
}

// forget lets everything be asked again.
func (b *ratingBlock) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.until)
	b.any.Store(false)
}

// RatingChanged tells the client that its charging system has other prices or
// services than before: what could not be rated is asked for again at once.
func (c *Client) RatingChanged() { c.unrated.forget() }

func likeness(ccr *CCR) unrated {
	like := unrated{group: wanted(ccr).RatingGroup.Value}
	if len(ccr.Payer) > 0 {
		like.payer = ccr.Payer[0].Data
	}
	if ccr.Call.IMS != nil {
		like.called = ccr.Call.IMS.CalledParty
	}
	return like
}

// wholeGroup reports whether Failed-AVP blames the service itself. Otherwise it
// may be the number or the payer, and other calls of the group must not suffer.
func wholeGroup(cca *CCA) bool {
	for _, raw := range cca.Failed {
		for a := range diameter.Walk(diameter.AppendRaw(nil, raw)) {
			if a.Is(diameter.ServiceContextID) || a.Is(diameter.RatingGroup) {
				return true
			}
			if _, named := a.Find(diameter.RatingGroup); named && a.Is(diameter.MultipleServicesCreditControl) {
				return true
			}
		}
	}
	return false
}

// blocked is the answer to a request that is held back: the one its like got.
func (c *Client) blocked() vpnlogic.ChargeAnswer {
	return vpnlogic.ChargeAnswer{
		Result: vpnlogic.ChargeFailed, Code: uint32(diameter.RatingFailed),
		Reason: reasonRatingBlocked, OnFailure: c.config.FailureHandling,
	}
}
