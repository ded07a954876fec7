package peer

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"gygate/diameter"
)

// capabilities is what a CER or CEA says of its sender.
type capabilities struct {
	host, realm   string
	stateID       uint32
	creditControl bool // application 4, at top level or vendor-specific
	relay         bool
	security      bool // In-band security is named at all
	plain         bool // and doing without it is
}

// readCapabilities reads a validated CER or CEA. The Vendor-Id of a
// Vendor-Specific-Application-Id plays no part.
func readCapabilities(m diameter.Message) capabilities {
	var c capabilities
	for a := range m.AVPs() {
		switch {
		case a.Is(diameter.OriginHost):
			c.host = a.Text()
		case a.Is(diameter.OriginRealm):
			c.realm = a.Text()
		case a.Is(diameter.OriginStateID):
			c.stateID = a.Uint32()
		case a.Is(diameter.VendorSpecificApplicationID):
			for member := range a.Group() {
				c.application(member)
			}
		case a.Is(diameter.InbandSecurityID):
			c.security, c.plain = true, c.plain || a.Uint32() == 0
		default:
			c.application(a)
		}
	}
	return c
}

func (c *capabilities) application(a diameter.AVP) {
	auth := a.Is(diameter.AuthApplicationID)
	c.creditControl = c.creditControl || auth && a.Uint32() == diameter.AppCreditControl
	c.relay = c.relay || (auth || a.Is(diameter.AcctApplicationID)) && a.Uint32() == diameter.AppRelay
}

// common reports whether a request can pass between the two nodes.
func (c *capabilities) common() bool { return c.creditControl || c.relay }

// check returns why a connection that is secured or not cannot open, nil when it
// can.
func (c *capabilities) check(secured bool) *diameter.Error {
	switch {
	case c.security && !c.plain && !secured:
		return &diameter.Error{Code: diameter.NoCommonSecurity, Text: "in-band security is not supported"}
	case !c.common():
		return &diameter.Error{Code: diameter.NoCommonApplication, Text: "only application 4 (credit control) is served"}
	}
	return nil
}

// applicationsMax bounds what a log repeats of a stranger's CER.
const applicationsMax = 16

// advertised lists the applications of a CER, for the log (D-064). It does not
// rely on validation.
func advertised(cer diameter.Message) []uint32 {
	var all []uint32
	collect := func(a diameter.AVP) {
		if len(all) < applicationsMax && (a.Is(diameter.AuthApplicationID) || a.Is(diameter.AcctApplicationID)) {
			all = append(all, a.Uint32())
		}
	}
	for a := range cer.AVPs() {
		collect(a)
		if a.Is(diameter.VendorSpecificApplicationID) {
			for member := range a.Group() {
				collect(member)
			}
		}
	}
	return all
}

// admission is the decision about a peer before it is open.
type admission struct {
	rule   *PeerRule
	reason string // why it is refused; "" when it is not
	line   string // to add to the list of peers, where that would admit it
	remedy string // advice otherwise
}

// second is the refusal of a connection beside an open one.
var second = admission{remedy: "give each node an Origin-Host of its own; if the open connection is a dead one, it ends after two watchdog intervals at the most"}

// fields are what an operator reads about it.
func (a *admission) fields() (fields []any) {
	for _, f := range [][2]string{{"reason", a.reason}, {"add_to_diameter_peers", a.line}, {"remedy", a.remedy}} {
		if f[1] != "" {
			fields = append(fields, f[0], f[1])
		}
	}
	return fields
}

// admit looks a peer up in the list: by identity, then by source address, then by
// certificate. rules is keyed by folded identity.
func admit(rules map[string]*PeerRule, unknown Policy, host string, addr netip.Addr, state *tls.ConnectionState) admission {
	rule := rules[foldIdentity(host)]
	network, name := netip.PrefixFrom(addr, addr.BitLen()), host
	switch {
	case rule == nil && unknown != Open:
		return admission{reason: "its Origin-Host is not in the list of peers", line: fmt.Sprintf("- {host: %s, addresses: [%s]}", scalar(host), network)}
	case rule != nil && rule.Relayed:
		return admission{reason: "its entry says that it comes through a relay", remedy: fmt.Sprintf("give it addresses: [%s] instead of relayed: true", network)}
	case rule != nil && len(rule.Addresses) == 0 && state == nil:
		return admission{reason: "its entry names no source address and the connection has no TLS", remedy: fmt.Sprintf("let it connect with TLS, or add addresses: [%s] to its entry", network)}
	case rule != nil && len(rule.Addresses) > 0 && !contains(rule.Addresses, addr):
		return admission{reason: "its source address is not one of its entry's", remedy: fmt.Sprintf("add %s to the addresses of its entry", network)}
	case rule != nil && rule.CertificateName != "":
		name = rule.CertificateName
	}
	if state != nil && !certificateNames(*state, name) {
		return admission{reason: "its certificate names another", remedy: fmt.Sprintf("a client certificate that names %s, or certificate_name in its entry", scalar(name))}
	}
	return admission{rule: rule}
}

// scalar is a stranger's Origin-Host as it can stand in a YAML file and a log.
func scalar(host string) string {
	if validIdentity(host) {
		return host
	}
	return strconv.Quote(host[:min(len(host), diameter.IdentityMax)])
}

func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// tlsState returns the state of a connection after its handshake, nil for a plain
// one.
func tlsState(nc net.Conn) *tls.ConnectionState {
	if t, ok := nc.(*tls.Conn); ok {
		state := t.ConnectionState()
		return &state
	}
	return nil
}
