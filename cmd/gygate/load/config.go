package load

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"gygate/diameter"
	"gygate/diameter/gy"
)

// Mode is what a load consists of.
type Mode string

// The modes.
const (
	Sessions Mode = "session" // CCR-I, CCR-U …, CCR-T
	Events   Mode = "event"   // CCR-E, Requested-Action DIRECT_DEBITING
	Opening  Mode = "open"    // CCR-I alone: the sessions stay open
)

// Pick says which subscriber pays for the next session.
type Pick string

// The picks.
const (
	Uniform Pick = "uniform" // each as likely as the others
	Zipf    Pick = "zipf"    // few busy ones and a long tail
	One     Pick = "one"     // always the first
)

// zipfExponent is the skew of Zipf: the busiest of a million has a tenth of it all.
const zipfExponent = 1.1

// Limits.
const (
	ConnectionsMax = 64
	SessionsMax    = 1 << slotBits // under way on one connection
	UpdatesMax     = 1000          // of one session
	RateMax        = 10_000_000    // CCR/s
	NumberDigits   = 15            // of an E.164 number
)

// Defaults of what Config leaves 0.
const (
	durationDefault = 10 * time.Second
	timeoutDefault  = 10 * time.Second
	openLoopDefault = 4096 // sessions under way in the open loop
)

// Config is what to load, and with what.
type Config struct {
	Target           string // host:port
	Host, Realm      string // Origin-Host and Origin-Realm; see HostOf
	DestinationRealm string // "": Realm
	Context          string // Service-Context-Id, "": gy.ContextSIP
	Connections      int    // 0: 1

	Mode     Mode // "": Sessions
	Updates  int  // CCR-U of each session
	InFlight int  // sessions or events under way at a time, over all connections
	// Rate, when not 0, makes it an open loop of so many CCR/s: sessions arrive evenly
	// at Rate/(Updates+2) a second and send each further request when the one before
	// is answered. InFlight then is only the bound beyond which arrivals have to wait.
	Rate float64

	First       string // the first subscriber's number, digits with its country code
	Subscribers int    // whose numbers follow one another; 0: 1
	Pick        Pick   // "": Uniform
	Called      string // the called number, digits with its country code
	RatingGroup uint32 // of the one Multiple-Services-Credit-Control
	Seconds     uint32 // CC-Time requested, and debited by an event
	Used        uint32 // CC-Time reported by each CCR-U and CCR-T
	// CommandLevel puts the units at the command, as RFC 8506 alone has it, and leaves
	// out Multiple-Services-Credit-Control and with it the rating group.
	CommandLevel bool
	// Repeats is the share of requests that are sent twice, the second time with T:
	// half of those right behind the first, half after its answer.
	Repeats float64

	Duration time.Duration // how long sessions begin; 0 with Requests: until those are sent
	Requests int64         // how many CCRs, repeats not counted; 0: as many as Duration lets
	Warmup   time.Duration // the first part of Duration, which is not measured
	Timeout  time.Duration // after which a request counts as lost; 0: 10 s
	Seed     uint64        // of the picks, and of which requests are repeated

	// Progress, when set, is told each second how it goes.
	Progress func(Progress)
}

func (c Config) withDefaults() Config {
	orElse(&c.DestinationRealm, c.Realm)
	orElse(&c.Context, gy.ContextSIP)
	orElse(&c.Connections, 1)
	orElse(&c.Mode, Sessions)
	orElse(&c.Pick, Uniform)
	orElse(&c.Subscribers, 1)
	orElse(&c.Timeout, timeoutDefault)
	if c.Rate > 0 {
		orElse(&c.InFlight, openLoopDefault)
	}
	orElse(&c.InFlight, c.Connections)
	if c.Requests == 0 {
		orElse(&c.Duration, durationDefault)
	}
	return c
}

func orElse[T comparable](value *T, otherwise T) {
	if *value == *new(T) {
		*value = otherwise
	}
}

