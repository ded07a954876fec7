package pgkeeper

import (
	"context"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"gygate/diameter"
	"gygate/diameter/diametertest"
	"gygate/diameter/gy"
	"gygate/diameter/peer"
	"gygate/ocs/pgstore"
	"gygate/sql/sqltest"
	"gygate/vpnlogic"
)

var (
	vpn = diameter.Origin{Host: "vpn.example", Realm: "example"}
	ocs = diameter.Origin{Host: "ocs.example", Realm: "example"}
)

// life is one process of VPN logic, as far as charging goes, and its charging
// system.
type life struct {
	t       *testing.T
	start   uint32
	charger *gy.Client
	server  *diametertest.Peer
	cer     diameter.Message
	waiting []diameter.Message // requests that came before they were expected
}

// begin starts a process on the database: everything it knows comes from there.
func begin(t *testing.T, database string) *life {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	start, err := pgstore.NewAdmin(pool).NextStart(t.Context(), vpn.Host)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	dictionary, err := diameter.NewDictionary()
	if err != nil {
		t.Fatal(err)
	}
	links, err := peer.NewClient(peer.ClientConfig{
		Local: peer.Local{Host: vpn.Host, Realm: vpn.Realm, OriginStateID: start, Product: "gygate"},
		Peers: []peer.Endpoint{{Address: listener.Addr().String(), Host: ocs.Host}}, Dictionary: dictionary,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	l := &life{t: t, start: start}
	l.charger = gy.NewClient(gy.ClientConfig{
		Local: diameter.Origin{Host: vpn.Host, Realm: vpn.Realm, StateID: start}, Keeper: open(t, pool, vpn.Host),
	}, links)
	run(t, links.Run)
	run(t, l.charger.Run)
	t.Cleanup(func() {
		if err := l.charger.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	l.server = diametertest.Accept(t, listener, ocs)
	l.cer = l.server.Welcome()
	if err := links.WaitOpen(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

// run runs a part until the test ends; a kill is that nothing of it is asked again.
func run(t *testing.T, part func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- part(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// call begins a call and returns its CCR-I.
func (l *life) call() (session string, ccr diameter.Message) {
	l.t.Helper()
	session = l.charger.NewSession(l.t.Context())
	answered := make(chan vpnlogic.ChargeAnswer, 1)
	go func() {
		answered <- l.charger.Charge(context.Background(), vpnlogic.ChargeRequest{Session: session, Type: vpnlogic.ChargeInitial,
			At: time.Now(), Payer: "8613800000001", RatingGroup: 100, Report: vpnlogic.ReportNone, WantMore: true})
	}()
	ccr = l.request(1)
	l.server.Answer(ccr, diameter.Success, grant)
	if a := <-answered; a.Result != vpnlogic.ChargeGranted || a.Grant.Time != time.Minute {
		l.t.Fatalf("answer %+v", a)
	}
	return session, ccr
}

// request is the next CCR of that type; others that come before it are kept.
func (l *life) request(kind uint32) diameter.Message {
	l.t.Helper()
	for {
		for i, m := range l.waiting {
			if a, _ := m.Find(diameter.CCRequestType); a.Uint32() == kind {
				l.waiting = slices.Delete(l.waiting, i, i+1)
				return m
			}
		}
		l.waiting = append(l.waiting, l.server.ExpectRequest(diameter.CmdCreditControl))
	}
}

func grant(b []byte) []byte {
	b = diameter.AppendUint32(b, diameter.AuthApplicationID, diameter.AppCreditControl)
	b = diameter.AppendUint32(b, diameter.CCRequestType, 1)
	b = diameter.AppendUint32(b, diameter.CCRequestNumber, 0)
	return diameter.AppendGroup(b, diameter.GrantedServiceUnit, func(b []byte) []byte {
		return diameter.AppendUint32(b, diameter.CCTime, 60)
	})
}

func stateOf(m diameter.Message) uint32 {
	id, _ := m.Find(diameter.OriginStateID)
	return id.Uint32()
}

// A gateway that is killed in mid-call shows a higher Origin-State-Id in its CER and
// its CCRs when it is back, and ends the lost call by itself.
func TestKilledInCall(t *testing.T) {
	t.Attr("proves", "C-110")
	t.Attr("proves", "C-111")
	database := sqltest.Database(t)
	first := begin(t, database)
	lost, ccr := first.call()
	if stateOf(first.cer) != first.start || stateOf(ccr) != first.start {
		t.Errorf("the first process shows %d and %d, want %d", stateOf(first.cer), stateOf(ccr), first.start)
	}
	awaitKept(t, database, lost)
	first.server.Close()

	second := begin(t, database)
	_, ccr = second.call()
	if stateOf(second.cer) <= stateOf(first.cer) || stateOf(ccr) != stateOf(second.cer) {
		t.Errorf("the second process shows %d and %d after %d", stateOf(second.cer), stateOf(ccr), stateOf(first.cer))
	}
	last := second.request(3)
	session, _ := last.Find(diameter.SessionID)
	number, _ := last.Find(diameter.CCRequestNumber)
	if session.Text() != lost || number.Uint32() != 1 || last.Flags&diameter.FlagRetransmit == 0 {
		t.Errorf("CCR-T #%d of %q, flags %02x; want #1 of %q with T", number.Uint32(), session.Text(), last.Flags, lost)
	}
	second.server.Answer(last, diameter.UnknownSessionID, nil)
}

// awaitKept waits until the journal holds the session.
func awaitKept(t *testing.T, database, session string) {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	keeper := open(t, pool, vpn.Host)
	for {
		for _, k := range load(t, keeper, 1<<31, "", 10) {
			if k.Session == session {
				return
			}
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("the session is not kept")
		}
	}
}
