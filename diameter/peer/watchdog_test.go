package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gygate/diameter"
)

// bubble is a client with scripted peers in a synctest bubble, where time passes
// only when everybody waits.
type bubble struct {
	*testing.T
	network *pipes
	client  *Client
	begin   time.Time
}

// newBubble starts a client of the named peers, in order of priority.
func newBubble(t *testing.T, change func(*ClientConfig), hosts ...string) (*bubble, []*pipeListener) {
	t.Helper()
	b := &bubble{T: t, network: newPipes(), begin: time.Now()}
	var endpoints []Endpoint
	var listeners []*pipeListener
	for i, h := range hosts {
		address := h + ":3868"
		endpoints = append(endpoints, Endpoint{Address: address, Host: h, Priority: i})
		ln := b.network.listen(address)
		t.Cleanup(func() { _ = ln.Close() }) // closed by some tests
		listeners = append(listeners, ln)
	}
	b.client = startClient(t, func(cfg *ClientConfig) {
		cfg.Dial = b.network.dial
		if change != nil {
			change(cfg)
		}
	}, endpoints...)
	return b, listeners
}

// peer is what a scripted peer saw: everything it got, and how it answers.
type peer struct {
	*script
	mu      sync.Mutex
	got     []diameter.Message
	at      []time.Time
	ended   time.Time
	silent  map[uint32]bool // commands it does not answer
	answers func(m diameter.Message) []byte
}

// play accepts a connection and answers base messages and requests until it ends.
// Silence can be ordered by command.
func play(t *testing.T, ln net.Listener, host string, silent ...uint32) *peer {
	t.Helper()
	l := Local{Host: host, Realm: realm, Product: "script"}
	return acceptScript(t, ln, l).play(l, silent)
}

// play lets an open connection answer by itself.
func (s *script) play(l Local, silent []uint32) *peer {
	p := &peer{script: s, silent: map[uint32]bool{}, answers: func(m diameter.Message) []byte { return cca(m, diameter.Success, l) }}
	for _, c := range silent {
		p.silent[c] = true
	}
	go p.run(l)
	return p
}

func (p *peer) run(l Local) {
	for {
		m, err := diameter.ReadMessage(p.r)
		p.mu.Lock()
		if err != nil {
			p.ended = time.Now()
			p.mu.Unlock()
			_ = p.nc.Close() // the other end has
			return
		}
		p.got, p.at = append(p.got, m), append(p.at, time.Now())
		silent, answers := p.silent[m.Command], p.answers
		p.mu.Unlock()
		switch {
		case silent || !m.Request():
		case m.Command == diameter.CmdDeviceWatchdog:
			_, _ = p.nc.Write(appendDWA(nil, m, l)) // a failure shows in the next read
		case m.Command == diameter.CmdDisconnectPeer:
			_, _ = p.nc.Write(appendDPA(nil, m, l))
		default:
			_, _ = p.nc.Write(answers(m))
		}
	}
}

func (p *peer) silence(command uint32, on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent[command] = on
}

// of returns what it got of that command, and when.
func (p *peer) of(command uint32) (got []diameter.Message, at []time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, m := range p.got {
		if m.Command == command && m.Request() {
			got, at = append(got, m), append(at, p.at[i])
		}
	}
	return got, at
}

func (p *peer) closedAt() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

func about(t *testing.T, what string, got, low, high time.Duration) {
	t.Helper()
	if got < low || got > high {
		t.Errorf("%s after %v, want %v to %v", what, got, low, high)
	}
}

const (
	ocs2Host = "ocs2.example.org"
	dwr      = diameter.CmdDeviceWatchdog
	ccr      = diameter.CmdCreditControl
)

