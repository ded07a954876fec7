package main

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"gygate/cmd/gygate/config"
	"gygate/cmd/gygate/load"
	"gygate/diameter"
	"gygate/diameter/gy"
	"gygate/diameter/peer"
	"gygate/sql/sqltest"
)

// peerSwitches are the switches of a peer in the configuration, by their keys, with a
// value that is not the one a strict peer has.
func peerSwitches() map[string]string {
	all := map[string]string{}
	for section, of := range map[string]reflect.Type{"tolerate": reflect.TypeFor[config.Tolerate](), "habits": reflect.TypeFor[config.Habits]()} {
		for i := range of.NumField() {
			key := of.Field(i).Tag.Get("yaml")
			value := "true"
			switch key {
			case "reauthorize", "thresholds":
				value = "false" // these are on unless told otherwise
			case "validity_max":
				value = "90s"
			case "refund_max":
				value = "'2.50'"
			}
			all[key] = fmt.Sprintf("%s: {%s: %s}", section, key, value)
		}
	}
	return all
}

// fieldsOf are what a strict peer's entry with one more line comes to.
func fieldsOf(t *testing.T, line string) map[string]any {
	t.Helper()
	cfg, err := config.Parse([]byte("diameter: {peers: [{host: PGW.example, addresses: [10.0.0.0/8], strict: true, " + line + "}]}"))
	if err != nil {
		t.Fatal(err)
	}
	m := &Main{cfg: cfg, opt: Options{Role: RoleOCS}, profiles: profiles(cfg.Diameter.Peers)}
	profile, known := m.profile("pgw.EXAMPLE")
	if rules := m.peerRules(); !known || rules[0].Host != "PGW.example" {
		t.Fatalf("the peer is not known: %+v", rules)
	}
	fields := map[string]any{}
	for _, part := range []any{m.peerRules()[0].Tolerate, profile} {
		v := reflect.ValueOf(part)
		for i := range v.NumField() {
			fields[v.Type().Field(i).Name] = v.Field(i).Interface()
		}
	}
	return fields
}

// Every switch of a peer reaches its own field, and no other; every field of what can
// be tolerated and of a profile has its switch.
func TestPeerSwitchesReachTheirFields(t *testing.T) {
	strict := fieldsOf(t, "trusted: false")
	reached := map[string]bool{}
	for key, line := range peerSwitches() {
		for name, value := range fieldsOf(t, line) {
			changed := value != strict[name]
			if own := strings.EqualFold(strings.ReplaceAll(key, "_", ""), name); changed != own {
				t.Errorf("%s: field %s is %v, without it %v", key, name, value, strict[name])
			}
			reached[name] = reached[name] || changed
		}
	}
	for name := range strict {
		if !reached[name] {
			t.Errorf("no switch reaches %s", name)
		}
	}
	for name, value := range strict {
		if name != "Reauthorize" && name != "Thresholds" && !reflect.ValueOf(value).IsZero() {
			t.Errorf("a strict peer has %s %v", name, value)
		}
	}
}

// A peer of the list without further words gets what peers get that are in no list of
// profiles, but for its trust and addresses; one that comes through a relay has a
// profile and a rule that admits no connection; one with a certificate needs no
// addresses.
func TestPeerRules(t *testing.T) {
	cfg, err := config.Parse([]byte(`diameter:
  tls: {listen: ["127.0.0.1:5868"], certificate_file: c, key_file: k, ca_file: a}
  peers:
    - {host: a.example, addresses: [192.0.2.0/24, 198.51.100.7/32], trusted: true, certificate_name: a}
    - {host: b.example, relayed: true}
    - {host: d.example, certificate_name: d}
`))
	if err != nil {
		t.Fatal(err)
	}
	m := &Main{cfg: cfg, opt: Options{Role: RoleAll}, profiles: profiles(cfg.Diameter.Peers)}
	rules := m.peerRules()
	if len(rules) != 4+load.ConnectionsMax || rules[3].Host != cfg.Node.VPN.Host || !rules[3].Trusted {
		t.Fatalf("rules %+v", rules)
	}
	for n, host := range []string{"tool.", "tool-2."} {
		if r := rules[4+n]; r.Host != host+cfg.Node.VPN.Host || r.Trusted || len(r.Addresses) == 0 {
			t.Errorf("rule %+v", r)
		}
	}
	if a := rules[0]; len(a.Addresses) != 2 || !a.Trusted || a.CertificateName != "a" || a.Relayed || a.Tolerate != diameter.Lenient {
		t.Errorf("rule %+v", a)
	}
	if b, d := rules[1], rules[2]; !b.Relayed || d.Relayed || len(d.Addresses) != 0 || d.CertificateName != "d" {
		t.Errorf("rules %+v and %+v", b, d)
	}
	for host, want := range map[string]bool{"a.example": true, "B.example": true, "d.example": true, "c.example": false} {
		p, known := m.profile(host)
		if known != want || known && p != gy.LenientProfile {
			t.Errorf("%s: known %t, profile %+v, want %+v", host, known, p, gy.LenientProfile)
		}
	}
}

// Where the kernel has no SCTP, a configuration that wants it is refused at the start
// with the remedy; where it has, gygate listens.
func TestListenOnSCTP(t *testing.T) {
	cfg := demoConfig()
	cfg.Database.DSN = sqltest.Database(t)
	cfg.Diameter.SCTP.Listen = []string{loopbackAny}
	m, err := New(t.Context(), cfg, Options{Role: RoleOCS, Logger: quietLogger()})
	if err == nil {
		var shown strings.Builder
		m.WriteAddresses(&shown)
		if len(m.sctpAddrs) != 1 || !strings.Contains(shown.String(), m.sctpAddrs[0].String()+" SCTP") {
			t.Errorf("listening on %v\n%s", m.sctpAddrs, shown.String())
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		return
	}
	if !errors.Is(err, peer.ErrNoSCTP) || codeOf(err) != exitUnreachable || !strings.Contains(err.Error(), "diameter.sctp.listen[0]") || !strings.Contains(err.Error(), "modprobe sctp") {
		t.Errorf("code %d, error %v", codeOf(err), err)
	}
}
