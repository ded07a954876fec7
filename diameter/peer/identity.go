package peer

import "strings"

// identityMax is what a DiameterIdentity may take; a domain name has at most 255
// octets.
const identityMax = 255

// validIdentity reports whether s can be a DiameterIdentity (RFC 6733 §4.3.1):
// a domain name in ASCII. The underscore is no host name character, but real
// networks use it.
func validIdentity(s string) bool {
	for i := range len(s) {
		c := lower(s[i])
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_') {
			return false
		}
	}
	return s != "" && len(s) <= identityMax
}

// sameIdentity compares two DiameterIdentities without regard to ASCII case
//
func sameIdentity[A, B string | []byte](a A, b B) bool {
	return len(a) == len(b) && compareIdentity(a, b) == 0
}

// compareIdentity orders two DiameterIdentities as the election does: octet by
// octet, ASCII letters without regard to case (RFC 6733 §5.6.4).
func compareIdentity[A, B string | []byte](a A, b B) int {
	for i := range min(len(a), len(b)) {
		if d := int(lower(a[i])) - int(lower(b[i])); d != 0 {
			return d
		}
	}
	return len(a) - len(b)
}

// foldIdentity is an identity as a map key.
func foldIdentity(s string) string { return strings.ToLower(s) }

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
