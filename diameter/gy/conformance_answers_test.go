package gy

import (
	"fmt"
	"testing"

	"gygate/diameter"
	"gygate/ocs"
	"gygate/ocs/ocstest"
)

func TestAnswersConformance(t *testing.T) { runRows(t, answersRows) }

// asks is a one-time event of the desk's account.
func (d *desk) asks(action ocs.EventAction, command Service, services ...Service) CCR {
	r := d.session()(ocs.Event, 0, services...)
	r.Action, r.Command = Some(uint32(action)), command
	if len(services) == 0 {
		r.MultipleServices = Optional[uint32]{}
	}
	return r
}

// message is one short message.
func (d *desk) message(token []byte) Service {
	return Service{RatingGroup: Some(uint32(ocstest.Message)), Requested: Some(ServiceUnits{Specific: Some(uint64(1))}), RefundInformation: token}
}

func yuan(digits int64, exponent int32, currency uint32) Service {
	return Service{Requested: Some(ServiceUnits{Money: Some(Amount{Value: Decimal{digits, exponent}, Currency: currency})})}
}

// Result-Codes, failure handling, cost, balance, events and money (B.10 to B.12,
// B.14).
var answersRows = []row{
	{"B-150 every bar is 4010", func(t *testing.T, _ *desk) {
		for name, bar := range map[string]func(*ocs.Account){
			"blocked":       func(a *ocs.Account) { a.Blocked = &ocs.Flag{} },
			"lost":          func(a *ocs.Account) { a.Lost = &ocs.Flag{} },
			"expired":       func(a *ocs.Account) { a.ValidUntil = a.ValidUntil.AddDate(2000, 0, 0) },
			"not yet valid": func(a *ocs.Account) { a.ValidFrom = a.ValidFrom.AddDate(3000, 0, 0) },
		} {
			d := openDesk(t, ten)
			s := d.session()
			d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
			d.books.Change(d.key, bar)
			d.wants(d.session()(ocs.Initial, 0, ask()), 4010)
			d.wants(s(ocs.Update, 1, ask(threshold(33))), 4010)
			t.Log(name)
			d.ledger(9_670_000, 0)
		}
	}},
	{"B-151 a free call", func(t *testing.T, d *desk) {
		free := Service{RatingGroup: Some(uint32(ocstest.FreeCall)), Requested: Some(ServiceUnits{})}
		s := d.session()
		d.unmoved(func() {
			d.wants(s(ocs.Initial, 0, free), 4011)
			d.wants(s(ocs.Terminate, 1, report(10)), 5002)
		})
		d.ledger(ten, 0)
	}},
	{"B-152 D-050 a free group among others, and alone", func(t *testing.T, d *desk) {
		s := d.data()
		a := d.wants(s(ocs.Initial, 0, volume(freeData), volume(ocstest.Volume)), 2001, 4011, 2001)
		if a.Services[0].Granted.Present || !a.Services[1].Granted.Present {
			t.Errorf("CCA-I %+v", a)
		}
		d.wants(s(ocs.Update, 1, volume(freeData)), 2001, 4011) // the other group lives on
		if !d.open(s(ocs.Update, 1)) {
			t.Error("the session is over")
		}
		d.wants(d.data()(ocs.Initial, 0, volume(freeData)), 4011)
	}},
	{"D-050 refusals of a gateway stand inside", func(t *testing.T, d *desk) {
		s := d.data()
		d.wants(s(ocs.Initial, 0, volume(ocstest.Volume), volume(ocstest.Unpriced)), 2001, 2001, 5031)
		d.books.Block(t, d.key)
		d.wants(s(ocs.Update, 1, carried(ocstest.Volume, 33_000_000)), 2001, 4010)
		if !d.open(s(ocs.Update, 1)) {
			t.Error("the session is over")
		}
		d.ledger(9_670_000, 0)
		d.wants(s(ocs.Terminate, 2), 2001)
		d.wants(d.data()(ocs.Initial, 0, volume(ocstest.Volume)), 2001, 4010)
		r := d.data()(ocs.Initial, 0, volume(ocstest.Volume))
		r.Payer = []Subscription{{ocs.IMSI, "460001111111111"}}
		d.wants(r, 5030)
		empty := openDesk(t, 0)
		empty.wants(empty.data()(ocs.Initial, 0, volume(ocstest.Volume)), 2001, 4012)
	}},
	{"B-154 no price for the number", func(t *testing.T, d *desk) {
		unpriced := Service{RatingGroup: Some(uint32(ocstest.Unpriced)), Requested: Some(ServiceUnits{})}
		d.failed(d.wants(d.session()(ocs.Initial, 0, unpriced), 5031), str(diameter.CalledPartyAddress, "tel:+8613800000002"))
		d.ledger(ten, 0)
	}},
	{"B-160 failure handling by service and class", func(t *testing.T, d *desk) {
		d.sells(func(c *ocs.ServiceContext) { c.FailureHandling = map[string]uint32{"vip": 1, "": 2} })
		s := d.session()
		for _, c := range []struct {
			class string
			want  uint32
		}{{"vip", 1}, {"", 2}, {"other", 2}} {
			d.books.Change(d.key, func(a *ocs.Account) { a.Class = c.class })
			s = d.session()
			for _, r := range []CCR{s(ocs.Initial, 0, ask()), s(ocs.Update, 1, ask(threshold(10)))} {
				first := d.wants(r, 2001, 2001)
				if again := d.send(r); first.FailureHandling != Some(c.want) || again.FailureHandling != first.FailureHandling {
					t.Errorf("class %q: CCA-%s %+v, again %+v", c.class, typeName(r.Type), first.FailureHandling, again.FailureHandling)
				}
			}
		}
		d.sells(func(*ocs.ServiceContext) {})
		if a := d.wants(d.session()(ocs.Initial, 0, ask()), 2001, 2001); a.FailureHandling != Some(uint32(0)) {
			t.Errorf("CCA-I %+v", a)
		}
		if a := d.wants(s(ocs.Update, 2, ask(threshold(10))), 2001, 2001); a.FailureHandling.Present {
			t.Errorf("CCA-U %+v", a)
		}
	}},
	{"B-161 failure handling of direct debits", func(t *testing.T, d *desk) {
		goOn := uint32(1)
		d.sells(func(c *ocs.ServiceContext) { c.DebitFailure = &goOn })
		for _, r := range []CCR{d.session()(ocs.Initial, 0, ask()), d.asks(ocs.DirectDebit, Service{}, d.message(nil))} {
			if a := d.wants(r, 2001, 2001); a.DebitFailure != Some(goOn) {
				t.Errorf("CCA-%s %+v", typeName(r.Type), a)
			}
		}
		d.sells(func(*ocs.ServiceContext) {})
		if a := d.wants(d.asks(ocs.DirectDebit, Service{}, d.message(nil)), 2001, 2001); a.DebitFailure.Present {
			t.Errorf("CCA-E %+v", a)
		}
	}},
	{"B-163 failure handling in a request", func(t *testing.T, d *desk) {
		for _, a := range []diameter.Attribute{diameter.CreditControlFailureHandling, diameter.DirectDebitingFailureHandling, diameter.CCSessionFailover} {
			m := d.frame(d.session()(ocs.Initial, 0, ask()))
			m = parse(t, diameter.Finish(append(m.Raw[:len(m.Raw):len(m.Raw)], u32(a, 1)...), 0))
			d.from.Tolerate = diameter.Mode{}
			d.failed(d.has(d.read(d.serve(m)), 5008), u32(a, 1))
			d.from.Tolerate = diameter.Lenient
			d.has(d.read(d.serve(m)), 2001, 2001)
		}
		d.ledger(8_200_000, 1_800_000)
	}},
	{"B-170 B-178 B-179 cost and balance", func(t *testing.T, d *desk) {
		config := &d.server.config
		config.CostInUpdates, config.RemainingBalance, config.LowBalanceBelow = true, true, 9_300_000
		s := d.session()
		for _, c := range []struct {
			request    CCR
			cost, left ocs.Money
			low        bool
		}{
			{s(ocs.Initial, 0, ask()), -1, 9_400_000, false},
			{s(ocs.Update, 1, ask(threshold(50))), 500_000, 8_900_000, true},
			{s(ocs.Terminate, 2, report(20)), 700_000, 9_300_000, false},
		} {
			a := d.wants(c.request, 2001, 2001)
			want := Some(AmountOf(c.cost, 156))
			if c.cost < 0 {
				want = Optional[Amount]{}
			}
			if a.Cost != want || a.Remaining != Some(AmountOf(c.left, 156)) || a.LowBalance.Present != c.low {
				t.Errorf("CCA-%s %+v", typeName(a.Type), a)
			}
		}
	}},
	{"B-171 B-172 enquiries", func(t *testing.T, d *desk) {
		s := d.session()
		d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
		d.books.Change(d.key, func(a *ocs.Account) { a.Threshold = 2 * ten })
		d.unmoved(func() {
			price := d.asks(ocs.PriceEnquiry, Service{Identifiers: []uint32{7}, Requested: Some(timeUnits(60))})
			if a := d.wants(price, 2001); a.Cost != Some(AmountOf(600_000, 156)) || a.Command.Granted.Present {
				t.Errorf("price %+v", a)
			}
			for _, c := range []struct{ digits, result int64 }{{5, 0}, {50, 1}, {9, 0}, {10, 1}} { // 0.60 is frozen
				if a := d.wants(d.asks(ocs.CheckBalance, yuan(c.digits, 0, 156)), 2001); a.CheckBalance != Some(uint32(c.result)) {
					t.Errorf("%d: %+v", c.digits, a)
				}
			}
		})
		empty := openDesk(t, 0)
		price := empty.asks(ocs.PriceEnquiry, Service{Requested: Some(timeUnits(60))})
		if a := empty.wants(price, 2001); a.Cost != Some(AmountOf(600_000, 156)) {
			t.Errorf("price %+v", a)
		}
	}},
	{"B-173 B-176 B-180 one-time debits", func(t *testing.T, d *desk) {
		r := d.asks(ocs.DirectDebit, Service{}, d.message(nil))
		a := d.wants(r, 2001, 2001)
		if a.Services[0].Granted.Value.ServiceUnits != (ServiceUnits{Specific: Some(uint64(1))}) || a.Command.Granted.Present || a.CheckBalance.Present {
			t.Errorf("CCA-E %+v", a)
		}
		d.ledger(9_700_000, 0)
		later := d.session()(ocs.Update, 1, ask(threshold(1)))
		later.SessionID = r.SessionID
		d.wants(later, 5002)
		if d.books.Session(r.SessionID) != nil {
			t.Error("the event has a session")
		}
		poor := openDesk(t, 100_000)
		poor.wants(poor.asks(ocs.DirectDebit, Service{}, poor.message(nil)), 4012)
		poor.ledger(100_000, 0)
	}},
	{"B-174 B-175 refunds", func(t *testing.T, d *desk) {
		debit := d.wants(d.asks(ocs.DirectDebit, Service{}, d.message(nil)), 2001, 2001)
		token := debit.Services[0].RefundInformation
		big := d.message(token)
		big.Requested = yuan(999, -2, 156).Requested
		d.unmoved(func() { d.wants(d.asks(ocs.RefundAccount, Service{}, big), 4010) })
		if !d.log.has("refund_refused") {
			t.Errorf("no alarm in %s", &d.log)
		}
		back := d.asks(ocs.RefundAccount, Service{}, d.message(token))
		for range 2 {
			if a := d.wants(back, 2001, 2001); a.Services[0].Granted.Value.ServiceUnits != (ServiceUnits{Specific: Some(uint64(1))}) {
				t.Errorf("CCA-E %+v", a)
			}
			d.ledger(ten, 0)
		}
		d.unmoved(func() { d.wants(d.asks(ocs.RefundAccount, Service{}, d.message(token)), 4010) })

		// Without a token: by the permission of the peer, and up to its cap.
		d.unmoved(func() { d.wants(d.asks(ocs.RefundAccount, Service{}, d.message(nil)), 4010) })
		d.profile = &Profile{RefundMax: 299_999}
		d.unmoved(func() { d.wants(d.asks(ocs.RefundAccount, Service{}, d.message(nil)), 4010) })
		d.profile = &Profile{RefundMax: 300_000}
		d.wants(d.asks(ocs.RefundAccount, Service{}, d.message(nil)), 2001, 2001)
		d.ledger(ten+300_000, 0)
	}},
	{"B-177 a free event", func(t *testing.T, d *desk) {
		free := Service{RatingGroup: Some(uint32(ocstest.FreeCall)), Requested: Some(ServiceUnits{})}
		d.unmoved(func() { d.wants(d.asks(ocs.DirectDebit, Service{}, free), 4011) })
	}},
	{"B-214 B-217 B-211 money nobody has", func(t *testing.T, d *desk) {
		for _, c := range []struct {
			wish   Service
			code   diameter.ResultCode
			failed []byte
		}{
			{yuan(5, 0, 978), 5031, u32(diameter.CurrencyCode, 978)},
			{yuan(-1, 0, 156), 5004, group(diameter.UnitValue, u64(diameter.ValueDigits, 1<<64-1))},
			{yuan(1, 100, 156), 5004, u32(diameter.Exponent, 100)},
			{yuan(1, -100, 156), 5004, u32(diameter.Exponent, 0xffffff9c)},
		} {
			r := d.session()(ocs.Initial, 0)
			r.Command = c.wish
			d.failed(d.wants(r, c.code), c.failed)
		}
		d.ledger(ten, 0)
	}},
	{"B-210 the same amount in any form", func(t *testing.T, d *desk) {
		for n, form := range []Decimal{{5, -2}, {50, -3}, {500000, -7}} {
			r := d.session()(ocs.Initial, 0)
			r.Command = yuan(form.Digits, form.Exponent, 156)
			d.wants(r, 2001)
			d.ledger(ten-ocs.Money(n+1)*50_000, ocs.Money(n+1)*50_000)
		}
		r := d.session()(ocs.Initial, 0)
		r.Command = yuan(7, 0, 156) // Exponent is absent
		d.wants(r, 2001)
		d.ledger(ten-7_150_000, 7_150_000)
	}},
	{"B-215 splitting use does not change the price", func(t *testing.T, _ *desk) {
		for _, group := range []uint32{ocstest.OnNet, ocstest.OffNet} {
			var costs []Amount
			for _, parts := range [][]uint32{{61}, {7, 53, 1}, {1, 1, 1, 58}} {
				d := openDesk(t, ten)
				s := d.session()
				d.wants(s(ocs.Initial, 0, Service{RatingGroup: Some(group), Requested: Some(ServiceUnits{})}), 2001, 2001)
				for n, part := range parts[:len(parts)-1] {
					update := ask(threshold(part))
					update.RatingGroup = Some(group)
					d.wants(s(ocs.Update, uint32(n+1), update), 2001, 2001)
				}
				last := report(parts[len(parts)-1])
				last.RatingGroup = Some(group)
				costs = append(costs, d.wants(s(ocs.Terminate, 9, last), 2001, 2001).Cost.Value)
			}
			if want := AmountOf(ocstest.Price(group, 61), 156); fmt.Sprint(costs) != fmt.Sprint([]Amount{want, want, want}) {
				t.Errorf("group %d: %v, want %v", group, costs, want)
			}
		}
	}},
}
