package diametertest

import (
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/fiorix/go-diameter/v4/diam"
	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"
	"github.com/fiorix/go-diameter/v4/diam/dict"
	"github.com/fiorix/go-diameter/v4/diam/sm"

	"gygate/diameter"
)

// Serve answers a request that a Foreign peer received. Reply makes the answer.
type Serve func(request *diam.Message) *diam.Message

// foreignDictionary is shared by all Foreign peers: their library's own would
// advertise a dozen other applications.
var foreignDictionary = sync.OnceValues(func() (*dict.Parser, error) {
	d, err := diameter.NewDictionary()
	if err != nil {
		return nil, err
	}
	return d.Parser(), nil
})

// machine is go-diameter's peer state machine for one client or server. A
// second connection of a client needs a second one: they overwrite each
// other's handlers.
func machine(t testing.TB, origin diameter.Origin) *sm.StateMachine {
	t.Helper()
	parser, err := foreignDictionary()
	if err != nil {
		t.Fatal(err)
	}
	return sm.New(&sm.Settings{
		OriginHost:      datatype.DiameterIdentity(origin.Host),
		OriginRealm:     datatype.DiameterIdentity(origin.Realm),
		OriginStateID:   datatype.Unsigned32(origin.StateID),
		ProductName:     "go-diameter",
		HostIPAddresses: []datatype.Address{datatype.Address(net.IPv4(127, 0, 0, 1).To4())},
		Dict:            parser,
	})
}

// ServeForeign starts a server made of go-diameter that answers CCRs by serve and
// runs until the end of the test. It accepts every peer and answers DWR and DPR. It
// returns its address on the loopback.
func ServeForeign(t testing.TB, origin diameter.Origin, serve Serve) (address string) {
	t.Helper()
	m := machine(t, origin)
	m.HandleFunc("CCR", answerer(t, serve))
	m.HandleFunc("DPR", answerer(t, func(dpr *diam.Message) *diam.Message { // the library leaves it to its user
		return Reply(dpr, origin, diameter.Success)
	}))
	return ServeLibrary(t, &diam.Server{Handler: m, Dict: m.Settings().Dict})
}

// ServeLibrary runs a server of go-diameter until the end of the test and returns
// its address on the loopback.
func ServeLibrary(t testing.TB, server *diam.Server) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	recorded := &recording{Listener: listener}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(recorded) // ends with the error of the closed listener, and only so
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-served
		for _, conn := range recorded.conns {
			_ = conn.Close()
		}
	})
	return listener.Addr().String()
}

// recording is a listener that remembers its connections, which the library cannot
// close. Only the goroutine that accepts touches them while it runs.
type recording struct {
	net.Listener
	conns []net.Conn
}

// Accept accepts and remembers.
func (r *recording) Accept() (net.Conn, error) {
	conn, err := r.Listener.Accept()
	if err == nil {
		r.conns = append(r.conns, conn)
	}
	return conn, err
}

// answerer makes a handler of serve.
func answerer(t testing.TB, serve Serve) diam.HandlerFunc {
	return func(conn diam.Conn, request *diam.Message) {
		if _, err := serve(request).WriteTo(conn); err != nil {
			t.Errorf("foreign peer's answer: %v", err)
		}
	}
}

// Reply makes an answer as the standard wants it: identifiers and P bit
// mirrored and nothing else of the header, Session-Id first, then result and
// origin, then more, which must be complete when they are handed over. The
// library's own Answer would also mirror E and T, and add no Session-Id.
func Reply(request *diam.Message, origin diameter.Origin, code diameter.ResultCode, more ...*diam.AVP) *diam.Message {
	h := request.Header
	answer := diam.NewMessage(h.CommandCode, h.CommandFlags&diam.ProxiableFlag, h.ApplicationID, h.HopByHopID, h.EndToEndID, request.Dictionary())
	answer.Header.HopByHopID, answer.Header.EndToEndID = h.HopByHopID, h.EndToEndID // the library replaces 0
	if code.Protocol() {
		answer.Header.CommandFlags |= diam.ErrorFlag
	}
	for _, a := range request.AVP {
		if a.Code == avp.SessionID && a.VendorID == 0 {
			answer.AddAVP(a)
			break
		}
	}
	answer.AddAVP(diam.NewAVP(avp.ResultCode, avp.Mbit, 0, datatype.Unsigned32(code)))
	answer.AddAVP(diam.NewAVP(avp.OriginHost, avp.Mbit, 0, datatype.DiameterIdentity(origin.Host)))
	answer.AddAVP(diam.NewAVP(avp.OriginRealm, avp.Mbit, 0, datatype.DiameterIdentity(origin.Realm)))
	for _, a := range more {
		answer.AddAVP(a)
	}
	return answer
}

