package peer

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gygate/diameter"
)

const hostileHost = "hostile.example.org"

// attack is what a hostile peer sends, and what it gets for it.
type attack struct {
	name   string
	octets []byte
	first  bool                // sent instead of a CER
	want   diameter.ResultCode // of the answer; 0: none
	closes bool                // the connection ends; else it goes on working
}

func header(version byte, length int) []byte {
	b := encodeRequest(5, nil)
	b[0], b[1], b[2], b[3] = version, byte(length>>16), byte(length>>8), byte(length)
	return b
}

// avpHeader is an AVP header with the length it claims, and octets behind it.
func avpHeader(code uint32, flags byte, length int, rest ...byte) []byte {
	b := []byte{byte(code >> 24), byte(code >> 16), byte(code >> 8), byte(code), flags, byte(length >> 16), byte(length >> 8), byte(length)}
	return append(b, rest...)
}

func nested(depth int) []byte {
	var b []byte
	for ; depth > 0; depth-- {
		b = append(b, avpHeader(diameter.MultipleServicesCreditControl.Code, 0x40, 8*depth)...)
	}
	return b
}

// foreignOctets are no Diameter at all.
func foreignOctets() map[string][]byte {
	return map[string][]byte{
		"HTTP":            []byte("GET / HTTP/1.1\r\nHost: ocs1.example.org\r\n\r\n"),
		"SIP":             []byte("INVITE sip:6002@example.org SIP/2.0\r\n\r\n"),
		"TLS ClientHello": append([]byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}, make([]byte, 64)...),
		"zero octets":     make([]byte, 400),
		"ones":            bytes.Repeat([]byte{0xff}, 400),
		"SSH":             []byte("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
	}
}

func framingAttacks() []attack {
	var all []attack
	for name, octets := range foreignOctets() {
		all = append(all, attack{name: name, octets: octets, closes: true}, attack{name: name + " first", octets: octets, first: true, closes: true})
	}
	for _, length := range []int{0, 4, 16, 19, 21, 22, 23, 43} {
		all = append(all, attack{name: fmt.Sprintf("message length %d", length), octets: header(1, length), want: 5015, closes: true},
			attack{name: fmt.Sprintf("message length %d first", length), octets: header(1, length), first: true, closes: true})
	}
	for _, version := range []byte{0, 2, 255} {
		all = append(all, attack{name: fmt.Sprintf("version %d", version), octets: header(version, 20), want: 5011, closes: true})
	}
	for _, length := range []int{diameter.MessageMax + 4, 0xfffffc} {
		all = append(all, attack{name: fmt.Sprintf("message length %d", length), octets: header(1, length), closes: true},
			attack{name: fmt.Sprintf("message length %d first", length), octets: header(1, length), first: true, closes: true})
	}
	return all
}

func firstAttacks() []attack {
	local := Local{Host: hostileHost, Realm: realm}
	hello := func(edit func([]byte) []byte) []byte { return edit(cer(hostileHost, nil)) }
	flags := func(f byte) func([]byte) []byte { return func(b []byte) []byte { b[4] = f; return b } }
	deep := func(b []byte) []byte { return append(cerBody(b), nested(3000)...) }
	return []attack{
		{"a CCR first", encodeRequest(1, good()), true, 0, true},
		{"a DWR first", appendDWR(nil, local, 1, 2), true, 0, true},
		{"a DPR first", dpr(0), true, 0, true},
		{"a CEA first", hello(flags(0)), true, 0, true},
		{"a CER of application 4", hello(func(b []byte) []byte { b[11] = 4; return b }), true, 0, true},
		{"an empty CER", startEmpty(diameter.CmdCapabilitiesExchange), true, 5005, true},
		{"a CER of a huge Origin-Host", cer(strings.Repeat("x", 70000), nil), true, 5004, true},
		{"a CER of an Origin-Host with line ends", cer("a\r\nb", nil), true, 5004, true},
		{"a CER as ourselves", cer(ocsHost, nil), true, 3010, true},
		{"a CER as a stranger", cer("stranger.example", nil), true, 3010, true},
		{"a CER of nested groups", cer(hostileHost, deep), true, 5012, true},
		{"a CER with 3000 applications", cer(hostileHost, applications(auth(make([]uint32, 3000)...))), true, 5012, true},
		{"a CER without anything in common", cer(hostileHost, applications(auth(16777238))), true, 5010, true},
		{"a CER with a broken address", cer(hostileHost, func(b []byte) []byte {
			return append(b, octets(diameter.HostIPAddress, 0, 1, 127)...)
		}), true, 5014, true},
		{"a CER with an AVP past its end", cer(hostileHost, func(b []byte) []byte { return append(b, avpHeader(257, 0x40, 400, 0, 1, 1, 1)...) }), true, 5014, true},
		{"a CER with TLS in band only", cer(hostileHost, applications(security(1))), true, 5017, true},
	}
}

