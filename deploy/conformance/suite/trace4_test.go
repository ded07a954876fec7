package suite

import (
	"fmt"
	"testing"

	"gygate/diameter"
)

// starved is the session of trace 3 with its last fifty seconds.
func starved(t *testing.T, c change) (*gygate, *session) {
	t.Helper()
	c.notices = true
	g := startGygate(t, 100, c)
	s := connect(t, g.address, as).session("19", voice)
	expect(t, s.initial(mscc(rsu(), rg(100))), slice(100))
	expect(t, s.charge(update, mscc(rsu(), usu(reason(0), seconds(50)), rg(100))),
		mscc(gsu(seconds(50)), rg(100), validity(300), result(2001), terminate))
	g.holds("the last grant", 0, 50, 50)
	return g, s
}

// Trace 4: a top-up in mid-call reaches the client at once.
func TestTrace4(t *testing.T) {
	proves(t, "B-138", "B-190")
	g, s := starved(t, change{})
	g.topUp(500, "4")
	rar := s.request(diameter.CmdReAuth)
	expectSameCharging(t, rar, goldenMessage(t, "G9"))
	if rar.Flags != diameter.FlagRequest|diameter.FlagProxiable || rar.Application != diameter.AppCreditControl {
		t.Errorf("RAR with %+v", rar.Header)
	}
	expect(t, rar, text(diameter.OriginHost, g.host), u32(diameter.OriginStateID, stateOf(s.watchdog())))
	if first := one(rar.Body()); !first.Is(diameter.SessionID) {
		t.Errorf("the RAR begins with AVP %d", first.Code)
	}
	s.reply(rar, diameter.LimitedSuccess)
	expect(t, s.charge(update, mscc(rsu(), usu(seconds(20)), rg(100), reason(7))), slice(100))
	g.holds("CCR-U", 470, 60, 70)
}

func TestTrace4Variants(t *testing.T) {
	t.Run("4c the report overtakes the answer", func(t *testing.T) {
		proves(t, "B-195")
		g, s := starved(t, change{})
		g.topUp(500, "4c")
		rar := s.request(diameter.CmdReAuth)
		expect(t, s.charge(update, mscc(rsu(), usu(seconds(20)), rg(100), reason(7))), slice(100))
		s.reply(rar, diameter.LimitedSuccess)
		g.told()
		s.watchdog()
		if len(s.asked) != 0 {
			t.Errorf("%d more requests", len(s.asked))
		}
		g.holds("CCR-U", 470, 60, 70)
	})
	t.Run("4g many top-ups", func(t *testing.T) {
		proves(t, "B-196")
		g, s := starved(t, change{})
		for i := range 50 {
			g.topUp(10, fmt.Sprint("4g", i))
		}
		s.reply(s.request(diameter.CmdReAuth), diameter.LimitedSuccess)
		expect(t, s.charge(update, mscc(rsu(), usu(seconds(20)), rg(100), reason(7))), slice(100))
		g.told()
		s.watchdog()
		if len(s.asked) > 1 {
			t.Errorf("%d more RAR for fifty top-ups", len(s.asked))
		}
		g.holds("fifty top-ups", 470, 60, 70)
	})
	t.Run("through a relay", func(t *testing.T) {
		proves(t, "A-071")
		g := startGygate(t, 100, change{notices: true})
		relay := dial(t, g.address, dra)
		expectCode(t, relay.capabilities(diameter.AppRelay), 2001)
		relay.origin = as // whose requests it carries
		s := relay.session("19r", voice)
		expectCode(t, s.initial(mscc(rsu(), rg(100))), 2001)
		g.topUp(500, "r")
		rar := s.request(diameter.CmdReAuth)
		expect(t, rar, text(diameter.DestinationHost, as.Host), text(diameter.DestinationRealm, realm))
		s.reply(rar, diameter.LimitedSuccess)
		g.told()
		// The relay is gone; another one carries it.
		_ = relay.conn.Close()
		other := dial(t, g.address, as2)
		expectCode(t, other.capabilities(diameter.AppRelay), 2001)
		g.block(true)
		asr := other.request(diameter.CmdAbortSession)
		expect(t, asr, text(diameter.DestinationHost, as.Host))
		other.reply(asr, diameter.Success)
	})
	t.Run("after a restart", func(t *testing.T) {
		proves(t, "B-201")
		g, s := starved(t, change{})
		_ = s.conn.Close()
		g.stop()
		s.client = connect(t, g.start(g.host, change{notices: true}).address, as)
		g.topUp(500, "restart")
		rar := s.request(diameter.CmdReAuth)
		expect(t, rar, text(diameter.SessionID, s.id), text(diameter.DestinationHost, as.Host))
		s.reply(rar, diameter.LimitedSuccess)
	})
}

