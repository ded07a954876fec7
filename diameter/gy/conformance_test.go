package gy

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// desk is a server in front of the real engine, with books in memory: requests
// go in as bytes and the ledger is looked at after each.
type desk struct {
	t      *testing.T
	server *Server
	books  *ocstest.Memory
	key    ocs.AccountKey
	from   peer.Remote
}

var deskSessions atomic.Uint32

// openDesk gives an account with that money, known by all five identities.
func openDesk(t *testing.T, money ocs.Money) *desk {
	d := &desk{t: t, books: ocstest.NewMemory()}
	d.key = d.books.AddAccount(t, ocstest.Prepaid(money),
		ocs.Identity{Kind: ocs.E164, Value: "8613800000001"}, ocs.Identity{Kind: ocs.IMSI, Value: "460001234567890"},
		ocs.Identity{Kind: ocs.SIPURI, Value: "sip:u1@ims.example"}, ocs.Identity{Kind: ocs.NAI, Value: "u1@ims.example"},
		ocs.Identity{Kind: ocs.Private, Value: "group-7001"}).Key
	d.books.AddAccount(t, ocstest.Prepaid(money), ocs.Identity{Kind: ocs.E164, Value: "8613800000002"})
	policy := ocs.DefaultPolicy()
	policy.ClockTolerance = time.Hour // the test talks faster than the clock
	tariff := ocstest.Tariff(t)
	engine := ocstest.Start(t, d.books, ocs.EngineConfig{Policy: policy})
	d.server = NewServer(ServerConfig{Local: testLocal, Tariff: func() *ocs.Tariff { return tariff }, SharedDatabase: true}, engine)
	return d
}

// session is a request maker for a new session of the account.
func (d *desk) session() func(kind ocs.StepType, number uint32, services ...Service) CCR {
	id := fmt.Sprintf("desk%d", deskSessions.Add(1))
	return func(kind ocs.StepType, number uint32, services ...Service) CCR {
		r := call(id, kind, number, Service{})
		r.EventTimestamp = time.Now()
		r.MultipleServices, r.Services = Some(uint32(1)), services
		return r
	}
}

// send passes the request through bytes and returns the answer.
func (d *desk) send(r CCR) *CCA {
	d.t.Helper()
	m := message(d.t, r)
	valid(d.t, m)
	answers := make(chan []byte, 1)
	d.server.Serve(context.Background(), d.from, m, func(frame []byte) { answers <- frame })
	got := parse(d.t, <-answers)
	valid(d.t, got)
	a, fault := ParseCCA(got)
	if fault != nil {
		d.t.Fatal(fault)
	}
	return a
}

// wants sends a request and checks the command's code and those of the MSCCs.
func (d *desk) wants(r CCR, code diameter.ResultCode, inside ...diameter.ResultCode) *CCA {
	d.t.Helper()
	a := d.send(r)
	if a.ResultCode != code || len(a.Services) != len(inside) {
		d.t.Fatalf("CCR-%s #%d: %d with %d MSCC (%s), want %d with %d", typeName(r.Type), r.Number, a.ResultCode, len(a.Services), a.ErrorMessage, code, len(inside))
	}
	for i, want := range inside {
		if got := a.Services[i].ResultCode; got != want {
			d.t.Errorf("CCR-%s #%d: MSCC %d has %d, want %d", typeName(r.Type), r.Number, i, got, want)
		}
	}
	return a
}

// ledger checks available and frozen, and that the books are right.
func (d *desk) ledger(available, frozen ocs.Money) {
	d.t.Helper()
	ocstest.MustBalance(d.t, d.books)
	if a, f := ocstest.Totals(d.books.Account(d.key)); a != available || f != frozen {
		d.t.Errorf("available %s frozen %s, want %s and %s", a, f, available, frozen)
	}
}

const ten = 10 * ocs.MoneyScale

func seconds60(a *CCA) bool {
	return len(a.Services) == 1 && a.Services[0].Granted.Present && a.Services[0].Granted.Value.ServiceUnits == timeUnits(60)
}

func used(n uint32) Service {
	return Service{RatingGroup: Some(uint32(100)), Used: []UsedUnits{{ServiceUnits: timeUnits(n)}}}
}

