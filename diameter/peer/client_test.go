package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gygate/diameter"
)

// refusing answers every request with code.
func refusing(host string, code diameter.ResultCode) func(diameter.Message) []byte {
	l := Local{Host: host, Realm: realm}
	return func(m diameter.Message) []byte {
		b := cca(m, code, l)
		if code == diameter.RedirectIndication {
			b = diameter.Finish(diameter.AppendString(b, diameter.RedirectHost, "aaa://elsewhere.example:3868"), 0)
		}
		return b
	}
}

func (p *peer) answer(f func(diameter.Message) []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers = f
}

func TestErrorAnswersMoveOn(t *testing.T) {
	for _, c := range []struct {
		name          string
		first, second diameter.ResultCode
		stay          string
		failover      bool
		wantFrom      string
		want          diameter.ResultCode
		atSecond      int
	}{
		{"C-007 3004 then 2001", 3004, 2001, "", false, ocs2Host, 2001, 1},
		{"C-007 3002 then 2001", 3002, 2001, "", true, ocs2Host, 2001, 1},
		{"C-007 3005 then 2001", 3005, 2001, "", true, ocs2Host, 2001, 1},
		{"A-072 a redirect is not followed", 3006, 2001, "", true, ocs2Host, 2001, 1},
		{"C-007 both 3004", 3004, 3004, "", true, ocs2Host, 3004, 1},
		{"A-057 an unknown class is final", 7001, 2001, "", true, ocsHost, 7001, 0},
		{"3003 is final", 3003, 2001, "", true, ocsHost, 3003, 0},
		{"4012 is final", 4012, 2001, "", true, ocsHost, 4012, 0},
		{"C-014 a session stays", 3004, 2001, ocsHost, false, ocsHost, 3004, 0},
		{"C-014 unless it may move", 3004, 2001, ocsHost, true, ocs2Host, 2001, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.HasPrefix(c.name, "A-") {
				provesNamed(t)
			}
			synctest.Test(t, func(t *testing.T) {
				var dials atomic.Int32
				b, ln := newBubble(t, func(cfg *ClientConfig) {
					dial := cfg.Dial
					cfg.Dial = func(ctx context.Context, address string) (net.Conn, error) { dials.Add(1); return dial(ctx, address) }
				}, ocsHost, ocs2Host)
				p1, p2 := play(t, ln[0], ocsHost), play(t, ln[1], ocs2Host)
				p1.answer(refusing(ocsHost, c.first))
				p2.answer(refusing(ocs2Host, c.second))
				synctest.Wait()
				r := ask(request{})
				r.Stay, r.Failover = c.stay, c.failover
				dials.Store(0)
				a, err := b.client.Do(t.Context(), r)
				if err != nil || a.From.Host != c.wantFrom || a.Message.ResultCode() != c.want {
					t.Errorf("%d from %s, %v; want %d from %s", a.Message.ResultCode(), a.From.Host, err, c.want, c.wantFrom)
				}
				first, _ := p1.of(ccr)
				second, _ := p2.of(ccr)
				if len(first) != 1 || len(second) != c.atSecond || dials.Load() != 0 {
					t.Fatalf("%d requests at the first peer, %d at the second, %d new connections", len(first), len(second), dials.Load())
				}
				for _, m := range second {
					if m.Flags&diameter.FlagRetransmit != 0 || m.EndToEnd != first[0].EndToEnd {
						t.Errorf("C-015: T bit after an error answer, or a new e2e: %+v", m.Header)
					}
				}
			})
		})
	}
}

func TestSilenceThenErrorAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, ln := newBubble(t, nil, ocsHost, ocs2Host, "ocs3.example.org")
		p1, p2, p3 := play(t, ln[0], ocsHost, ccr), play(t, ln[1], ocs2Host), play(t, ln[2], "ocs3.example.org")
		p2.answer(refusing(ocs2Host, 3004))
		p3.answer(refusing("ocs3.example.org", 3004))
		synctest.Wait()
		r := ask(request{})
		r.Failover = true
		done := make(chan error)
		go func() {
			_, err := b.client.Do(t.Context(), r)
			done <- err
		}()
		synctest.Wait()
		_ = p1.nc.Close()
		// The first peer may have executed it, so 3004 of the others is no outcome.
		if err := <-done; !errors.Is(err, ErrNoAnswer) {
			t.Errorf("%v", err)
		}
		for _, p := range []*peer{p2, p3} {
			if got, _ := p.of(ccr); len(got) != 1 || got[0].Flags&diameter.FlagRetransmit == 0 {
				t.Errorf("resent %d times, want once with T", len(got))
			}
		}
	})
}

