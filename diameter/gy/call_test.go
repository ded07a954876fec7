package gy

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"gygate/diameter"
	"gygate/ocs"
	"gygate/vpnlogic"
)

// single is the setting with one charging system.
func single(script func(received) *CCA) func(*testing.T) []*scripted {
	return func(t *testing.T) []*scripted {
		return []*scripted{newScripted(t, "ocs1.vpn.example", script)}
	}
}

// pair is the setting with a charging system and its alternative.
func pair(first, second func(received) *CCA) func(*testing.T) []*scripted {
	return func(t *testing.T) []*scripted {
		return []*scripted{newScripted(t, "ocs1.vpn.example", first), newScripted(t, "ocs2.vpn.example", second)}
	}
}

// types are the requests in short: "I0 U1 T2".
func types(all []received) (s string) {
	for i, r := range all {
		if i > 0 {
			s += " "
		}
		s += fmt.Sprintf("%s%d", typeName(r.ccr.Type), r.ccr.Number)
		if r.resent() {
			s += "*"
		}
	}
	return s
}

func usedIn(r received) uint32 { return usedSeconds(r.m.Raw) }

// Trace 1 as a call: set-up, a report at the threshold, hang-up.
func TestWholeCall(t *testing.T) {
	proves(t, "C-002", "C-016", "C-030", "C-035", "C-036", "C-037", "C-091")
	onStage(t, ClientConfig{}, single(granting(60, nil)), func(s *stage) {
		began := time.Now()
		call, l := s.dial()
		if connected, _, _ := l.state(); !connected {
			t.Fatal("the call is not set up after 2001")
		}
		call.Ringing(time.Now(), 180)
		pass(12 * time.Second)
		call.Answered(time.Now())
		pass(92 * time.Second)
		call.HungUp(time.Now(), vpnlogic.PartyCaller)
		got := s.servers[0].got()
		if types(got) != "I0 U1 T2" {
			t.Fatalf("requests %s", types(got))
		}
		if sum := usedIn(got[1]) + usedIn(got[2]); sum != 92 {
			t.Errorf("%d seconds are reported of 92", sum)
		}
		for i, want := range []struct {
			requested, indicator bool
			destination          string
			at                   time.Duration
		}{{true, true, "", 0}, {true, false, "ocs1.vpn.example", 62 * time.Second}, {false, false, "ocs1.vpn.example", 104 * time.Second}} {
			r := got[i].ccr
			off := r.EventTimestamp.Sub(began.Add(want.at)).Abs()
			if r.Services[0].Requested.Present != want.requested || r.MultipleServices.Present != want.indicator || r.DestinationHost != want.destination || off > time.Second {
				t.Errorf("CCR #%d: %+v", i, r)
			}
		}
	})
}

// What the answer to CCR-I does to the call, whatever failure handling says.
func TestFirstAnswer(t *testing.T) {
	all := []vpnlogic.FailureHandling{vpnlogic.FailTerminate, vpnlogic.FailContinue, vpnlogic.FailRetryAndTerminate}
	for _, c := range []struct {
		row      string
		code     diameter.ResultCode
		handling []vpnlogic.FailureHandling
		connects bool
		status   int // of the refusal
		charging vpnlogic.Charging
	}{
		{"C-003", 4010, all, false, 403, ""},
		{"C-003", 5030, all, false, 403, ""},
		{"C-004", 4011, all, true, 0, vpnlogic.ChargingFree},
		{"C-005", 4012, all, false, 402, ""},
		{"C-006", 5012, all[1:2], true, 0, vpnlogic.ChargingUncharged},
		{"C-006", 5012, []vpnlogic.FailureHandling{all[0], all[2]}, false, 503, ""},
		{"A-057", 7001, all[1:2], true, 0, vpnlogic.ChargingUncharged},
		{"A-057", 7001, all[:1], false, 503, ""},
	} {
		for _, handling := range c.handling {
			t.Run(fmt.Sprintf("%s code %d handling %d", c.row, c.code, handling), func(t *testing.T) {
				proves(t, c.row)
				onStage(t, ClientConfig{FailureHandling: handling}, single(refusing(c.code, nil)), func(s *stage) {
					call, l := s.dial()
					connected, cause, _ := l.state()
					if connected != c.connects || cause.Status != c.status {
						t.Fatalf("connected %v, cause %+v", connected, cause)
					}
					if connected {
						call.Answered(time.Now())
						pass(10 * time.Minute)
						call.HungUp(time.Now(), vpnlogic.PartyCalled)
						if r := s.record(); r.Charging != c.charging {
							t.Errorf("record says %q", r.Charging)
						}
					}
					pass(time.Minute)
					if got := types(s.servers[0].got()); got != "I0" {
						t.Errorf("requests %s, want the CCR-I alone", got)
					}
				})
			})
		}
	}
}

