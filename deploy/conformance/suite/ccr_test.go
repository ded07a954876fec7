package suite

import (
	"gygate/diameter"
)

// The service contexts of the traces.
const (
	voice   = "32276@3gpp.org"
	data    = "32251@3gpp.org"
	service = "32274@3gpp.org"
)

// CC-Request-Types (RFC 8506 §8.3).
const (
	initial     = 1
	update      = 2
	termination = 3
	event       = 4
)

// The subscribers of the fixtures.
const (
	msisdn = "8613800000001"
	imsi   = "460001234567890"
)

// payer names the account of the fixture as a telephone does.
var payer = subscription(typeE164, msisdn)

// session is a credit-control session as the client sees it.
type session struct {
	*client
	id      string
	context string
	number  uint32 // of the next request
}

// session starts a session; nothing is sent.
func (c *client) session(suffix, context string) *session {
	return &session{client: c, id: c.origin.Host + ";3973000001;" + suffix, context: context}
}

// envelope is what every CCR begins with.
func (s *session) envelope(kind, number uint32) []avp {
	return []avp{
		text(diameter.SessionID, s.id),
		text(diameter.OriginHost, s.origin.Host), text(diameter.OriginRealm, s.origin.Realm),
		text(diameter.DestinationRealm, realm),
		u32(diameter.AuthApplicationID, diameter.AppCreditControl),
		text(diameter.ServiceContextID, s.context),
		u32(diameter.CCRequestType, kind), u32(diameter.CCRequestNumber, number),
	}
}

// send sends the session's next CCR.
func (s *session) send(kind uint32, avps ...avp) diameter.Header {
	s.t.Helper()
	s.number++
	return s.client.send(diameter.FlagProxiable, diameter.CmdCreditControl, diameter.AppCreditControl,
		append(s.envelope(kind, s.number-1), avps...)...)
}

// exchange sends the session's next CCR and returns the answer as it is.
func (s *session) exchange(kind uint32, avps ...avp) diameter.Message {
	s.t.Helper()
	return s.answer(s.send(kind, avps...))
}

// charge is exchange, and compares what every answer has (B-001).
func (s *session) charge(kind uint32, avps ...avp) diameter.Message {
	s.t.Helper()
	m := s.exchange(kind, avps...)
	s.check(m, kind, s.number-1)
	return m
}

// check compares the envelope of an answer.
func (s *session) check(m diameter.Message, kind, number uint32) {
	s.t.Helper()
	if first := one(m.Body()); !first.Is(diameter.SessionID) || first.Text() != s.id {
		s.t.Errorf("the answer begins with AVP %d", first.Code)
	}
	if m.Flags&^diameter.FlagError != diameter.FlagProxiable {
		s.t.Errorf("answer with flags %02x", m.Flags)
	}
	if m.ResultCode().Protocol() {
		return // the form without what is of the application
	}
	expect(s.t, m, u32(diameter.AuthApplicationID, diameter.AppCreditControl),
		u32(diameter.CCRequestType, kind), u32(diameter.CCRequestNumber, number))
	expectNone(s.t, m, diameter.DestinationHost, diameter.DestinationRealm)
}

// initial opens the session for the fixture's account.
func (s *session) initial(services ...avp) diameter.Message {
	s.t.Helper()
	return s.charge(initial, append([]avp{payer, u32(diameter.MultipleServicesIndicator, 1)}, services...)...)
}

// repeat sends a request of the session again, with other identifiers and flags.
func (c *client) repeat(frame []byte, flags diameter.Flags) diameter.Message {
	c.t.Helper()
	c.next++
	again := append([]byte(nil), frame...)
	diameter.SetHop(again, c.next)
	diameter.SetEnd(again, c.next)
	again[4] = byte(diameter.FlagRequest | diameter.FlagProxiable | flags)
	c.raw(again)
	return c.answer(diameter.Header{Command: diameter.CmdCreditControl, HopByHop: c.next, EndToEnd: c.next})
}
