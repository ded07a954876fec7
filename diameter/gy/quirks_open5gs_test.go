package gy

import (
	"slices"
	"testing"
	"time"

	"gygate/diameter"
	"gygate/ocs"
)

// Open5GS SMF (conformance D-019 to D-029): its requests as its source writes them.

// open5gs writes a CCR: Requested-Action and AoC-Request-Type in all of them, a
// Multiple-Services-Indicator that denies the MSCC beside it, both identities, no
// Origin-State-Id, and always LOGOUT.
func open5gs(s *quirkSession, kind ocs.StepType, number uint32, services []byte) []byte {
	var cause []byte
	if kind == ocs.Terminate {
		cause = u32(diameter.TerminationCause, causeLogout)
	}
	return slices.Concat(
		s.origin(), u32(diameter.AuthApplicationID, 4), str(diameter.ServiceContextID, s.context),
		u32(diameter.CCRequestType, uint32(kind)), u32(diameter.CCRequestNumber, number), s.eventTimestamp(), s.payer,
		cause, u32(diameter.RequestedAction, uint32(ocs.DirectDebit)), u32(aocRequestType, 1),
		u32(diameter.MultipleServicesIndicator, 0), services,
		group(diameter.ServiceInformation, group(diameter.PSInformation, quirkChargingID)),
	)
}

// quirkChargingID is 3GPP-Charging-Id, four octets.
var quirkChargingID = u32(diameter.Attribute{Code: 2, Vendor: diameter.Vendor3GPP}, 7)

func (q *quirks) open5gs() *quirkSession {
	s := q.session(open5gs, ContextData)
	s.payer = slices.Concat(quirkSubscription(ocs.IMSI, quirkIMSI), quirkSubscription(ocs.E164, quirkNumber))
	return s
}

// What Open5GS requests, always, and how it reports.
var million = rsu(ccTotal(1_000_000))

func open5gsUse(seconds uint32, input, output uint64) []byte {
	return usu(ccTime(seconds), ccInput(input), ccOutput(output))
}

// A whole session: one MSCC without a target, its own way of counting, nothing
// debited directly and no seconds rated.
func TestQuirkOpen5GSSession(t *testing.T) {
	proves(t, "D-019", "D-020", "D-021", "D-022", "D-023", "D-029")
	onQuirks(t, quirkSetting{}, func(q *quirks) {
		s := q.open5gs()
		granted := func(a quirkAnswer) {
			t.Helper()
			answer := a.Services[0]
			if answer.Granted != Some(GrantedUnits{ServiceUnits: octetUnits(1_000_000)}) || answer.RatingGroup.Present || len(answer.Identifiers) > 0 {
				t.Errorf("%+v", answer)
			}
		}
		granted(s.charge(ocs.Initial, 2001, mscc(million), 2001))
		q.ledger("CCR-I", "9.99", "0.01", "0")
		pass(30 * time.Second)
		granted(s.charge(ocs.Update, 2001, mscc(million, open5gsUse(30, 400_000, 600_000), reportingReason(3)), 2001))
		q.ledger("CCR-U", "9.98", "0.01", "0.01")
		pass(90 * time.Second)
		if a := s.charge(ocs.Terminate, 2001, mscc(open5gsUse(90, 1_500_000, 500_000), reportingReason(2)), 2001); a.Cost.Present {
			t.Errorf("cost %+v", a.Cost)
		}
		q.ledger("CCR-T", "9.97", "0", "0.03")
		if q.books.Session(s.id).Open() {
			t.Error("the session is open")
		}
	})
}

// D-020: a client that is configured as strict must indicate what it sends.
func TestQuirkIndicatorDenied(t *testing.T) {
	proves(t, "D-020")
	for _, lenient := range []bool{true, false} {
		profile := StrictProfile
		profile.MissingIndicator = lenient
		onQuirks(t, quirkSetting{profile: &profile}, func(q *quirks) {
			if lenient {
				q.open5gs().charge(ocs.Initial, 2001, mscc(million), 2001)
				q.ledger("CCR-I", "9.99", "0.01", "0")
				return
			}
			q.open5gs().charge(ocs.Initial, 5004, mscc(million))
			q.ledger("CCR-I", "10.00", "0", "0")
		})
	}
}

// D-024: it answers an RAR with 2001 and does nothing. Configured, it gets none and
// comes back by itself; unconfigured, it is asked once.
func TestQuirkReAuthIgnored(t *testing.T) {
	proves(t, "D-024")
	done := func(m diameter.Message) []byte {
		return quirkReply(m, diameter.Success, u32(diameter.AuthApplicationID, 4))
	}
	for _, reauthorize := range []bool{false, true} {
		profile := LenientProfile
		profile.Reauthorize = reauthorize
		onQuirks(t, quirkSetting{profile: &profile}, func(q *quirks) {
			s := q.open5gs()
			validity := s.charge(ocs.Initial, 2001, mscc(million), 2001).Services[0].Validity
			link, notices := q.notify(done)
			notices.raise(s.id, ocs.NoticeCredit)
			pass(2 * time.Minute)
			asked, want := len(link.requests()), []ocs.NoticeResult{ocs.NoticeDone}
			if !reauthorize {
				want = []ocs.NoticeResult{ocs.NoticeWithheld}
			}
			if got := notices.settled(); !slices.Equal(got, want) || asked > 0 != reauthorize || asked > 1 {
				t.Errorf("reauthorize %v: %d RAR, settled as %v", reauthorize, asked, got)
			}
			if short := validity > 0 && validity <= 60; short == reauthorize {
				t.Errorf("reauthorize %v: Validity-Time %d", reauthorize, validity)
			}
			if !q.books.Session(s.id).Open() {
				t.Error("the session was closed")
			}
			q.ledger("no report", "9.99", "0.01", "0")
		})
	}
}

// D-025: what it does not decode is not there: one MSCC, and Final-Unit-Indication
// says TERMINATE and nothing else.
func TestQuirkOpen5GSFinalUnits(t *testing.T) {
	proves(t, "D-025")
	onQuirks(t, quirkSetting{money: "0.50"}, func(q *quirks) {
		a := q.open5gs().charge(ocs.Initial, 2001, mscc(rsu(ccTotal(100_000_000))), 2001)
		final, ok := a.msccs()[0].Find(diameter.FinalUnitIndication)
		if !ok || canonical(final.Data, 0) != canonical(u32(diameter.FinalUnitAction, 0), 0) {
			t.Errorf("Final-Unit-Indication %x", final.Raw)
		}
		q.ledger("CCR-I", "0", "0.50", "0")
	})
}

// D-026: releases that read thresholds upside down get none where so configured;
// a refusal inside the MSCC brings a CCR-T, which ends the session.
func TestQuirkOpen5GSReleases(t *testing.T) {
	proves(t, "D-026")
	slice := rsu(ccTotal(100_000_000))
	for _, thresholds := range []bool{true, false} {
		profile := LenientProfile
		profile.Thresholds = thresholds
		onQuirks(t, quirkSetting{profile: &profile}, func(q *quirks) {
			a := q.open5gs().charge(ocs.Initial, 2001, mscc(slice), 2001)
			codes := quirkMembers(a.msccs()[0])
			if slices.Contains(codes, diameter.VolumeQuotaThreshold.Code) != thresholds {
				t.Errorf("thresholds %v: members %v", thresholds, codes)
			}
		})
	}
	onQuirks(t, quirkSetting{money: "0"}, func(q *quirks) {
		s := q.open5gs()
		a := s.charge(ocs.Initial, 2001, mscc(million), 4012)
		if a.Services[0].Granted.Present || !q.books.Session(s.id).Open() {
			t.Errorf("%+v", a.Services)
		}
		pass(time.Second)
		s.charge(ocs.Terminate, 2001, mscc(open5gsUse(0, 0, 0)), 2001)
		if q.books.Session(s.id).Open() {
			t.Error("the session is open")
		}
		q.ledger("CCR-T", "0", "0", "0")
	})
}

// D-029: both identities, in either order, are one account; a client without
// Origin-State-Id never restarts, whatever else its host sends.
func TestQuirkNoOriginStateID(t *testing.T) {
	proves(t, "D-029")
	onQuirks(t, quirkSetting{}, func(q *quirks) {
		s, other := q.open5gs(), q.open5gs()
		other.payer = slices.Concat(quirkSubscription(ocs.E164, quirkNumber), quirkSubscription(ocs.IMSI, quirkIMSI))
		s.charge(ocs.Initial, 2001, mscc(million), 2001)
		other.charge(ocs.Initial, 2001, mscc(million), 2001)
		q.ledger("two sessions", "9.98", "0.02", "0")
		upgraded := q.open5gs() // a newer release on the same host keeps a state
		upgraded.stateID = 77
		upgraded.charge(ocs.Initial, 2001, mscc(million), 2001)
		pass(2 * ocs.OrphanGrace)
		if !q.books.Session(s.id).Open() || !q.books.Session(other.id).Open() {
			t.Error("a session was taken for lost")
		}
		q.ledger("the grace", "9.97", "0.03", "0")
		s.charge(ocs.Terminate, 2001, mscc(open5gsUse(60, 0, 500_000)), 2001)
		q.ledger("CCR-T", "9.975", "0.02", "0.005")
	})
}
