package gy

import (
	"testing"

	"gygate/diameter/peer"
	"gygate/ocs"
	"gygate/ocs/ocstest"
	"gygate/vpnlogic"
)

// What is not sold is named in the log, for the operator of a client that knows
// nothing of prices: the rating group and context it asked for, who asked, and what
// adds the price; no number.
func TestAlarmOfWhatIsNotSold(t *testing.T) {
	unpriced := Service{RatingGroup: Some(uint32(ocstest.Unpriced)), Requested: Some(ServiceUnits{})}
	for _, tc := range []struct {
		name string
		send func(d *desk)
		says []string
	}{
		{"a call", func(d *desk) { d.wants(d.session()(ocs.Initial, 0, unpriced), 5031) },
			[]string{"alarm=no_price", "gygate tariff import", "group=999", "context=32276@3gpp.org"}},
		{"one service of two", func(d *desk) {
			d.wants(d.data()(ocs.Initial, 0, volume(ocstest.Volume), volume(ocstest.Unpriced)), 2001, 2001, 5031)
		}, []string{"alarm=no_price", "gygate tariff import", "group=999", "context=32251@3gpp.org"}},
		{"an event", func(d *desk) {
			r := d.session()(ocs.Event, 0, unpriced)
			r.Action = Some(uint32(ocs.DirectDebit))
			d.wants(r, 5031)
		}, []string{"alarm=no_price", "group=999"}},
		{"an unknown context", func(d *desk) {
			r := d.session()(ocs.Initial, 0, ask())
			r.ServiceContextID = "nope@x"
			d.wants(r, 5031)
		}, []string{"alarm=unknown_context", "gygate service set", "context=nope@x"}},
		{"a final interrogation of an unknown context", func(d *desk) {
			s := d.session()
			d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
			r := s(ocs.Terminate, 1, report(20))
			r.ServiceContextID = "nope@x"
			d.wants(r, 5031)
		}, []string{"alarm=unknown_context", "context=nope@x"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := openDesk(t, ten)
			d.from.Host = "pgw1.operator.example"
			tc.send(d)
			for _, want := range append(tc.says, "peer=pgw1.operator.example") {
				if !d.log.has(want) {
					t.Errorf("no %q in %s", want, &d.log)
				}
			}
			for _, number := range []string{"8613800000001", "8613800000002", "460001234567890"} {
				if d.log.has(number) {
					t.Errorf("number %s in %s", number, &d.log)
				}
			}
		})
	}
}

// The group that is told is the one that was looked up: of a request without one the
// service's, of our own VPN logic that of the class it found.
func TestAlarmNamesTheGroupThatWasLookedUp(t *testing.T) {
	r := call("vpnas1;1", ocs.Initial, 0, ask())
	x := &exchange{context: &ocs.ServiceContext{DefaultRatingGroup: 7}}
	for target, want := range map[ocs.Target]uint32{"": 7, "/3": 7, "12/3": 12} {
		if got := x.pricedBy(&r, target); got != want {
			t.Errorf("target %q: group %d, want %d", target, got, want)
		}
	}
	x.from = peer.Remote{Trusted: true}
	if got := x.pricedBy(&r, ""); got != vpnlogic.RatingOnNet {
		t.Errorf("of a class: group %d, want %d", got, vpnlogic.RatingOnNet)
	}
}
