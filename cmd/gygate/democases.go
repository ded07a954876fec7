package main

import (
	"context"
	"fmt"
	"time"

	"gygate/cmd/gygate/sample"
	"gygate/ocs"
	"gygate/vpnlogic"
)

// demoCase is one call of the demo with what must come of it, to the cent.
type demoCase struct {
	title    string
	from     vpnlogic.E164
	dialled  string
	talk     time.Duration // 0: until the other side ends the call
	before   func(context.Context, *stage) error
	after    func(context.Context, *stage) error
	reason   string
	class    vpnlogic.CallClass
	charging vpnlogic.Charging
	charged  time.Duration // seconds reported to charging
	debited  ocs.Money
	requests string // the CCRs, in order: "IUUT"
}

const demoCent = ocs.MoneyScale / 100

// demoCases are the cases in the order they are shown. Prices are those of the
// sample: on-net a cent a second, off-net two cents and five for the set-up.
// Slices are three seconds, asked for again one second before their end.
func demoCases() []demoCase {
	onNet := demoCase{dialled: "6002", class: vpnlogic.OnNet, charging: vpnlogic.ChargingPrepaid}
	cases := []demoCase{
		onNet.with("1  prepaid short-number call on-net, in slices, the rest refunded", "6001", func(c *demoCase) {
			c.talk, c.reason = 4500*time.Millisecond, vpnlogic.ReasonNormal
			c.charged, c.debited, c.requests = 5*time.Second, 5*demoCent, "IUUT"
		}),
		onNet.with("2  the balance runs out in mid-call: final unit, cut off on the second", "6003", func(c *demoCase) {
			c.reason = vpnlogic.ReasonQuotaEnd
			c.charged, c.debited, c.requests = 5*time.Second, 5*demoCent, "IUT"
		}),
	}
	for _, r := range []struct {
		title, short string
		reason       ocs.Refusal
	}{
		{"3a refused: no balance", "6011", ocs.NoBalance},
		{"3b refused: the account has expired", "6012", ocs.Expired},
		{"3c refused: less than the minimum threshold", "6013", ocs.BelowThreshold},
		{"3d refused: reported lost", "6014", ocs.Lost},
		{"3e refused: blocked", "6015", ocs.Blocked},
	} {
		cases = append(cases, onNet.with(r.title, r.short, func(c *demoCase) { c.reason, c.requests = string(r.reason), "I" }))
	}
	return append(cases,
		onNet.with("4  a member without prepaid: plain VPN service, no CCR", "6004", func(c *demoCase) {
			c.talk, c.reason, c.charging = time.Second, vpnlogic.ReasonNormal, vpnlogic.ChargingNone
		}),
		demoCase{title: "5  no member: the VPN call fails, prepaid is not touched", from: sample.Stranger, dialled: "6002",
			reason: vpnlogic.ReasonNotAMember, charging: vpnlogic.ChargingNone},
		onNet.with("6  money frozen by another service is not available to the call", "6005", func(c *demoCase) {
			c.reason, c.requests = string(ocs.NotAvailable), "I"
			c.before, c.after = freezeElsewhere, unfreezeElsewhere
		}),
		onNet.with("7  a public number with the off-net escape code", "6006", func(c *demoCase) {
			c.dialled, c.class = "004066969100", vpnlogic.OffNet
			c.talk, c.reason = 2500*time.Millisecond, vpnlogic.ReasonNormal
			c.charged, c.debited, c.requests = 3*time.Second, 11*demoCent, "IUT"
		}),
		demoCase{title: "8  an emergency number: connected, unscreened, uncharged", from: sample.Stranger, dialled: sample.EmergencyCall,
			talk: time.Second, reason: vpnlogic.ReasonNormal, class: vpnlogic.Emergency, charging: vpnlogic.ChargingEmergency},
	)
}

func (c demoCase) with(title, short string, change func(*demoCase)) demoCase {
	c.title, c.from = title, sample.Number(short)
	change(&c)
	return c
}

// The other service of case 6 is a ticket shop that pays by short message. It
// uses the published interface of the prepaid service, without Diameter.
const shopService = "32274@3gpp.org"

func freezeElsewhere(ctx context.Context, s *stage) error {
	s.order++
	r, err := s.main.engine.Reserve(ctx, ocs.ReserveRequest{
		Key:     ocs.RequestKey{Session: s.shopSession(), Number: 0},
		Payer:   []ocs.Identity{{Kind: ocs.E164, Value: string(sample.Number("6005"))}},
		Service: shopService,
		Units:   ocs.Units{Kind: ocs.Amount, Quantity: int64(ocs.MoneyScale)},
	})
	if err != nil {
		return fmt.Errorf("the ticket shop's reserve: %w", err)
	}
	if r.Frozen != ocs.MoneyScale {
		return fmt.Errorf("the ticket shop froze %s, want 1.00", r.Frozen)
	}
	return nil
}

// shopSession names the shop's session. Like any that is unique for ever, it holds
// the client's identity and start: here the instant the stage was set up.
func (s *stage) shopSession() string {
	return fmt.Sprintf("ticket-shop;%d;order-%d", s.began.UnixNano(), s.order)
}

func unfreezeElsewhere(ctx context.Context, s *stage) error {
	r, err := s.main.engine.Refund(ctx, ocs.RefundRequest{Key: ocs.RequestKey{Session: s.shopSession(), Number: 1}})
	if err != nil {
		return fmt.Errorf("the ticket shop's refund: %w", err)
	}
	if r.Refunded != ocs.MoneyScale || r.Available != ocs.MoneyScale {
		return fmt.Errorf("the ticket shop's refund: unfroze %s, available %s, want 1.00 and 1.00", r.Refunded, r.Available)
	}
	return nil
}
