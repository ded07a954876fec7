package peer

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"gygate/diameter"
)

// opened is a script with an open connection to a server with handler h.
func opened(t testing.TB, h Handler, change func(*ServerConfig)) *script {
	t.Helper()
	_, address := startServer(t, h, change)
	p := dialScript(t, address)
	p.open()
	return p
}

func routeRecord(hosts ...string) func([]byte) []byte {
	return func(b []byte) []byte {
		for _, h := range hosts {
			b = diameter.AppendString(b, diameter.RouteRecord, h)
		}
		return b
	}
}

func TestRequestFaults(t *testing.T) {
	proves(t, "A-021", "A-022", "A-023", "A-024", "A-067", "A-068", "A-069", "D-081", "D-082")
	unknown := func(b []byte) []byte { return diameter.AppendUint32(b, unknownAVP, 1) }
	var served atomic.Int32
	p := opened(t, serve(func(from Remote, m diameter.Message, answer func([]byte)) {
		served.Add(1)
		echo(from, m, answer)
	}), nil)
	for _, c := range []struct {
		name string
		r    request
		want diameter.ResultCode
	}{
		{"A-025 E bit in a request", request{flags: diameter.FlagError}, 3008},
		{"A-040 unknown command", request{command: 999}, 3001},
		{"A-040 unknown base command", request{command: 999, base: true}, 3001},
		{"A-058 STR", request{command: 275}, 3001},
		{"A-041 D-028 D-080 unknown application", request{application: 16777238}, 3007},
		{"A-043 unknown AVP with M", request{extra: unknown}, 5001},
		{"A-060 Destination-Host is us", request{host: ocsHost}, 2001},
		{"A-038 Destination-Host in other case", request{host: "OCS1.Example.ORG"}, 2001},
		{"A-060 no Destination-Host", request{}, 2001},
		{"A-061 Destination-Host is another", request{host: "other.example.org"}, 3002},
		{"A-061 Destination-Host without Destination-Realm", request{host: ocsHost, realm: "-"}, 3002},
		{"A-062 foreign realm", request{realm: "elsewhere.example"}, 3003},
		{"A-047 no Destination-Realm", request{realm: "-"}, 5005},
		{"A-064 loop", request{extra: routeRecord("a.example", "OCS1.example.org")}, 3005},
		{"A-065 five Route-Records", request{extra: routeRecord("a.a", "b.b", "c.c", "d.d", "e.e")}, 2001},
		{"A-026 reserved header bits", request{flags: 0x01}, 2001},
		{"A-023 A-076 T bit", request{flags: diameter.FlagRetransmit}, 2001},
	} {
		t.Run(c.name, func(t *testing.T) {
			provesNamed(t)
			before := served.Load()
			c.r.hop, c.r.end = 0xabcd0001, 0xef010002
			p.write(c.r.encode(nil))
			a := p.read()
			if got := a.ResultCode(); got != c.want {
				t.Fatalf("Result-Code %d, want %d", got, c.want)
			}
			want := diameter.FlagProxiable
			if c.want.Protocol() {
				want |= diameter.FlagError
			}
			if a.Flags != want || a.HopByHop != c.r.hop || a.EndToEnd != c.r.end || a.Command != or(c.r.command, diameter.CmdCreditControl) {
				t.Errorf("A-021 A-022 A-023 A-024: header %+v, want flags %#x", a.Header, want)
			}
			if ran := served.Load() - before; (ran == 1) != c.want.Success() {
				t.Errorf("the handler ran %d times", ran)
			}
			origins, first := 0, true
			for avp := range a.AVPs() {
				if first && !avp.Is(diameter.SessionID) {
					t.Errorf("A-067: the first AVP is %d", avp.Code)
				}
				if first = false; avp.Is(diameter.OriginHost) && avp.Text() == ocsHost {
					origins++
				}
				if avp.Is(diameter.DestinationHost) || avp.Is(diameter.DestinationRealm) {
					t.Errorf("A-068: the answer has AVP %d", avp.Code)
				}
			}
			if origins != 1 {
				t.Errorf("A-069: our Origin-Host occurs %d times", origins)
			}
		})
	}
}

