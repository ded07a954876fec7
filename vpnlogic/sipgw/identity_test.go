package sipgw

import (
	"testing"

	"github.com/emiago/sipgo/sip"

	"gygate/vpnlogic"
)

func TestNumberOf(t *testing.T) {
	for uri, want := range map[string]string{
		"sip:6002@example.com":                           "6002",
		"sip:+86-138(0000).0002@example.com;user=phone":  "+8613800000002",
		"sip:%2B8613800000002@example.com":               "+8613800000002",
		"sip:6002;phone-context=vpn.example@example.com": "6002",
		"sip:*21%23@example.com":                         "*21#",
		"sip:112%0d%0aX%20y@example.com":                 "112%0d%0aX%20y",
		"sip:alice@example.com":                          "alice",
		"sip:example.com":                                "",
		"sip:anonymous@anonymous.invalid":                "",
		"sip:Anonymous@example.com":                      "",
		"tel:+86-10-6000-0001;npdi":                      "+861060000001",
		"tel:6002;phone-context=+8610":                   "6002",
		"urn:service:sos.fire":                           "urn:service:sos.fire",
	} {
		var u sip.Uri
		if err := sip.ParseUri(uri, &u); err != nil {
			t.Fatalf("%s: %v", uri, err)
		}
		if got := numberOf(&u); got != want {
			t.Errorf("%s: %q, want %q", uri, got, want)
		}
	}
}

func inviteWith(headers ...string) *sip.Request {
	var uri sip.Uri
	if err := sip.ParseUri("sip:6002@ims.example", &uri); err != nil {
		panic(err)
	}
	req := sip.NewRequest(sip.INVITE, uri)
	req.AppendHeader(&sip.FromHeader{Address: sip.Uri{Scheme: "sip", User: "+861", Host: "from.example"}})
	for i := 0; i < len(headers); i += 2 {
		req.AppendHeader(sip.NewHeader(headers[i], headers[i+1]))
	}
	return req
}

func TestCalling(t *testing.T) {
	const pai = "P-Asserted-Identity"
	cases := []struct {
		headers []string
		want    string
	}{
		{nil, "+861"},
		{[]string{pai, "<tel:+862>"}, "+862"},
		{[]string{pai, `"x, <y>" <sip:+863@ims.example>, <tel:+864>`}, "+863"},
		{[]string{pai, "<sip:anonymous@anonymous.invalid>", pai, "<tel:+865>"}, "+865"},
		{[]string{pai, "nonsense"}, ""}, // asserted, but not readable: not From's word instead
		{[]string{pai, ""}, ""},
	}
	for _, c := range cases {
		if got := calling(inviteWith(c.headers...)); got != c.want {
			t.Errorf("%q: %q, want %q", c.headers, got, c.want)
		}
	}
}

func TestICID(t *testing.T) {
	for vector, want := range map[string]string{
		"":                                   "",
		"icid-value=abc":                     "abc",
		`orig-ioi=x; ICID-Value = "a;b=c"`:   "a;b=c",
		`icid-value="unclosed`:               "unclosed",
		"icid-generated-at=192.0.2.1;;other": "",
	} {
		if got := chargingVector(inviteWith("P-Charging-Vector", vector), "icid-value"); got != want {
			t.Errorf("%q: %q, want %q", vector, got, want)
		}
	}
}

func TestPresent(t *testing.T) {
	r := routes{domain: "vpn.example"}
	cases := []struct {
		name             string
		dest             vpnlogic.Destination
		private, contact bool
		from, asserted   string
	}{
		{"on-net", vpnlogic.Destination{CallerID: "6001", OnNet: true}, false, true, "6001", "<sip:6001@vpn.example;user=phone>"},
		{"off-net", vpnlogic.Destination{CallerID: "861", OnNet: false}, false, false, "+861", "<sip:+861@vpn.example;user=phone>"},
		{"private, trusted hop", vpnlogic.Destination{CallerID: "861"}, true, false, "anonymous", "<sip:+861@vpn.example;user=phone>"},
		{"private, phone", vpnlogic.Destination{CallerID: "861"}, true, true, "anonymous", ""},
		{"private emergency", vpnlogic.Destination{CallerID: "+861", Emergency: "112"}, true, true, "+861", "<sip:+861@vpn.example;user=phone>"},
		{"nobody", vpnlogic.Destination{}, false, false, "anonymous", ""},
	}
	for _, c := range cases {
		p := r.present(c.dest, c.private, c.contact)
		asserted := ""
		if p.asserted != nil {
			asserted = p.asserted.Value()
		}
		if p.from.Address.User != c.from || asserted != c.asserted {
			t.Errorf("%s: From %s, asserted %s", c.name, p.from.Value(), asserted)
		}
	}
}

func TestEmergencyServiceURN(t *testing.T) {
	r, err := newRoutes(Config{NextHop: "sip:192.0.2.1:5070;transport=tcp", Domain: "vpn.example"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := r.find(vpnlogic.Destination{Emergency: "urn:service:sos"}, inviteWith())
	if err != nil || w.target.String() != "urn:service:sos" || w.transport != "TCP" || len(w.route) != 1 ||
		w.route[0].String() != "sip:192.0.2.1:5070;transport=tcp;lr" {
		t.Errorf("way %+v, %v", w, err)
	}
}
