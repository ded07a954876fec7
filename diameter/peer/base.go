package peer

import (
	"net"
	"net/netip"

	"github.com/ishidawataru/sctp"

	"gygate/diameter"
)

// The messages of the base protocol that a peer exchanges with its neighbour
// only: capabilities, watchdog, disconnection (RFC 6733 §5.3–5.5). None is ever
// proxied: no P bit, no Session-Id, no Destination.

// causeRebooting is the Disconnect-Cause of every orderly shutdown of ours
// (RFC 6733 §5.4.3); after it the peer may reconnect.
const causeRebooting = 0

// appendCER appends a Capabilities-Exchange-Request for the connection nc.
func appendCER(b []byte, l Local, nc net.Conn, hop, end uint32) []byte {
	start := len(b)
	b = startRequest(b, diameter.CmdCapabilitiesExchange, hop, end)
	b = appendOrigin(b, l)
	return diameter.Finish(appendCapabilities(b, l, nc), start)
}

// appendCEA appends the answer to cer with the Result-Code, the text and the
// Failed-AVP of e. It advertises what this node supports, not what both ends have
// in common, and its own Origin-State-Id. A protocol error takes
// the general error form, anything else the CEA's own grammar without the E bit.
func appendCEA(b []byte, cer diameter.Message, e *diameter.Error, l Local, nc net.Conn) []byte {
	if e.Code.Protocol() {
		return diameter.ErrorAnswer(b, cer, e, l.origin())
	}
	start := len(b)
	b = appendCapabilities(startBaseAnswer(b, cer, e.Code, l), l, nc)
	return diameter.Finish(diameter.AppendFault(b, e, failedMax), start)
}

// failedMax bounds what a CEA repeats of a CER: its sender is still a stranger.
const failedMax = 4 << 10

func appendCapabilities(b []byte, l Local, nc net.Conn) []byte {
	for _, a := range hostAddresses(l, nc) {
		b = diameter.AppendAddress(b, diameter.HostIPAddress, a)
	}
	b = diameter.AppendUint32(b, diameter.VendorID, 0) // no enterprise number of our own
	b = diameter.AppendString(b, diameter.ProductName, l.Product)
	b = appendStateID(b, l)
	b = diameter.AppendUint32(b, diameter.SupportedVendorID, diameter.Vendor3GPP)
	return diameter.AppendUint32(b, diameter.AuthApplicationID, diameter.AppCreditControl)
}

func appendDWR(b []byte, l Local, hop, end uint32) []byte {
	start := len(b)
	b = startRequest(b, diameter.CmdDeviceWatchdog, hop, end)
	return diameter.Finish(appendStateID(appendOrigin(b, l), l), start)
}

func appendDWA(b []byte, dwr diameter.Message, l Local) []byte {
	start := len(b)
	b = startBaseAnswer(b, dwr, diameter.Success, l)
	return diameter.Finish(appendStateID(b, l), start)
}

func appendDPR(b []byte, l Local, hop, end uint32) []byte {
	start := len(b)
	b = startRequest(b, diameter.CmdDisconnectPeer, hop, end)
	b = diameter.AppendUint32(appendOrigin(b, l), diameter.DisconnectCause, causeRebooting)
	return diameter.Finish(b, start)
}

func appendDPA(b []byte, dpr diameter.Message, l Local) []byte {
	start := len(b)
	return diameter.Finish(startBaseAnswer(b, dpr, diameter.Success, l), start)
}

func startRequest(b []byte, command, hop, end uint32) []byte {
	return diameter.Start(b, diameter.Header{
		Flags: diameter.FlagRequest, Command: command, HopByHop: hop, EndToEnd: end,
	})
}

// startBaseAnswer appends header, Result-Code and origin of an answer to a base
// request.
func startBaseAnswer(b []byte, req diameter.Message, code diameter.ResultCode, l Local) []byte {
	h := diameter.Header{Command: req.Command, HopByHop: req.HopByHop, EndToEnd: req.EndToEnd}
	b = diameter.AppendUint32(diameter.Start(b, h), diameter.ResultCodeAVP, uint32(code))
	return appendOrigin(b, l)
}

func appendOrigin(b []byte, l Local) []byte {
	b = diameter.AppendString(b, diameter.OriginHost, l.Host)
	return diameter.AppendString(b, diameter.OriginRealm, l.Realm)
}

// appendStateID appends Origin-State-Id unless this node keeps none.
func appendStateID(b []byte, l Local) []byte {
	if l.OriginStateID == 0 {
		return b
	}
	return diameter.AppendUint32(b, diameter.OriginStateID, l.OriginStateID)
}

// hostAddresses are the configured addresses, else the connection's own.
func hostAddresses(l Local, nc net.Conn) []netip.Addr {
	if len(l.Addresses) > 0 {
		return l.Addresses
	}
	return transportAddresses(nc.LocalAddr())
}

// addrPort is a transport address in comparable form, the primary one of an
// association; the unspecified one when the transport has none.
func addrPort(a net.Addr) netip.AddrPort {
	if many, ok := a.(*sctp.SCTPAddr); ok {
		if all := transportAddresses(a); len(all) > 0 {
			return netip.AddrPortFrom(all[0], uint16(many.Port))
		}
	}
	if p, err := netip.ParseAddrPort(a.String()); err == nil {
		return netip.AddrPortFrom(p.Addr().Unmap().WithZone(""), p.Port())
	}
	return netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
}

// baseCommand reports whether the message is one that peers exchange with their
// neighbour only.
func baseCommand(h diameter.Header) bool {
	if h.Application != diameter.AppBase {
		return false
	}
	switch h.Command {
	case diameter.CmdCapabilitiesExchange, diameter.CmdDeviceWatchdog, diameter.CmdDisconnectPeer:
		return true
	}
	return false
}
