package peer

import (
	"context"
	"errors"
	"slices"

	"gygate/diameter"
)

// attempt is one Do on its way through the peers.
type attempt struct {
	request Request
	silent  bool // some peer got the request and did not answer
	answer  Answer
	err     error // what Do returns if there is no next peer
}

// newAttempt prepares a Do; end draws its End-to-End Identifier unless it repeats
// one.
func newAttempt(r Request, end *endToEnd) attempt {
	if r.EndToEnd == 0 {
		r.EndToEnd = end.next()
	}
	return attempt{request: r, answer: Answer{EndToEnd: r.EndToEnd}, err: ErrNoPeer}
}

// on tries one connection, nil when none is left; true when another may be tried.
func (a *attempt) on(ctx context.Context, conn *conn) bool {
	if conn == nil {
		return false
	}
	m, err := conn.exchange(ctx, a.request)
	switch {
	case err == nil:
		return a.answered(conn, m)
	case errors.Is(err, ErrNoAnswer):
		a.silent, a.err, a.answer.From = true, err, conn.remote
		a.request.Retransmission = true
		return a.request.Failover
	case errors.Is(err, ErrPendingFull) && !a.silent && a.answer.Message.Raw == nil:
		a.err = err
	}
	return true
}

func (a *attempt) answered(conn *conn, m diameter.Message) bool {
	movable := a.request.Stay == "" || a.request.Failover
	if elsewhere(m.ResultCode()) && movable {
		if !a.silent {
			a.take(conn, m)
		}
		return true
	}
	a.take(conn, m)
	return false
}

func (a *attempt) take(conn *conn, m diameter.Message) {
	a.answer.Message, a.answer.From, a.err = m, conn.remote, nil
	a.answer.Fault = conn.dict.Validate(m, conn.remote.Tolerate)
}

// elsewhere reports whether the code asks for another peer. A redirect counts as
// one: redirects are not followed.
func elsewhere(code diameter.ResultCode) bool {
	switch code {
	case diameter.UnableToDeliver, diameter.TooBusy, diameter.LoopDetected, diameter.RedirectIndication:
		return true
	}
	return false
}

// rank orders the ways a request may take: the smaller one is better.
type rank [4]int

func (r rank) compare(with rank) int { return slices.Compare(r[:], with[:]) }

// avoided is a way's first rank: 1 for the peer that the request had better not
// go through.
func avoided(r Request, conn *conn) int {
	if r.Avoid != "" && diameter.SameIdentity(r.Avoid, conn.remote.Host) {
		return 1
	}
	return 0
}
