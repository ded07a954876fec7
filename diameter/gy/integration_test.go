package gy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/ocs"
	"gygate/ocs/ocstest"
	"gygate/vpnlogic"
)

// gateway over loopback: credit-control client and server in their own
// identities, the charging engine behind, books in memory.
type loop struct {
	charger *Client
	peers   *peer.Client
	books   *ocstest.Memory
	key     ocs.AccountKey
}

func startLoop(t *testing.T, money ocs.Money) *loop {
	t.Helper()
	l := &loop{books: ocstest.NewMemory()}
	l.key = l.books.AddAccount(t, ocstest.Prepaid(money), ocs.Identity{Kind: ocs.E164, Value: "8613800000001"}).Key
	policy := ocs.DefaultPolicy()
	policy.ClockTolerance = time.Hour // the test talks faster than the clock
	engine := ocstest.Start(t, l.books, ocs.EngineConfig{Policy: policy})
	tariff := ocstest.Tariff(t)

	address := startServer(t, peer.ServerConfig{
		Local:      peer.Local{Host: testLocal.Host, Realm: testLocal.Realm, OriginStateID: testLocal.StateID, Product: "gygate"},
		Peers:      []peer.PeerRule{{Host: testClient.Host, Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Trusted: true}},
		Dictionary: dictionary(),
	}, NewServer(ServerConfig{Local: testLocal, Tariff: func() *ocs.Tariff { return tariff }, SharedDatabase: true}, engine))
	l.peers = startClient(t, peer.ClientConfig{
		Local:      peer.Local{Host: testClient.Host, Realm: testClient.Realm, OriginStateID: testClient.StateID, Product: "gygate"},
		Peers:      []peer.Endpoint{{Address: address, Host: testLocal.Host}},
		Dictionary: dictionary(),
	})
	l.charger = NewClient(ClientConfig{Local: testClient, Context: ocstest.Voice}, l.peers)
	return l
}

