package gy

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// Section B of the conformance table, on the wire and in the ledger.

func TestSessionsConformance(t *testing.T) { runRows(t, sessionsRows) }

// Requests, numbers, repeats, the session's states and its parts (B.1 to B.4).
var sessionsRows = []row{
	{"B-001 every answer echoes type and number", func(t *testing.T, d *desk) {
		s := d.session()
		event := s(ocs.Event, 9, Service{RatingGroup: Some(uint32(ocstest.Message))})
		event.SessionID, event.Action = "e;1;1", Some(uint32(ocs.DirectDebit))
		for _, r := range []CCR{s(ocs.Initial, 7, ask()), s(ocs.Update, 8, ask(threshold(1))), s(ocs.Terminate, 20, report(1)), event} {
			got := d.serve(d.frame(r))
			a := d.has(d.read(got), 2001, 2001)
			if a.SessionID != r.SessionID || a.Type != r.Type || a.Number != r.Number || a.OriginHost != testLocal.Host || a.OriginRealm != testLocal.Realm {
				t.Errorf("answer %+v to %+v", a, r)
			}
			if app, _ := got.Find(diameter.AuthApplicationID); app.Uint32() != 4 {
				t.Errorf("Auth-Application-Id %d", app.Uint32())
			}
		}
	}},
	{"B-002 units go back where they were asked", func(t *testing.T, d *desk) {
		a := d.wants(d.session()(ocs.Initial, 0, ask()), 2001, 2001)
		if a.Command.Granted.Present || a.Command.Validity != 0 || a.Command.FinalUnit.Present {
			t.Errorf("units at the command: %+v", a.Command)
		}
		r := d.session()(ocs.Initial, 0)
		r.Command.Requested = Some(ServiceUnits{})
		if a = d.wants(r, 2001); a.Command.Granted.Value.ServiceUnits != timeUnits(60) || a.Command.Validity != 300 {
			t.Errorf("units of the command: %+v", a.Command)
		}
	}},
	{"B-003 unknown context", func(t *testing.T, d *desk) {
		r := d.session()(ocs.Initial, 0, ask())
		r.ServiceContextID = "nope@x"
		d.failed(d.wants(r, 5031), str(diameter.ServiceContextID, "nope@x"))
		if d.books.Session(r.SessionID) != nil {
			t.Error("a session was opened")
		}
		d.ledger(ten, 0)
	}},
	{"B-004 labels in front of a context", func(t *testing.T, d *desk) {
		for n, id := range []string{"32276@3gpp.org", "8.32276@3gpp.org", "ext.01.001.8.32276@3gpp.org"} {
			r := d.session()(ocs.Initial, 0, ask())
			r.ServiceContextID = id
			if a := d.wants(r, 2001, 2001); !seconds60(a) || d.books.Session(r.SessionID).Service != ocstest.Voice {
				t.Errorf("%s: %+v", id, a)
			}
			d.ledger(ten-ocs.Money(n+1)*600_000, ocs.Money(n+1)*600_000)
		}
	}},
	{"B-005 CC-Request-Type 0 and 5", func(t *testing.T, d *desk) {
		for _, kind := range []ocs.StepType{0, 5} {
			a, _ := ParseCCA(d.serve(d.frame(d.session()(kind, 0, ask()))))
			if a.ResultCode != 5004 {
				t.Errorf("type %d: %+v", kind, a)
			}
			d.failed(a, u32(diameter.CCRequestType, uint32(kind)))
		}
		d.ledger(ten, 0)
	}},
	{"B-006 numbers need not begin at 0", func(t *testing.T, d *desk) {
		s := d.session()
		d.wants(s(ocs.Initial, 7, ask()), 2001, 2001)
		d.wants(s(ocs.Update, 8, ask(threshold(10))), 2001, 2001)
		d.wants(s(ocs.Terminate, 20, report(10)), 2001, 2001)
		d.ledger(9_800_000, 0)
	}},
	{"B-007 out of order", func(t *testing.T, d *desk) {
		s := d.session()
		d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
		d.wants(s(ocs.Update, 2, ask(threshold(10))), 2001, 2001)
		d.wants(s(ocs.Update, 1, ask(threshold(10))), 2001, 2001)
		d.ledger(9_200_000, 600_000)
		d.wants(s(ocs.Terminate, 3, report(0)), 2001, 2001)
		d.ledger(9_800_000, 0)
	}},
	{"B-008 an event needs Requested-Action", func(t *testing.T, d *desk) {
		a, _ := ParseCCA(d.serve(d.frame(d.session()(ocs.Event, 0, ask()))))
		if a.ResultCode != 5005 {
			t.Errorf("answer %+v", a)
		}
		d.failed(a, u32(diameter.RequestedAction, 0))
		d.ledger(ten, 0)
	}},
	{"B-009 Requested-Action in a session is ignored", func(t *testing.T, d *desk) {
		s := d.session()
		for _, r := range []CCR{s(ocs.Initial, 0, ask()), s(ocs.Update, 1, ask(threshold(10))), s(ocs.Terminate, 2, report(10))} {
			r.Action = Some(uint32(ocs.DirectDebit))
			d.wants(r, 2001, 2001)
			if opened := r.Type != ocs.Terminate; d.open(r) != opened {
				t.Errorf("CCR-%s: the session is open: %v", typeName(r.Type), !opened)
			}
		}
		d.ledger(9_800_000, 0)
	}},
	{"B-011 D-007 Multiple-Services-Indicator later on", func(t *testing.T, d *desk) {
		d.profile = &StrictProfile
		for _, later := range []Optional[uint32]{{}, Some(uint32(0)), Some(uint32(1))} {
			s := d.session()
			d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
			for _, r := range []CCR{s(ocs.Update, 1, ask(threshold(10))), s(ocs.Terminate, 2, report(10))} {
				r.MultipleServices = later
				d.wants(r, 2001, 2001)
			}
		}
		d.ledger(9_400_000, 0)
	}},
	{"B-012 D-020 MSCC without Multiple-Services-Indicator", func(t *testing.T, d *desk) {
		for _, said := range []Optional[uint32]{{}, Some(uint32(0))} {
			r := d.session()(ocs.Initial, 0, ask())
			r.MultipleServices = said
			d.profile = &StrictProfile
			d.failed(d.wants(r, 5004), mscc(group(diameter.RequestedServiceUnit), u32(diameter.RatingGroup, 100)))
			d.profile = &LenientProfile
			d.wants(r, 2001, 2001)
		}
		d.ledger(8_800_000, 1_200_000)
	}},
	{"B-020 B-024 a repeat is answered alike and moves nothing", func(t *testing.T, d *desk) {
		s := d.session()
		event := s(ocs.Event, 0, Service{RatingGroup: Some(uint32(ocstest.Message))})
		event.SessionID, event.Action = event.SessionID+"e", Some(uint32(ocs.DirectDebit))
		for _, r := range []CCR{s(ocs.Initial, 0, ask()), s(ocs.Update, 1, ask(threshold(50))), s(ocs.Terminate, 2, report(42)), event} {
			first := d.send(r)
			d.unmoved(func() {
				d.pass(23 * time.Hour)
				if again := d.send(r); fmt.Sprint(again) != fmt.Sprint(first) {
					t.Errorf("CCR-%s: first %+v, then %+v", typeName(r.Type), first, again)
				}
				d.pass(-23 * time.Hour)
			})
		}
		d.ledger(8_780_000, 0)
	}},
	{"B-021 the copy while the original is under way", func(t *testing.T, d *desk) {
		m := d.frame(d.session()(ocs.Initial, 0, ask()))
		answers := make(chan []byte, 2)
		for range 2 {
			d.server.Serve(context.Background(), peer.Remote{Tolerate: diameter.Lenient}, m, func(frame []byte) { answers <- bytes.Clone(frame) })
		}
		if first, second := <-answers, <-answers; string(first) != string(second) {
			t.Errorf("answers\n%x\nand\n%x", first, second)
		}
		d.ledger(9_400_000, 600_000)
	}},
	{"B-023 a repeat with another content", func(t *testing.T, d *desk) {
		s := d.session()
		d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
		first := d.send(s(ocs.Update, 1, ask(threshold(60))))
		if again := d.send(s(ocs.Update, 1, ask(threshold(90)))); fmt.Sprint(again) != fmt.Sprint(first) {
			t.Errorf("first %+v, then %+v", first, again)
		}
		if !d.log.has("dup_content_mismatch") {
			t.Errorf("no alarm in %s", &d.log)
		}
		d.ledger(8_800_000, 600_000)
	}},
	{"B-026 B-162 CC-Session-Failover", func(t *testing.T, d *desk) {
		if a := d.wants(d.session()(ocs.Initial, 0, ask()), 2001, 2001); a.SessionFailover != Some(uint32(1)) {
			t.Errorf("CCA-I %+v", a)
		}
		d.server.config.SharedDatabase = false
		if a := d.wants(d.session()(ocs.Initial, 0, ask()), 2001, 2001); a.SessionFailover.Present {
			t.Errorf("CCA-I %+v", a)
		}
	}},
	{"B-030 B-034 B-038 open, update, end", func(t *testing.T, d *desk) {
		s := d.session()
		first := s(ocs.Initial, 0, ask())
		if a := d.wants(first, 2001, 2001); !seconds60(a) {
			t.Errorf("CCA-I %+v", a)
		}
		d.ledger(9_400_000, 600_000)
		d.pass(50 * time.Second)
		if !d.open(first) || d.deadline(first) != 550*time.Second {
			t.Errorf("open %v, supervised for %v", d.open(first), d.deadline(first))
		}
		d.wants(s(ocs.Update, 1, ask(threshold(50))), 2001, 2001)
		d.ledger(8_900_000, 600_000)
		if d.deadline(first) != 600*time.Second {
			t.Errorf("supervised for %v", d.deadline(first))
		}
		if a := d.wants(s(ocs.Terminate, 2, report(42)), 2001, 2001); a.Cost != Some(AmountOf(920_000, 156)) {
			t.Errorf("CCA-T %+v", a)
		}
		d.ledger(9_080_000, 0)
		if d.open(first) {
			t.Error("the session is open")
		}
	}},
	{"B-031 B-032 B-153 D-039 refused, and no session afterwards", func(t *testing.T, _ *desk) {
		d := openDesk(t, 0)
		s := d.session()
		first := s(ocs.Initial, 0, ask())
		d.wants(first, 4012)
		if d.books.Session(first.SessionID) != nil {
			t.Error("there is a session")
		}
		d.unmoved(func() {
			d.wants(s(ocs.Update, 1, ask(threshold(60))), 5002)
			d.wants(s(ocs.Terminate, 2, report(60)), 5002)
		})
		if len(d.books.Orphans()) != 2 || d.log.has("alarm") {
			t.Errorf("orphans %+v, log %s", d.books.Orphans(), &d.log)
		}
		d.ledger(0, 0)
	}},
	{"B-033 CCR-I on an open session", func(t *testing.T, d *desk) {
		s := d.session()
		d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
		d.unmoved(func() { d.wants(s(ocs.Initial, 5, ask()), 5012) })
		if !d.open(s(ocs.Update, 1)) {
			t.Error("the session is over")
		}
		d.ledger(9_400_000, 600_000)
	}},
	{"B-035 B-036 B-094 B-150 D-014 blocked, and the late CCR-T", func(t *testing.T, d *desk) {
		s := d.session()
		d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
		d.books.Block(t, d.key)
		d.wants(s(ocs.Update, 1, ask(threshold(60))), 4010)
		d.ledger(9_400_000, 0)
		if d.open(s(ocs.Update, 1)) {
			t.Error("the session is open")
		}
		d.pass(59 * time.Second)
		d.wants(s(ocs.Terminate, 2, report(3)), 2001, 2001)
		d.wants(s(ocs.Terminate, 3, report(3)), 5002)
		d.ledger(9_370_000, 0)
	}},
	{"B-035 without MSCC every refusal ends the session", func(t *testing.T, _ *desk) {
		for _, service := range []string{ocstest.Voice, ocstest.Data} { // for a gateway's service too
			d := openDesk(t, 600_000)
			s := d.session()
			plain := func(kind ocs.StepType, number uint32, command Service) CCR {
				r := s(kind, number)
				r.ServiceContextID, r.Command = service, command
				return r
			}
			d.wants(plain(ocs.Initial, 0, wish(timeUnits(60))), 2001)
			d.wants(plain(ocs.Update, 1, ask(threshold(60))), 4012)
			if d.open(s(ocs.Update, 1)) {
				t.Errorf("%s: the session is open", service)
			}
			d.ledger(0, 0)
			d.wants(plain(ocs.Terminate, 2, report(0)), 2001)
		}
	}},
	{"B-036 the late CCR-T of a strict peer", func(t *testing.T, d *desk) {
		d.profile = &StrictProfile
		s := d.session()
		d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
		d.books.Block(t, d.key)
		d.wants(s(ocs.Update, 1, ask(threshold(60))), 4010)
		d.wants(s(ocs.Terminate, 2, report(3)), 5002)
		if len(d.books.Orphans()) != 1 {
			t.Errorf("orphans %+v", d.books.Orphans())
		}
		d.ledger(9_400_000, 0)
	}},
	{"B-039 a final report that cannot be fully processed", func(t *testing.T, d *desk) {
		for n, c := range []struct {
			spoil func(*CCR)
			shows []byte
		}{
			{func(r *CCR) { r.ServiceContextID = "nope@x" }, str(diameter.ServiceContextID, "nope@x")},
			{func(r *CCR) { r.ServiceContextID = "32276@elsewhere.example" }, str(diameter.ServiceContextID, "32276@elsewhere.example")},
		} {
			s := d.session()
			d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
			r := s(ocs.Terminate, 1, report(20))
			c.spoil(&r)
			d.failed(d.wants(r, 5031), c.shows)
			if d.open(r) {
				t.Error("the session is open")
			}
			d.ledger(ten-ocs.Money(n+1)*200_000, 0)
		}
	}},
	{"B-040 supervision ends", func(t *testing.T, d *desk) {
		s := d.session()
		d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
		d.pass(599 * time.Second)
		if n := d.engine.Sweep(context.Background()); n != 0 {
			t.Errorf("%d sessions ended a second early", n)
		}
		d.ledger(9_400_000, 600_000)
		d.pass(time.Second)
		if n := d.engine.Sweep(context.Background()); n != 1 {
			t.Errorf("%d sessions ended", n)
		}
		d.ledger(ten, 0)
		d.wants(s(ocs.Update, 1, ask(threshold(60))), 5002)
		d.wants(s(ocs.Terminate, 2, report(60)), 5002)
		d.ledger(ten, 0)
	}},
	{"B-041 B-042 D-040 supervision is twice the validity, and a repeat renews nothing", func(t *testing.T, d *desk) {
		d.sells(func(c *ocs.ServiceContext) { c.Validity = 900 * time.Second })
		s := d.session()
		first := s(ocs.Initial, 0, ask())
		d.wants(first, 2001, 2001)
		if d.deadline(first) != 1800*time.Second {
			t.Errorf("supervised for %v", d.deadline(first))
		}
		update := s(ocs.Update, 1, ask(threshold(10)))
		d.wants(update, 2001, 2001)
		d.pass(500 * time.Second)
		d.wants(update, 2001, 2001)
		if d.deadline(first) != 1300*time.Second {
			t.Errorf("supervised for %v", d.deadline(first))
		}
	}},
	{"B-046 one Session-Id of two clients", func(t *testing.T, d *desk) {
		s := d.session()
		d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
		for _, number := range []uint32{0, 1} {
			r := s(ocs.Initial, number, ask())
			r.OriginHost = "vpnas2.vpn.example"
			d.wants(r, 5012)
		}
		if !d.log.has("session_in_use") {
			t.Errorf("no alarm in %s", &d.log)
		}
		r := s(ocs.Update, 1, ask(threshold(10)))
		r.OriginHost, r.OriginRealm = "vpnas2.elsewhere.example", "elsewhere.example"
		d.wants(r, 5002)
		r.OriginRealm = "vpn.example"
		d.wants(r, 2001, 2001)
		d.ledger(9_300_000, 600_000)
	}},
	{"B-050 sub-sessions", func(t *testing.T, d *desk) {
		s := d.session()
		sub := func(n uint64, r CCR) *CCA {
			r.SubSession = Some(n)
			a := d.wants(r, 2001, 2001)
			if a.SubSession != r.SubSession {
				t.Errorf("CC-Sub-Session-Id %v of %d", a.SubSession, n)
			}
			return a
		}
		for _, n := range []uint64{1, 2} {
			sub(n, s(ocs.Initial, 0, ask()))
			sub(n, s(ocs.Update, 1, ask(threshold(10))))
		}
		d.ledger(8_600_000, 1_200_000)
		sub(1, s(ocs.Terminate, 2, report(5)))
		d.ledger(9_150_000, 600_000)
		sub(2, s(ocs.Update, 2, ask(threshold(10))))
		sub(2, s(ocs.Terminate, 3, report(5)))
		d.ledger(9_600_000, 0)
	}},
}

// B-101, D-035: several requests of one session at the same time are all served.
func TestParallelUpdates(t *testing.T) {
	proves(t, "B-101", "D-035")
	d := openDesk(t, ten)
	s := d.data()
	groups := []uint32{ocstest.Volume, video, nightly}
	var first []Service
	for _, g := range groups {
		first = append(first, volume(g))
	}
	d.wants(s(ocs.Initial, 0, first...), 2001, 2001, 2001, 2001)
	answers := make(chan []byte, len(groups))
	for n, g := range groups {
		d.server.Serve(context.Background(), d.from, d.frame(s(ocs.Update, uint32(n+1), carried(g, 10_000_000))), func(frame []byte) { answers <- bytes.Clone(frame) })
	}
	var numbers []uint32
	for range groups {
		a := d.has(d.read(parse(t, <-answers)), 2001, 2001)
		if a.Services[0].Granted.Value.ServiceUnits != octetUnits(100_000_000) || a.Services[0].RatingGroup != Some(groups[a.Number-1]) {
			t.Errorf("%+v", a)
		}
		numbers = append(numbers, a.Number)
	}
	if slices.Sort(numbers); !slices.Equal(numbers, []uint32{1, 2, 3}) {
		t.Errorf("answers to %v", numbers)
	}
}