// A server that cannot take the request: its alternative gets it, with T clear;
// when that cannot either, failure handling decides.
func TestAlternativeServer(t *testing.T) {
	for _, code := range []diameter.ResultCode{3002, 3004, 3005, 3006} {
		t.Run(fmt.Sprint("answer ", code), func(t *testing.T) {
			proves(t, "C-007", "C-015")
			if code == diameter.RedirectIndication {
				proves(t, "A-072")
			}
			onStage(t, ClientConfig{}, pair(refusing(code, nil), granting(60, nil)), func(s *stage) {
				if code == diameter.RedirectIndication {
					s.servers[0].writes(redirect)
				}
				call, l := s.talk()
				if connected, _, _ := l.state(); !connected {
					t.Error("the call is refused")
				}
				call.HungUp(time.Now(), vpnlogic.PartyCaller)
				if a, b := types(s.servers[0].got()), types(s.servers[1].got()); a != "I0" || b != "I0 T1" {
					t.Errorf("requests %q and %q, want one CCR-I each with T clear", a, b)
				}
			})
		})
	}
	for handling, connects := range map[vpnlogic.FailureHandling]bool{vpnlogic.FailTerminate: false, vpnlogic.FailContinue: true, vpnlogic.FailRetryAndTerminate: false} {
		t.Run(fmt.Sprint("both busy, handling ", handling), func(t *testing.T) {
			proves(t, "C-007")
			onStage(t, ClientConfig{FailureHandling: handling}, pair(refusing(3004, nil), refusing(3004, nil)), func(s *stage) {
				call, l := s.dial()
				if connected, _, _ := l.state(); connected != connects {
					t.Errorf("connected %v", connected)
				}
				call.Cancelled(time.Now())
			})
		})
		t.Run(fmt.Sprint("nobody there, handling ", handling), func(t *testing.T) {
			proves(t, "C-007")
			onStage(t, ClientConfig{FailureHandling: handling}, single(silent), func(s *stage) {
				s.servers[0].cut()
				pass(time.Second)
				call, l := s.dial()
				pass(11 * time.Second)
				if connected, _, _ := l.state(); connected != connects {
					t.Errorf("connected %v", connected)
				}
				call.Cancelled(time.Now())
			})
		})
	}
}

// redirect is an answer that names a third server, which nobody may connect to.
func redirect(r received) []byte {
	b := diameter.StartAnswer(nil, r.m, diameter.RedirectIndication, diameter.Origin{Host: "ocs1.vpn.example", Realm: "vpn.example"})
	return diameter.FinishAnswer(diameter.AppendString(b, diameter.RedirectHost, "aaa://ocs3.vpn.example:3868"), 0, r.m)
}

// Tx: at 10.0 s, and what comes after it.
func TestTx(t *testing.T) {
	t.Run("TERMINATE", func(t *testing.T) {
		proves(t, "C-008", "C-009")
		onStage(t, ClientConfig{}, single(silent), func(s *stage) {
			began := time.Now()
			_, l := s.dial()
			pass(9999 * time.Millisecond)
			if _, _, at := l.state(); !at.IsZero() {
				t.Fatal("released before Tx")
			}
			s.servers[0].says(granting(60, nil))
			pass(time.Millisecond)
			connected, cause, at := l.state()
			if connected || cause.Reason != vpnlogic.ReasonUnreachable || at.Sub(began) != 10*time.Second {
				t.Errorf("connected %v, %+v after %v", connected, cause, at.Sub(began))
			}
			// The server may hold a freeze: a CCR-T gives it back.
			if got := s.servers[0].got(); types(got) != "I0 T1" || usedIn(got[1]) != 0 {
				t.Errorf("requests %s", types(got))
			}
		})
	})
	for _, handling := range []vpnlogic.FailureHandling{vpnlogic.FailContinue, vpnlogic.FailRetryAndTerminate} {
		t.Run(fmt.Sprint("handling ", handling), func(t *testing.T) {
			proves(t, "C-008", "C-015", "A-090")
			onStage(t, ClientConfig{FailureHandling: handling}, single(silent), func(s *stage) {
				call, l := s.dial()
				pass(10 * time.Second)
				if connected, _, _ := l.state(); !connected {
					t.Fatal("the call waits beyond Tx")
				}
				call.Answered(time.Now())
				s.servers[0].says(granting(60, nil))
				pass(2 * time.Second) // the repetition is answered: a late grant
				pass(40 * time.Second)
				call.HungUp(time.Now(), vpnlogic.PartyCaller)
				got := s.servers[0].got()
				if types(got) != "I0 I0* T1" || got[0].m.EndToEnd != got[1].m.EndToEnd || usedIn(got[2]) != 42 {
					t.Errorf("requests %s, %d seconds", types(got), usedIn(got[len(got)-1]))
				}
			})
		})
	}
}

