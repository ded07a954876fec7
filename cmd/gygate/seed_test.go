package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gygate/cmd/gygate/sample"
	"gygate/ocs"
	"gygate/ocs/pgstore"
	"gygate/vpnlogic"
)

// The tests of this file prove the steps 101 to 111 and the claims 1 to 8 of the
// document that the service goes back to, each on the live stack: real phones,
// real Diameter, real books. ARCHITECTURE.md has the table.

// seeds are the calls that the steps look at, played once.
var seeds struct {
	once  sync.Once
	err   error
	calls map[string]played // by short number of the caller
}

// seedCall is the call of a member to 6002: 6001 talks four and a half seconds,
// 6003 until its five cents are gone, 6004 has no prepaid, 6014 is lost.
func seedCall(t *testing.T, short string) played {
	t.Helper()
	s := liveStage(t)
	seeds.once.Do(func() { seeds.calls, seeds.err = playSeeds(s) })
	if seeds.err != nil {
		t.Fatal(seeds.err)
	}
	return seeds.calls[short]
}

func playSeeds(s *stage) (map[string]played, error) {
	var mu sync.Mutex
	var all sync.WaitGroup
	var errs []error
	calls := map[string]played{}
	for short, talk := range map[string]time.Duration{"6001": 4500 * time.Millisecond, "6003": 0, "6004": 300 * time.Millisecond, "6014": 0} {
		all.Go(func() {
			p, err := s.play(context.Background(), string(sample.Number(short)), "6002", talk)
			mu.Lock()
			defer mu.Unlock()
			calls[short], errs = p, append(errs, err)
		})
	}
	all.Wait()
	return calls, errors.Join(errs...)
}

// at is the position of the first event that is told so, -1 when there is none.
func (p played) at(is func(vpnlogic.CallEvent) bool) int { return slices.IndexFunc(p.Events, is) }

func text(begins string) func(vpnlogic.CallEvent) bool {
	return func(e vpnlogic.CallEvent) bool { return strings.HasPrefix(e.Text, begins) }
}

func isRequest(kind vpnlogic.ChargeType) func(vpnlogic.CallEvent) bool {
	return func(e vpnlogic.CallEvent) bool { return e.Request != nil && e.Request.Type == kind }
}

func isAnswer(e vpnlogic.CallEvent) bool { return e.Answer != nil }

func toCalled(e vpnlogic.CallEvent) bool { return e.From == "gygate" && e.To == "called" }

// row is the journal row of a CCR.
func (p played) row(t *testing.T, kind ocs.StepType, number uint32) ocs.JournalRow {
	t.Helper()
	for _, r := range p.Journal {
		if r.Type == kind && r.Number == number {
			return r
		}
	}
	t.Fatalf("the journal has no row of type %d, number %d", kind, number)
	return ocs.JournalRow{}
}

// The call request arrives at the service logic.
func TestSeedStep101(t *testing.T) {
	p := seedCall(t, "6001")
	if first := p.Events[0]; first.From != "caller" || first.To != "gygate" || first.Text != "INVITE 6002" {
		t.Errorf("the call begins with %+v", first)
	}
	if p.Record.Calling != string(sample.Number("6001")) || p.Record.Dialled != "6002" {
		t.Errorf("record %+v", p.Record)
	}
}

// VPN authentication comes first; then: has the line prepaid, too?
func TestSeedStep102(t *testing.T) {
	for short, charging := range map[string]vpnlogic.Charging{"6001": vpnlogic.ChargingPrepaid, "6004": vpnlogic.ChargingNone} {
		p := seedCall(t, short)
		if p.at(text("screened on-net")) != 1 {
			t.Errorf("%s: the call request is not screened first: %+v", short, p.Events)
		}
		if p.Record.Charging != charging || p.Record.Member != string(sample.Number(short)) {
			t.Errorf("%s: charging %s, member %s", short, p.Record.Charging, p.Record.Member)
		}
	}
}

// VPN logic invokes prepaid authentication, before anything is connected.
func TestSeedStep103(t *testing.T) {
	p := seedCall(t, "6001")
	initial := p.at(isRequest(vpnlogic.ChargeInitial))
	if initial < 0 || initial < p.at(text("screened")) || initial > p.at(toCalled) {
		t.Fatalf("CCR-I at %d of %+v", initial, p.Events)
	}
	if r := p.Events[initial].Request; r.Payer != sample.Number("6001") || r.Number != 0 {
		t.Errorf("CCR-I %+v", r)
	}
}

