package gy

import (
	"testing"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/ocs"
)

func event(context string, action ocs.EventAction, command Service, services ...Service) CCR {
	r := call("41", ocs.Event, 0, Service{})
	r.ServiceContextID, r.Action = context, Some(uint32(action))
	r.Command, r.Services = command, services
	return r
}

func one(token []byte) Service {
	return Service{Identifiers: []uint32{8}, Requested: Some(ServiceUnits{Specific: Some(uint64(1))}), RefundInformation: token}
}

// Trace 8: direct debit, then the refund with its token.
func TestTrace8DebitAndRefund(t *testing.T) {
	token := []byte("opaque-1")
	s, b := testServer(
		ocs.Outcome{Currency: 156, Cost: 300_000, Items: []ocs.ItemOutcome{{Target: "/8", Granted: granted(ocs.Events, 1), RefundToken: token}}},
		ocs.Outcome{Currency: 156, Cost: -300_000, Items: []ocs.ItemOutcome{{Target: "/8", Granted: granted(ocs.Events, 1)}}},
	)
	m := message(t, event(ContextEvent, ocs.DirectDebit, Service{}, one(nil)))
	compare(t, m, serveOne(t, s, peer.Remote{Tolerate: diameter.Lenient}, m), proxiable, credit(4, 0), result(2001),
		mscc(gsu(u64(diameter.CCServiceSpecificUnits, 1)), u32(diameter.ServiceIdentifier, 8), result(2001),
			diameter.AppendBytes(nil, diameter.RefundInformation, token)),
		cost(30, -2, 156))
	checkStep(t, b.steps[0], ocs.VerbAuthenticate|ocs.VerbDebit, "8613800000002",
		ocs.Item{Target: "/8", RatingGroup: 8, Requested: &ocs.Units{Kind: ocs.Events, Quantity: 1}})

	m = message(t, event(ContextEvent, ocs.RefundAccount, Service{}, one(token)))
	compare(t, m, serveOne(t, s, peer.Remote{Tolerate: diameter.Lenient}, m), proxiable, credit(4, 0), result(2001),
		mscc(gsu(u64(diameter.CCServiceSpecificUnits, 1)), u32(diameter.ServiceIdentifier, 8), result(2001)),
		cost(-30, -2, 156))
	checkStep(t, b.steps[1], 0, "8613800000002",
		ocs.Item{Target: "/8", RatingGroup: 8, Requested: &ocs.Units{Kind: ocs.Events, Quantity: 1}, RefundToken: token})
	if b.steps[1].Action != ocs.RefundAccount {
		t.Errorf("action %d", b.steps[1].Action)
	}
}

func TestTrace8Variants(t *testing.T) {
	items := func(refusal ocs.Refusal) ocs.Outcome {
		return ocs.Outcome{Currency: 156, Items: []ocs.ItemOutcome{{Target: "/8", Refusal: refusal}}}
	}
	token := diameter.AppendBytes(nil, diameter.RefundInformation, []byte("used"))
	for _, c := range []struct {
		name    string
		request CCR
		outcome ocs.Outcome
		want    [][]byte
	}{
		{"8c token used again B-174", event(ContextEvent, ocs.RefundAccount, Service{}, one([]byte("used"))), items(ocs.RefundNotLinked),
			[][]byte{result(4010), group(diameter.FailedAVP, mscc())}},
		{"8e balance too small B-173", event(ContextEvent, ocs.DirectDebit, Service{}, one(nil)), items(ocs.CreditLimit),
			[][]byte{result(4012)}},
		{"8f price 0 B-177", event(ContextEvent, ocs.DirectDebit, Service{}, one(nil)), items(ocs.Free),
			[][]byte{result(4011)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := message(t, c.request)
			if c.name[:2] == "8c" {
				c.want[1] = group(diameter.FailedAVP, token)
			}
			compare(t, m, serveAgain(t, m, c.outcome), proxiable, append(c.want, credit(4, 0))...)
		})
	}
	t.Run("8g without MSCC", func(t *testing.T) {
		m := message(t, event(ContextEvent, ocs.DirectDebit, one(nil)))
		outcome := ocs.Outcome{Currency: 156, Cost: 300_000, Items: []ocs.ItemOutcome{{Target: "/8", Granted: granted(ocs.Events, 1), RefundToken: []byte("t")}}}
		optional := diameter.RefundInformation
		optional.Flags = 0
		compare(t, m, serveAgain(t, m, outcome), proxiable, credit(4, 0), result(2001),
			gsu(u64(diameter.CCServiceSpecificUnits, 1)), diameter.AppendBytes(nil, optional, []byte("t")), cost(30, -2, 156))
	})
	t.Run("8h no Requested-Action B-008", func(t *testing.T) {
		r := event(ContextEvent, 0, Service{}, one(nil))
		r.Action = Optional[uint32]{}
		m := message(t, r)
		s, b := testServer()
		compare(t, m, serveOne(t, s, peer.Remote{Tolerate: diameter.Lenient}, m), proxiable, credit(4, 0), result(5005),
			group(diameter.FailedAVP, u32(diameter.RequestedAction, 0)))
		if len(b.steps) != 0 {
			t.Error("the request reached the books")
		}
	})
}

