package suite

import (
	"sync/atomic"
	"testing"

	"gygate/diameter"
	"gygate/diameter/gy"
	"gygate/ocs"
	"gygate/ocs/pgstore"
)

// Trace 6: the first node commits and dies; the second answers the repeat.
func TestTrace6(t *testing.T) {
	proves(t, "A-023", "B-022", "B-026")
	var armed atomic.Bool
	committed, release := make(chan struct{}), make(chan struct{})
	g := startGygate(t, 1000, change{hook: func(point string) {
		if point == pgstore.AfterCommit && armed.CompareAndSwap(true, false) {
			close(committed)
			<-release // the answer does not leave in time
		}
	}})
	second := g.start("ocs2.vpn.example", change{})
	first := connect(t, g.address, as)
	s := first.session("21", voice)
	a := s.initial(mscc(rsu(), rg(100)))
	expect(t, a, u32(diameter.CCSessionFailover, 1))
	armed.Store(true)
	first.raw(golden(t, "G11"))
	<-committed
	_ = first.conn.Close()

	other := connect(t, second.address, as)
	a = other.askGolden("G12")
	close(release)
	expectCode(t, a, 2001)
	if a.Flags != diameter.FlagProxiable || a.HopByHop != 0x1f07 || a.EndToEnd != 0x5a1000d2 {
		t.Errorf("header %+v", a.Header)
	}
	expect(t, a, text(diameter.OriginHost, "ocs2.vpn.example"), u32(diameter.CCRequestType, 2), u32(diameter.CCRequestNumber, 1), slice(100))
	g.holds("the repeat", 890, 60, 50)
	s.client, s.number = other, 2
	expectCode(t, s.charge(termination, mscc(usu(seconds(42)), rg(100))), 2001)
	g.holds("CCR-T", 908, 0, 92)
}

// Trace 6b, 6d, 6f, 6g, 6i: repeats of every kind, on the same and another node.
func TestTrace6Repeats(t *testing.T) {
	proves(t, "A-075", "A-076", "B-020", "B-023", "B-027")
	g := startGygate(t, 1000, change{})
	nodes := []*client{connect(t, g.address, as), connect(t, g.start("ocs2.vpn.example", change{}).address, as)}
	s := nodes[0].session("21r", voice)
	opening := []avp{payer, u32(diameter.MultipleServicesIndicator, 1), mscc(rsu(), rg(100))}
	for _, c := range []struct {
		kind, number             uint32
		avps                     []avp
		available, frozen, spent ocs.Money
	}{
		{initial, 0, opening, 940, 60, 0},
		{update, 1, []avp{mscc(rsu(), usu(seconds(50)), rg(100))}, 890, 60, 50},
		{termination, 2, []avp{mscc(usu(seconds(42)), rg(100))}, 908, 0, 92},
	} {
		frame := encode(diameter.Header{Flags: diameter.FlagRequest | diameter.FlagProxiable, Command: diameter.CmdCreditControl,
			Application: diameter.AppCreditControl}, append(s.envelope(c.kind, c.number), c.avps...)...)
		a := nodes[0].repeat(frame, diameter.FlagRetransmit) // 6b: never seen, though marked as repeated
		expectCode(t, a, 2001)
		rows := g.journal()
		for _, node := range nodes {
			for _, flags := range []diameter.Flags{0, diameter.FlagRetransmit} {
				again := node.repeat(frame, flags)
				expectSameCharging(t, again, a)
				if again.Flags != diameter.FlagProxiable {
					t.Errorf("a repeat is answered with flags %02x", again.Flags)
				}
			}
		}
		if c.kind == update { // 6i: other content under the same number
			other := append(s.envelope(update, 1), mscc(rsu(), usu(seconds(90)), rg(100)))
			again := nodes[1].ask(diameter.FlagProxiable, diameter.CmdCreditControl, diameter.AppCreditControl, other...)
			expectSameCharging(t, again, a)
			if n := g.count("orphan_usage where mismatch"); n != 1 {
				t.Errorf("%d reports kept of the repeat that differs", n)
			}
		}
		if n := g.journal(); n != rows {
			t.Errorf("type %d: the repeats moved money: %d rows, before %d", c.kind, n, rows)
		}
		g.holds("repeats", c.available, c.frozen, c.spent)
	}
	// Another request under an End-to-End Identifier of before is its own.
	last := nodes[0].next
	e := nodes[0].session("21e", service)
	nodes[0].next = last - 1
	expectCode(t, e.charge(event, payer, u32(diameter.RequestedAction, 0), u32(diameter.MultipleServicesIndicator, 1), mscc(rsu(units(1)), si(8))), 2001)
	g.holds("an event of its own", 878, 0, 122)
	rows := g.journal()
	again := nodes[1].ask(diameter.FlagProxiable|diameter.FlagRetransmit, diameter.CmdCreditControl, diameter.AppCreditControl,
		append(e.envelope(event, 0), payer, u32(diameter.RequestedAction, 0), u32(diameter.MultipleServicesIndicator, 1), mscc(rsu(units(1)), si(8)))...)
	expectCode(t, again, 2001)
	if g.journal() != rows {
		t.Error("the repeated event moved money")
	}
}

