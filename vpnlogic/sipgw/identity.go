package sipgw

import (
	"net/url"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"gygate/vpnlogic"
)

// The header that tells a second prepaid trigger on the call's way that it is
// charged already, and its value. It is believed from trusted sources only:
// who could forge it would call for nothing.
const (
	chargedHeader = "X-Prepaid-Charged"
	chargedValue  = "vpn"
)

// identifierMax bounds the identifiers taken over from a request into charging
// requests and call records; longer ones are no number and no sane Call-ID.
const identifierMax = 255

// attemptOf reads a trusted INVITE as a call request.
func attemptOf(req *sip.Request, at time.Time) vpnlogic.Attempt {
	return vpnlogic.Attempt{
		CallID:  req.CallID().Value(),
		ICID:    chargingVector(req, "icid-value"),
		Calling: calling(req),
		Dialled: numberOf(&req.Recipient),
		At:      at,
		Charged: headerValue(req, chargedHeader) == chargedValue,
		Role:    roleOf(req),
		OrigIOI: chargingVector(req, "orig-ioi"),
		TermIOI: chargingVector(req, "term-ioi"),
	}
}

// calling is the asserted identity (RFC 3325 §9.1), or From when the trusted sender
// asserts none. Privacy does not hide it from the network, only from the called
// party.
func calling(req *sip.Request) string {
	number, asserted := assertedNumber(req)
	if !asserted {
		return numberOf(&req.From().Address)
	}
	return number
}

// assertedNumber is the first number that P-Asserted-Identity holds, "" when it holds
// none; false when nothing is asserted.
func assertedNumber(msg sip.Message) (string, bool) {
	asserted := msg.GetHeaders("P-Asserted-Identity")
	for _, h := range asserted {
		for _, value := range splitOutsideQuotes(h.Value(), ',') {
			var uri sip.Uri
			if _, err := sip.ParseAddressValue(value, &uri, nil); err != nil {
				continue
			}
			if number := numberOf(&uri); number != "" {
				return number, true
			}
		}
	}
	return "", len(asserted) > 0
}

// wantsPrivacy says whether the caller's number must not reach the called
// party (RFC 3323 §4.2, RFC 3325 §9.3).
func wantsPrivacy(req *sip.Request) bool {
	for value := range strings.SplitSeq(headerValue(req, "Privacy"), ";") {
		switch strings.ToLower(strings.TrimSpace(value)) {
		case "id", "user", "header":
			return true
		}
	}
	return false
}

// chargingVector is a parameter of P-Charging-Vector (RFC 7315 §5.6): the IMS
// Charging Identity or an Inter-Operator-Identifier.
func chargingVector(msg sip.Message, parameter string) string {
	for _, param := range splitOutsideQuotes(headerValue(msg, "P-Charging-Vector"), ';') {
		name, value, _ := strings.Cut(param, "=")
		if strings.EqualFold(strings.TrimSpace(name), parameter) {
			return strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return ""
}

// numberOf is the number a SIP or tel URI names, as it was dialled: without
// visual separators and parameters (RFC 3966 §5.1.1), with its leading '+'. It
// is "" for an anonymous URI, and a service URN as it stands (RFC 5031).
func numberOf(uri *sip.Uri) string {
	user := uri.User
	switch uri.Scheme {
	case "sip", "sips":
	case "tel":
		user = uri.Raw()
	default:
		return uri.String()
	}
	user, _, _ = strings.Cut(user, ";")
	if plain, err := url.PathUnescape(user); err == nil && !strings.ContainsFunc(plain, unfit) {
		user = plain
	}
	if strings.EqualFold(user, "anonymous") || strings.EqualFold(uri.Host, "anonymous.invalid") {
		return ""
	}
	if !strings.ContainsAny(user, "0123456789") {
		return user
	}
	return withoutSeparators.Replace(user)
}

// withoutSeparators takes the visual separators out (RFC 3966 §5.1.1). It builds a
// table of 30 KB, once.
var withoutSeparators = strings.NewReplacer("-", "", ".", "", "(", "", ")", "", " ", "")

// unfit are the characters that stay escaped, for they would end the URI or
// the header the number is put into again.
func unfit(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune(`<>"@;:?%`, r)
}

func headerValue(msg sip.Message, name string) string {
	if h := msg.GetHeaders(name); len(h) > 0 {
		return h[0].Value()
	}
	return ""
}

// listed says whether a comma-separated header of option tags or methods holds
// the token; long and compact are the header's names.
func listed(msg sip.Message, long, compact, token string) bool {
	for _, tag := range tokens(msg, long, compact) {
		if strings.EqualFold(tag, token) {
			return true
		}
	}
	return false
}

func tokens(msg sip.Message, long, compact string) []string {
	headers := msg.GetHeaders(long)
	if compact != "" {
		headers = append(headers, msg.GetHeaders(compact)...)
	}
	var all []string
	for _, h := range headers {
		for tag := range strings.SplitSeq(h.Value(), ",") {
			if tag = strings.TrimSpace(tag); tag != "" {
				all = append(all, tag)
			}
		}
	}
	return all
}

// splitOutsideQuotes splits at a separator that stands neither in a quoted
// string nor in angle brackets.
func splitOutsideQuotes(s string, separator byte) []string {
	var parts []string
	var quoted, bracketed bool
	start := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == '<' && !quoted:
			bracketed = true
		case c == '>' && !quoted:
			bracketed = false
		case c == separator && !quoted && !bracketed:
			parts = append(parts, strings.TrimSpace(s[start:i]))
			start = i + 1
		}
	}
	return append(parts, strings.TrimSpace(s[start:]))
}