func TestAnswersAreNotAnswered(t *testing.T) {
	t.Run("A-025 unsolicited answer", func(t *testing.T) {
		provesNamed(t)
		late := countLate(t)
		p := opened(t, echo, nil)
		stray := cca(mustParse(t, request{hop: 7}.encode(nil)), diameter.Success, vpn)
		p.write(stray, request{hop: 8}.encode(nil))
		if a := p.read(); a.Request() || a.ResultCode() != diameter.Success || a.HopByHop != 8 {
			t.Errorf("%+v", a.Header)
		}
		if n := late(); n != 1 {
			t.Errorf("%d answers counted as late", n)
		}
	})
}

func mustParse(t testing.TB, raw []byte) diameter.Message {
	t.Helper()
	m, err := diameter.ParseMessage(raw)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestProxyInfo(t *testing.T) {
	info := func(host string) []byte {
		return diameter.AppendGroup(nil, diameter.ProxyInfo, func(b []byte) []byte {
			b = diameter.AppendString(b, diameter.ProxyHost, host)
			return diameter.AppendBytes(b, diameter.ProxyState, []byte{0, 0xff, 0x10})
		})
	}
	proves(t, "A-066", "D-082")
	both := append(info("p1.example"), info("p2.example")...)
	p := opened(t, echo, nil)
	for _, r := range []request{{}, {command: 999}, {realm: "-"}} {
		t.Run(fmt.Sprintf("A-066 command %d realm %q", r.command, r.realm), func(t *testing.T) {
			r.extra = func(b []byte) []byte { return append(b, both...) }
			p.write(r.encode(nil))
			if a := p.read(); !bytes.HasSuffix(a.Raw, both) {
				t.Errorf("Result-Code %d, tail %x", a.ResultCode(), a.Raw[len(a.Raw)-len(both):])
			}
		})
	}
}

func TestUnknownCommand(t *testing.T) {
	proves(t, "A-040", "D-080")
	p := opened(t, echo, nil)
	proxies := [][]byte{
		group(diameter.ProxyInfo, text(diameter.ProxyHost, "p1.example"), octets(diameter.ProxyState, 0, 0xff)),
		group(diameter.ProxyInfo, text(diameter.ProxyHost, "p2.example"), octets(diameter.ProxyState, 1)),
	}
	unknown := encodeRequest(77, append(good(), proxies...))
	unknown[5], unknown[6], unknown[7] = 0, 0x03, 0xe7 // command 999
	p.write(unknown, request{hop: 78}.encode(nil))
	a := p.read()
	if a.Command != 999 || a.Flags != diameter.FlagError|diameter.FlagProxiable || a.ResultCode() != diameter.CommandUnsupported {
		t.Errorf("%+v with Result-Code %d", a.Header, a.ResultCode())
	}
	if !bytes.HasPrefix(a.Body(), good()[0]) || !bytes.HasSuffix(a.Raw, bytes.Join(proxies, nil)) {
		t.Errorf("Session-Id is not first or Proxy-Info not last: %x", a.Raw)
	}
	if a = p.read(); a.HopByHop != 78 || a.ResultCode() != diameter.Success {
		t.Errorf("the next request: %+v %d", a.Header, a.ResultCode())
	}
}

func TestFramingFaults(t *testing.T) {
	proves(t, "A-027", "A-028", "A-029", "D-085")
	header := func(version byte, length int) []byte {
		b := request{hop: 5, end: 6}.encode(nil)[:diameter.HeaderLen]
		b[0], b[1], b[2], b[3] = version, byte(length>>16), byte(length>>8), byte(length)
		return b
	}
	for _, c := range []struct {
		name   string
		octets []byte
		want   diameter.ResultCode
	}{
		{"A-027 version 2", header(2, 40), 5011},
		{"A-028 length not a multiple of 4", header(1, 43), 5015},
		{"A-028 length below the header", header(1, 16), 5015},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := opened(t, echo, nil)
			p.write(c.octets, bytes.Repeat([]byte("x"), 100000)) // unread input must not destroy the answer
			if a := p.read(); a.ResultCode() != c.want || a.HopByHop != 5 {
				t.Errorf("Result-Code %d, hop-by-hop %d", a.ResultCode(), a.HopByHop)
			}
			_ = p.readClose()
		})
	}
	for name, octets := range map[string][]byte{
		"A-028 length above the limit": header(1, 2<<20),
		"A-029 HTTP":                   []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			_, address := startServer(t, echo, func(cfg *ServerConfig) { cfg.Peers = loopback("other.example.org") })
			other, p := dialScript(t, address), dialScript(t, address)
			other.write(cer("other.example.org", nil))
			other.read()
			p.open()
			p.write(octets)
			if err := p.readClose(); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("connection ends with %v, want a reset", err)
			}
			other.write(request{hop: 6}.encode(nil))
			if a := other.read(); a.HopByHop != 6 || a.ResultCode() != diameter.Success {
				t.Errorf("another peer got %+v %d", a.Header, a.ResultCode())
			}
		})
	}
	t.Run("A-029 HTTP instead of a CER", func(t *testing.T) {
		_, address := startServer(t, echo, nil)
		p := dialScript(t, address)
		p.write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
		if err := p.readClose(); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("connection ends with %v, want a reset", err)
		}
	})
}

