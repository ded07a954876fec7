package vpnlogic

import (
	"errors"
	"fmt"
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

// Directory is an immutable snapshot of all groups and members. It is safe for
// any number of goroutines; a change is a new Directory.
type Directory struct {
	groups    map[string]*group
	members   map[E164]*member
	emergency map[string]bool
}

// group is a Group with what screening looks up.
type group struct {
	Group
	region   string // of the national numbering plan, for the parser
	zone     *time.Location
	shorts   map[string]*member
	sites    map[string]*group // by site code, those of the same customer
	profiles map[string]*Profile
}

// member is a Member with its group and profile resolved.
type member struct {
	Member
	group   *group
	profile *Profile // may be nil
	bars    Bars     // own and the profile's
}

// NewDirectory builds a snapshot. Its error lists every fault of the data, so
// that an operator can mend all at once.
func NewDirectory(groups []Group, members []Member, emergency []string) (*Directory, error) {
	d := &Directory{
		groups:    make(map[string]*group, len(groups)),
		members:   make(map[E164]*member, len(members)),
		emergency: make(map[string]bool, len(emergency)),
	}
	var faults []error
	for _, number := range emergency {
		faults = append(faults, d.addEmergency(number))
	}
	for _, g := range groups {
		faults = append(faults, d.addGroup(g))
	}
	faults = append(faults, d.joinSites())
	for _, m := range members {
		faults = append(faults, d.addMember(m))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *Directory) addEmergency(number string) error {
	if !digitsOnly(number) || len(number) > shortNumberMax {
		return fmt.Errorf("emergency number %q: want 1 to %d digits", number, shortNumberMax)
	}
	d.emergency[number] = true
	return nil
}

func (d *Directory) addGroup(g Group) error {
	if _, taken := d.groups[g.ID]; taken {
		return fmt.Errorf("group %q: id stands twice", g.ID)
	}
	if err := g.Check(); err != nil {
		return err
	}
	region, _ := regionOf(g.CountryCode)
	zone, _ := time.LoadLocation(g.TimeZone)
	kept := &group{
		Group:    g,
		region:   region,
		zone:     zone,
		shorts:   make(map[string]*member),
		sites:    make(map[string]*group),
		profiles: make(map[string]*Profile, len(g.Profiles)),
	}
	for i := range g.Profiles {
		kept.profiles[g.Profiles[i].Name] = &kept.Group.Profiles[i]
	}
	d.groups[g.ID] = kept
	return nil
}

// joinSites lets the groups of one customer find each other by site code.
func (d *Directory) joinSites() error {
	customers := make(map[string]map[string]*group)
	var faults []error
	for _, g := range d.groups {
		if g.Customer == "" {
			continue
		}
		sites := customers[g.Customer]
		if sites == nil {
			sites = make(map[string]*group)
			customers[g.Customer] = sites
		}
		g.sites = sites
		if g.SiteCode == "" {
			continue
		}
		if other := sites[g.SiteCode]; other != nil {
			faults = append(faults, fmt.Errorf("groups %q and %q of customer %q have the same site code %s", g.ID, other.ID, g.Customer, g.SiteCode))
		}
		sites[g.SiteCode] = g
	}
	return errors.Join(faults...)
}

func (d *Directory) addMember(m Member) error {
	g := d.groups[m.Group]
	if g == nil {
		return fmt.Errorf("member %s: no group %q", m.Number, m.Group)
	}
	if err := m.Check(g.Group, d.isEmergency); err != nil {
		return err
	}
	if d.members[m.Number] != nil {
		return fmt.Errorf("member %s: number stands twice", m.Number)
	}
	if m.Short != "" && g.shorts[m.Short] != nil {
		return fmt.Errorf("member %s: short number %s of group %q is taken", m.Number, m.Short, g.ID)
	}
	kept := &member{Member: m, group: g, profile: g.profiles[m.Profile], bars: m.Bars}
	if kept.profile != nil {
		kept.bars = m.Bars.with(kept.profile.Bars)
	}
	d.members[m.Number] = kept
	if m.Short != "" {
		g.shorts[m.Short] = kept
	}
	return nil
}

// Member returns the member with the public number.
func (d *Directory) Member(number E164) (Member, bool) {
	m := d.members[number]
	if m == nil {
		return Member{}, false
	}
	return m.Member, true
}

// Size returns how many groups and members the snapshot holds.
func (d *Directory) Size() (groups, members int) {
	return len(d.groups), len(d.members)
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
	if m.Profile != "" && !hasProfile(g, m.Profile) {
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
	return d.isEmergency
}

func hasProfile(g Group, name string) bool {
	for _, p := range g.Profiles {
		if p.Name == name {
			return true
		}
	}
	return false
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }
