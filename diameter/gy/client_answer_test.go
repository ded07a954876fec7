package gy

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/vpnlogic"
)

// What each answer means, at each level and in each interrogation.
func TestChargeResults(t *testing.T) {
	inside := func(code diameter.ResultCode) CCA {
		return CCA{ErrorMessage: "token", Services: []ServiceAnswer{{RatingGroup: Some(uint32(100)), ResultCode: code}}}
	}
	whole := func(code diameter.ResultCode) CCA { return CCA{ResultCode: code, ErrorMessage: "token"} }
	for _, c := range []struct {
		name   string
		answer CCA
		result vpnlogic.ChargeResult
		code   uint32
		openI  bool // the server holds a session after a CCR-I
		openU  bool // … after a CCR-U
	}{
		{"refused C-003 C-025", whole(4010), vpnlogic.ChargeRefused, 4010, false, false},
		{"unknown payer", whole(5030), vpnlogic.ChargeRefused, 5030, false, false},
		{"free C-004 C-025", whole(4011), vpnlogic.ChargeFree, 4011, false, false},
		{"no credit C-005", whole(4012), vpnlogic.ChargeNoCredit, 4012, false, false},
		{"failure C-006", whole(5012), vpnlogic.ChargeFailed, 5012, false, false},
		{"session gone", whole(5002), vpnlogic.ChargeFailed, 5002, false, false},
		{"busy C-007", whole(3004), vpnlogic.ChargeUnreachable, 3004, false, true},
		{"redirected A-072", whole(3006), vpnlogic.ChargeUnreachable, 3006, false, true},
		{"no credit inside C-026", inside(4012), vpnlogic.ChargeNoCredit, 4012, true, true},
		{"refused inside", inside(4010), vpnlogic.ChargeRefused, 4010, true, true},
		{"free inside", inside(4011), vpnlogic.ChargeFree, 4011, true, true},
		{"no price inside", inside(5031), vpnlogic.ChargeFailed, 5031, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.HasSuffix(c.name, "A-072") {
				proves(t, "A-072")
			}
			client, w := newTestClient(t, ClientConfig{}, answering(c.answer))
			if a := client.Charge(context.Background(), initial("s")); a.Result != c.result || a.Code != c.code || a.SessionOpen != c.openI || a.Reason != "token" {
				t.Errorf("CCR-I: %+v", a)
			}
			w.say(answering(sixty()))
			client.Charge(context.Background(), initial("s"))
			w.say(answering(c.answer))
			a := client.Charge(context.Background(), update("s", 1))
			if a.Result != c.result || a.SessionOpen != c.openU {
				t.Errorf("CCR-U: %+v", a)
			}
			if _, kept := client.sessions["s"]; kept != c.openU {
				t.Errorf("session remembered: %v", kept)
			}
		})
	}
}

