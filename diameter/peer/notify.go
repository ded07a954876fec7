package peer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gygate/diameter"
)

// Do sends one request of ours (RAR, ASR) to the node Stay over an accepted
// connection and returns its answer. ctx bounds the wait.
//
// The way is the direct connection of Stay, else the relay Via, else any other
// peer that advertised the relay application; the peer Avoid is taken
// last. Only connections that the watchdog is content with and that are not being
// taken down count. The request is sent once; with Failover it goes the next way
// when it was refused with 3002, 3004, 3005 or 3006 (T clear), or when the peer
// fell silent or was lost (T set), under one End-to-End Identifier.
//
// The errors are those of Client.Do; beside ErrNoAnswer, Answer.From is the last
// way taken.
func (s *Server) Do(ctx context.Context, r Request) (Answer, error) {
	a := newAttempt(r, s.endToEnd)
	for ways := s.ways(r); ctx.Err() == nil && a.on(ctx, first(ways)); ways = ways[1:] {
	}
	switch err := ctx.Err(); {
	case !errors.Is(a.err, ErrNoPeer):
	case err != nil:
		a.err = fmt.Errorf("%w: %w", ErrNoPeer, err)
	default:
		s.noWay.warn(s.log, scalar(r.Stay), "diameter request without a way: neither its node nor a relay is connected", "peer", scalar(r.Stay))
	}
	return a.answer, a.err
}

// ways lists the connections the request may take, the best one first.
func (s *Server) ways(r Request) []*conn {
	ranks := map[*conn]rank{}
	for _, c := range s.connections() {
		if class, ok := wayTo(r, c); ok && c.pending.takes() {
			ranks[c] = rank{avoided(r, c), class, c.pending.len()}
		}
	}
	ways := make([]*conn, 0, len(ranks))
	for c := range ranks {
		ways = append(ways, c)
	}
	slices.SortFunc(ways, func(a, b *conn) int { return ranks[a].compare(ranks[b]) })
	return ways
}

// wayTo says how good a way to the request's node a connection is: 0 the node
// itself, 1 the relay it was met behind, 2 another relay. Any other connection is
// none: its peer serves itself alone.
func wayTo(r Request, c *conn) (class int, ok bool) {
	switch {
	case diameter.SameIdentity(r.Stay, c.remote.Host):
		return 0, true
	case r.Via != "" && diameter.SameIdentity(r.Via, c.remote.Host):
		return 1, true
	case c.remote.Relay:
		return 2, true
	}
	return 0, false
}

func first(ways []*conn) *conn {
	if len(ways) == 0 {
		return nil
	}
	return ways[0]
}

// Reachable lists the Origin-Hosts, in lower case, of the peers that Do would
// send to directly; relays says that at least one of them is a relay, so that
// nodes behind it may be reachable too.
func (s *Server) Reachable() (hosts []string, relays bool) {
	for _, c := range s.connections() {
		if c.pending.takes() {
			hosts, relays = append(hosts, foldIdentity(c.remote.Host)), relays || c.remote.Relay
		}
	}
	slices.Sort(hosts)
	return hosts, relays
}
