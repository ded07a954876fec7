package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"gygate/diameter/peer"
	"gygate/ocs"
)

// Limits of the settings; outside of them a value is a mistake.
const (
	sessionExpiresMin = 90 * time.Second // RFC 4028 §4
	tariffPollMax     = 10 * time.Second // clients are told 15 s after a change
	lanesMax          = 64
	batchLimit        = 4096
)

// checker collects faults, so that all of them are told at once.
type checker struct{ faults Faults }

func (c *checker) fault(path, format string, args ...any) {
	c.faults = append(c.faults, Fault{Path: path, Text: fmt.Sprintf(format, args...)})
}

func (c *Config) validate() Faults {
	k := &checker{}
	k.identities(c.Node)
	k.diameter(&c.Diameter)
	k.ocs(&c.OCS)
	k.charging(&c.Charging)
	k.sip(&c.SIP)
	k.rest(c)
	return k.faults
}

func (k *checker) identities(n Node) {
	k.identity("node.ocs.host", n.OCS.Host)
	k.identity("node.ocs.realm", n.OCS.Realm)
	k.identity("node.vpn.host", n.VPN.Host)
	k.identity("node.vpn.realm", n.VPN.Realm)
	if strings.EqualFold(n.OCS.Host, n.VPN.Host) {
		k.fault("node.vpn.host", "is the same as node.ocs.host; the two are two Diameter nodes")
	}
}

// identity checks a DiameterIdentity: a host name (RFC 6733 §4.3.1).
func (k *checker) identity(path, s string) {
	if s == "" || len(s) > 255 {
		k.fault(path, "must be a host name")
		return
	}
	for label := range strings.SplitSeq(s, ".") {
		bad := strings.IndexFunc(label, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
		})
		if label == "" || len(label) > 63 || bad >= 0 {
			k.fault(path, "%q is not a host name", s)
			return
		}
	}
}

func (k *checker) diameter(d *Diameter) {
	k.addresses("diameter.listen", d.Listen)
	k.addresses("diameter.tls.listen", d.TLS.Listen)
	k.addresses("diameter.sctp.listen", d.SCTP.Listen)
	if len(d.TLS.Listen) > 0 && (d.TLS.Certificate == "" || d.TLS.Key == "" || d.TLS.CA == "") {
		k.fault("diameter.tls", "listen is set: certificate_file, key_file and ca_file are needed")
	}
	k.oneOf("diameter.unknown", d.Unknown, UnknownReject, UnknownDrop, UnknownOpen)
	k.atLeast("diameter.watchdog", d.Watchdog, peer.WatchdogMin)
	k.atLeast("diameter.cer_timeout", d.CERTimeout, time.Second)
	k.within("diameter.connections_max", int64(d.Connections), 1, 65536)
	k.within("diameter.per_address_max", int64(d.PerAddress), 1, 65536)
	k.peers(d)
}

func (k *checker) ocs(o *OCS) {
	k.within("ocs.lanes", int64(o.Lanes), 1, lanesMax)
	k.within("ocs.batch_max", int64(o.BatchMax), 1, batchLimit)
	k.within("ocs.queue_max", int64(o.QueueMax), 1, 1<<20)
	k.within("ocs.cache_max", int64(o.CacheMax), 1, 1<<24)
	k.atLeast("ocs.sweep", o.Sweep, 100*time.Millisecond)
	k.atLeast("ocs.tariff_poll", o.TariffPoll, 100*time.Millisecond)
	if o.TariffPoll > tariffPollMax {
		k.fault("ocs.tariff_poll", "%s is more than %s: clients would be asked to come back before the new prices are in force", o.TariffPoll, tariffPollMax)
	}
	k.oneOf("ocs.answers.failure_handling", o.Answers.FailureHandling, FailTerminate, FailContinue, FailRetryAndTerminate)
	if o.Answers.LowBalanceBelow < 0 {
		k.fault("ocs.answers.low_balance_below", "is negative")
	}
	p := o.Policy
	if err := ocs.Policy(p).Check(); err != nil {
		k.fault("ocs.policy", "%s", strings.TrimPrefix(err.Error(), "policy: "))
	}
	k.within("ocs.policy.threshold_seconds", p.ThresholdSeconds, 0, p.SliceSeconds-1)
	k.within("ocs.policy.threshold_octets", p.ThresholdOctets, 0, p.SliceOctets-1)
	k.within("ocs.policy.threshold_events", p.ThresholdEvents, 0, p.SliceEvents-1)
	// A client reports when its slice of time is used up, or at the end of the
	// validity; supervision must outlast the shorter of the two.
	if report := min(p.Validity, time.Duration(p.SliceSeconds)*time.Second); p.Supervision != 0 && p.Supervision < report {
		k.fault("ocs.policy.supervision", "%s is shorter than the %s after which a client reports: live sessions would be closed", p.Supervision, report)
	}
}

