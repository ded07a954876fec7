package vpnlogic

import (
	"errors"
	"fmt"
	"time"
)

// Rule is one entry of an allow or deny list. Of the entries of one level that
// match a call the most specific decides, and of equally specific ones a
// denying; the levels are asked from the member over its profile to the group,
// and the first with a matching entry decides. A call that no entry matches is
// allowed; a white list is a denying entry without prefix beside the allowing
// ones.
type Rule struct {
	Allow    bool      `json:"allow"`
	Incoming bool      `json:"incoming,omitempty"` // screens the calling number of calls to the member
	Class    CallClass `json:"class,omitempty"`    // "" any
	Prefix   string    `json:"prefix,omitempty"`   // of the E.164 number, "" any number
	Last     string    `json:"last,omitempty"`     // with Prefix as the first number of a range, both of one length
	Span     Span      `json:"span,omitzero"`      // when the entry holds; zero: always
}

// Span is a weekly recurring stretch of time in the group's time zone.
type Span struct {
	Days [7]bool       `json:"days"` // from Sunday; none: every day
	From time.Duration `json:"from"` // since midnight
	To   time.Duration `json:"to"`   // exclusive; From == To: the whole day; below From: past midnight
}

// rulesMax bounds the entries of one list: each is looked at for each call.
const rulesMax = 1000

func checkRules(rules []Rule, owner string) error {
	if len(rules) > rulesMax {
		return fmt.Errorf("%s: %d list entries, at most %d", owner, len(rules), rulesMax)
	}
	var faults []error
	for i, r := range rules {
		if err := r.check(); err != nil {
			faults = append(faults, fmt.Errorf("%s: list entry %d: %w", owner, i+1, err))
		}
	}
	return errors.Join(faults...)
}

func (r Rule) check() error {
	switch r.Class {
	case "", OnNet, ForcedOnNet, OffNet, International:
	default:
		return fmt.Errorf("class %q is not known", r.Class)
	}
	if r.Prefix != "" && (!digitsOnly(r.Prefix) || len(r.Prefix) > e164Max) {
		return fmt.Errorf("prefix %q: want at most %d digits", r.Prefix, e164Max)
	}
	if r.Last != "" && (!digitsOnly(r.Last) || len(r.Last) != len(r.Prefix) || r.Last < r.Prefix) {
		return fmt.Errorf("range %s–%s: want two ascending numbers of one length", r.Prefix, r.Last)
	}
	const day = 24 * time.Hour
	if s := r.Span; s.From < 0 || s.From >= day || s.To < 0 || s.To > day {
		return fmt.Errorf("span %v–%v: want times of one day", s.From, s.To)
	}
	return nil
}

// screened is what a list entry is matched against.
type screened struct {
	number   E164 // called, or calling for an incoming list
	class    CallClass
	incoming bool
	local    time.Time // in the group's time zone
}

// allows asks the levels in turn; the first with a matching entry decides.
func allows(s screened, levels ...[]Rule) bool {
	for _, rules := range levels {
		if rule := mostSpecific(rules, s); rule != nil {
			return rule.Allow
		}
	}
	return true
}

func mostSpecific(rules []Rule, s screened) *Rule {
	var best *Rule
	for i := range rules {
		r := &rules[i]
		if !r.matches(s) {
			continue
		}
		if best == nil || len(r.Prefix) > len(best.Prefix) || (len(r.Prefix) == len(best.Prefix) && !r.Allow) {
			best = r
		}
	}
	return best
}

func (r *Rule) matches(s screened) bool {
	if r.Incoming != s.incoming || (r.Class != "" && r.Class != s.class) {
		return false
	}
	if len(s.number) < len(r.Prefix) {
		return false
	}
	head := string(s.number[:len(r.Prefix)])
	if r.Last == "" {
		return head == r.Prefix && r.Span.holds(s.local)
	}
	return head >= r.Prefix && head <= r.Last && r.Span.holds(s.local)
}

func (s Span) holds(at time.Time) bool {
	clock := time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute + time.Duration(at.Second())*time.Second
	switch {
	case s.From == s.To:
		return s.on(at.Weekday())
	case s.From < s.To:
		return s.on(at.Weekday()) && clock >= s.From && clock < s.To
	case clock >= s.From:
		return s.on(at.Weekday())
	default: // after midnight the stretch belongs to the day before
		return s.on((at.Weekday()+6)%7) && clock < s.To
	}
}

func (s Span) on(day time.Weekday) bool {
	return s.Days == [7]bool{} || s.Days[day]
}