// Trace 9: price enquiry and balance check, without MSCC.
func TestTrace9Enquiries(t *testing.T) {
	m := message(t, event(ContextVoice, ocs.PriceEnquiry, Service{Identifiers: []uint32{7}, Requested: Some(timeUnits(60))}))
	s, b := testServer(ocs.Outcome{Currency: 156, Cost: 600_000, Items: []ocs.ItemOutcome{{Target: "/7"}}})
	compare(t, m, serveOne(t, s, peer.Remote{Tolerate: diameter.Lenient}, m), proxiable, credit(4, 0), result(2001), cost(60, -2, 156))
	checkStep(t, b.steps[0], 0, "8613800000002",
		ocs.Item{Target: "/7", RatingGroup: 100, Requested: &ocs.Units{Kind: ocs.Seconds, Quantity: 60}})

	balance := func(digits int64, exponent int32) CCR {
		money := Amount{Value: Decimal{digits, exponent}, Currency: 156}
		return event(ContextVoice, ocs.CheckBalance, Service{Requested: Some(ServiceUnits{Money: Some(money)})})
	}
	for _, c := range []struct {
		request  CCR
		noCredit bool
		want     uint32
		money    int64
	}{
		{balance(5, 0), false, 0, 5_000_000},
		{balance(500, -1), true, 1, 50_000_000},
	} {
		m := message(t, c.request)
		s, b := testServer(ocs.Outcome{Currency: 156, NoCredit: c.noCredit, Items: []ocs.ItemOutcome{{}}})
		compare(t, m, serveOne(t, s, peer.Remote{Tolerate: diameter.Lenient}, m), proxiable, credit(4, 0), result(2001), u32(diameter.CheckBalanceResult, c.want))
		checkStep(t, b.steps[0], 0, "8613800000002",
			ocs.Item{RatingGroup: 100, Requested: &ocs.Units{Kind: ocs.Amount, Quantity: c.money}})
	}

	for _, c := range []struct {
		name    string
		request CCR
		failed  []byte
	}{
		{"9d extreme exponent B-211", balance(1, -100), u32(diameter.Exponent, 0xffffff9c)},
		{"9e negative B-217", balance(-1, 0), group(diameter.UnitValue, u64(diameter.ValueDigits, 1<<64-1))},
		{"too large B-211", balance(1<<62, 0), group(diameter.UnitValue, u64(diameter.ValueDigits, 1<<62))},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := message(t, c.request)
			s, _ := testServer()
			compare(t, m, serveOne(t, s, peer.Remote{Tolerate: diameter.Lenient}, m), proxiable, credit(4, 0), result(5004), group(diameter.FailedAVP, c.failed))
		})
	}
	t.Run("9c foreign currency B-214", func(t *testing.T) {
		r := balance(5, 0)
		r.Command.Requested.Value.Money.Value.Currency = 978
		m := message(t, r)
		compare(t, m, serveAgain(t, m, ocs.Outcome{Currency: 156, Items: []ocs.ItemOutcome{{Refusal: ocs.ForeignCurrency}}}), proxiable,
			credit(4, 0), result(5031), group(diameter.FailedAVP, u32(diameter.CurrencyCode, 978)))
	})
}