// C-112, C-113, C-058, C-059: answers that are unusual and usable.
func TestGrants(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*CCA)
		want vpnlogic.Grant
	}{
		{"no Result-Code in the MSCC C-112", func(a *CCA) { a.Services[0].ResultCode = 0 }, vpnlogic.Grant{Time: time.Minute, Threshold: 10 * time.Second, ValidFor: 5 * time.Minute}},
		{"nothing granted C-113", func(a *CCA) { a.Services[0] = ServiceAnswer{RatingGroup: Some(uint32(100))} }, vpnlogic.Grant{}},
		{"empty grant C-113", func(a *CCA) {
			a.Services[0] = ServiceAnswer{RatingGroup: Some(uint32(100)), Granted: Some(GrantedUnits{})}
		}, vpnlogic.Grant{}},
		{"zero and final C-058", func(a *CCA) {
			a.Services[0] = ServiceAnswer{Granted: Some(GrantedUnits{ServiceUnits: timeUnits(0)}), FinalUnit: Some(uint32(0))}
		}, vpnlogic.Grant{Final: true}},
		{"unknown final action C-059", func(a *CCA) { a.Services[0].FinalUnit = Some(uint32(9)) },
			vpnlogic.Grant{Time: time.Minute, Threshold: 10 * time.Second, ValidFor: 5 * time.Minute, Final: true}},
		{"time and octets", func(a *CCA) { a.Services[0].Granted.Value.Total = Some(uint64(5)) },
			vpnlogic.Grant{Time: time.Minute, Threshold: 10 * time.Second, ValidFor: 5 * time.Minute}},
		{"at the command", func(a *CCA) { a.Command, a.Services = a.Services[0], nil }, vpnlogic.Grant{Time: time.Minute, ValidFor: 5 * time.Minute}},
		{"redirection", func(a *CCA) { a.Services[0].FinalUnit = Some(uint32(1)) },
			vpnlogic.Grant{Time: time.Minute, Threshold: 10 * time.Second, ValidFor: 5 * time.Minute, Final: true}},
		{"restricted access", func(a *CCA) { a.Services[0].FinalUnit = Some(uint32(2)) },
			vpnlogic.Grant{Time: time.Minute, Threshold: 10 * time.Second, ValidFor: 5 * time.Minute, Final: true}},
		{"before and after a tariff change", func(a *CCA) {
			after := a.Services[0]
			after.Granted, after.Validity = Some(GrantedUnits{ServiceUnits: timeUnits(40), TariffTimeChange: at("2026-11-23T08:00:25Z")}), 0
			a.Services = append(a.Services, after)
		}, vpnlogic.Grant{Time: 40 * time.Second, Threshold: 10 * time.Second, ValidFor: 5 * time.Minute, SwitchAt: at("2026-11-23T08:00:25Z")}},
		{"another group too", func(a *CCA) {
			a.Services = []ServiceAnswer{{RatingGroup: Some(uint32(7)), ResultCode: 4012}, a.Services[0]}
		}, vpnlogic.Grant{Time: time.Minute, Threshold: 10 * time.Second, ValidFor: 5 * time.Minute}},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer := sixty()
			c.edit(&answer)
			if strings.HasSuffix(c.name, "C-112") {
				proves(t, "C-112")
			}
			client, _ := newTestClient(t, ClientConfig{}, answering(answer))
			if a := client.Charge(context.Background(), initial("s")); a.Result != vpnlogic.ChargeGranted || a.Grant != c.want {
				t.Errorf("answer %+v, want grant %+v", a, c.want)
			}
		})
	}
}

// C-032, C-114: what cannot be used fails the call, and the final
// interrogation says so.
func TestBadAnswersC032C114(t *testing.T) {
	echo := func(edit func(*CCA)) func(context.Context, sending) (*CCA, error) {
		return func(_ context.Context, s sending) (*CCA, error) {
			a := sixty()
			a.ResultCode, a.Type, a.Number = diameter.Success, s.ccr.Type, s.ccr.Number
			edit(&a)
			return &a, nil
		}
	}
	for name, edit := range map[string]func(*CCA){
		"octets C-032":  func(a *CCA) { a.Services[0].Granted = Some(GrantedUnits{ServiceUnits: octetUnits(5)}) },
		"money":         func(a *CCA) { a.Services[0].Granted.Value.ServiceUnits = ServiceUnits{Money: Some(AmountOf(5, 156))} },
		"another group": func(a *CCA) { a.Services[0].RatingGroup = Some(uint32(7)) },
	} {
		t.Run(name, func(t *testing.T) {
			c, w := newTestClient(t, ClientConfig{}, echo(edit))
			a := c.Charge(context.Background(), initial("s"))
			if a.Result != vpnlogic.ChargeFailed || a.Reason != vpnlogic.ReasonBadAnswer || !a.SessionOpen || a.Grant != (vpnlogic.Grant{}) {
				t.Errorf("answer %+v", a)
			}
			w.say(answering(CCA{}))
			c.Charge(context.Background(), final("s", 1))
			if got := w.sent[1].ccr.TerminationCause; got != Some(uint32(3)) {
				t.Errorf("Termination-Cause %+v, want DIAMETER_BAD_ANSWER", got)
			}
		})
	}
	t.Run("fault of validation C-114", func(t *testing.T) {
		c, _ := newTestClient(t, ClientConfig{}, nil)
		ccr := requests["G11"]
		m := parse(t, (&CCA{ResultCode: 2001, Type: 2, Number: 1}).Append(nil, golden(t, "G11"), testLocal))
		a := c.read(&ccr, new(session), peer.Answer{Message: m, Fault: &diameter.Error{Code: 5001}}, nil)
		if a.Result != vpnlogic.ChargeFailed {
			t.Errorf("answer %+v", a)
		}
	})
}

