package sipgw

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/emiago/sipgo/sip"

	"gygate/vpnlogic"
)

// routes says where calls go on to.
type routes struct {
	contacts map[string]sip.Uri // by number without '+'
	nextHop  *sip.Uri
	domain   string
	own      []*listener
}

// newRoutes parses the contacts and the next hop; all faults at once.
func newRoutes(cfg Config, own []*listener) (routes, error) {
	r := routes{contacts: make(map[string]sip.Uri, len(cfg.Contacts)), domain: cfg.Domain, own: own}
	var faults []error
	for number, contact := range cfg.Contacts {
		uri, err := parseURI(contact)
		if err != nil {
			faults = append(faults, fmt.Errorf("sipgw: contact of %s: %w", vpnlogic.Mask(number), err))
			continue
		}
		r.contacts[strings.TrimPrefix(number, "+")] = uri
	}
	if cfg.NextHop != "" {
		hop := cfg.NextHop
		if _, _, err := net.SplitHostPort(hop); err == nil && !strings.Contains(hop, "sip:") {
			hop = "sip:" + hop
		}
		uri, err := parseURI(hop)
		if err != nil {
			faults = append(faults, fmt.Errorf("sipgw: next hop: %w", err))
		}
		r.nextHop = &uri
	}
	return r, errors.Join(faults...)
}

func parseURI(text string) (sip.Uri, error) {
	var uri sip.Uri
	if err := sip.ParseUri(text, &uri); err != nil {
		return uri, fmt.Errorf("no SIP URI: %w", err)
	}
	if uri.Host == "" || uri.Scheme != "sip" {
		return uri, errors.New("no sip: URI with a host")
	}
	if _, err := transportOf(&uri, "UDP"); err != nil {
		return uri, err
	}
	return uri, nil
}

// transportOf is the transport a URI asks for, else the fallback.
func transportOf(uri *sip.Uri, fallback string) (string, error) {
	wanted, ok := uri.UriParams.Get("transport")
	switch {
	case !ok || wanted == "":
		return fallback, nil
	case strings.EqualFold(wanted, "udp"), strings.EqualFold(wanted, "tcp"):
		return strings.ToUpper(wanted), nil
	default:
		return "", fmt.Errorf("transport %q is neither udp nor tcp", wanted)
	}
}

// way is where an outgoing INVITE goes: its Request-URI and its Route set.
type way struct {
	target    sip.Uri
	route     []sip.Uri
	transport string
	contact   bool // target is a static contact, a phone outside the trust domain
}

// errNoRoute: neither a contact, nor a further Route, nor a next hop.
var errNoRoute = errors.New("no contact, no further Route and no next hop: sip.contacts or sip.next_hop of the configuration names one")

// find picks the way of a call: the Route set the request still has (an
// S-CSCF's, and with it its dialog identifier) decides where the INVITE is
// sent, else a contact, else the next hop.
func (r *routes) find(dest vpnlogic.Destination, invite *sip.Request) (way, error) {
	number := string(dest.Called)
	user := "+" + number
	if dest.Emergency != "" {
		number, user = dest.Emergency, dest.Emergency
	}
	w := way{route: remainingRoute(invite, r.own)}
	contact, known := r.contacts[number]
	switch {
	case known:
		w.target, w.contact = contact, len(w.route) == 0
	case len(w.route) > 0:
		w.target = r.numberURI(user, invite.Recipient.Host)
	case r.nextHop != nil:
		w.target = r.numberURI(user, r.nextHop.Host)
		w.target.Port, w.target.UriParams = r.nextHop.Port, append(w.target.UriParams, r.nextHop.UriParams...)
	default:
		return way{}, errNoRoute
	}
	if strings.HasPrefix(dest.Emergency, "urn:") && !w.contact {
		w.throughURN(dest.Emergency)
	}
	hop := &w.target
	if len(w.route) > 0 {
		hop = &w.route[0]
	}
	var err error
	w.transport, err = transportOf(hop, "UDP")
	return w, err
}

// throughURN puts a service URN into the Request-URI (RFC 5031); the hop that
// stood there becomes a Route.
func (w *way) throughURN(urn string) {
	if len(w.route) == 0 {
		hop := w.target
		hop.User, hop.UriParams = "", append(hop.UriParams.Clone(), sip.HeaderKV{K: "lr"})
		hop.UriParams.Remove("user")
		w.route = []sip.Uri{hop}
	}
	var target sip.Uri
	if sip.ParseUri(urn, &target) == nil {
		w.target = target
	}
}

func (r *routes) numberURI(user, host string) sip.Uri {
	if host == "" {
		host = r.domain
	}
	return sip.Uri{Scheme: "sip", User: strings.ReplaceAll(user, "#", "%23"), Host: host, UriParams: sip.HeaderParams{{K: "user", V: "phone"}}}
}

// remainingRoute is the Route set of a request without the entry that brought
// it here.
func remainingRoute(req *sip.Request, own []*listener) []sip.Uri {
	var set []sip.Uri
	for i, h := range req.GetHeaders("Route") {
		route, ok := h.(*sip.RouteHeader)
		if !ok || i == 0 && isOwn(&route.Address, own) {
			continue
		}
		set = append(set, *route.Address.Clone())
	}
	return set
}

func isOwn(uri *sip.Uri, own []*listener) bool {
	port := uri.Port
	if port == 0 {
		port = sip.DefaultUdpPort
	}
	for _, l := range own {
		if port == l.port && (strings.EqualFold(uri.Host, l.host) || uri.Host == l.bound) {
			return true
		}
	}
	return false
}

// presentation is what an outgoing INVITE says of the caller.
type presentation struct {
	from     sip.FromHeader
	asserted sip.Header // P-Asserted-Identity, nil when it must not be told
}

// present shows the caller under the number the service chose: the short
// number on-net, else the public one with its '+', and to an emergency centre
// what came in. Who asked for privacy is anonymous in From (RFC 3323 §4.1) and
// asserted inside the trust domain only; an emergency centre sees everyone.
func (r *routes) present(dest vpnlogic.Destination, private, contact bool) presentation {
	number := dest.CallerID
	private = private && dest.Emergency == ""
	if !dest.OnNet && dest.Emergency == "" && number != "" && !strings.HasPrefix(number, "+") {
		number = "+" + number
	}
	var p presentation
	if number != "" && !(private && contact) {
		uri := r.numberURI(number, r.domain)
		p.asserted = sip.NewHeader("P-Asserted-Identity", "<"+uri.String()+">")
	}
	if private || number == "" {
		p.from = sip.FromHeader{
			DisplayName: "Anonymous",
			Address:     sip.Uri{Scheme: "sip", User: "anonymous", Host: "anonymous.invalid"},
		}
		return p
	}
	p.from = sip.FromHeader{DisplayName: number, Address: r.numberURI(number, r.domain)}
	return p
}
