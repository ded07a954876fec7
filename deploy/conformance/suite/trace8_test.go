package suite

import (
	"testing"

	"gygate/diameter"
	"gygate/ocs"
)

// Requested-Actions (RFC 8506 §8.41).
const (
	directDebit  = 0
	refund       = 1
	checkBalance = 2
	priceEnquiry = 3
)

// event sends a one-time event of a session of its own.
func (c *client) event(suffix, context string, action uint32, avps ...avp) diameter.Message {
	c.t.Helper()
	return c.session(suffix, context).charge(event, append([]avp{payer, u32(diameter.RequestedAction, action), u32(diameter.MultipleServicesIndicator, 1)}, avps...)...)
}

// token is the Refund-Information of a debit's answer.
func token(t testing.TB, m diameter.Message) avp {
	t.Helper()
	for _, service := range all(m, diameter.MultipleServicesCreditControl) {
		if a, ok := service.Find(diameter.RefundInformation); ok {
			return octets(diameter.RefundInformation, a.Data)
		}
	}
	t.Fatal("no Refund-Information")
	return nil
}

// Trace 8: an event is debited, and taken back.
func TestTrace8(t *testing.T) {
	proves(t, "B-173", "B-174", "B-176", "B-180")
	g := startGygate(t, 1000, change{})
	c := connect(t, g.address, as)
	one := mscc(rsu(units(1)), si(8))
	a := c.event("41", service, directDebit, one)
	expectCode(t, a, 2001)
	link := token(t, a)
	expect(t, a, mscc(gsu(units(1)), si(8), result(2001), link), cents(30))
	expectNone(t, a, diameter.GrantedServiceUnit, diameter.CheckBalanceResult)
	g.holds("the debit", 970, 0, 30)

	back := mscc(rsu(units(1)), si(8), link)
	a = c.event("42", service, refund, back)
	expectCode(t, a, 2001)
	expect(t, a, mscc(gsu(units(1)), si(8), result(2001)), cents(-30))
	g.holds("the refund", 1000, 0, 0)
	expectSameCharging(t, c.event("42", service, refund, back), a) // 8b
	expectCode(t, c.event("43", service, refund, back), 4010)      // 8c
	g.holds("the token again", 1000, 0, 0)
	if n := g.count("session"); n != 0 {
		t.Errorf("%d sessions", n)
	}
	s := c.session("41", service)
	s.number = 1
	expectCode(t, s.charge(update, mscc(usu(units(1)), si(8))), 5002)
}

func TestTrace8Variants(t *testing.T) {
	t.Run("8d more back than was debited", func(t *testing.T) {
		proves(t, "B-175")
		g := startGygate(t, 1000, change{})
		c := connect(t, g.address, as)
		link := token(t, c.event("44", service, directDebit, mscc(rsu(units(1)), si(8))))
		expectCode(t, c.event("45", service, refund, mscc(rsu(money(999, -2, 156)), si(8), link)), 4010)
		g.holds("the refund", 970, 0, 30)
	})
	t.Run("8e not enough", func(t *testing.T) {
		g := startGygate(t, 10, change{})
		expectCode(t, connect(t, g.address, as).event("46", service, directDebit, mscc(rsu(units(1)), si(8))), 4012)
		g.holds("the debit", 10, 0, 0)
	})
	t.Run("8f free", func(t *testing.T) {
		proves(t, "B-177")
		g := startGygate(t, 1000, change{})
		rows := g.journal()
		expectCode(t, connect(t, g.address, as).event("47", service, directDebit, mscc(rsu(units(1)), rg(9))), 4011)
		if g.journal() != rows {
			t.Error("a free event stands in the journal")
		}
	})
	t.Run("8g without MSCC", func(t *testing.T) {
		proves(t, "B-002")
		g := startGygate(t, 1000, change{})
		c := connect(t, g.address, as)
		a := c.event("48", service, directDebit, si(8), rsu(units(1)))
		expectCode(t, a, 2001)
		expect(t, a, gsu(units(1)))
		expectNone(t, a, diameter.MultipleServicesCreditControl)
		a = c.event("48b", service, directDebit, mscc(si(8), rsu(units(1))))
		expectNone(t, a, diameter.GrantedServiceUnit, diameter.ValidityTime, diameter.FinalUnitIndication)
		if len(all(a, diameter.MultipleServicesCreditControl)) != 1 {
			t.Error("no MSCC")
		}
		g.holds("both", 940, 0, 60)
	})
	t.Run("8h no Requested-Action", func(t *testing.T) {
		proves(t, "B-008")
		g := startGygate(t, 1000, change{})
		a := connect(t, g.address, as).session("49", service).charge(event, payer, mscc(rsu(units(1)), si(8)))
		expectCode(t, a, 5005)
		expect(t, a, failed(u32(diameter.RequestedAction, 0)))
	})
}

// Trace 9: what something costs, and whether it can be paid. Nothing is written.
func TestTrace9(t *testing.T) {
	proves(t, "B-171", "B-172", "B-211", "B-214", "B-217")
	for _, balance := range []ocs.Money{1000, 0} {
		g := startGygate(t, balance, change{})
		rows := g.journal()
		a := connect(t, g.address, as).event("51", voice, priceEnquiry, si(7), rsu(seconds(60)))
		expectCode(t, a, 2001)
		expect(t, a, cents(60))
		if g.journal() != rows || g.count("session") != 0 {
			t.Error("a price enquiry left something behind")
		}
	}
	g := startGygate(t, 1000, change{policy: func(p *ocs.Policy) { p.SliceSeconds = 600 }})
	c := connect(t, g.address, as)
	check := func(suffix string, want uint32, wish avp) {
		t.Helper()
		a := c.event(suffix, voice, checkBalance, rsu(wish))
		expectCode(t, a, 2001)
		expect(t, a, u32(diameter.CheckBalanceResult, want))
	}
	five := group(diameter.CCMoney, group(diameter.UnitValue, u64(diameter.ValueDigits, 5)), u32(diameter.CurrencyCode, 156))
	rows := g.journal()
	check("52", 0, five)
	check("53", 1, money(500, -1, 156))
	refuse := func(suffix string, code diameter.ResultCode, wish, shown avp) {
		t.Helper()
		a := c.event(suffix, voice, checkBalance, rsu(wish))
		expectCode(t, a, code)
		expect(t, a, failed(shown))
	}
	refuse("54", 5031, money(5, 0, 978), u32(diameter.CurrencyCode, 978))
	for _, exponent := range []int32{-100, 100} {
		refuse("55"+string(rune('a'+exponent%7)), 5004, money(5, exponent, 156), u32(diameter.Exponent, uint32(exponent)))
	}
	a := c.event("56", voice, checkBalance, rsu(money(-1, 0, 156)))
	expectCode(t, a, 5004)
	if g.journal() != rows {
		t.Error("a balance check stands in the journal")
	}
	// 9b: what is frozen is not available.
	expectCode(t, c.session("57", voice).initial(mscc(rsu(), rg(100))), 2001)
	g.holds("a session", 400, 600, 0)
	check("58", 1, five)
}
