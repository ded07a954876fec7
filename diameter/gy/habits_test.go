package gy

import (
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

var habitsRows = []row{
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
	{"D-065 copies of any kind", func(t *testing.T, d *desk) {
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
	{"B-202 reauthorize off and on", func(t *testing.T, d *desk) {
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
		if got := profileOf(c.look, c.client, &c.from); got != c.want {
			t.Errorf("%s from %+v: %+v, want %+v", c.client, c.from, got, c.want)
		}
	}
}