func TestBrokenAVPKeepsConnection(t *testing.T) {
	t.Run("A-050", func(t *testing.T) {
		proves(t, "A-050", "D-084")
		p := opened(t, echo, nil)
		broken := request{extra: func(b []byte) []byte { return append(b, 0, 0, 1, 0x9f, 0x40, 0, 0, 4) }}
		p.write(broken.encode(nil), request{number: 2}.encode(nil))
		if a := p.read(); a.ResultCode() != diameter.InvalidAVPLength {
			t.Errorf("Result-Code %d", a.ResultCode())
		}
		if a := p.read(); a.ResultCode() != diameter.Success {
			t.Errorf("the next request: %d", a.ResultCode())
		}
	})
}

func TestSegmentation(t *testing.T) {
	proves(t, "A-030")
	t.Run("A-030 three messages in one segment", func(t *testing.T) {
		p := opened(t, echo, nil)
		p.write(request{hop: 1}.encode(nil), request{hop: 2}.encode(nil), request{hop: 3}.encode(nil))
		for want := uint32(1); want <= 3; want++ {
			if a := p.read(); a.HopByHop != want {
				t.Errorf("answer to %d, want %d", a.HopByHop, want)
			}
		}
	})
	t.Run("A-030 one-octet writes", func(t *testing.T) {
		_, address := startServer(t, echo, nil)
		p := dialScript(t, address)
		for _, octet := range append(cer(vpnHost, nil), request{hop: 9}.encode(nil)...) {
			p.write([]byte{octet})
		}
		if cea := p.read(); cea.ResultCode() != diameter.Success {
			t.Errorf("CEA %d", cea.ResultCode())
		}
		if a := p.read(); a.HopByHop != 9 || a.ResultCode() != diameter.Success {
			t.Errorf("answer %+v", a.Header)
		}
	})
}

