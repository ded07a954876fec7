package gy

import (
	"bytes"
	"context"
	"encoding/binary"
	"testing"
	"time"

	"gygate/diameter"
	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// conversation turns octets into what clients and operators do: requests, most of
// them proper, some with octets changed; time, blocks and top-ups in between.
type conversation struct {
	*desk
	octets []byte
	want   int // requests sent
	got    chan []byte
}

// stepsMax bounds a conversation.
const stepsMax = 40

func (c *conversation) next() byte {
	if len(c.octets) == 0 {
		return 0
	}
	b := c.octets[0]
	c.octets = c.octets[1:]
	return b
}

// amount is mostly small, sometimes as large as it gets.
func (c *conversation) amount() uint64 {
	b := c.next()
	if b < 240 {
		return uint64(b) * 1000
	}
	var wide [8]byte
	for i := range wide {
		wide[i] = c.next()
	}
	return binary.BigEndian.Uint64(wide[:]) >> (b & 7 * 8)
}

func (c *conversation) units() (u ServiceUnits) {
	switch b := c.next(); b & 7 {
	case 0, 1:
		u.Time = Some(uint32(c.amount() / 1000))
	case 2:
		u.Total = Some(c.amount() * 1000)
	case 3:
		u.Input, u.Output = Some(c.amount()*1000), Some(c.amount()*1000)
	case 4:
		u.Specific = Some(c.amount() / 1000)
	case 5:
		u.Money = Some(Amount{Value: Decimal{Digits: int64(c.amount()), Exponent: int32(int8(c.next()) % 20)}, Currency: uint32(c.next()&1) * 156})
	}
	return u
}

func (c *conversation) service() (s Service) {
	groups := [...]uint32{ocstest.OnNet, ocstest.OffNet, ocstest.Volume, ocstest.Message, ocstest.FreeCall, ocstest.Unpriced, video, freeData, evening, nightly, abroad}
	shape := c.next()
	if shape&1 == 0 {
		s.RatingGroup = Some(groups[int(c.next())%len(groups)])
	}
	if shape&2 != 0 {
		s.Identifiers = []uint32{uint32(c.next() & 3)}
	}
	if shape&4 == 0 {
		s.Requested = Some(c.units())
	}
	for n := shape >> 3 & 3; n > 1; n-- {
		used := UsedUnits{ServiceUnits: c.units()}
		if b := c.next(); b < 32 {
			used.TariffChange, used.Reason = Some(uint32(b%3)), Some(uint32(b%10))
		}
		s.Used = append(s.Used, used)
	}
	if shape&32 != 0 {
		s.Reasons = []uint32{uint32(c.next()) % 10}
	}
	if shape&64 != 0 {
		s.RefundInformation = []byte{c.next()}
	}
	return s
}

// request is a proper request, of one of four sessions.
func (c *conversation) request() CCR {
	head, number := c.next(), c.next()
	sessions := [...]string{"fuzz;1;1", "fuzz;1;2", "fuzz;1;3", "fuzz;1;4"}
	r := call("", ocs.StepType(head&3)+1, uint32(number), Service{})
	r.SessionID, r.EventTimestamp, r.Services = sessions[head>>2&3], c.now(), nil
	if head&16 != 0 {
		r.ServiceContextID = ocstest.Data
	}
	if head&32 != 0 {
		r.OriginHost, r.OriginStateID = "gw2.vpn.example", uint32(c.next())
	}
	if r.Type == ocs.Event {
		r.Action = Some(uint32(c.next()) & 3)
	}
	if head&64 != 0 {
		r.SubSession = Some(uint64(c.next() & 1))
	}
	if head&128 != 0 {
		r.Command = c.service()
		return r
	}
	r.MultipleServices = Some(uint32(1))
	for n := c.next()&3 + 1; n > 0; n-- {
		r.Services = append(r.Services, c.service())
	}
	return r
}

// say sends a request, up to three octets of it changed.
func (c *conversation) say() {
	r := c.request()
	frame := r.Append(nil, diameter.Header{HopByHop: uint32(c.want), EndToEnd: uint32(c.want)})
	for n := c.next() & 3; n > 0; n-- {
		at := 20 + (int(c.next())<<8|int(c.next()))%(len(frame)-20)
		frame[at] = c.next()
	}
	m, fault := diameter.ParseMessage(frame)
	if fault != nil {
		return // framing; a connection's business
	}
	c.want++
	if fault := dictionary().Validate(m, diameter.Lenient); fault != nil {
		c.got <- diameter.ErrorAnswer(nil, m, fault, testLocal)
		return
	}
	c.server.Serve(context.Background(), c.from, m, func(frame []byte) { c.got <- bytes.Clone(frame) })
}

// happen is what is no request.
func (c *conversation) happen(kind byte) {
	switch kind & 7 {
	case 0, 1:
		c.pass(time.Duration(c.next()) * time.Second)
	case 2:
		c.pass(time.Duration(c.next()) * time.Minute)
		c.engine.Sweep(context.Background())
	case 3:
		c.books.Block(c.t, c.key)
	case 4:
		c.books.Unblock(c.t, c.key)
	case 5:
		c.books.TopUp(c.key, 0, int64(c.next())*100_000)
	case 6:
		c.profile = &Profile{No4011: true, InterimUsage: true, LateTerminate: true, RefundMax: 500_000}
	case 7:
		c.sells(func(s *ocs.ServiceContext) { s.Pool, s.ZeroGrant, s.ItemRefusals = true, true, true })
	}
}

// FuzzConversation: whatever is said, nothing panics, every request is answered
// exactly once by something that parses, and the books hold.
func FuzzConversation(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte("call: \x01\x00\x00\x00\x00\x00\x05\x01\x01\x01\x00\x10\x00\x06\x01\x02\x02\x00\x10"))
	f.Add([]byte("\x10\x00\x00\x02\x00\x02\x09\x00\x50\x11\x01\x01\x02\x18\x00\x02\x10\x03\x50\x50\x83\x05"))
	f.Fuzz(func(t *testing.T, octets []byte) {
		c := &conversation{desk: openDesk(t, ten), octets: octets, got: make(chan []byte, stepsMax)}
		for range stepsMax {
			if len(c.octets) == 0 {
				break
			}
			if kind := c.next(); kind&15 != 15 {
				c.say()
			} else {
				c.happen(kind >> 4)
			}
		}
		for n := range c.want {
			select {
			case frame := <-c.got:
				if m, fault := diameter.ParseMessage(frame); fault != nil || m.Request() || m.ResultCode() == diameter.UnableToComply && c.log.has("panic") {
					t.Fatalf("answer %x: %v\n%s", frame, fault, &c.log)
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("%d of %d requests are answered", n, c.want)
			}
		}
		if c.log.has("panic") {
			t.Fatalf("%s", &c.log)
		}
		ocstest.MustBalance(t, c.books)
		if len(c.got) > 0 {
			t.Fatalf("%d answers too many", len(c.got))
		}
	})
}
