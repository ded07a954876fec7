package gy

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gygate/diameter"
	"gygate/ocs"
)

// Magma's session_proxy (conformance D-030 to D-040): its requests as its source
// writes them.

// magma writes a CCR in an order of its own: only Session-Id stands where it
// should. There is no Termination-Cause.
func magma(s *quirkSession, kind ocs.StepType, number uint32, services []byte) []byte {
	return slices.Concat(
		s.eventTimestamp(), u32(diameter.MultipleServicesIndicator, 1), services,
		group(diameter.ServiceInformation, group(diameter.PSInformation, quirkChargingID)), s.payer,
		u32(diameter.CCRequestNumber, number), u32(diameter.CCRequestType, uint32(kind)),
		str(diameter.ServiceContextID, s.context), u32(diameter.AuthApplicationID, 4), s.origin(),
	)
}

func (q *quirks) magma() *quirkSession {
	s := q.session(magma, ContextData)
	s.payer = slices.Concat(quirkSubscription(ocs.IMSI, quirkIMSI), quirkSubscription(ocs.E164, quirkNumber))
	return s
}

// magmaUnits are the three octet AVPs that stand together in RSU and USU.
func magmaUnits(input, output uint64) []byte {
	return slices.Concat(ccInput(input), ccOutput(output), ccTotal(input+output))
}

// A whole session, of three octet counts that are one.
func TestQuirkMagmaSession(t *testing.T) {
	proves(t, "D-030", "D-031", "D-032")
	onQuirks(t, quirkSetting{}, func(q *quirks) {
		s := q.magma()
		wish := rsu(magmaUnits(20_000_000, 20_000_000))
		granted := func(a quirkAnswer) {
			t.Helper()
			if a.Services[0].Granted != Some(GrantedUnits{ServiceUnits: octetUnits(40_000_000)}) {
				t.Errorf("%+v", a.Services)
			}
		}
		granted(s.charge(ocs.Initial, 2001, mscc(rg(10), wish), 2001))
		q.ledger("CCR-I", "9.60", "0.40", "0")
		granted(s.charge(ocs.Update, 2001, mscc(rg(10), wish, usu(magmaUnits(10_000_000, 20_000_000))), 2001))
		q.ledger("CCR-U", "9.30", "0.40", "0.30")
		s.charge(ocs.Terminate, 2001, mscc(rg(10), usu(magmaUnits(1_000_000, 9_000_000))), 2001)
		q.ledger("CCR-T", "9.60", "0", "0.40")
		if q.books.Session(s.id).Open() {
			t.Error("the session is open")
		}
	})
}

// D-033: an empty wish leaves the quantity to us, every time; a quantity is taken
// at its word, also when it shrinks.
func TestQuirkWhatIsRequested(t *testing.T) {
	proves(t, "D-033")
	onQuirks(t, quirkSetting{}, func(q *quirks) {
		empty, shrinking := q.magma(), q.magma()
		kind := ocs.Initial
		for _, n := range []uint64{80_000_000, 40_000_000, 5_000_000} {
			if a := empty.charge(kind, 2001, mscc(rg(10), rsu()), 2001); a.Services[0].Granted.Value.Total != Some(uint64(100_000_000)) {
				t.Errorf("%+v", a.Services)
			}
			if a := shrinking.charge(kind, 2001, mscc(rg(20), rsu(ccTotal(n))), 2001); a.Services[0].Granted.Value.Total != Some(n) {
				t.Errorf("asked %d: %+v", n, a.Services)
			}
			kind = ocs.Update
		}
	})
}

// D-034: what was granted to a service is reported for its group.
func TestQuirkServiceLeftOutAtTheEnd(t *testing.T) {
	proves(t, "D-034")
	onQuirks(t, quirkSetting{}, func(q *quirks) {
		s := q.magma()
		s.charge(ocs.Initial, 2001, mscc(rg(10), si(1), rsu()), 2001)
		s.charge(ocs.Update, 2001, mscc(rg(10), rsu(), usu(magmaUnits(0, 10_000_000))), 2001)
		q.ledger("CCR-U", "8.90", "1.00", "0.10") // the service's quota, not one more for the group
		s.charge(ocs.Terminate, 2001, mscc(rg(10), usu(magmaUnits(0, 30_000_000))), 2001)
		if targets := q.books.Session(s.id).Targets; len(targets) != 1 || targets[0].Target != "10/1" || targets[0].Used != 40_000_000 {
			t.Errorf("%d targets, %+v", len(targets), targets[0])
		}
		q.ledger("CCR-T", "9.60", "0", "0.40")
	})
}