// startEmpty is a base request without any AVP.
func startEmpty(command uint32) []byte {
	return diameter.Finish(startRequest(nil, command, 1, 2), 0)
}

// ccrAttack is a CCR with one thing wrong.
func ccrAttack(name string, e edit, want diameter.ResultCode) attack {
	return attack{name: name, octets: encodeRequest(9, e(good())), want: want}
}

func avpAttacks() []attack {
	state, zero := uint32(278), []byte{0, 0, 0, 0}
	vendor := diameter.Attribute{Code: 263, Vendor: 9999}
	mscc := func(members ...[]byte) edit { return with(group(diameter.MultipleServicesCreditControl, members...)) }
	all := []attack{
		ccrAttack("AVP length 0", with(avpHeader(state, 0x40, 0, zero...)), 5014),
		ccrAttack("AVP length 4", with(avpHeader(state, 0x40, 4, zero...)), 5014),
		ccrAttack("AVP length 7", with(avpHeader(state, 0x40, 7, zero...)), 5014),
		ccrAttack("AVP length 8 with V", with(avpHeader(state, 0x80, 8, zero...)), 5014),
		ccrAttack("AVP length 40 of 12", with(avpHeader(state, 0x40, 40, zero...)), 5014),
		ccrAttack("AVP length 16777215", with(avpHeader(state, 0x40, 0xffffff, zero...)), 5014),
		ccrAttack("four stray octets", with(zero), 5014),
		ccrAttack("unknown AVP past the end", with(avpHeader(60001, 0, 40, zero...)), 5014),
		ccrAttack("group with a broken member", mscc(avpHeader(432, 0x40, 400, zero...)), 5014),
		ccrAttack("group with stray octets", mscc(zero), 5014),
		ccrAttack("group past the end", with(avpHeader(456, 0x40, 400, zero...)), 5014),
		ccrAttack("Unsigned32 of 0", mscc(octets(diameter.RatingGroup)), 5014),
		ccrAttack("Unsigned32 of 3", mscc(octets(diameter.RatingGroup, 1, 2, 3)), 5014),
		ccrAttack("Unsigned32 of 16 that smuggles an AVP", mscc(group(diameter.RequestedServiceUnit, octets(diameter.CCTime, u32(diameter.RatingGroup, 666)...))), 5014),
		ccrAttack("Unsigned64 of 4", mscc(group(diameter.RequestedServiceUnit, octets(diameter.CCTotalOctets, zero...))), 5014),
		ccrAttack("Time of 3", with(octets(diameter.EventTimestamp, 1, 2, 3)), 5014),
		ccrAttack("Address of 0", with(octets(diameter.HostIPAddress)), 5014),
		ccrAttack("Address of family 0", with(octets(diameter.HostIPAddress, 0, 0, 1, 2, 3, 4)), 5004),
		ccrAttack("IPv4 address of 3", with(octets(diameter.HostIPAddress, 0, 1, 1, 2, 3)), 5014),
		ccrAttack("IPv6 address of 4", with(octets(diameter.HostIPAddress, 0, 2, 1, 2, 3, 4)), 5014),
		ccrAttack("mapped IPv6 address", with(octets(diameter.HostIPAddress, slices.Concat([]byte{0, 2}, make([]byte, 10), []byte{0xff, 0xff, 1, 2, 3, 4})...)), 2001),
		ccrAttack("undefined enumeration", instead(u32(diameter.CCRequestType, 0xffffffff)), 5004),
		ccrAttack("no UTF-8", instead(text(diameter.ServiceContextID, "\xc3\x28")), 5004),
		ccrAttack("a zero octet in a text", instead(text(diameter.ServiceContextID, "a\x00b")), 5004),
		ccrAttack("identity with a space", instead(text(diameter.OriginHost, "a b")), 5004),
		ccrAttack("empty identity", instead(text(diameter.OriginRealm, "")), 5004),
		ccrAttack("empty Session-Id", instead(text(diameter.SessionID, "")), 5004),
		ccrAttack("Session-Id of 1025", instead(text(diameter.SessionID, strings.Repeat("x", 1025))), 5004),
		ccrAttack("two Session-Ids", with(text(diameter.SessionID, "x")), 5009),
		ccrAttack("Session-Id of another vendor first", func(a [][]byte) [][]byte { return slices.Insert(a, 0, text(vendor, "EVIL")) }, 2001),
		ccrAttack("the same instead of it", instead(text(vendor, "EVIL")), 5005),
		ccrAttack("CC-Request-Number of another vendor", with(octets(diameter.Attribute{Code: 415, Vendor: 9999}, 1, 2, 3, 4, 5)), 2001),
		ccrAttack("no AVP at all", func([][]byte) [][]byte { return nil }, 5005),
		ccrAttack("V bit and vendor 0", with(slices.Concat(avpHeader(60001, 0x80, 16), zero, zero)), 2001),
		ccrAttack("highest AVP code", with(avpHeader(0xffffffff, 0x40, 8)), 5001),
		ccrAttack("unknown AVP of 900 kB", with(octets(diameter.Attribute{Code: 60001}, make([]byte, 900<<10)...)), 2001),
		ccrAttack("unknown AVP of 900 kB with M", with(octets(unknownAVP, make([]byte, 900<<10)...)), 5001),
		ccrAttack("2100 AVPs", with(slices.Repeat([][]byte{octets(diameter.Attribute{Code: 60001})}, 2100)...), 5012),
		ccrAttack("100000 AVPs in a group", mscc(bytes.Repeat(octets(diameter.Attribute{Code: 60001}), 100000)), 5012),
		ccrAttack("groups nested 9 deep", with(nested(9)), 5012),
		ccrAttack("groups nested 20000 deep", with(nested(20000)), 5012),
		ccrAttack("unknown group nested 20000 deep", with(octets(diameter.Attribute{Code: 60002}, nested(20000)...)), 2001),
		ccrAttack("Proxy-Info of garbage", with(octets(diameter.ProxyInfo, 1, 2, 3)), 2001),
		ccrAttack("1500 Route-Records", with(slices.Repeat([][]byte{text(diameter.RouteRecord, "a.a")}, 1500)...), 2001),
		ccrAttack("Failed-AVP in a request", with(octets(diameter.FailedAVP, 1, 2, 3)), 5008),
		ccrAttack("a loop", with(text(diameter.RouteRecord, strings.ToUpper(ocsHost))), 3005),
		ccrAttack("trailing octets that make the length odd", with([]byte{0, 0, 0, 0, 0}), 5015),
	}
	all[len(all)-1].closes = true // the end of the message is lost with its length
	return all
}

