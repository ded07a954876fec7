package peer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"gygate/diameter"
)

// applications appends a CER's body and what apps appends.
func applications(apps func([]byte) []byte) func([]byte) []byte {
	return func(b []byte) []byte { return apps(cerBody(b)) }
}

func auth(ids ...uint32) func([]byte) []byte {
	return func(b []byte) []byte {
		for _, id := range ids {
			b = diameter.AppendUint32(b, diameter.AuthApplicationID, id)
		}
		return b
	}
}

func vendorSpecific(vendor uint32, members func([]byte) []byte) func([]byte) []byte {
	return func(b []byte) []byte {
		return diameter.AppendGroup(b, diameter.VendorSpecificApplicationID, func(b []byte) []byte {
			return members(diameter.AppendUint32(b, diameter.VendorID, vendor))
		})
	}
}

func both(a, b func([]byte) []byte) func([]byte) []byte {
	return func(x []byte) []byte { return b(a(x)) }
}

func security(values ...uint32) func([]byte) []byte {
	return func(b []byte) []byte {
		for _, v := range values {
			b = diameter.AppendUint32(b, diameter.InbandSecurityID, v)
		}
		return auth(diameter.AppCreditControl)(b)
	}
}

func TestCapabilitiesExchange(t *testing.T) {
	proves(t, "A-002", "A-006", "A-009", "A-010", "D-088")
	credit := auth(diameter.AppCreditControl)
	acct := func(b []byte) []byte { return diameter.AppendUint32(b, diameter.AcctApplicationID, 3) }
	for _, c := range []struct {
		name string
		apps func([]byte) []byte
		want diameter.ResultCode
	}{
		{"application 4", credit, 2001},
		{"A-002 4 and another", auth(4, 16777238), 2001},
		{"A-003 vendor-specific of 3GPP", vendorSpecific(10415, credit), 2001},
		{"A-003 vendor-specific of another vendor", vendorSpecific(193, credit), 2001},
		{"A-004 relay", auth(diameter.AppRelay), 2001},
		{"A-005 4 comes last", both(auth(1, 16777236), both(vendorSpecific(10415, auth(16777238)), credit)), 2001},
		{"A-006 nothing in common", auth(16777238), 5010},
		{"A-006 only accounting", acct, 5010},
		{"A-009 vendor-specific without application", both(credit, vendorSpecific(10415, func(b []byte) []byte { return b })), 5005},
		{"A-009 vendor-specific with two", both(credit, vendorSpecific(10415, both(credit, acct))), 5009},
		{"A-010 TLS in band only", security(1), 5017},
		{"A-010 none in band", security(0), 2001},
		{"A-010 either", security(1, 0), 2001},
	} {
		t.Run(c.name, func(t *testing.T) {
			provesNamed(t)
			s, address := startServer(t, echo, nil)
			p := dialScript(t, address)
			p.write(cer(vpnHost, applications(c.apps)))
			cea := p.read()
			if got := cea.ResultCode(); got != c.want || cea.Flags != 0 {
				t.Fatalf("CEA with Result-Code %d and flags %#x, want %d and none", got, cea.Flags, c.want)
			}
			if fault := dictionary().Validate(cea, diameter.Mode{}); fault != nil {
				t.Errorf("CEA: %v", fault)
			}
			if apps := values(cea, diameter.AuthApplicationID); !slices.Equal(apps, []uint32{diameter.AppCreditControl}) {
				t.Errorf("A-002: the CEA advertises %v", apps)
			}
			failed, _ := cea.Find(diameter.FailedAVP)
			_, auth := failed.Find(diameter.AuthApplicationID)
			_, acct := failed.Find(diameter.AcctApplicationID)
			if want := c.want == 5005 || c.want == 5009; auth != want || acct != want {
				t.Errorf("A-009: Failed-AVP holds %x", failed.Data)
			}
			if c.want == diameter.Success {
				return
			}
			if err := p.readClose(); !errors.Is(err, io.EOF) {
				t.Errorf("A-006: connection ends with %v, want FIN", err)
			}
			if open := s.connections(); len(open) != 0 {
				t.Errorf("%d peers remain", len(open))
			}
		})
	}
}