// check finds all that is wrong with a configuration, by the flags of `gygate load`.
func (c *Config) check() error {
	var faults []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	need(c.Host != "" && c.Realm != "", "--origin-host and --realm: both are needed")
	need(c.Connections >= 1 && c.Connections <= ConnectionsMax, "--connections %d: want 1 to %d", c.Connections, ConnectionsMax)
	need(c.InFlight >= c.Connections && c.InFlight/max(c.Connections, 1) < SessionsMax, "--sessions %d: want at least one for each connection and less than %d", c.InFlight, SessionsMax)
	need(c.Updates >= 0 && c.Updates <= UpdatesMax, "--updates %d: want 0 to %d", c.Updates, UpdatesMax)
	need(c.Rate >= 0 && c.Rate <= RateMax, "--rate %g: want 0 to %d", c.Rate, RateMax)
	need(c.Repeats >= 0 && c.Repeats <= 1, "--dup %g: want a share from 0 to 1", c.Repeats)
	need(slices.Contains([]Mode{Sessions, Events, Opening}, c.Mode), "--mode %q: want %s, %s or %s", c.Mode, Sessions, Events, Opening)
	need(slices.Contains([]Pick{Uniform, Zipf, One}, c.Pick), "--pick %q: want %s, %s or %s", c.Pick, Uniform, Zipf, One)
	need(c.Duration >= 0, "--duration %s: want no negative time", c.Duration)
	need(c.Requests >= 0, "--requests %d: want no negative number", c.Requests)
	need(c.Warmup == 0 || c.Warmup > 0 && c.Warmup < c.Duration, "--warmup %s: want less than the duration, %s", c.Warmup, c.Duration)
	need(c.Timeout > 0, "--timeout %s: want no negative time", c.Timeout)
	need(c.Seconds > 0 || c.Mode != Events, "--units 0: an event has to debit something")
	need(isNumber(c.Called), "--called %q: want 1 to %d digits with the country code", c.Called, NumberDigits)
	need(c.Subscribers >= 1, "--subscribers %d: want at least 1", c.Subscribers)
	if need(isNumber(c.First), "--first %q: want 1 to %d digits with the country code", c.First, NumberDigits); isNumber(c.First) {
		need(len(c.Number(c.Subscribers-1)) == len(c.First), "--subscribers %d: so many numbers from --first %s on would become longer", c.Subscribers, c.First)
	}
	return errors.Join(faults...)
}

func isNumber(s string) bool {
	return s != "" && len(s) <= NumberDigits && strings.Trim(s, "0123456789") == "" && s[0] != '0'
}

// Number is that of the n-th subscriber, from 0.
func (c *Config) Number(n int) string {
	first, err := strconv.ParseUint(c.First, 10, 64)
	if err != nil || n < 0 || first > math.MaxInt64 {
		return ""
	}
	return strconv.FormatUint(first+uint64(n), 10)
}

// HostOf is the Origin-Host of the n-th connection, from 0: a charging system takes
// one connection of a host, so the others put their number behind its first label.
func (c *Config) HostOf(n int) string {
	if n == 0 {
		return c.Host
	}
	label, rest, dotted := strings.Cut(c.Host, ".")
	label = fmt.Sprintf("%s-%d", label, n+1)
	if !dotted {
		return label
	}
	return label + "." + rest
}

// perSession is how many requests a session has.
func (c *Config) perSession() int {
	if c.Mode == Sessions {
		return c.Updates + 2
	}
	return 1
}

// stateID is the Origin-State-Id of every load: a higher one would tell the server that
// the sessions which an earlier load has left open are lost.
const stateID = 1

// local is how connection n presents itself.
func (c *Config) local(n int) diameter.Origin {
	return diameter.Origin{Host: c.HostOf(n), Realm: c.Realm, StateID: stateID}
}

// Check finds all that is wrong with a configuration.
func (c *Config) Check() error {
	complete := c.withDefaults()
	return complete.check()
}
