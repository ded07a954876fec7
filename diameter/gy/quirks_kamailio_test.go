package gy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gygate/diameter"
	"gygate/ocs"
)

// Kamailio's ims_charging (conformance D-001 to D-018): its requests as its source
// writes them.

// AVPs that nobody but such peers needs.
var (
	accountingRecordType   = diameter.Attribute{Code: 480, Flags: diameter.AVPMandatory}
	accountingRecordNumber = diameter.Attribute{Code: 485, Flags: diameter.AVPMandatory}
	sipEvent               = diameter.Attribute{Code: 825, Vendor: diameter.Vendor3GPP, Flags: diameter.AVPMandatory}
	aocRequestType         = diameter.Attribute{Code: 2055, Vendor: diameter.Vendor3GPP, Flags: diameter.AVPMandatory}
)

// kamailio writes a CCR: Vendor-Specific-Application-Id instead of
// Auth-Application-Id, accounting AVPs, Multiple-Services-Indicator in every
// request, the subscriber at both levels, a MAC address that is none, "dummy" events
// after the first request and a number of microseconds for a time in the last.
func kamailio(s *quirkSession, kind ocs.StepType, number uint32, services []byte) []byte {
	event := group(diameter.EventType, str(diameter.SIPMethod, "INVITE"))
	if kind != ocs.Initial {
		event = group(diameter.EventType, str(diameter.SIPMethod, "dummy"), str(sipEvent, "dummy"))
	}
	stamp := diameter.AppendTime(nil, diameter.SIPRequestTimestamp, time.Now())
	var cause []byte
	if kind == ocs.Terminate {
		stamp = u32(diameter.SIPRequestTimestamp, 734_211)
		cause = u32(diameter.TerminationCause, max(s.cause, causeLogout))
	}
	return slices.Concat(
		group(diameter.VendorSpecificApplicationID, u32(diameter.VendorID, diameter.Vendor3GPP), u32(diameter.AuthApplicationID, 4)),
		s.origin(), u32(accountingRecordType, uint32(kind)%4+1), u32(accountingRecordNumber, number),
		str(diameter.ServiceContextID, s.context), u32(diameter.CCRequestType, uint32(kind)), u32(diameter.CCRequestNumber, number),
		str(diameter.UserName, "sip:+"+quirkNumber+"@ims.example"), s.eventTimestamp(), s.payer,
		u32(diameter.MultipleServicesIndicator, 1), services, cause,
		group(diameter.UserEquipmentInfo, u32(diameter.UserEquipmentInfoType, 1), str(diameter.UserEquipmentInfoValue, "not a MAC address")),
		group(diameter.ServiceInformation, s.payer, group(diameter.IMSInformation, event,
			u32(diameter.RoleOfNode, 0), u32(diameter.NodeFunctionality, 0), str(diameter.UserSessionID, "9f3a@ue"),
			str(diameter.CallingPartyAddress, "sip:+"+quirkNumber+"@ims.example"), str(diameter.CalledPartyAddress, "tel:+8613800000002"),
			group(diameter.TimeStamps, stamp))),
	)
}

func (q *quirks) kamailio() *quirkSession {
	s := q.session(kamailio, ContextSIP)
	s.payer = quirkSubscription(ocs.E164, "+"+quirkNumber)
	return s
}

// kamailioTalk is Kamailio's MSCC: its audio service, its report, its wish for 30 s.
func kamailioTalk(parts ...[]byte) []byte {
	return mscc(slices.Concat(parts...), si(1000), rg(100))
}

var thirty = rsu(ccTime(30))

// A whole call: what Kamailio reads of the answers, and that nothing it writes
// beside disturbs.
func TestQuirkKamailioCall(t *testing.T) {
	proves(t, "D-001", "D-002", "D-003", "D-005", "D-007", "D-012", "D-018")
	onQuirks(t, quirkSetting{}, func(q *quirks) {
		s := q.kamailio()
		granted := func(a quirkAnswer, n uint32) {
			t.Helper()
			if m := a.msccs(); len(m) != 1 || a.Services[0].Granted != Some(GrantedUnits{ServiceUnits: timeUnits(n)}) {
				t.Errorf("%d MSCC, granted %+v", len(m), a.Services)
			}
		}
		granted(s.charge(ocs.Initial, 2001, kamailioTalk(thirty), 2001), 30)
		q.ledger("CCR-I", "9.70", "0.30", "0")
		pass(28 * time.Second)
		granted(s.charge(ocs.Update, 2001, kamailioTalk(rsu(ccTime(90)), usu(ccTime(28))), 2001), 60)
		q.ledger("CCR-U", "9.12", "0.60", "0.28")
		pass(20 * time.Second)
		a := s.charge(ocs.Terminate, 2001, kamailioTalk(usu(ccTime(20))), 2001)
		if a.Services[0].Granted.Present || len(a.msccs()) != 1 {
			t.Errorf("%+v", a.Services)
		}
		q.ledger("CCR-T", "9.52", "0", "0.48")
	})
}

