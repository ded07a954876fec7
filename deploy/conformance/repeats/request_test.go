package repeats

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"

	"gygate/diameter"
	"gygate/diameter/gy"
	"gygate/diameter/peer"
	"gygate/ocs"
)

// request is a credit-control request with what became of its first sending.
type request struct {
	ccr      gy.CCR
	raw      []byte
	endToEnd uint32

	// Of the first answer.
	charging []byte
	answer   *gy.CCA
	node     int   // which answered
	life     int64 // and how often it had been started by then
}

func newRequest(ccr gy.CCR) *request {
	return &request{ccr: ccr, raw: ccr.Append(nil, diameter.Header{})}
}

// key is how the books name the request.
func (r *request) key() key {
	sum := sha256.Sum256([]byte(r.ccr.SessionID))
	return key{[16]byte(sum[:16]), uint8(r.ccr.Type), r.ccr.Number}
}

type key struct {
	session [16]byte
	kind    uint8
	number  uint32
}

func (k key) letter() string { return letter(ocs.StepType(k.kind)) }

// sending is one sending of a request.
type sending struct {
	node, connection int
	endToEnd         uint32 // 0: a new one
	repeat           bool   // with the T bit
}

// send sends the request once.
func (c *cluster) send(ctx context.Context, r *request, s sending) (peer.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, answerMax)
	defer cancel()
	return c.nodes[s.node].clients[s.connection].Do(ctx, peer.Request{
		Encode:         func(b []byte, _ string) []byte { return append(b, r.raw...) },
		EndToEnd:       s.endToEnd,
		Retransmission: s.repeat,
	})
}

// waitOpen waits a moment for the connection of a sending, which may be coming
// back after a kill; the next attempt tries the other node again.
func (c *cluster) waitOpen(ctx context.Context, s sending) {
	ctx, cancel := context.WithTimeout(ctx, comeBack)
	defer cancel()
	_ = c.nodes[s.node].clients[s.connection].WaitOpen(ctx) // the sending tells whether it is open
}

// first keeps what the first answer says; every later one is compared with it.
func (r *request) first(c *cluster, got peer.Answer, node int) error {
	charging, err := c.chargingPart(got, node)
	if err != nil {
		return err
	}
	cca, fault := gy.ParseCCA(got.Message)
	if fault != nil {
		return fault
	}
	r.charging, r.answer, r.endToEnd = charging, cca, got.EndToEnd
	r.node, r.life = node, c.nodes[node].lives.Load()
	return nil
}

// again compares the answer to a repeat with the first answer.
func (r *request) again(c *cluster, got peer.Answer, node int) error {
	charging, err := c.chargingPart(got, node)
	if err != nil {
		return err
	}
	if bytes.Equal(charging, r.charging) {
		return nil
	}
	return fmt.Errorf("CCR-%s #%d of %s got another charging part\nfirst %x\nnow   %x",
		letter(r.ccr.Type), r.ccr.Number, r.ccr.SessionID, r.charging, charging)
}

// chargingPart is the answer without its envelope: all AVPs but the identity and
// the Origin-State-Id of the node that answers. On the way it checks the envelope.
func (c *cluster) chargingPart(got peer.Answer, node int) ([]byte, error) {
	h := got.Message.Header
	if got.Fault != nil {
		return nil, fmt.Errorf("faulty answer: %w", got.Fault)
	}
	if h.Flags != diameter.FlagProxiable || h.EndToEnd != got.EndToEnd {
		return nil, fmt.Errorf("answer with flags %x, End-to-End %x to a request with %x", h.Flags, h.EndToEnd, got.EndToEnd)
	}
	var charging []byte
	for a := range got.Message.AVPs() {
		switch {
		case a.Is(diameter.OriginHost) && a.Text() != c.nodes[node].host:
			return nil, fmt.Errorf("%s answers as %s", c.nodes[node].host, a.Text())
		case a.Is(diameter.OriginHost), a.Is(diameter.OriginRealm), a.Is(diameter.OriginStateID):
		default:
			charging = append(charging, a.Raw...)
		}
	}
	return charging, nil
}

// deferred reports whether the answer says "not executed, ask again": it is no
// answer that would be stored.
func deferred(m diameter.Message) bool {
	code := m.ResultCode()
	return code == diameter.UnableToDeliver || code == diameter.TooBusy
}

func letter(t ocs.StepType) string { return "?IUTE"[t : t+1] }
