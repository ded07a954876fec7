package vpnlogic

import (
	"strings"
	"time"
)

// CallClass is how the network treats a call; it selects the price and stands
// in the charging data (conformance C-102, type 4).
type CallClass string

// The call classes.
const (
	OnNet         CallClass = "on-net"
	ForcedOnNet   CallClass = "forced on-net" // a colleague's public number was dialled
	OffNet        CallClass = "off-net"
	International CallClass = "international"
	Emergency     CallClass = "emergency"
)

// Rating groups of a VPN call (RFC 8506 §8.29): what the tariff prices.
const (
	RatingOnNet         uint32 = 100 // also forced on-net
	RatingOffNet        uint32 = 101
	RatingInternational uint32 = 102
)

// RatingGroup is the rating group of the class; an emergency call has none.
func (c CallClass) RatingGroup() uint32 {
	switch c {
	case OnNet, ForcedOnNet:
		return RatingOnNet
	case OffNet:
		return RatingOffNet
	case International:
		return RatingInternational
	default:
		return 0
	}
}

// Route is what screening decided. For a refused attempt it holds what was
// found until then, for the call record.
type Route struct {
	Group        string
	Caller       Member // zero for an emergency call of a stranger
	CalledMember Member // zero when the called party is no member
	Class        CallClass
	Called       E164
	Destination  Destination
	RatingGroup  uint32
	Prepaid      bool   // the call is charged on the payer's account
	Payer        E164   // the line that pays; "" when PayerAccount does
	PayerAccount string // the group's account, when the group pays
}

// Screen authenticates the caller's membership, translates what was dialled
// and applies bars and lists, in this order:
//
//  1. an emergency number is connected, whoever calls: no screening, no charge;
//  2. the calling line must be a member and not barred;
//  3. a short number of its own group, or site code and short number of
//     another group of the same customer, is on-net;
//  4. the escape code and a public number is off-net;
//  5. a public number is forced on-net if it is a colleague's, else off-net;
//  6. a number of another country is international;
//  7. bars by class, then the lists of member, profile and group;
//  8. the called member's own bar and lists.
//
// It refuses with one named reason, the first that applies.
func (d *Directory) Screen(a Attempt, now time.Time) (Route, *Cause) {
	caller := d.caller(a.Calling)
	if number, yes := d.emergencyOf(a.Dialled, caller); yes {
		return emergencyRoute(a, caller, number), nil
	}
	if caller == nil {
		if a.Calling == "" {
			return Route{}, refuse(ReasonNoCallingNumber)
		}
		return Route{}, refuse(ReasonNotAMember)
	}
	r := Route{Group: caller.group.ID, Caller: caller.Member}
	if caller.bars.Outgoing {
		return r, refuse(ReasonOutgoingBarred)
	}
	t, cause := d.translate(a.Dialled, caller)
	if cause != nil {
		return r, cause
	}
	r.take(t)
	if cause := permit(caller, t, now); cause != nil {
		return r, cause
	}
	r.charge(caller)
	return r, nil
}

// charge names the payer: the group for all its members, or the member who has
// the prepaid service (conformance C-092).
func (r *Route) charge(caller *member) {
	if caller.group.Payer == PayerGroup {
		r.Prepaid, r.PayerAccount = true, caller.group.ID
		return
	}
	r.Prepaid, r.Payer = caller.Prepaid, caller.Number
}

// payer is who pays, for the call record.
func (r *Route) payer() Payer {
	if r.PayerAccount != "" {
		return PayerGroup
	}
	return PayerMember
}

func refuse(reason string) *Cause {
	c := CauseOf(reason)
	return &c
}

func (d *Directory) caller(calling string) *member {
	number, ok := callingNumber(calling)
	if !ok {
		return nil
	}
	return d.find(number)
}

// Emergency tells whether the attempt is an emergency call, which no limit
// refuses.
func (d *Directory) Emergency(a Attempt) bool {
	_, yes := d.emergencyOf(a.Dialled, d.caller(a.Calling))
	return yes
}

// emergencyOf finds the emergency number in what was dialled: alone, with '+',
// after the caller's escape code, or as the service URN.
func (d *Directory) emergencyOf(raw string, caller *member) (string, bool) {
	if isSOS(raw) {
		return strings.ToLower(strings.TrimSpace(raw)), true
	}
	n, ok := readDialled(raw)
	if !ok {
		return "", false
	}
	if d.emergency[n.digits] {
		return n.digits, true
	}
	if caller == nil || !d.isEmergency(n.digits, caller.group.EscapeCode) {
		return "", false
	}
	return strings.TrimPrefix(n.digits, caller.group.EscapeCode), true
}

// isEmergency tells whether a member of a group with that escape code who dials the
// digits means an emergency number.
func (d *Directory) isEmergency(digits, escapeCode string) bool {
	if d.emergency[digits] {
		return true
	}
	rest, escaped := strings.CutPrefix(digits, escapeCode)
	return escaped && d.emergency[rest]
}

func emergencyRoute(a Attempt, caller *member, number string) Route {
	r := Route{Class: Emergency, Destination: Destination{Emergency: number, CallerID: a.Calling}}
	if caller != nil {
		r.Group, r.Caller = caller.group.ID, caller.Member
		r.Destination.CallerID = string(caller.Number)
	}
	return r
}

