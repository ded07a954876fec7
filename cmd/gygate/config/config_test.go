package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestExampleIsTheDefaults(t *testing.T) {
	c, err := Parse(Example())
	if err != nil {
		t.Fatal(err)
	}
	if want := Default(); !sameButEmpty(reflect.ValueOf(*c), reflect.ValueOf(*want)) {
		t.Errorf("example parses to\n%+v\nwant the defaults\n%+v", *c, *want)
	}
}

// sameButEmpty is DeepEqual in which an empty list equals a missing one.
func sameButEmpty(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Struct:
		for i := range a.NumField() {
			if !sameButEmpty(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Slice, reflect.Map:
		return a.Len() == b.Len() && (a.Len() == 0 || reflect.DeepEqual(a.Interface(), b.Interface()))
	}
	return a.Equal(b)
}

// The example is complete only when it names every key there is.
func TestExampleNamesEveryKey(t *testing.T) {
	text := string(Example())
	for _, key := range keysOf(reflect.TypeFor[Config]()) {
		if !strings.Contains(text, key+":") {
			t.Errorf("the example does not mention %q", key)
		}
	}
}

func keysOf(t reflect.Type) []string {
	switch t.Kind() {
	case reflect.Slice:
		return keysOf(t.Elem())
	case reflect.Struct:
		var keys []string
		for i := range t.NumField() {
			keys = append(keys, t.Field(i).Tag.Get("yaml"))
			keys = append(keys, keysOf(t.Field(i).Type)...)
		}
		return keys
	}
	return nil
}

func TestParseOverlaysDefaults(t *testing.T) {
	c, err := Parse([]byte("ocs:\n  policy:\n    slice_seconds: 30\nhttp: {listen: '127.0.0.1:9999'}\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.OCS.Policy.SliceSeconds = 30
	want.HTTP.Listen = "127.0.0.1:9999"
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v", c)
	}
	if empty, err := Parse(nil); err != nil || !reflect.DeepEqual(empty, Default()) {
		t.Errorf("empty file: %+v, %v", empty, err)
	}
}

func TestParseReportsAllFaultsAtOnce(t *testing.T) {
	for _, tc := range []struct {
		name, doc string
		paths     []string // of the faults, in order
	}{
		{"shape", "ocs:\n  lane: 3\n  policy:\n    validity: soon\nsip:\n  listen: 7\n  listen: []\nextra: 1\n",
			[]string{"ocs.lane", "ocs.policy.validity", "sip.listen", "sip.listen", "extra"}},
		{"values", "diameter:\n  watchdog: 5s\n  unknown: maybe\n  peers:\n    - {host: 'a b', addresses: [x]}\n    - {host: c}\nocs: {lanes: 0}\n",
			[]string{"diameter.unknown", "diameter.watchdog", "diameter.peers[0].host", "diameter.peers[0].addresses[0]", "diameter.peers[1].addresses", "ocs.lanes"}},
		{"shape and values", "sip:\n  trusted: [nowhere]\n  drain: soon\nocs: {policy: {slice_money: 7.1234567}, lanes: 0}\ndiameter: {peers: [{host: [], addresses: [x]}]}\n",
			[]string{"sip.drain", "ocs.policy.slice_money", "diameter.peers[0].host", "diameter.peers[0].addresses[0]", "ocs.lanes", "sip.trusted[0]"}},
		{"all addresses without a host", "sip: {listen: ['udp:0.0.0.0:5060', 'tcp:[::]:5060', 'udp::5062']}", []string{"sip.listen[0]", "sip.listen[1]", "sip.listen[2]"}},
		{"all addresses with a host", "sip: {host: gygate.example, listen: ['udp:0.0.0.0:5060', 'sctp:0.0.0.0:1']}", []string{"sip.listen[1]"}},
		{"same identity", "node: {vpn: {host: OCS.gygate.example}}", []string{"node.vpn.host"}},
		{"peer twice", "diameter: {peers: [{host: a, addresses: [10.0.0.0/8]}, {host: A, addresses: [10.0.0.0/8]}]}", []string{"diameter.peers[1].host"}},
		{"relayed peer", "diameter: {peers: [{host: a, relayed: true, addresses: [10.0.0.0/8]}, {host: b, relayed: true, habits: {validity_max: 5s, refund_max: -1, no_4011: maybe}}]}",
			[]string{"diameter.peers[1].habits.no_4011", "diameter.peers[0].relayed", "diameter.peers[1].habits.validity_max", "diameter.peers[1].habits.refund_max"}},
		{"TLS-only peer without TLS", "diameter: {peers: [{host: a, certificate_name: a}]}", []string{"diameter.peers[0].addresses"}},
		{"TLS-only peer", "diameter: {tls: {listen: ['127.0.0.1:5868'], certificate_file: c, key_file: k, ca_file: a}, peers: [{host: a, certificate_name: a}, {host: b}]}",
			[]string{"diameter.peers[1].addresses"}},
		{"transport", "charging: {servers: [{address: 'a:1', transport: udp}]}\ndiameter: {sctp: {listen: [here]}}", []string{"diameter.sctp.listen[0]", "charging.servers[0].transport"}},
		{"tls half", "diameter: {tls: {listen: ['127.0.0.1:5868'], key_file: k}}", []string{"diameter.tls"}},
		{"sip", "sip: {listen: ['sctp:127.0.0.1:1'], next_hop: phone, contacts: {1: 'tel:1'}, session_expires: 10s}",
			[]string{"sip.listen[0]", "sip.next_hop", "sip.contacts.1", "sip.session_expires"}},
		{"policy", "ocs: {policy: {slice_seconds: 5, validity: 2s, supervision: 1s, slice_money: '7.5'}}",
			[]string{"ocs.policy", "ocs.policy.threshold_seconds", "ocs.policy.supervision"}},
		{"money", "ocs: {policy: {slice_money: 7.1234567}}", []string{"ocs.policy.slice_money"}},
		{"two secrets", "database: {dsn: a, dsn_file: b}", []string{"database.dsn_file"}},
		{"charging", "charging: {servers: [{address: here, tls: {certificate_file: a}}], on_failure: hope}",
			[]string{"charging.on_failure", "charging.servers[0].address", "charging.servers[0].tls"}},
		{"not yaml", "a: [", []string{""}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse([]byte(tc.doc))
			var faults Faults
			if !errors.As(err, &faults) {
				t.Fatalf("error %v is no list of faults", err)
			}
			var paths []string
			for _, f := range faults {
				paths = append(paths, f.Path)
			}
			if !slices.Equal(paths, tc.paths) {
				t.Errorf("faults at %q, want %q\n%v", paths, tc.paths, err)
			}
		})
	}
}

func TestFaultNamesItsLine(t *testing.T) {
	_, err := Parse([]byte("http:\n  listen: ':80'\n  port: 80\n"))
	if err == nil || !strings.Contains(err.Error(), "line 3: http.port: unknown key") {
		t.Errorf("got %v", err)
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gygate.yaml")
	if _, err := Load(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if err := os.WriteFile(path, []byte("vpn: {call_max: 1h}"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil || c.VPN.CallMax != time.Hour {
		t.Errorf("got %+v, %v", c, err)
	}
	if c, err := Load(""); err != nil || !reflect.DeepEqual(c, Default()) {
		t.Errorf("no file: %+v, %v", c, err)
	}
}

func TestResolveDSNPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "dsn")
	if err := os.WriteFile(file, []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, flag, env string
		db              Database
		want            string
	}{
		{"flag wins", "from-flag", "from-env", Database{DSNFile: file}, "from-flag"},
		{"environment", "", "from-env", Database{DSNFile: file}, "from-env"},
		{"file", "", "", Database{DSNFile: file}, "from-file"},
		{"document", "", "", Database{DSN: "from-yaml"}, "from-yaml"},
		{"embedded", "", "", Database{}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv(EnvDSN, tc.env)
			if got, err := tc.db.ResolveDSN(tc.flag); err != nil || got != tc.want {
				t.Errorf("got %q, %v, want %q", got, err, tc.want)
			}
		})
	}
	t.Setenv(EnvDSN, "")
	if _, err := (Database{DSNFile: file + "x"}).ResolveDSN(""); err == nil {
		t.Error("a missing dsn_file gives no error")
	}
}

func TestEffectiveMasksSecrets(t *testing.T) {
	for _, dsn := range []string{
		"postgres://me:s3cret@db.example:5432/gygate",
		"postgres://me@db.example/gygate?password=s3cret",
		"host=db.example user=me password=s3cret dbname=gygate",
		"host=db.example password = 's3cret x'",
	} {
		c := Default()
		c.Database.DSN = dsn
		b, err := c.Effective()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "s3cret") || !strings.Contains(string(b), "db.example") {
			t.Errorf("%s shown as\n%s", dsn, b)
		}
		if c.Database.DSN != dsn {
			t.Error("masking changed the configuration")
		}
	}
}

func TestTolerancesFollowStrict(t *testing.T) {
	c, err := Parse([]byte(`diameter:
  peers:
    - {host: a, addresses: [10.0.0.0/8]}
    - {host: b, addresses: [10.0.0.0/8], strict: true, tolerate: {late_terminate: true}}
    - {host: c, relayed: true, tolerate: {newer_avps: false}, habits: {reauthorize: false, refund_max: "2.50"}}
`))
	if err != nil {
		t.Fatal(err)
	}
	a, b, r := &c.Diameter.Peers[0], &c.Diameter.Peers[1], &c.Diameter.Peers[2]
	for name, got := range map[string]bool{
		"an ordinary peer tolerates all":            a.Tolerates(a.Tolerate.NewerAVPs) && a.Tolerates(a.Tolerate.LateTerminate),
		"a strict one nothing":                      !b.Tolerates(b.Tolerate.NewerAVPs),
		"but what is named":                         b.Tolerates(b.Tolerate.LateTerminate),
		"a single tolerance can be switched off":    !r.Tolerates(r.Tolerate.NewerAVPs) && r.Tolerates(r.Tolerate.ForbiddenAVPs),
		"re-authorisation is the rule":              On(a.Habits.Reauthorize) && !On(r.Habits.Reauthorize),
		"money is read exactly, in whole millionth": r.Habits.RefundMax == 2_500_000,
	} {
		if !got {
			t.Errorf("not so: %s", name)
		}
	}
}