func TestLostLink(t *testing.T) {
	for _, failover := range []bool{true, false} {
		t.Run(fmt.Sprintf("C-014 failover %t", failover), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, ln := newBubble(t, nil, ocsHost, ocs2Host)
				p1, p2 := play(t, ln[0], ocsHost, ccr), play(t, ln[1], ocs2Host)
				synctest.Wait()
				r := Request{Stay: ocsHost, Failover: failover, Encode: func(b []byte, host string) []byte {
					return request{number: 2, host: host}.encode(b)
				}}
				var a Answer
				var err error
				done := make(chan struct{})
				go func() {
					a, err = b.client.Do(t.Context(), r)
					close(done)
				}()
				synctest.Wait()
				_ = p1.nc.Close()
				<-done
				first, _ := p1.of(ccr)
				second, _ := p2.of(ccr)
				if !failover {
					if !errors.Is(err, ErrNoAnswer) || len(second) != 0 || a.EndToEnd != first[0].EndToEnd {
						t.Errorf("%v, %d requests at the second peer", err, len(second))
					}
					return
				}
				if err != nil || len(second) != 1 {
					t.Fatalf("%v, %d requests at the second peer", err, len(second))
				}
				host, _ := second[0].Find(diameter.DestinationHost)
				if second[0].Flags&diameter.FlagRetransmit == 0 || second[0].EndToEnd != first[0].EndToEnd || host.Text() != ocs2Host {
					t.Errorf("C-015 C-016: resent as %+v to %s", second[0].Header, host.Text())
				}
			})
		})
	}
}

func TestStay(t *testing.T) {
	const r1, r2 = "relay1.example.org", "relay2.example.org"
	synctest.Test(t, func(t *testing.T) {
		b, ln := newBubble(t, nil, ocsHost, ocs2Host)
		play(t, ln[0], ocsHost)
		p2 := play(t, ln[1], ocs2Host)
		synctest.Wait()
		for stay, want := range map[string]string{"": ocsHost, ocs2Host: ocs2Host, "OCS2.example.org": ocs2Host, "behind.example.org": ocsHost} {
			r := ask(request{})
			r.Stay = stay
			if a, err := b.client.Do(t.Context(), r); err != nil || a.From.Host != want {
				t.Errorf("C-016: stay %q went to %s, %v; want %s", stay, a.From.Host, err, want)
			}
		}
		_ = p2.nc.Close()
		synctest.Wait()
		r := ask(request{})
		r.Stay = ocs2Host
		if _, err := b.client.Do(t.Context(), r); !errors.Is(err, ErrNoPeer) {
			t.Errorf("C-014: the session moved: %v", err)
		}
		r.Failover = true
		if a, err := b.client.Do(t.Context(), r); err != nil || a.From.Host != ocsHost {
			t.Errorf("C-014: failover to %s, %v", a.From.Host, err)
		}
	})
	t.Run("through a relay", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, ln := newBubble(t, nil, ocsHost, r1, r2)
			play(t, ln[1], r1).answer(refusing(ocsHost, 2001)) // no relay by its CEA
			nc, err := ln[2].Accept()
			if err != nil {
				t.Fatal(err)
			}
			relay := newScript(t, nc)
			relay.write(relayCEA(relay.read(), r2))
			synctest.Wait()
			got := make(chan Answer)
			go func() {
				r := ask(request{})
				r.Stay = ocsHost // one of our peers, but not connected
				a, err := b.client.Do(t.Context(), r)
				if err != nil {
					t.Error(err)
				}
				got <- a
			}()
			relay.write(refusing(ocsHost, 2001)(relay.read()))
			if a := <-got; a.From.Host != r2 || !a.From.Relay {
				t.Errorf("went to %+v", a.From)
			}
			go relay.answerDPR()
		})
	})
}

// relayCEA answers a CER as a relay.
func relayCEA(cer diameter.Message, host string) []byte {
	b := startBaseAnswer(nil, cer, diameter.Success, Local{Host: host, Realm: realm})
	return diameter.Finish(diameter.AppendUint32(cerBody(b), diameter.AuthApplicationID, diameter.AppRelay), 0)
}

