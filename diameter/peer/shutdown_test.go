package peer

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gygate/diameter"
)

// held is a Handler that keeps requests until they are released.
type held struct {
	mu   sync.Mutex
	all  []func()
	over chan struct{} // a token for every request held
}

func newHeld() *held { return &held{over: make(chan struct{}, 1000)} }

func (h *held) Serve(_ context.Context, _ Remote, m diameter.Message, answer func([]byte)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, func() { answer(cca(m, diameter.Success, ocs)) })
	h.over <- struct{}{}
}

func (h *held) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, answer := range h.all {
		answer()
	}
	h.all = nil
}

func TestServerShutdown(t *testing.T) {
	t.Run("A-089 20 requests in processing", func(t *testing.T) {
		provesNamed(t)
		synctest.Test(t, func(t *testing.T) {
			h := newHeld()
			network := newPipes()
			s := startOn(t, network.listen("ocs:3868"), h, nil)
			nc, err := network.dial(t.Context(), "ocs:3868")
			if err != nil {
				t.Fatal(err)
			}
			p := newScript(t, nc)
			p.open()
			for n := range uint32(20) {
				p.write(request{number: n, hop: n + 1}.encode(nil))
			}
			synctest.Wait() // they are in processing
			ended := make(chan error, 1)
			go func() { ended <- s.Shutdown(t.Context()) }()
			synctest.Wait()

			// From now on new requests are refused so that the client moves on.
			p.write(request{hop: 100, host: ocsHost}.encode(nil))
			if m := p.read(); m.HopByHop != 100 || m.ResultCode() != diameter.TooBusy {
				t.Errorf("a request during the shutdown: %+v %d", m.Header, m.ResultCode())
			}
			if _, err := network.dial(t.Context(), "ocs:3868"); err == nil {
				t.Error("the server still accepts")
			}
			h.release()
			for n := range uint32(20) {
				if m := p.read(); m.Command != diameter.CmdCreditControl || m.HopByHop != n+1 {
					t.Fatalf("answer %d: %+v", n, m.Header)
				}
			}
			m := p.read()
			cause, _ := m.Find(diameter.DisconnectCause)
			if m.Command != diameter.CmdDisconnectPeer || !m.Request() || cause.Uint32() != causeRebooting || len(cause.Data) != 4 {
				t.Fatalf("after the answers: %+v", m.Header)
			}
			p.write(appendDPA(nil, m, vpn))
			if err := p.readClose(); !errors.Is(err, io.EOF) {
				t.Errorf("after the DPA: %v", err)
			}
			if err := <-ended; err != nil {
				t.Errorf("Shutdown: %v", err)
			}
		})
	})
}