func startServer(t testing.TB, config peer.ServerConfig, h peer.Handler) (address string) {
	t.Helper()
	server, err := peer.NewServer(config, h)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(context.Background(), listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(server.Shutdown(ctx), <-ended); err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

func startClient(t *testing.T, config peer.ClientConfig) *peer.Client {
	t.Helper()
	client, err := peer.NewClient(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- client.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	ready, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := client.WaitOpen(ready); err != nil {
		t.Fatal(err)
	}
	return client
}

// ledger compares the ledger line: available, frozen, spent.
func (l *loop) ledger(t *testing.T, step string, available, frozen, spent ocs.Money) {
	t.Helper()
	ocstest.MustBalance(t, l.books)
	a, f := ocstest.Totals(l.books.Account(l.key))
	if a != available || f != frozen {
		t.Errorf("after %s: available %s frozen %s, want %s and %s (spent %s)", step, a, f, available, frozen, spent)
	}
	var debited int64
	for _, row := range l.books.Books(t).Journal {
		debited += row.Debited
	}
	if ocs.Money(debited) != spent {
		t.Errorf("after %s: spent %s, want %s", step, ocs.Money(debited), spent)
	}
}

// Trace 1 over TCP: what the call gets and what the ledger says at each step.
func TestTrace1OverTCP(t *testing.T) {
	const cny = ocs.MoneyScale
	l := startLoop(t, 10*cny)
	ctx := context.Background()
	id := l.charger.NewSession(ctx)
	l.ledger(t, "start", 10*cny, 0, 0)

	minute := vpnlogic.Grant{Time: time.Minute, Threshold: 10 * time.Second, ValidFor: 5 * time.Minute}
	a := l.charger.Charge(ctx, initial(id))
	if a.Result != vpnlogic.ChargeGranted || a.Grant != minute || a.Server != testLocal.Host || !a.SessionOpen {
		t.Fatalf("CCA-I %+v", a)
	}
	l.ledger(t, "CCR-I", 9_400_000, 600_000, 0)

	if a = l.charger.Charge(ctx, update(id, 1)); a.Result != vpnlogic.ChargeGranted || a.Grant != minute {
		t.Fatalf("CCA-U %+v", a)
	}
	l.ledger(t, "CCR-U", 8_900_000, 600_000, 500_000)

	a = l.charger.Charge(ctx, final(id, 2))
	if a.Result != vpnlogic.ChargeGranted || a.Cost != "0.92" || a.Currency != 156 || a.SessionOpen {
		t.Fatalf("CCA-T %+v", a)
	}
	l.ledger(t, "CCR-T", 9_080_000, 0, 920_000)

	// Trace 6g: the repeat is answered alike and moves nothing.
	if again := l.charger.Charge(ctx, final(id, 2)); again.Cost != "0.92" || again.Code != 2001 {
		t.Errorf("repeated CCA-T %+v", again)
	}
	l.ledger(t, "the repeat", 9_080_000, 0, 920_000)
}

// Traces 2 and 3 over TCP: no money at all, and the money that runs out.
func TestCreditEndsOverTCP(t *testing.T) {
	l := startLoop(t, 30_000)
	a := l.charger.Charge(context.Background(), initial(l.charger.NewSession(context.Background())))
	if a.Result != vpnlogic.ChargeNoCredit || a.Code != 4012 || a.Reason != string(ocs.CreditLimit) || a.SessionOpen {
		t.Errorf("three seconds' worth: %+v", a)
	}
	l.ledger(t, "a refusal", 30_000, 0, 0)

	l = startLoop(t, ocs.MoneyScale)
	ctx := context.Background()
	id := l.charger.NewSession(ctx)
	l.charger.Charge(ctx, initial(id))
	if a = l.charger.Charge(ctx, update(id, 1)); a.Grant != (vpnlogic.Grant{Time: 50 * time.Second, ValidFor: 5 * time.Minute, Final: true}) {
		t.Errorf("the last slice: %+v", a)
	}
	last := final(id, 2)
	last.Used = 50 * time.Second
	if a = l.charger.Charge(ctx, last); a.Cost != "1.00" {
		t.Errorf("CCA-T %+v", a)
	}
	l.ledger(t, "the end", 0, 0, ocs.MoneyScale)
}

// Trace 5b over TCP: blocked in mid-call.
func TestBlockedOverTCP(t *testing.T) {
	l := startLoop(t, 10*ocs.MoneyScale)
	ctx := context.Background()
	id := l.charger.NewSession(ctx)
	l.charger.Charge(ctx, initial(id))
	l.books.Block(t, l.key)
	r := update(id, 1)
	r.Used = 33 * time.Second
	if a := l.charger.Charge(ctx, r); a.Result != vpnlogic.ChargeRefused || a.Code != 4010 || a.Reason != string(ocs.Blocked) || a.SessionOpen {
		t.Errorf("CCA-U %+v", a)
	}
	l.ledger(t, "the block", 9_670_000, 0, 330_000)
}

// Trace 8 over TCP: one event debited and taken back.
func TestEventOverTCP(t *testing.T) {
	l := startLoop(t, 10*ocs.MoneyScale)
	send := func(r CCR) *CCA {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		got, err := l.peers.Do(ctx, peer.Request{Encode: func(b []byte, _ string) []byte { return r.Append(b, diameter.Header{}) }})
		if err != nil || got.Fault != nil {
			t.Fatal(err, got.Fault)
		}
		a, fault := ParseCCA(got.Message)
		if fault != nil {
			t.Fatal(fault)
		}
		return a
	}
	message := one(nil)
	message.RatingGroup = Some(uint32(ocstest.Message))
	r := event(ocstest.Voice, ocs.DirectDebit, Service{}, message)
	r.MultipleServices = Some(uint32(1))
	a := send(r)
	if a.ResultCode != 2001 || a.Cost != Some(AmountOf(300_000, 156)) || len(a.Services) != 1 || len(a.Services[0].RefundInformation) == 0 {
		t.Fatalf("CCA-E %+v", a)
	}
	l.ledger(t, "the debit", 9_700_000, 0, 300_000)

	r.SessionID, r.Action = r.SessionID+"2", Some(uint32(ocs.RefundAccount))
	r.Services[0].RefundInformation = a.Services[0].RefundInformation
	if a = send(r); a.ResultCode != 2001 || a.Cost != Some(AmountOf(-300_000, 156)) {
		t.Fatalf("CCA-E %+v", a)
	}
	l.ledger(t, "the refund", 10*ocs.MoneyScale, 0, 300_000)
	if again := send(r); again.ResultCode != 2001 {
		t.Errorf("repeated refund %+v", again)
	}
	unserved := event(ContextEvent, ocs.PriceEnquiry, one(nil)) // not in this tariff
	if a := send(unserved); a.ResultCode != 5031 || a.ErrorMessage != string(ocs.UnknownContext) {
		t.Errorf("unknown context: %+v", a)
	}
	r.SessionID += "3"
	if a = send(r); a.ResultCode != 4010 || a.ErrorMessage != string(ocs.RefundNotLinked) {
		t.Errorf("the token again: %+v", a)
	}
	l.ledger(t, "all repeats", 10*ocs.MoneyScale, 0, 300_000)
}