func (k *checker) charging(c *Charging) {
	k.atLeast("charging.tx", c.Tx, 100*time.Millisecond)
	k.oneOf("charging.on_failure", c.OnFailure, FailTerminate, FailContinue, FailRetryAndTerminate)
	k.atLeast("charging.watchdog", c.Watchdog, peer.WatchdogMin)
	k.atLeast("charging.reconnect", c.Reconnect, 100*time.Millisecond)
	k.atLeast("charging.rating_block", c.RatingBlock, 0)
	for i, s := range c.Servers {
		path := fmt.Sprintf("charging.servers[%d]", i)
		k.address(path+".address", s.Address)
		k.oneOf(path+".transport", s.Transport, "", peer.TransportTCP, peer.TransportSCTP)
		if s.Transport == peer.TransportSCTP && s.TLS != (ClientTLS{}) {
			k.fault(path+".tls", "TLS over SCTP is not supported; use transport tcp")
		}
		if s.Host != "" {
			k.identity(path+".host", s.Host)
		}
		if s.Realm != "" {
			k.identity(path+".realm", s.Realm)
		}
		if t := s.TLS; t != (ClientTLS{}) && (t.CA == "" || t.Certificate == "" || t.Key == "" || t.ServerName == "") {
			k.fault(path+".tls", "ca_file, certificate_file, key_file and server_name belong together")
		}
	}
}

func (k *checker) sip(s *SIP) {
	if len(s.Listen) == 0 {
		k.fault("sip.listen", "is empty: no call could arrive")
	}
	for i, l := range s.Listen {
		path := fmt.Sprintf("sip.listen[%d]", i)
		network, address, _ := strings.Cut(l, ":")
		if network != "udp" && network != "tcp" {
			k.fault(path, "%q must begin with udp: or tcp:", l)
			continue
		}
		k.address(path, address)
		if host, _, err := net.SplitHostPort(address); err == nil && s.Host == "" && everyAddress(host) {
			k.fault(path, "%q listens on all addresses: set sip.host to the name or address that peers can reach", l)
		}
	}
	k.prefixes("sip.trusted", s.Trusted)
	if s.NextHop != "" {
		k.address("sip.next_hop", s.NextHop)
	}
	for number, uri := range s.Contacts {
		if !strings.HasPrefix(uri, "sip:") {
			k.fault("sip.contacts."+number, "%q is not a sip: URI", uri)
		}
	}
	k.atLeast("sip.session_expires", s.SessionExpires, sessionExpiresMin)
	k.atLeast("sip.setup_max", s.SetupMax, time.Second)
	k.atLeast("sip.drain", s.Drain, time.Second)
}

// everyAddress tells whether a host part stands for all addresses of the machine.
func everyAddress(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "" || err == nil && a.IsUnspecified()
}

func (k *checker) rest(c *Config) {
	k.within("database.embedded.port", int64(c.Database.Embedded.Port), 0, 65535)
	if c.Database.DSN != "" && c.Database.DSNFile != "" {
		k.fault("database.dsn_file", "is given together with database.dsn; keep one")
	}
	k.within("vpn.calls_max", int64(c.VPN.CallsMax), 1, 1<<20)
	k.atLeast("vpn.call_max", c.VPN.CallMax, time.Second)
	if c.HTTP.Listen != "" {
		k.address("http.listen", c.HTTP.Listen)
	}
	k.oneOf("telemetry.log_level", c.Telemetry.LogLevel, "debug", "info", "warn", "error")
	k.oneOf("telemetry.log_format", c.Telemetry.LogFormat, "text", "json")
}

func (k *checker) addresses(path string, list []string) {
	for i, a := range list {
		k.address(fmt.Sprintf("%s[%d]", path, i), a)
	}
}

func (k *checker) address(path, a string) {
	_, port, err := net.SplitHostPort(a)
	if err != nil {
		k.fault(path, "%q is not host:port", a)
		return
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		k.fault(path, "%q has no port between 0 and 65535", a)
	}
}

func (k *checker) prefixes(path string, list []string) {
	for i, s := range list {
		if _, err := netip.ParsePrefix(s); err != nil {
			k.fault(fmt.Sprintf("%s[%d]", path, i), "%q is not a network such as 192.0.2.0/24", s)
		}
	}
}

func (k *checker) oneOf(path, s string, names ...string) {
	if !slices.Contains(names, s) {
		k.fault(path, "%q is none of %s", s, strings.TrimPrefix(strings.Join(names, ", "), ", "))
	}
}

func (k *checker) atLeast(path string, d, least time.Duration) {
	if d < least {
		k.fault(path, "%s is less than %s", d, least)
	}
}

func (k *checker) within(path string, n, least, most int64) {
	if n < least || n > most {
		k.fault(path, "%d is not between %d and %d", n, least, most)
	}
}