func commandAttacks() []attack {
	local := Local{Host: hostileHost, Realm: realm}
	change := func(frame []byte, at int, octets ...byte) []byte { copy(frame[at:], octets); return frame }
	one := func() []byte { return encodeRequest(9, good()) }
	return []attack{
		{"command 0", change(one(), 5, 0, 0, 0), false, 3001, false},
		{"command 999", change(one(), 5, 0, 3, 0xe7), false, 3001, false},
		{"command 16777215", change(one(), 5, 0xff, 0xff, 0xff), false, 3001, false},
		{"STR", change(one(), 5, 0, 1, 0x13), false, 3001, false},
		{"ACR", change(one(), 5, 0, 1, 0x0f), false, 3001, false},
		{"RAR to a server", change(one(), 5, 0, 1, 2), false, 3001, false},
		{"CCR of application 0", change(one(), 8, 0, 0, 0, 0), false, 3001, false},
		{"CCR of application Gx", change(one(), 8, 1, 0, 0, 22), false, 3007, false},
		{"CCR of the relay application", change(one(), 8, 0xff, 0xff, 0xff, 0xff), false, 3007, false},
		{"E bit in a request", change(one(), 4, 0xe0), false, 3008, false},
		{"all flag bits but E", change(one(), 4, 0xdf), false, 2001, false},
		{"an answer nobody waits for", change(one(), 4, 0x40), false, 0, false},
		{"an answer with all bits", change(one(), 4, 0x7f), false, 0, false},
		{"a DWA nobody waits for", change(appendDWR(nil, local, 7, 7), 4, 0), false, 0, false},
		{"a DPA nobody waits for", change(dpr(0), 4, 0), false, 0, false},
		{"a CEA nobody waits for", change(cer(hostileHost, nil), 4, 0), false, 0, false},
		{"a second CER", cer(hostileHost, nil), false, 5012, false},
		{"a second CER as somebody else", cer(vpnHost, nil), false, 5012, false},
		{"a DWR without Origin", startEmpty(diameter.CmdDeviceWatchdog), false, 5005, false},
		{"a DWR with the E bit", change(appendDWR(nil, local, 7, 7), 4, 0xa0), false, 3008, false},
		{"a DPR without cause", startEmpty(diameter.CmdDisconnectPeer), false, 5005, false},
		{"a DWR as somebody else", appendDWR(nil, vpn, 7, 7), false, 2001, false},
	}
}