func TestWatchdogInterval(t *testing.T) {
	proves(t, "A-081", "D-090")
	t.Run("A-081 idle link", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, ln := newBubble(t, nil, ocsHost)
			p := play(t, ln[0], ocsHost)
			advance(10 * time.Minute)
			_, at := p.of(dwr)
			if len(at) < 18 || len(at) > 21 {
				t.Errorf("%d DWRs in ten minutes", len(at))
			}
			seen, last := map[time.Duration]bool{}, b.begin
			for _, when := range at {
				about(t, "DWR", when.Sub(last), 28*time.Second, 32*time.Second)
				seen[when.Sub(last)] = true
				last = when
			}
			if len(seen) < 2 {
				t.Error("no jitter")
			}
		})
	})
	t.Run("A-081 traffic", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, ln := newBubble(t, nil, ocsHost)
			p := play(t, ln[0], ocsHost)
			for range 30 {
				advance(10 * time.Second)
				if _, err := b.client.Do(t.Context(), ask(request{})); err != nil {
					t.Fatal(err)
				}
			}
			if got, _ := p.of(dwr); len(got) != 0 {
				t.Errorf("%d DWRs in spite of traffic", len(got))
			}
		})
	})
	t.Run("A-081 the server watches too", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			network := newPipes()
			startOn(t, network.listen("ocs:3868"), echo, nil)
			nc, err := network.dial(t.Context(), "ocs:3868")
			if err != nil {
				t.Fatal(err)
			}
			p, begin := newScript(t, nc), time.Now()
			p.open()
			m := p.read()
			about(t, "DWR", time.Since(begin), 28*time.Second, 32*time.Second)
			if m.Command != dwr || !m.Request() {
				t.Fatalf("%+v", m.Header)
			}
			_ = p.readClose() // no DWA, no second DWR
			about(t, "close", time.Since(begin), 3*28*time.Second, 3*32*time.Second)
		})
	})
}

