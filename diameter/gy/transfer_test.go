package gy

import (
	"testing"

	"gygate/diameter/peer"
	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// A call is transferred: our own VPN logic, like others, leaves Called-Party-Address
// as it was and names the new party in Called-Asserted-Identity (conformance C-098).
func TestTransferIsPricedByTheConnectedNumber(t *testing.T) {
	t.Attr("proves", "B-119")
	const here, near, far = "tel:+8613800000002", "tel:+4930123456", "tel:+441632960000"
	of := func(group, seconds uint32) Service {
		s := report(seconds)
		s.RatingGroup, s.Reasons = Some(group), []uint32{reasonRatingChange}
		return s
	}
	wanted := func(group uint32) Service {
		return Service{RatingGroup: Some(group), Requested: Some(ServiceUnits{})}
	}
	to := func(r CCR, party string) CCR { r.Call.IMS.CalledAsserted = party; return r }
	cost := func(t *testing.T, a *CCA, want ocs.Money) {
		t.Helper()
		if a.Cost != Some(AmountOf(want, ocstest.Currency)) {
			t.Errorf("CCA-T %+v, want a cost of %v", a.Cost, want)
		}
	}
	t.Run("to another group and back, and on", func(t *testing.T) {
		d := openDesk(t, 10_000_000)
		s := d.session()
		d.wants(s(ocs.Initial, 0, wanted(ocstest.OnNet)), 2001, 2001)
		d.wants(to(s(ocs.Update, 1, of(ocstest.OnNet, 20), wanted(abroad)), far), 2001, 2001, 2001)
		d.wants(to(s(ocs.Update, 2, of(abroad, 30), wanted(ocstest.OnNet)), here), 2001, 2001, 2001)
		d.wants(to(s(ocs.Update, 3, of(ocstest.OnNet, 5), wanted(abroad)), near), 2001, 2001, 2001)
		last := report(10)
		last.RatingGroup = Some(uint32(abroad))
		// 20 s and 5 s on-net, 30 s far, 10 s near.
		cost(t, d.wants(to(s(ocs.Terminate, 4, last), near), 2001, 2001), 250_000+900_000+100_000)
	})
	t.Run("inside a group", func(t *testing.T) {
		d := openDesk(t, 10_000_000)
		s := d.session()
		d.wants(s(ocs.Initial, 0, wanted(abroad)), 2001, 2001)
		moved := of(abroad, 20)
		moved.Requested = Some(ServiceUnits{})
		d.wants(to(s(ocs.Update, 1, moved), far), 2001, 2001)
		last := report(30)
		last.RatingGroup = Some(uint32(abroad))
		cost(t, d.wants(to(s(ocs.Terminate, 2, last), far), 2001, 2001), 200_000+900_000)
	})
	t.Run("who answers under another number changes nothing", func(t *testing.T) {
		d := openDesk(t, 10_000_000)
		s := d.session()
		d.wants(s(ocs.Initial, 0, wanted(abroad)), 2001, 2001)
		more := report(20)
		more.RatingGroup, more.Requested = Some(uint32(abroad)), Some(ServiceUnits{})
		d.wants(to(s(ocs.Update, 1, more), far), 2001, 2001)
		last := report(30)
		last.RatingGroup = Some(uint32(abroad))
		cost(t, d.wants(to(s(ocs.Terminate, 2, last), far), 2001, 2001), 500_000)
	})
}

// Under another's Origin-Host a peer that is no relay cannot have that one's
// sessions ended as those of a restarted client.
func TestOriginStateIsTheClientsOwn(t *testing.T) {
	r := call("pgw;1", ocs.Update, 1, report(1))
	r.OriginHost, r.OriginStateID = "pgw.example", 7
	for _, c := range []struct {
		from peer.Remote
		want uint32
	}{
		{peer.Remote{Host: "PGW.example"}, 7},
		{peer.Remote{Host: "relay.example", Relay: true}, 7},
		{peer.Remote{Host: "liar.example"}, 0},
	} {
		step, refusal := r.step(&c.from, ocstest.Voice, &ocs.ServiceContext{}, &LenientProfile)
		if refusal != "" || step.Client.State != c.want {
			t.Errorf("from %+v: %q, %+v", c.from, refusal, step)
		}
	}
}