// D-001: who is held to the standard has to name the application at the command.
func TestQuirkApplicationInVendorGroup(t *testing.T) {
	proves(t, "D-001")
	onQuirks(t, quirkSetting{}, func(q *quirks) {
		m := q.kamailio().request(ocs.Initial, kamailioTalk(thirty))
		if fault := dictionary().Validate(m, diameter.Mode{}); fault == nil || fault.Code != diameter.MissingAVP {
			t.Errorf("a strict peer: %v", fault)
		}
		q.served(m).has(t, 2001, 2001)
	})
}

// D-003: every MSCC says how it fared, also when it fared badly or nothing was asked.
func TestQuirkResultCodeInEveryMSCC(t *testing.T) {
	proves(t, "D-003")
	onQuirks(t, quirkSetting{money: "0.40"}, func(q *quirks) {
		s := q.kamailio()
		answers := []quirkAnswer{s.charge(ocs.Initial, 2001, kamailioTalk(thirty), 2001)}
		pass(30 * time.Second)
		answers = append(answers, s.charge(ocs.Update, 2001, slices.Concat(
			kamailioTalk(thirty, usu(ccTime(30))), mscc(rsu(), rg(quirkNoPrice)), mscc(rsu(), rg(101))), 2001, 5031, 4012))
		pass(10 * time.Second)
		answers = append(answers,
			s.charge(ocs.Update, 2001, kamailioTalk(usu(ccTime(10))), 2001),
			s.charge(ocs.Terminate, 2001, kamailioTalk(usu(ccTime(0))), 2001))
		for _, a := range answers {
			for _, m := range a.msccs() {
				if codes := quirkMembers(m); !slices.Contains(codes, diameter.ResultCodeAVP.Code) {
					t.Errorf("CCA-%d #%d: an MSCC of %v", a.Type, a.Number, codes)
				}
			}
		}
		q.ledger("the end", "0", "0", "0.40")
	})
}

// D-006: it takes zero seconds for a failure and knows redirections to SIP URIs
// only: without credit it gets a code, with the last units such a redirection.
func TestQuirkKamailioWithoutCredit(t *testing.T) {
	proves(t, "D-006")
	redirect := ocs.ServiceOptions{FinalAction: ocs.FinalRedirect, Redirect: &ocs.Redirect{Type: 3, Address: "sip:topup@ims.example"}, ZeroGrant: true}
	t.Run("no credit", func(t *testing.T) {
		onQuirks(t, quirkSetting{money: "0", voice: redirect}, func(q *quirks) {
			if a := q.kamailio().charge(ocs.Initial, 4012, kamailioTalk(thirty)); len(a.msccs()) != 0 {
				t.Errorf("%+v", a.Services)
			}
			q.ledger("CCR-I", "0", "0", "0")
		})
	})
	t.Run("the last credit", func(t *testing.T) {
		onQuirks(t, quirkSetting{money: "0.20", voice: redirect}, func(q *quirks) {
			a := q.kamailio().charge(ocs.Initial, 2001, kamailioTalk(thirty), 2001)
			if a.Services[0].Granted != Some(GrantedUnits{ServiceUnits: timeUnits(20)}) {
				t.Errorf("granted %+v", a.Services[0].Granted)
			}
			final, _ := a.msccs()[0].Find(diameter.FinalUnitIndication)
			want := group(diameter.FinalUnitIndication, u32(diameter.FinalUnitAction, 1), group(diameter.RedirectServer,
				u32(diameter.RedirectAddressType, 3), str(diameter.RedirectServerAddress, "sip:topup@ims.example")))
			if canonical(final.Raw, 0) != canonical(want, 0) {
				t.Errorf("Final-Unit-Indication %x", final.Raw)
			}
		})
	})
}

