// Package config is gygate's one configuration file: a strict YAML document in
// which every key may be left out.
//
// [Parse] refuses unknown keys and values that make no sense, and reports every
// fault at once, each with the path of its key. The commented example that
// [Example] returns holds exactly the defaults; a test keeps it so.
package config

import (
	_ "embed"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"gygate/ocs"
)

//go:embed example.yaml
var example []byte

// Example returns the complete, commented configuration. It parses to Default.
func Example() []byte { return example }

// Config is the whole configuration.
type Config struct {
	Node      Node      `yaml:"node"`
	Database  Database  `yaml:"database"`
	Diameter  Diameter  `yaml:"diameter"`
	OCS       OCS       `yaml:"ocs"`
	Charging  Charging  `yaml:"charging"`
	SIP       SIP       `yaml:"sip"`
	VPN       VPN       `yaml:"vpn"`
	HTTP      HTTP      `yaml:"http"`
	Telemetry Telemetry `yaml:"telemetry"`
}

// Node holds the two Diameter identities of a gygate: the charging system and
// the VPN logic are two nodes even inside one process.
type Node struct {
	OCS Identity `yaml:"ocs"`
	VPN Identity `yaml:"vpn"`
}

// Identity is a DiameterIdentity with its realm.
type Identity struct {
	Host  string `yaml:"host"`
	Realm string `yaml:"realm"`
}

// Database says where the books are kept. Without a DSN gygate runs a private
// PostgreSQL in its data directory.
type Database struct {
	DSN      string `yaml:"dsn"`
	DSNFile  string `yaml:"dsn_file"`
	Embedded struct {
		Port int `yaml:"port"`
	} `yaml:"embedded"`
}

// Diameter is the server side: who may connect, and how.
type Diameter struct {
	Listen      []string      `yaml:"listen"`
	TLS         ServerTLS     `yaml:"tls"`
	SCTP        SCTP          `yaml:"sctp"`
	Unknown     string        `yaml:"unknown"`
	Peers       []Peer        `yaml:"peers"`
	Watchdog    time.Duration `yaml:"watchdog"`
	CERTimeout  time.Duration `yaml:"cer_timeout"`
	Connections int           `yaml:"connections_max"`
	PerAddress  int           `yaml:"per_address_max"`
}

// ServerTLS is the mutual-TLS listener; off while Listen is empty.
type ServerTLS struct {
	Listen      []string `yaml:"listen"`
	Certificate string   `yaml:"certificate_file"`
	Key         string   `yaml:"key_file"`
	CA          string   `yaml:"ca_file"`
}

// SCTP is the listener over SCTP; off while Listen is empty.
type SCTP struct {
	Listen []string `yaml:"listen"`
}

// OCS sizes the charging engine and sets its policy.
type OCS struct {
	Lanes      int           `yaml:"lanes"`
	BatchMax   int           `yaml:"batch_max"`
	QueueMax   int           `yaml:"queue_max"`
	CacheMax   int           `yaml:"cache_max"`
	Sweep      time.Duration `yaml:"sweep"`
	TariffPoll time.Duration `yaml:"tariff_poll"`
	Policy     Policy        `yaml:"policy"`
	Answers    Answers       `yaml:"answers"`
}

// Answers is what the charging system tells its clients beside the grants.
type Answers struct {
	FailureHandling  string    `yaml:"failure_handling"`
	SessionFailover  bool      `yaml:"session_failover"`
	CostInUpdates    bool      `yaml:"cost_in_updates"`
	RemainingBalance bool      `yaml:"remaining_balance"`
	LowBalanceBelow  ocs.Money `yaml:"low_balance_below"`
}