func attacks() []attack {
	return slices.Concat(framingAttacks(), firstAttacks(), avpAttacks(), commandAttacks())
}

// Every attack gets an answer by the book or a close, costs no more memory than
// its own octets justify, and no other peer notices.
func TestHostileOctets(t *testing.T) {
	proves(t, "A-028", "A-050", "D-084", "D-085")
	all := attacks()
	if len(all) < 70 {
		t.Fatalf("only %d attacks", len(all))
	}
	_, address := startServer(t, echo, func(cfg *ServerConfig) { cfg.Peers = loopback(hostileHost) })
	bystander := dialScript(t, address)
	bystander.open()
	for i, a := range all {
		t.Run(a.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			a.run(t, address)
			runtime.ReadMemStats(&after)
			// The validated frame, what repeats of it in the answer, and the
			// reading of both; the rest is the two connections' buffers.
			if got, most := after.TotalAlloc-before.TotalAlloc, uint64(2<<20+8*len(a.octets)); got > most {
				t.Errorf("%d octets allocated for %d received", got, len(a.octets))
			}
			bystander.write(request{hop: uint32(i)}.encode(nil))
			if m := bystander.read(); m.HopByHop != uint32(i) || m.ResultCode() != diameter.Success {
				t.Errorf("the bystander got %+v %d", m.Header, m.ResultCode())
			}
		})
	}
}

func (a attack) run(t *testing.T, address string) {
	t.Helper()
	p := hostile(t, address, a.first)
	defer func() { _ = p.nc.Close() }()
	// A server that resets may do so while octets are on their way.
	_, failed := p.nc.Write(a.octets)
	if failed != nil && !a.closes {
		t.Fatal(failed)
	}
	if a.want != 0 {
		a.answered(t, p.read())
	}
	if a.closes {
		_ = p.readClose()
		return
	}
	p.write(request{hop: 4711}.encode(nil))
	if m := p.read(); m.HopByHop != 4711 || m.ResultCode() != diameter.Success {
		t.Errorf("the next request got %+v %d", m.Header, m.ResultCode())
	}
}

// hostile connects as hostileHost, again and again until its last connection is
// forgotten.
func hostile(t *testing.T, address string, silent bool) *script {
	t.Helper()
	for {
		p := dialScript(t, address)
		if silent {
			return p
		}
		p.write(cer(hostileHost, nil))
		switch code := p.read().ResultCode(); code {
		case diameter.Success:
			return p
		case diameter.ElectionLost:
			_ = p.nc.Close()
		default:
			t.Fatalf("CEA %d", code)
		}
	}
}

func (a attack) answered(t *testing.T, m diameter.Message) {
	t.Helper()
	if got := m.ResultCode(); got != a.want || m.Request() {
		t.Errorf("%+v with Result-Code %d, want %d", m.Header, got, a.want)
	}
	known := a.want != diameter.CommandUnsupported && a.want != diameter.ApplicationUnsupported
	echoed := strings.Contains(a.name, "Session-Id") // comes back as it was, however wrong
	if fault := dictionary().Validate(m, diameter.Mode{}); fault != nil && known && !echoed {
		t.Errorf("the answer is faulty itself: %v", fault)
	}
	for avp := range m.AVPs() {
		if vendor := avp.Flags&diameter.AVPVendor != 0; vendor != (avp.Vendor != 0) || avp.Flags&0x3f != 0 {
			t.Errorf("A-034 A-035: AVP %d has flags %#x", avp.Code, avp.Flags)
		}
	}
}