// D-007: Multiple-Services-Indicator in later requests says nothing, whatever its
// value.
func TestQuirkIndicatorInEveryRequest(t *testing.T) {
	proves(t, "D-007")
	strict := StrictProfile // the first request must have it; the others need not
	for _, value := range []uint32{0, 1} {
		onQuirks(t, quirkSetting{profile: &strict}, func(q *quirks) {
			first := true
			form := func(s *quirkSession, kind ocs.StepType, number uint32, services []byte) []byte {
				b := kamailio(s, kind, number, services)
				if !first {
					b = []byte(strings.Replace(string(b), string(u32(diameter.MultipleServicesIndicator, 1)), string(u32(diameter.MultipleServicesIndicator, value)), 1))
				}
				first = false
				return b
			}
			s := q.kamailio()
			s.form = form
			s.charge(ocs.Initial, 2001, kamailioTalk(thirty), 2001)
			pass(30 * time.Second)
			if a := s.charge(ocs.Update, 2001, kamailioTalk(thirty, usu(ccTime(30))), 2001); !a.Services[0].Granted.Present {
				t.Errorf("%+v", a.Services)
			}
			s.charge(ocs.Terminate, 2001, kamailioTalk(), 2001)
			q.ledger("the end", "9.70", "0", "0.30")
		})
	}
}

// D-008, D-009: the identities Kamailio makes of what it finds, at both levels.
func TestQuirkKamailioIdentities(t *testing.T) {
	proves(t, "D-008", "D-009")
	for _, c := range []struct {
		name string
		kind ocs.IdentityKind
		data string
		code diameter.ResultCode
	}{
		{"tel with plus", ocs.E164, "+" + quirkNumber, 2001},
		{"tel stripped", ocs.E164, quirkNumber, 2001},
		{"the whole tel URI", ocs.E164, "tel:+" + quirkNumber, 2001},
		{"SIP URI of a number", ocs.SIPURI, "sip:+" + quirkNumber + "@Ims.Example;user=phone", 2001},
		{"SIP URI", ocs.SIPURI, "SIP:alice@IMS.example:5060;transport=tcp", 2001},
		{"national number", ocs.E164, "13800000001", 5030},
		{"somebody else", ocs.SIPURI, "sip:bob@ims.example", 5030},
	} {
		t.Run(c.name, func(t *testing.T) {
			onQuirks(t, quirkSetting{}, func(q *quirks) {
				s := q.kamailio()
				s.payer = quirkSubscription(c.kind, c.data)
				a := s.served(s.request(ocs.Initial, kamailioTalk(thirty)))
				if a.ResultCode != c.code {
					t.Fatalf("Result-Code %d, want %d", a.ResultCode, c.code)
				}
				if c.code != 2001 {
					q.ledger("a refusal", "10.00", "0", "0")
					return
				}
				q.ledger("CCR-I", "9.70", "0.30", "0")
				pass(30 * time.Second)
				s.charge(ocs.Update, 2001, kamailioTalk(thirty, usu(ccTime(30))), 2001) // the same subscriber, named again
				q.ledger("CCR-U", "9.40", "0.30", "0.30")
			})
		})
	}
}

// D-010: a call that is not answered yet says 2002 to an RAR and reports nothing.
// It is asked once more, and stays open.
func TestQuirkReAuthPromisedAndNotKept(t *testing.T) {
	proves(t, "D-010")
	onQuirks(t, quirkSetting{}, func(q *quirks) {
		s := q.kamailio()
		s.charge(ocs.Initial, 2001, kamailioTalk(thirty), 2001)
		link, notices := q.notify(func(m diameter.Message) []byte { return quirkReply(m, diameter.LimitedSuccess) })
		notices.raise(s.id, ocs.NoticeCredit)
		pass(2 * time.Second)
		if n := len(link.requests()); n != 1 {
			t.Fatalf("%d RAR", n)
		}
		pass(2 * time.Minute)
		asked := link.requests()
		if len(asked) != 2 || asked[1].Command != diameter.CmdReAuth || asked[1].Flags&diameter.FlagRetransmit != 0 {
			t.Errorf("%d requests, %+v", len(asked), asked[len(asked)-1].Header)
		}
		if got := notices.settled(); !slices.Equal(got, []ocs.NoticeResult{ocs.NoticeExpected, ocs.NoticeExpected}) {
			t.Errorf("settled as %v", got)
		}
		if !q.books.Session(s.id).Open() {
			t.Error("the session was closed")
		}
		q.ledger("the silence", "9.70", "0.30", "0")
		s.charge(ocs.Terminate, 2001, kamailioTalk(usu(ccTime(12))), 2001) // it was answered at last
		q.ledger("CCR-T", "9.88", "0", "0.12")
	})
}

