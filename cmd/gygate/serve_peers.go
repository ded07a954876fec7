package main

import (
	"net"
	"net/netip"
	"strings"

	"gygate/cmd/gygate/config"
	"gygate/cmd/gygate/load"
	"gygate/diameter"
	"gygate/diameter/gy"
	"gygate/diameter/peer"
)

// toolHost is the identity under which the commands of this program (event, load)
// connect: a node of its own, since a peer has one connection at a time.
func toolHost(node config.Node) string { return "tool." + node.VPN.Host }

// ownPeers are the identities of our own that are let in from this machine: the tools,
// each connection of a load under a name of its own, and in role all the VPN node.
func (m *Main) ownPeers() []string {
	var hosts []string
	if m.opt.Role == RoleAll {
		hosts = append(hosts, m.cfg.Node.VPN.Host)
	}
	tool := load.Config{Host: toolHost(m.cfg.Node)}
	for n := range load.ConnectionsMax {
		hosts = append(hosts, tool.HostOf(n))
	}
	return hosts
}

// peerRules are the configured peers and, unless they stand among them, our own.
func (m *Main) peerRules() []peer.PeerRule {
	var rules []peer.PeerRule
	listed := map[string]bool{}
	for i := range m.cfg.Diameter.Peers {
		p := &m.cfg.Diameter.Peers[i]
		listed[strings.ToLower(p.Host)] = true
		rule := peer.PeerRule{Host: p.Host, CertificateName: p.Certificate, Relayed: p.Relayed, Trusted: p.Trusted, Tolerate: toleranceOf(p)}
		for _, network := range p.Addresses {
			rule.Addresses = append(rule.Addresses, netip.MustParsePrefix(network)) // checked by the configuration
		}
		rules = append(rules, rule)
	}
	for _, host := range m.ownPeers() {
		if !listed[strings.ToLower(host)] {
			rules = append(rules, peer.PeerRule{Host: host, Addresses: m.ownNetworks(), Trusted: host == m.cfg.Node.VPN.Host, Tolerate: diameter.Lenient})
		}
	}
	return rules
}

// toleranceOf is what a configured peer may have wrong in its messages.
func toleranceOf(p *config.Peer) diameter.Mode {
	t := &p.Tolerate
	return diameter.Mode{
		VendorApplication: p.Tolerates(t.VendorApplication),
		NewerAVPs:         p.Tolerates(t.NewerAVPs),
		ForbiddenAVPs:     p.Tolerates(t.ForbiddenAVPs),
		UnlistedValues:    p.Tolerates(t.UnlistedValues),
		TextChargingID:    p.Tolerates(t.TextChargingID),
		BothApplications:  p.Tolerates(t.BothApplications),
		MissingMembers:    p.Tolerates(t.MissingMembers),
	}
}

// profile is the ways of a configured client.
func (m *Main) profile(host string) (gy.Profile, bool) {
	p, known := m.profiles[strings.ToLower(host)]
	return p, known
}

// profiles are the ways of the configured clients, those behind a relay too, by
// Origin-Host in lower case.
func profiles(peers []config.Peer) map[string]gy.Profile {
	all := make(map[string]gy.Profile, len(peers))
	for i := range peers {
		p := &peers[i]
		all[strings.ToLower(p.Host)] = gy.Profile{
			MissingIndicator: p.Tolerates(p.Tolerate.MissingIndicator),
			LateTerminate:    p.Tolerates(p.Tolerate.LateTerminate),
			No4011:           p.Habits.No4011,
			Reauthorize:      config.On(p.Habits.Reauthorize),
			InterimUsage:     p.Habits.InterimUsage,
			Thresholds:       config.On(p.Habits.Thresholds),
			Announcements:    p.Habits.Announcements,
			ValidityMax:      p.Habits.ValidityMax,
			RefundMax:        p.Habits.RefundMax,
		}
	}
	return all
}

// ownNetworks are the addresses our own nodes may come from: loopback, and
// the address of the listener when that is not on loopback.
func (m *Main) ownNetworks() []netip.Prefix {
	networks := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	if tcp, ok := m.diameterAddr.(*net.TCPAddr); ok && !tcp.IP.IsUnspecified() {
		if a, ok := netip.AddrFromSlice(tcp.IP); ok {
			networks = append(networks, netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()))
		}
	}
	return networks
}
