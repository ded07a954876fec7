package sipgw

import (
	"slices"
	"strings"

	"github.com/emiago/sipgo/sip"

	"gygate/vpnlogic"
)

// What we say of ourselves. 100rel and replaces are missing on purpose: an
// option tag that is not listed is not used (RFC 3261 §20.37).
const (
	allowedMethods = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO"
	supportedTags  = "timer"
	maxForwards    = 70 // RFC 3261 §8.1.1.6
	contentTypeSDP = "application/sdp"
	contactUser    = "gygate"
	tagLength      = 16
	callIDLength   = 32
)

// dialogID tells dialogs apart (RFC 3261 §12): our tags are random, so the
// remote one is not needed.
type dialogID struct{ callID, localTag string }

// dialog is one leg of a call as a SIP dialog (RFC 3261 §12). Only its bridge
// touches it, but for the fields of its id, which never change.
type dialog struct {
	bridge *bridge
	party  vpnlogic.Party // who is at the other end

	callID    string
	local     sip.FromHeader // our side, with our tag
	remote    sip.ToHeader   // the other side, with its tag once there is a dialog
	localTag  string
	cseq      uint32 // of our last request
	peerCSeq  uint32 // of the peer's last request
	target    sip.Uri
	route     []sip.Uri
	transport string

	updates  bool // the peer allows UPDATE
	timers   bool // the peer supports session timers
	session  session
	ack      *sip.Request // the last ACK we sent
	sdp      []byte       // the last session description sent to the peer
	trusted  bool         // what the peer asserts is believed, if it comes from a trusted source
	answered bool         // a 2xx made it a full dialog
	over     bool         // BYE was sent or came
}

func (d *dialog) id() dialogID { return dialogID{d.callID, d.localTag} }

// acceptDialog makes the caller's leg from his INVITE (RFC 3261 §12.1.1), to
// which our tag was added.
func acceptDialog(b *bridge, req *sip.Request) *dialog {
	tag, _ := req.To().Params.Get("tag")
	d := &dialog{
		bridge: b, party: vpnlogic.PartyCaller, callID: req.CallID().Value(), localTag: tag,
		local:    sip.FromHeader(*sip.HeaderClone(req.To()).(*sip.ToHeader)),
		remote:   sip.ToHeader(*sip.HeaderClone(req.From()).(*sip.FromHeader)),
		peerCSeq: req.CSeq().SeqNo, target: *req.Contact().Address.Clone(),
		updates: listed(req, "Allow", "", "UPDATE"), timers: listed(req, "Supported", "k", "timer"),
	}
	for _, h := range req.GetHeaders("Record-Route") {
		if route, ok := h.(*sip.RecordRouteHeader); ok {
			d.route = append(d.route, *route.Address.Clone())
		}
	}
	d.transport = d.hopTransport(req.Transport())
	return d
}

// offerDialog makes the called leg before its INVITE is sent.
func offerDialog(b *bridge, w way, from sip.FromHeader) *dialog {
	d := &dialog{
		bridge: b, party: vpnlogic.PartyCalled, callID: sip.GenerateTagN(callIDLength), localTag: sip.GenerateTagN(tagLength),
		local: from, target: w.target, route: w.route, transport: w.transport, trusted: !w.contact,
	}
	d.local.Params.Add("tag", d.localTag)
	d.remote = sip.ToHeader{Address: *w.target.Clone()}
	d.remote.Address.Port, d.remote.Address.UriParams = 0, nil // RFC 3261 §19.1.1, table 1
	return d
}

// establish completes the called leg from the 2xx that won (RFC 3261 §12.1.2).
func (d *dialog) establish(res *sip.Response) {
	d.answered = true
	d.remote = *sip.HeaderClone(res.To()).(*sip.ToHeader)
	d.refreshTarget(res)
	d.updates = listed(res, "Allow", "", "UPDATE")
	d.timers = listed(res, "Supported", "k", "timer") || listed(res, "Require", "", "timer")
	d.route = nil
	for _, h := range slices.Backward(res.GetHeaders("Record-Route")) {
		if route, ok := h.(*sip.RecordRouteHeader); ok {
			d.route = append(d.route, *route.Address.Clone())
		}
	}
	d.transport = d.hopTransport(d.transport)
}

