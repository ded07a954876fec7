package repeats

import (
	"fmt"
	"math/rand/v2"
	"time"

	"gygate/deploy/interop/harness"
	"gygate/diameter"
	"gygate/diameter/gy"
	"gygate/ocs"
)

// movement is what one request moves on its account.
type movement struct{ debited, refunded, reserved, credited ocs.Money }

func (m movement) String() string {
	return fmt.Sprintf("debited %s, refunded %s, reserved %s, credited %s", m.debited, m.refunded, m.reserved, m.credited)
}

// conversation is a session or a chain of events, with a ledger of its own that
// is kept from the requests and the answers alone.
type conversation interface {
	// next is the next request, nil when the conversation is over.
	next(*rand.Rand) gy.CCR
	// take reads the answer to it and tells what has moved.
	take(*gy.CCA) movement
	over() bool
}

// profile is how a client asks: for what, and in which of the two wire profiles.
type profile struct {
	context string
	groups  []uint32 // one is priced at command level when inside is false
	inside  bool     // units inside Multiple-Services-Credit-Control: P-3GPP
	unit    int64    // what is reported is a multiple of it
	slice   int64    // what is asked for, at the most
}

var profiles = []profile{
	{"32260@3gpp.org", []uint32{100}, true, 1, 60},
	{"32260@3gpp.org", []uint32{101}, false, 1, 60}, // the context's own rating group
	{"32251@3gpp.org", []uint32{10, 20}, true, harness.Megabyte, 50 * harness.Megabyte},
}

// price is harness.TariffPerSecond, by the rating groups of the profiles.
func price(group uint32, quantity int64) ocs.Money {
	switch group {
	case 100:
		return ocs.Money(quantity) * harness.PerSecond
	case 101:
		return ocs.Money(quantity) * 2 * harness.PerSecond
	case 10:
		return started(quantity)
	case 20:
		return started(2 * quantity)
	}
	panic(fmt.Sprintf("rating group %d has no price", group))
}

// started is a cent for each megabyte begun: a last grant may hold a part of one,
// and what is paid for it is rounded up to the cent.
func started(octets int64) ocs.Money {
	return ocs.Money((octets+harness.Megabyte-1)/harness.Megabyte) * harness.PerMegabyte
}

func envelope(id, host, payer string, kind ocs.StepType, number uint32) gy.CCR {
	return gy.CCR{
		SessionID: id, OriginHost: host, OriginRealm: clientRealm, DestinationRealm: ocsRealm,
		Type: kind, Number: number, EventTimestamp: time.Now(),
		Payer: []gy.Subscription{{Kind: ocs.E164, Data: payer}},
	}
}

// session is I, some U, T. It never reports more than it was granted.
type session struct {
	profile
	id, host, payer string
	updates         uint32 // before the CCR-T
	number          uint32 // of the next request
	ended           bool

	granted, used map[uint32]int64 // by rating group; used: reported by the request under way
	frozen        map[uint32]ocs.Money
}

func newSession(r *rand.Rand, id, host, payer string) *session {
	return &session{profile: profiles[r.IntN(len(profiles))], id: id, host: host, payer: payer, updates: 1 + r.Uint32N(6),
		granted: map[uint32]int64{}, used: map[uint32]int64{}, frozen: map[uint32]ocs.Money{}}
}

func (s *session) over() bool { return s.ended }

func (s *session) next(r *rand.Rand) gy.CCR {
	kind := ocs.Update
	switch {
	case s.number == 0:
		kind = ocs.Initial
	case s.number > s.updates:
		kind = ocs.Terminate
	}
	c := envelope(s.id, s.host, s.payer, kind, s.number)
	c.ServiceContextID = s.context
	s.number++
	for _, group := range s.groups {
		service := s.service(r, kind, group)
		if !s.inside {
			c.Command = service
			break
		}
		service.RatingGroup = gy.Some(group)
		c.Services = append(c.Services, service)
	}
	if s.inside && kind == ocs.Initial {
		c.MultipleServices = gy.Some(uint32(1))
	}
	if kind == ocs.Terminate {
		c.TerminationCause = gy.Some(uint32(1))
		s.ended = true
	}
	return c
}

