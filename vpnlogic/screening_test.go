package vpnlogic

import (
	"strings"
	"testing"
	"time"
)

// The networks of the screening tests: Beijing (7001) and Shanghai (7002) are
// sites of one customer, 7003 belongs to another and demands its escape code.
var (
	beijing = Group{
		ID: "7001", Customer: "acme", SiteCode: "81", CountryCode: "86", AreaCode: "10", EscapeCode: "9",
		ShortDigits: 4, ForcedOnNet: true, Exclusions: []string{"861380000007"}, TimeZone: "Asia/Shanghai",
		Rules: []Rule{
			{Prefix: "8690"}, // premium numbers
			{Class: International, Prefix: "7"},
		},
		Profiles: []Profile{
			{Name: "lobby", Bars: Bars{OffNet: true}},
			{Name: "night", Rules: []Rule{{Class: OffNet, Span: Span{From: 20 * time.Hour, To: 6 * time.Hour}}}},
		},
	}
	shanghai = Group{ID: "7002", Customer: "acme", SiteCode: "82", CountryCode: "86", AreaCode: "21"}
	shop     = Group{ID: "7003", CountryCode: "86", EscapeCode: "0", EscapeRequired: true}
)

var people = []Member{
	{Number: "8613800000001", Group: "7001", Short: "6001", Prepaid: true, Display: "An"},
	{Number: "8613800000002", Group: "7001", Short: "6002"},
	{Number: "8613800000003", Group: "7001", Short: "6003", Bars: Bars{Outgoing: true}},
	{Number: "8613800000004", Group: "7001", Short: "6004", Profile: "lobby"},
	{Number: "8613800000005", Group: "7001", Short: "6005", Bars: Bars{International: true}},
	{Number: "8613800000006", Group: "7001", Short: "6006", Bars: Bars{Incoming: true}},
	{Number: "8613800000070", Group: "7001", Short: "6007"}, // excluded from forced on-net
	{Number: "8613800000008", Group: "7001", Short: "6008", Profile: "night"},
	{Number: "8613800000009", Group: "7001", Short: "6009", Rules: []Rule{
		{}, {Allow: true, Prefix: "861380000"}, {Prefix: "8613800000002"}, {Allow: true, Prefix: "8690"},
	}},
	{Number: "8613800000010", Group: "7001", Rules: []Rule{{Incoming: true, Prefix: "8613800000001"}, {Incoming: true, Class: OffNet}}},
	{Number: "8613800000011", Group: "7001", Short: "6011", Rules: []Rule{{Prefix: "8613900000000", Last: "8613900000099"}}},
	{Number: "8613900010001", Group: "7002", Short: "6001"},
	{Number: "8613900010002", Group: "7002", Short: "105"},
	{Number: "8613700000001", Group: "7003", Short: "1", Prepaid: true},
	{Number: "8613700000002", Group: "7003", Short: "2"},
}

var emergencyNumbers = []string{"110", "112", "119"}

func testDirectory(t testing.TB) *Directory {
	t.Helper()
	d, err := NewDirectory([]Group{beijing, shanghai, shop}, people, emergencyNumbers)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// noon and night are Shanghai's noon and ten in the evening.
var (
	noon  = time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC)
	night = time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)
)

