package gy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"gygate/diameter"
	"gygate/ocs"
)

// Keeper is the port to the non-volatile store of a credit-control client. What
// it keeps belongs to one client identity. Implementations are safe for
// concurrent use.
type Keeper interface {
	// Keep stores requests, each in the place of what was kept of its session.
	Keep(ctx context.Context, all []Kept) error
	// Drop forgets sessions; those that are not kept are no error.
	Drop(ctx context.Context, sessions []string) error
	// Load returns up to limit of what processes before start kept, in the order
	// of the Session-Ids, from behind after ("": from the first one).
	Load(ctx context.Context, start uint32, after string, limit int) ([]Kept, error)
}

// Kept is what would have to be sent if the process ended now, of one session or
// event.
type Kept struct {
	Session string
	Start   uint32 // Origin-State-Id of the process that keeps it
	// Requests are encoded CCRs without Destination-Host, to be sent in this
	// order, each when the one before was answered. A header holds the End-to-End
	// Identifier and the T bit of the next sending.
	Requests [][]byte
	Server   string    // Origin-Host of the server that holds the session, "" any
	Via      string    // the peer through which it answered
	Failover bool      // the session may move to another server
	Since    time.Time // of the first sending
}

// kind is the CC-Request-Type of what is to be sent last.
func (k *Kept) kind() ocs.StepType {
	m, err := diameter.ParseMessage(k.Requests[len(k.Requests)-1])
	if err != nil {
		return 0
	}
	kind, _ := m.Find(diameter.CCRequestType)
	return ocs.StepType(kind.Uint32())
}

// check finds what a damaged store may hold.
func (k *Kept) check() error {
	if len(k.Requests) == 0 {
		return errors.New("nothing to send")
	}
	for _, raw := range k.Requests {
		m, err := diameter.ParseMessage(raw)
		if err != nil {
			return fmt.Errorf("kept request: %w", err)
		}
		number, ok := m.Find(diameter.CCRequestNumber)
		if m.Command != diameter.CmdCreditControl || !m.Request() || !ok || len(number.Data) != 4 {
			return errors.New("kept request: no Credit-Control-Request")
		}
	}
	return nil
}

// session is what the client has to know to send the requests.
func (k *Kept) session() session {
	return session{host: k.Server, via: k.Via, failover: k.Failover}
}

// keep encodes requests for the store.
func keep(s session, since time.Time, again repeat, requests ...*CCR) Kept {
	k := Kept{Session: requests[0].SessionID, Start: requests[0].OriginStateID, Server: s.host, Via: s.via, Failover: s.failover, Since: since}
	for i, ccr := range requests {
		plain := *ccr
		plain.DestinationHost = ""
		header := diameter.Header{Flags: diameter.FlagRetransmit}
		if i == 0 {
			header = again.header()
		}
		k.Requests = append(k.Requests, plain.Append(nil, header))
	}
	return k
}

// keptReport is a final interrogation that had no answer, behind the report before
// it when that had none either.
func keptReport(ccr *CCR, s session, since time.Time, again repeat) Kept {
	if s.owed != nil {
		return keep(s, since, s.owing, s.owed, ccr)
	}
	return keep(s, since, again, ccr)
}

// header carries what is known of earlier sendings.
func (r repeat) header() diameter.Header {
	h := diameter.Header{EndToEnd: r.endToEnd}
	if r.sent {
		h.Flags = diameter.FlagRetransmit
	}
	return h
}

// repeatOf reads it back.
func repeatOf(m diameter.Message) repeat {
	return repeat{sent: m.Flags&diameter.FlagRetransmit != 0, endToEnd: m.EndToEnd}
}

// outgoingKept is the first of the kept requests.
func outgoingKept(k *Kept) outgoing {
	raw := k.Requests[0]
	m, _ := diameter.ParseMessage(raw) // check has seen that it is one
	kind, _ := m.Find(diameter.CCRequestType)
	number, _ := m.Find(diameter.CCRequestNumber)
	return outgoing{
		kind: ocs.StepType(kind.Uint32()), number: number.Uint32(), to: k.session(), again: repeatOf(m),
		encode: func(b []byte, destination string) []byte { return appendKept(b, m, destination) },
	}
}

// note writes down what a sending told about the first request, in a copy: the
// journal may be reading the other.
func (k *Kept) note(again repeat) {
	raw := slices.Clone(k.Requests[0])
	if again.endToEnd != 0 {
		diameter.SetEnd(raw, again.endToEnd)
	}
	if again.sent {
		diameter.SetRetransmit(raw)
	}
	k.Requests = append([][]byte{raw}, k.Requests[1:]...)
}

// appendKept appends an encoded request with Destination-Host in its place,
// behind CC-Request-Number.
func appendKept(b []byte, m diameter.Message, destination string) []byte {
	start := len(b)
	b = append(b, m.Raw[:diameter.HeaderLen]...)
	binary.BigEndian.PutUint32(b[start+12:], 0) // Hop-by-Hop is the sender's
	for a := range m.AVPs() {
		b = diameter.AppendRaw(b, a.Raw)
		if a.Is(diameter.CCRequestNumber) {
			b = appendText(b, diameter.DestinationHost, destination)
		}
	}
	return diameter.Finish(b, start)
}