// A peer that breaks off in the middle of a message leaves nothing behind.
func TestCutMessages(t *testing.T) {
	_, address := startServer(t, echo, func(cfg *ServerConfig) { cfg.Peers = loopback(hostileHost) })
	whole := encodeRequest(1, good())
	for _, n := range []int{1, diameter.HeaderLen - 1, diameter.HeaderLen, diameter.HeaderLen + 5, len(whole) - 1} {
		for _, first := range []bool{true, false} {
			p := hostile(t, address, first)
			p.write(whole[:n])
			if err := p.nc.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			_ = p.readClose()
		}
	}
}

// Strangers that say nothing hold what the limits allow, for CERTimeout at most.
func TestFloodBeforeCER(t *testing.T) {
	const limit = 16
	for name, change := range map[string]func(*ServerConfig){
		"connections":   func(cfg *ServerConfig) { cfg.ConnectionsMax = limit },
		"of an address": func(cfg *ServerConfig) { cfg.PerAddressMax = limit },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := newPipes()
				s := startOn(t, network.listen("ocs:3868"), echo, change)
				good := newScript(t, network.connect(t, "ocs:3868"))
				good.open()
				var held, refused int
				for range 10 * limit {
					p := newScript(t, network.connect(t, "ocs:3868"))
					synctest.Wait()
					if _, err := p.nc.Write([]byte{1}); err != nil { // the first octet of a header
						refused++
						continue
					}
					held++
				}
				if held != limit-1 || refused != 9*limit+1 {
					t.Errorf("%d held, %d refused", held, refused)
				}
				good.write(request{hop: 1}.encode(nil))
				if m := good.read(); m.ResultCode() != diameter.Success {
					t.Errorf("meanwhile the good peer got %d", m.ResultCode())
				}
				advance(cerTimeoutDefault)
				s.mu.Lock()
				defer s.mu.Unlock()
				if n := len(s.sockets); n != 1 {
					t.Errorf("%d connections after the timeout", n)
				}
			})
		})
	}
}

// A CER that trickles in is cut off at CERTimeout, a message that stops half-way
// by the watchdog.
func TestSlowPeers(t *testing.T) {
	t.Run("CER", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			network := newPipes()
			startOn(t, network.listen("ocs:3868"), echo, nil)
			p, begin := newScript(t, network.connect(t, "ocs:3868")), time.Now()
			for _, octet := range cer(vpnHost, nil) {
				if _, err := p.nc.Write([]byte{octet}); err != nil {
					break
				}
				advance(time.Second)
			}
			about(t, "close", time.Since(begin), cerTimeoutDefault, cerTimeoutDefault)
		})
	})
	t.Run("half a message", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			network := newPipes()
			s := startOn(t, network.listen("ocs:3868"), echo, nil)
			p, begin := newScript(t, network.connect(t, "ocs:3868")), time.Now()
			p.open()
			frame := encodeRequest(1, good())
			p.write(frame[:len(frame)/2])
			if m := p.read(); m.Command != diameter.CmdDeviceWatchdog {
				t.Errorf("%+v", m.Header)
			}
			_ = p.readClose()
			about(t, "close", time.Since(begin), 3*28*time.Second, 3*32*time.Second)
			synctest.Wait()
			if n := len(s.connections()); n != 0 {
				t.Errorf("%d connections", n)
			}
		})
	})
}

// What waits for a peer that does not read is bounded in octets as well.
func TestQueueIsBoundedInOctets(t *testing.T) {
	near, far := net.Pipe()
	defer func() { _, _ = near.Close(), far.Close() }() // nobody uses them
	w := newWriter(near, time.Minute, queueMaxDefault)
	frame, n := make([]byte, 1<<20), 0
	for ; w.put(frame) == nil; n++ {
	}
	if err := w.put(frame); n != queueOctetsMax>>20 || !errors.Is(err, errQueueFull) {
		t.Errorf("%d frames of 1 MiB, then %v", n, err)
	}
}