func TestSuspectPeer(t *testing.T) {
	proves(t, "A-082", "A-083", "A-084", "D-090")
	synctest.Test(t, func(t *testing.T) {
		b, ln := newBubble(t, func(cfg *ClientConfig) { cfg.Reconnect = time.Hour; cfg.QuickRetry = time.Hour }, ocsHost, ocs2Host)
		p1 := play(t, ln[0], ocsHost, ccr, dwr)
		p2 := play(t, ln[1], ocs2Host)
		synctest.Wait()

		begin := time.Now()
		answers := make([]Answer, 3)
		var all sync.WaitGroup
		for i := range answers {
			all.Go(func() {
				r := ask(request{number: uint32(i)})
				r.Failover = true
				var err error
				if answers[i], err = b.client.Do(t.Context(), r); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		failover := time.Since(begin)

		// Tw for the DWR, Tw for the suspicion.
		about(t, "A-083 failover", failover, 2*28*time.Second, 2*32*time.Second)
		first, _ := p1.of(ccr)
		second, _ := p2.of(ccr)
		if len(first) != 3 || len(second) != 3 {
			t.Fatalf("A-083: %d requests to the first peer, %d to the second", len(first), len(second))
		}
		sent := map[uint32]bool{}
		for _, m := range first {
			if sent[m.EndToEnd] = true; m.Flags&diameter.FlagRetransmit != 0 {
				t.Error("C-015: T bit on the first sending")
			}
		}
		for _, m := range second {
			if !sent[m.EndToEnd] || m.Flags&diameter.FlagRetransmit == 0 {
				t.Errorf("A-083: resent with e2e %#x, flags %#x", m.EndToEnd, m.Flags)
			}
		}
		for _, a := range answers {
			if a.From.Host != ocs2Host || !sent[a.EndToEnd] {
				t.Errorf("answer from %s, e2e %#x", a.From.Host, a.EndToEnd)
			}
		}
		if got, _ := p1.of(dwr); len(got) != 1 {
			t.Errorf("A-082: %d DWRs", len(got))
		}
		advance(40 * time.Second)
		about(t, "A-084 close", p1.closedAt().Sub(begin), 3*28*time.Second, 3*32*time.Second)
	})
}

func TestLateAnswers(t *testing.T) {
	t.Run("A-090", func(t *testing.T) {
		provesNamed(t)
		synctest.Test(t, func(t *testing.T) {
			b, ln := newBubble(t, nil, ocsHost, ocs2Host)
			p1 := play(t, ln[0], ocsHost, ccr, dwr)
			play(t, ln[1], ocs2Host)
			synctest.Wait()
			r := ask(request{})
			r.Failover = true
			a, err := b.client.Do(t.Context(), r)
			if err != nil || a.From.Host != ocs2Host {
				t.Fatalf("%+v %v", a.From, err)
			}
			// The first peer wakes up: its answer is dropped, and it is in use again.
			p1.silence(ccr, false)
			p1.silence(dwr, false)
			late, _ := p1.of(ccr)
			p1.write(cca(late[0], diameter.Success, ocs))
			synctest.Wait()
			if s := b.client.Peers()[0]; s.State != "OKAY" || s.Pending != 0 {
				t.Errorf("%+v", s)
			}
			if a, err = b.client.Do(t.Context(), r); err != nil || a.From.Host != ocsHost {
				t.Errorf("failback: %+v %v", a.From, err)
			}
		})
	})
	t.Run("C-009 Tx", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, ln := newBubble(t, nil, ocsHost)
			p := play(t, ln[0], ocsHost, ccr)
			synctest.Wait()
			begin := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			a, err := b.client.Do(ctx, ask(request{}))
			if !errors.Is(err, ErrNoAnswer) || !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 10*time.Second {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
			sent, _ := p.of(ccr)
			if len(sent) != 1 || sent[0].EndToEnd != a.EndToEnd {
				t.Errorf("%d sent, Answer has e2e %#x", len(sent), a.EndToEnd)
			}
			// The caller repeats it under the same identifier.
			p.silence(ccr, false)
			again := ask(request{})
			again.EndToEnd, again.Retransmission = a.EndToEnd, true
			if _, err := b.client.Do(t.Context(), again); err != nil {
				t.Error(err)
			}
			sent, _ = p.of(ccr)
			if m := sent[1]; m.EndToEnd != a.EndToEnd || m.HopByHop == sent[0].HopByHop || m.Flags&diameter.FlagRetransmit == 0 {
				t.Errorf("C-015: repeated as %+v", m.Header)
			}
		})
	})
}

func TestReopen(t *testing.T) {
	proves(t, "A-085")
	t.Run("A-085 another peer carries the traffic", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, ln := newBubble(t, nil, ocsHost, ocs2Host)
			p1, _ := play(t, ln[0], ocsHost), play(t, ln[1], ocs2Host)
			synctest.Wait()
			_ = p1.nc.Close()
			p1 = play(t, ln[0], ocsHost)
			synctest.Wait()
			reopened := time.Now()
			for p1Used := false; !p1Used; advance(time.Second) {
				a, err := b.client.Do(t.Context(), ask(request{}))
				if err != nil {
					t.Fatal(err)
				}
				p1Used = a.From.Host == ocsHost
			}
			about(t, "first request", time.Since(reopened), 2*28*time.Second, 2*33*time.Second)
			if got, _ := p1.of(dwr); len(got) != 3 {
				t.Errorf("%d DWRs before the first request", len(got))
			}
		})
	})
	t.Run("A-085 only peer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, ln := newBubble(t, nil, ocsHost)
			p := play(t, ln[0], ocsHost)
			synctest.Wait()
			_ = p.nc.Close()
			p = play(t, ln[0], ocsHost)
			reopened := time.Now()
			if err := b.client.WaitOpen(within(t, time.Minute)); err != nil {
				t.Fatal(err)
			}
			got, _ := p.of(dwr)
			if d := time.Since(reopened); d > time.Second || len(got) != 3 {
				t.Errorf("usable after %v and %d DWRs", d, len(got))
			}
		})
	})
	t.Run("A-085 the other peer is lost meanwhile", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, ln := newBubble(t, nil, ocsHost, ocs2Host)
			p1, p2 := play(t, ln[0], ocsHost), play(t, ln[1], ocs2Host)
			synctest.Wait()
			_ = p1.nc.Close()
			p1 = play(t, ln[0], ocsHost)
			advance(time.Second)
			lost := time.Now()
			_ = p2.nc.Close()
			synctest.Wait()
			if err := b.client.WaitOpen(within(t, time.Minute)); err != nil {
				t.Fatal(err)
			}
			if got, _ := p1.of(dwr); time.Since(lost) > time.Second || len(got) != 3 {
				t.Errorf("usable after %v and %d DWRs", time.Since(lost), len(got))
			}
		})
	})
}

