package gy

import (
	"strings"
	"testing"

	"gygate/diameter"
	"gygate/ocs"
)

func TestPayersConformance(t *testing.T) { runRows(t, payersRows) }

// Who pays (B.5).
var payersRows = []row{
	{"B-053 all five types of Subscription-Id, and no sixth", func(t *testing.T, d *desk) {
		for n, s := range []Subscription{{ocs.E164, "8613800000001"}, {ocs.IMSI, "460001234567890"},
			{ocs.SIPURI, "sip:u1@Ims.Example"}, {ocs.NAI, "u1@ims.example"}, {ocs.Private, "group-7001"}} {
			r := d.session()(ocs.Initial, 0, ask())
			r.Payer = []Subscription{s}
			d.wants(r, 2001, 2001)
			d.ledger(ten-ocs.Money(n+1)*600_000, ocs.Money(n+1)*600_000)
		}
		r := d.session()(ocs.Initial, 0, ask())
		r.Payer = []Subscription{{77, "8613800000001"}}
		a, _ := ParseCCA(d.serve(d.frame(r)))
		d.failed(d.has(a, 5004), u32(diameter.SubscriptionIDType, 77))
	}},
	{"B-054 D-063 D-029 several in any order", func(t *testing.T, d *desk) {
		imsi, e164 := Subscription{ocs.IMSI, "460001234567890"}, Subscription{ocs.E164, "8613800000001"}
		unknown := Subscription{ocs.SIPURI, "sip:nobody@ims.example"}
		for _, all := range [][]Subscription{{imsi, e164}, {e164, imsi}, {unknown, imsi}} {
			r := d.session()(ocs.Initial, 0, ask())
			r.Payer, r.OriginStateID = all, 0
			d.wants(r, 2001, 2001)
		}
		d.ledger(8_200_000, 1_800_000)
	}},
	{"B-055 two accounts", func(t *testing.T, d *desk) {
		r := d.session()(ocs.Initial, 0, ask())
		r.Payer = []Subscription{{ocs.E164, "8613800000002"}, {ocs.IMSI, "460001234567890"}}
		d.failed(d.wants(r, 5007), group(diameter.SubscriptionID, r.Payer[0].append(nil)), group(diameter.SubscriptionID, r.Payer[1].append(nil)))
		d.ledger(ten, 0)
	}},
	{"B-056 B-058 D-009 E.164 with and without plus, and unknown", func(t *testing.T, d *desk) {
		for id, code := range map[string]diameter.ResultCode{"8613800000001": 2001, "+8613800000001": 2001, "tel:+8613800000001": 2001, "13800000001": 5030, "8613800000009": 5030} {
			r := d.session()(ocs.Initial, 0, ask())
			r.Payer = []Subscription{{ocs.E164, id}}
			if a := d.send(r); a.ResultCode != code || (d.books.Session(r.SessionID) != nil) != (code == 2001) {
				t.Errorf("%s: %d, want %d", id, a.ResultCode, code)
			}
		}
		d.ledger(8_200_000, 1_800_000)
	}},
	{"B-057 SIP URI of a telephone number", func(t *testing.T, d *desk) {
		for _, uri := range []string{"sip:+8613800000001@Ims.Example;user=phone", "SIP:u1@IMS.example:5060;transport=tcp"} {
			r := d.session()(ocs.Initial, 0, ask())
			r.Payer = []Subscription{{ocs.SIPURI, uri}}
			d.wants(r, 2001, 2001)
		}
		d.ledger(8_800_000, 1_200_000)
	}},
	{"B-059 nobody", func(t *testing.T, d *desk) {
		r := d.session()(ocs.Initial, 0, ask())
		r.Payer = nil
		d.failed(d.wants(r, 5031), diameter.AppendBytes(nil, diameter.SubscriptionID, nil))
		r = d.session()(ocs.Initial, 0, ask())
		r.Payer, r.UserName = nil, "tel:+8613800000001"
		d.wants(r, 2001, 2001)
	}},
	{"B-060 D-008 inside Service-Information", func(t *testing.T, d *desk) {
		r := d.session()(ocs.Initial, 0, ask())
		r.Payer, r.Call.Payer = nil, r.Payer
		d.wants(r, 2001, 2001)
		r = d.session()(ocs.Initial, 0, ask())
		r.Call.Payer, r.UserName = r.Payer, "8613800000001"
		if a := d.wants(r, 2001, 2001); a.UserName != r.UserName {
			t.Errorf("User-Name %q", a.UserName)
		}
		d.ledger(8_800_000, 1_200_000)
	}},
	{"A-073 User-Name comes back, where there was one", func(t *testing.T, d *desk) {
		for _, name := range []string{"u@ims.example", ""} {
			r := d.session()(ocs.Initial, 0, ask())
			r.UserName = name
			if a := d.wants(r, 2001, 2001); a.UserName != name {
				t.Errorf("User-Name %q, want %q", a.UserName, name)
			}
		}
	}},
	{"B-061 an update may omit the payer, not change it", func(t *testing.T, d *desk) {
		s := d.session()
		d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
		r := s(ocs.Update, 1, ask(threshold(10)))
		r.Payer = nil
		d.wants(r, 2001, 2001)
		r = s(ocs.Update, 2, ask(threshold(10)))
		r.Payer = []Subscription{{ocs.E164, "8613800000002"}}
		d.unmoved(func() { d.failed(d.wants(r, 5004), group(diameter.SubscriptionID, r.Payer[0].append(nil))) })
		d.ledger(9_300_000, 600_000)
	}},
	{"B-062 Subscription-Id-Extension", func(t *testing.T, d *desk) {
		base := d.session()(ocs.Initial, 0, ask())
		base.Payer = nil
		with := func(members ...[]byte) diameter.Message {
			m := d.frame(base)
			return parse(t, diameter.Finish(append(m.Raw[:len(m.Raw):len(m.Raw)], group(diameter.SubscriptionIDExtension, members...)...), 0))
		}
		a, _ := ParseCCA(d.serve(with(str(diameter.SubscriptionIDE164, "8613800000001"), str(diameter.SubscriptionIDIMSI, "460001234567890"))))
		d.has(a, 5009)
		d.ledger(ten, 0)
		d.has(d.read(d.serve(with(str(diameter.SubscriptionIDE164, "8613800000001")))), 2001, 2001)
		d.ledger(9_400_000, 600_000)
	}},
	{"B-063 nobody's number in the log or in Error-Message", func(t *testing.T, d *desk) {
		s := d.session()
		d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
		d.wants(s(ocs.Update, 1, ask(threshold(10))), 2001, 2001)
		texts := []string{
			d.send(s(ocs.Update, 1, ask(threshold(20)))).ErrorMessage,
			d.send(s(ocs.Initial, 9, ask())).ErrorMessage,
		}
		for _, payer := range [][]Subscription{nil, {{ocs.E164, "8613800000009"}}, {{ocs.E164, "8613800000002"}, {ocs.IMSI, "460001234567890"}}} {
			r := d.session()(ocs.Initial, 0, ask())
			r.Payer = payer
			texts = append(texts, d.send(r).ErrorMessage)
		}
		if !d.log.has("alarm") {
			t.Error("nothing was logged")
		}
		for _, text := range append(texts, d.log.String()) {
			for _, number := range []string{"8613800000001", "8613800000009", "8613800000002", "460001234567890"} {
				if strings.Contains(text, number) {
					t.Errorf("%q says %s", text, number)
				}
			}
		}
	}},
}
