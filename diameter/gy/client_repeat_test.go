package gy

import (
	"context"
	"testing"

	"gygate/diameter/peer"
)

// C-015: a request that the call hands over again keeps its number and its
// End-to-End Identifier, and has the T bit once it may have arrived.
func TestRepeatedUpdateC015(t *testing.T) {
	proves(t, "C-015")
	c, w := newTestClient(t, ClientConfig{}, answering(sixty()))
	c.Charge(context.Background(), initial("s"))
	w.say(inTurn(failing(peer.ErrNoPeer), failing(peer.ErrNoAnswer), failing(peer.ErrNoPeer), answering(sixty()), answering(sixty())))
	r := update("s", 1)
	c.Charge(context.Background(), r)
	r.Repeat = true
	for range 3 {
		c.Charge(context.Background(), r)
	}
	c.Charge(context.Background(), update("s", 2))

	want := []struct {
		number   uint32
		endToEnd uint32
		t        bool
	}{{1, 0, false}, {1, 77, false}, {1, 77, true}, {1, 77, true}, {2, 0, false}}
	for i, want := range want {
		got := w.sent[1+i]
		if got.ccr.Number != want.number || got.request.EndToEnd != want.endToEnd || got.request.Retransmission != want.t {
			t.Errorf("sending %d: #%d, e2e %d, T %v, want %+v", i, got.ccr.Number, got.request.EndToEnd, got.request.Retransmission, want)
		}
	}
}
