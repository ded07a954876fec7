package sipgw

import (
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

// FuzzInvite reads arbitrary bytes as an INVITE the way the gateway does: what
// the network sends may be refused, but must not panic.
func FuzzInvite(f *testing.F) {
	f.Add([]byte("INVITE sip:6002@gw SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5;branch=z9hG4bKx;rport\r\n" +
		"From: \"A\" <sip:6001@gw>;tag=a\r\nTo: <tel:6002>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n" +
		"Contact: <sip:a@127.0.0.1;transport=tcp>\r\nMax-Forwards: 70\r\nRoute: <sip:gw;lr>, <sip:odi@scscf;lr>\r\n" +
		"Record-Route: <sip:p1;lr>\r\nP-Asserted-Identity: <tel:+86-1>\r\nP-Charging-Vector: icid-value=\"x\"\r\n" +
		"Privacy: id;none\r\nSupported: timer\r\nSession-Expires: 90;refresher=uac\r\nMin-SE: 90\r\nContent-Length: 0\r\n\r\n"))
	f.Add([]byte("INVITE tel: SIP/2.0\r\nv: SIP/2.0/TCP [::1\r\nf: <sip:>\r\nt: *\r\ni: \r\nCSeq: 1\r\nm: *\r\nx: ;\r\n\r\n"))
	f.Add([]byte("SIP/2.0 200 OK\r\nCSeq: 1 INVITE\r\nSession-Expires: 1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		msg, err := sip.ParseMessage(data)
		if err != nil {
			return
		}
		readSessionExpires(msg)
		readMinSE(msg)
		req, ok := msg.(*sip.Request)
		if !ok || req.From() == nil || req.To() == nil || req.CallID() == nil || req.CSeq() == nil || req.Via() == nil {
			return
		}
		attemptOf(req, time.Time{})
		wantsPrivacy(req)
		unsupportedTags(req)
		remainingRoute(req, []*listener{{host: "gw", port: 5060}})
		if req.Contact() != nil {
			d := acceptDialog(nil, req)
			d.isPeer(req)
		}
		_ = sip.NewResponseFromRequest(req, 200, "OK", nil).String()
	})
}
