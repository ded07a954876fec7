package diameter

// IdentityMax is the longest DiameterIdentity, in octets: that of a domain name.
const IdentityMax = 255

// isIdentity reports whether b can be a fully qualified domain name.
func isIdentity(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(b) > 0 && len(b) <= IdentityMax
}

// SameIdentity compares two DiameterIdentities without regard to ASCII case
// (conformance A-038).
func SameIdentity[A, B string | []byte](a A, b B) bool {
	return len(a) == len(b) && (string(a) == string(b) || CompareIdentity(a, b) == 0)
}

// CompareIdentity orders two DiameterIdentities as the election does: octet by
// octet, ASCII letters without regard to case (RFC 6733 §5.6.4).
func CompareIdentity[A, B string | []byte](a A, b B) int {
	for i := range min(len(a), len(b)) {
		if d := int(lower(a[i])) - int(lower(b[i])); d != 0 {
			return d
		}
	}
	return len(a) - len(b)
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// Overloaded is what a node that takes no more answers to req: 3004 when the
// request names it, so that the client decides; else 3002, so that the previous
// hop tries another (RFC 6733 §7.1.3, conformance A-063).
func Overloaded(req Message, host string) ResultCode {
	if named, ok := req.Find(DestinationHost); ok && SameIdentity(named.Data, host) {
		return TooBusy
	}
	return UnableToDeliver
}