func TestSlowRequestHoldsNobody(t *testing.T) {
	release := make(chan struct{})
	h := serve(func(_ Remote, m diameter.Message, answer func([]byte)) {
		if number, _ := m.Find(diameter.CCRequestNumber); number.Uint32() == 0 {
			go func() { <-release; answer(cca(m, diameter.Success, ocs)) }()
			return
		}
		answer(cca(m, diameter.Success, ocs))
	})
	t.Run("A-031", func(t *testing.T) {
		proves(t, "A-031", "D-092")
		p := opened(t, h, nil)
		var all []byte
		for n := range uint32(100) {
			all = request{number: n, hop: n + 1}.encode(all)
		}
		p.write(all, appendDWR(nil, vpn, 777, 777))
		for range 99 {
			if a := p.read(); a.HopByHop == 1 {
				t.Fatal("the slow one answered first")
			}
		}
		if a := p.read(); a.Command != diameter.CmdDeviceWatchdog || a.HopByHop != 777 {
			t.Errorf("A-080: %+v", a.Header)
		}
		close(release)
		if a := p.read(); a.HopByHop != 1 {
			t.Errorf("last answer is to %d", a.HopByHop)
		}
	})
}

func TestWatchdogAnswer(t *testing.T) {
	var answers []func()
	h := serve(func(_ Remote, m diameter.Message, answer func([]byte)) {
		answers = append(answers, func() { answer(cca(m, diameter.Success, ocs)) })
	})
	t.Run("A-080 D-087 D-092 with 1000 requests in processing", func(t *testing.T) {
		provesNamed(t)
		synctest.Test(t, func(t *testing.T) {
			network := newPipes()
			startOn(t, network.listen("ocs:3868"), h, nil)
			nc, err := network.dial(t.Context(), "ocs:3868")
			if err != nil {
				t.Fatal(err)
			}
			p := newScript(t, nc)
			p.open()
			for n := range uint32(1000) {
				p.write(request{number: n, hop: n + 1}.encode(nil))
			}
			p.write(appendDWR(nil, vpn, 5, 6))
			dwa := p.read()
			synctest.Wait()
			if dwa.Command != diameter.CmdDeviceWatchdog || dwa.Flags != 0 || dwa.ResultCode() != diameter.Success || len(answers) != 1000 {
				t.Errorf("%+v %d, %d in processing", dwa.Header, dwa.ResultCode(), len(answers))
			}
			if a, ok := dwa.Find(diameter.OriginStateID); !ok || a.Uint32() != ocs.OriginStateID {
				t.Errorf("Origin-State-Id %d", a.Uint32())
			}
			host, _ := dwa.Find(diameter.OriginHost)
			if origin, _ := dwa.Find(diameter.OriginRealm); host.Text() != ocsHost || origin.Text() != realm {
				t.Errorf("DWA from %s of %s", host.Text(), origin.Text())
			}
			if _, ok := dwa.Find(diameter.SessionID); ok {
				t.Error("the DWA has a Session-Id")
			}
			go func() {
				for _, answer := range answers {
					answer()
				}
			}()
			for range 1000 {
				p.read()
			}
			_ = nc.Close()
		})
	})
}

func TestTooManyInProcessing(t *testing.T) {
	var waiting []func([]byte)
	var of []diameter.Message
	taken := make(chan struct{}, 2)
	h := serve(func(_ Remote, m diameter.Message, answer func([]byte)) {
		waiting, of = append(waiting, answer), append(of, m)
		taken <- struct{}{}
	})
	t.Run("A-063", func(t *testing.T) {
		provesNamed(t)
		p := opened(t, h, func(cfg *ServerConfig) { cfg.ProcessingMax = 2 })
		p.write(request{hop: 1}.encode(nil), request{hop: 2}.encode(nil), request{hop: 3, host: ocsHost}.encode(nil), request{hop: 4}.encode(nil))
		want := map[uint32]diameter.ResultCode{3: diameter.TooBusy, 4: diameter.UnableToDeliver}
		for range want {
			a := p.read()
			if a.ResultCode() != want[a.HopByHop] || a.Flags&diameter.FlagError == 0 {
				t.Errorf("request %d: Result-Code %d, flags %#x, want %d", a.HopByHop, a.ResultCode(), a.Flags, want[a.HopByHop])
			}
		}
		<-taken
		<-taken
		waiting[0](cca(of[0], diameter.Success, ocs))
		waiting[0](cca(of[0], diameter.Success, ocs)) // a second call does nothing
		waiting[1](nil)                               // nor does this send anything
		if a := p.read(); a.HopByHop != 1 {
			t.Errorf("answer to %d", a.HopByHop)
		}
		p.write(request{hop: 5}.encode(nil)) // there is room again
		<-taken
		waiting[2](cca(of[2], diameter.Success, ocs))
		if a := p.read(); a.HopByHop != 5 || a.ResultCode() != diameter.Success {
			t.Errorf("answer to %d: %d", a.HopByHop, a.ResultCode())
		}
	})
}

