package config

import (
	"time"

	"gygate/ocs"
)

// Names of Diameter.Unknown.
const (
	UnknownReject = "reject"
	UnknownDrop   = "drop"
	UnknownOpen   = "open"
)

// Names of Charging.OnFailure (Credit-Control-Failure-Handling, RFC 8506 §8.14).
const (
	FailTerminate         = "terminate"
	FailContinue          = "continue"
	FailRetryAndTerminate = "retry_and_terminate"
)

// Default is the configuration of an empty file: everything on loopback, an
// embedded database, nobody let in who is not named.
func Default() *Config {
	return &Config{
		Node: Node{
			OCS: Identity{Host: "ocs.gygate.example", Realm: "gygate.example"},
			VPN: Identity{Host: "vpn.gygate.example", Realm: "gygate.example"},
		},
		Diameter: Diameter{
			Listen:      []string{"127.0.0.1:3868"},
			Unknown:     UnknownReject,
			Watchdog:    30 * time.Second,
			CERTimeout:  10 * time.Second,
			Connections: 1024,
			PerAddress:  64,
		},
		OCS: OCS{
			Lanes:      ocs.LanesDefault,
			BatchMax:   ocs.BatchMaxDefault,
			QueueMax:   ocs.QueueMaxDefault,
			CacheMax:   ocs.CacheMaxDefault,
			Sweep:      ocs.SweepDefault,
			TariffPoll: 5 * time.Second,
			Policy:     Policy(ocs.DefaultPolicy()),
			Answers:    Answers{FailureHandling: FailTerminate, SessionFailover: true},
		},
		Charging: Charging{
			Tx:          10 * time.Second,
			OnFailure:   FailTerminate,
			Watchdog:    30 * time.Second,
			Reconnect:   30 * time.Second,
			RatingBlock: 10 * time.Minute,
		},
		SIP: SIP{
			Listen:         []string{"udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"},
			Trusted:        []string{"127.0.0.0/8", "::1/128"},
			SessionExpires: 180 * time.Second,
			SetupMax:       180 * time.Second,
			Drain:          10 * time.Second,
		},
		VPN:       VPN{CallsMax: 10_000, CallMax: 12 * time.Hour},
		HTTP:      HTTP{Listen: "127.0.0.1:8080"},
		Telemetry: Telemetry{TraceInSessionID: true, LogLevel: "info", LogFormat: "text"},
	}
}
