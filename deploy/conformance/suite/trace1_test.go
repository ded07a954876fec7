package suite

import (
	"testing"
	"time"

	"gygate/diameter"
)

// slice is the answer to a service of a voice session: sixty seconds.
func slice(group uint32) avp {
	return mscc(gsu(seconds(60)), rg(group), validity(300), result(2001), u32(diameter.TimeQuotaThreshold, 10))
}

// Trace 1: a normal call, by the golden bytes of an independent encoder.
func TestTrace1(t *testing.T) {
	proves(t, "A-021", "B-030", "B-034", "B-038", "B-070", "B-081", "B-089", "B-093")
	g := startGygate(t, 1000, change{})
	c := connect(t, g.address, as)
	expectSame(t, c.askGolden("G1"), goldenMessage(t, "G2"))
	g.holds("CCR-I", 940, 60, 0)
	supervised := g.deadline("17")
	if n := g.count("session where deadline = opened_at + interval '600 s' and closed_at is null"); n != 1 {
		t.Error("the session is not supervised for 600 s")
	}

	s := c.session("17", voice)
	s.number = 1
	a := s.charge(update, mscc(rsu(), usu(reason(0), seconds(50)), rg(100)))
	expectCode(t, a, 2001)
	expect(t, a, slice(100))
	expectNone(t, a, diameter.GrantedServiceUnit, diameter.FinalUnitIndication, diameter.ValidityTime)
	g.holds("CCR-U", 890, 60, 50)
	if !g.deadline("17").After(supervised) {
		t.Error("the supervision time was not restarted")
	}

	s.next = 0x5a100002 // the golden answer's identifiers
	h := diameter.Header{Flags: diameter.FlagRequest | diameter.FlagProxiable, Command: diameter.CmdCreditControl,
		Application: diameter.AppCreditControl, HopByHop: 0xa03, EndToEnd: 0x5a100003}
	s.raw(encode(h, append(s.envelope(termination, 2), u32(diameter.TerminationCause, 1),
		mscc(usu(seconds(42)), rg(100), reason(2)))...))
	expectSame(t, s.answer(h), goldenMessage(t, "G3"))
	g.holds("CCR-T", 908, 0, 92)
	if g.open() != 0 {
		t.Error("the session is still open")
	}
}

// deadline is when the session's supervision ends.
func (g *gygate) deadline(suffix string) (at time.Time) {
	g.t.Helper()
	err := g.pool.QueryRow(g.t.Context(), "select deadline from session where session_id like '%;' || $1", suffix).Scan(&at)
	if err != nil {
		g.t.Fatal(err)
	}
	return at
}

// Trace 2: what is refused at the first interrogation, and how.
func TestTrace2(t *testing.T) {
	t.Run("nothing to spend", func(t *testing.T) {
		proves(t, "B-020", "B-031", "B-032", "B-137", "B-140", "B-153")
		g := startGygate(t, 3, change{})
		s := connect(t, g.address, as).session("18", voice)
		a := s.initial(mscc(rsu(), rg(100)))
		expectCode(t, a, 4012)
		expectNone(t, a, diameter.MultipleServicesCreditControl, diameter.GrantedServiceUnit, diameter.ValidityTime, diameter.FinalUnitIndication)
		g.holds("CCR-I", 3, 0, 0)
		if n := g.count("session"); n != 0 {
			t.Errorf("%d sessions", n)
		}
		g.topUp(500, "2")
		s.number = 0
		expectSameCharging(t, s.initial(mscc(rsu(), rg(100))), a)
		g.holds("the repeat", 503, 0, 0)
		expectCode(t, s.charge(update, mscc(rsu(), usu(seconds(10)), rg(100))), 5002)
		expectCode(t, s.charge(termination, mscc(usu(seconds(10)), rg(100))), 5002)
		g.holds("late requests", 503, 0, 0)
	})
	t.Run("2b blocked", func(t *testing.T) {
		proves(t, "B-150")
		g := startGygate(t, 1000, change{})
		g.block(true)
		s := connect(t, g.address, as).session("18b", voice)
		expectCode(t, s.initial(mscc(rsu(), rg(100))), 4010)
		g.holds("CCR-I", 1000, 0, 0)
	})
	t.Run("2c unknown", func(t *testing.T) {
		proves(t, "B-058")
		g := startGygate(t, 1000, change{})
		s := connect(t, g.address, as).session("18c", voice)
		expectCode(t, s.charge(initial, subscription(typeE164, "8613899999999"), u32(diameter.MultipleServicesIndicator, 1), mscc(rsu(), rg(100))), 5030)
		if n := g.count("session") + g.count("outcome"); n != 0 {
			t.Errorf("%d rows of a subscriber nobody knows", n)
		}
	})
	t.Run("2d free", func(t *testing.T) {
		proves(t, "B-151")
		g := startGygate(t, 1000, change{})
		s := connect(t, g.address, as).session("18d", voice)
		a := s.initial(mscc(rsu(), rg(112)))
		expectCode(t, a, 4011)
		expectNone(t, a, diameter.GrantedServiceUnit)
		expectCode(t, s.charge(termination, mscc(usu(seconds(10)), rg(112))), 5002)
		g.holds("a free call", 1000, 0, 0)
	})
}

