package suite

import (
	"testing"

	"gygate/diameter"
)

// stateOf is the Origin-State-Id of a message.
func stateOf(m diameter.Message) uint32 {
	a, _ := m.Find(diameter.OriginStateID)
	return a.Uint32()
}

// Trace 10a: the charging system restarts in mid-session and has lost nothing.
func TestTrace10(t *testing.T) {
	proves(t, "A-015", "B-043")
	g := startGygate(t, 1000, change{})
	c := dial(t, g.address, as)
	before := stateOf(c.capabilities(diameter.AppCreditControl, u32(diameter.OriginStateID, 99)))
	s := c.session("61", voice)
	a := s.initial(mscc(rsu(), rg(100)))
	if before == 0 || before == 99 || stateOf(a) != before || stateOf(c.watchdog()) != before {
		t.Errorf("Origin-State-Id %d in the CEA, %d in the CCA", before, stateOf(a))
	}
	supervised := g.deadline("61")
	_ = c.conn.Close()
	g.stop()

	again := g.start(g.host, change{})
	s.client = dial(t, again.address, as)
	if after := stateOf(s.capabilities(diameter.AppCreditControl)); after != before {
		t.Errorf("Origin-State-Id %d after the restart, %d before", after, before)
	}
	if at := g.deadline("61"); !at.Equal(supervised) {
		t.Errorf("supervised until %v, before the restart until %v", at, supervised)
	}
	expect(t, s.charge(update, mscc(rsu(), usu(seconds(50)), rg(100))), slice(100))
	expectCode(t, s.charge(termination, mscc(usu(seconds(42)), rg(100))), 2001)
	g.holds("CCR-T", 908, 0, 92)
	_ = s.conn.Close()
	again.stop()

	// 10d: the rows came to another cluster, as a dump does.
	g.exec("update meta set system_identifier = system_identifier + 1")
	s.client = dial(t, g.start(g.host, change{}).address, as)
	if after := stateOf(s.capabilities(diameter.AppCreditControl)); after <= before {
		t.Errorf("Origin-State-Id %d over restored books, %d before", after, before)
	}
}

// Trace 10e: the client restarts; the sessions it has lost are given back, not
// charged.
func TestTrace10Client(t *testing.T) {
	proves(t, "A-016")
	g := startGygate(t, 1000, change{})
	c := dial(t, g.address, as)
	old := u32(diameter.OriginStateID, as.StateID)
	expectCode(t, c.capabilities(diameter.AppCreditControl, old), 2001)
	opening := []avp{payer, u32(diameter.MultipleServicesIndicator, 1), mscc(rsu(), rg(100)), old}
	lost, reported := c.session("63", voice), c.session("64", voice)
	for _, s := range []*session{lost, reported, c.session("65", voice)} {
		expectCode(t, s.charge(initial, opening...), 2001)
	}
	g.holds("three sessions", 820, 180, 0)
	// A lower one and none mean nothing.
	for _, state := range [][]avp{{u32(diameter.OriginStateID, 7)}, nil} {
		expectCode(t, reported.charge(update, append(state, mscc(rsu(), usu(seconds(5)), rg(100)))...), 2001)
	}
	if n := g.count("client_state where state <> $1", int64(as.StateID)); n != 0 {
		t.Error("a lower Origin-State-Id counts")
	}
	g.holds("reports of before", 810, 180, 10)

	risen := u32(diameter.OriginStateID, as.StateID+1)
	young := c.session("66", voice)
	expectCode(t, young.charge(initial, payer, u32(diameter.MultipleServicesIndicator, 1), mscc(rsu(), rg(100)), risen), 2001)
	g.eventually("the rise is stored", func() bool {
		return g.count("client_state where state = $1", int64(as.StateID)+1) == 1
	})
	g.holds("within the grace", 750, 240, 10)
	expectCode(t, reported.charge(termination, mscc(usu(seconds(20)), rg(100)), risen), 2001) // its last word counts
	g.holds("CCR-T of a lost session", 790, 180, 30)
	g.exec("update client_state set since = since - interval '1 minute'") // the grace is over
	g.eventually("the lost sessions are ended", func() bool { return g.open() == 1 })
	g.holds("after the grace", 910, 60, 30)
	expectCode(t, young.charge(termination, mscc(usu(seconds(10)), rg(100)), risen), 2001)
	g.holds("CCR-T of the new session", 960, 0, 40)
}