// values are those of an Unsigned32 AVP that may occur often.
func values(m diameter.Message, a diameter.Attribute) []uint32 {
	var all []uint32
	for avp := range m.AVPs() {
		if avp.Is(a) {
			all = append(all, avp.Uint32())
		}
	}
	return all
}

func TestLenientCapabilitiesExchange(t *testing.T) {
	for name, change := range map[string]func(*ServerConfig){
		"A-009 a peer whose entry tolerates both applications": func(cfg *ServerConfig) { cfg.Peers[0].Tolerate.BothApplications = true },
		"A-009 a peer of the open policy is read leniently":    func(cfg *ServerConfig) { cfg.Peers, cfg.Unknown = nil, Open },
	} {
		t.Run(name, func(t *testing.T) {
			provesNamed(t)
			_, address := startServer(t, echo, change)
			p := dialScript(t, address)
			acct := func(b []byte) []byte { return diameter.AppendUint32(b, diameter.AcctApplicationID, 4) }
			p.write(cer(vpnHost, applications(vendorSpecific(10415, both(auth(4), acct)))))
			if code := p.read().ResultCode(); code != diameter.Success {
				t.Errorf("CEA %d", code)
			}
		})
	}
}

func TestCEA(t *testing.T) {
	proves(t, "A-001", "A-015", "A-017", "A-018", "A-019", "D-086")
	_, address := startServer(t, echo, nil)
	p := dialScript(t, address)
	cea := p.open()
	count := map[uint32]int{}
	for a := range cea.AVPs() {
		count[a.Code]++
		optional := a.Is(diameter.ProductName) || a.Is(diameter.FirmwareRevision)
		if m := a.Flags&diameter.AVPMandatory != 0; m == optional {
			t.Errorf("A-018: AVP %d has M=%t", a.Code, m)
		}
	}
	uint32Is := func(id string, a diameter.Attribute, want uint32) {
		t.Helper()
		if v, _ := cea.Find(a); v.Uint32() != want || count[a.Code] != 1 {
			t.Errorf("%s: AVP %d occurs %d times, value %d, want once %d", id, a.Code, count[a.Code], v.Uint32(), want)
		}
	}
	t.Run("A-001 A-002 A-015 A-017", func(t *testing.T) {
		uint32Is("A-002", diameter.AuthApplicationID, diameter.AppCreditControl)
		uint32Is("A-015", diameter.OriginStateID, ocs.OriginStateID) // the CER's was 99
		uint32Is("A-017", diameter.SupportedVendorID, diameter.Vendor3GPP)
		uint32Is("A-001", diameter.VendorID, 0)
		if a, _ := cea.Find(diameter.HostIPAddress); a.Address() != netip.MustParseAddr("127.0.0.1") {
			t.Errorf("A-001: Host-IP-Address %v", a.Address())
		}
		for attribute, want := range map[diameter.Attribute]string{diameter.OriginHost: ocsHost, diameter.OriginRealm: realm, diameter.ProductName: ocs.Product} {
			if a, _ := cea.Find(attribute); a.Text() != want || count[attribute.Code] != 1 {
				t.Errorf("A-001: AVP %d is %q, want %q", attribute.Code, a.Text(), want)
			}
		}
		if cea.Application != diameter.AppBase || cea.ResultCode() != diameter.Success {
			t.Errorf("A-001: application %d, Result-Code %d", cea.Application, cea.ResultCode())
		}
		p.write(appendDWR(nil, vpn, 1, 1), request{command: 999}.encode(nil))
		for _, want := range []uint32{diameter.CmdDeviceWatchdog, 999} {
			a := p.read()
			if id, _ := a.Find(diameter.OriginStateID); a.Command != want || id.Uint32() != ocs.OriginStateID {
				t.Errorf("A-015: Origin-State-Id of answer %d is %d", a.Command, id.Uint32())
			}
		}
	})
	t.Run("A-019 A-021 never proxied", func(t *testing.T) {
		for _, a := range []diameter.Attribute{diameter.SessionID, diameter.DestinationHost, diameter.DestinationRealm, diameter.RouteRecord} {
			if count[a.Code] != 0 {
				t.Errorf("CEA has AVP %d", a.Code)
			}
		}
		if cea.Flags != 0 || cea.HopByHop != 0x1001 || cea.EndToEnd != 0x2001 {
			t.Errorf("CEA header %+v", cea.Header)
		}
	})
}

