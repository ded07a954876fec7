package peer

import (
	"errors"
	"net"
	"net/netip"

	"github.com/ishidawataru/sctp"

	"gygate/diameter"
)

// Diameter over SCTP (RFC 6733 §2.1.1): one message is one user message with
// payload protocol identifier 46, on whatever stream. A user message is read like
// a piece of a TCP stream, so framing is shared; only the writer has to know. An
// association may have several addresses at each end, written
// "192.0.2.1/192.0.2.2:3868". There is no DTLS: use TLS over TCP instead.

// The transports of an Endpoint.
const (
	TransportTCP  = "tcp"
	TransportSCTP = "sctp"
)

// ErrNoSCTP says what to do on a machine that cannot do SCTP.
var ErrNoSCTP = errors.New("this kernel has no SCTP: load its module (modprobe sctp), or choose transport tcp")

// payloadProtocol is the payload protocol identifier of Diameter in clear text.
const payloadProtocol = 46

// preservesMessages reports whether each write on nc is a message of its own.
func preservesMessages(nc net.Conn) bool { return nc.LocalAddr().Network() == TransportSCTP }

// firstMessage splits the first frame off b, which holds whole frames.
func firstMessage(b []byte) (frame, rest []byte) {
	if len(b) < diameter.HeaderLen {
		return b, nil
	}
	n := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
	if n < diameter.HeaderLen || n > len(b) {
		return b, nil
	}
	return b[:n], b[n:]
}

// transportAddresses lists the addresses of one end of a connection, the primary
// one first.
func transportAddresses(a net.Addr) []netip.Addr {
	many, ok := a.(*sctp.SCTPAddr)
	if !ok {
		return []netip.Addr{addrPort(a).Addr()}
	}
	var all []netip.Addr
	for _, ip := range many.IPAddrs {
		if one, ok := netip.AddrFromSlice(ip.IP); ok {
			all = append(all, one.Unmap())
		}
	}
	return all
}
