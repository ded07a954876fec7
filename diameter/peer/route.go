package peer

import "gygate/diameter"

// destination is what the routing AVPs of a request say.
type destination struct {
	host, realm       []byte
	hasHost, hasRealm bool
	loop              bool // our identity stands in a Route-Record
}

// readDestination reads the routing AVPs without relying on validation; behind a
// broken AVP it sees nothing, and Validate reports that.
func readDestination(m diameter.Message, l Local) destination {
	var d destination
	for a := range diameter.Scan(m.Body()) {
		switch {
		case a.Is(diameter.DestinationHost) && !d.hasHost:
			d.host, d.hasHost = a.Data, true
		case a.Is(diameter.DestinationRealm) && !d.hasRealm:
			d.realm, d.hasRealm = a.Data, true
		case a.Is(diameter.RouteRecord):
			d.loop = d.loop || diameter.SameIdentity(a.Data, l.Host)
		}
	}
	return d
}

// fault returns the protocol error that a request deserves which this node, being
// no agent, cannot take as its own (A-060..A-062, A-064); nil when it is local.
func (d destination) fault(l Local) *diameter.Error {
	switch {
	case d.loop:
		return &diameter.Error{Code: diameter.LoopDetected, Text: "this node stands in a Route-Record"}
	case d.hasHost && !d.hasRealm:
		return &diameter.Error{Code: diameter.UnableToDeliver, Text: "Destination-Host without Destination-Realm"}
	case d.hasHost && diameter.SameIdentity(d.host, l.Host):
		return nil
	case d.hasRealm && !diameter.SameIdentity(d.realm, l.Realm):
		return &diameter.Error{Code: diameter.RealmNotServed, Text: "Destination-Realm is not served here"}
	case d.hasHost:
		return &diameter.Error{Code: diameter.UnableToDeliver, Text: "Destination-Host is another node"}
	}
	return nil
}

// serverCommands and clientCommands are what the two roles serve for application
// 4; anything else is 3001.
var (
	serverCommands = []uint32{diameter.CmdCreditControl}
	clientCommands = []uint32{diameter.CmdReAuth, diameter.CmdAbortSession}
)

// headerFault returns the protocol error the header alone deserves (A-025, A-040,
//
func headerFault(h diameter.Header, commands []uint32) *diameter.Error {
	if h.Flags&diameter.FlagError != 0 {
		return &diameter.Error{Code: diameter.InvalidHeaderBits, Text: "E bit in a request"}
	}
	if h.Application != diameter.AppCreditControl && h.Application != diameter.AppBase {
		return &diameter.Error{Code: diameter.ApplicationUnsupported, Text: "only application 4 (credit control) is served"}
	}
	for _, c := range commands {
		if h.Application == diameter.AppCreditControl && h.Command == c {
			return nil
		}
	}
	return &diameter.Error{Code: diameter.CommandUnsupported, Text: "the command is not served here"}
}
