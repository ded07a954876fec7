package gy

import (
	"context"
	"testing"

	"gygate/diameter"
	"gygate/vpnlogic"
)

// A relay that has lost the server of a session answers 3002. What may move is
// then sent to it once more without Destination-Host, under the same identifier
// and without T, since nobody has executed it; what may not move has failed.
func TestRelayHasLostTheServer(t *testing.T) {
	for _, c := range []struct {
		name  string
		moves Optional[uint32]
		to    []string // Destination-Hosts of the CCR-U
		want  vpnlogic.ChargeResult
	}{
		{"session moves", Some(uint32(1)), []string{"ocs1", ""}, vpnlogic.ChargeGranted},
		{"session stays", Some(uint32(0)), []string{"ocs1"}, vpnlogic.ChargeUnreachable},
	} {
		t.Run(c.name, func(t *testing.T) {
			proves(t, "C-016")
			first, other := sixty(), sixty()
			first.OriginHost, first.SessionFailover, other.OriginHost = "ocs1", c.moves, "ocs2"
			client, w := newTestClient(t, ClientConfig{}, inTurn(answering(first),
				answering(CCA{OriginHost: "dra1", ResultCode: diameter.UnableToDeliver}), answering(other)))
			w.host = "dra1"
			client.Charge(context.Background(), initial("s"))
			if got := client.Charge(context.Background(), update("s", 1)); got.Result != c.want {
				t.Errorf("result %v %s", got.Result, got.Reason)
			}
			sent := w.sent[1:]
			if len(sent) != len(c.to) {
				t.Fatalf("sent %d times", len(sent))
			}
			for i, s := range sent {
				if s.ccr.DestinationHost != c.to[i] || s.request.Retransmission || i > 0 && s.request.EndToEnd != 77 {
					t.Errorf("sending %d: Destination-Host %q, %+v", i, s.ccr.DestinationHost, s.request)
				}
			}
		})
	}
}