// fork is the dialog of another 2xx to the same INVITE.
func (d *dialog) fork(res *sip.Response) *dialog {
	other := *d
	other.establish(res)
	return &other
}

// isPeer says whether a request comes from the other side of this very dialog:
// the branches of a forked INVITE share our tag.
func (d *dialog) isPeer(req *sip.Request) bool {
	peer, known := d.remote.Params.Get("tag")
	tag, _ := req.From().Params.Get("tag")
	return !known || tag == peer
}

// refreshTarget takes the peer's new Contact (RFC 3261 §12.2).
func (d *dialog) refreshTarget(msg sip.Message) {
	type contacted interface{ Contact() *sip.ContactHeader }
	if c := msg.(contacted).Contact(); c != nil {
		d.target = *c.Address.Clone()
	}
}

// hopTransport is the transport of the next hop; a URI that names none keeps
// the one the dialog has.
func (d *dialog) hopTransport(current string) string {
	hop := &d.target
	if len(d.route) > 0 {
		hop = &d.route[0]
	}
	transport, err := transportOf(hop, current)
	if err != nil {
		return current
	}
	return transport
}

// request builds a request inside the dialog, or the INVITE that opens it.
// ACK and CANCEL carry the number of the INVITE they belong to.
func (d *dialog) request(method sip.RequestMethod, seq uint32) *sip.Request {
	req := sip.NewRequest(method, *d.target.Clone())
	l := d.bridge.gw.listenerFor(d.transport)
	via := &sip.ViaHeader{ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: d.transport, Host: l.host, Port: l.port}
	via.Params.Add("branch", sip.GenerateBranch())
	via.Params.Add("rport", "")
	hops := sip.MaxForwardsHeader(maxForwards)
	callID := sip.CallIDHeader(d.callID)
	req.AppendHeader(via)
	for _, hop := range d.route {
		req.AppendHeader(&sip.RouteHeader{Address: *hop.Clone()})
	}
	req.AppendHeader(&hops)
	req.AppendHeader(sip.HeaderClone(&d.local))
	req.AppendHeader(sip.HeaderClone(&d.remote))
	req.AppendHeader(&callID)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: seq, MethodName: method})
	if method == sip.INVITE || method == sip.UPDATE {
		d.describe(req)
	}
	req.SetBody(nil)
	req.SetTransport(d.transport)
	if strings.EqualFold(l.network, d.transport) {
		req.Laddr = l.source()
	}
	return req
}

// next is a request under the next number.
func (d *dialog) next(method sip.RequestMethod) *sip.Request {
	d.cseq++
	return d.request(method, d.cseq)
}

// describe adds what a target refresh request or its 2xx says of us.
func (d *dialog) describe(msg sip.Message) {
	msg.AppendHeader(d.contact())
	msg.AppendHeader(sip.NewHeader("Allow", allowedMethods))
	msg.AppendHeader(sip.NewHeader("Supported", supportedTags))
}

func (d *dialog) contact() *sip.ContactHeader {
	l := d.bridge.gw.listenerFor(d.transport)
	return &sip.ContactHeader{Address: sip.Uri{
		Scheme: "sip", User: contactUser, Host: l.host, Port: l.port,
		UriParams: sip.HeaderParams{{K: "transport", V: l.network}},
	}}
}

// The headers that go through with a body or say how to treat the call; all
// others are each leg's own. Those of the trust domain stay inside it
// (RFC 7315 §6).
var (
	bodyHeaders = []string{"Content-Type", "Content-Disposition", "Content-Encoding", "Content-Language", "MIME-Version"}
	callHeaders = []string{
		"Privacy", "Accept-Contact", "Alert-Info", "Call-Info", "Geolocation", "Geolocation-Routing",
		"History-Info", "Priority", "Resource-Priority", "Session-ID", "Subject", "User-to-User",
	}
	trustHeaders = []string{"P-Charging-Vector", "P-Asserted-Service", "P-Early-Media", "P-Access-Network-Info"}
)

// pass copies a body with its headers, and the named headers besides.
func pass(from, to sip.Message, headers ...string) {
	if len(from.Body()) > 0 {
		headers = slices.Concat(bodyHeaders, headers)
		to.SetBody(slices.Clone(from.Body()))
	}
	for _, name := range headers {
		for _, h := range from.GetHeaders(name) {
			to.AppendHeader(sip.HeaderClone(h))
		}
	}
}
