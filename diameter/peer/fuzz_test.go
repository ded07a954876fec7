package peer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"gygate/diameter"
)

const (
	conversationMax = 64 << 10   // octets of one conversation: the queue must not be what ends it
	lastHop         = 0xfeedface // of the DWR that follows the fuzzed octets
)

// heard is the header of a message, which is all that an answer has to repeat.
type heard struct{ command, hop, end uint32 }

// Whatever octets follow a capabilities exchange: the server does not panic, each
// well-formed request gets exactly one answer, in order because the handler
// answers at once, and the connection either goes on working or ends. Octets that
// are no Diameter reset it, which may cost the answers still on their way.
func FuzzConversation(f *testing.F) {
	for _, a := range attacks() {
		if len(a.octets) < conversationMax/8 && !a.first {
			f.Add(a.octets)
			f.Add(slices.Concat(encodeRequest(1, good()), a.octets, appendDWR(nil, vpn, 2, 2), dpr(0)))
		}
	}
	network := newPipes()
	startOn(f, network.listen("ocs:3868"), echo, func(cfg *ServerConfig) {
		cfg.Peers, cfg.Unknown = nil, Open
		cfg.PerAddressMax = connectionsMaxDefault // closed ones may take a moment to leave
	})
	var conversations atomic.Uint32
	f.Fuzz(func(t *testing.T, stream []byte) {
		if len(stream) > conversationMax {
			return
		}
		s := newScript(t, network.connect(t, "ocs:3868"))
		s.write(cer(fmt.Sprintf("fuzz%d.example.org", conversations.Add(1)), nil))
		if code := s.read().ResultCode(); code != diameter.Success {
			t.Fatalf("CEA %d", code)
		}
		converse(t, s, stream)
	})
}

func converse(t *testing.T, s *script, stream []byte) {
	t.Helper()
	want, end := understood(stream)
	if end == atMessage {
		stream = append(bytes.Clone(stream), appendDWR(nil, vpn, lastHop, 1)...)
		want = append(want, heard{diameter.CmdDeviceWatchdog, lastHop, 1})
	}
	if err := s.nc.SetDeadline(time.Now().Add(time.Minute)); err != nil { // a hang would show as its error
		t.Fatal(err)
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = s.nc.Write(stream) // the server may close in the middle
	}()
	got, lost := s.hear(len(want))
	if !slices.Equal(got, want[:len(got)]) || lost != nil && end != framingLost {
		t.Fatalf("answers %x, then %v; want %x", got, lost, want)
	}
	switch {
	case lost != nil:
	case end == framingLost:
		s.lastWord(t)
	default: // it still works, or waits for the rest of a message
		<-written
	}
	_ = s.nc.Close()
	<-written
}

// hear reads n answers, fewer when the connection ends.
func (s *script) hear(n int) (got []heard, lost error) {
	for len(got) < n {
		m, err := diameter.ReadMessage(s.r)
		if err != nil {
			return got, err
		}
		if m.Request() {
			return got, fmt.Errorf("a request: %+v", m.Header)
		}
		got = append(got, heard{m.Command, m.HopByHop, m.EndToEnd})
	}
	return got, nil
}

// lastWord expects the end, and at most one answer before it: to the message whose
// end cannot be found.
func (s *script) lastWord(t *testing.T) {
	t.Helper()
	for n := 0; ; n++ {
		m, err := diameter.ReadMessage(s.r)
		switch {
		case err != nil:
			return
		case n > 0 || m.Request() || m.ResultCode() != diameter.InvalidMessageLength && m.ResultCode() != diameter.UnsupportedVersion:
			t.Fatalf("one more answer: %+v %d", m.Header, m.ResultCode())
		}
	}
}

// How a stream ends.
type streamEnd int

const (
	atMessage   streamEnd = iota // with a whole message
	inMessage                    // in the middle of one
	framingLost                  // at octets that are no message
)

// understood lists the requests that a stream consists of.
func understood(stream []byte) ([]heard, streamEnd) {
	var requests []heard
	for r := bufio.NewReader(bytes.NewReader(stream)); ; {
		m, err := diameter.ReadMessage(r)
		fault := (*diameter.Error)(nil)
		switch {
		case errors.Is(err, io.EOF):
			return requests, atMessage
		case errors.As(err, &fault):
			return requests, framingLost
		case err != nil:
			return requests, inMessage
		case m.Request():
			requests = append(requests, heard{m.Command, m.HopByHop, m.EndToEnd})
		}
	}
}