func TestScreen(t *testing.T) {
	const (
		an      = "+8613800000001"
		bo      = "+8613800000002"
		barred  = "+8613800000003"
		lobby   = "+8613800000004"
		home    = "+8613800000005"
		nights  = "+8613800000008"
		listed  = "+8613800000009"
		ranged  = "+8613800000011"
		shopper = "+8613700000001"
	)
	tests := []struct {
		rule            string
		calling, dialed string
		class           CallClass
		called          E164
		present         string
		refused         string
	}{
		// 1. Emergency.
		{"an emergency number is connected", an, "112", Emergency, "", "8613800000001", ""},
		{"for a stranger too", "+4930123456", "112", Emergency, "", "+4930123456", ""},
		{"without a calling number", "", "119", Emergency, "", "", ""},
		{"for a barred member", barred, "110", Emergency, "", "8613800000003", ""},
		{"behind the escape code", an, "9110", Emergency, "", "8613800000001", ""},
		{"with a plus", an, "+112", Emergency, "", "8613800000001", ""},
		{"as a tel URI", an, "tel:112;phone-context=+86", Emergency, "", "8613800000001", ""},
		{"as the service URN", an, "urn:service:sos.fire", Emergency, "", "8613800000001", ""},
		{"not behind an escape code of another group", shopper, "9110", "", "", "", ReasonInvalidNumber},

		// 2. Membership.
		{"a stranger is no member", "+4930123456", "6002", "", "", "", ReasonNotAMember},
		{"a withheld number is no member", "", "6002", "", "", "", ReasonNoCallingNumber},
		{"rubbish is no member", "anonymous", "6002", "", "", "", ReasonNotAMember},
		{"a short number is no calling number", "6001", "6002", "", "", "", ReasonNotAMember},
		{"a calling number without plus", "8613800000001", "6002", OnNet, "8613800000002", "6001", ""},
		{"a calling number with 00", "008613800000001", "6002", OnNet, "8613800000002", "6001", ""},
		{"a calling SIP URI", "sip:+8613800000001@ims.example;user=phone", "6002", OnNet, "8613800000002", "6001", ""},
		{"a barred member calls nobody", barred, "6002", "", "", "", ReasonOutgoingBarred},

		// 3. Short numbers.
		{"short number", an, "6002", OnNet, "8613800000002", "6001", ""},
		{"short number as a SIP user part", an, "sip:6002@vpn.example", OnNet, "8613800000002", "6001", ""},
		{"short number with separators", an, "60-02", OnNet, "8613800000002", "6001", ""},
		{"unknown short number", an, "6999", "", "", "", ReasonUnknownShortNumber},
		{"site code and extension", an, "826001", OnNet, "8613900010001", "816001", ""},
		{"site code and an extension of another length", an, "82105", OnNet, "8613900010002", "816001", ""},
		{"own site code", an, "816002", OnNet, "8613800000002", "6001", ""},
		{"the other site has its own 6001", "+8613900010002", "6001", OnNet, "8613900010001", "105", ""},
		{"no site code across customers", shopper, "816001", "", "", "", ReasonEscapeCodeRequired},
		{"a caller without short number presents his line", "+8613800000010", "6002", OnNet, "8613800000002", "8613800000010", ""},

		// 4. Escape code.
		{"escape code and mobile number", an, "913901234567", OffNet, "8613901234567", "8613800000001", ""},
		{"escape code and trunk prefix", an, "902155551234", OffNet, "862155551234", "8613800000001", ""},
		{"escape code and local number", an, "965551234", OffNet, "861065551234", "8613800000001", ""},
		{"escape code and 00", an, "9004930901820", International, "4930901820", "8613800000001", ""},
		{"an escape code that is the trunk prefix", shopper, "002155551234", OffNet, "862155551234", "8613700000001", ""},
		{"escape code and a colleague", an, "913800000002", ForcedOnNet, "8613800000002", "6001", ""},

		// 5. Public numbers.
		{"absolute number of a colleague", an, "+8613800000002", ForcedOnNet, "8613800000002", "6001", ""},
		{"with separators and as a tel URI", an, "tel:+86-138-0000-0002", ForcedOnNet, "8613800000002", "6001", ""},
		{"00 number of a colleague", an, "008613800000002", ForcedOnNet, "8613800000002", "6001", ""},
		{"national number of a colleague", an, "13800000002", ForcedOnNet, "8613800000002", "6001", ""},
		{"a colleague of another site", an, "+8613900010002", ForcedOnNet, "8613900010002", "816001", ""},
		{"a member of another customer is off-net", an, "+8613700000002", OffNet, "8613700000002", "8613800000001", ""},
		{"an excluded colleague is off-net", an, "+8613800000070", OffNet, "8613800000070", "8613800000001", ""},
		{"an excluded colleague by short number is on-net", an, "6007", OnNet, "8613800000070", "6001", ""},
		{"a group that forces nothing", "+8613900010001", "+8613900010002", OffNet, "8613900010002", "8613900010001", ""},
		{"absolute digits are no short number", an, "+6002", "", "", "", ReasonInvalidNumber},
		{"off-net without escape code", an, "+8613901234567", OffNet, "8613901234567", "8613800000001", ""},
		{"off-net without escape code refused", shopper, "+8613901234567", "", "", "", ReasonEscapeCodeRequired},
		{"off-net with the escape code allowed", shopper, "013901234567", OffNet, "8613901234567", "8613700000001", ""},
		{"letters", an, "reception", "", "", "", ReasonInvalidNumber},
		{"too long a number", an, strings.Repeat("1", 40), "", "", "", ReasonInvalidNumber},
		{"nothing dialled", an, "", "", "", "", ReasonInvalidNumber},

		// 6. International.
		{"international", an, "+4930901820", International, "4930901820", "8613800000001", ""},
		{"international with 00", an, "004930901820", International, "4930901820", "8613800000001", ""},
		{"no such country code", an, "+9991234567", "", "", "", ReasonInvalidNumber},

		// 7. Bars and lists of the caller.
		{"off-net bar of the profile", lobby, "913901234567", "", "", "", ReasonOffNetBarred},
		{"the off-net bar holds for international", lobby, "+4930901820", "", "", "", ReasonOffNetBarred},
		{"the off-net bar leaves colleagues", lobby, "+8613800000002", ForcedOnNet, "8613800000002", "6004", ""},
		{"international bar", home, "+4930901820", "", "", "", ReasonInternationalBarred},
		{"the international bar leaves the country", home, "913901234567", OffNet, "8613901234567", "8613800000005", ""},
		{"deny entry of the group", an, "+8690012345678", "", "", "", ReasonDenied},
		{"deny entry by class", an, "+74951234567", "", "", "", ReasonDenied},
		{"white list denies the rest", listed, "913901234567", "", "", "", ReasonDenied},
		{"white list allows", listed, "6001", OnNet, "8613800000001", "6009", ""},
		{"the longer entry wins", listed, "6002", "", "", "", ReasonDenied},
		{"the member's list stands before the group's", listed, "+8690012345678", OffNet, "8690012345678", "8613800000009", ""},
		{"inside a denied range", ranged, "+8613900000042", "", "", "", ReasonDenied},
		{"outside of it", ranged, "+8613900000142", OffNet, "8613900000142", "8613800000011", ""},
		{"outside an entry's span", nights, "913901234567", OffNet, "8613901234567", "8613800000008", ""},

		// 8. The called member.
		{"incoming bar", an, "6006", "", "", "", ReasonIncomingBarred},
		{"incoming bar for a public number", an, "+8613800000006", "", "", "", ReasonIncomingBarred},
		{"incoming list by calling number", an, "+8613800000010", "", "", "", ReasonIncomingDenied},
		{"incoming list lets others in", bo, "+8613800000010", ForcedOnNet, "8613800000010", "6002", ""},
		{"incoming list by class", shopper, "013800000010", "", "", "", ReasonIncomingDenied},
	}
	d := testDirectory(t)
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			r, cause := d.Screen(Attempt{Calling: tt.calling, Dialled: tt.dialed}, noon)
			if got := reasonOf(cause); got != tt.refused {
				t.Fatalf("refused %q, want %q; route %+v", got, tt.refused, r)
			}
			if cause != nil {
				return
			}
			if r.Class != tt.class || r.Called != tt.called || r.Destination.CallerID != tt.present {
				t.Errorf("got %s %s presenting %q, want %s %s presenting %q",
					r.Class, r.Called, r.Destination.CallerID, tt.class, tt.called, tt.present)
			}
			if r.RatingGroup != tt.class.RatingGroup() || r.Destination.OnNet != (tt.class == OnNet || tt.class == ForcedOnNet) {
				t.Errorf("rating group %d, on-net %v for %s", r.RatingGroup, r.Destination.OnNet, r.Class)
			}
		})
	}
}