// C-115: an answer for another number, type or session is no answer: the request
// is repeated with T, and nothing of that answer is used.
func TestAnswerOfAnotherRequestC115(t *testing.T) {
	for name, edit := range map[string]func(*CCA){
		"number": func(a *CCA) { a.Number++ },
		"type":   func(a *CCA) { a.Type = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			proves(t, "C-115")
			c, w := newTestClient(t, ClientConfig{}, answering(sixty()))
			c.Charge(context.Background(), initial("s"))
			w.say(func(_ context.Context, s sending) (*CCA, error) {
				a := sixty()
				a.ResultCode, a.Type, a.Number, a.FailureHandling = diameter.Success, s.ccr.Type, s.ccr.Number, Some(uint32(1))
				edit(&a)
				return &a, nil
			})
			r := update("s", 1)
			a := c.Charge(context.Background(), r)
			if a.Result != vpnlogic.ChargeUnreachable || a.Grant != (vpnlogic.Grant{}) || !a.SessionOpen || a.OnFailure != vpnlogic.FailTerminate {
				t.Errorf("answer %+v", a)
			}
			w.say(answering(sixty()))
			r.Repeat = true
			if a := c.Charge(context.Background(), r); a.Result != vpnlogic.ChargeGranted || !w.sent[2].request.Retransmission || w.sent[2].request.EndToEnd != 77 {
				t.Errorf("repeated: %+v", a)
			}
		})
	}
	t.Run("session", func(t *testing.T) {
		proves(t, "C-115")
		c, _ := newTestClient(t, ClientConfig{}, nil)
		ccr := requests["G11"]
		ccr.SessionID = "somebody.else;1;2"
		answer := sixty()
		answer.ResultCode, answer.Type, answer.Number = diameter.Success, 2, 1
		m := parse(t, answer.Append(nil, golden(t, "G11"), testLocal))
		if a := c.read(&ccr, new(session), peer.Answer{Message: m}, nil); a.Result != vpnlogic.ChargeUnreachable {
			t.Errorf("answer %+v", a)
		}
	})
}

// The result of the wanted group decides when use of another one is reported with
// the same request.
func TestResultOfWantedGroup(t *testing.T) {
	both := func(old, new diameter.ResultCode) CCA {
		a := CCA{Services: []ServiceAnswer{{RatingGroup: Some(uint32(100)), ResultCode: old}, {RatingGroup: Some(uint32(101)), ResultCode: new}}}
		if new == diameter.Success {
			a.Services[1].Granted = Some(GrantedUnits{ServiceUnits: timeUnits(30)})
		}
		return a
	}
	for _, c := range []struct {
		name   string
		answer CCA
		result vpnlogic.ChargeResult
		grant  time.Duration
	}{
		{"both good", both(2001, 2001), vpnlogic.ChargeGranted, 30 * time.Second},
		{"no credit for the old one", both(4012, 2001), vpnlogic.ChargeGranted, 30 * time.Second},
		{"no credit for the new one", both(2001, 4012), vpnlogic.ChargeNoCredit, 0},
		{"the new one not allowed", both(2001, 4010), vpnlogic.ChargeRefused, 0},
		{"none for the new one", CCA{Services: both(2001, 2001).Services[:1]}, vpnlogic.ChargeFailed, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, w := newTestClient(t, ClientConfig{}, answering(sixty()))
			client.Charge(context.Background(), initial("s"))
			w.say(answering(c.answer))
			r := update("s", 1)
			r.Report, r.Wanted = vpnlogic.ReportRatingChange, 101
			if a := client.Charge(context.Background(), r); a.Result != c.result || a.Grant.Time != c.grant || !a.SessionOpen {
				t.Errorf("answer %+v", a)
			}
			if got := w.sent[1].ccr.Services; len(got) != 2 || got[0].Requested.Present || !got[1].Requested.Present || len(got[1].Used) != 0 {
				t.Errorf("request %+v", got)
			}
		})
	}
}