func (s *session) service(r *rand.Rand, kind ocs.StepType, group uint32) (service gy.Service) {
	if kind != ocs.Terminate {
		service.Requested = gy.Some(s.units((1 + r.Int64N(s.slice/s.unit)) * s.unit))
	}
	if kind == ocs.Initial {
		return service
	}
	s.used[group] = r.Int64N(s.granted[group]/s.unit+1) * s.unit
	service.Used = []gy.UsedUnits{{ServiceUnits: s.units(s.used[group])}}
	return service
}

func (s *session) units(n int64) (u gy.ServiceUnits) {
	if s.unit == 1 {
		u.Time = gy.Some(uint32(n))
	} else {
		u.Total = gy.Some(uint64(n))
	}
	return u
}

// take: what was used is debited, the rest of the old freeze refunded, the price
// of the new grant reserved.
func (s *session) take(a *gy.CCA) (m movement) {
	for _, group := range s.groups {
		cost := price(group, s.used[group])
		m.debited += cost
		m.refunded += s.frozen[group] - cost
		s.granted[group] = s.grant(a, group)
		s.frozen[group] = price(group, s.granted[group])
		m.reserved += s.frozen[group]
	}
	s.ended = s.ended || a.ResultCode != diameter.Success
	return m
}

func (s *session) grant(a *gy.CCA, group uint32) int64 {
	granted := a.Command.Granted
	for _, service := range a.Services {
		if service.RatingGroup.Value == group {
			granted = service.Granted
		}
	}
	return int64(granted.Value.Time.Value) + int64(granted.Value.Total.Value)
}

// event is a one-time event, and after a direct debit perhaps its refund.
type event struct {
	id, host, payer string
	action          ocs.EventAction
	count           uint64
	token           []byte // Refund-Information of the debit
	refunding       string // Session-Id of the refund to come, "" for none
	ended           bool
}

func newEvent(r *rand.Rand, id, host, payer string) *event {
	e := &event{id: id, host: host, payer: payer, action: ocs.EventAction(r.IntN(4)), count: 1 + r.Uint64N(3)}
	if e.action == ocs.RefundAccount || e.action == ocs.DirectDebit && r.IntN(2) == 0 {
		e.action, e.refunding = ocs.DirectDebit, id+";refund"
	}
	return e
}

func (e *event) over() bool { return e.ended }

func (e *event) next(*rand.Rand) gy.CCR {
	c := envelope(e.id, e.host, e.payer, ocs.Event, 0)
	c.ServiceContextID, c.Action = "32274@3gpp.org", gy.Some(uint32(e.action))
	units := gy.ServiceUnits{Specific: gy.Some(e.count)}
	switch e.action {
	case ocs.CheckBalance:
		c.Command.Requested = gy.Some(gy.ServiceUnits{Money: gy.Some(gy.AmountOf(ocs.Money(e.count)*harness.PerEvent, 978))})
	case ocs.PriceEnquiry:
		c.Command.Identifiers, c.Command.Requested = []uint32{8}, gy.Some(units)
	case ocs.DirectDebit, ocs.RefundAccount:
		c.Services = []gy.Service{{RatingGroup: gy.Some(uint32(8)), Requested: gy.Some(units), RefundInformation: e.token}}
	}
	return c
}

func (e *event) take(a *gy.CCA) (m movement) {
	e.ended = true
	if a.ResultCode != diameter.Success {
		return m
	}
	cost := ocs.Money(e.count) * harness.PerEvent
	switch e.action {
	case ocs.DirectDebit:
		m.debited = cost
		if e.refunding != "" {
			e.id, e.action, e.token, e.ended = e.refunding, ocs.RefundAccount, a.Services[0].RefundInformation, false
		}
	case ocs.RefundAccount:
		m.credited = cost
	case ocs.CheckBalance, ocs.PriceEnquiry:
	}
	return m
}
