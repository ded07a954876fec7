package gy

import (
	"slices"
	"testing"
	"time"

	"gygate/diameter"
	"gygate/ocs"
	"gygate/vpnlogic"
)

// telco is a charging system with other habits than ours, behind a relay: one
// balance in seconds, and what it grants is written AVP by AVP.
type telco struct {
	t        testing.TB
	balance  uint32 // seconds that are not used up
	reported uint32
	busy     bool // answers the next CCR-U with 3004
	pure     bool // units stand at the command, as in RFC 4006 without MSCC
}

var telcoOrigin = diameter.Origin{Host: "ocs-3.charging.telco.example", Realm: "charging.telco.example"}

// answer is the frame for a CCR.
func (o *telco) answer(r received) []byte {
	if o.busy && r.ccr.Type == ocs.Update {
		o.busy = false
		return diameter.ErrorAnswer(nil, r.m, &diameter.Error{Code: diameter.TooBusy}, telcoOrigin)
	}
	o.charge(r)
	b := diameter.StartAnswer(nil, r.m, diameter.Success, telcoOrigin)
	b = append(b, slices.Concat(
		str(diameter.UserName, "8613800000001@telco.example"),
		u32(diameter.Attribute{Code: 60001, Vendor: 99999}, 7), // nobody knows it, and nobody has to
		u32(diameter.CCRequestNumber, r.ccr.Number), u32(diameter.CCRequestType, uint32(r.ccr.Type)),
		u32(diameter.AuthApplicationID, diameter.AppCreditControl),
		group(diameter.FailedAVP, u32(diameter.RatingGroup, 0)), // a remark of an older release
	)...)
	if r.ccr.Type != ocs.Terminate {
		b = append(b, o.grant(r)...)
	}
	return diameter.FinishAnswer(b, 0, r.m)
}

// charge takes what was used off the balance, once for each request.
func (o *telco) charge(r received) {
	if used := usedIn(r); !r.resent() || r.ccr.Type != ocs.Update {
		o.reported += used
		o.balance -= min(used, o.balance)
	}
}

// grant: no Result-Code and no thresholds in the MSCC, Validity-Time alone; the
// last units come with a redirection.
func (o *telco) grant(r received) []byte {
	seconds := min(60, o.balance)
	units := [][]byte{gsu(u32(diameter.CCTime, seconds)), u32(diameter.ValidityTime, 3600)}
	if seconds == o.balance {
		units = append(units, group(diameter.FinalUnitIndication, u32(diameter.FinalUnitAction, 1),
			group(diameter.RedirectServer, u32(diameter.RedirectAddressType, 3), str(diameter.RedirectServerAddress, "sip:topup@telco.example"))))
	}
	if o.pure {
		return slices.Concat(units...)
	}
	return mscc(append(units, u32(diameter.RatingGroup, r.ccr.Services[0].RatingGroup.Value),
		u32(diameter.Attribute{Code: 60002, Vendor: 99999}, 1))...)
}

func (o *telco) behindRelay(t *testing.T) []*scripted {
	o.t = t
	relay := newScripted(t, "dra1.telco.example", silent)
	relay.relay = true
	relay.writes(o.answer)
	return []*scripted{relay}
}

// A whole call charges right at a charging system of another maker.
func TestForeignChargingSystem(t *testing.T) {
	for name, o := range map[string]*telco{
		"3GPP form":            {balance: 150},
		"3GPP form, busy once": {balance: 150, busy: true},
		"pure RFC form":        {balance: 150, pure: true},
	} {
		t.Run(name, func(t *testing.T) {
			proves(t, "C-059", "C-112", "C-016", "C-035")
			onStage(t, ClientConfig{Realm: telcoOrigin.Realm}, o.behindRelay, func(s *stage) {
				_, l := s.talk()
				began := time.Now()
				pass(10 * time.Minute)
				_, cause, at := l.state()
				if talked := at.Sub(began); talked > 150*time.Second || talked < 149800*time.Millisecond || cause.Reason != vpnlogic.ReasonQuotaEnd {
					t.Errorf("released after %v: %+v", talked, cause)
				}
				if o.balance != 0 || o.reported != 150 {
					t.Errorf("%d seconds reported, %d left of 150", o.reported, o.balance)
				}
				got := s.servers[0].got()
				for i, r := range got {
					if r.resent() || r.ccr.DestinationRealm != telcoOrigin.Realm || (r.ccr.DestinationHost == telcoOrigin.Host) != (i > 0) {
						t.Errorf("%s%d T %v to %q in %q", typeName(r.ccr.Type), r.ccr.Number, r.resent(), r.ccr.DestinationHost, r.ccr.DestinationRealm)
					}
				}
				if last := got[len(got)-1].ccr; last.Type != ocs.Terminate || last.TerminationCause != Some(causeLogout) {
					t.Errorf("last request %+v", last)
				}
			})
		})
	}
}