// An answer that comes after the alternative server's, or twice, counts once.
func TestLateAnswerIsNoSecondGrant(t *testing.T) {
	proves(t, "A-090")
	onStage(t, ClientConfig{}, single(granting(60, nil)), func(s *stage) {
		var late []byte
		plain := granting(60, nil)
		s.servers[0].writes(func(r received) []byte {
			a := plain(r)
			a.ResultCode, a.Type, a.Number = diameter.Success, r.ccr.Type, r.ccr.Number
			frame := a.Append(nil, r.m, s.servers[0].origin)
			if late == nil {
				late = bytes.Clone(frame)
			}
			return frame
		})
		_, l := s.talk()
		began := time.Now()
		pass(5 * time.Second)
		if _, err := s.servers[0].conn.Write(late); err != nil {
			t.Fatal(err)
		}
		s.servers[0].says(silent)
		pass(2 * time.Minute)
		if _, _, at := l.state(); at.Sub(began) > time.Minute {
			t.Errorf("released after %v of 60 s granted", at.Sub(began))
		}
	})
}

// A running session moves to another server only when the first said that it may.
func TestSessionFailover(t *testing.T) {
	for _, c := range []struct {
		name     string
		failover Optional[uint32]
		moves    bool
	}{{"absent", Optional[uint32]{}, false}, {"not supported", Some(uint32(0)), false}, {"supported", Some(uint32(1)), true}} {
		t.Run(c.name, func(t *testing.T) {
			proves(t, "C-014")
			grant := granting(60, func(a *CCA) { a.SessionFailover = c.failover })
			onStage(t, ClientConfig{}, pair(grant, grant), func(s *stage) {
				_, l := s.talk()
				began := time.Now()
				s.servers[0].cut()
				pass(55 * time.Second)
				if got := len(s.servers[1].got()) > 0; got != c.moves {
					t.Errorf("the session moved: %v", got)
				}
				pass(10 * time.Second)
				_, _, at := l.state()
				if c.moves != at.IsZero() || !c.moves && at.Sub(began).Round(time.Second) != time.Minute {
					t.Errorf("released %v after the answer", at.Sub(began))
				}
				s.servers[0].mend()
				pass(time.Minute)
			})
		})
	}
}

// What is sent again to the other server is the same request: number, End-to-End
// Identifier, time stamp, every AVP but Destination-Host; and T.
func TestResentToOtherServer(t *testing.T) {
	proves(t, "C-015", "C-016", "C-091")
	grant := granting(60, func(a *CCA) { a.SessionFailover = Some(uint32(1)) })
	onStage(t, ClientConfig{}, pair(grant, grant), func(s *stage) {
		call, _ := s.talk()
		s.servers[0].writes(func(received) []byte {
			s.servers[0].cut()
			return nil
		})
		pass(55 * time.Second)
		first, second := s.servers[0].got(), s.servers[1].got()
		if types(first) != "I0 U1" || types(second) != "U1*" {
			t.Fatalf("requests %q and %q", types(first), types(second))
		}
		was, is := first[1], second[0]
		if was.m.EndToEnd != is.m.EndToEnd || was.ccr.DestinationHost != "ocs1.vpn.example" || is.ccr.DestinationHost != "" {
			t.Errorf("end-to-end %x and %x, Destination-Host %q and %q", was.m.EndToEnd, is.m.EndToEnd, was.ccr.DestinationHost, is.ccr.DestinationHost)
		}
		was.ccr.DestinationHost = ""
		if a, b := was.ccr.Append(nil, diameter.Header{}), is.ccr.Append(nil, diameter.Header{}); !bytes.Equal(a, b) {
			t.Error("the repetition says something else")
		}
		pass(20 * time.Second)
		call.HungUp(time.Now(), vpnlogic.PartyCaller)
		if last := s.servers[1].got(); last[len(last)-1].ccr.DestinationHost != "ocs2.vpn.example" || last[len(last)-1].resent() {
			t.Errorf("CCR-T to %q", last[len(last)-1].ccr.DestinationHost)
		}
		s.servers[0].mend()
	})
}

