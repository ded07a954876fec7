package ocs

import "strings"

// Lengths of identities, so that nothing unbounded reaches an index.
const (
	identityMax = 253 // octets of a SIP URI, NAI or private identity (RFC 7542 §2.2)
	e164Max     = 15  // digits, ITU-T E.164 §6
	imsiMin     = 6   // MCC, MNC and at least one digit, ITU-T E.212
	imsiMax     = 15
)

// NormalizeIdentity brings a Subscription-Id into the one form in which it is
// stored and looked up; false when raw cannot be an identity of that kind.
//
// E.164 loses "tel:", parameters and '+'; no national number is guessed. A SIP
// URI loses port, parameters and headers and its host is folded; one that is a
// telephone number (user=phone) becomes E.164.
func NormalizeIdentity(kind IdentityKind, raw string) (Identity, bool) {
	raw = strings.TrimSpace(raw)
	if raw == "" || len(raw) > identityMax {
		return Identity{}, false
	}
	switch kind {
	case E164:
		return normalizeE164(raw)
	case IMSI:
		return Identity{IMSI, raw}, isDigits(raw) && len(raw) >= imsiMin && len(raw) <= imsiMax
	case SIPURI:
		return normalizeURI(raw)
	case NAI:
		return foldHost(NAI, "", raw)
	case Private:
		return Identity{Private, raw}, true
	}
	return Identity{}, false
}

func normalizeE164(raw string) (Identity, bool) {
	if scheme, rest, found := strings.Cut(raw, ":"); found {
		if !strings.EqualFold(scheme, "tel") {
			return Identity{}, false
		}
		raw = rest
	}
	raw, _, _ = strings.Cut(raw, ";")
	raw = strings.TrimPrefix(raw, "+")
	return Identity{E164, raw}, isDigits(raw) && len(raw) <= e164Max
}

func normalizeURI(raw string) (Identity, bool) {
	scheme, rest, found := strings.Cut(raw, ":")
	if !found {
		return Identity{}, false
	}
	switch strings.ToLower(scheme) {
	case "tel":
		return normalizeE164(raw)
	case "sip", "sips":
	default:
		return Identity{}, false
	}
	rest, _, _ = strings.Cut(rest, "?")
	address, parameters, _ := strings.Cut(rest, ";")
	user, _, _ := strings.Cut(address, "@")
	if strings.HasPrefix(user, "+") && hasParameter(parameters, "user=phone") {
		return normalizeE164(user)
	}
	return foldHost(SIPURI, "sip:", address)
}

// foldHost folds the host behind '@' and drops its port; the user part is
// case-sensitive.
func foldHost(kind IdentityKind, prefix, address string) (Identity, bool) {
	at := strings.LastIndexByte(address, '@')
	if at < 1 {
		return Identity{}, false
	}
	host := strings.ToLower(address[at+1:])
	if end := strings.IndexByte(host, ']'); end >= 0 {
		host = host[:end+1]
	} else {
		host, _, _ = strings.Cut(host, ":")
	}
	return Identity{kind, prefix + address[:at+1] + host}, host != ""
}

func hasParameter(parameters, want string) bool {
	for p := range strings.SplitSeq(parameters, ";") {
		if strings.EqualFold(p, want) {
			return true
		}
	}
	return false
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