// Answers as they come on the wire, validated as they are, and what the call does.
func TestOddAnswers(t *testing.T) {
	answer := func(more ...[]byte) func(r received) []byte {
		return func(r received) []byte {
			b := diameter.StartAnswer(nil, r.m, diameter.Success, telcoOrigin)
			b = append(b, credit(uint32(r.ccr.Type), r.ccr.Number)...)
			if r.ccr.Type != ocs.Terminate {
				b = append(b, slices.Concat(more...)...)
			}
			return diameter.FinishAnswer(b, 0, r.m)
		}
	}
	minute := func(more ...[]byte) []byte {
		return mscc(append(more, gsu(u32(diameter.CCTime, 60)), u32(diameter.RatingGroup, 100))...)
	}
	unknown := diameter.Attribute{Code: 60001, Vendor: 99999}
	musty := diameter.Attribute{Code: 60001, Vendor: 99999, Flags: diameter.AVPMandatory}
	for _, c := range []struct {
		name   string
		answer []byte
		talks  bool
		final  bool   // the call ends with what is granted
		cause  uint32 // Termination-Cause of the CCR-T
		rows   []string
	}{
		{"final action 9", minute(group(diameter.FinalUnitIndication, u32(diameter.FinalUnitAction, 9))), true, true, causeLogout, []string{"C-059"}},
		{"restricted access", minute(group(diameter.FinalUnitIndication, u32(diameter.FinalUnitAction, 2), str(diameter.Attribute{Code: 11, Flags: diameter.AVPMandatory}, "filter"))), true, true, causeLogout, []string{"C-059"}},
		{"QoS-Final-Unit-Indication alone", minute(group(diameter.QoSFinalUnitIndication, u32(diameter.FinalUnitAction, 2))), true, true, causeLogout, nil},
		{"unknown AVP without M", slices.Concat(u32(unknown, 1), minute(u32(unknown, 1))), true, false, causeLogout, []string{"C-114"}},
		{"unknown AVP with M", slices.Concat(u32(musty, 1), minute()), false, false, causeBadAnswer, []string{"C-114", "C-032"}},
		{"unknown AVP with M in the MSCC", minute(u32(musty, 1)), false, false, causeBadAnswer, []string{"C-114", "C-032"}},
		{"octets", mscc(gsu(u64(diameter.CCTotalOctets, 1_000_000)), u32(diameter.RatingGroup, 100)), false, false, causeBadAnswer, []string{"C-032"}},
		{"broken AVP", append(minute(), 0, 0, 1, 0, 0, 0, 0, 4), false, false, causeBadAnswer, []string{"C-032"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			proves(t, c.rows...)
			onStage(t, ClientConfig{}, single(silent), func(s *stage) {
				s.servers[0].writes(answer(c.answer))
				call, l := s.dial()
				connected, _, _ := l.state()
				if connected != c.talks {
					t.Fatalf("connected %v", connected)
				}
				if connected {
					call.Answered(time.Now())
					began := time.Now()
					pass(53 * time.Second)
					if !c.final {
						call.HungUp(time.Now(), vpnlogic.PartyCaller)
					}
					pass(7 * time.Second)
					if _, cause, at := l.state(); c.final && (cause.Reason != vpnlogic.ReasonQuotaEnd || at.Sub(began).Round(time.Second) != time.Minute) {
						t.Errorf("released after %v: %+v", at.Sub(began), cause)
					}
				}
				got := s.servers[0].got()
				last := got[len(got)-1].ccr
				if types(got) != "I0 T1" || last.TerminationCause.Value != c.cause {
					t.Errorf("%s, Termination-Cause %d, want %d", types(got), last.TerminationCause.Value, c.cause)
				}
			})
		})
	}
}
