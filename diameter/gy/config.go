package gy

import (
	"log/slog"
	"strings"

	"gygate/diameter"
	"gygate/ocs"
	"gygate/vpnlogic"
)

// ContextConfig is what the wire needs to know of one service context.
type ContextConfig struct {
	DefaultRatingGroup uint32       // prices a target that names no rating group
	Unit               ocs.UnitKind // the unit that counts when a request carries several
	// RefusalInMSCC keeps 4010 and 4012 inside the MSCC, under a command that
	// succeeds, because data gateways act on them only there (conformance
	// D-050). Voice clients want them at the command.
	RefusalInMSCC bool
	// NoCost leaves Cost-Information out of the final answer.
	NoCost bool
}

// DefaultContexts are the contexts that a new database serves: calls over SIP
// and circuit-switched ones by time, at the off-net price when nobody says
// otherwise, which is the dearer one; data by volume, events by count.
func DefaultContexts() map[string]ContextConfig {
	voice := ContextConfig{DefaultRatingGroup: vpnlogic.RatingOffNet, Unit: ocs.Seconds}
	return map[string]ContextConfig{
		ContextSIP:   voice,
		ContextVoice: voice,
		ContextData:  {Unit: ocs.Octets, RefusalInMSCC: true, NoCost: true},
		ContextEvent: {Unit: ocs.Events},
	}
}

// contextOf derives the wire's side of a service context that the tariff
// serves. Gateways that want refusals inside the MSCC are data gateways, which
// have no use for Cost-Information.
func contextOf(c *ocs.ServiceContext) ContextConfig {
	return ContextConfig{DefaultRatingGroup: c.DefaultRatingGroup, Unit: c.Unit, RefusalInMSCC: c.ItemRefusals, NoCost: c.ItemRefusals}
}

// The service contexts of 3GPP charging that DefaultContexts knows.
const (
	ContextData  = "32251@3gpp.org" // packet-switched data
	ContextSIP   = "32260@3gpp.org" // IMS: what our own client sends
	ContextEvent = "32274@3gpp.org" // short messages
	ContextVoice = "32276@3gpp.org" // voice call service
)

// ServerConfig configures a Server.
type ServerConfig struct {
	Local diameter.Origin // the charging system's identity; StateID 0 sends none
	// Tariff gives the snapshot whose service contexts are served, so that they
	// are configured in one place and follow it when it changes.
	Tariff func() *ocs.Tariff
	// Contexts are served without Tariff; nil: DefaultContexts.
	Contexts map[string]ContextConfig
	// SharedDatabase says that any node can serve any session, which is what
	// CC-Session-Failover tells the client (conformance B-026).
	SharedDatabase bool
	// FailureHandling is sent as Credit-Control-Failure-Handling.
	FailureHandling vpnlogic.FailureHandling
	// CostInUpdates adds the cost so far to answers in mid-session.
	CostInUpdates bool
	// LowBalanceBelow adds Low-Balance-Indication when less than this is
	// available; 0: never.
	LowBalanceBelow ocs.Money
	// RemainingBalance adds what is available after the step.
	RemainingBalance bool
	Logger           *slog.Logger
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