// C-034: what could not be rated is not asked again for a while.
func TestRatingBlockC034(t *testing.T) {
	blaming := func(avps ...[]byte) CCA { return CCA{ResultCode: diameter.RatingFailed, Failed: avps} }
	elsewhere := func(r vpnlogic.ChargeRequest) vpnlogic.ChargeRequest { r.Call.Called = "8613800000077"; return r }
	for _, c := range []struct {
		name   string
		answer CCA
		other  bool // a call to another number is held back too
	}{
		{"the number", blaming(str(diameter.CalledPartyAddress, "tel:+8613800000002")), false},
		{"nothing named", blaming(), false},
		{"the group", blaming(u32(diameter.RatingGroup, 100)), true},
		{"the MSCC", blaming(mscc(u32(diameter.RatingGroup, 100))), true},
		{"the context", blaming(str(diameter.ServiceContextID, ContextSIP)), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			proves(t, "C-034")
			synctest.Test(t, func(t *testing.T) {
				client, w := newTestClient(t, ClientConfig{}, answering(c.answer))
				client.Charge(context.Background(), initial("a"))
				pass(time.Minute)
				a := client.Charge(context.Background(), initial("b"))
				if a.Result != vpnlogic.ChargeFailed || a.Code != 5031 || a.SessionOpen || len(w.sent) != 1 {
					t.Errorf("second call: %+v after %d requests", a, len(w.sent))
				}
				w.say(answering(sixty()))
				if a := client.Charge(context.Background(), elsewhere(initial("c"))); (a.Result == vpnlogic.ChargeFailed) != c.other {
					t.Errorf("call to another number: %+v", a)
				}
				if a := client.Charge(context.Background(), update("d", 1)); a.Result != vpnlogic.ChargeGranted {
					t.Errorf("a running call: %+v", a)
				}
				pass(RatingBlockDefault)
				if a := client.Charge(context.Background(), initial("e")); a.Result != vpnlogic.ChargeGranted {
					t.Errorf("after ten minutes: %+v", a)
				}
			})
		})
	}
}

// The list of what is held back has a bound; beyond it nothing is held back.
func TestRatingBlockIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := ratingBlock{life: time.Minute}
		about := func(n uint32) *CCR {
			return &CCR{Type: 1, Services: []Service{{RatingGroup: Some(n), Requested: Some(ServiceUnits{})}}}
		}
		for n := range uint32(ratingBlocksMax) {
			if !b.note(about(n), &CCA{}) || b.note(about(n), &CCA{}) {
				t.Fatalf("group %d is not told once", n)
			}
		}
		if b.note(about(ratingBlocksMax), &CCA{}) || b.holds(about(ratingBlocksMax)) || !b.holds(about(7)) {
			t.Error("the list grows beyond its bound")
		}
		pass(time.Minute)
		if !b.note(about(ratingBlocksMax), &CCA{}) || !b.holds(about(ratingBlocksMax)) || b.holds(about(7)) || len(b.until) != 1 {
			t.Errorf("%d entries after their time", len(b.until))
		}
		b.life = -time.Minute
		if b.holds(about(ratingBlocksMax)) {
			t.Error("held back though that is switched off")
		}
	})
}