// answerDPR answers the next message, which has to be a DPR.
func (s *script) answerDPR() {
	if m, err := diameter.ReadMessage(s.r); err == nil && m.Command == diameter.CmdDisconnectPeer {
		_, _ = s.nc.Write(appendDPA(nil, m, ocs)) // the client closes either way
	}
}

func TestLoadIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		var peers []Endpoint
		for _, h := range []string{ocsHost, ocs2Host} {
			peers = append(peers, Endpoint{Address: h + ":3868"})
		}
		l1, l2 := network.listen(ocsHost+":3868"), network.listen(ocs2Host+":3868")
		c := startClient(t, func(cfg *ClientConfig) { cfg.Dial = network.dial; cfg.PendingMax = 2 }, peers...)
		p1, p2 := play(t, l1, ocsHost, ccr), play(t, l2, ocs2Host, ccr)
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if _, err := c.Do(ctx, ask(request{})); !errors.Is(err, ErrNoAnswer) {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		if _, err := c.Do(ctx, ask(request{})); !errors.Is(err, ErrPendingFull) {
			t.Errorf("beyond both limits: %v", err)
		}
		for _, p := range []*peer{p1, p2} {
			if got, _ := p.of(ccr); len(got) != 2 {
				t.Errorf("%d requests at one peer", len(got))
			}
		}
		cancel()
		all.Wait()
	})
}

func TestNoPeer(t *testing.T) {
	c, err := NewClient(ClientConfig{Local: vpn, Dictionary: dictionary(), Peers: []Endpoint{{Address: "127.0.0.1:1", Host: ocsHost}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := c.Do(t.Context(), ask(request{}))
	if !errors.Is(err, ErrNoPeer) || a.EndToEnd == 0 {
		t.Errorf("%v, e2e %d", err, a.EndToEnd)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.WaitOpen(ctx); !errors.Is(err, ErrNoPeer) || !errors.Is(err, context.Canceled) {
		t.Errorf("WaitOpen: %v", err)
	}
	if p := c.Peers(); len(p) != 1 || p[0].State != "Closed" || p[0].Host != ocsHost {
		t.Errorf("%+v", p)
	}
}

func TestUnusableCEA(t *testing.T) {
	good := func(b []byte) []byte { return auth(diameter.AppCreditControl)(cerBody(b)) }
	for name, c := range map[string]struct {
		code diameter.ResultCode
		host string
		rest func([]byte) []byte
		open bool
	}{
		"good": {2001, ocsHost, good, true},
		"A-005 4 comes last": {2001, ocsHost, func(b []byte) []byte {
			return both(auth(1, 16777236), both(vendorSpecific(10415, auth(16777238)), auth(4)))(cerBody(b))
		}, true},
		"refused":                     {3010, ocsHost, good, false},
		"another host":                {2001, ocs2Host, good, false},
		"A-020 no common application": {2001, ocsHost, func(b []byte) []byte { return auth(16777238)(cerBody(b)) }, false},
		"incomplete":                  {2001, ocsHost, auth(diameter.AppCreditControl), false},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.HasPrefix(name, "A-005") {
				provesNamed(t)
			}
			synctest.Test(t, func(t *testing.T) {
				b, ln := newBubble(t, nil, ocsHost)
				nc, err := ln[0].Accept()
				if err != nil {
					t.Fatal(err)
				}
				p := newScript(t, nc)
				cea := startBaseAnswer(nil, p.read(), c.code, Local{Host: c.host, Realm: realm})
				p.write(diameter.Finish(c.rest(cea), 0))
				synctest.Wait()
				if open := b.client.Peers()[0].State == "OKAY"; open != c.open {
					t.Errorf("%+v", b.client.Peers()[0])
				}
				if c.open {
					go p.answerDPR()
				} else {
					_ = p.readClose()
				}
			})
		})
	}
}

func TestSilentCEA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, ln := newBubble(t, nil, ocsHost)
		nc, err := ln[0].Accept()
		if err != nil {
			t.Fatal(err)
		}
		p, begin := newScript(t, nc), time.Now()
		p.read()
		_ = p.readClose()
		about(t, "close", time.Since(begin), cerTimeoutDefault, cerTimeoutDefault)
	})
}

