package suite

import (
	"testing"

	"gygate/diameter"
	"gygate/ocs"
)

// due lets the time pass that a notice waits.
func (g *gygate) due(stage string) {
	g.t.Helper()
	g.eventually("a notice is "+stage, func() bool { return g.count("notice where stage = $1", stage) == 1 })
	g.exec("update notice set due = now() where stage = $1", stage)
}

// quiet says that nothing more comes: no notice is left, and nothing is on its way.
func (g *gygate) quiet(c *client) {
	g.t.Helper()
	g.eventually("no notice is left", func() bool { return g.count("notice where stage <> 'done'") == 0 })
	c.watchdog()
	if len(c.asked) != 0 {
		g.t.Errorf("%d more requests", len(c.asked))
	}
}

// A promised report that does not come is asked for once more; a report that is
// under way is not.
func TestPromisedReport(t *testing.T) {
	t.Run("not kept", func(t *testing.T) {
		proves(t, "B-192")
		g, s := starved(t, change{})
		g.topUp(500, "promised")
		first := s.request(diameter.CmdReAuth)
		s.reply(first, diameter.LimitedSuccess)
		g.due("promised")
		second := s.request(diameter.CmdReAuth)
		if second.Flags&diameter.FlagRetransmit != 0 || second.EndToEnd == first.EndToEnd {
			t.Errorf("asked once more by a copy: %+v", second.Header)
		}
		s.reply(second, diameter.LimitedSuccess)
		g.due("promised")
		g.quiet(s.client)
		if g.open() != 1 {
			t.Error("the session was closed")
		}
		g.holds("two promises", 500, 50, 50)
	})
	t.Run("under way", func(t *testing.T) {
		proves(t, "B-192")
		g, s := starved(t, change{})
		g.topUp(500, "under way")
		s.reply(s.request(diameter.CmdReAuth), diameter.Success)
		g.quiet(s.client)
	})
}

// What was not delivered is sent once more with T, under the same identifier.
func TestUndelivered(t *testing.T) {
	proves(t, "B-194")
	second := func(t *testing.T, s *session, first diameter.Message) diameter.Message {
		again := s.request(diameter.CmdReAuth)
		if again.Flags&diameter.FlagRetransmit == 0 || again.EndToEnd != first.EndToEnd {
			t.Errorf("first %+v, then %+v", first.Header, again.Header)
		}
		return again
	}
	for _, code := range []diameter.ResultCode{diameter.UnableToDeliver, diameter.TooBusy, diameter.UnableToComply} {
		g, s := starved(t, change{})
		g.topUp(500, "undelivered")
		first := s.request(diameter.CmdReAuth)
		s.reply(first, code)
		s.reply(second(t, s, first), code)
		g.quiet(s.client)
		expectCode(t, s.charge(update, mscc(rsu(), usu(seconds(20)), rg(100))), 2001)
	}
	g, s := starved(t, change{})
	g.topUp(500, "unanswered")
	first := s.request(diameter.CmdReAuth)
	_ = s.conn.Close()
	s.client = reconnect(t, g.address, as)
	s.reply(second(t, s, first), diameter.LimitedSuccess)
}

// A RAR names the one group that starves, else the whole session.
func TestScope(t *testing.T) {
	proves(t, "B-191")
	for _, c := range []struct {
		balance ocs.Money
		group   []uint32
	}{{300, []uint32{20}}, {2000, nil}} {
		g := startGygate(t, 0, change{notices: true})
		g.topUp(c.balance, "first")
		s := connect(t, g.address, pgw).session("191", data)
		expectCode(t, s.initial(mscc(rsu(), rg(10)), mscc(rsu(), rg(20))), 2001)
		g.topUp(500, "second")
		rar := s.request(diameter.CmdReAuth)
		var named []uint32
		for a := range rar.AVPs() {
			if a.Is(diameter.RatingGroup) {
				named = append(named, a.Uint32())
			}
		}
		if len(named) != len(c.group) || len(named) == 1 && named[0] != c.group[0] {
			t.Errorf("with %d: Rating-Group %v, want %v", c.balance, named, c.group)
		}
		s.reply(rar, diameter.Success)
	}
}

// What the client answers to the order to end its session.
func TestAborted(t *testing.T) {
	blocked := func(t *testing.T) (*gygate, *session, diameter.Message) {
		g := startGygate(t, 1000, change{notices: true})
		s := connect(t, g.address, as).session("199", voice)
		expectCode(t, s.initial(mscc(rsu(), rg(100))), 2001)
		g.block(true)
		return g, s, s.request(diameter.CmdAbortSession)
	}
	for _, code := range []diameter.ResultCode{diameter.Success, diameter.LimitedSuccess, diameter.UnknownSessionID} {
		proves(t, "B-199")
		g, s, asr := blocked(t)
		s.reply(asr, code)
		g.eventually("the end is waited for", func() bool { return g.count("notice where stage = 'ending' and due > now() + interval '5 s'") == 1 })
		g.holds("until then", 940, 60, 0)
		g.due("ending")
		g.eventually("the session is ended", func() bool { return g.open() == 0 })
		g.holds("then", 1000, 0, 0)
	}
	g, s, asr := blocked(t)
	s.reply(asr, diameter.UnableToComply)
	again := s.request(diameter.CmdAbortSession)
	if again.Flags&diameter.FlagRetransmit == 0 || again.EndToEnd != asr.EndToEnd {
		t.Errorf("first %+v, then %+v", asr.Header, again.Header)
	}
	s.reply(again, diameter.UnableToComply)
	g.quiet(s.client)
	expectCode(t, s.charge(update, mscc(rsu(), usu(seconds(33)), rg(100))), 4010)
	g.holds("CCR-U", 967, 0, 33)
}