// Its result returns to VPN logic; a refusal fails the call with its reason.
func TestSeedStep104(t *testing.T) {
	p := seedCall(t, "6014")
	a := p.at(isAnswer)
	if a < 0 || p.Events[a].Answer.Reason != string(ocs.Lost) || p.Events[a].Answer.Code != 4010 {
		t.Fatalf("events %+v", p.Events)
	}
	if p.Record.Reason != string(ocs.Lost) || p.Phone.Status != 403 || p.at(toCalled) >= 0 {
		t.Errorf("the call did not fail with the reason: %+v, phone saw %d", p.Record, p.Phone.Status)
	}
}

// VPN logic asks for the fee to be reserved.
func TestSeedStep105(t *testing.T) {
	p := seedCall(t, "6001")
	if r := p.Events[p.at(isRequest(vpnlogic.ChargeInitial))].Request; !r.WantMore || r.RatingGroup != vpnlogic.RatingOnNet {
		t.Errorf("CCR-I asks for no fee: %+v", r)
	}
}

// The amount is frozen.
func TestSeedStep106(t *testing.T) {
	p := seedCall(t, "6001")
	r := p.row(t, ocs.Initial, 0)
	if r.Reserved != int64(3*demoCent) || r.FrozenAfter < r.Reserved || r.Debited != 0 {
		t.Errorf("journal row %+v", r)
	}
}

// The result of the freeze returns to VPN logic.
func TestSeedStep107(t *testing.T) {
	p := seedCall(t, "6001")
	if a := p.Events[p.at(isAnswer)].Answer; a.Code != 2001 || a.Grant.Time != 3*time.Second {
		t.Errorf("CCA-I %+v", a)
	}
}

// The call is connected once the amount is frozen, and monitored: a report before
// the slice ends, the cut-off on the second when there is no more.
func TestSeedStep108(t *testing.T) {
	p := seedCall(t, "6001")
	if connect := p.at(toCalled); connect < p.at(isAnswer) || p.Phone.Status != 200 {
		t.Errorf("INVITE to the called party at %d of %+v", connect, p.Events)
	}
	if r := p.Events[p.at(isRequest(vpnlogic.ChargeUpdate))].Request; r.Used != 2*time.Second || r.Report != vpnlogic.ReportThreshold {
		t.Errorf("CCR-U %+v", r)
	}
	cut := seedCall(t, "6003")
	if cut.Record.Reason != vpnlogic.ReasonQuotaEnd || cut.Record.Reported != 5*time.Second || cut.Phone.HungUp != "peer" {
		t.Errorf("the call without money went on: %+v", cut.Record)
	}
	if talked := cut.Phone.Talked(); talked > 5*time.Second || talked < 4500*time.Millisecond {
		t.Errorf("cut off after %s, not on the fifth second", talked)
	}
}

// At the end of the call its cost is found, and VPN logic learns it.
func TestSeedStep109(t *testing.T) {
	p := seedCall(t, "6001")
	if r := p.Events[p.at(isRequest(vpnlogic.ChargeTerminate))].Request; r.Used != time.Second || r.Report != vpnlogic.ReportFinal {
		t.Errorf("CCR-T %+v", r)
	}
	if p.Record.Cost != "0.05" || p.Record.Currency != uint32(sample.EUR) || p.Record.Reported != 5*time.Second {
		t.Errorf("record %+v", p.Record)
	}
}

// The cost is debited from what was frozen.
func TestSeedStep110(t *testing.T) {
	p := seedCall(t, "6001")
	if r := p.row(t, ocs.Terminate, 3); r.Debited != int64(demoCent) || r.Used != 1 || r.Overrun != 0 {
		t.Errorf("journal row %+v", r)
	}
	if s := p.Sum(); s.Debited != 5*demoCent || len(s.Faults) > 0 {
		t.Errorf("sum %+v", s)
	}
}

// What is left is refunded.
func TestSeedStep111(t *testing.T) {
	p := seedCall(t, "6001")
	s := p.Sum()
	if r := p.row(t, ocs.Terminate, 3); r.Refunded != int64(2*demoCent) || r.Reserved != 0 {
		t.Errorf("journal row %+v", r)
	}
	if s.Reserved != s.Debited+s.Refunded {
		t.Errorf("reserved %s, debited %s, refunded %s", s.Reserved, s.Debited, s.Refunded)
	}
	info, err := liveStage(t).main.admin.Sessions(t.Context(), pgstore.SessionFilter{Identity: string(sample.Number("6001"))})
	if err != nil || len(info) != 0 {
		t.Errorf("sessions left open: %+v, %v", info, err)
	}
}