func TestUnknownPeer(t *testing.T) {
	proves(t, "A-007", "D-064", "D-089")
	elsewhere := []PeerRule{{Host: "stranger.example", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
	relayed := []PeerRule{{Host: "stranger.example", Relayed: true}}
	line := `add_to_diameter_peers="- {host: stranger.example, addresses: [127.0.0.1/32]}"`
	moved := `remedy="add 127.0.0.1/32 to the addresses of its entry"`
	for _, c := range []struct {
		name   string
		policy Policy
		rules  []PeerRule
		want   diameter.ResultCode // 0: close without CEA
		says   string              // how to admit it
	}{
		{"A-007 reject", Reject, nil, 3010, line},
		{"A-007 reject by source address", Reject, elsewhere, 3010, moved},
		{"A-007 an entry without address proves nothing on plain TCP", Reject, []PeerRule{{Host: "stranger.example"}}, 3010,
			`remedy="let it connect with TLS, or add addresses: [127.0.0.1/32] to its entry"`},
		{"A-007 one behind a relay", Reject, relayed, 3010, `remedy="give it addresses: [127.0.0.1/32] instead of relayed: true"`},
		{"A-007 drop", Drop, nil, 0, line},
		{"A-007 open", Open, nil, 2001, ""},
		{"A-007 open, but listed with another address", Open, elsewhere, 3010, moved},
		{"A-007 open, but behind a relay", Open, relayed, 3010, "comes through a relay"},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := newJournal()
			s, address := startServer(t, echo, func(cfg *ServerConfig) {
				cfg.Unknown, cfg.Peers, cfg.Logger = c.policy, c.rules, log.logger()
			})
			p := dialScript(t, address)
			p.write(cer("stranger.example", nil))
			if c.want != 0 {
				cea := p.read()
				if got := cea.ResultCode(); got != c.want || (cea.Flags&diameter.FlagError != 0) != got.Protocol() {
					t.Fatalf("CEA with Result-Code %d, flags %#x, want %d", got, cea.Flags, c.want)
				}
			}
			if c.want == diameter.Success {
				return
			}
			_ = p.readClose()
			log.await(c.says)
			for _, said := range []string{"peer=stranger.example", "address=" + p.nc.LocalAddr().String(), "applications=[4]"} {
				log.await(said) // D-064
			}
			if n := len(s.connections()); n != 0 {
				t.Errorf("%d peers remain", n)
			}
			if c.rules != nil && log.has("add_to_diameter_peers") {
				t.Error("the line would make its entry stand twice")
			}
			if known := s.Peers(); len(known) != 0 && c.rules[0].Relayed {
				t.Errorf("awaited: %+v", known)
			}
		})
	}
}

// Gateways that start together are all told of, each once an interval; how many
// there are is bounded, and what was kept back is counted.
func TestRefusalsDoNotHideEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q quiet
		log := newJournal()
		warn := func(about string) { q.warn(log.logger(), about, "refused", "peer", about) }
		for range 3 {
			warn("pgw1.example")
			warn("pgw2.example")
		}
		if got := log.count("refused"); got != 2 || !log.has("pgw1.example") || !log.has("pgw2.example") {
			t.Errorf("%d lines for two peers", got)
		}
		for i := range 2 * quietMax {
			warn(fmt.Sprintf("stranger%d.example", i))
		}
		if got := log.count("refused"); got != quietMax {
			t.Errorf("%d lines in an interval", got)
		}
		<-time.After(quietInterval)
		warn("pgw1.example")
		if want := fmt.Sprintf("skipped=%d", quietMax+2); log.count("peer=pgw1.example") != 2 || !log.has(want) {
			t.Errorf("an interval later not told again, or not %s", want)
		}
	})
}