// translation is a dialled number understood.
type translation struct {
	class  CallClass
	called E164
	member *member // nil when no member
	cli    string  // the number to present
}

func (r *Route) take(t translation) {
	r.Class, r.Called, r.RatingGroup = t.class, t.called, t.class.RatingGroup()
	if t.member != nil {
		r.CalledMember = t.member.Member
	}
	r.Destination = Destination{
		Called:   t.called,
		CallerID: t.cli,
		Display:  r.Caller.Display,
		OnNet:    r.RatingGroup == RatingOnNet,
	}
}

// translate follows the private numbering plan (steps 3 to 6 of Screen).
func (d *Directory) translate(raw string, caller *member) (translation, *Cause) {
	n, ok := readDialled(raw)
	if !ok {
		return translation{}, refuse(ReasonInvalidNumber)
	}
	if n.absolute { // never analysed as a short number
		return d.publicNumber(n, caller, false)
	}
	if called := caller.group.extension(n.digits); called != nil {
		return onNet(OnNet, called, caller), nil
	}
	return d.publicDigits(n, caller)
}

// extension finds the member behind a short number or site code and short
// number.
func (g *group) extension(digits string) *member {
	if called := g.member(digits); called != nil {
		return called
	}
	for end := min(len(digits)-1, shortNumberMax); end > 0; end-- {
		if site := g.sites[digits[:end]]; site != nil {
			if called := site.member(digits[end:]); called != nil {
				return called
			}
		}
	}
	return nil
}

// publicDigits reads digits that are no assigned short number.
func (d *Directory) publicDigits(n dialled, caller *member) (translation, *Cause) {
	g := caller.group
	rest, escaped := strings.CutPrefix(n.digits, g.EscapeCode)
	if g.EscapeCode != "" && escaped && rest != "" {
		if t, cause := d.publicNumber(dialled{digits: rest}, caller, true); cause == nil {
			return t, nil
		}
	}
	if len(n.digits) == g.ShortDigits {
		return translation{}, refuse(ReasonUnknownShortNumber)
	}
	return d.publicNumber(n, caller, false)
}

// publicNumber classifies a public number. The escape code asks for off-net,
// but a colleague reached that way is a colleague where on-net is forced.
func (d *Directory) publicNumber(n dialled, caller *member, escaped bool) (translation, *Cause) {
	g := caller.group
	number, ok := d.lookUp(n, g)
	if !ok {
		return translation{}, refuse(ReasonInvalidNumber)
	}
	called := d.find(number)
	if called != nil && g.forces(called) {
		return onNet(ForcedOnNet, called, caller), nil
	}
	if g.EscapeRequired && !escaped {
		return translation{}, refuse(ReasonEscapeCodeRequired)
	}
	t := translation{class: OffNet, called: number, member: called, cli: string(caller.Number)}
	if !strings.HasPrefix(string(number), g.CountryCode) {
		t.class = International
	}
	return t, nil
}

// lookUp reads the public number; a member's line needs no parser to be known.
func (d *Directory) lookUp(n dialled, g *group) (E164, bool) {
	if n.absolute && d.holds(E164(n.digits)) {
		return E164(n.digits), true
	}
	return g.public(n)
}

// forces tells whether a call to the member's public number is charged on-net.
func (g *group) forces(called *member) bool {
	if !g.ForcedOnNet || !g.reaches(called.group) {
		return false
	}
	for _, prefix := range g.Exclusions {
		if strings.HasPrefix(string(called.Number), prefix) {
			return false
		}
	}
	return true
}

// reaches tells whether the other group belongs to the same private network.
func (g *group) reaches(other *group) bool {
	return g == other || (g.Customer != "" && g.Customer == other.Customer)
}

func onNet(class CallClass, called, caller *member) translation {
	return translation{class: class, called: called.Number, member: called, cli: privateNumber(caller, called)}
}

// privateNumber is the caller as the called colleague would dial back: the
// short number, with the site code from another site, else the public number.
func privateNumber(caller, called *member) string {
	switch {
	case caller.Short == "":
		return string(caller.Number)
	case caller.group == called.group:
		return caller.Short
	case caller.group.SiteCode != "":
		return caller.group.SiteCode + caller.Short
	default:
		return string(caller.Number)
	}
}

// permit applies the caller's bars and lists, then the called member's.
func permit(caller *member, t translation, now time.Time) *Cause {
	if caller.bars.OffNet && (t.class == OffNet || t.class == International) {
		return refuse(ReasonOffNetBarred)
	}
	if caller.bars.International && t.class == International {
		return refuse(ReasonInternationalBarred)
	}
	outgoing := screened{number: t.called, class: t.class, local: now.In(caller.group.zone)}
	if !allows(outgoing, caller.levels()...) {
		return refuse(ReasonDenied)
	}
	if t.member == nil {
		return nil
	}
	if t.member.bars.Incoming {
		return refuse(ReasonIncomingBarred)
	}
	incoming := screened{number: caller.Number, class: t.class, incoming: true, local: now.In(t.member.group.zone)}
	if !allows(incoming, t.member.levels()...) {
		return refuse(ReasonIncomingDenied)
	}
	return nil
}

// levels are the lists that apply to a member, the nearest first.
func (m *member) levels() [][]Rule {
	if m.profile == nil {
		return [][]Rule{m.Rules, m.group.Rules}
	}
	return [][]Rule{m.Rules, m.profile.Rules, m.group.Rules}
}
