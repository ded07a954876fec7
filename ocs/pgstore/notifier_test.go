package pgstore

import (
	"context"
	"net"
	"sync"
	"testing"

	"gygate/diameter"
	"gygate/diameter/diametertest"
	"gygate/diameter/gy"
	"gygate/diameter/peer"
	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// serving is an OCS node on the network: peers, engine, store and notifier.
func serving(t *testing.T, l *ledger) (address string) {
	t.Helper()
	pool := newPool(t, l.dsn)
	notices, err := OpenNotices(t.Context(), pool, nil)
	if err != nil {
		t.Fatal(err)
	}
	n := newNode(t, openStore(t, l.dsn), "ocs1.example")
	dictionary, err := diameter.NewDictionary()
	if err != nil {
		t.Fatal(err)
	}
	server, err := peer.NewServer(peer.ServerConfig{
		Local:   peer.Local{Host: n.host, Realm: "example", OriginStateID: 3973000000, Product: "gygate"},
		Unknown: peer.Open, Dictionary: dictionary,
	}, n.server)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tariff := ocstest.Tariff(t)
	notifier := gy.NewNotifier(gy.NotifierConfig{
		Local:  diameter.Origin{Host: n.host, Realm: "example", StateID: 3973000000},
		Tariff: func() *ocs.Tariff { return tariff },
	}, notices, server)
	ctx, stop := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	for _, run := range []func(context.Context) error{
		func(ctx context.Context) error { return server.Serve(ctx, listener) },
		notifier.Run,
		func(ctx context.Context) error { return notices.Listen(ctx, notifier.Hint) },
	} {
		parts.Go(func() {
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() { stop(); parts.Wait() })
	return listener.Addr().String()
}

// exchange sends a request of the gateway over its connection.
func exchange(t testing.TB, p *diametertest.Peer, r gy.CCR) diameter.Message {
	t.Helper()
	m := frame(t, r, 0)
	p.Send(m.Raw)
	return p.ExpectAnswer(m.Header)
}

// expectReAuth is the RAR for a session, as RFC 8506 §5.5 and §10.2 have it.
func expectReAuth(t testing.TB, p *diametertest.Peer, id string) diameter.Message {
	t.Helper()
	rar := p.ExpectRequest(diameter.CmdReAuth)
	if rar.Flags != diameter.FlagRequest|diameter.FlagProxiable || rar.Application != diameter.AppCreditControl {
		t.Errorf("header %+v", rar.Header)
	}
	for _, want := range []struct {
		of   diameter.Attribute
		data string
	}{
		{diameter.SessionID, id}, {diameter.OriginHost, "ocs1.example"}, {diameter.OriginRealm, "example"},
		{diameter.DestinationHost, gateway.Host}, {diameter.DestinationRealm, gateway.Realm},
		{diameter.AuthApplicationID, "\x00\x00\x00\x04"}, {diameter.ReAuthRequestType, "\x00\x00\x00\x00"},
		{diameter.OriginStateID, "\xec\xcf\x2b\x40"},
	} {
		if a, ok := rar.Find(want.of); !ok || string(a.Data) != want.data {
			t.Errorf("AVP %d: %q, want %q", want.of.Code, a.Data, want.data)
		}
	}
	if _, scoped := rar.Find(diameter.RatingGroup); scoped {
		t.Error("a session of one group is asked for a part of it")
	}
	return rar
}

// B-190, B-201: a top-up in a session whose last units are granted reaches its
// client, also after the node was restarted and the client connected anew.
func TestTopUpReachesTheClient(t *testing.T) {
	t.Attr("proves", "B-190")
	t.Attr("proves", "B-201")
	l := newLedger(t)
	payer := ocstest.NewPayer()
	l.AddAccount(t, ocstest.Prepaid(300_000), payer)
	origin := diameter.Origin{Host: gateway.Host, Realm: gateway.Realm, StateID: gateway.State}
	id := ocstest.NewSession()
	grant := func(m diameter.Message, seconds uint32, final bool) {
		t.Helper()
		codes(t, m, 2001)
		a, err := gy.ParseCCA(m)
		if err != nil || len(a.Services) != 1 || a.Services[0].Granted.Value.Time.Value != seconds || a.Services[0].FinalUnit.Present != final {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	t.Run("first run", func(t *testing.T) { // the node and its connections end with it
		p := diametertest.Dial(t, serving(t, l), origin)
		p.Connect()
		grant(exchange(t, p, request(id, payer, ocs.Initial, 0, 0)), 30, true)
		l.topUp(t, payer, 200_000)
		rar := expectReAuth(t, p, id)
		p.Answer(rar, diameter.LimitedSuccess, nil)
		grant(exchange(t, p, request(id, payer, ocs.Update, 1, 20)), 30, true)
		l.until(t, "notice where attempt = 1 and raised = 1")
		l.exec(t, "delete from notice")
	})
	t.Run("after a restart", func(t *testing.T) {
		p := diametertest.Dial(t, serving(t, l), origin)
		p.Connect()
		l.topUp(t, payer, 5*money)
		rar := expectReAuth(t, p, id)
		p.Answer(rar, diameter.Success, nil)
		l.until(t, "notice where stage = 'done' and attempt = 1 and raised = 1")
		grant(exchange(t, p, request(id, payer, ocs.Update, 2, 20)), 60, false)
	})
	l.audit(t)
}