// ForeignClient is a connection of a Diameter client made of go-diameter.
type ForeignClient struct {
	t    testing.TB
	conn diam.Conn
	dict *dict.Parser

	mu      sync.Mutex
	last    uint32
	waiting map[uint32]chan *diam.Message // by Hop-by-Hop Identifier
}

// DialForeign connects to a server and exchanges capabilities for credit
// control. serve answers the server's RAR, ASR and DPR; nil answers none. The
// connection is closed at the end of the test.
func DialForeign(t testing.TB, address string, origin diameter.Origin, serve Serve) *ForeignClient {
	t.Helper()
	m := machine(t, origin)
	c := &ForeignClient{t: t, dict: m.Settings().Dict, last: 0xf0000000, waiting: make(map[uint32]chan *diam.Message)}
	m.HandleFunc("CCA", c.take)
	if serve != nil {
		for _, command := range []string{"RAR", "ASR", "DPR"} {
			m.HandleFunc(command, answerer(t, serve))
		}
	}
	client := &sm.Client{
		Dict:    c.dict,
		Handler: m,
		// Without retransmission the interval is how long it waits for the CEA.
		RetransmitInterval: Patience,
		SupportedVendorID:  []*diam.AVP{diam.NewAVP(avp.SupportedVendorID, avp.Mbit, 0, datatype.Unsigned32(diameter.Vendor3GPP))},
		AuthApplicationID:  []*diam.AVP{diam.NewAVP(avp.AuthApplicationID, avp.Mbit, 0, datatype.Unsigned32(diameter.AppCreditControl))},
	}
	conn, err := client.DialTimeout(address, Patience)
	if err != nil {
		t.Fatalf("foreign client: %v", err)
	}
	c.conn = conn
	t.Cleanup(conn.Close)
	return c
}

// NewCCR starts a CCR with a Session-Id and identifiers of its own. The caller
// adds all other AVPs, groups when they are complete.
func (c *ForeignClient) NewCCR(sessionID string) *diam.Message {
	c.mu.Lock()
	c.last++
	id := c.last
	c.mu.Unlock()
	ccr := diam.NewMessage(diam.CreditControl, diam.RequestFlag|diam.ProxiableFlag, diameter.AppCreditControl, id, id, c.dict)
	ccr.AddAVP(diam.NewAVP(avp.SessionID, avp.Mbit, 0, datatype.UTF8String(sessionID)))
	return ccr
}

// Do sends a CCR and returns its answer. Any number of goroutines may call it.
func (c *ForeignClient) Do(ccr *diam.Message) (*diam.Message, error) {
	answer := make(chan *diam.Message, 1)
	c.mu.Lock()
	c.waiting[ccr.Header.HopByHopID] = answer
	c.mu.Unlock()
	if _, err := ccr.WriteTo(c.conn); err != nil {
		return nil, fmt.Errorf("foreign client: %w", err)
	}
	select {
	case m := <-answer:
		return m, nil
	case <-time.After(Patience):
		return nil, fmt.Errorf("foreign client: no answer to %08x", ccr.Header.HopByHopID)
	}
}

// take hands an answer to who waits for it.
func (c *ForeignClient) take(_ diam.Conn, m *diam.Message) {
	c.mu.Lock()
	answer, ok := c.waiting[m.Header.HopByHopID]
	delete(c.waiting, m.Header.HopByHopID)
	c.mu.Unlock()
	if !ok {
		c.t.Errorf("foreign client: answer %08x to no request", m.Header.HopByHopID)
		return
	}
	answer <- m
}
