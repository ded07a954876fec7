package sipgw

import (
	"testing"

	"github.com/emiago/sipgo/sip"

	"gygate/vpnlogic"
)

func TestRoleOf(t *testing.T) {
	const hop = "<sip:vpn.example;lr>"
	cases := []struct {
		name    string
		target  string
		headers []string
		want    vpnlogic.Role
	}{
		{"a call that a member makes", "sip:6002@vpn.example", nil, vpnlogic.RoleOriginating},
		{"with a Route", "sip:6002@vpn.example", []string{"Route", hop}, vpnlogic.RoleOriginating},
		{"the Request-URI marks the terminating side", "sip:6002@vpn.example;term", nil, vpnlogic.RoleTerminating},
		{"the Route does", "sip:6002@vpn.example", []string{"Route", "<sip:vpn.example;lr;term>"}, vpnlogic.RoleTerminating},
		{"only the Route that brought it here counts", "sip:6002@vpn.example;term", []string{"Route", hop}, vpnlogic.RoleOriginating},
		{"the session case stands above the mark", "sip:6002@vpn.example;term", []string{"P-Served-User", "<sip:a@x;b>; sescase=orig; regstate=reg"}, vpnlogic.RoleOriginating},
		{"session case term", "sip:6002@vpn.example", []string{"P-Served-User", "<sip:a@x>;sescase=TERM;regstate=unreg"}, vpnlogic.RoleTerminating},
		{"session case after diversion", "sip:6002@vpn.example", []string{"P-Served-User", "<sip:a@x>;orig-cdiv"}, vpnlogic.RoleForwarding},
		{"Diversion", "sip:6002@vpn.example;term", []string{"Diversion", "<tel:+8613800000003>;reason=no-answer"}, vpnlogic.RoleForwarding},
		{"History-Info with a cause", "sip:6002@vpn.example", []string{"History-Info", "<sip:6003@vpn.example>;index=1, <sip:6002@vpn.example;cause=302>;index=1.1;mp=1"}, vpnlogic.RoleForwarding},
		{"History-Info of mere routing", "sip:6002@vpn.example", []string{"History-Info", "<sip:6002@vpn.example>;index=1, <sip:6002@192.0.2.1>;index=1.1"}, vpnlogic.RoleOriginating},
		{"unreadable headers", "sip:6002@vpn.example", []string{"History-Info", "<<>", "P-Served-User", ";;"}, vpnlogic.RoleOriginating},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			text := "INVITE " + c.target + " SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\n"
			for i := 0; i < len(c.headers); i += 2 {
				text += c.headers[i] + ": " + c.headers[i+1] + "\r\n"
			}
			msg, err := sip.ParseMessage([]byte(text + "Content-Length: 0\r\n\r\n"))
			if err != nil {
				t.Fatal(err)
			}
			if got := roleOf(msg.(*sip.Request)); got != c.want {
				t.Errorf("role %d, want %d", got, c.want)
			}
		})
	}
}