// D-011: an ASR is accepted with 2002 and an AVP that answers do not have; the
// CCR-T that follows is charged.
func TestQuirkAbortAcceptedWith2002(t *testing.T) {
	proves(t, "D-011")
	onQuirks(t, quirkSetting{}, func(q *quirks) {
		s := q.kamailio()
		s.charge(ocs.Initial, 2001, kamailioTalk(thirty), 2001)
		link, notices := q.notify(func(m diameter.Message) []byte {
			return quirkReply(m, diameter.LimitedSuccess, str(diameter.DestinationRealm, testLocal.Realm))
		})
		pass(15 * time.Second)
		q.books.Block(q, q.key)
		notices.raise(s.id, ocs.NoticeBarred)
		pass(2 * time.Second)
		asked := link.requests()
		if len(asked) != 1 || asked[0].Command != diameter.CmdAbortSession {
			t.Fatalf("%d requests", len(asked))
		}
		if got := notices.settled(); !slices.Equal(got, []ocs.NoticeResult{ocs.NoticeExpected}) || notices.aborts != 1 {
			t.Errorf("settled as %v, %d of them as the end of the session", got, notices.aborts)
		}
		s.charge(ocs.Terminate, 2001, kamailioTalk(usu(ccTime(17))), 2001)
		pass(time.Minute)
		if n := len(link.requests()); n != 1 || q.books.Session(s.id).Open() {
			t.Errorf("%d requests, the session open: %v", n, q.books.Session(s.id).Open())
		}
		q.ledger("CCR-T", "9.83", "0", "0.17")
	})
}

// D-012: neither the "dummy" event nor the SIP time stamps date the use: the
// Event-Timestamp lies before the price rises, its arrival and the nonsense after.
func TestQuirkTimeStampsDoNotRate(t *testing.T) {
	proves(t, "D-012")
	onQuirks(t, quirkSetting{}, func(q *quirks) {
		s := q.kamailio()
		pass(9 * time.Minute)
		evening := func(parts ...[]byte) []byte { return mscc(slices.Concat(parts...), rg(quirkEvening)) }
		s.charge(ocs.Initial, 2001, evening(thirty), 2001)
		pass(30 * time.Second)
		s.charge(ocs.Update, 2001, evening(thirty, usu(ccTime(30))), 2001)
		pass(40 * time.Second)
		s.at = time.Now().Add(-10 * time.Second) // 00:10:00
		s.charge(ocs.Terminate, 2001, evening(usu(ccTime(30))), 2001)
		q.ledger("CCR-T", "9.40", "0", "0.60")
	})
}

// D-013: the Termination-Cause decides nothing.
func TestQuirkTerminationCauseDecidesNothing(t *testing.T) {
	proves(t, "D-013")
	var answers []string
	for _, cause := range []uint32{causeLogout, 4, 8} {
		onQuirks(t, quirkSetting{}, func(q *quirks) {
			s := q.kamailio()
			s.cause = cause
			s.charge(ocs.Initial, 2001, kamailioTalk(thirty), 2001)
			pass(20 * time.Second)
			answers = append(answers, s.charge(ocs.Terminate, 2001, kamailioTalk(usu(ccTime(20))), 2001).charging())
			q.ledger(fmt.Sprintf("Termination-Cause %d", cause), "9.80", "0", "0.20")
		})
	}
	if answers[0] != answers[1] || answers[0] != answers[2] {
		t.Errorf("answers differ:\n%s\n%s\n%s", answers[0], answers[1], answers[2])
	}
}

// D-014: after a refused CCR-U it serves what is left and sends a CCR-T, though
// the session is over here.
func TestQuirkTerminateAfterRefusedUpdate(t *testing.T) {
	proves(t, "D-014")
	onQuirks(t, quirkSetting{}, func(q *quirks) {
		s := q.kamailio()
		s.charge(ocs.Initial, 2001, kamailioTalk(thirty), 2001)
		pass(27 * time.Second)
		q.books.Block(q, q.key)
		s.charge(ocs.Update, 4010, kamailioTalk(thirty, usu(ccTime(27))))
		q.ledger("the refusal", "9.73", "0", "0.27")
		if q.books.Session(s.id).Open() {
			t.Error("the session is open")
		}
		pass(3 * time.Second)
		last := s.request(ocs.Terminate, kamailioTalk(usu(ccTime(3))))
		for range 2 { // and once more, as it got no answer
			q.served(last).has(t, 2001, 2001)
			q.ledger("the late CCR-T", "9.70", "0", "0.30")
		}
		s.charge(ocs.Terminate, 5002, kamailioTalk(usu(ccTime(3))))
		q.ledger("another one", "9.70", "0", "0.30")
	})
}