// Two servers behind a relay: what follows goes to the one that answered CCR-I.
func TestServersBehindRelay(t *testing.T) {
	proves(t, "C-016")
	onStage(t, ClientConfig{}, func(t *testing.T) []*scripted {
		dra := newScripted(t, "dra1.vpn.example", granting(60, func(a *CCA) { a.OriginHost = "ocs7.vpn.example" }))
		dra.relay = true
		dra.writes(func(r received) []byte {
			a := granting(60, nil)(r)
			a.ResultCode, a.Type, a.Number = diameter.Success, r.ccr.Type, r.ccr.Number
			return a.Append(nil, r.m, diameter.Origin{Host: "ocs7.vpn.example", Realm: "vpn.example"})
		})
		return []*scripted{dra}
	}, func(s *stage) {
		call, _ := s.talk()
		pass(55 * time.Second)
		call.HungUp(time.Now(), vpnlogic.PartyCaller)
		got := s.servers[0].got()
		if types(got) != "I0 U1 T2" || got[0].ccr.DestinationHost != "" || got[1].ccr.DestinationHost != "ocs7.vpn.example" || got[2].ccr.DestinationHost != "ocs7.vpn.example" {
			t.Errorf("%s to %q %q %q", types(got), got[0].ccr.DestinationHost, got[1].ccr.DestinationHost, got[2].ccr.DestinationHost)
		}
	})
}

// Numbers go up by one and are not used again after a failure.
func TestNumbersAfterFailure(t *testing.T) {
	proves(t, "C-030")
	onStage(t, ClientConfig{}, single(granting(30, nil)), func(s *stage) {
		call, _ := s.talk()
		pass(10 * time.Second)
		answer := granting(30, nil)
		s.servers[0].says(func(r received) *CCA {
			if r.ccr.Number == 1 && !r.resent() {
				return nil
			}
			return answer(r)
		})
		pass(40 * time.Second)
		call.HungUp(time.Now(), vpnlogic.PartyCaller)
		seen := map[string]ocs.StepType{}
		last := uint32(0)
		for _, r := range s.servers[0].got() {
			key := fmt.Sprint(r.ccr.Number)
			if kind, again := seen[key]; again && (kind != r.ccr.Type || !r.resent()) {
				t.Errorf("number %s is used for another request", key)
			}
			if r.ccr.Number > last+1 {
				t.Errorf("number %d follows %d", r.ccr.Number, last)
			}
			seen[key], last = r.ccr.Type, r.ccr.Number
		}
		if len(seen) < 3 {
			t.Errorf("only %d requests", len(seen))
		}
	})
}

// One CCR-U at a time, however slow the answer and whatever else falls due.
func TestOneUpdateAtATime(t *testing.T) {
	proves(t, "C-031", "D-057")
	const slow = 8 * time.Second
	onStage(t, ClientConfig{}, single(granting(20, func(a *CCA) { a.Services[0].Validity = 3 })), func(s *stage) {
		call, _ := s.talk()
		server := s.servers[0]
		answer := granting(20, func(a *CCA) { a.Services[0].Validity = 3 })
		server.writes(func(r received) []byte {
			a := answer(r)
			a.ResultCode, a.Type, a.Number = diameter.Success, r.ccr.Type, r.ccr.Number
			frame := a.Append(nil, r.m, server.origin)
			time.AfterFunc(slow, func() { _, _ = server.conn.Write(frame) }) // a lost answer shows in the requests
			return nil
		})
		pass(2 * time.Minute)
		call.HungUp(time.Now(), vpnlogic.PartyCaller)
		pass(time.Minute)
		got := server.got()
		if len(got) < 5 {
			t.Errorf("only %s", types(got))
		}
		for i := 2; i < len(got); i++ {
			if gap := got[i].at.Sub(got[i-1].at); gap < slow {
				t.Errorf("%s%d follows %v after one that is answered after %v", typeName(got[i].ccr.Type), got[i].ccr.Number, gap, slow)
			}
		}
	})
}

