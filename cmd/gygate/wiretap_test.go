package main

import (
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"gygate/diameter"
)

// wiretap stands between a Diameter client and its server and writes down every
// message. It connects onwards when somebody connects to it, so the server may be
// away for a while, as behind any wire.
type wiretap struct {
	listener net.Listener
	target   string
	open     sync.WaitGroup

	mu      sync.Mutex
	conns   []net.Conn
	closed  bool
	cut     bool // what is sent now is heard here and gets lost
	links   int  // connections passed on so far
	heard   []heard
	changed chan struct{} // closed and made anew with each message
}

// heard is one message that went by.
type heard struct {
	diameter.Message
	toClient bool
	lost     bool
	link     int // the how-manieth connection it went over
}

func newWiretap(t *testing.T, target string) *wiretap {
	t.Helper()
	l, err := net.Listen("tcp", loopbackAny)
	if err != nil {
		t.Fatal(err)
	}
	w := &wiretap{listener: l, target: target, changed: make(chan struct{})}
	w.open.Go(w.accept)
	t.Cleanup(w.close)
	return w
}

func (w *wiretap) addr() string { return w.listener.Addr().String() }

func (w *wiretap) close() {
	w.listener.Close()
	w.mu.Lock()
	w.closed = true
	for _, c := range w.conns {
		c.Close()
	}
	w.mu.Unlock()
	w.open.Wait()
}

func (w *wiretap) accept() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.DialTimeout("tcp", w.target, time.Second)
		if err != nil {
			client.Close() // the server is away
			continue
		}
		link, ok := w.keep(client, server)
		if !ok {
			return
		}
		w.open.Go(func() { w.pass(client, server, false, link) })
		w.open.Go(func() { w.pass(server, client, true, link) })
	}
}

func (w *wiretap) keep(both ...net.Conn) (link int, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		for _, c := range both {
			c.Close()
		}
		return 0, false
	}
	w.conns = append(w.conns, both...)
	w.links++
	return w.links, true
}

// pass hands messages on until one side closes; then both are closed.
func (w *wiretap) pass(from io.ReadCloser, to io.WriteCloser, toClient bool, link int) {
	defer from.Close()
	defer to.Close()
	for {
		m, err := diameter.ReadMessage(from)
		if err != nil {
			return
		}
		w.mu.Lock()
		lost := w.cut
		w.heard = append(w.heard, heard{m, toClient, lost, link})
		close(w.changed)
		w.changed = make(chan struct{})
		w.mu.Unlock()
		if lost {
			continue
		}
		if _, err := to.Write(m.Raw); err != nil {
			return
		}
	}
}

// setCut has everything get lost from now on, or passed on again.
func (w *wiretap) setCut(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
}

// all are the messages of a session so far, in the order they went by; "" stands
// for those of no session.
func (w *wiretap) all(session string) []heard {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.of(session)
}

func (w *wiretap) of(session string) []heard {
	var list []heard
	for _, m := range w.heard {
		if id, _ := m.Find(diameter.SessionID); id.Text() == session {
			list = append(list, m)
		}
	}
	return list
}

// await returns the first message of a session that is so, once it has gone by.
func (w *wiretap) await(t *testing.T, session, what string, is func(heard) bool) heard {
	t.Helper()
	late := time.After(testWait)
	for {
		w.mu.Lock()
		list, changed := w.of(session), w.changed
		w.mu.Unlock()
		if i := slices.IndexFunc(list, is); i >= 0 {
			return list[i]
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("%s did not come by; %d messages of %q did", what, len(list), session)
		}
	}
}

// What a message is.

func isRequestOf(command uint32) func(heard) bool {
	return func(m heard) bool { return m.Request() && m.Command == command }
}

func isAnswerTo(request heard) func(heard) bool {
	return func(m heard) bool {
		return !m.Request() && m.toClient != request.toClient && m.link == request.link && m.HopByHop == request.HopByHop && m.EndToEnd == request.EndToEnd
	}
}

// isCCR tells a Credit-Control-Request of a type (RFC 8506 §8.3).
func isCCR(kind uint32) func(heard) bool {
	return func(m heard) bool {
		return isRequestOf(diameter.CmdCreditControl)(m) && m.number(diameter.CCRequestType) == kind
	}
}

// The types of a CCR.
const (
	updateRequest    = 2
	terminateRequest = 3
)

// count is how many messages of a list are so.
func count(list []heard, is func(heard) bool) (n int) {
	for _, m := range list {
		if is(m) {
			n++
		}
	}
	return n
}

// number is an Unsigned32 of the message, 0 when it is absent.
func (m heard) number(a diameter.Attribute) uint32 {
	avp, ok := m.Find(a)
	if !ok {
		return 0
	}
	return avp.Uint32()
}

// text is a text of the message, "" when it is absent.
func (m heard) text(a diameter.Attribute) string {
	avp, _ := m.Find(a)
	return avp.Text()
}