// Trace 6c: both copies at the same instant, on one node and on two.
func TestTrace6AtOnce(t *testing.T) {
	proves(t, "B-021", "B-025")
	g := startGygate(t, 1000, change{})
	a, b := connect(t, g.address, as), connect(t, g.start("ocs2.vpn.example", change{}).address, as)
	e := a.session("21c", service)
	avps := append(e.envelope(event, 0), payer, u32(diameter.RequestedAction, 0), u32(diameter.MultipleServicesIndicator, 1), mscc(rsu(units(1)), si(8)))
	release := g.hold()
	send := func(c *client, flags diameter.Flags) diameter.Header {
		return c.send(diameter.FlagProxiable|flags, diameter.CmdCreditControl, diameter.AppCreditControl, avps...)
	}
	one, copied, other := send(a, 0), send(a, diameter.FlagRetransmit), send(b, diameter.FlagRetransmit)
	g.eventually("both nodes wait for the account", func() bool {
		return g.count("pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'") == 2
	})
	release()
	got := a.answers(one, copied)
	expectCode(t, got[one.HopByHop], 2001)
	expectSameCharging(t, got[copied.HopByHop], got[one.HopByHop])
	expectSameCharging(t, b.answer(other), got[one.HopByHop])
	g.holds("three copies", 970, 0, 30)
}

// Trace 6h: the supervision time is over before the CCR-T comes.
func TestTrace6Late(t *testing.T) {
	proves(t, "B-032", "B-040")
	g := startGygate(t, 1000, change{})
	s := connect(t, g.address, as).session("21h", voice)
	s.initial(mscc(rsu(), rg(100)))
	g.holds("CCR-I", 940, 60, 0)
	g.exec("update session set deadline = now(), due = now()")
	g.eventually("the session is ended", func() bool { return g.open() == 0 })
	g.holds("Tcc", 1000, 0, 0)
	rows := g.journal()
	expectCode(t, s.charge(update, mscc(rsu(), usu(seconds(50)), rg(100))), 5002)
	expectCode(t, s.charge(termination, mscc(usu(seconds(42)), rg(100))), 5002)
	g.holds("the late requests", 1000, 0, 0)
	if n := g.count("orphan_usage"); n != 2 {
		t.Errorf("%d late reports kept, want 2", n)
	}
	if g.journal() != rows {
		t.Error("the late requests moved money")
	}
}

// A node whose sessions nobody else can serve does not offer failover.
func TestFailoverIsNotOfferedAlone(t *testing.T) {
	proves(t, "B-162")
	g := startGygate(t, 1000, change{server: func(c *gy.ServerConfig) { c.SharedDatabase = false }})
	a := connect(t, g.address, as).session("6", voice).initial(mscc(rsu(), rg(100)))
	expectCode(t, a, 2001)
	if failover, ok := a.Find(diameter.CCSessionFailover); ok && failover.Uint32() != 0 {
		t.Error("CC-Session-Failover says that another node can go on")
	}
}
