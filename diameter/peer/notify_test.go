package peer

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gygate/diameter"
)

const (
	relay1 = "relay1.example.org"
	relay2 = "relay2.example.org"
	nobody = "nobody.example.org"
	rarCmd = diameter.CmdReAuth
)

// office is a server in a synctest bubble with scripted peers.
type office struct {
	*Server
	network *pipes
	log     *journal
}

func newOffice(t *testing.T, change func(*ServerConfig)) *office {
	t.Helper()
	o := &office{network: newPipes(), log: newJournal()}
	o.Server = startOn(t, o.network.listen("ocs:3868"), echo, func(cfg *ServerConfig) {
		cfg.Peers, cfg.Logger = loopback(relay1, relay2, ocs2Host), o.log.logger()
		if change != nil {
			change(cfg)
		}
	})
	return o
}

// join connects a peer that answers by itself, except the silent commands.
func (o *office) join(t *testing.T, host string, apps func([]byte) []byte, silent ...uint32) *peer {
	t.Helper()
	s := newScript(t, o.network.connect(t, "ocs:3868"))
	s.write(cer(host, applications(apps)))
	if code := s.read().ResultCode(); code != diameter.Success {
		t.Fatalf("CEA %d", code)
	}
	p := s.play(Local{Host: host, Realm: realm, OriginStateID: 5}, silent)
	synctest.Wait()
	return p
}

var (
	credit  = auth(diameter.AppCreditControl)
	relayed = auth(diameter.AppRelay)
)

// rar is a Re-Auth-Request of ours.
func rar(r Request) Request {
	r.Encode = func(b []byte, _ string) []byte {
		b = diameter.Start(b, diameter.Header{Flags: diameter.FlagRequest | diameter.FlagProxiable, Command: rarCmd, Application: diameter.AppCreditControl})
		b = diameter.AppendString(b, diameter.SessionID, "vpn.example.org;1;1")
		b = appendOrigin(b, ocs)
		b = diameter.AppendString(b, diameter.DestinationRealm, realm)
		b = diameter.AppendString(b, diameter.DestinationHost, vpnHost)
		b = diameter.AppendUint32(b, diameter.AuthApplicationID, diameter.AppCreditControl)
		return diameter.Finish(diameter.AppendUint32(b, diameter.ReAuthRequestType, 0), 0)
	}
	return r
}

// notify sends a RAR and expects the answer of from, or want as error.
func (o *office) notify(t *testing.T, r Request, from string, want error) Answer {
	t.Helper()
	a, err := o.Do(t.Context(), rar(r))
	if !errors.Is(err, want) || a.From.Host != from || want == nil && a.Message.ResultCode() != diameter.Success {
		t.Errorf("answer of %q with Result-Code %d, %v; want one of %q, %v", a.From.Host, a.Message.ResultCode(), err, from, want)
	}
	if err == nil && a.Fault != nil {
		t.Errorf("faulty answer: %v", a.Fault)
	}
	return a
}

func TestWayOfServerRequests(t *testing.T) {
	proves(t, "A-071")
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, nil)
		r1, r2, other := o.join(t, relay1, relayed), o.join(t, relay2, relayed), o.join(t, ocs2Host, credit)
		behind := Request{Stay: vpnHost, Via: relay1}
		o.notify(t, behind, relay1, nil)
		o.notify(t, Request{Stay: "VPN.example.org", Via: "Relay2.Example.ORG"}, relay2, nil)

		direct := o.join(t, vpnHost, credit)
		o.notify(t, behind, vpnHost, nil)
		o.notify(t, Request{Stay: vpnHost, Via: relay1, Avoid: vpnHost}, relay1, nil)
		o.notify(t, Request{Stay: ocs2Host, Avoid: ocs2Host, Via: relay2}, relay2, nil)
		_ = direct.nc.Close()
		synctest.Wait()
		o.notify(t, Request{Stay: vpnHost, Via: relay1, Avoid: relay1}, relay2, nil)

		_ = r1.nc.Close()
		synctest.Wait()
		o.notify(t, behind, relay2, nil) // another relay
		_ = r2.nc.Close()
		synctest.Wait()
		o.notify(t, behind, "", ErrNoPeer) // ocs2 serves itself only

		sent, _ := r1.of(rarCmd)
		host, _ := sent[0].Find(diameter.DestinationHost)
		if host.Text() != vpnHost || sent[0].Flags&diameter.FlagRetransmit != 0 || sent[0].Flags&diameter.FlagProxiable == 0 {
			t.Errorf("sent %+v to Destination-Host %s", sent[0].Header, host.Text())
		}
		if got, _ := other.of(rarCmd); len(got) != 0 {
			t.Errorf("%d requests went through a peer that is no relay", len(got))
		}
	})
}