func TestReconnect(t *testing.T) {
	proves(t, "A-086", "A-087", "A-088", "D-091")
	t.Run("A-086 two minutes without server", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var attempts atomic.Int32
			_, _ = newBubble(t, func(cfg *ClientConfig) {
				cfg.Dial = func(context.Context, string) (net.Conn, error) {
					attempts.Add(1)
					return nil, errors.New("connection refused")
				}
			}, ocsHost)
			advance(2 * time.Minute)
			if n := attempts.Load(); n < 3 || n > 5 {
				t.Errorf("%d attempts in two minutes", n)
			}
		})
	})
	for cause, again := range map[uint32]bool{0: true, causeBusy: false, causeDoNotWant: false} {
		t.Run(fmt.Sprintf("A-088 after cause %d", cause), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var dials atomic.Int32
				b, ln := newBubble(t, func(cfg *ClientConfig) {
					dial := cfg.Dial
					cfg.Dial = func(ctx context.Context, address string) (net.Conn, error) {
						dials.Add(1)
						return dial(ctx, address)
					}
				}, ocsHost)
				p := play(t, ln[0], ocsHost)
				synctest.Wait()
				begin := time.Now()
				p.write(dpr(cause))
				synctest.Wait()
				if _, err := b.client.Do(t.Context(), ask(request{})); !errors.Is(err, ErrNoPeer) {
					t.Errorf("A-087: a new request after the DPR: %v", err)
				}
				advance(time.Minute) // p does not close by itself
				about(t, "A-087 close", p.closedAt().Sub(begin), disconnectTimeout, disconnectTimeout)
				if n := dials.Load(); (n > 1) != again {
					t.Errorf("%d dials", n)
				}
			})
		})
	}
	t.Run("A-087 DPA is sent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, ln := newBubble(t, nil, ocsHost)
			p := acceptScript(t, ln[0], ocs)
			p.write(dpr(0))
			if m := p.read(); m.Command != diameter.CmdDisconnectPeer || m.ResultCode() != diameter.Success || m.Flags != 0 {
				t.Errorf("%+v %d", m.Header, m.ResultCode())
			}
			_ = p.nc.Close()
		})
	})
}

func dpr(cause uint32) []byte {
	b := appendOrigin(startRequest(nil, diameter.CmdDisconnectPeer, 1, 2), ocs)
	return diameter.Finish(diameter.AppendUint32(b, diameter.DisconnectCause, cause), 0)
}

func TestEndToEndIdentifiers(t *testing.T) {
	t.Run("A-032", func(t *testing.T) {
		provesNamed(t)
		synctest.Test(t, func(t *testing.T) {
			seen, starts := map[uint32]bool{}, map[uint32]bool{}
			for range 5 {
				e := newEndToEnd()
				for i := range 100000 {
					id := e.next()
					if i == 0 {
						starts[id] = true
					}
					if seen[id] || id == 0 {
						t.Fatalf("%#x drawn twice within four minutes", id)
					}
					seen[id] = true
				}
				advance(48 * time.Second) // and a restart
			}
			if len(starts) != 5 {
				t.Errorf("%d different starts", len(starts))
			}
		})
	})
	t.Run("A-032 hop-by-hop is unique", func(t *testing.T) {
		provesNamed(t)
		p := newPending(1000)
		p.setUsable(true)
		seen := map[uint32]bool{}
		for range 1000 {
			hop, _, err := p.add()
			if err != nil || seen[hop] {
				t.Fatalf("%#x: %v", hop, err)
			}
			seen[hop] = true
		}
		if _, _, err := p.add(); !errors.Is(err, ErrPendingFull) {
			t.Errorf("beyond the limit: %v", err)
		}
	})
}
