package vpnlogic

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Limits of the numbering plan; what is longer is refused when the directory
// is built.
const (
	shortNumberMax = 10 // digits of an extension, of a site or an escape code
	e164Min        = 5  // digits of the shortest public number taken as a member's line
	e164Max        = 15 // ITU-T E.164 §6
	nameMax        = 64 // bytes of a group id, profile name or display name
	profilesMax    = 1000
)

// Group is a virtual private network: a closed group of lines with a private
// numbering plan, an off-net rule and lists.
type Group struct {
	ID             string    `json:"id"`
	Name           string    `json:"name,omitempty"`
	Customer       string    `json:"customer,omitempty"`        // groups of one customer reach each other by site code
	SiteCode       string    `json:"site_code,omitempty"`       // dialled before an extension from another site
	CountryCode    string    `json:"country_code"`              // "86"
	AreaCode       string    `json:"area_code,omitempty"`       // completes local numbers, without trunk prefix
	EscapeCode     string    `json:"escape_code,omitempty"`     // dialled before a public number
	ShortDigits    int       `json:"short_digits,omitempty"`    // every dialled number of this length is a short number; 0: only the assigned ones
	EscapeRequired bool      `json:"escape_required,omitempty"` // refuse a public number without the escape code
	ForcedOnNet    bool      `json:"forced_on_net,omitempty"`   // a colleague's public number is charged on-net
	Exclusions     []string  `json:"exclusions,omitempty"`      // public prefixes never forced on-net
	TimeZone       string    `json:"time_zone,omitempty"`       // IANA name for the lists' spans, "" UTC
	Payer          Payer     `json:"payer,omitempty"`           // who pays for the members' calls, "" the member
	Rules          []Rule    `json:"rules,omitempty"`
	Profiles       []Profile `json:"profiles,omitempty"`
}

// Payer says whose prepaid account pays for a call.
type Payer string

// The payers of a group's calls.
const (
	// PayerMember is the calling line, if it has the prepaid service.
	PayerMember Payer = "member"
	// PayerGroup is the group for every member, prepaid or not, by the account
	// whose identity of kind PRIVATE is the group's id (conformance C-092).
	PayerGroup Payer = "group"
)

// Profile is a class of service shared by many members of a group.
type Profile struct {
	Name  string `json:"name"`
	Bars  Bars   `json:"bars,omitzero"`
	Rules []Rule `json:"rules,omitempty"`
}

// Bars are absolute: no list lifts them. An emergency call passes them all.
type Bars struct {
	Outgoing      bool `json:"outgoing,omitempty"`
	OffNet        bool `json:"off_net,omitempty"`
	International bool `json:"international,omitempty"`
	Incoming      bool `json:"incoming,omitempty"`
}

func (b Bars) with(other Bars) Bars {
	return Bars{
		Outgoing:      b.Outgoing || other.Outgoing,
		OffNet:        b.OffNet || other.OffNet,
		International: b.International || other.International,
		Incoming:      b.Incoming || other.Incoming,
	}
}

// Member is one line of a group.
type Member struct {
	Number  E164   `json:"number"`
	Group   string `json:"group"`
	Short   string `json:"short_number,omitempty"`
	Display string `json:"display,omitempty"`
	Prepaid bool   `json:"prepaid"` // the line also has the prepaid service
	Profile string `json:"profile,omitempty"`
	Bars    Bars   `json:"bars,omitzero"`
	Rules   []Rule `json:"rules,omitempty"`
}

// Check tells what is wrong with a group by itself, all faults at once.
func (g Group) Check() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("group %q: "+format, append([]any{g.ID}, args...)...))
	}
	if g.ID == "" || len(g.ID) > nameMax {
		fault("id must have 1 to %d bytes", nameMax)
	}
	if _, known := regionOf(g.CountryCode); !known {
		fault("country code %q is not assigned", g.CountryCode)
	}
	for name, code := range map[string]string{"area": g.AreaCode, "escape": g.EscapeCode, "site": g.SiteCode} {
		if code != "" && (!digitsOnly(code) || len(code) > shortNumberMax) {
			fault("%s code %q: want at most %d digits", name, code, shortNumberMax)
		}
	}
	if g.ShortDigits < 0 || g.ShortDigits > shortNumberMax {
		fault("short_digits %d: want 0 to %d", g.ShortDigits, shortNumberMax)
	}
	if g.EscapeRequired && g.EscapeCode == "" {
		fault("escape_required without an escape_code lets no call out")
	}
	if _, err := time.LoadLocation(g.TimeZone); err != nil {
		fault("time zone %q is not known", g.TimeZone)
	}
	if g.Payer != "" && g.Payer != PayerMember && g.Payer != PayerGroup {
		fault("payer %q: want %s or %s", g.Payer, PayerMember, PayerGroup)
	}
	for _, prefix := range g.Exclusions {
		if !digitsOnly(prefix) {
			fault("exclusion %q: want digits with country code", prefix)
		}
	}
	faults = append(faults, checkRules(g.Rules, "group "+g.ID))
	if len(g.Profiles) > profilesMax {
		fault("%d profiles, at most %d", len(g.Profiles), profilesMax)
	}
	for _, p := range g.Profiles {
		if p.Name == "" || len(p.Name) > nameMax {
			fault("profile %q: name must have 1 to %d bytes", p.Name, nameMax)
		}
		faults = append(faults, checkRules(p.Rules, "profile "+p.Name))
	}
	return errors.Join(faults...)
}

// Check tells what is wrong with a member of the group, all faults at once.
// The function tells whether a short number means an emergency number there;
// EmergencyIn makes one of a list.
func (m Member) Check(g Group, emergency func(short string, g Group) bool) error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("member %s: "+format, append([]any{m.Number}, args...)...))
	}
	if !m.Number.Valid() {
		fault("number: want %d to %d digits with country code, no '+'", e164Min, e164Max)
	}
	if m.Short != "" && (!digitsOnly(m.Short) || len(m.Short) > shortNumberMax) {
		fault("short number %q: want at most %d digits", m.Short, shortNumberMax)
	}
	if m.Short != "" && g.ShortDigits > 0 && len(m.Short) != g.ShortDigits {
		fault("short number %q: group %q uses %d digits", m.Short, g.ID, g.ShortDigits)
	}
	if m.Short != "" && emergency(m.Short, g) {
		fault("short number %s would hide an emergency number", m.Short)
	}
	if len(m.Display) > nameMax || strings.ContainsFunc(m.Display, isControl) {
		fault("display name: want at most %d bytes, no control characters", nameMax)
	}
	if m.Profile != "" && !hasProfile(&g, m.Profile) {
		fault("group %q has no profile %q", g.ID, m.Profile)
	}
	faults = append(faults, checkRules(m.Rules, "member "+string(m.Number)))
	return errors.Join(faults...)
}

// EmergencyIn returns the test that Member.Check wants for a list of emergency
// numbers.
func EmergencyIn(numbers []string) func(short string, g Group) bool {
	d := Directory{emergency: make(map[string]bool, len(numbers))}
	for _, number := range numbers {
		d.emergency[number] = true
	}
	return func(short string, g Group) bool { return d.isEmergency(short, g.EscapeCode) }
}

func hasProfile(g *Group, name string) bool {
	return slices.ContainsFunc(g.Profiles, func(p Profile) bool { return p.Name == name })
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }
