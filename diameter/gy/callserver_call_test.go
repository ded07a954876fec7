package gy

import (
	"slices"
	"testing"
	"time"

	"gygate/diameter"
	"gygate/vpnlogic"
)

// This file is what a charging system asks of a running call, on the wire.

// session is the Session-Id of the only call.
func (s *stage) session() string { return s.servers[0].got()[0].ccr.SessionID }

// rar asks for a report and returns the Result-Code of the RAA.
func (s *stage) rar(session string, endToEnd uint32, more ...[]byte) diameter.ResultCode {
	s.t.Helper()
	m := s.servers[0].asks(diameter.CmdReAuth, session, endToEnd, more...)
	valid(s.t, m)
	return m.ResultCode()
}

// muteUpdates leaves CCR-Us without an answer.
func muteUpdates(s *stage) {
	answer := granting(60, nil)
	s.servers[0].says(func(r received) *CCA {
		if typeName(r.ccr.Type) == "U" {
			return nil
		}
		return answer(r)
	})
}

func TestReauthorizeActiveCall(t *testing.T) {
	proves(t, "C-070")
	onStage(t, ClientConfig{}, single(granting(60, nil)), func(s *stage) {
		call, _ := s.talk()
		pass(30 * time.Second)
		if code := s.rar(s.session(), 1); code != diameter.LimitedSuccess {
			t.Errorf("RAA %d", code)
		}
		got := s.servers[0].got()
		if types(got) != "I0 U1" || usedIn(got[1]) != 30 || !got[1].ccr.Services[0].Requested.Present || !slices.Equal(got[1].ccr.Services[0].Reasons, []uint32{7}) {
			t.Errorf("%s: %+v", types(got), got[len(got)-1].ccr.Services)
		}
		if code := s.rar(s.session(), 2, u32(diameter.RatingGroup, got[0].ccr.Services[0].RatingGroup.Value)); code != diameter.LimitedSuccess {
			t.Errorf("RAA %d for the call's own group", code)
		}
		call.HungUp(time.Now(), vpnlogic.PartyCaller)
	})
}

func TestReauthorizeWhileReporting(t *testing.T) {
	proves(t, "C-071")
	onStage(t, ClientConfig{}, single(granting(60, nil)), func(s *stage) {
		call, _ := s.talk()
		muteUpdates(s)
		pass(51 * time.Second) // the report at the threshold is on its way
		if code := s.rar(s.session(), 1); code != diameter.Success {
			t.Errorf("RAA %d", code)
		}
		pass(time.Second)
		if got := types(s.servers[0].got()); got != "I0 U1" {
			t.Errorf("requests %s", got)
		}
		s.servers[0].says(granting(60, nil))
		call.HungUp(time.Now(), vpnlogic.PartyCaller)
		pass(time.Minute)
	})
}

func TestReauthorizeElsewhere(t *testing.T) {
	t.Run("unknown session", func(t *testing.T) {
		proves(t, "C-073")
		onStage(t, ClientConfig{}, single(granting(60, nil)), func(s *stage) {
			if code := s.rar("vpnas1.vpn.example;1;1", 1); code != diameter.UnknownSessionID {
				t.Errorf("RAA %d", code)
			}
		})
	})
	t.Run("before the first answer", func(t *testing.T) {
		proves(t, "C-073")
		onStage(t, ClientConfig{}, single(silent), func(s *stage) {
			s.dial()
			if code := s.rar(s.session(), 1); code != diameter.Success {
				t.Errorf("RAA %d", code)
			}
			s.servers[0].says(granting(60, nil))
			pass(time.Minute)
		})
	})
	t.Run("after the last report", func(t *testing.T) {
		proves(t, "C-073")
		onStage(t, ClientConfig{}, single(granting(60, nil)), func(s *stage) {
			call, _ := s.talk()
			id := s.session()
			s.servers[0].says(silent)
			call.HungUp(time.Now(), vpnlogic.PartyCaller)
			pass(time.Second)
			if code := s.rar(id, 1); code != diameter.UnknownSessionID {
				t.Errorf("RAA %d", code)
			}
			s.servers[0].says(granting(60, nil))
			pass(time.Minute)
		})
	})
	t.Run("a group that is not active", func(t *testing.T) {
		proves(t, "C-073")
		onStage(t, ClientConfig{}, single(granting(60, nil)), func(s *stage) {
			call, _ := s.talk()
			if code := s.rar(s.session(), 1, u32(diameter.RatingGroup, 4711)); code != diameter.UnableToComply {
				t.Errorf("RAA %d", code)
			}
			call.HungUp(time.Now(), vpnlogic.PartyCaller)
			if got := types(s.servers[0].got()); got != "I0 T1" {
				t.Errorf("requests %s", got)
			}
		})
	})
}

func TestReauthorizeRingingCall(t *testing.T) {
	proves(t, "C-074")
	onStage(t, ClientConfig{}, single(granting(60, nil)), func(s *stage) {
		call, _ := s.dial()
		call.Ringing(time.Now(), 180)
		pass(5 * time.Second)
		if code := s.rar(s.session(), 1); code != diameter.LimitedSuccess {
			t.Errorf("RAA %d", code)
		}
		if got := s.servers[0].got(); types(got) != "I0 U1" || usedIn(got[1]) != 0 || !got[1].ccr.Services[0].Requested.Present {
			t.Errorf("requests %s", types(got))
		}
		call.Cancelled(time.Now())
	})
}

func TestReauthorizeLiftsTheEnd(t *testing.T) {
	proves(t, "C-075")
	last := granting(60, func(a *CCA) { a.Services[0].FinalUnit = Some(uint32(0)) })
	onStage(t, ClientConfig{}, single(last), func(s *stage) {
		call, l := s.talk()
		pass(20 * time.Second)
		s.servers[0].says(granting(60, nil)) // a top-up
		if code := s.rar(s.session(), 1); code != diameter.LimitedSuccess {
			t.Errorf("RAA %d", code)
		}
		pass(49 * time.Second)
		if _, cause, at := l.state(); !at.IsZero() {
			t.Errorf("released in spite of the new grant: %+v", cause)
		}
		call.HungUp(time.Now(), vpnlogic.PartyCaller)
		if got := s.servers[0].got(); types(got) != "I0 U1 T2" || usedIn(got[1])+usedIn(got[2]) != 69 {
			t.Errorf("requests %s", types(got))
		}
	})
}

func TestAbortCall(t *testing.T) {
	proves(t, "C-076", "C-094")
	onStage(t, ClientConfig{}, single(granting(60, nil)), func(s *stage) {
		_, l := s.talk()
		id := s.session()
		pass(33 * time.Second)
		if m := s.servers[0].asks(diameter.CmdAbortSession, id, 1); m.ResultCode() != diameter.Success {
			t.Errorf("ASA %d", m.ResultCode())
		}
		if _, cause, at := l.state(); at.IsZero() || cause.Reason != vpnlogic.ReasonAborted {
			t.Errorf("the call goes on: %+v", cause)
		}
		got := s.servers[0].got()
		if types(got) != "I0 T1" || usedIn(got[1]) != 33 || got[1].ccr.TerminationCause != Some(causeAdministrative) {
			t.Errorf("%s: %+v", types(got), got[len(got)-1].ccr)
		}
		// A copy gets the same answer, though the session is gone.
		if m := s.servers[0].asks(diameter.CmdAbortSession, id, 1); m.ResultCode() != diameter.Success {
			t.Errorf("ASA %d to the copy", m.ResultCode())
		}
		if m := s.servers[0].asks(diameter.CmdAbortSession, id, 2); m.ResultCode() != diameter.UnknownSessionID {
			t.Errorf("ASA %d after the end", m.ResultCode())
		}
	})
}

// A copy of a RAR brings no second report, and another realm none at all.
func TestQuestionsOnTheWire(t *testing.T) {
	proves(t, "C-078", "C-079")
	onStage(t, ClientConfig{}, single(granting(60, nil)), func(s *stage) {
		call, _ := s.talk()
		pass(10 * time.Second)
		server := s.servers[0]
		home := server.origin
		server.origin = diameter.Origin{Host: "ocs1.evil.example", Realm: "evil.example"}
		if code := s.rar(s.session(), 9); code != diameter.AuthorizationRejected {
			t.Errorf("RAA %d to another realm", code)
		}
		server.origin = home
		for range 3 {
			if code := s.rar(s.session(), 1); code != diameter.LimitedSuccess {
				t.Errorf("RAA %d", code)
			}
		}
		call.HungUp(time.Now(), vpnlogic.PartyCaller)
		if got := types(server.got()); got != "I0 U1 T2" {
			t.Errorf("requests %s, want one report", got)
		}
	})
}

// The call is transferred to a dearer number: its use so far is reported to the
// old group at once, and units are asked for in the new one.
func TestTransferredCall(t *testing.T) {
	proves(t, "C-064", "C-098")
	onStage(t, ClientConfig{}, single(granting(60, nil)), func(s *stage) {
		call, _ := s.talk()
		pass(20 * time.Second)
		call.Connected(time.Now(), "+4930123456")
		pass(time.Second)
		got := s.servers[0].got()
		if types(got) != "I0 U1" {
			t.Fatalf("requests %s", types(got))
		}
		r := got[1].ccr
		if usedIn(got[1]) != 20 || len(r.Services) != 2 || !slices.Equal(r.Services[0].Reasons, []uint32{6}) || r.Services[0].Requested.Present ||
			!r.Services[1].Requested.Present || r.Services[0].RatingGroup == r.Services[1].RatingGroup || r.Call.IMS.CalledAsserted != "tel:+4930123456" {
			t.Errorf("%+v", r.Services)
		}
		if under(got[1].m.Body(), diameter.MultipleServicesCreditControl, diameter.Trigger, diameter.TriggerType) == nil {
			t.Error("no Trigger")
		}
		pass(30 * time.Second)
		call.HungUp(time.Now(), vpnlogic.PartyCaller)
		last := s.servers[0].got()
		if end := last[len(last)-1].ccr; usedIn(last[len(last)-1]) != 31 || end.Services[0].RatingGroup != r.Services[1].RatingGroup {
			t.Errorf("last report %+v", end.Services)
		}
	})
}

// The charging system announces a tariff change: the use is reported in two parts.
func TestTariffChangeInCall(t *testing.T) {
	proves(t, "C-033")
	onStage(t, ClientConfig{}, func(t *testing.T) []*scripted {
		began := time.Now()
		return []*scripted{newScripted(t, "ocs1.vpn.example", granting(60, func(a *CCA) {
			if g := &a.Services[0].Granted; g.Present && time.Since(began) < time.Second {
				g.Value.TariffTimeChange = began.Add(25 * time.Second)
			}
		}))}
	}, func(s *stage) {
		call, _ := s.talk()
		pass(55 * time.Second)
		got := s.servers[0].got()
		if types(got) != "I0 U1" {
			t.Fatalf("requests %s", types(got))
		}
		used := got[1].ccr.Services[0].Used
		if len(used) != 2 || used[0].TariffChange != Some(uint32(0)) || used[0].Time != Some(uint32(25)) || used[1].TariffChange != Some(uint32(1)) || used[1].Time != Some(uint32(25)) {
			t.Errorf("%+v", used)
		}
		call.HungUp(time.Now(), vpnlogic.PartyCaller)
	})
}
