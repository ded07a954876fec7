package gy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/ocs"
	"gygate/vpnlogic"
)

func messageEvent(action ocs.EventAction) EventRequest {
	return EventRequest{Action: action, Payer: "8613800000001", Context: "32274@3gpp.org", Service: Some(uint32(8)),
		Units: ServiceUnits{Specific: Some(uint64(1))}}
}

// done is the answer to an event that went well, in the form of the request.
func done(r received) *CCA {
	s := ServiceAnswer{Granted: Some(GrantedUnits{ServiceUnits: ServiceUnits{Specific: Some(uint64(1))}})}
	a := &CCA{Cost: Some(AmountOf(300_000, 156))}
	if !r.ccr.multiple() {
		a.Command, a.CheckBalance = s, Some(uint32(0))
		return a
	}
	s.ResultCode, s.Identifiers, s.RefundInformation = diameter.Success, r.ccr.Services[0].Identifiers, []byte("token-1")
	a.Services = []ServiceAnswer{s}
	return a
}

// C-085: what an event looks like, and what its answer says.
func TestEventsOnTheWireC085(t *testing.T) {
	proves(t, "C-085")
	onStage(t, ClientConfig{}, single(done), func(s *stage) {
		seen := map[string]bool{}
		for _, action := range []ocs.EventAction{ocs.DirectDebit, ocs.RefundAccount, ocs.CheckBalance, ocs.PriceEnquiry} {
			r := messageEvent(action)
			if action == ocs.RefundAccount {
				r.RefundInformation = []byte("token-1")
			}
			a, err := s.client.Event(s.t.Context(), r)
			if err != nil || a.Code != 2001 || a.Cost != "0.30" || a.Currency != 156 || a.Units.Specific != Some(uint64(1)) {
				t.Errorf("action %d: %v, %+v", action, err, a)
			}
			got := s.servers[0].got()
			ccr := got[len(got)-1].ccr
			enquiry := action == ocs.CheckBalance || action == ocs.PriceEnquiry
			if ccr.Type != ocs.Event || ccr.Number != 0 || ccr.TerminationCause.Present || ccr.Action != Some(uint32(action)) || ccr.DestinationHost != "" ||
				seen[ccr.SessionID] || ccr.SessionID != a.Session || ccr.ServiceContextID != "32274@3gpp.org" || ccr.multiple() == enquiry {
				t.Errorf("action %d: %+v", action, ccr)
			}
			if service := ccr.services()[0]; service.Identifiers[0] != 8 || string(service.RefundInformation) != string(r.RefundInformation) {
				t.Errorf("action %d: %+v", action, service)
			}
			if a.Enough != enquiry || (string(a.RefundInformation) == "token-1") == enquiry {
				t.Errorf("action %d: %+v", action, a)
			}
			seen[ccr.SessionID] = true
		}
	})
}

// C-080: an enquiry tries one other server; any failure is an error.
func TestEnquiriesC080(t *testing.T) {
	for _, action := range []ocs.EventAction{ocs.CheckBalance, ocs.PriceEnquiry} {
		for _, c := range []struct {
			name          string
			first, second func(received) *CCA
			fails         bool
			took          time.Duration
			sent          string
		}{
			{"answered", done, silent, false, 0, "E0 | "},
			{"first one mute", silent, done, false, 10 * time.Second, "E0 | E0*"},
			{"both mute", silent, silent, true, 20 * time.Second, "E0 | E0*"},
			{"busy", refusing(3004, nil), done, false, 0, "E0 | E0"},
			{"both busy", refusing(3004, nil), refusing(3004, nil), true, 0, "E0 | E0"},
			{"refused", refusing(5031, nil), done, true, 0, "E0 | "},
			{"no credit to ask about", refusing(4010, nil), done, true, 0, "E0 | "},
		} {
			t.Run(fmt.Sprint(c.name, " action ", action), func(t *testing.T) {
				proves(t, "C-080")
				onStage(t, ClientConfig{}, pair(c.first, c.second), func(s *stage) {
					a, err := s.client.Event(s.t.Context(), messageEvent(action))
					if (err != nil) != c.fails || err != nil && !errors.Is(err, ErrEventFailed) || a.Took != c.took || err == nil && a.Cost != "0.30" {
						t.Errorf("%v, %+v", err, a)
					}
					first, second := s.servers[0].got(), s.servers[1].got()
					if sent := types(first) + " | " + types(second); sent != c.sent {
						t.Errorf("sent %q, want %q", sent, c.sent)
					}
					if len(second) > 0 && first[0].m.EndToEnd != second[0].m.EndToEnd {
						t.Error("the other server gets another End-to-End Identifier")
					}
				})
			})
		}
	}
}

// C-081: at Tx the service is granted and the wait goes on; when the request has
// timed out the other server gets it, marked.
func TestDirectDebitAfterTxC081(t *testing.T) {
	t.Run("a late answer ends it", func(t *testing.T) {
		proves(t, "C-081")
		onStage(t, ClientConfig{}, pair(func(r received) *CCA {
			<-time.After(15 * time.Second)
			return done(r)
		}, done), func(s *stage) {
			a, err := s.client.Event(s.t.Context(), messageEvent(ocs.DirectDebit))
			if err != nil || !a.Granted || !a.Buffered || a.Took != 10*time.Second {
				t.Errorf("%v, %+v", err, a)
			}
			pass(time.Hour)
			if a, b := types(s.servers[0].got()), types(s.servers[1].got()); a != "E0" || b != "" {
				t.Errorf("sent %q and %q", a, b)
			}
		})
	})
	t.Run("silence goes to the other server", func(t *testing.T) {
		proves(t, "C-081")
		onStage(t, ClientConfig{}, pair(silent, done), func(s *stage) {
			if a, err := s.client.Event(s.t.Context(), messageEvent(ocs.DirectDebit)); err != nil || !a.Granted || a.Took != 10*time.Second {
				t.Errorf("%v, %+v", err, a)
			}
			pass(time.Hour)
			first, second := s.servers[0].got(), s.servers[1].got()
			if types(first) != "E0" || types(second) != "E0*" {
				t.Fatalf("sent %q and %q", types(first), types(second))
			}
			if first[0].m.EndToEnd != second[0].m.EndToEnd || first[0].ccr.SessionID != second[0].ccr.SessionID || !first[0].ccr.EventTimestamp.Equal(second[0].ccr.EventTimestamp) {
				t.Error("the other server gets another request")
			}
		})
	})
	t.Run("the caller gives up", func(t *testing.T) {
		onStage(t, ClientConfig{}, single(silent), func(s *stage) {
			ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
			defer cancel()
			if a, err := s.client.Event(ctx, messageEvent(ocs.DirectDebit)); err != nil || !a.Granted || !a.Buffered || a.Took != time.Second {
				t.Errorf("%v, %+v", err, a)
			}
			s.servers[0].says(done)
			pass(time.Hour)
			if got := types(s.servers[0].got()); got != "E0 E0*" {
				t.Errorf("sent %q", got)
			}
		})
	})
}

// C-082: what a failed debit does, by failure handling.
func TestDirectDebitFailuresC082(t *testing.T) {
	type want struct {
		granted, buffered bool
		later             string // what is sent once the server is well again
	}
	failed := func(s *stage) { s.servers[0].says(refusing(5012, nil)) }
	for _, c := range []struct {
		name     string
		handling DebitFailure
		trouble  func(s *stage)
		want     want
	}{
		{"failed answer", TerminateOrBuffer, failed, want{false, false, "E0"}},
		{"failed answer", ContinueDebit, failed, want{true, false, "E0"}},
		{"busy", TerminateOrBuffer, func(s *stage) { s.servers[0].says(refusing(3004, nil)) }, want{false, false, "E0"}},
		{"failure to send", TerminateOrBuffer, func(s *stage) { s.servers[0].cut(); pass(time.Second) }, want{true, true, "E0*"}},
		{"failure to send", ContinueDebit, func(s *stage) { s.servers[0].cut(); pass(time.Second) }, want{true, false, ""}},
		{"no answer", TerminateOrBuffer, func(s *stage) { s.servers[0].says(silent) }, want{true, true, "E0 E0*"}},
		{"no answer", ContinueDebit, func(s *stage) { s.servers[0].says(silent) }, want{true, false, "E0"}},
		{"not allowed", ContinueDebit, func(s *stage) { s.servers[0].says(refusing(4010, nil)) }, want{false, false, "E0"}},
		{"unknown payer", ContinueDebit, func(s *stage) { s.servers[0].says(refusing(5030, nil)) }, want{false, false, "E0"}},
		{"no credit", ContinueDebit, func(s *stage) { s.servers[0].says(refusing(4012, nil)) }, want{false, false, "E0"}},
		{"free", TerminateOrBuffer, func(s *stage) { s.servers[0].says(refusing(4011, nil)) }, want{true, false, "E0"}},
		{"no credit inside", ContinueDebit, func(s *stage) {
			s.servers[0].says(func(r received) *CCA { return &CCA{Services: []ServiceAnswer{{ResultCode: 4012}}} })
		}, want{false, false, "E0"}},
		// The answer's own word counts more than the setting.
		{"the failed answer says CONTINUE", TerminateOrBuffer, func(s *stage) {
			s.servers[0].says(refusing(5012, func(a *CCA) { a.DebitFailure = Some(uint32(1)) }))
		}, want{true, false, "E0"}},
	} {
		t.Run(fmt.Sprint(c.name, " handling ", c.handling), func(t *testing.T) {
			proves(t, "C-082")
			onStage(t, ClientConfig{DebitFailure: c.handling}, single(done), func(s *stage) {
				c.trouble(s)
				a, err := s.client.Event(s.t.Context(), messageEvent(ocs.DirectDebit))
				if err != nil || a.Granted != c.want.granted || a.Buffered != c.want.buffered {
					t.Errorf("%v, %+v", err, a)
				}
				s.servers[0].says(done)
				s.servers[0].mend()
				pass(time.Hour)
				if got := types(s.servers[0].got()); got != c.want.later {
					t.Errorf("sent %q, want %q", got, c.want.later)
				}
			})
		})
	}
}

