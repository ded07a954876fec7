package peer

import (
	"context"
	"net/netip"

	"gygate/diameter"
)

// Local is this node as it stands in CER and CEA.
type Local struct {
	Host          string // DiameterIdentity
	Realm         string
	OriginStateID uint32
	Product       string
	Addresses     []netip.Addr // Host-IP-Address; empty: the connection's own
}

// Remote is an open peer, as a Handler sees it.
type Remote struct {
	Host     string // Origin-Host of its CER or CEA
	Realm    string
	Addr     netip.AddrPort
	TLS      bool
	Trusted  bool          // configured as trusted; what that allows is the Handler's business
	Tolerate diameter.Mode // what is let pass in its messages
	Relay    bool          // advertised the relay application
	StateID  uint32        // Origin-State-Id of its CER or CEA; 0: it keeps none
}

// Handler serves application requests. Serve must not block on I/O: it takes
// the request and sees to it that answer is called exactly once, from any
// goroutine, with the encoded answer (nil: answer nothing). answer takes a copy of
// the frame and does not block. m stays as it is for as long as the handler refers
// to it, and keeps its neighbours in memory for so long (diameter.Reader). ctx ends
// with the connection; an answer after that is dropped and counted.
type Handler interface {
	Serve(ctx context.Context, from Remote, m diameter.Message, answer func(frame []byte))
}

// Request is what a Client or a Server sends of its own accord.
type Request struct {
	// Encode appends the request for a peer with that Origin-Host;
	// Hop-by-Hop, End-to-End and T are filled in by Do. It is called
	// again for every peer the request fails over to.
	Encode func(b []byte, peerHost string) []byte
	// Stay keeps the request on the peer with this Origin-Host, reached
	// directly or through a relay; "" lets a Client choose.
	Stay string
	// Via is the relay through which Stay was heard last; a Server prefers it
	// to any other way but the direct one.
	Via string
	// Avoid is the Origin-Host of a peer through which the request goes only
	// when there is no other way.
	Avoid string
	// Failover allows a request that got no answer to go to another peer,
	// with the same End-to-End Identifier and the T bit.
	Failover bool
	// Retransmission sets the T bit on the first sending already: the
	// caller repeats a request of an earlier Do.
	Retransmission bool
	// EndToEnd repeats an earlier request under its own identifier; 0 draws one.
	EndToEnd uint32
}

// Answer is what came back.
type Answer struct {
	Message  diameter.Message
	From     Remote
	EndToEnd uint32
	// Fault is what validation found wrong with the answer, nil for nothing.
	// The caller treats such an answer as a bad one; its AVPs may be
	// incomplete or of the wrong length.
	Fault *diameter.Error
}