func TestNothingForOtherApplications(t *testing.T) {
	proves(t, "A-020")
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, nil)
		s := newScript(t, o.network.connect(t, "ocs:3868"))
		s.write(cer(vpnHost, applications(func(b []byte) []byte { return diameter.AppendUint32(b, diameter.AcctApplicationID, 3) })))
		if code := s.read().ResultCode(); code != diameter.NoCommonApplication {
			t.Errorf("CEA %d", code)
		}
		o.notify(t, Request{Stay: vpnHost}, "", ErrNoPeer)
		o.log.await("diameter request without a way")
		_ = s.readClose() // and nothing was sent to it
		o.join(t, relay1, relayed)
		o.notify(t, Request{Stay: vpnHost}, relay1, nil) // the next candidate
	})
}

func TestServerRequestFailsOver(t *testing.T) {
	for name, c := range map[string]struct {
		refuse   diameter.ResultCode // 0: r1 is lost without an answer
		failover bool
		from     string
		want     error
		resent   diameter.Flags
	}{
		"3002 with failover":    {3002, true, relay2, nil, 0},
		"lost with failover":    {0, true, relay2, nil, diameter.FlagRetransmit},
		"lost without failover": {0, false, relay1, ErrNoAnswer, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t, nil)
				r1, r2 := o.join(t, relay1, relayed), o.join(t, relay2, relayed)
				if c.refuse != 0 {
					r1.answer(refusing(relay1, c.refuse))
				} else {
					r1.silence(rarCmd, true)
				}
				go func() {
					synctest.Wait()
					if c.refuse == 0 {
						_ = r1.nc.Close()
					}
				}()
				a := o.notify(t, Request{Stay: vpnHost, Via: relay1, Failover: c.failover}, c.from, c.want)
				first, _ := r1.of(rarCmd)
				second, _ := r2.of(rarCmd)
				if len(first) != 1 || (len(second) == 1) != c.failover || first[0].EndToEnd != a.EndToEnd {
					t.Fatalf("%d and %d requests, end-to-end %#x", len(first), len(second), a.EndToEnd)
				}
				for _, m := range second {
					if m.EndToEnd != a.EndToEnd || m.Flags&diameter.FlagRetransmit != c.resent {
						t.Errorf("resent as %+v", m.Header)
					}
				}
			})
		})
	}
	t.Run("3002 without failover is the answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(t, nil)
			o.join(t, relay1, relayed).answer(refusing(relay1, 3002))
			r2 := o.join(t, relay2, relayed)
			a, err := o.Do(t.Context(), rar(Request{Stay: vpnHost, Via: relay1}))
			if got, _ := r2.of(rarCmd); err != nil || a.Message.ResultCode() != 3002 || len(got) != 0 {
				t.Errorf("Result-Code %d, %v, %d requests at the other relay", a.Message.ResultCode(), err, len(got))
			}
		})
	})
}

// A connection that the watchdog doubts, or that is being taken down, takes none.
func TestUnusableConnectionsTakeNoServerRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, nil)
		p := o.join(t, vpnHost, credit, dwr)
		advance(2 * 33 * time.Second) // suspect
		o.notify(t, Request{Stay: vpnHost}, "", ErrNoPeer)
		if hosts, relays := o.Reachable(); len(hosts) != 0 || relays {
			t.Errorf("reachable %v, relays %t", hosts, relays)
		}
		p.silence(dwr, false)
		p.write(request{}.encode(nil)) // it is alive
		synctest.Wait()
		o.notify(t, Request{Stay: vpnHost}, vpnHost, nil)
		p.write(dpr(0))
		synctest.Wait()
		o.notify(t, Request{Stay: vpnHost}, "", ErrNoPeer)
		if got, _ := p.of(rarCmd); len(got) != 1 {
			t.Errorf("%d requests", len(got))
		}
	})
}

