package gy

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/vpnlogic"
)

// This file is a stage for whole calls: VPN logic with its credit-control client
// on real Diameter connections (over pipes, in a bubble of fake time) to charging
// systems that follow a script.

// proves names the rows of the conformance table that the test shows.
func proves(t testing.TB, rows ...string) {
	for _, row := range rows {
		t.Attr("proves", row)
	}
}

// received is a request as a charging system got it.
type received struct {
	at  time.Time
	m   diameter.Message
	ccr *CCR
}

func (r received) resent() bool { return r.m.Flags&diameter.FlagRetransmit != 0 }

// scripted is a charging system: it keeps what it gets and answers CCRs by its
// script; nil is silence.
type scripted struct {
	t      testing.TB
	origin diameter.Origin
	relay  bool // advertises the relay application
	script func(r received) []byte

	mu      sync.Mutex
	down    bool
	conn    net.Conn
	seen    []received
	answers []diameter.Message // to its own requests
}

func newScripted(t testing.TB, host string, script func(received) *CCA) *scripted {
	s := &scripted{t: t, origin: diameter.Origin{Host: host, Realm: "vpn.example", StateID: 7}}
	s.says(script)
	return s
}

// says changes the script.
func (s *scripted) says(script func(received) *CCA) {
	s.writes(func(r received) []byte {
		a := script(r)
		if a == nil {
			return nil
		}
		if a.ResultCode == 0 {
			a.ResultCode = diameter.Success
		}
		a.Type, a.Number = r.ccr.Type, r.ccr.Number
		return a.Append(nil, r.m, s.origin)
	})
}

// writes changes the script to one that makes octets.
func (s *scripted) writes(script func(received) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = script
}

// cut ends the connection and keeps new ones out; mend lets them in again.
func (s *scripted) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = true
	if s.conn != nil {
		_ = s.conn.Close()
	}
}

func (s *scripted) mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = false
}

// accept is the network's side of Dial.
func (s *scripted) accept() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil, errors.New("connection refused")
	}
	near, far := net.Pipe()
	s.conn = far
	go s.serve(far)
	return near, nil
}

func (s *scripted) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	for {
		m, err := diameter.ReadMessage(conn)
		if err != nil {
			return
		}
		frame := s.reply(m)
		if frame == nil {
			continue
		}
		if _, err := conn.Write(frame); err != nil && !errors.Is(err, io.ErrClosedPipe) {
			return
		}
	}
}

func (s *scripted) reply(m diameter.Message) []byte {
	switch {
	case !m.Request():
		s.mu.Lock()
		defer s.mu.Unlock()
		s.answers = append(s.answers, m)
		return nil
	case m.Command == diameter.CmdCreditControl:
		return s.charge(m)
	}
	b := diameter.Start(nil, diameter.Header{Command: m.Command, HopByHop: m.HopByHop, EndToEnd: m.EndToEnd})
	b = diameter.AppendUint32(b, diameter.ResultCodeAVP, uint32(diameter.Success))
	b = diameter.AppendString(b, diameter.OriginHost, s.origin.Host)
	b = diameter.AppendString(b, diameter.OriginRealm, s.origin.Realm)
	if m.Command == diameter.CmdCapabilitiesExchange {
		b = diameter.AppendBytes(b, diameter.HostIPAddress, []byte{0, 1, 127, 0, 0, 1})
		b = diameter.AppendUint32(b, diameter.VendorID, 0)
		b = diameter.AppendString(b, diameter.ProductName, "scripted")
		application := uint32(diameter.AppCreditControl)
		if s.relay {
			application = diameter.AppRelay
		}
		b = diameter.AppendUint32(b, diameter.AuthApplicationID, application)
	}
	return diameter.Finish(b, 0)
}

func (s *scripted) charge(m diameter.Message) []byte {
	valid(s.t, m)
	ccr, fault := ParseCCR(m)
	if fault != nil {
		s.t.Errorf("the client sends what does not parse: %v", fault)
	}
	r := received{time.Now(), m, ccr}
	s.mu.Lock()
	s.seen = append(s.seen, r)
	script := s.script
	s.mu.Unlock()
	return script(r)
}

// got returns the CCRs until now.
func (s *scripted) got() []received {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// asks sends a request of the charging system and returns the answer to it.
func (s *scripted) asks(command uint32, session string, endToEnd uint32, more ...[]byte) diameter.Message {
	s.t.Helper()
	s.mu.Lock()
	conn, before := s.conn, len(s.answers)
	s.mu.Unlock()
	if _, err := conn.Write(serverRequest(s.origin, command, session, endToEnd, more...)); err != nil {
		s.t.Fatal(err)
	}
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.answers) != before+1 {
		s.t.Fatalf("%d answers to a request of the charging system", len(s.answers)-before)
	}
	return s.answers[before]
}

// serverRequest is a RAR or ASR.
func serverRequest(from diameter.Origin, command uint32, session string, endToEnd uint32, more ...[]byte) []byte {
	b := diameter.Start(nil, diameter.Header{Flags: diameter.FlagRequest | diameter.FlagProxiable, Command: command,
		Application: diameter.AppCreditControl, HopByHop: endToEnd + 1, EndToEnd: endToEnd})
	b = diameter.AppendString(b, diameter.SessionID, session)
	b = diameter.AppendString(b, diameter.OriginHost, from.Host)
	b = diameter.AppendString(b, diameter.OriginRealm, from.Realm)
	b = diameter.AppendString(b, diameter.DestinationRealm, testClient.Realm)
	b = diameter.AppendString(b, diameter.DestinationHost, testClient.Host)
	b = diameter.AppendUint32(b, diameter.AuthApplicationID, diameter.AppCreditControl)
	if command == diameter.CmdReAuth {
		b = diameter.AppendUint32(b, diameter.ReAuthRequestType, 0)
	}
	for _, avp := range more {
		b = append(b, avp...)
	}
	return diameter.Finish(b, 0)
}