func reasonOf(cause *Cause) string {
	if cause == nil {
		return ""
	}
	return cause.Reason
}

func TestScreenPayer(t *testing.T) {
	d := testDirectory(t)
	for calling, want := range map[string]bool{"+8613800000001": true, "+8613800000002": false} {
		r, cause := d.Screen(Attempt{Calling: calling, Dialled: "6007"}, noon)
		if cause != nil || r.Prepaid != want || string(r.Payer) != calling[1:] {
			t.Errorf("%s: prepaid %v, payer %s, cause %v", calling, r.Prepaid, r.Payer, cause)
		}
	}
	paying := beijing
	paying.Payer = PayerGroup
	corporate, err := NewDirectory([]Group{paying, shanghai, shop}, people, emergencyNumbers)
	if err != nil {
		t.Fatal(err)
	}
	for calling, want := range map[string]Route{
		"+8613800000001": {Prepaid: true, PayerAccount: "7001"},
		"+8613800000002": {Prepaid: true, PayerAccount: "7001"}, // without a prepaid service of his own
		"+8613900010001": {Payer: "8613900010001"},              // a colleague whose group does not pay
	} {
		r, cause := corporate.Screen(Attempt{Calling: calling, Dialled: "+8613800000070"}, noon)
		if cause != nil || r.Prepaid != want.Prepaid || r.Payer != want.Payer || r.PayerAccount != want.PayerAccount {
			t.Errorf("%s: prepaid %v, payer %q, account %q, cause %v", calling, r.Prepaid, r.Payer, r.PayerAccount, cause)
		}
	}
	if r, _ := corporate.Screen(Attempt{Calling: "+8613800000001", Dialled: "112"}, noon); r.Prepaid || r.PayerAccount != "" {
		t.Errorf("an emergency call is charged to the group: %+v", r)
	}
	r, _ := d.Screen(Attempt{Calling: "+8613800000001", Dialled: "112"}, noon)
	if r.Prepaid || r.Payer != "" || r.RatingGroup != 0 || r.Destination.Emergency != "112" {
		t.Errorf("an emergency call is charged: %+v", r)
	}
}

