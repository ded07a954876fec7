package main

import (
	"strings"
	"testing"

	"gygate/cmd/gygate/config"
	"gygate/cmd/gygate/sample"
	"gygate/diameter"
	"gygate/diameter/diametertest"
	"gygate/diameter/gy"
	"gygate/ocs"
	"gygate/ocs/pgstore"
	"gygate/sql/sqltest"
)

// scripted is a client of a charging system that does what a test says.
type scripted struct {
	*diametertest.Peer
	t      *testing.T
	origin diameter.Origin
	realm  string // of the charging system
	sent   uint32
}

func dialScripted(t *testing.T, m *Main, state uint32) *scripted {
	t.Helper()
	origin := diameter.Origin{Host: scriptedHost, Realm: "example", StateID: state}
	s := &scripted{Peer: diametertest.Dial(t, m.diameterAddr.String(), origin), t: t, origin: origin, realm: m.cfg.Node.OCS.Realm}
	s.Connect()
	return s
}

const scriptedHost = "mgw1.example"

// leave disconnects in order (RFC 6733 §5.4).
func (s *scripted) leave() {
	s.t.Helper()
	s.ExpectAnswer(s.Request(diameter.CmdDisconnectPeer, func(b []byte) []byte {
		const disconnectCause, rebooting = 273, 0
		return diameter.AppendUint32(b, diameter.Attribute{Code: disconnectCause, Flags: diameter.AVPMandatory}, rebooting)
	}))
	s.Close()
}

// charge sends a CCR about rating group 100 and returns the answer, which must be a
// success.
func (s *scripted) charge(session, payer string, kind ocs.StepType, number, used uint32) *gy.CCA {
	s.t.Helper()
	group := gy.Service{RatingGroup: gy.Some(uint32(100))}
	if kind != ocs.Terminate {
		group.Requested = gy.Some(gy.ServiceUnits{})
	}
	if kind != ocs.Initial {
		group.Used = []gy.UsedUnits{{ServiceUnits: gy.ServiceUnits{Time: gy.Some(used)}}}
	}
	ccr := gy.CCR{SessionID: session, OriginHost: s.origin.Host, OriginRealm: s.origin.Realm, DestinationRealm: s.realm, OriginStateID: s.origin.StateID,
		ServiceContextID: gy.ContextSIP, Type: kind, Number: number, Payer: []gy.Subscription{{Kind: ocs.E164, Data: payer}},
		MultipleServices: gy.Some(uint32(1)), Services: []gy.Service{group}}
	if kind == ocs.Terminate {
		ccr.TerminationCause = gy.Some(uint32(1))
	}
	s.sent++
	h := diameter.Header{Command: diameter.CmdCreditControl, Application: diameter.AppCreditControl, Flags: diameter.FlagRequest | diameter.FlagProxiable, HopByHop: s.sent, EndToEnd: s.sent}
	s.Send(ccr.Append(nil, h))
	cca, fault := gy.ParseCCA(s.ExpectAnswer(h))
	if fault != nil || cca.ResultCode != diameter.Success {
		s.t.Fatalf("CCA %+v, %v", cca, fault)
	}
	return cca
}

// chargingAlone runs a charging system that knows the scripted client and an account
// with ten in it.
func chargingAlone(t *testing.T) (m *Main, dsn, payer string) {
	t.Helper()
	cfg := demoConfig()
	cfg.Database.DSN = sqltest.Database(t)
	cfg.Diameter.Peers = []config.Peer{{Host: scriptedHost, Addresses: []string{"127.0.0.1/32"}}}
	m, err := New(t.Context(), cfg, Options{Role: RoleOCS, Logger: quietLogger()})
	if err != nil {
		t.Fatal(err)
	}
	if err := loadMoney(t.Context(), m.admin); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(runMain(t, m))
	if err := m.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m, cfg.Database.DSN, string(sample.Number("6001"))
}

// A client comes back with a higher Origin-State-Id: its sessions are orphans, shown
// as such, and end after the grace with nothing debited, unless their last report
// comes before. A client that comes back without one has lost nothing.
func TestRestartedClientLeavesOrphans(t *testing.T) {
	t.Attr("proves", "A-016")
	m, dsn, payer := chargingAlone(t)
	notes := func(want ...string) {
		t.Helper()
		awaitTrue(t, "notes "+strings.Join(want, ", "), func() (bool, error) {
			code, out, errs := gygate(t, "session", "list", "--account", payer, "--dsn", dsn)
			if code != exitOK {
				t.Fatal(errs)
			}
			lines := strings.Split(strings.TrimSpace(out), "\n")[1:]
			for i := range min(len(lines), len(want)) {
				if !strings.HasPrefix(lines[i], "s"+want[i][:1]) || !strings.HasSuffix(strings.TrimRight(lines[i], " "), want[i][2:]) {
					return false, nil
				}
			}
			return len(lines) == len(want), nil
		})
	}
	client := dialScripted(t, m, 10)
	client.charge("s1;a", payer, ocs.Initial, 0, 0)
	client.charge("s2;a", payer, ocs.Initial, 0, 0)
	client.leave()
	dialScripted(t, m, 0).leave()
	notes("1 0.00", "2 0.00") // charged so far; nothing noted
	for limit, note := range map[string]string{"1": "only the first 1: --limit shows more", "2": "only the first 2", "3": "", "0": ""} {
		code, out, errs := gygate(t, "session", "list", "--limit", limit, "--dsn", dsn)
		if code != exitOK || strings.Contains(out, "s2;a") == (limit == "1") || !strings.Contains(errs, note) || note == "" && errs != "" {
			t.Errorf("a list of %s: exit code %d\n%s%s", limit, code, out, errs)
		}
	}

	client = dialScripted(t, m, 11)
	notes("1 orphaned", "2 orphaned")
	if ended := m.engine.Sweep(t.Context()); ended != 0 {
		t.Fatalf("%d orphans ended within their grace", ended)
	}
	client.charge("s2;a", payer, ocs.Terminate, 1, 2)
	notes("1 orphaned")
	passGrace(t, m)
	notes()
	info, err := m.admin.Show(t.Context(), payer)
	if err != nil || info.Frozen != 0 || info.Spent != 2*demoCent {
		t.Errorf("account %+v, %v", info, err)
	}
	checkSettled(t, m.books, payer, 2*demoCent)

	client.charge("s3;a", payer, ocs.Initial, 0, 0)
	if code, errs := on(t, dsn, nil, "account", "topup", payer, "--amount", "1", "--key", "k1"); code != exitOK {
		t.Fatal(errs)
	}
	asked := client.ExpectRequest(diameter.CmdReAuth)
	notes("3 credit sent")
	client.Answer(asked, diameter.LimitedSuccess, nil)
	notes("3 credit promised")
	sessions, err := m.admin.Sessions(t.Context(), pgstore.SessionFilter{Identity: payer})
	if err != nil || len(sessions) != 1 || sessions[0].Orphaned {
		t.Errorf("the session of the new start: %+v, %v", sessions, err)
	}
	client.charge("s3;a", payer, ocs.Terminate, 1, 0)
}

// passGrace moves the restarts that the database knows of so far back that the grace
// is over.
func passGrace(t *testing.T, m *Main) {
	t.Helper()
	tag, err := m.books.pool.Exec(t.Context(), "update client_state set since = since - make_interval(secs => $1)", ocs.OrphanGrace.Seconds())
	if err != nil || tag.RowsAffected() != 1 {
		t.Fatalf("%s, %v", tag, err)
	}
}