func wish(u ServiceUnits) Service {
	return Service{RatingGroup: Some(uint32(100)), Requested: Some(u)}
}

// row is one or more rows of conformance section B that show on the wire,
// against the real rules; those about the rules alone stand with the charging
// system.
type row struct {
	name string
	test func(t *testing.T, d *desk)
}

func TestServerConformance(t *testing.T) {
	for _, r := range slices.Concat(sessionsRows, payersRows, unitsRows) {
		t.Run(r.name, func(t *testing.T) { r.test(t, openDesk(t, ten)) })
	}
}

// Requests, numbers, repeats and the session's states (B.1 to B.3).
var sessionsRows = []row{
	{"B-001 every answer echoes type and number", func(t *testing.T, d *desk) {
		s := d.session()
		event := s(ocs.Event, 9, Service{RatingGroup: Some(uint32(ocstest.Message))})
		event.SessionID, event.Action = "e;1;1", Some(uint32(ocs.DirectDebit))
		for _, r := range []CCR{s(ocs.Initial, 7, ask()), s(ocs.Update, 8, ask(threshold(1))), s(ocs.Terminate, 20, report(1)), event} {
			a := d.send(r)
			if a.SessionID != r.SessionID || a.Type != r.Type || a.Number != r.Number || a.ResultCode != 2001 || a.OriginHost != testLocal.Host {
				t.Errorf("answer %+v to %+v", a, r)
			}
		}
	}},
	{"B-002 units go back where they were asked", func(t *testing.T, d *desk) {
		a := d.wants(d.session()(ocs.Initial, 0, ask()), 2001, 2001)
		if a.Command.Granted.Present || a.Command.Validity != 0 || a.Command.FinalUnit.Present {
			t.Errorf("units at the command: %+v", a.Command)
		}
		r := d.session()(ocs.Initial, 0)
		r.Command.Requested = Some(ServiceUnits{})
		if a = d.wants(r, 2001); a.Command.Granted.Value.ServiceUnits != timeUnits(60) || a.Command.Validity != 300 {
			t.Errorf("units of the command: %+v", a.Command)
		}
	}},
	{"B-003 unknown context", func(t *testing.T, d *desk) {
		r := d.session()(ocs.Initial, 0, ask())
		r.ServiceContextID = "nope@x"
		d.wants(r, 5031)
		d.ledger(ten, 0)
	}},
	{"B-004 labels in front of a context", func(t *testing.T, d *desk) {
		for _, id := range []string{"32276@3gpp.org", "8.32276@3gpp.org", "ext.01.001.8.32276@3gpp.org"} {
			r := d.session()(ocs.Initial, 0, ask())
			r.ServiceContextID = id
			d.wants(r, 2001, 2001)
		}
	}},
	{"B-005 CC-Request-Type 0 and 5", func(t *testing.T, d *desk) {
		for _, kind := range []ocs.StepType{0, 5} {
			m := message(t, d.session()(kind, 0, ask()))
			frame := serveOne(t, d.server, peer.Remote{}, m)
			if a, _ := ParseCCA(parse(t, frame)); a.ResultCode != 5004 || len(a.Failed) != 1 {
				t.Errorf("type %d: %+v", kind, a)
			}
		}
	}},
	{"B-006 numbers need not begin at 0", func(t *testing.T, d *desk) {
		s := d.session()
		d.wants(s(ocs.Initial, 7, ask()), 2001, 2001)
		d.wants(s(ocs.Update, 8, ask(threshold(10))), 2001, 2001)
		d.wants(s(ocs.Terminate, 20, report(10)), 2001, 2001)
		d.ledger(9_800_000, 0)
	}},
	{"B-007 out of order", func(t *testing.T, d *desk) {
		s := d.session()
		d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
		d.wants(s(ocs.Update, 2, ask(threshold(10))), 2001, 2001)
		d.wants(s(ocs.Update, 1, ask(threshold(10))), 2001, 2001)
		d.wants(s(ocs.Terminate, 3, report(0)), 2001, 2001)
		d.ledger(9_800_000, 0)
	}},
	{"B-008 an event needs Requested-Action", func(t *testing.T, d *desk) {
		m := message(t, d.session()(ocs.Event, 0, ask()))
		if a, _ := ParseCCA(parse(t, serveOne(t, d.server, peer.Remote{}, m))); a.ResultCode != 5005 {
			t.Errorf("answer %+v", a)
		}
		d.ledger(ten, 0)
	}},
	{"B-009 Requested-Action in a session is ignored", func(t *testing.T, d *desk) {
		r := d.session()(ocs.Initial, 0, ask())
		r.Action = Some(uint32(ocs.DirectDebit))
		d.wants(r, 2001, 2001)
		d.ledger(9_400_000, 600_000)
	}},
	{"B-010 Event-Timestamp dates the use, not the arrival", func(t *testing.T, d *desk) {
		r := d.session()(ocs.Initial, 0, ask())
		r.EventTimestamp = time.Now().Add(-3 * time.Second)
		s, b := testServer(slice(0))
		serveOne(t, s, peer.Remote{}, message(t, r))
		if got := b.steps[0].At; got.Unix() != r.EventTimestamp.Unix() {
			t.Errorf("dated %v, want %v", got, r.EventTimestamp)
		}
		r.EventTimestamp = time.Time{}
		s, b = testServer(slice(0))
		serveOne(t, s, peer.Remote{}, message(t, r))
		if got := b.steps[0].At; !got.IsZero() { // the arrival, by the database's clock (B-225)
			t.Errorf("without one dated %v", got)
		}
	}},
	{"B-011 Multiple-Services-Indicator later on", func(t *testing.T, d *desk) {
		d.from.Strict = true
		s := d.session()
		d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
		r := s(ocs.Update, 1, ask(threshold(10)))
		r.MultipleServices = Optional[uint32]{}
		d.wants(r, 2001, 2001)
	}},
	{"B-020 a repeat is answered alike and moves nothing", func(t *testing.T, d *desk) {
		s := d.session()
		for _, r := range []CCR{s(ocs.Initial, 0, ask()), s(ocs.Update, 1, ask(threshold(50))), s(ocs.Terminate, 2, report(42))} {
			first := d.send(r)
			a, f := ocstest.Totals(d.books.Account(d.key))
			if again := d.send(r); fmt.Sprint(again) != fmt.Sprint(first) {
				t.Errorf("CCR-%s: first %+v, then %+v", typeName(r.Type), first, again)
			}
			d.ledger(a, f)
		}
	}},
	{"B-021 the copy while the original is under way", func(t *testing.T, d *desk) {
		m := message(t, d.session()(ocs.Initial, 0, ask()))
		answers := make(chan []byte, 2)
		for range 2 {
			d.server.Serve(context.Background(), peer.Remote{}, m, func(frame []byte) { answers <- frame })
		}
		if first, second := <-answers, <-answers; string(first) != string(second) {
			t.Errorf("answers\n%x\nand\n%x", first, second)
		}
		d.ledger(9_400_000, 600_000)
	}},
	{"B-030 B-034 B-038 open, update, end", func(t *testing.T, d *desk) {
		s := d.session()
		if a := d.wants(s(ocs.Initial, 0, ask()), 2001, 2001); !seconds60(a) || a.SessionFailover != Some(uint32(1)) {
			t.Errorf("CCA-I %+v", a)
		}
		d.ledger(9_400_000, 600_000)
		d.wants(s(ocs.Update, 1, ask(threshold(50))), 2001, 2001)
		d.ledger(8_900_000, 600_000)
		if a := d.wants(s(ocs.Terminate, 2, report(42)), 2001, 2001); a.Cost != Some(AmountOf(920_000, 156)) {
			t.Errorf("CCA-T %+v", a)
		}
		d.ledger(9_080_000, 0)
	}},
	{"B-031 B-032 refused, and no session afterwards", func(t *testing.T, d *desk) {
		d.books.Change(d.key, func(a *ocs.Account) { a.Threshold = 2 * ten })
		s := d.session()
		d.wants(s(ocs.Initial, 0, ask()), 4012)
		d.wants(s(ocs.Update, 1, ask(threshold(60))), 5002)
		d.wants(s(ocs.Terminate, 2, report(60)), 5002)
		if len(d.books.Orphans()) != 2 {
			t.Errorf("orphans %+v", d.books.Orphans())
		}
		d.ledger(ten, 0)
	}},
	{"B-033 CCR-I on an open session", func(t *testing.T, d *desk) {
		s := d.session()
		d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
		d.wants(s(ocs.Initial, 5, ask()), 5012)
		d.ledger(9_400_000, 600_000)
	}},
	{"B-035 B-036 blocked, and the late CCR-T", func(t *testing.T, d *desk) {
		s := d.session()
		d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
		d.books.Block(t, d.key)
		d.wants(s(ocs.Update, 1, used(60)), 4010)
		d.ledger(9_400_000, 0)
		d.wants(s(ocs.Terminate, 2, report(3)), 2001, 2001)
		d.wants(s(ocs.Terminate, 3, report(3)), 5002)
		d.ledger(9_370_000, 0)
	}},
}