// A block in mid-call, told inside the MSCC: the session is ended as by the
// administration.
func TestBlockedInCall(t *testing.T) {
	proves(t, "C-094")
	onStage(t, ClientConfig{}, single(granting(60, nil)), func(s *stage) {
		_, l := s.talk()
		s.servers[0].says(func(r received) *CCA {
			return &CCA{Services: []ServiceAnswer{{RatingGroup: wanted(r.ccr).RatingGroup, ResultCode: 4010}}}
		})
		pass(time.Minute)
		got := s.servers[0].got()
		if types(got) != "I0 U1 T2" || got[2].ccr.TerminationCause != Some(causeAdministrative) {
			t.Errorf("%s, %+v", types(got), got[len(got)-1].ccr.TerminationCause)
		}
		if _, cause, _ := l.state(); cause.Status != 403 {
			t.Errorf("released with %+v", cause)
		}
	})
}

// What an answer says about failure handling counts more than the setting.
func TestFailureHandlingOfAnswer(t *testing.T) {
	for _, c := range []struct {
		local    vpnlogic.FailureHandling
		answer   uint32
		released bool // at the end of the quota, in an outage
	}{{vpnlogic.FailContinue, 0, true}, {vpnlogic.FailTerminate, 1, false}, {vpnlogic.FailContinue, 2, true}} {
		t.Run(fmt.Sprint("local ", c.local, " answer ", c.answer), func(t *testing.T) {
			proves(t, "C-011")
			onStage(t, ClientConfig{FailureHandling: c.local}, single(granting(60, func(a *CCA) { a.FailureHandling = Some(c.answer) })), func(s *stage) {
				call, l := s.talk()
				began := time.Now()
				s.servers[0].says(silent)
				pass(90 * time.Second)
				_, _, at := l.state()
				if released := !at.IsZero(); released != c.released || released && at.Sub(began).Round(time.Second) != time.Minute {
					t.Errorf("released after %v", at.Sub(began))
				}
				s.servers[0].says(granting(60, nil))
				call.HungUp(time.Now(), vpnlogic.PartyCaller)
				pass(time.Minute)
			})
		})
	}
}

// Answers in mid-call that grant nothing: without a word about the end the call
// goes on to the end of what it holds; final units of zero end it at once.
func TestNothingGrantedInCall(t *testing.T) {
	for _, c := range []struct {
		name string
		row  string
		edit func(*ServiceAnswer)
		end  time.Duration // of the call, after its answer
	}{
		{"no units", "C-113", func(a *ServiceAnswer) { a.Granted = Optional[GrantedUnits]{} }, time.Minute},
		{"zero units", "C-113", func(a *ServiceAnswer) { a.Granted = Some(GrantedUnits{ServiceUnits: timeUnits(0)}) }, time.Minute},
		{"zero units and final", "C-058", func(a *ServiceAnswer) {
			a.Granted, a.FinalUnit = Some(GrantedUnits{ServiceUnits: timeUnits(0)}), Some(uint32(0))
		}, 50 * time.Second},
		{"final without units", "C-058", func(a *ServiceAnswer) {
			a.Granted, a.FinalUnit = Optional[GrantedUnits]{}, Some(uint32(0))
		}, 50 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			proves(t, c.row)
			onStage(t, ClientConfig{}, single(granting(60, nil)), func(s *stage) {
				_, l := s.talk()
				began := time.Now()
				s.servers[0].says(granting(60, func(a *CCA) {
					if s := &a.Services[0]; s.Granted.Present {
						s.Validity, s.TimeThreshold = 0, 0
						c.edit(s)
					}
				}))
				pass(2 * time.Minute)
				_, _, at := l.state()
				if got := at.Sub(began); got.Round(time.Second) != c.end {
					t.Errorf("released after %v, want %v", got, c.end)
				}
				sum := uint32(0)
				for _, r := range s.servers[0].got() {
					sum += usedIn(r)
				}
				if sum != uint32(c.end/time.Second) {
					t.Errorf("%d seconds reported of %v", sum, c.end)
				}
			})
		})
	}
}