// Trace 2, where what is wrong is the price, the money of a data session, or the
// database.
func TestTrace2Variants(t *testing.T) {
	t.Run("2e no price for the number", func(t *testing.T) {
		proves(t, "B-154")
		g := startGygate(t, 1000, change{})
		s := connect(t, g.address, as).session("18e", voice)
		called := text(diameter.CalledPartyAddress, "tel:+33155550100")
		a := s.initial(mscc(rsu(), rg(103)), group(diameter.ServiceInformation, group(diameter.IMSInformation,
			u32(diameter.NodeFunctionality, 6), called)))
		expectCode(t, a, 5031)
		expect(t, a, failed(called))
	})
	t.Run("2f data", func(t *testing.T) {
		proves(t, "B-095", "B-037")
		g := startGygate(t, 0, change{})
		s := connect(t, g.address, pgw).session("18f", data)
		a := s.initial(mscc(rsu(), rg(10)))
		expectCode(t, a, 2001)
		expect(t, a, mscc(rg(10), result(4012)))
		g.topUp(2000, "2f")
		a = s.charge(update, mscc(rsu(), rg(10)))
		expectCode(t, a, 2001)
		if g.open() != 1 || g.account().Frozen != 100*cent {
			t.Errorf("the session did not come to life: %+v", g.account())
		}
	})
	t.Run("2g no database", func(t *testing.T) {
		proves(t, "B-155")
		g := startGygate(t, 1000, change{})
		s := connect(t, g.address, as).session("18g", voice)
		restore := g.cutDatabase()
		a := s.initial(mscc(rsu(), rg(100)))
		expectCode(t, a, 3002)
		expect(t, a, text(diameter.SessionID, s.id), text(diameter.OriginHost, g.host), text(diameter.OriginRealm, realm))
		restore()
		g.eventually("the database is back", func() bool {
			s.number = 0
			return s.initial(mscc(rsu(), rg(100))).ResultCode() == 2001
		})
		g.holds("the repeat", 940, 60, 0)
	})
}

// Trace 3: the money ends; the last slice is exact.
func TestTrace3(t *testing.T) {
	t.Run("final units", func(t *testing.T) {
		proves(t, "B-071", "B-111", "B-130", "B-131")
		g := startGygate(t, 100, change{})
		c := connect(t, g.address, as)
		s := c.session("19", voice)
		expect(t, s.initial(mscc(rsu(), rg(100))), slice(100))
		g.holds("CCR-I", 40, 60, 0)
		h := diameter.Header{Flags: diameter.FlagRequest | diameter.FlagProxiable, Command: diameter.CmdCreditControl,
			Application: diameter.AppCreditControl, HopByHop: 0xe02, EndToEnd: 0x5a1000e2}
		s.raw(encode(h, append(s.envelope(update, 1), mscc(rsu(), usu(reason(0), seconds(50)), rg(100)))...))
		a := s.answer(h)
		expectCode(t, a, 2001)
		final := mscc(gsu(seconds(50)), rg(100), validity(300), result(2001), terminate)
		expect(t, a, final)
		expect(t, goldenMessage(t, "G8"), final) // the golden agrees on what is last
		g.holds("CCR-U", 0, 50, 50)
		s.number = 2
		a = s.charge(termination, u32(diameter.TerminationCause, 1), mscc(usu(seconds(50)), rg(100), reason(2)))
		expectCode(t, a, 2001)
		expect(t, a, mscc(rg(100), result(2001)), cents(100))
		g.holds("CCR-T", 0, 0, 100)
	})
	t.Run("3b the money went elsewhere", func(t *testing.T) {
		proves(t, "B-094")
		g := startGygate(t, 60, change{})
		c := connect(t, g.address, as)
		s := c.session("19b", voice)
		s.initial(mscc(rsu(), rg(100)))
		a := s.charge(update, mscc(rsu(), usu(seconds(60)), rg(100)))
		expectCode(t, a, 2001)
		expect(t, a, mscc(rg(100), result(4012)))
		g.holds("CCR-U", 0, 0, 60)
		g.block(true)
		a = s.charge(update, mscc(rsu(), rg(100)))
		expectCode(t, a, 4010)
		expectNone(t, a, diameter.MultipleServicesCreditControl, diameter.GrantedServiceUnit)
	})
	t.Run("3d more than granted", func(t *testing.T) {
		proves(t, "B-080")
		g := startGygate(t, 70, change{})
		s := connect(t, g.address, as).session("19d", voice)
		s.initial(mscc(rsu(seconds(60)), rg(100)))
		a := s.charge(termination, mscc(usu(seconds(73)), rg(100)))
		expectCode(t, a, 2001)
		expect(t, a, cents(73)) // rated = debited + overrun
		g.holds("CCR-T", 0, 0, 70)
		if debt := g.account().Debt; debt != 3*cent {
			t.Errorf("overrun %s, want 0.03", debt)
		}
	})
	t.Run("3e no rest too small to be useful", func(t *testing.T) {
		proves(t, "B-140")
		g := startGygate(t, 62, change{})
		s := connect(t, g.address, as).session("19e", voice)
		expect(t, s.initial(mscc(rsu(), rg(100))), mscc(gsu(seconds(62)), rg(100), validity(300), result(2001), terminate))
		g.holds("CCR-I", 0, 62, 0)
	})
}