func TestCER(t *testing.T) {
	t.Run("A-017 A-018 A-019", func(t *testing.T) {
		provesNamed(t)
		synctest.Test(t, func(t *testing.T) {
			_, ln := newBubble(t, nil, ocsHost)
			nc, err := ln[0].Accept()
			if err != nil {
				t.Fatal(err)
			}
			p := newScript(t, nc)
			cer := p.read()
			if fault := dictionary().Validate(cer, diameter.Mode{}); fault != nil || cer.Flags != diameter.FlagRequest {
				t.Errorf("CER %+v: %v", cer.Header, fault)
			}
			vendors := values(cer, diameter.SupportedVendorID)
			if id, _ := cer.Find(diameter.OriginStateID); !slices.Equal(vendors, []uint32{diameter.Vendor3GPP}) || id.Uint32() != vpn.OriginStateID {
				t.Errorf("Supported-Vendor-Ids %v, Origin-State-Id %d", vendors, id.Uint32())
			}
			for a := range cer.AVPs() {
				informative := a.Is(diameter.ProductName) || a.Is(diameter.FirmwareRevision)
				if a.Vendor != 0 || a.Flags&diameter.AVPMandatory == 0 != informative {
					t.Errorf("A-018: AVP %d with flags %#x", a.Code, a.Flags)
				}
				for _, never := range []diameter.Attribute{diameter.SessionID, diameter.DestinationHost, diameter.DestinationRealm, diameter.RouteRecord} {
					if a.Is(never) {
						t.Errorf("A-019: AVP %d", a.Code)
					}
				}
			}
			_ = nc.Close()
		})
	})
}

func TestRequestsFromServers(t *testing.T) {
	rar := func(host string) []byte {
		b := diameter.Start(nil, diameter.Header{Flags: diameter.FlagRequest | diameter.FlagProxiable,
			Command: diameter.CmdReAuth, Application: diameter.AppCreditControl, HopByHop: 3, EndToEnd: 4})
		b = diameter.AppendString(b, diameter.SessionID, "vpn.example.org;1;1")
		b = appendOrigin(b, ocs)
		b = diameter.AppendString(b, diameter.DestinationRealm, realm)
		b = diameter.AppendString(b, diameter.DestinationHost, host)
		b = diameter.AppendUint32(b, diameter.AuthApplicationID, diameter.AppCreditControl)
		return diameter.Finish(diameter.AppendUint32(b, diameter.ReAuthRequestType, 0), 0)
	}
	raa := serve(func(_ Remote, m diameter.Message, answer func([]byte)) {
		answer(diameter.FinishAnswer(diameter.StartAnswer(nil, m, diameter.LimitedSuccess, vpn.origin()), 0, m))
	})
	for name, c := range map[string]struct {
		h     Handler
		frame []byte
		want  diameter.ResultCode
	}{
		"to the handler":         {raa, rar(vpnHost), 2002},
		"to another host":        {raa, rar("other.example.org"), 3002},
		"no handler":             {nil, rar(vpnHost), 3001},
		"a CCR is not for a VPN": {raa, request{host: vpnHost}.encode(nil), 3001},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := newPipes()
				ln := network.listen("ocs:3868")
				startClientWith(t, c.h, func(cfg *ClientConfig) { cfg.Dial = network.dial }, Endpoint{Address: "ocs:3868"})
				p := acceptScript(t, ln, ocs)
				p.write(c.frame)
				if a := p.read(); a.ResultCode() != c.want {
					t.Errorf("Result-Code %d, want %d", a.ResultCode(), c.want)
				}
				go p.answerDPR()
			})
		})
	}
}

func TestFaultyAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, ln := newBubble(t, nil, ocsHost)
		p := play(t, ln[0], ocsHost)
		p.answer(func(m diameter.Message) []byte {
			b := diameter.StartAnswer(nil, m, diameter.Success, ocs.origin())
			b = diameter.AppendUint32(b, diameter.Attribute{Code: 60001, Vendor: 99999, Flags: diameter.AVPMandatory}, 1)
			return diameter.FinishAnswer(b, 0, m)
		})
		synctest.Wait()
		a, err := b.client.Do(t.Context(), ask(request{}))
		if err != nil || a.Fault == nil || a.Fault.Code != diameter.AVPUnsupported {
			t.Errorf("C-114: fault %v, error %v", a.Fault, err)
		}
	})
}
