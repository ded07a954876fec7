package gy

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// desk is a server in front of the real engine, with books in memory: requests
// go in as bytes and the ledger is looked at after each. Its clock is the test's.
type desk struct {
	t       *testing.T
	server  *Server
	engine  *ocstest.Driver
	books   *ocstest.Memory
	key     ocs.AccountKey
	from    peer.Remote
	profile *Profile // of every client; nil: none is configured
	log     logLines
	tariff  atomic.Pointer[ocs.Tariff]
	clock   atomic.Int64
	sent    uint32
}

var deskSessions atomic.Uint32

// Rating groups of the desk beside those of ocstest.
const (
	video    = 20  // 0.02 per 1,000,000 octets
	freeData = 11  // octets that cost nothing
	evening  = 130 // seconds: 0.01, from 20:00 to 24:00 in Shanghai 0.02
	nightly  = 30  // octets: 0.01 per 1,000,000, from 20:00 to 24:00 in Shanghai 0.02
	abroad   = 131 // seconds: 0.01, towards 44… 0.03
)

// openDesk gives an account with that money, known by all five identities, and
// another one, known by two.
func openDesk(t *testing.T, money ocs.Money) *desk {
	d := &desk{t: t, from: peer.Remote{Tolerate: diameter.Lenient}, books: ocstest.NewMemory()}
	d.at(time.Now())
	d.books.Now = d.now
	d.key = d.books.AddAccount(t, ocstest.Prepaid(money),
		ocs.Identity{Kind: ocs.E164, Value: "8613800000001"}, ocs.Identity{Kind: ocs.IMSI, Value: "460001234567890"},
		ocs.Identity{Kind: ocs.SIPURI, Value: "sip:u1@ims.example"}, ocs.Identity{Kind: ocs.NAI, Value: "u1@ims.example"},
		ocs.Identity{Kind: ocs.Private, Value: "group-7001"}).Key
	d.books.AddAccount(t, ocstest.Prepaid(money), ocs.Identity{Kind: ocs.E164, Value: "8613800000002"},
		ocs.Identity{Kind: ocs.IMSI, Value: "460009999999999"})
	d.sells(func(*ocs.ServiceContext) {})
	policy := ocs.DefaultPolicy()
	policy.ClockTolerance = time.Hour // most tests talk faster than the clock
	d.engine = ocstest.StartWith(t, d.books, d.tariff.Load, ocs.EngineConfig{Policy: policy, Sweep: -1})
	d.server = NewServer(ServerConfig{Local: testLocal, Tariff: d.tariff.Load, SharedDatabase: true,
		Profile: d.profileOf, Logger: d.log.logger()}, d.engine)
	return d
}

func (d *desk) profileOf(string) (Profile, bool) {
	if d.profile == nil {
		return Profile{}, false
	}
	return *d.profile, true
}

func (d *desk) now() time.Time { return time.Unix(0, d.clock.Load()).UTC() }

func (d *desk) at(now time.Time) { d.clock.Store(now.UnixNano()) }

func (d *desk) pass(t time.Duration) { d.clock.Add(int64(t)) }

// sells changes all service contexts, as an operator does.
func (d *desk) sells(change func(*ocs.ServiceContext)) {
	base := ocstest.Tariff(d.t)
	entry := func(id string, group uint32, unit ocs.UnitKind, price ocs.Money) ocs.TariffEntry {
		return ocs.TariffEntry{ID: id, Service: ocs.AnyService, RatingGroup: group, Unit: unit, Currency: ocstest.Currency, Price: price, Per: 1}
	}
	late := []ocs.Band{{From: 20 * time.Hour, Price: 20_000}}
	seconds, octets, far := entry("evening", evening, ocs.Seconds, 10_000), entry("nightly", nightly, ocs.Octets, 10_000), entry("far", abroad, ocs.Seconds, 30_000)
	seconds.Bands, seconds.Zone = late, "Asia/Shanghai"
	octets.Bands, octets.Zone, octets.Per = late, "Asia/Shanghai", 1_000_000
	far.Prefix = "44"
	dear := entry("video", video, ocs.Octets, 20_000)
	dear.Per = 1_000_000
	contexts := base.Contexts()
	for i := range contexts {
		change(&contexts[i])
	}
	tariff, err := ocs.NewTariff(append(base.Entries(), seconds, octets, dear, far,
		entry("near", abroad, ocs.Seconds, 10_000), entry("free data", freeData, ocs.Octets, 0)), contexts)
	if err != nil {
		d.t.Fatal(err)
	}
	d.tariff.Store(tariff)
}

// session is a request maker for a new session of the account: a call.
func (d *desk) session() func(kind ocs.StepType, number uint32, services ...Service) CCR {
	id := fmt.Sprintf("desk%d", deskSessions.Add(1))
	return func(kind ocs.StepType, number uint32, services ...Service) CCR {
		r := call(id, kind, number, Service{})
		r.EventTimestamp = d.now()
		r.MultipleServices, r.Services = Some(uint32(1)), services
		return r
	}
}