// C-083: a refund outlives an outage, and is made once.
func TestRefundOutlivesOutageC083(t *testing.T) {
	for name, outage := range map[string]func(*stage){
		"nobody there": func(s *stage) { s.servers[0].cut(); pass(time.Second) },
		"busy":         func(s *stage) { s.servers[0].says(refusing(3004, nil)) },
		"mute":         func(s *stage) { s.servers[0].says(silent) },
	} {
		t.Run(name, func(t *testing.T) {
			proves(t, "C-083", "C-084")
			onStage(t, ClientConfig{}, single(done), func(s *stage) {
				outage(s)
				a, err := s.client.Event(s.t.Context(), messageEvent(ocs.RefundAccount))
				if err != nil || !a.Buffered || a.Granted {
					t.Fatalf("%v, %+v", err, a)
				}
				pass(time.Hour)
				refunds := map[string]int{}
				s.servers[0].says(func(r received) *CCA {
					if refunds[r.ccr.SessionID]++; !r.resent() {
						t.Error("resent without T")
					}
					return done(r)
				})
				s.servers[0].mend()
				pass(24 * time.Hour)
				if len(refunds) != 1 || refunds[a.Session] != 1 {
					t.Errorf("refunds %v, want one of %s", refunds, a.Session)
				}
			})
		})
	}
}

// C-084: what ends a stored request, and what keeps it.
func TestStoredRequestsC084(t *testing.T) {
	for _, c := range []struct {
		code  diameter.ResultCode
		again bool
	}{{2001, false}, {4010, false}, {5012, false}, {3002, true}, {3004, true}} {
		t.Run(fmt.Sprint("answer ", c.code), func(t *testing.T) {
			proves(t, "C-084")
			onStage(t, ClientConfig{}, single(silent), func(s *stage) {
				if a, err := s.client.Event(s.t.Context(), messageEvent(ocs.RefundAccount)); err != nil || !a.Buffered {
					t.Fatalf("%v, %+v", err, a)
				}
				s.servers[0].says(refusing(c.code, nil))
				pass(reportDelays[0])
				before := len(s.servers[0].got())
				pass(reportDelays[1] + time.Second)
				if again := len(s.servers[0].got()) > before; before != 2 || again != c.again {
					t.Errorf("%d requests at first, repeated %v", before, again)
				}
			})
		})
	}
}

// A refused refund is an error, and so is one that nobody keeps.
func TestRefundErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, w := newTestClient(t, ClientConfig{LateMax: 1}, answering(CCA{ResultCode: 4010, ErrorMessage: "refund.not_linked"}))
		if a, err := c.Event(t.Context(), messageEvent(ocs.RefundAccount)); !errors.Is(err, ErrRefundRefused) || a.Reason != "refund.not_linked" {
			t.Errorf("%v, %+v", err, a)
		}
		w.say(failing(peer.ErrNoPeer))
		if a, err := c.Event(t.Context(), messageEvent(ocs.RefundAccount)); err != nil || !a.Buffered {
			t.Errorf("%v, %+v", err, a)
		}
		if _, err := c.Event(t.Context(), messageEvent(ocs.RefundAccount)); !errors.Is(err, ErrRefundLost) || !errors.Is(err, peer.ErrNoPeer) {
			t.Errorf("without room: %v", err)
		}
		if a, err := c.Event(t.Context(), messageEvent(ocs.DirectDebit)); err != nil || a.Granted || a.Buffered {
			t.Errorf("a debit that nobody would pay: %v, %+v", err, a)
		}
		if _, err := c.Event(t.Context(), EventRequest{Action: 9}); !errors.Is(err, ErrEventFailed) {
			t.Errorf("action 9: %v", err)
		}
		if err := c.Shutdown(t.Context()); err == nil {
			t.Error("a lost refund is no error at shutdown")
		}
	})
}

