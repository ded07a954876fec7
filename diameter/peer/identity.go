package peer

import (
	"strings"

	"gygate/diameter"
)

// validIdentity reports whether s can be configured as a DiameterIdentity (RFC
// 6733 §4.3.1): a domain name in ASCII, which is less than the wire allows. The
// underscore is no host name character, but real networks use it.
func validIdentity(s string) bool {
	for _, c := range []byte(s) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_') {
			return false
		}
	}
	return s != "" && len(s) <= diameter.IdentityMax
}

// foldIdentity is an identity as a map key.
func foldIdentity(s string) string { return strings.ToLower(s) }
