package gy

import (
	"log/slog"
	"strings"

	"gygate/diameter"
	"gygate/ocs"
	"gygate/vpnlogic"
)

// ContextSIP is the Service-Context-Id of charging for IMS (TS 32.260): what our
// own client sends.
const ContextSIP = "32260@3gpp.org"

// ServerConfig configures a Server.
type ServerConfig struct {
	Local diameter.Origin // the charging system's identity; StateID 0 sends none
	// Tariff gives the snapshot whose service contexts are served; required.
	Tariff func() *ocs.Tariff
	// SharedDatabase says that any node can serve any session, which is what
	// CC-Session-Failover tells the client (conformance B-026).
	SharedDatabase bool
	// FailureHandling is sent as Credit-Control-Failure-Handling, unless the
	// service has its own.
	FailureHandling vpnlogic.FailureHandling
	// CostInUpdates adds the cost so far to answers in mid-session.
	CostInUpdates bool
	// LowBalanceBelow adds Low-Balance-Indication when less than this is
	// available; 0: never.
	LowBalanceBelow ocs.Money
	// RemainingBalance adds what is available after the step.
	RemainingBalance bool
	// Profile tells what is known of a client by its Origin-Host, in any case. It is
	// asked for the host of the CCR, then for the peer that delivered it; what it
	// knows nothing of gets LenientProfile. nil: nothing is known of anyone.
	Profile func(host string) (Profile, bool)
	Logger  *slog.Logger
}

// contextName is the part of a Service-Context-Id that names the service: its
// last label and the domain. Operator and release labels in front say nothing
// here ("ext.01.001.8.32260@3gpp.org", conformance B-004).
func contextName(id string) string {
	at := strings.IndexByte(id, '@')
	if at < 0 {
		return id
	}
	name := id[strings.LastIndexByte(id[:at], '.')+1:]
	if domain := strings.ToLower(id[at:]); domain != id[at:] {
		return name[:len(name)-len(domain)] + domain
	}
	return name
}

func orDiscard(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}
