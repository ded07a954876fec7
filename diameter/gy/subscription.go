package gy

import (
	"fmt"
	"strings"

	"gygate/diameter"
	"gygate/ocs"
)

// Subscription is one Subscription-Id (RFC 8506 §8.46) as it came.
type Subscription struct {
	Kind ocs.IdentityKind // Subscription-Id-Type
	Data string
}

func (s Subscription) append(b []byte) []byte {
	b = diameter.AppendUint32(b, diameter.SubscriptionIDType, uint32(s.Kind))
	return diameter.AppendString(b, diameter.SubscriptionIDData, s.Data)
}

func parseSubscription(group *diameter.AVP) (s Subscription, err *diameter.Error) {
	for a := range diameter.Scan(group.Data) {
		switch {
		case a.Is(diameter.SubscriptionIDType):
			if a.Uint32() > uint32(ocs.Private) {
				return s, &diameter.Error{Code: diameter.InvalidAVPValue, Failed: a.Raw, Text: string(ocs.UnsupportedId)}
			}
			s.Kind = ocs.IdentityKind(a.Uint32())
		case a.Is(diameter.SubscriptionIDData):
			s.Data = a.View()
		}
	}
	return s, nil
}

// extension gives the member of Subscription-Id-Extension (RFC 8506 §8.58) that
// stands for each type.
var extension = [...]diameter.Attribute{
	ocs.E164:    diameter.SubscriptionIDE164,
	ocs.IMSI:    diameter.SubscriptionIDIMSI,
	ocs.SIPURI:  diameter.SubscriptionIDSIPURI,
	ocs.NAI:     diameter.SubscriptionIDNAI,
	ocs.Private: diameter.SubscriptionIDPrivate,
}

// parseExtension reads Subscription-Id-Extension, which holds exactly one
// member (conformance B-062).
func parseExtension(group *diameter.AVP) (s Subscription, err *diameter.Error) {
	found := 0
	for a := range diameter.Scan(group.Data) {
		for kind, member := range extension {
			if !a.Is(member) {
				continue
			}
			if found++; found > 1 {
				return s, &diameter.Error{Code: diameter.AVPOccursTooManyTimes, Failed: a.Raw, Text: "Subscription-Id-Extension holds one member"}
			}
			s = Subscription{Kind: ocs.IdentityKind(kind), Data: a.View()}
		}
	}
	if found == 0 {
		return s, invalid(group.Raw, string(ocs.UnsupportedId))
	}
	return s, nil
}

// payer names the account: by the Subscription-Ids of the command, else by
// those inside Service-Information (conformance B-060), else, where a session
// begins, by User-Name (B-059). An identity that cannot be normalised names
// nobody and is left out. The result begins in room.
func (r *CCR) payer(room []ocs.Identity) []ocs.Identity {
	subscriptions := r.Payer
	if len(subscriptions) == 0 {
		subscriptions = r.Call.Payer
	}
	if len(subscriptions) == 0 && r.UserName != "" && (r.Type == ocs.Initial || r.Type == ocs.Event) {
		subscriptions = []Subscription{subscriptionOf(r.UserName)}
	}
	payer := room[:0]
	for _, s := range subscriptions {
		if id, ok := ocs.NormalizeIdentity(s.Kind, s.Data); ok {
			id.Value = strings.Clone(id.Value)
			payer = append(payer, id)
		}
	}
	return payer
}

// subscriptionOf tells by its form what a User-Name is.
func subscriptionOf(name string) Subscription {
	switch {
	case strings.HasPrefix(name, "tel:"), strings.HasPrefix(name, "+"):
		return Subscription{Kind: ocs.E164, Data: name}
	case strings.HasPrefix(name, "sip:"), strings.HasPrefix(name, "sips:"):
		return Subscription{Kind: ocs.SIPURI, Data: name}
	case strings.Contains(name, "@"):
		return Subscription{Kind: ocs.NAI, Data: name}
	default:
		return Subscription{Kind: ocs.Private, Data: name}
	}
}

// digitsOf returns the E.164 digits of a party address (tel or SIP URI, or bare
// digits), "" when it is no global number: a local one has no price of its own.
func digitsOf(address string) string {
	scheme, rest, ok := strings.Cut(address, ":")
	if !ok {
		scheme, rest = "tel", address
	}
	scheme = strings.ToLower(scheme)
	if scheme == "sip" || scheme == "sips" {
		rest, _, _ = strings.Cut(rest, "@")
	}
	number, parameters, _ := strings.Cut(rest, ";")
	number, global := strings.CutPrefix(number, "+")
	if !global && hasContext(parameters) {
		return ""
	}
	return digits(number)
}

func hasContext(parameters string) bool {
	return strings.Contains(strings.ToLower(";"+parameters), ";phone-context=")
}

// digits drops the visual separators of RFC 3966 and refuses anything else.
func digits(number string) string {
	if isDigits(number) {
		return number
	}
	out := make([]byte, 0, len(number))
	for i := range len(number) {
		switch c := number[i]; {
		case c >= '0' && c <= '9':
			out = append(out, c)
		case c == '-', c == '.', c == '(', c == ')':
		default:
			return ""
		}
	}
	return string(out)
}

func isDigits(number string) bool {
	for i := range len(number) {
		if number[i] < '0' || number[i] > '9' {
			return false
		}
	}
	return true
}

// globalTel is a public number as a tel URI (RFC 3966 §5.1.4).
func globalTel(number string) string { return "tel:+" + number }

// localTel is a number that means something inside one VPN only (RFC 3966
// §5.1.5); the context is a domain of ours, so that it names nobody else's plan.
func localTel(number, group, realm string) string {
	return fmt.Sprintf("tel:%s;phone-context=vpn%s.%s", number, group, realm)
}