func TestAnswerGoesBackWhereItCameFrom(t *testing.T) {
	t.Run("A-070 D-065 the same request by two relays", func(t *testing.T) {
		provesNamed(t)
		const relay1, relay2 = "relay1.example.org", "relay2.example.org"
		_, address := startServer(t, echo, func(cfg *ServerConfig) { cfg.Peers = loopback(relay1, relay2) })
		direct, r1, r2 := dialScript(t, address), dialScript(t, address), dialScript(t, address)
		direct.open()
		for p, host := range map[*script]string{r1: relay1, r2: relay2} {
			p.write(cer(host, applications(auth(diameter.AppRelay))))
			p.read()
		}
		r1.write(request{hop: 11, end: 1}.encode(nil)) // Origin-Host is the direct peer's
		r2.write(request{hop: 22, end: 1, flags: diameter.FlagRetransmit, host: ocsHost}.encode(nil))
		for p, hop := range map[*script]uint32{r1: 11, r2: 22} {
			if a := p.read(); a.HopByHop != hop || a.ResultCode() != diameter.Success {
				t.Errorf("%+v, want hop-by-hop %d", a.Header, hop)
			}
		}
		direct.write(appendDWR(nil, vpn, 33, 3))
		if a := direct.read(); a.HopByHop != 33 {
			t.Errorf("the direct connection got %+v", a.Header)
		}
	})
}

func TestPeerThatDoesNotRead(t *testing.T) {
	for reason, c := range map[string]struct {
		queueMax, requests int
		after              time.Duration
	}{
		"i/o timeout":         {queueMaxDefault, 5, writeTimeoutDefault},
		"write queue is full": {10, 100, 0},
	} {
		t.Run(reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := newJournal()
				network := newPipes()
				s := startOn(t, network.listen("ocs:3868"), echo, func(cfg *ServerConfig) {
					cfg.Logger, cfg.QueueMax = log.logger(), c.queueMax
				})
				nc, err := network.dial(t.Context(), "ocs:3868")
				if err != nil {
					t.Fatal(err)
				}
				p := newScript(t, nc)
				p.open()
				for range c.requests { // and reads no answer
					if _, err := nc.Write(request{}.encode(nil)); err != nil {
						break // the server has closed
					}
				}
				advance(c.after)
				log.await(reason)
				if n := len(s.connections()); n != 0 {
					t.Errorf("%d connections open", n)
				}
			})
		})
	}
}

// advance lets d pass in a bubble, and everything that happens meanwhile.
func advance(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestAnswerAfterClose(t *testing.T) {
	release, done := make(chan struct{}), make(chan struct{})
	h := serve(func(_ Remote, m diameter.Message, answer func([]byte)) {
		go func() {
			defer close(done)
			<-release
			answer(cca(m, diameter.Success, ocs))
		}()
	})
	_, address := startServer(t, h, nil)
	p := dialScript(t, address)
	p.open()
	p.write(request{}.encode(nil))
	_ = p.nc.Close()
	close(release)
	<-done // the answer was dropped; cleanup checks that nothing is left

	again := dialScript(t, address)
	for code := diameter.ElectionLost; code != diameter.Success; again = dialScript(t, address) {
		again.write(cer(vpnHost, nil))
		code = again.read().ResultCode()
	}
}