func TestServerShutdownIsBounded(t *testing.T) {
	t.Run("A-089 no DPA comes", func(t *testing.T) {
		provesNamed(t)
		synctest.Test(t, func(t *testing.T) {
			network := newPipes()
			s := startOn(t, network.listen("ocs:3868"), echo, nil)
			nc, err := network.dial(t.Context(), "ocs:3868")
			if err != nil {
				t.Fatal(err)
			}
			p := newScript(t, nc)
			p.open()
			begin := time.Now()
			ended := make(chan error)
			go func() { ended <- s.Shutdown(t.Context()) }()
			p.read()
			_ = p.readClose()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			about(t, "close", time.Since(begin), disconnectTimeout, disconnectTimeout)
		})
	})
	t.Run("A-089 the context ends first", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHeld()
			network := newPipes()
			s := startOn(t, network.listen("ocs:3868"), h, nil)
			nc, err := network.dial(t.Context(), "ocs:3868")
			if err != nil {
				t.Fatal(err)
			}
			p := newScript(t, nc)
			p.open()
			p.write(request{}.encode(nil))
			<-h.over
			begin := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			go func() { _, _ = io.Copy(io.Discard, nc) }() // a DPR, perhaps
			if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Shutdown: %v", err)
			}
			about(t, "Shutdown", time.Since(begin), 3*time.Second, 3*time.Second)
			h.release() // an answer after the close is dropped
		})
	})
	t.Run("Serve after Shutdown", func(t *testing.T) {
		s, err := NewServer(ServerConfig{Local: ocs, Dictionary: dictionary()}, echo)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Serve(t.Context(), ln); !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
}

func TestPeerDisconnects(t *testing.T) {
	t.Run("A-087 at the server", func(t *testing.T) {
		proves(t, "A-087", "D-091")
		h := newHeld()
		_, address := startServer(t, h, nil)
		p := dialScript(t, address)
		p.open()
		p.write(request{hop: 1}.encode(nil), dpr(0))
		if m := p.read(); m.Command != diameter.CmdDisconnectPeer || m.ResultCode() != diameter.Success {
			t.Errorf("%+v %d", m.Header, m.ResultCode())
		}
		<-h.over
		h.release() // what was in processing is still answered
		if m := p.read(); m.HopByHop != 1 {
			t.Errorf("%+v", m.Header)
		}
		// A peer that restarts may come back before the old connection is gone.
		again := dialScript(t, address)
		again.open()
		_ = p.nc.Close()
		again.write(request{hop: 2}.encode(nil))
		<-h.over
		h.release()
		if m := again.read(); m.HopByHop != 2 {
			t.Errorf("%+v", m.Header)
		}
	})
}

func TestClientEnds(t *testing.T) {
	t.Run("A-089 the client waits for answers, then DPR", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			network := newPipes()
			ln := network.listen("ocs:3868")
			c, err := NewClient(ClientConfig{Local: vpn, Dictionary: dictionary(), Dial: network.dial,
				Peers: []Endpoint{{Address: "ocs:3868"}}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ran := make(chan error, 1)
			go func() { ran <- c.Run(ctx) }()
			p := acceptScript(t, ln, ocs)
			synctest.Wait()
			answered := make(chan error, 1)
			go func() {
				_, err := c.Do(t.Context(), ask(request{}))
				answered <- err
			}()
			req := p.read()
			cancel()
			synctest.Wait()
			if _, err := c.Do(t.Context(), ask(request{})); !errors.Is(err, ErrNoPeer) {
				t.Errorf("a new request while ending: %v", err)
			}
			p.write(cca(req, diameter.Success, ocs))
			if err := <-answered; err != nil {
				t.Errorf("the request on its way: %v", err)
			}
			p.answerDPR()
			if err := p.readClose(); err == nil {
				t.Error("the client did not close")
			}
			if err := <-ran; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	})
	t.Run("A-089 between two of our own", func(t *testing.T) {
		s, address := startServer(t, echo, nil)
		c := startClient(t, nil, Endpoint{Address: address})
		waitOpen(t, c)
		if p := s.Peers(); len(p) != 1 || p[0].State != "OKAY" || p[0].Host != vpnHost || !p[0].Inbound {
			t.Errorf("server's peers: %+v", p)
		}
		if p := c.Peers(); len(p) != 1 || p[0].State != "OKAY" || p[0].Host != ocsHost || p[0].Inbound {
			t.Errorf("client's peers: %+v", p)
		}
		begin := time.Now()
		if err := s.Shutdown(within(t, 30*time.Second)); err != nil || time.Since(begin) > disconnectTimeout {
			t.Errorf("Shutdown: %v after %v", err, time.Since(begin))
		}
	})
}

func TestClientMeetsRestartedServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		c := startClient(t, func(cfg *ClientConfig) { cfg.Dial = network.dial }, Endpoint{Address: "ocs:3868"})
		for range 3 {
			s, err := NewServer(ServerConfig{Local: ocs, Peers: loopback(), Dictionary: dictionary()}, echo)
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan error, 1)
			go func() { served <- s.Serve(t.Context(), network.listen("ocs:3868")) }()
			if err := c.WaitOpen(within(t, time.Minute)); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Do(t.Context(), ask(request{})); err != nil {
				t.Error(err)
			}
			if err := s.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			if err := <-served; err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
	})
}
