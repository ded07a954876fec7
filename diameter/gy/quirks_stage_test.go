package gy

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// This file is a stage for clients of other makers: their requests as octets, read
// leniently, through the server and the charging engine to books in memory, in a
// bubble of fake time. The bubble's day begins at midnight UTC.

const quirkMegabyte = 1_000_000

// Rating groups of the stage beside those of the fixtures F1 (100, 101) and F2
// (10, 20).
const (
	quirkFreeData = 11
	quirkNoPrice  = 30
	quirkEvening  = 110 // 0.01 a second, 0.02 from ten past midnight
)

// The account's identities, and the client's host.
const (
	quirkNumber    = "8613800000001"
	quirkIMSI      = "460001234567890"
	quirkSIP       = "sip:alice@ims.example"
	quirkGatewayID = "gw1.other.example"
)

// quirkSetting is what differs from the fixtures: 10.00 in the account, an
// unconfigured client.
type quirkSetting struct {
	money   string
	profile *Profile
	voice   ocs.ServiceOptions
	data    ocs.ServiceOptions
	account func(*ocs.Account)
}

// quirks is the charging system in front of which the clients stand.
type quirks struct {
	*testing.T
	books  *ocstest.Memory
	key    ocs.AccountKey
	gate   *quirkGate
	server *Server
	tariff *ocs.Tariff
	look   func(string) (Profile, bool)
	log    *logLines
	opened int
	hop    uint32
}

func onQuirks(t *testing.T, set quirkSetting, test func(*quirks)) {
	t.Helper()
	dictionary() // compiled outside the bubble
	tariff := quirkTariff(t, set)
	synctest.Test(t, func(t *testing.T) {
		q := &quirks{T: t, books: ocstest.NewMemory(), tariff: tariff, log: new(logLines)}
		if set.profile != nil {
			q.look = func(string) (Profile, bool) { return *set.profile, true }
		}
		q.addAccount(set)
		q.gate = &quirkGate{Store: q.books}
		engine := ocstest.StartWith(t, q.gate, func() *ocs.Tariff { return tariff }, ocs.EngineConfig{})
		q.server = NewServer(ServerConfig{Local: testLocal, Tariff: func() *ocs.Tariff { return tariff },
			SharedDatabase: true, Profile: q.look, Logger: q.log.logger()}, engine)
		test(q)
	})
}

func (q *quirks) addAccount(set quirkSetting) {
	if set.money == "" {
		set.money = "10.00"
	}
	account := ocstest.Prepaid(q.money(set.money))
	if set.account != nil {
		set.account(&account)
	}
	sip, ok := ocs.NormalizeIdentity(ocs.SIPURI, quirkSIP)
	if !ok {
		q.Fatal("not a SIP URI")
	}
	q.key = q.books.AddAccount(q, account, ocs.Identity{Kind: ocs.E164, Value: quirkNumber},
		ocs.Identity{Kind: ocs.IMSI, Value: quirkIMSI}, sip).Key
}

func quirkTariff(t testing.TB, set quirkSetting) *ocs.Tariff {
	t.Helper()
	entry := func(id string, group uint32, unit ocs.UnitKind, price ocs.Money, per int64) ocs.TariffEntry {
		return ocs.TariffEntry{ID: id, Version: 1, Service: ocs.AnyService, RatingGroup: group, Unit: unit,
			Currency: ocstest.Currency, Price: price, Per: per}
	}
	evening := entry("evening", quirkEvening, ocs.Seconds, 10_000, 1)
	evening.Zone, evening.Bands = "UTC", []ocs.Band{{From: 10 * time.Minute, Price: 20_000}}
	tariff, err := ocs.NewTariff([]ocs.TariffEntry{
		entry("on-net", 100, ocs.Seconds, 10_000, 1), entry("off-net", 101, ocs.Seconds, 10_000, 1), evening,
		entry("data", 10, ocs.Octets, 10_000, quirkMegabyte), entry("video", 20, ocs.Octets, 20_000, quirkMegabyte),
		entry("free data", quirkFreeData, ocs.Octets, 0, quirkMegabyte),
	}, []ocs.ServiceContext{
		{Name: ContextSIP, DefaultRatingGroup: 100, Unit: ocs.Seconds, ServiceOptions: set.voice},
		{Name: ContextData, DefaultRatingGroup: 10, Unit: ocs.Octets, ItemRefusals: true, Validity: 1800 * time.Second, ServiceOptions: set.data},
	})
	if err != nil {
		t.Fatal(err)
	}
	return tariff
}