// Who pays (B.5).
var payersRows = []row{
	{"B-053 all five types of Subscription-Id", func(t *testing.T, d *desk) {
		for n, s := range []Subscription{{ocs.E164, "8613800000001"}, {ocs.IMSI, "460001234567890"},
			{ocs.SIPURI, "sip:u1@Ims.Example"}, {ocs.NAI, "u1@ims.example"}, {ocs.Private, "group-7001"}} {
			r := d.session()(ocs.Initial, 0, ask())
			r.Payer = []Subscription{s}
			d.wants(r, 2001, 2001)
			d.ledger(ten-ocs.Money(n+1)*600_000, ocs.Money(n+1)*600_000)
		}
	}},
	{"B-054 several in any order", func(t *testing.T, d *desk) {
		imsi, e164 := Subscription{ocs.IMSI, "460001234567890"}, Subscription{ocs.E164, "8613800000001"}
		for _, both := range [][]Subscription{{imsi, e164}, {e164, imsi}} {
			r := d.session()(ocs.Initial, 0, ask())
			r.Payer = both
			d.wants(r, 2001, 2001)
		}
		d.ledger(8_800_000, 1_200_000)
	}},
	{"B-055 two accounts", func(t *testing.T, d *desk) {
		r := d.session()(ocs.Initial, 0, ask())
		r.Payer = []Subscription{{ocs.E164, "8613800000002"}, {ocs.IMSI, "460001234567890"}}
		if a := d.wants(r, 5007); len(a.Failed) != 2 {
			t.Errorf("Failed-AVP %x", a.Failed)
		}
		d.ledger(ten, 0)
	}},
	{"B-056 B-058 E.164 with and without plus, and unknown", func(t *testing.T, d *desk) {
		for id, code := range map[string]diameter.ResultCode{"+8613800000001": 2001, "tel:+8613800000001": 2001, "13800000001": 5030, "8613800000009": 5030} {
			r := d.session()(ocs.Initial, 0, ask())
			r.Payer = []Subscription{{ocs.E164, id}}
			if a := d.send(r); a.ResultCode != code {
				t.Errorf("%s: %d, want %d", id, a.ResultCode, code)
			}
		}
	}},
	{"B-057 SIP URI of a telephone number", func(t *testing.T, d *desk) {
		r := d.session()(ocs.Initial, 0, ask())
		r.Payer = []Subscription{{ocs.SIPURI, "sip:+8613800000001@Ims.Example;user=phone"}}
		d.wants(r, 2001, 2001)
	}},
	{"B-059 B-060 nobody, and inside Service-Information", func(t *testing.T, d *desk) {
		r := d.session()(ocs.Initial, 0, ask())
		r.Payer, r.Call.Payer = nil, r.Payer
		d.wants(r, 2001, 2001)
		r = d.session()(ocs.Initial, 0, ask())
		r.Payer = nil
		d.wants(r, 5031)
	}},
	{"B-061 an update may omit the payer, not change it", func(t *testing.T, d *desk) {
		s := d.session()
		d.wants(s(ocs.Initial, 0, ask()), 2001, 2001)
		r := s(ocs.Update, 1, ask(threshold(10)))
		r.Payer = nil
		d.wants(r, 2001, 2001)
		r = s(ocs.Update, 2, ask(threshold(10)))
		r.Payer = []Subscription{{ocs.E164, "8613800000002"}}
		d.wants(r, 5004)
		d.ledger(9_300_000, 600_000)
	}},
}
