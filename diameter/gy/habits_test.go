package gy

import (
	"slices"
	"testing"
	"time"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// Section D of the conformance table, as far as quirks_*_test.go has it not, and the
// switches of Profile that no other test has in both positions.

func TestHabitsConformance(t *testing.T) { runRows(t, habitsRows) }

// base are attributes of the base protocol that only clients write.
func base(code uint32) diameter.Attribute {
	return diameter.Attribute{Code: code, Flags: diameter.AVPMandatory}
}

// bytes gives a request made AVP by AVP identifiers that no other one has.
func (d *desk) bytes(members ...[]byte) diameter.Message {
	d.sent++
	b := diameter.Start(nil, diameter.Header{Flags: diameter.FlagRequest | diameter.FlagProxiable, Command: diameter.CmdCreditControl,
		Application: diameter.AppCreditControl, HopByHop: d.sent, EndToEnd: d.sent})
	return parse(d.t, diameter.Finish(append(b, slices.Concat(members...)...), 0))
}

// taken sends it and wants success in the command and in the MSCCs.
func (d *desk) taken(m diameter.Message, services int) *CCA {
	d.t.Helper()
	return d.has(d.read(d.serve(m)), 2001, slices.Repeat([]diameter.ResultCode{2001}, services)...)
}

// kamailio is a CCR as its ims_charging module writes it.
func (d *desk) kamailio(session string, kind, number uint32, services ...[]byte) diameter.Message {
	e164 := group(diameter.SubscriptionID, u32(diameter.SubscriptionIDType, 0), str(diameter.SubscriptionIDData, "+8613800000001"))
	dummy := group(diameter.EventType, str(diameter.SIPMethod, "dummy"))
	members := [][]byte{
		str(diameter.SessionID, session), str(diameter.OriginHost, "scscf.ims.example"), str(diameter.OriginRealm, "ims.example"),
		str(diameter.DestinationRealm, "vpn.example"),
		u32(base(480), kind+1), u32(base(485), number), // Accounting-Record-Type and -Number
		str(diameter.UserName, "+8613800000001"), str(diameter.ServiceContextID, "ext.02.001.8.32276@3gpp.org"),
		u32(diameter.CCRequestType, kind), u32(diameter.CCRequestNumber, number), diameter.AppendTime(nil, diameter.EventTimestamp, d.now()),
		e164, u32(diameter.MultipleServicesIndicator, 1),
		group(diameter.VendorSpecificApplicationID, u32(diameter.VendorID, diameter.Vendor3GPP), u32(diameter.AuthApplicationID, 4)),
		group(diameter.UserEquipmentInfo, u32(diameter.UserEquipmentInfoType, 1), str(diameter.UserEquipmentInfoValue, "not a MAC address")),
	}
	members = append(members, services...)
	if kind == 3 {
		members = append(members, u32(diameter.TerminationCause, 1))
	}
	members = append(members, group(diameter.ServiceInformation, e164, group(diameter.IMSInformation, dummy,
		u32(diameter.NodeFunctionality, 6), str(diameter.CalledPartyAddress, "sip:+8613800000002@ims.example"))))
	return d.bytes(members...)
}

func spent(seconds uint32) []byte {
	return group(diameter.UsedServiceUnit, u32(diameter.CCTime, seconds))
}

func wants(seconds uint32) []byte {
	return group(diameter.RequestedServiceUnit, u32(diameter.CCTime, seconds))
}

// feg is a CCR as Magma's session_proxy writes it: in an order of its own.
func (d *desk) feg(session string, kind, number uint32, services ...[]byte) diameter.Message {
	members := [][]byte{str(diameter.SessionID, session), diameter.AppendTime(nil, diameter.EventTimestamp, d.now()),
		u32(diameter.MultipleServicesIndicator, 1), u32(diameter.CCRequestNumber, number), u32(diameter.CCRequestType, kind),
		group(diameter.SubscriptionID, str(diameter.SubscriptionIDData, "460001234567890"), u32(diameter.SubscriptionIDType, 1))}
	members = append(members, services...)
	return d.bytes(append(members, str(diameter.ServiceContextID, ocstest.Data), str(diameter.DestinationRealm, "vpn.example"),
		u32(diameter.AuthApplicationID, 4), str(diameter.OriginRealm, "magma.example"), str(diameter.OriginHost, "feg.magma.example"))...)
}

var habitsRows = []row{
	{"D-001 D-002 D-018 Kamailio", func(t *testing.T, d *desk) {
		const id = "scscf.ims.example;1;1"
		a := d.taken(d.kamailio(id, 1, 0, mscc(wants(30), rating(100))), 1)
		if g := a.Services[0]; g.Granted.Value.ServiceUnits != timeUnits(30) || a.UserName != "+8613800000001" || a.Command.Granted.Present {
			t.Errorf("CCA-I %+v", a)
		}
		d.ledger(9_700_000, 300_000)
		d.taken(d.kamailio(id, 2, 1, mscc(wants(30), spent(30), rating(100))), 1)
		d.ledger(9_400_000, 300_000)
		if a = d.taken(d.kamailio(id, 3, 2, mscc(spent(12), rating(100))), 1); a.Cost != Some(AmountOf(420_000, 156)) {
			t.Errorf("CCA-T %+v", a)
		}
		d.ledger(9_580_000, 0)
		// A strict peer is held to the Auth-Application-Id.
		d.from.Tolerate = diameter.Mode{}
		strict, _ := ParseCCA(d.serve(d.kamailio("scscf.ims.example;1;2", 1, 0, mscc(wants(30), rating(100)))))
		d.has(strict, 5005)
	}},
	{"D-004 no 4011", func(t *testing.T, d *desk) {
		free := Service{RatingGroup: Some(uint32(ocstest.FreeCall)), Requested: Some(ServiceUnits{})}
		d.wants(d.session()(ocs.Initial, 0, free), 4011)
		d.profile = &Profile{No4011: true, Reauthorize: true}
		s := d.session()
		a := d.wants(s(ocs.Initial, 0, free), 2001, 2001)
		if a.Services[0].Granted.Value.ServiceUnits != timeUnits(60) {
			t.Errorf("CCA-I %+v", a)
		}
		free.Requested, free.Used = Optional[ServiceUnits]{}, []UsedUnits{threshold(60)}
		d.wants(s(ocs.Terminate, 1, free), 2001, 2001)
		d.ledger(ten, 0)
	}},
	{"D-055 D-056 use during an outage", func(t *testing.T, d *desk) {
		late := carried(ocstest.Volume, 150_000_000)
		d.wants(d.data()(ocs.Initial, 0, late), 2001, 2001)
		d.ledger(9_000_000, 1_000_000) // noted, not charged
		if len(d.books.Orphans()) != 1 {
			t.Errorf("orphans %+v", d.books.Orphans())
		}
		d.profile = &Profile{InterimUsage: true, Reauthorize: true}
		s := d.data()
		d.wants(s(ocs.Initial, 0, late), 2001, 2001)
		d.ledger(6_500_000, 2_000_000)
		d.wants(s(ocs.Update, 1, carried(ocstest.Volume, 250_000_000)), 2001, 2001) // more than was granted
		d.ledger(4_000_000, 2_000_000)
		gone := d.data()(ocs.Update, 9, late)
		d.wants(gone, 5002)
		if len(d.books.Orphans()) != 2 {
			t.Errorf("orphans %+v", d.books.Orphans())
		}
	}},
	{"D-060 D-065 copies of any kind", func(t *testing.T, d *desk) {
		d.from.Relay = true
		s := d.session()
		r := s(ocs.Initial, 0, ask())
		r.OriginStateID = 77
		first := d.send(r)
		d.unmoved(func() {
			for _, edit := range []func(*CCR){func(*CCR) {}, func(r *CCR) { r.OriginStateID = 0 },
				func(r *CCR) { r.DestinationHost = "ocs1.vpn.example" }, func(r *CCR) { r.RouteRecord = []string{"dra1.example", "dra2.example"} }} {
				copied := r
				edit(&copied)
				for _, flags := range []diameter.Flags{0, diameter.FlagRetransmit} {
					d.from.Host = "dra2.example"
					m := parse(t, copied.Append(nil, diameter.Header{Flags: flags, HopByHop: 7, EndToEnd: 7}))
					if got := d.has(d.read(d.serve(m)), 2001, 2001); got.Services[0].Granted != first.Services[0].Granted {
						t.Errorf("%+v, then %+v", first, got)
					}
				}
			}
		})
		d.ledger(9_400_000, 600_000)
	}},
	{"D-066 AVPs of newer releases", func(t *testing.T, d *desk) {
		newer := diameter.Attribute{Code: 59999, Vendor: diameter.Vendor3GPP, Flags: diameter.AVPMandatory}
		inside := func(id string) diameter.Message {
			return d.feg(id, 1, 0, mscc(group(diameter.RequestedServiceUnit), rating(ocstest.Volume), u32(newer, 1)),
				group(diameter.ServiceInformation, u32(newer, 2), group(diameter.PSInformation, u32(newer, 3))))
		}
		d.taken(inside("feg;66;1"), 1)
		outside, _ := ParseCCA(d.serve(d.feg("feg;66;2", 1, 0, mscc(rating(ocstest.Volume)), u32(newer, 1))))
		d.failed(d.has(outside, 5001), u32(newer, 1))
		d.from.Tolerate = diameter.Mode{}
		strict, _ := ParseCCA(d.serve(inside("feg;66;3")))
		d.has(strict, 5001)
		d.ledger(9_000_000, 1_000_000)
	}},
	{"validity_max caps every grant", func(t *testing.T, d *desk) {
		d.profile = &Profile{ValidityMax: 30 * time.Second, Reauthorize: true}
		s := d.session()
		for _, r := range []CCR{s(ocs.Initial, 0, ask()), s(ocs.Update, 1, ask(threshold(30)))} {
			if a := d.wants(r, 2001, 2001); a.Services[0].Validity != 30 {
				t.Errorf("CCA-%s %+v", typeName(a.Type), a)
			}
		}
		d.ledger(9_100_000, 600_000) // one freeze
	}},
	{"B-202 D-024 reauthorize off and on", func(t *testing.T, d *desk) {
		for on, validity := range map[bool]uint32{true: 300, false: 60} {
			d.profile = &Profile{Reauthorize: on}
			if a := d.wants(d.data()(ocs.Initial, 0, volume(ocstest.Volume)), 2001, 2001); a.Services[0].Validity != validity {
				t.Errorf("reauthorize %v: %+v", on, a)
			}
			got, sent := notifiedTo(t, *d.profile, notice(ocs.NoticeCredit), 2002)
			if (got.result == ocs.NoticeWithheld) == on || (sent == 1) != on {
				t.Errorf("reauthorize %v: %+v after %d requests", on, got, sent)
			}
		}
	}},
	{"thresholds off and on", func(t *testing.T, d *desk) {
		for _, on := range []bool{false, true} {
			d.profile = &Profile{Reauthorize: true, Thresholds: on}
			if g := d.wants(d.data()(ocs.Initial, 0, volume(ocstest.Volume)), 2001, 2001).Services[0]; (g.VolumeThreshold != 0) != on {
				t.Errorf("thresholds %v: %+v", on, g)
			}
		}
	}},
}

// The profile is that of the CCR's Origin-Host, else that of the peer; a permission
// to refund is not lent by a name.
func TestProfileOf(t *testing.T) {
	known := map[string]Profile{"gw.example": {RefundMax: 5, No4011: true}, "dra.example": {RefundMax: 3, Thresholds: true}}
	look := func(host string) (Profile, bool) { p, ok := known[host]; return p, ok }
	for _, c := range []struct {
		look   func(string) (Profile, bool)
		client string
		from   peer.Remote
		want   Profile
	}{
		{nil, "gw.example", peer.Remote{}, LenientProfile},
		{look, "other.example", peer.Remote{Host: "more.example"}, LenientProfile},
		{look, "gw.example", peer.Remote{Host: "gw.example"}, known["gw.example"]},
		{look, "gw.example", peer.Remote{Host: "GW.example"}, known["gw.example"]},
		{look, "gw.example", peer.Remote{Host: "relay.example", Relay: true, Trusted: true}, known["gw.example"]},
		{look, "gw.example", peer.Remote{Host: "relay.example", Relay: true}, Profile{No4011: true}}, // anybody may say so
		{look, "other.example", peer.Remote{Host: "dra.example"}, known["dra.example"]},
		{look, "gw.example", peer.Remote{Host: "dra.example"}, Profile{RefundMax: 3, No4011: true}},
		{look, "gw.example", peer.Remote{Host: "liar.example"}, Profile{No4011: true}},
	} {
		if got := profileOf(c.look, c.client, c.from); got != c.want {
			t.Errorf("%s from %+v: %+v, want %+v", c.client, c.from, got, c.want)
		}
	}
}