// Claim 1: VPN logic decides whether the caller has prepaid, and invokes it if so.
func TestSeedClaim1(t *testing.T) {
	if with, without := requestsOf(seedCall(t, "6001")), requestsOf(seedCall(t, "6004")); with != "IUUT" || without != "" {
		t.Errorf("CCRs %q with prepaid, %q without", with, without)
	}
}

// Claim 2: VPN authentication comes first; where it fails, prepaid is not touched.
func TestSeedClaim2(t *testing.T) {
	s := liveStage(t)
	before, err := s.main.admin.Show(t.Context(), string(sample.Stranger))
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.play(t.Context(), string(sample.Stranger), "6002", 0)
	if err != nil || p.Record.Reason != vpnlogic.ReasonNotAMember || requestsOf(p) != "" {
		t.Errorf("record %+v, CCRs %q, %v", p.Record, requestsOf(p), err)
	}
	after, err := s.main.admin.Show(t.Context(), string(sample.Stranger))
	if err != nil || fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("account %+v before, %+v after, %v", before, after, err)
	}
}

// seedNumbers draws account numbers for the claims.
var seedNumbers atomic.Int64

// seedAccount opens an account and names it as a payer.
func seedAccount(t *testing.T, balance ocs.Money, change func(*pgstore.NewAccount, *pgstore.Settings)) []ocs.Identity {
	t.Helper()
	payer := []ocs.Identity{{Kind: ocs.E164, Value: fmt.Sprintf("493023125%03d", 500+seedNumbers.Add(1))}}
	a := pgstore.NewAccount{Identities: payer, Currency: sample.EUR, Balance: balance}
	s := pgstore.Settings{By: "test", Reason: "seed"}
	if change != nil {
		change(&a, &s)
	}
	admin := liveStage(t).main.admin
	if _, err := admin.CreateAccount(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Set(t.Context(), payer[0].Value, s); err != nil {
		t.Fatal(err)
	}
	return payer
}

func authenticate(t *testing.T, payer []ocs.Identity) (ocs.AccountView, error) {
	t.Helper()
	var service ocs.Prepaid = liveStage(t).main.engine
	return service.Authenticate(t.Context(), ocs.AuthenticateRequest{Payer: payer, Service: shopService})
}

// Claim 3: prepaid authentication is an interface that any service may call.
func TestSeedClaim3(t *testing.T) {
	view, err := authenticate(t, seedAccount(t, 3*ocs.MoneyScale, nil))
	if err != nil || view.Available != 3*ocs.MoneyScale || view.Currency != sample.EUR {
		t.Errorf("%+v, %v", view, err)
	}
	if _, err := authenticate(t, []ocs.Identity{{Kind: ocs.E164, Value: "493023125999"}}); !errors.Is(err, ocs.UnknownSubscriber) {
		t.Errorf("a number without account: %v", err)
	}
}

// Claim 4: authentication tells whether the account is valid.
func TestSeedClaim4(t *testing.T) {
	yes := true
	for want, change := range map[ocs.Refusal]func(*pgstore.NewAccount, *pgstore.Settings){
		ocs.Expired:     func(a *pgstore.NewAccount, _ *pgstore.Settings) { a.ValidUntil = time.Now().Add(-time.Hour) },
		ocs.NotYetValid: func(a *pgstore.NewAccount, _ *pgstore.Settings) { a.ValidFrom = time.Now().Add(time.Hour) },
		ocs.Lost:        func(_ *pgstore.NewAccount, s *pgstore.Settings) { s.Lost = &yes },
		ocs.Blocked:     func(_ *pgstore.NewAccount, s *pgstore.Settings) { s.Blocked = &yes },
		ocs.Closed:      func(_ *pgstore.NewAccount, s *pgstore.Settings) { s.Closed = &yes },
	} {
		if _, err := authenticate(t, seedAccount(t, ocs.MoneyScale, change)); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
}

// Claim 5: authentication tells whether the balance is enough.
func TestSeedClaim5(t *testing.T) {
	threshold := func(m ocs.Money) func(*pgstore.NewAccount, *pgstore.Settings) {
		return func(a *pgstore.NewAccount, _ *pgstore.Settings) { a.Threshold = m }
	}
	if _, err := authenticate(t, seedAccount(t, 0, nil)); !errors.Is(err, ocs.NoBalance) {
		t.Errorf("empty account: %v", err)
	}
	if _, err := authenticate(t, seedAccount(t, ocs.MoneyScale, threshold(ocs.MoneyScale+1))); !errors.Is(err, ocs.BelowThreshold) {
		t.Errorf("below the threshold: %v", err)
	}
	if _, err := authenticate(t, seedAccount(t, ocs.MoneyScale, threshold(ocs.MoneyScale))); err != nil {
		t.Errorf("at the threshold: %v", err)
	}
}

// shop is another service with a session of its own.
type shop struct {
	t       *testing.T
	service ocs.Prepaid
	payer   []ocs.Identity
	session string
	number  uint32
}

func newShop(t *testing.T, balance ocs.Money) *shop {
	payer := seedAccount(t, balance, nil)
	return &shop{t: t, service: liveStage(t).main.engine, payer: payer, session: "shop;" + payer[0].Value}
}

func (s *shop) key() ocs.RequestKey {
	s.number++
	return ocs.RequestKey{Session: s.session, Number: s.number}
}

func (s *shop) reserve(session string, m ocs.Money) (ocs.Reservation, error) {
	return s.service.Reserve(s.t.Context(), ocs.ReserveRequest{Key: ocs.RequestKey{Session: session}, Payer: s.payer, Service: shopService,
		Units: ocs.Units{Kind: ocs.Amount, Quantity: int64(m)}})
}

func (s *shop) account() pgstore.AccountInfo {
	s.t.Helper()
	info, err := liveStage(s.t).main.admin.Show(s.t.Context(), s.payer[0].Value)
	if err != nil {
		s.t.Fatal(err)
	}
	return info
}

// Claim 6: the reserve interface freezes, so that no other service can spend it.
func TestSeedClaim6(t *testing.T) {
	s := newShop(t, 100*demoCent)
	if r, err := s.reserve(s.session, 60*demoCent); err != nil || r.Frozen != 60*demoCent {
		t.Fatalf("%+v, %v", r, err)
	}
	if a := s.account(); a.Frozen != 60*demoCent || a.Available != 40*demoCent {
		t.Errorf("account %+v", a)
	}
	if r, err := s.reserve(s.session+";other", 60*demoCent); err == nil && r.Frozen > 40*demoCent {
		t.Errorf("another service froze %s of the 0.40 that are left (%v)", r.Frozen, err)
	}
}

// Claim 7: the debit interface pays out of what was frozen.
func TestSeedClaim7(t *testing.T) {
	s := newShop(t, 100*demoCent)
	if _, err := s.reserve(s.session, 60*demoCent); err != nil {
		t.Fatal(err)
	}
	r, err := s.service.Debit(t.Context(), ocs.DebitRequest{Key: s.key(), Used: ocs.Units{Kind: ocs.Amount, Quantity: int64(25 * demoCent)}})
	if err != nil || r.Debited != 25*demoCent {
		t.Fatalf("%+v, %v", r, err)
	}
	if a := s.account(); a.Spent != 25*demoCent || a.Frozen != 35*demoCent || a.Available != 40*demoCent {
		t.Errorf("account %+v", a)
	}
}

// Claim 8: the refund interface unfreezes what is left; it is skipped when
// nothing is.
func TestSeedClaim8(t *testing.T) {
	for _, used := range []ocs.Money{25 * demoCent, 60 * demoCent} {
		s := newShop(t, 100*demoCent)
		if _, err := s.reserve(s.session, 60*demoCent); err != nil {
			t.Fatal(err)
		}
		if _, err := s.service.Debit(t.Context(), ocs.DebitRequest{Key: s.key(), Used: ocs.Units{Kind: ocs.Amount, Quantity: int64(used)}}); err != nil {
			t.Fatal(err)
		}
		r, err := s.service.Refund(t.Context(), ocs.RefundRequest{Key: s.key()})
		if err != nil || r.Refunded != 60*demoCent-used {
			t.Errorf("used %s: %+v, %v", used, r, err)
		}
		if a := s.account(); a.Frozen != 0 || a.Available != 100*demoCent-used || len(a.OpenSessions) != 0 {
			t.Errorf("used %s: account %+v", used, a)
		}
		rows, err := liveStage(t).main.admin.SessionJournal(t.Context(), s.session)
		if err != nil {
			t.Fatal(err)
		}
		unfroze := slices.ContainsFunc(rows, func(r ocs.JournalRow) bool { return r.Refunded > 0 })
		if unfroze != (used < 60*demoCent) {
			t.Errorf("used %s: a refund stands in the journal: %t", used, unfroze)
		}
	}
}