// An event is given up before the server could forget it and move the money twice.
func TestEventsEndBeforeServersForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(logLines)
		c, w := newTestClient(t, ClientConfig{Logger: log.logger()}, failing(peer.ErrNoPeer))
		if _, err := c.Event(t.Context(), messageEvent(ocs.RefundAccount)); err != nil {
			t.Fatal(err)
		}
		pass(48 * time.Hour)
		last := w.sent[len(w.sent)-1].at.Sub(w.sent[0].at)
		if last > eventLife || last < eventLife-eventPause || !log.has("correct the account by hand") {
			t.Errorf("last try after %v; log %s", last, log)
		}
	})
}

// The call that an event is about stands in its Service-Information.
func TestEventAboutCall(t *testing.T) {
	c, w := newTestClient(t, ClientConfig{}, answering(CCA{ResultCode: 2001}))
	r := messageEvent(ocs.PriceEnquiry)
	r.Call, r.Payer, r.PayerAccount = &theCall, "", "vpn-7001"
	if _, err := c.Event(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	ccr := w.sent[0].ccr
	if ccr.Call.called() != string(theCall.Called) || ccr.Call.specific(SpecificClass) != string(vpnlogic.OnNet) || ccr.Payer[0] != (Subscription{ocs.Private, "vpn-7001"}) {
		t.Errorf("%+v", ccr)
	}
}

// Answers to events that cannot be used, or are for somebody else.
func TestOddAnswersToEvents(t *testing.T) {
	musty := diameter.Attribute{Code: 60001, Vendor: 99999, Flags: diameter.AVPMandatory}
	odd := func(number uint32, more ...[]byte) func(received) []byte {
		return func(r received) []byte {
			b := diameter.StartAnswer(nil, r.m, diameter.Success, testLocal)
			b = append(b, credit(4, number)...)
			return diameter.FinishAnswer(append(b, slices.Concat(more...)...), 0, r.m)
		}
	}
	for _, c := range []struct {
		name    string
		answer  func(received) []byte
		granted bool // the debit
		kept    bool // debit and refund are repeated
		refund  error
	}{
		{"cannot be read", odd(0, u32(musty, 1)), true, false, ErrRefundRefused},
		{"for another request", odd(7), true, true, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			onStage(t, ClientConfig{}, single(done), func(s *stage) {
				s.servers[0].writes(c.answer)
				if _, err := s.client.Event(s.t.Context(), messageEvent(ocs.PriceEnquiry)); !errors.Is(err, ErrEventFailed) {
					t.Errorf("enquiry: %v", err)
				}
				if a, err := s.client.Event(s.t.Context(), messageEvent(ocs.DirectDebit)); err != nil || a.Granted != c.granted || a.Buffered != c.kept {
					t.Errorf("debit: %v, %+v", err, a)
				}
				if a, err := s.client.Event(s.t.Context(), messageEvent(ocs.RefundAccount)); !errors.Is(err, c.refund) || a.Buffered != c.kept {
					t.Errorf("refund: %v, %+v", err, a)
				}
				s.servers[0].says(done)
				pass(time.Hour)
			})
		})
	}
}

// Shutdown cuts the wait for a late answer short and tries once more; what finds
// no room is not waited for.
func TestShutdownWhileDebitWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, w := newTestClient(t, ClientConfig{LateMax: 1}, func(ctx context.Context, _ sending) (*CCA, error) {
			<-ctx.Done()
			return nil, fmt.Errorf("%w: %w", peer.ErrNoAnswer, ctx.Err())
		})
		for i, buffered := range []bool{true, false} {
			if a, err := c.Event(t.Context(), messageEvent(ocs.DirectDebit)); err != nil || !a.Granted || a.Buffered != buffered {
				t.Errorf("debit %d: %v, %+v", i, err, a)
			}
		}
		before, began := len(w.sent), time.Now()
		w.say(answering(CCA{ResultCode: 2001}))
		if err := c.Shutdown(t.Context()); err != nil || time.Since(began) > time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if sent := w.sent[before:]; len(sent) != 1 || !sent[0].request.Retransmission {
			t.Errorf("%d requests at shutdown", len(sent))
		}
	})
}