// D-035: the updates that follow an RAR come all at once, and all are served.
func TestQuirkParallelUpdates(t *testing.T) {
	proves(t, "D-035")
	onQuirks(t, quirkSetting{money: "20.00"}, func(q *quirks) {
		s := q.magma()
		s.charge(ocs.Initial, 2001, slices.Concat(mscc(rg(10), rsu()), mscc(rg(20), rsu())), 2001, 2001)
		answers := make(chan diameter.Message, 6)
		open := q.gate.close()
		var sent []diameter.Message
		for _, group := range []uint32{10, 20, 10, 20, 10} {
			sent = append(sent, s.request(ocs.Update, mscc(rg(group), rsu(), usu(magmaUnits(0, 10_000_000)))))
		}
		for _, m := range sent {
			q.send(m, answers)
		}
		synctest.Wait()
		open()
		for _, m := range sent { // one session: in their order
			a := q.read(m, <-answers)
			if a.has(t, 2001, 2001); a.Services[0].Granted.Value.Total != Some(uint64(100_000_000)) {
				t.Errorf("%+v", a.Services)
			}
		}
		q.ledger("five updates", "16.30", "3.00", "0.70")
	})
}

// D-036: with its final units granted it answers an RAR with 5012, or promises a
// report that never comes. It is asked twice at the most; then the Validity-Time of
// the units brings it back.
func TestQuirkReAuthInFinalUnits(t *testing.T) {
	proves(t, "D-036")
	for _, c := range []struct {
		code   diameter.ResultCode
		result ocs.NoticeResult
		second diameter.Flags
	}{
		{diameter.UnableToComply, ocs.NoticeUndelivered, diameter.FlagRetransmit},
		{diameter.LimitedSuccess, ocs.NoticeExpected, 0},
	} {
		onQuirks(t, quirkSetting{money: "0.50"}, func(q *quirks) {
			s := q.magma()
			a := s.charge(ocs.Initial, 2001, mscc(rg(10), rsu()), 2001)
			validity := time.Duration(a.Services[0].Validity) * time.Second
			if !a.Services[0].FinalUnit.Present || validity == 0 {
				t.Fatalf("%+v", a.Services)
			}
			link, notices := q.notify(func(m diameter.Message) []byte { return quirkReply(m, c.code) })
			q.books.TopUp(q.key, 0, int64(q.money("5.00")))
			notices.raise(s.id, ocs.NoticeCredit)
			pass(validity)
			asked := link.requests()
			if len(asked) != 2 || asked[0].Flags&diameter.FlagRetransmit != 0 || asked[1].Flags&diameter.FlagRetransmit != c.second ||
				(asked[0].EndToEnd == asked[1].EndToEnd) != (c.second != 0) {
				t.Errorf("%d: %d RAR, %+v", c.code, len(asked), asked)
			}
			if got := notices.settled(); !slices.Equal(got, []ocs.NoticeResult{c.result, c.result}) {
				t.Errorf("%d: settled as %v", c.code, got)
			}
			a = s.charge(ocs.Update, 2001, mscc(rg(10), rsu(), usu(magmaUnits(0, 50_000_000)), reportingReason(4)), 2001)
			if a.Services[0].FinalUnit.Present || a.Services[0].Granted.Value.Total != Some(uint64(100_000_000)) {
				t.Errorf("%d: %+v", c.code, a.Services)
			}
			q.ledger("the report", "4.00", "1.00", "0.50")
		})
	}
}

// D-037: final units, or no credit, in the first answer: a CCR-T some seconds
// later, which ends the session cleanly.
func TestQuirkTerminateSoonAfterFirst(t *testing.T) {
	proves(t, "D-037")
	for money, code := range map[string]diameter.ResultCode{"0.50": 2001, "0": 4012} {
		onQuirks(t, quirkSetting{money: money}, func(q *quirks) {
			s := q.magma()
			a := s.charge(ocs.Initial, 2001, mscc(rg(10), rsu()), code)
			if a.Services[0].FinalUnit.Present != (code == 2001) {
				t.Errorf("%+v", a.Services)
			}
			pass(10 * time.Second)
			s.charge(ocs.Terminate, 2001, mscc(rg(10), usu(magmaUnits(0, 0))), 2001)
			if q.books.Session(s.id).Open() {
				t.Error("the session is open")
			}
			q.ledger("CCR-T", money, "0", "0")
		})
	}
}