// stage is VPN logic in front of charging systems.
type stage struct {
	t       *testing.T
	calls   *vpnlogic.Service
	client  *Client
	links   *peer.Client
	servers []*scripted
	mu      sync.Mutex
	records []vpnlogic.CallRecord
}

// onStage runs test in a bubble; servers are made by the test's own setting.
func onStage(t *testing.T, config ClientConfig, set func(t *testing.T) []*scripted, test func(*stage)) {
	t.Helper()
	dict, directory := dictionary(), stageDirectory(t)
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, servers: set(t)}
		config.Local = testClient
		calls := NewCallServer(CallServerConfig{Local: testClient, Realm: func(id string) string { return s.client.ServerRealm(id) }})
		s.links = s.connect(calls, dict)
		s.client = NewClient(config, s.links)
		s.calls = vpnlogic.NewService(vpnlogic.ServiceConfig{
			Directory: func() *vpnlogic.Directory { return directory }, Charger: s.client, Recorder: s,
		})
		calls.Attach(s.calls)
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- s.links.Run(ctx) }()
		synctest.Wait()
		test(s)
		s.stop()
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
}

func (s *stage) stop() {
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Hour)
	defer cancel()
	if err := s.calls.Shutdown(ctx); err != nil {
		s.t.Errorf("shutdown of the calls: %v", err)
	}
	_ = s.client.Shutdown(ctx) // what is lost on purpose is the test's business
}

func (s *stage) connect(calls peer.Handler, dict *diameter.Dictionary) *peer.Client {
	config := peer.ClientConfig{
		Local:      peer.Local{Host: testClient.Host, Realm: testClient.Realm, OriginStateID: testClient.StateID, Product: "gygate"},
		Dictionary: dict,
		Dial: func(_ context.Context, address string) (net.Conn, error) {
			for _, server := range s.servers {
				if server.origin.Host+":3868" == address {
					return server.accept()
				}
			}
			return nil, errors.New("no such address")
		},
	}
	for i, server := range s.servers {
		config.Peers = append(config.Peers, peer.Endpoint{Address: server.origin.Host + ":3868", Priority: i})
	}
	links, err := peer.NewClient(config, calls)
	if err != nil {
		s.t.Fatal(err)
	}
	return links
}

// Record implements vpnlogic.Recorder.
func (s *stage) Record(_ context.Context, all ...vpnlogic.CallRecord) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records = append(s.records, all...)
	return nil
}

// record is the only call record.
func (s *stage) record() vpnlogic.CallRecord {
	s.t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.records) != 1 {
		s.t.Fatalf("%d call records, want 1", len(s.records))
	}
	return s.records[0]
}

// dial begins a call of 6001 to 6002.
func (s *stage) dial() (*vpnlogic.Call, *leg) {
	s.t.Helper()
	l := new(leg)
	call, cause := s.calls.Begin(s.t.Context(), vpnlogic.Attempt{
		CallID: "call-1@pbx", ICID: "icid-1", Calling: "+8613800000001", Dialled: "6002", At: time.Now(),
	}, l)
	if cause != nil {
		s.t.Fatalf("refused at once: %v", cause)
	}
	synctest.Wait()
	return call, l
}

// talk begins a call that is answered at once.
func (s *stage) talk() (*vpnlogic.Call, *leg) {
	s.t.Helper()
	call, l := s.dial()
	call.Answered(time.Now())
	synctest.Wait()
	return call, l
}

// pass lets time go by and everything happen that falls into it.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// leg keeps what VPN logic did to the call.
type leg struct {
	mu        sync.Mutex
	connected int
	released  []vpnlogic.Cause
	at        time.Time // of the first release
}

func (l *leg) Connect(vpnlogic.Destination) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connected++
}

func (l *leg) Release(c vpnlogic.Cause) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.released = append(l.released, c); len(l.released) == 1 {
		l.at = time.Now()
	}
}

// state tells whether the call was sent on, and why and when it was released.
func (l *leg) state() (connected bool, cause vpnlogic.Cause, at time.Time) {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.released) > 0 {
		cause = l.released[0]
	}
	return l.connected > 0, cause, l.at
}

func stageDirectory(t testing.TB) *vpnlogic.Directory {
	t.Helper()
	d, err := vpnlogic.NewDirectory(
		[]vpnlogic.Group{{ID: "7001", CountryCode: "86", AreaCode: "10", EscapeCode: "9", ShortDigits: 4}},
		[]vpnlogic.Member{
			{Number: "8613800000001", Group: "7001", Short: "6001", Prepaid: true},
			{Number: "8613800000002", Group: "7001", Short: "6002"},
		}, []string{"112"})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// granting answers every CCR-I and CCR-U with so many seconds.
func granting(seconds uint32, edit func(*CCA)) func(received) *CCA {
	return func(r received) *CCA {
		a := &CCA{Services: []ServiceAnswer{{RatingGroup: wanted(r.ccr).RatingGroup, ResultCode: diameter.Success}}}
		if wanted(r.ccr).Requested.Present {
			a.Services[0].Granted = Some(GrantedUnits{ServiceUnits: timeUnits(seconds)})
			a.Services[0].Validity, a.Services[0].TimeThreshold = 300, 10
		}
		if edit != nil {
			edit(a)
		}
		return a
	}
}

// refusing answers with one code at command level.
func refusing(code diameter.ResultCode, edit func(*CCA)) func(received) *CCA {
	return func(received) *CCA {
		a := &CCA{ResultCode: code}
		if edit != nil {
			edit(a)
		}
		return a
	}
}

func silent(received) *CCA { return nil }