func TestServerRequestWithoutAnswer(t *testing.T) {
	late := countLate(t)
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, nil)
		o.pendingMax = 1
		p := o.join(t, vpnHost, credit, rarCmd)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			if a, err := o.Do(ctx, rar(Request{Stay: vpnHost})); !errors.Is(err, ErrNoAnswer) || a.From.Host != vpnHost {
				t.Errorf("silence: %v from %q", err, a.From.Host)
			}
		})
		synctest.Wait()
		o.notify(t, Request{Stay: vpnHost}, "", ErrPendingFull)
		all.Wait()
		sent, _ := p.of(rarCmd)
		p.write(cca(sent[0], diameter.Success, vpn))
		synctest.Wait()
		p.silence(rarCmd, false)
		a := o.notify(t, Request{Stay: vpnHost, EndToEnd: sent[0].EndToEnd, Retransmission: true}, vpnHost, nil)
		sent, _ = p.of(rarCmd)
		if m := sent[1]; m.Flags&diameter.FlagRetransmit == 0 || m.EndToEnd != a.EndToEnd || m.EndToEnd != sent[0].EndToEnd {
			t.Errorf("repeated as %+v", m.Header)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if _, err := o.Do(ended, rar(Request{Stay: vpnHost})); !errors.Is(err, ErrNoPeer) || !errors.Is(err, context.Canceled) {
			t.Errorf("after the end: %v", err)
		}
	})
	if n := late(); n != 1 {
		t.Errorf("%d late answers counted", n)
	}
}

// Kamailio puts Destination-Realm into its ASA and Auth-Application-Id into its
// RAA; neither is a fault, not even of a peer that is read by the letter (D-011,
// D-024).
func TestAnswersWithMoreThanTheirGrammar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, nil)
		o.join(t, vpnHost, credit).answer(func(m diameter.Message) []byte {
			b := diameter.StartAnswer(nil, m, diameter.LimitedSuccess, vpn.origin())
			b = diameter.AppendString(b, diameter.DestinationRealm, realm)
			b = diameter.AppendUint32(b, diameter.AuthApplicationID, diameter.AppCreditControl)
			return diameter.FinishAnswer(b, 0, m)
		})
		a, err := o.Do(t.Context(), rar(Request{Stay: vpnHost}))
		if err != nil || a.Fault != nil || a.Message.ResultCode() != diameter.LimitedSuccess {
			t.Errorf("Result-Code %d, fault %v, %v", a.Message.ResultCode(), a.Fault, err)
		}
	})
}

// A peer that was lost to the watchdog proves itself before it gets requests.
func TestProbationAtTheServer(t *testing.T) {
	proves(t, "A-085")
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, nil)
		p := o.join(t, vpnHost, credit, dwr)
		advance(3 * 33 * time.Second)
		if p.closedAt().IsZero() {
			t.Fatal("the silent peer is still connected")
		}
		p = o.join(t, vpnHost, credit, dwr)
		o.notify(t, Request{Stay: vpnHost}, "", ErrNoPeer)
		p.write(request{}.encode(nil)) // its own requests are served
		synctest.Wait()
		answered, _ := p.of(dwr)
		p.silence(dwr, false)
		p.write(appendDWA(nil, answered[0], vpn))
		synctest.Wait()
		o.notify(t, Request{Stay: vpnHost}, vpnHost, nil)
		if got, _ := p.of(dwr); len(got) != 3 {
			t.Errorf("%d watchdogs before the first request", len(got))
		}
		// A peer that left in order is not on probation.
		_ = p.nc.Close()
		synctest.Wait()
		p = o.join(t, vpnHost, credit)
		if got, _ := p.of(dwr); len(got) != 0 {
			t.Errorf("%d watchdogs at once", len(got))
		}
		o.notify(t, Request{Stay: vpnHost}, vpnHost, nil)
	})
}

func TestOnUpAndReachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up []Remote
		o := newOffice(t, func(cfg *ServerConfig) { cfg.OnUp = func(r Remote) { up = append(up, r) } })
		o.join(t, relay1, relayed)
		o.join(t, "VPN.example.org", credit)
		if len(up) != 2 || up[0].Host != relay1 || !up[0].Relay || up[1].Host != "VPN.example.org" || up[1].Relay || up[1].StateID != 99 {
			t.Errorf("up: %+v", up)
		}
		hosts, relays := o.Reachable()
		if !slices.Equal(hosts, []string{relay1, vpnHost}) || !relays {
			t.Errorf("reachable %v, relays %t", hosts, relays)
		}
		s := newScript(t, o.network.connect(t, "ocs:3868"))
		s.write(cer(nobody, nil))
		if code := s.read().ResultCode(); code != diameter.UnknownPeer {
			t.Errorf("CEA %d", code)
		}
		_ = s.readClose()
		synctest.Wait()
		if len(up) != 2 {
			t.Errorf("told of a refused peer: %+v", up[2:])
		}
	})
}