// The entry of a peer that nobody configured dies with its connection.
func TestOpenPeerIsForgotten(t *testing.T) {
	proves(t, "A-007")
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		s := startOn(t, network.listen("ocs:3868"), echo, func(cfg *ServerConfig) { cfg.Peers, cfg.Unknown = nil, Open })
		p := newScript(t, network.connect(t, "ocs:3868"))
		p.open()
		if known := s.Peers(); len(known) != 1 || known[0].Host != vpnHost {
			t.Errorf("open: %+v", known)
		}
		_ = p.nc.Close()
		synctest.Wait()
		if known := s.Peers(); len(known) != 0 {
			t.Errorf("after the close: %+v", known)
		}
	})
}

func TestOwnIdentityRefused(t *testing.T) {
	_, address := startServer(t, echo, func(cfg *ServerConfig) { cfg.Unknown = Open })
	p := dialScript(t, address)
	p.write(cer(ocsHost, nil))
	if code := p.read().ResultCode(); code != diameter.UnknownPeer {
		t.Errorf("Result-Code %d", code)
	}
}

func TestIncompleteCER(t *testing.T) {
	proves(t, "A-008", "D-088")
	whole, err := diameter.ParseMessage(cer(vpnHost, nil))
	if err != nil {
		t.Fatal(err)
	}
	for name, example := range map[string][]byte{
		"Origin-Host": text(diameter.OriginHost, ""), "Origin-Realm": text(diameter.OriginRealm, ""),
		"Host-IP-Address": octets(diameter.HostIPAddress, 0, 1, 0, 0, 0, 0),
		"Vendor-Id":       u32(diameter.VendorID, 0), "Product-Name": text(diameter.ProductName, ""),
	} {
		t.Run("A-008 "+name, func(t *testing.T) {
			b := startRequest(nil, diameter.CmdCapabilitiesExchange, 1, 2)
			for a := range whole.AVPs() {
				if !is(diameter.Attribute{Code: a.Code})(example) {
					b = diameter.AppendRaw(b, a.Raw)
				}
			}
			_, address := startServer(t, echo, nil)
			p := dialScript(t, address)
			p.write(diameter.Finish(b, 0))
			cea := p.read()
			failed, _ := cea.Find(diameter.FailedAVP)
			if !bytes.Equal(failed.Data, example) || cea.ResultCode() != diameter.MissingAVP || cea.Flags != 0 {
				t.Errorf("Result-Code %d, flags %#x, Failed-AVP %x", cea.ResultCode(), cea.Flags, failed.Data)
			}
			if err := p.readClose(); !errors.Is(err, io.EOF) {
				t.Errorf("connection ends with %v", err)
			}
		})
	}
}

func TestFirstMessage(t *testing.T) {
	proves(t, "A-011", "D-089")
	served := serve(func(Remote, diameter.Message, func([]byte)) { t.Error("a request reached the handler before any CER") })
	t.Run("A-011 a CCR comes first", func(t *testing.T) {
		_, address := startServer(t, served, nil)
		p := dialScript(t, address)
		p.write(request{}.encode(nil))
		_ = p.readClose()
	})
	t.Run("A-011 a DWR comes first", func(t *testing.T) {
		_, address := startServer(t, served, nil)
		p := dialScript(t, address)
		p.write(appendDWR(nil, vpn, 1, 2))
		_ = p.readClose()
	})
	t.Run("A-011 nothing comes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			network := newPipes()
			startOn(t, network.listen("ocs:3868"), served, nil)
			nc, err := network.dial(t.Context(), "ocs:3868")
			if err != nil {
				t.Fatal(err)
			}
			p, begin := newScript(t, nc), time.Now()
			if _ = p.readClose(); time.Since(begin) != cerTimeoutDefault {
				t.Errorf("closed after %v, want %v", time.Since(begin), cerTimeoutDefault)
			}
		})
	})
}