// D-038: an answer is lost, and traffic goes on without quota. All of it is
// charged: from the freeze, from what is left, and the rest is owed.
func TestQuirkTrafficWithoutQuota(t *testing.T) {
	proves(t, "D-038")
	for _, c := range []struct {
		money, left, spent, debt string
	}{{"10.00", "6.50", "3.50", "0"}, {"2.00", "0", "2.00", "1.50"}} {
		onQuirks(t, quirkSetting{money: c.money}, func(q *quirks) {
			s := q.magma()
			s.charge(ocs.Initial, 2001, mscc(rg(10), rsu()), 2001)
			q.served(s.request(ocs.Update, mscc(rg(10), rsu(), usu(magmaUnits(0, 100_000_000))))) // nobody reads the answer
			s.charge(ocs.Terminate, 2001, mscc(rg(10), usu(magmaUnits(50_000_000, 200_000_000))), 2001)
			q.ledger("CCR-T", c.left, "0", c.spent)
			if debt := q.books.Account(q.key).Debt; debt != q.money(c.debt) {
				t.Errorf("debt %v, want %s", debt, c.debt)
			}
		})
	}
}

// D-039: it ends sessions that were never opened: 5002, a record of what was used,
// and no storm in the log.
func TestQuirkTerminateWithoutSession(t *testing.T) {
	proves(t, "D-039")
	const storm = 200
	onQuirks(t, quirkSetting{}, func(q *quirks) {
		for n := range storm {
			s := q.magma()
			s.next = 1
			s.charge(ocs.Terminate, 5002, mscc(rg(10), usu(magmaUnits(0, uint64(n%2)*1_000_000))))
		}
		if n := len(q.books.Orphans()); n != storm/2 {
			t.Errorf("%d orphan records for %d reports of use", n, storm/2)
		}
		if n := strings.Count(q.log.String(), "\n"); n > 1 {
			t.Errorf("%d lines in the log:\n%s", n, q.log)
		}
		q.ledger("the storm", "10.00", "0", "0")
	})
}

// D-040: the groups of a session have Validity-Times of their own, and report when
// each is over. The session is supervised by the longest.
func TestQuirkValidityDrifts(t *testing.T) {
	proves(t, "D-040")
	ending := func(a *ocs.Account) { // money for group 10 alone, for ten minutes
		a.Balances = append(a.Balances, &ocs.Balance{Unit: ocs.Amount, Amount: int64(5 * ocs.MoneyScale), Targets: []uint32{10},
			Priority: -1, ValidUntil: time.Now().Add(10 * time.Minute)})
	}
	onQuirks(t, quirkSetting{account: ending}, func(q *quirks) {
		s := q.magma()
		deadline := func(want time.Duration) {
			t.Helper()
			if got := time.Until(q.books.Session(s.id).Deadline); got != want {
				t.Errorf("supervised for %v, want %v", got, want)
			}
		}
		a := s.charge(ocs.Initial, 2001, slices.Concat(mscc(rg(10), rsu()), mscc(rg(20), rsu())), 2001, 2001)
		if a.Services[0].Validity != 600 || a.Services[1].Validity != 1800 {
			t.Errorf("%+v", a.Services)
		}
		deadline(time.Hour)
		pass(9 * time.Minute)
		if a = s.charge(ocs.Update, 2001, mscc(rg(10), rsu(), usu(magmaUnits(0, 10_000_000)), reportingReason(4)), 2001); a.Services[0].Validity != 60 {
			t.Errorf("%+v", a.Services)
		}
		deadline(time.Hour)
		pass(59 * time.Minute)
		if !q.books.Session(s.id).Open() {
			t.Error("closed before the longest Validity-Time is over twice")
		}
		pass(time.Minute + 2*time.Second)
		if q.books.Session(s.id).Open() {
			t.Error("nobody ended the silent session")
		}
	})
}