func (q *quirks) money(s string) ocs.Money {
	q.Helper()
	m, err := ocs.ParseMoney(s)
	if err != nil {
		q.Fatal(err)
	}
	return m
}

// ledger compares the ledger line and checks the books.
func (q *quirks) ledger(step, available, frozen, spent string) {
	q.Helper()
	ocstest.MustBalance(q, q.books)
	a, f := ocstest.Totals(q.books.Account(q.key))
	var s ocs.Money
	for _, row := range q.books.Books(q).Journal {
		s += ocs.Money(row.Debited)
	}
	if a != q.money(available) || f != q.money(frozen) || s != q.money(spent) {
		q.Errorf("after %s: %v available, %v frozen, %v spent; want %s, %s, %s", step, a, f, s, available, frozen, spent)
	}
}

// rows is the length of the journal: a repeat adds none.
func (q *quirks) rows() int { return len(q.books.Books(q).Journal) }

// quirkGate is the store behind a gate that can be shut: what is under way waits.
type quirkGate struct {
	ocs.Store
	mu   sync.Mutex
	shut chan struct{} // nil: open
}

func (g *quirkGate) close() (open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	shut := make(chan struct{})
	g.shut = shut
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.shut = nil
		close(shut)
	}
}

func (g *quirkGate) Transact(ctx context.Context, lane int, want []ocs.Want, decide func(*ocs.WorkingSet)) error {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut != nil {
		<-shut
	}
	return g.Store.Transact(ctx, lane, want, decide)
}

// quirkForm writes all of a maker's CCR after its Session-Id, in the maker's order.
type quirkForm func(s *quirkSession, kind ocs.StepType, number uint32, services []byte) []byte

// quirkSession is one session of a maker's client.
type quirkSession struct {
	*quirks
	id      string
	form    quirkForm
	context string
	payer   []byte    // Subscription-Id AVPs, once each
	at      time.Time // Event-Timestamp; zero: now
	stateID uint32    // Origin-State-Id; 0: none
	cause   uint32    // Termination-Cause of makers that send one; 0: LOGOUT
	newer   []byte    // AVPs of a newer release, in the service content
	next    uint32
}

func (q *quirks) session(form quirkForm, context string) *quirkSession {
	q.opened++
	return &quirkSession{quirks: q, form: form, context: context,
		id:    quirkGatewayID + ";1;" + string(rune('a'+q.opened)),
		payer: quirkSubscription(ocs.E164, quirkNumber)}
}

func quirkSubscription(kind ocs.IdentityKind, data string) []byte {
	return group(diameter.SubscriptionID, u32(diameter.SubscriptionIDType, uint32(kind)), str(diameter.SubscriptionIDData, data))
}

// request is the session's next CCR.
func (s *quirkSession) request(kind ocs.StepType, services ...[]byte) diameter.Message {
	s.Helper()
	number := s.next
	s.next++
	return s.numbered(kind, number, services...)
}

func (s *quirkSession) numbered(kind ocs.StepType, number uint32, services ...[]byte) diameter.Message {
	s.Helper()
	s.hop++
	b := diameter.Start(nil, diameter.Header{Flags: diameter.FlagRequest | diameter.FlagProxiable,
		Command: diameter.CmdCreditControl, Application: diameter.AppCreditControl, HopByHop: s.hop, EndToEnd: 0x5a000000 + s.hop})
	b = append(b, str(diameter.SessionID, s.id)...)
	b = append(b, s.form(s, kind, number, slices.Concat(services...))...)
	return parse(s, diameter.Finish(b, 0))
}

func (s *quirkSession) eventTimestamp() []byte {
	at := s.at
	if at.IsZero() {
		at = time.Now()
	}
	return diameter.AppendTime(nil, diameter.EventTimestamp, at)
}

func (s *quirkSession) origin() []byte {
	b := slices.Concat(str(diameter.OriginHost, quirkGatewayID), str(diameter.OriginRealm, "other.example"),
		str(diameter.DestinationRealm, testLocal.Realm))
	if s.stateID != 0 {
		b = append(b, u32(diameter.OriginStateID, s.stateID)...)
	}
	return b
}