// D-015: it cuts a grant to its Validity-Time. The default is longer than the
// grant; where it is capped below, the earlier report frees what it does not need.
func TestQuirkGrantLongerThanItsValidity(t *testing.T) {
	proves(t, "D-015")
	open := rsu()
	onQuirks(t, quirkSetting{}, func(q *quirks) {
		a := q.kamailio().charge(ocs.Initial, 2001, kamailioTalk(open), 2001)
		if g := a.Services[0]; g.Granted.Value.Time.Value > g.Validity {
			t.Errorf("%+v", g)
		}
	})
	capped := LenientProfile
	capped.ValidityMax = 30 * time.Second
	onQuirks(t, quirkSetting{profile: &capped}, func(q *quirks) {
		s := q.kamailio()
		if a := s.charge(ocs.Initial, 2001, kamailioTalk(open), 2001); a.Services[0].Validity != 30 || a.Services[0].Granted.Value.Time.Value != 60 {
			t.Errorf("%+v", a.Services)
		}
		pass(30 * time.Second)
		s.charge(ocs.Update, 2001, kamailioTalk(open, usu(ccTime(30))), 2001)
		q.ledger("the early report", "9.10", "0.60", "0.30")
	})
}

// D-016: a CCR-T comes while the CCR-I is still in processing, or never.
func TestQuirkTerminateBeforeAnswer(t *testing.T) {
	proves(t, "D-016")
	onQuirks(t, quirkSetting{}, func(q *quirks) {
		s := q.kamailio()
		open := q.gate.close()
		first, last := s.request(ocs.Initial, kamailioTalk(thirty)), s.request(ocs.Terminate, kamailioTalk(usu(ccTime(0))))
		answers := make(chan diameter.Message, 2)
		q.send(first, answers)
		synctest.Wait() // the CCR-I is with the store
		q.send(last, answers)
		if synctest.Wait(); len(answers) != 0 {
			t.Error("answered before the commit")
		}
		open()
		for _, m := range []diameter.Message{first, last} {
			q.read(m, <-answers).has(t, 2001, 2001)
		}
		if q.books.Session(s.id).Open() {
			t.Error("the session is open")
		}
		q.ledger("CCR-T", "10.00", "0", "0")
	})
	onQuirks(t, quirkSetting{}, func(q *quirks) {
		s := q.kamailio()
		s.charge(ocs.Initial, 2001, kamailioTalk(thirty), 2001)
		pass(599 * time.Second)
		q.ledger("the silence", "9.70", "0.30", "0")
		pass(2 * time.Second)
		if q.books.Session(s.id).Open() {
			t.Error("the session is open")
		}
		q.ledger("Tcc", "10.00", "0", "0")
	})
}

// D-017: millions of seconds are not believed: charged is the session's age, and
// somebody is told.
func TestQuirkAbsurdUse(t *testing.T) {
	proves(t, "D-017")
	onQuirks(t, quirkSetting{}, func(q *quirks) {
		s := q.kamailio()
		s.charge(ocs.Initial, 2001, kamailioTalk(thirty), 2001)
		pass(42 * time.Second)
		s.charge(ocs.Terminate, 2001, kamailioTalk(usu(ccTime(34_359_738))), 2001)
		q.ledger("CCR-T", "9.58", "0", "0.42")
		if !q.log.has("alarm=implausible_usage") || !q.log.has("capped_seconds=34359696") {
			t.Errorf("log: %s", q.log)
		}
		stored := q.books.Session(s.id).Outcomes
		if capped := stored[len(stored)-1].Outcome.Items[0].Capped; capped != 34_359_738-42 {
			t.Errorf("flagged: %d s capped", capped)
		}
	})
	onQuirks(t, quirkSetting{}, func(q *quirks) { // what the tolerance covers is charged
		s := q.kamailio()
		s.charge(ocs.Initial, 2001, kamailioTalk(thirty), 2001)
		pass(42 * time.Second)
		s.charge(ocs.Terminate, 2001, kamailioTalk(usu(ccTime(102))), 2001)
		q.ledger("CCR-T", "8.98", "0", "1.02")
		if q.log.has("implausible_usage") {
			t.Errorf("log: %s", q.log)
		}
	})
}