// Policy is what the charging system grants and how long it waits; its fields
// are those of ocs.Policy.
type Policy struct {
	SliceSeconds     int64         `yaml:"slice_seconds"`
	SliceOctets      int64         `yaml:"slice_octets"`
	SliceEvents      int64         `yaml:"slice_events"`
	SliceMoney       ocs.Money     `yaml:"slice_money"`
	ThresholdSeconds int64         `yaml:"threshold_seconds"`
	ThresholdOctets  int64         `yaml:"threshold_octets"`
	ThresholdEvents  int64         `yaml:"threshold_events"`
	MinimumSeconds   int64         `yaml:"minimum_seconds"`
	MinimumOctets    int64         `yaml:"minimum_octets"`
	MinimumEvents    int64         `yaml:"minimum_events"`
	Validity         time.Duration `yaml:"validity"`
	Supervision      time.Duration `yaml:"supervision"`
	LateTerminate    time.Duration `yaml:"late_terminate"`
	ClockTolerance   time.Duration `yaml:"clock_tolerance"`
	ClockSkew        time.Duration `yaml:"clock_skew"`
	Retention        time.Duration `yaml:"retention"`
}

// Charging is the client side: where VPN logic has its calls charged.
type Charging struct {
	Servers   []Server      `yaml:"servers"`
	Tx        time.Duration `yaml:"tx"`
	OnFailure string        `yaml:"on_failure"`
	Watchdog  time.Duration `yaml:"watchdog"`
	Reconnect time.Duration `yaml:"reconnect"`
	// RatingBlock is how long what had no price is not asked for again; 0: never.
	RatingBlock time.Duration `yaml:"rating_block"`
}

// Server is an online charging system that VPN logic may use.
type Server struct {
	Address   string    `yaml:"address"`
	Transport string    `yaml:"transport"` // "": tcp
	Host      string    `yaml:"host"`
	Realm     string    `yaml:"realm"`
	Priority  int       `yaml:"priority"`
	TLS       ClientTLS `yaml:"tls"`
}

// ClientTLS is used towards a server when CA is set.
type ClientTLS struct {
	CA          string `yaml:"ca_file"`
	Certificate string `yaml:"certificate_file"`
	Key         string `yaml:"key_file"`
	ServerName  string `yaml:"server_name"`
}

// SIP is the signalling side.
type SIP struct {
	Listen         []string          `yaml:"listen"`
	Host           string            `yaml:"host"`
	Trusted        []string          `yaml:"trusted"`
	NextHop        string            `yaml:"next_hop"`
	Contacts       map[string]string `yaml:"contacts"`
	SessionExpires time.Duration     `yaml:"session_expires"`
	SetupMax       time.Duration     `yaml:"setup_max"`
	Drain          time.Duration     `yaml:"drain"`
}

// VPN bounds the service logic.
type VPN struct {
	CallsMax int           `yaml:"calls_max"`
	CallMax  time.Duration `yaml:"call_max"`
}

// HTTP is the operator's port: health, metrics, profiles.
type HTTP struct {
	Listen string `yaml:"listen"`
}

// Telemetry sets logs and traces; exporters follow the OTEL_* variables.
type Telemetry struct {
	TraceInSessionID bool   `yaml:"trace_in_session_id"`
	LogLevel         string `yaml:"log_level"`
	LogFormat        string `yaml:"log_format"`
}

// Load reads and checks a configuration file; "" gives the defaults.
func Load(path string) (*Config, error) {
	if path == "" {
		return Default(), nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	c, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Parse decodes a document over the defaults. The error lists every fault of
// the document, see [Faults].
func Parse(b []byte) (*Config, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return nil, Faults{{Path: "", Text: strings.TrimPrefix(err.Error(), "yaml: ")}}
	}
	c := Default()
	if doc.Kind == 0 { // an empty file is a configuration too
		return c, nil
	}
	// What has the wrong shape is told and left out; the rest is read and checked
	// all the same, so that one look shows every fault.
	faults := pruneShape(&doc)
	if err := doc.Decode(c); err != nil {
		return nil, append(faults, Fault{Path: "", Text: err.Error()})
	}
	if faults = faults.and(c.validate()); len(faults) > 0 {
		return nil, faults
	}
	return c, nil
}

// masked stands where a secret is in an effective configuration.
const masked = "********"

// Effective writes c as YAML with its secrets masked.
func (c *Config) Effective() ([]byte, error) {
	shown := *c
	if shown.Database.DSN != "" {
		shown.Database.DSN = MaskDSN(shown.Database.DSN)
	}
	shown.Diameter.Peers = slices.Clone(shown.Diameter.Peers)
	for i := range shown.Diameter.Peers {
		shown.Diameter.Peers[i].decide()
	}
	return yaml.Marshal(&shown)
}
