package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"gygate/cmd/gygate/load"
	"gygate/diameter"
)

// loadUnreached is the error of a load without its connections, with what to do about
// that.
func loadUnreached(err error, l *load.Config) error {
	var fault *load.ConnectError
	if !errors.As(err, &fault) {
		return err
	}
	return exitWith(exitUnreachable, fmt.Errorf("%w\n%s", err, loadRemedy(fault, l)))
}

// loadRemedy is what to do when a connection is not let in, by the cause.
func loadRemedy(fault *load.ConnectError, l *load.Config) string {
	switch {
	case fault.Local == "":
		return "  does a charging system serve there? --target names another one"
	case fault.Code == 0:
		return "  what listens there speaks no Diameter: --target names another one;\n" +
			"  or it drops whom it does not know, and lets a load in with these lines under diameter.peers:\n" + peerLines(fault, l)
	case fault.Code == diameter.UnknownPeer:
		return "  it lets a load in when its configuration has under diameter.peers:\n" + peerLines(fault, l)
	case fault.Code == diameter.ElectionLost:
		return "  another load or event runs as " + fault.Host + ": wait for its end, or take another --origin-host that the charging system knows"
	default:
		return "  the log of the charging system says why; --origin-host, --realm and --target are what it judges by"
	}
}

// peerLines are the entries a charging system needs for a load from here.
func peerLines(fault *load.ConnectError, l *load.Config) string {
	network := fault.Local
	if ip, err := netip.ParseAddr(fault.Local); err == nil {
		ip = ip.Unmap().WithZone("")
		network = netip.PrefixFrom(ip, ip.BitLen()).String()
	}
	var lines []string
	for n := range l.Connections {
		lines = append(lines, fmt.Sprintf("    - {host: %s, addresses: [%q]}", l.HostOf(n), network))
	}
	return strings.Join(lines, "\n")
}
