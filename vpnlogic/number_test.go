package vpnlogic

import (
	"strings"
	"testing"
)

func TestReadDialled(t *testing.T) {
	tests := map[string]struct {
		digits   string
		absolute bool
	}{
		"6002":                               {"6002", false},
		" 6002 ":                             {"6002", false},
		"+86 138-0000.0002":                  {"8613800000002", true},
		"tel:+86(138)00000002":               {"8613800000002", true},
		"TEL:6002;phone-context=vpn.example": {"6002", false},
		"sip:%2B8613800000002@ims.example":   {"8613800000002", true},
		"sips:6002@vpn.example":              {"6002", false},
		"+8613800000002;npdi":                {"8613800000002", true},
		"008613800000002":                    {"008613800000002", false},
	}
	for raw, want := range tests {
		d, ok := readDialled(raw)
		if !ok || d.digits != want.digits || d.absolute != want.absolute {
			t.Errorf("%q: got %+v %v, want %+v", raw, d, ok, want)
		}
	}
	for _, raw := range []string{"", "+", "abc", "6002x", "++86", "mailto:6002", "sip:alice@x", strings.Repeat("6", 31), strings.Repeat("-", 129)} {
		if d, ok := readDialled(raw); ok {
			t.Errorf("%q was read as %+v", raw, d)
		}
	}
}

// TestPublicNumber reads public numbers as they are dialled in several
// countries' plans.
func TestPublicNumber(t *testing.T) {
	tests := []struct{ country, area, dialled, want string }{
		{"86", "10", "13901234567", "8613901234567"},
		{"86", "10", "02155551234", "862155551234"},
		{"86", "10", "65551234", "861065551234"},
		{"86", "", "008613901234567", "8613901234567"},
		{"49", "30", "030901820", "4930901820"},
		{"49", "30", "015112345678", "4915112345678"},
		{"49", "30", "0049 30 901820", "4930901820"},
		{"1", "212", "2125550123", "12125550123"},
		{"1", "212", "12125550123", "12125550123"},
		{"1", "212", "011493090182000", "493090182000"},
		{"39", "06", "0698765432", "390698765432"}, // Italy keeps the zero
		{"86", "10", "+393331234567", "393331234567"},
	}
	for _, tt := range tests {
		region, _ := regionOf(tt.country)
		g := &group{Group: Group{CountryCode: tt.country, AreaCode: tt.area}, region: region}
		d, ok := readDialled(tt.dialled)
		if !ok {
			t.Fatalf("%q is not read", tt.dialled)
		}
		if got, ok := g.public(d); !ok || string(got) != tt.want {
			t.Errorf("%s in +%s %s: got %s %v, want %s", tt.dialled, tt.country, tt.area, got, ok, tt.want)
		}
	}
}

func TestMask(t *testing.T) {
	for number, want := range map[string]string{
		"":               "",
		"1":              "*",
		"12":             "**",
		"112":            "*12",
		"6002":           "**02",
		"123456":         "****56",
		"8613800000001":  "8613*******01",
		"+8613800000001": "+861********01",
	} {
		if got := Mask(number); got != want {
			t.Errorf("Mask(%q) = %q, want %q", number, got, want)
		}
	}
}

// FuzzNumber: no dialled string panics, and what is read of it is a number.
func FuzzNumber(f *testing.F) {
	for _, s := range []string{"6002", "+8613800000002", "tel:+86-10-6555-1234;ext=1", "sip:%2b86@x", "0086", "00", "+", "9;;@:", "\x00", "１２３"} {
		f.Add(s, "86", "10")
	}
	f.Fuzz(func(t *testing.T, raw, country, area string) {
		if masked := Mask(raw); len(masked) != len(raw) {
			t.Fatalf("%q masked as %q", raw, masked)
		}
		if n, ok := callingNumber(raw); ok && !n.Valid() {
			t.Fatalf("calling number %q", n)
		}
		d, ok := readDialled(raw)
		if !ok {
			return
		}
		if !digitsOnly(d.digits) || len(d.digits) > digitsMax {
			t.Fatalf("%q was read as %+v", raw, d)
		}
		group := Group{ID: "g", CountryCode: country, AreaCode: area}
		if group.Check() != nil {
			return
		}
		directory, err := NewDirectory([]Group{group}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if n, ok := directory.groups["g"].public(d); ok && !n.Valid() {
			t.Fatalf("%q is %q", raw, n)
		}
	})
}