// quirkAnswer is an answer as it stands on the wire, and read.
type quirkAnswer struct {
	*CCA
	m diameter.Message
}

// send validates a request as a lenient connection does and serves it. The answer
// comes on the channel.
func (q *quirks) send(m diameter.Message, answers chan<- diameter.Message) {
	q.Helper()
	remote := peer.Remote{Host: quirkGatewayID, Realm: "other.example", Tolerate: diameter.Lenient}
	if fault := dictionary().Validate(m, remote.Tolerate); fault != nil {
		q.Fatalf("not let in: %v", fault)
	}
	q.server.Serve(q.Context(), remote, m, func(frame []byte) { answers <- parse(q, bytes.Clone(frame)) })
}

// served is the one answer to a request; it keeps to the standard whatever the
// request did.
func (q *quirks) served(m diameter.Message) quirkAnswer {
	q.Helper()
	answers := make(chan diameter.Message, 2)
	q.send(m, answers)
	got := <-answers
	if synctest.Wait(); len(answers) != 0 {
		q.Error("answered twice")
	}
	return q.read(m, got)
}

// read reads the answer to a request.
func (q *quirks) read(m, got diameter.Message) quirkAnswer {
	q.Helper()
	valid(q, got)
	a, err := ParseCCA(got)
	if err != nil {
		q.Fatalf("answer: %v", err)
	}
	if got.HopByHop != m.HopByHop || got.EndToEnd != m.EndToEnd {
		q.Errorf("answer to %x/%x, want %x/%x", got.HopByHop, got.EndToEnd, m.HopByHop, m.EndToEnd)
	}
	return quirkAnswer{a, got}
}

// charge sends the next CCR and compares the code at the command and those of the
// services.
func (s *quirkSession) charge(kind ocs.StepType, code diameter.ResultCode, services []byte, inside ...diameter.ResultCode) quirkAnswer {
	s.Helper()
	a := s.served(s.request(kind, services))
	a.has(s, code, inside...)
	return a
}

func (a quirkAnswer) has(t testing.TB, code diameter.ResultCode, inside ...diameter.ResultCode) {
	t.Helper()
	var codes []diameter.ResultCode
	for _, s := range a.Services {
		codes = append(codes, s.ResultCode)
	}
	if a.ResultCode != code || !slices.Equal(codes, inside) {
		t.Fatalf("Result-Code %d with %v inside, want %d with %v (%s)", a.ResultCode, codes, code, inside, a.ErrorMessage)
	}
}

// charging is the part of an answer that is the same in a repeat: all but the
// identity of who answers.
func (a quirkAnswer) charging() string { return canonical(a.m.Body(), 0) }

// quirkMembers are the codes of the AVPs in a group, sorted.
func quirkMembers(group diameter.AVP) (codes []uint32) {
	for a := range group.Group() {
		codes = append(codes, a.Code)
	}
	slices.Sort(codes)
	return codes
}

// msccs are the Multiple-Services-Credit-Control AVPs of the answer.
func (a quirkAnswer) msccs() (list []diameter.AVP) {
	for avp := range a.m.AVPs() {
		if avp.Is(diameter.MultipleServicesCreditControl) {
			list = append(list, avp)
		}
	}
	return list
}

// The parts of a request's MSCC.

func rsu(members ...[]byte) []byte { return group(diameter.RequestedServiceUnit, members...) }

func usu(members ...[]byte) []byte { return group(diameter.UsedServiceUnit, members...) }

func rg(n uint32) []byte { return u32(diameter.RatingGroup, n) }

func si(n uint32) []byte { return u32(diameter.ServiceIdentifier, n) }

func ccTime(n uint32) []byte { return u32(diameter.CCTime, n) }

func ccTotal(n uint64) []byte { return u64(diameter.CCTotalOctets, n) }

func ccInput(n uint64) []byte { return u64(diameter.CCInputOctets, n) }

func ccOutput(n uint64) []byte { return u64(diameter.CCOutputOctets, n) }

func reportingReason(n uint32) []byte { return u32(diameter.ReportingReason, n) }