// data is a request maker for a new session of a gateway.
func (d *desk) data() func(kind ocs.StepType, number uint32, services ...Service) CCR {
	id := fmt.Sprintf("pgw1.vpn.example;desk;%d", deskSessions.Add(1))
	return func(kind ocs.StepType, number uint32, services ...Service) CCR {
		r := gateway(kind, number, services...)
		r.SessionID, r.MultipleServices, r.EventTimestamp = id, Some(uint32(1)), d.now()
		r.Payer = r.Payer[:1]
		return r
	}
}

// frame gives a request its bytes, with identifiers that no other one has.
func (d *desk) frame(r CCR) diameter.Message {
	d.sent++
	return parse(d.t, r.Append(nil, diameter.Header{HopByHop: d.sent, EndToEnd: 0x5a000000 + d.sent}))
}

// serve passes bytes through validation and the server, as a connection does.
func (d *desk) serve(m diameter.Message) diameter.Message {
	d.t.Helper()
	if fault := dictionary().Validate(m, d.from.Tolerate); fault != nil {
		return parse(d.t, diameter.ErrorAnswer(nil, m, fault, testLocal))
	}
	answers := make(chan []byte, 1)
	d.server.Serve(context.Background(), d.from, m, func(frame []byte) { answers <- bytes.Clone(frame) })
	return parse(d.t, <-answers)
}

// send sends a request without a fault and returns the answer.
func (d *desk) send(r CCR) *CCA {
	d.t.Helper()
	m := d.frame(r)
	valid(d.t, m)
	return d.read(d.serve(m))
}

// read reads an answer that must be without a fault.
func (d *desk) read(got diameter.Message) *CCA {
	d.t.Helper()
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
	return d.has(d.send(r), code, inside...)
}

func (d *desk) has(a *CCA, code diameter.ResultCode, inside ...diameter.ResultCode) *CCA {
	d.t.Helper()
	if a.ResultCode != code || len(a.Services) != len(inside) {
		d.t.Fatalf("CCA-%s #%d: %d with %d MSCC (%s), want %d with %d", typeName(a.Type), a.Number, a.ResultCode, len(a.Services), a.ErrorMessage, code, len(inside))
	}
	for i, want := range inside {
		if got := a.Services[i].ResultCode; got != want {
			d.t.Errorf("CCA-%s #%d: MSCC %d has %d, want %d", typeName(a.Type), a.Number, i, got, want)
		}
	}
	return a
}

// answers sends a request and checks the answer's AVPs besides the envelope.
func (d *desk) answers(r CCR, want ...[]byte) {
	d.t.Helper()
	m := d.frame(r)
	compare(d.t, m, d.serve(m).Raw, proxiable, append(want, credit(uint32(r.Type), r.Number))...)
}

// failed checks what Failed-AVP shows.
func (d *desk) failed(a *CCA, want ...[]byte) {
	d.t.Helper()
	for i := range want { // the last AVP may stand without its padding
		want[i] = diameter.AppendRaw(nil, want[i])
	}
	got := slices.Clone(a.Failed)
	for i := range got {
		got[i] = diameter.AppendRaw(nil, got[i])
	}
	if !slices.EqualFunc(got, want, func(a, b []byte) bool { return string(a) == string(b) }) {
		d.t.Errorf("Failed-AVP %x, want %x", got, want)
	}
}

// ledger checks available and frozen, and that the books are right.
func (d *desk) ledger(available, frozen ocs.Money) {
	d.t.Helper()
	ocstest.MustBalance(d.t, d.books)
	if a, f := ocstest.Totals(d.books.Account(d.key)); a != available || f != frozen {
		d.t.Errorf("available %s frozen %s, want %s and %s", a, f, available, frozen)
	}
}

// unmoved runs test and checks that the journal has not grown meanwhile.
func (d *desk) unmoved(test func()) {
	d.t.Helper()
	before := len(d.books.Books(d.t).Journal)
	test()
	if rows := d.books.JournalFrom(before); len(rows) > 0 {
		d.t.Errorf("the journal has new rows: %+v", rows)
	}
}

// open tells whether the request's session is open.
func (d *desk) open(r CCR) bool {
	s := d.books.Session(r.SessionID)
	return s != nil && s.Open()
}

// deadline is how long from now the request's session is supervised.
func (d *desk) deadline(r CCR) time.Duration {
	d.t.Helper()
	s := d.books.Session(r.SessionID)
	if s == nil {
		d.t.Fatalf("no session %s", r.SessionID)
	}
	return s.Deadline.Sub(d.now())
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

// carried is a report of octets with a wish for more.
func carried(group uint32, octets uint64) Service {
	return Service{RatingGroup: Some(group), Requested: Some(ServiceUnits{}), Used: []UsedUnits{{ServiceUnits: octetUnits(octets)}}}
}

// row is a test of the conformance rows that its name begins with.
type row struct {
	name string
	test func(t *testing.T, d *desk)
}

var rowID = regexp.MustCompile(`^[A-D]-\d{3}$`)

// runRows runs each row on a desk of its own, with 10.00 to spend.
func runRows(t *testing.T, rows []row) {
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			for _, word := range strings.Fields(r.name) {
				if !rowID.MatchString(word) {
					break
				}
				proves(t, word)
			}
			r.test(t, openDesk(t, ten))
		})
	}
}