// told waits until no notice waits to be sent or answered.
func (g *gygate) told() {
	g.t.Helper()
	g.eventually("the clients are told", func() bool { return g.count("notice where stage in ('waiting', 'sent')") == 0 })
}

// Trace 5: the account is blocked in mid-call.
func TestTrace5(t *testing.T) {
	t.Run("5a voice", func(t *testing.T) {
		proves(t, "B-198")
		g := startGygate(t, 1000, change{notices: true})
		s := connect(t, g.address, as).session("20", voice)
		expectCode(t, s.initial(mscc(rsu(), rg(100))), 2001)
		g.block(true)
		asr := s.request(diameter.CmdAbortSession)
		expect(t, asr, text(diameter.SessionID, s.id), text(diameter.OriginHost, g.host), text(diameter.OriginRealm, realm),
			text(diameter.DestinationRealm, realm), text(diameter.DestinationHost, as.Host), u32(diameter.AuthApplicationID, 4))
		if asr.Flags != diameter.FlagRequest|diameter.FlagProxiable {
			t.Errorf("ASR with flags %02x", asr.Flags)
		}
		s.reply(asr, 2001)
		a := s.charge(termination, u32(diameter.TerminationCause, 4), mscc(usu(seconds(33)), rg(100), reason(2)))
		expectCode(t, a, 2001) // what was used is paid, blocked or not
		g.holds("CCR-T", 967, 0, 33)
	})
	t.Run("5b data", func(t *testing.T) {
		proves(t, "B-200")
		g := startGygate(t, 1000, change{notices: true})
		s := connect(t, g.address, pgw).session("20", data)
		expectCode(t, s.initial(mscc(rsu(), rg(10))), 2001)
		g.block(true)
		s.reply(s.request(diameter.CmdReAuth), diameter.LimitedSuccess)
		a := s.charge(update, mscc(rsu(), usu(total(33*megabyte)), rg(10), reason(7)))
		expectCode(t, a, 2001)
		expect(t, a, mscc(rg(10), result(4010)))
		g.holds("CCR-U", 967, 0, 33)
	})
	t.Run("5c the client has lost the session", func(t *testing.T) {
		proves(t, "B-193")
		g := startGygate(t, 1000, change{notices: true})
		s := connect(t, g.address, pgw).session("20", data)
		expectCode(t, s.initial(mscc(rsu(), rg(10))), 2001)
		g.block(true)
		s.reply(s.request(diameter.CmdReAuth), diameter.UnknownSessionID)
		g.eventually("the grace runs", func() bool { return g.count("notice where stage = 'ending' and due > now() + interval '10 s'") == 1 })
		g.holds("within the grace", 900, 100, 0)
		g.exec("update notice set due = now()")
		g.eventually("the session is ended", func() bool { return g.open() == 0 })
		g.holds("after the grace", 1000, 0, 0)
	})
	t.Run("5d the client will not", func(t *testing.T) {
		g := startGygate(t, 1000, change{notices: true})
		s := connect(t, g.address, as).session("20", voice)
		expectCode(t, s.initial(mscc(rsu(), rg(100))), 2001)
		g.block(true)
		s.reply(s.request(diameter.CmdAbortSession), diameter.UnableToComply)
		expectCode(t, s.charge(update, mscc(rsu(), usu(seconds(33)), rg(100))), 4010)
		g.holds("CCR-U", 967, 0, 33)
	})
}
