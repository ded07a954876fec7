package sipgw

import (
	"strings"

	"github.com/emiago/sipgo/sip"

	"gygate/vpnlogic"
)

// termParam marks the URI under which an S-CSCF reaches an application server for a
// call to its user: the operator writes it into the initial filter criteria of the
// terminating case (TS 24.229 §5.4.3.3).
const termParam = "term"

// roleOf says for which side of the call the network asks: for a call that its
// subscriber forwards, for one that comes to him, else for one that he makes. The
// role is told to the charging system; who pays stays the member who calls.
func roleOf(req *sip.Request) vpnlogic.Role {
	switch {
	case diverted(req):
		return vpnlogic.RoleForwarding
	case terminating(req):
		return vpnlogic.RoleTerminating
	default:
		return vpnlogic.RoleOriginating
	}
}

// diverted reads the session case "originating after diversion" (RFC 8498), Diversion
// (RFC 5806), or a History-Info entry whose URI names the cause of a diversion (RFC
// 4458, TS 24.604); entries without one are mere retargeting.
func diverted(req *sip.Request) bool {
	if _, cdiv := servedUser(req, "orig-cdiv"); cdiv || headerValue(req, "Diversion") != "" {
		return true
	}
	for _, h := range req.GetHeaders("History-Info") {
		for _, entry := range splitOutsideQuotes(h.Value(), ',') {
			var uri sip.Uri
			if _, err := sip.ParseAddressValue(entry, &uri, nil); err == nil && uri.UriParams.Has("cause") {
				return true
			}
		}
	}
	return false
}

// terminating reads the session case (RFC 5502), or the mark in the URI that brought
// the request here: its topmost Route, else its Request-URI.
func terminating(req *sip.Request) bool {
	if sescase, told := servedUser(req, "sescase"); told {
		return strings.EqualFold(sescase, "term")
	}
	if route := req.Route(); route != nil {
		return route.Address.UriParams.Has(termParam)
	}
	return req.Recipient.UriParams.Has(termParam)
}

// servedUser is a parameter of P-Served-User.
func servedUser(req *sip.Request, parameter string) (value string, present bool) {
	params := splitOutsideQuotes(headerValue(req, "P-Served-User"), ';')
	for _, param := range params[1:] {
		name, value, _ := strings.Cut(param, "=")
		if strings.EqualFold(strings.TrimSpace(name), parameter) {
			return strings.TrimSpace(value), true
		}
	}
	return "", false
}