func TestRepeatedCER(t *testing.T) {
	t.Run("A-012", func(t *testing.T) {
		provesNamed(t)
		var from Remote
		s, address := startServer(t, serve(func(r Remote, m diameter.Message, answer func([]byte)) { from = r; echo(r, m, answer) }), nil)
		p := dialScript(t, address)
		p.open()
		before := s.connections()[0].remote
		p.write(cer(vpnHost, applications(auth(16777238))), request{number: 1}.encode(nil))
		if a := p.read(); a.Command != diameter.CmdCapabilitiesExchange || a.ResultCode() != diameter.UnableToComply {
			t.Errorf("second CER: %+v %d", a.Header, a.ResultCode())
		}
		if a := p.read(); a.ResultCode() != diameter.Success {
			t.Errorf("CCR afterwards: %d", a.ResultCode())
		}
		if from != before {
			t.Errorf("the peer became %+v, was %+v", from, before)
		}
	})
}

func TestOneConnectionPerIdentity(t *testing.T) {
	t.Run("A-013", func(t *testing.T) {
		proves(t, "A-013", "D-089")
		log := newJournal()
		_, address := startServer(t, echo, func(cfg *ServerConfig) { cfg.Logger = log.logger() })
		first, second := dialScript(t, address), dialScript(t, address)
		first.open()
		second.write(cer("VPN.Example.org", nil))
		if a := second.read(); a.ResultCode() != diameter.ElectionLost || a.Flags&diameter.FlagError != 0 {
			t.Errorf("second connection: %d %#x", a.ResultCode(), a.Flags)
		}
		_ = second.readClose()
		log.await(`remedy="give each node an Origin-Host of its own`)
		first.write(request{}.encode(nil))
		if code := first.read().ResultCode(); code != diameter.Success {
			t.Errorf("the first connection no longer works: %d", code)
		}
		// Once the first is gone the peer may come again.
		_ = first.nc.Close()
		for third := dialScript(t, address); ; third = dialScript(t, address) {
			third.write(cer(vpnHost, nil))
			if code := third.read().ResultCode(); code == diameter.Success {
				return
			} else if code != diameter.ElectionLost {
				t.Fatalf("third connection: %d", code)
			}
		}
	})
}

func TestConnectionLimits(t *testing.T) {
	_, address := startServer(t, echo, func(cfg *ServerConfig) { cfg.PerAddressMax = 2 })
	first, second := dialScript(t, address), dialScript(t, address)
	first.open()
	third := dialScript(t, address)
	_ = third.readClose()
	second.write(cer(vpnHost, nil))
	if code := second.read().ResultCode(); code != diameter.ElectionLost {
		t.Errorf("the second connection, within the limit: %d", code)
	}
}

func TestConfigurationFaults(t *testing.T) {
	t.Run("A-081 watchdog below 6 s", func(t *testing.T) {
		provesNamed(t)
		if _, err := NewServer(ServerConfig{Local: ocs, Dictionary: dictionary(), Watchdog: 5 * time.Second}, echo); err == nil {
			t.Error("server accepts it")
		}
		if _, err := NewClient(ClientConfig{Local: vpn, Dictionary: dictionary(), Watchdog: 5 * time.Second,
			Peers: []Endpoint{{Address: "127.0.0.1:3868"}}}, nil); err == nil {
			t.Error("client accepts it")
		}
	})
	for name, cfg := range map[string]ServerConfig{
		"no identity":      {Dictionary: dictionary()},
		"no dictionary":    {Local: ocs},
		"own host as peer": {Local: ocs, Dictionary: dictionary(), Peers: []PeerRule{{Host: "OCS1.example.org"}}},
		"peer twice":       {Local: ocs, Dictionary: dictionary(), Peers: []PeerRule{{Host: "a.b"}, {Host: "A.B"}}},
		"policy":           {Local: ocs, Dictionary: dictionary(), Unknown: 9},
	} {
		if _, err := NewServer(cfg, echo); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := NewClient(ClientConfig{Local: vpn, Dictionary: dictionary(), Peers: []Endpoint{{Address: "nowhere"}}}, nil); err == nil {
		t.Error("an address without port is accepted")
	}
}
