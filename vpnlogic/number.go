package vpnlogic

import (
	"strconv"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// E164 is a public number: digits with country code, no '+'.
type E164 string

// Valid tells whether the number can be a public number (ITU-T E.164 §6): its
// digits and its length, not whether it is assigned.
func (n E164) Valid() bool {
	return len(n) >= e164Min && len(n) <= e164Max && digitsOnly(string(n)) && n[0] != '0'
}

// dialledMax bounds what is read of a dialled string. A longer one is refused,
// so that nothing after it works on more than this.
const dialledMax = 128

// digitsMax bounds the digits of a dialled number: escape code, international
// prefix and an E.164 number of the greatest length.
const digitsMax = shortNumberMax + 4 + e164Max

// dialled is a dialled number without its dress.
type dialled struct {
	digits   string
	absolute bool // with '+': not analysed as a short number
}

// readDialled strips scheme, host, parameters and visual separators (RFC 3966
// §5.1.1) from what was dialled: "tel:+86-138(0000)0002;npdi", a SIP user part
// or whole SIP address, or plain digits.
func readDialled(raw string) (dialled, bool) {
	if len(raw) > dialledMax {
		return dialled{}, false
	}
	s := strings.TrimSpace(raw)
	if scheme, rest, found := strings.Cut(s, ":"); found {
		if !isNumberScheme(scheme) {
			return dialled{}, false
		}
		s = rest
	}
	s, _, _ = strings.Cut(s, "@")
	s, _, _ = strings.Cut(s, ";")
	if rest, found := strings.CutPrefix(strings.ToLower(s), "%2b"); found {
		s = "+" + rest
	}
	rest, absolute := strings.CutPrefix(s, "+")
	digits := withoutSeparators(rest)
	if digits == "" || len(digits) > digitsMax || !digitsOnly(digits) {
		return dialled{}, false
	}
	return dialled{digits: digits, absolute: absolute}, true
}

func isNumberScheme(scheme string) bool {
	return strings.EqualFold(scheme, "tel") || strings.EqualFold(scheme, "sip") || strings.EqualFold(scheme, "sips")
}

func withoutSeparators(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -.()/", r) {
			return -1
		}
		return r
	}, s)
}

func digitsOnly(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}

// sosService is the service URN of an emergency call (RFC 5031 §4.2), with or
// without a sub-service.
const sosService = "urn:service:sos"

func isSOS(raw string) bool {
	s := strings.ToLower(strings.TrimSpace(raw))
	return s == sosService || (len(s) <= dialledMax && strings.HasPrefix(s, sosService+"."))
}

// callingNumber reads the calling number as the network delivers it: an E.164
// number with '+', with "00", or with neither.
func callingNumber(raw string) (E164, bool) {
	d, ok := readDialled(raw)
	if !ok {
		return "", false
	}
	number := E164(d.digits)
	if !d.absolute {
		number = E164(strings.TrimPrefix(d.digits, "00"))
	}
	return number, number.Valid()
}

// public reads a dialled public number in the group's country: absolute with
// '+' or the international prefix ("00" everywhere, the country's own besides),
// national, or local to the group's area code.
func (g *group) public(d dialled) (E164, bool) {
	if d.absolute {
		return parsePublic("+"+d.digits, g.region)
	}
	if rest, found := strings.CutPrefix(d.digits, "00"); found {
		if number, ok := parsePublic("+"+rest, g.region); ok {
			return number, true
		}
	}
	return g.national(d.digits)
}

// national reads digits of the national plan. A number that is assigned in the
// national plan is taken first, then one that is assigned with the area code
// in front, then one of a national number's length.
func (g *group) national(digits string) (E164, bool) {
	number, err := phonenumbers.Parse(digits, g.region)
	if err == nil && phonenumbers.IsValidNumber(number) {
		return format(number)
	}
	if g.AreaCode != "" {
		local, err := phonenumbers.Parse("+"+g.CountryCode+g.AreaCode+digits, g.region)
		if err == nil && phonenumbers.IsValidNumber(local) {
			return format(local)
		}
	}
	if err != nil || !phonenumbers.IsPossibleNumber(number) {
		return "", false
	}
	return format(number)
}

// parsePublic reads a number with '+'. Only country code and length must be
// possible: number ranges are opened faster than metadata is updated.
func parsePublic(number, region string) (E164, bool) {
	parsed, err := phonenumbers.Parse(number, region)
	if err != nil {
		return "", false
	}
	return format(parsed)
}

func format(number *phonenumbers.PhoneNumber) (E164, bool) {
	e := E164(strings.TrimPrefix(phonenumbers.Format(number, phonenumbers.E164), "+"))
	return e, e.Valid()
}

// regionOf returns the region whose national plan has the country code.
func regionOf(countryCode string) (string, bool) {
	code, err := strconv.Atoi(countryCode)
	if err != nil || !digitsOnly(countryCode) || countryCode[0] == '0' {
		return "", false
	}
	region := phonenumbers.GetRegionCodeForCountryCode(code)
	return region, region != phonenumbers.UNKNOWN_REGION
}

// Visible digits of a masked number.
const (
	maskHead = 4
	maskTail = 2
)

// Mask hides the middle of a subscriber number, for logs and spans: the first
// four and the last two characters stay. A number too short to hide anything
// that way keeps none but its last two.
func Mask(number string) string {
	if len(number) <= maskTail {
		return strings.Repeat("*", len(number))
	}
	head := maskHead
	if len(number) <= maskHead+maskTail {
		head = 0
	}
	hidden := len(number) - head - maskTail
	return number[:head] + strings.Repeat("*", hidden) + number[len(number)-maskTail:]
}