func TestScreenSpan(t *testing.T) {
	d := testDirectory(t)
	for at, want := range map[time.Time]string{
		noon:                          "",
		night:                         ReasonDenied,
		night.Add(7 * time.Hour):      ReasonDenied, // five in the morning
		night.Add(8 * time.Hour):      "",           // six, exclusive
		night.Add(-2*time.Hour - 1e9): "",           // a second before eight in the evening
	} {
		_, cause := d.Screen(Attempt{Calling: "+8613800000008", Dialled: "913901234567"}, at)
		if got := reasonOf(cause); got != want {
			t.Errorf("%v: %q, want %q", at, got, want)
		}
	}
}

func TestSpanDays(t *testing.T) {
	weekend := Span{Days: [7]bool{time.Saturday: true, time.Sunday: true}, From: 22 * time.Hour, To: 4 * time.Hour}
	monday := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	if !weekend.holds(monday) {
		t.Error("Monday at three belongs to Sunday's night")
	}
	if weekend.holds(monday.Add(20 * time.Hour)) {
		t.Error("Monday at eleven in the evening is no weekend")
	}
	if !(Span{}).holds(monday) {
		t.Error("the zero span does not hold always")
	}
}

func TestNewDirectoryFaults(t *testing.T) {
	groups := []Group{
		{ID: "a", CountryCode: "86", ShortDigits: 4, EscapeCode: "9"},
		{ID: "a", CountryCode: "86"},
		{ID: "b", CountryCode: "999"},
		{ID: "c", CountryCode: "86", EscapeRequired: true},
		{ID: "d", CountryCode: "86", TimeZone: "Mars/Olympus"},
		{ID: "e", CountryCode: "86", Customer: "x", SiteCode: "1"},
		{ID: "f", CountryCode: "86", Customer: "x", SiteCode: "1"},
		{ID: "g", CountryCode: "86", Rules: []Rule{{Prefix: "20", Last: "10"}}},
		{ID: "h", CountryCode: "86", EscapeCode: "*9"},
		{ID: "i", CountryCode: "86", Payer: "boss"},
	}
	members := []Member{
		{Number: "8613800000001", Group: "a", Short: "6001"},
		{Number: "8613800000001", Group: "a"},
		{Number: "8613800000002", Group: "a", Short: "6001"},
		{Number: "8613800000003", Group: "a", Short: "601"},
		{Number: "8613800000004", Group: "a", Short: "9112"},
		{Number: "8613800000005", Group: "nowhere"},
		{Number: "+8613800000006", Group: "a"},
		{Number: "8613800000007", Group: "a", Profile: "none"},
	}
	_, err := NewDirectory(groups, members, []string{"112", "1-1-0"})
	if err == nil {
		t.Fatal("no fault found")
	}
	for _, want := range []string{
		`emergency number "1-1-0"`, `group "a": id stands twice`, `country code "999"`, `group "c": escape_required`,
		`"Mars/Olympus"`, `same site code 1`, `list entry 1: range 20–10`, `escape code "*9"`, `payer "boss": want member or group`,
		`8613800000001: number stands twice`, `8613800000002: short number 6001 of group "a" is taken`,
		`short number "601": group "a" uses 4 digits`, `short number 9112 would hide an emergency number`,
		`8613800000005: no group "nowhere"`, `member +8613800000006: number`, `has no profile "none"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
}

// FuzzScreen: whatever was received, screening decides: a route to somewhere,
// or a cause of the release table.
func FuzzScreen(f *testing.F) {
	for _, s := range []string{"6002", "+8613800000002", "913901234567", "112", "urn:service:sos", "sip:6002@x", "tel:+86;x", "%2b86", "00", "9", "٣", "\xff"} {
		f.Add("+8613800000001", s)
		f.Add(s, "6002")
	}
	d := testDirectory(f)
	f.Fuzz(func(t *testing.T, calling, dialed string) {
		a := Attempt{Calling: calling, Dialled: dialed}
		r, cause := d.Screen(a, noon)
		switch {
		case cause != nil:
			if _, known := releaseTable[cause.Reason]; !known || cause.Status < 400 {
				t.Fatalf("cause %v is not in the release table", cause)
			}
			if d.Emergency(a) {
				t.Fatalf("an emergency call is refused: %v", cause)
			}
		case r.Class == Emergency:
			if r.Destination.Emergency == "" || r.Prepaid {
				t.Fatalf("emergency call without number, or charged: %+v", r)
			}
		default:
			if !r.Called.Valid() || r.RatingGroup == 0 || r.Destination.Called != r.Called || r.Payer == "" {
				t.Fatalf("a route to nowhere: %+v", r)
			}
		}
	})
}
