package gy

import (
	"testing"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/ocs"
	"gygate/vpnlogic"
)

// Auth-Application-Id is 4 in every CCR, CCA, RAR and ASR of ours, and stands
// in no RAA or ASA.
func TestApplicationOfOurMessagesA074(t *testing.T) {
	proves(t, "A-074")
	var with, without [][]byte
	c, _ := newTestClient(t, ClientConfig{}, nil)
	for _, r := range []vpnlogic.ChargeRequest{initial("s"), update("s", 1), final("s", 2)} {
		with = append(with, c.request(r, session{}).Append(nil, diameter.Header{}))
	}
	with = append(with, c.event(t.Context(), messageEvent(ocs.DirectDebit)).Append(nil, diameter.Header{}))

	server, _ := testServer(slice(0), ocs.Outcome{Refusal: ocs.UnknownSubscriber})
	for range 2 {
		with = append(with, serveOne(t, server, peer.Remote{Tolerate: diameter.Lenient}, message(t, call("a074", ocs.Initial, 0, ask()))))
	}
	n := &Notifier{config: NotifierConfig{Local: testLocal}}
	calls := newTestCallServer(&fakeCalls{})
	for _, abort := range []bool{false, true} {
		notice := ocs.Notice{SessionID: askedSession, Client: ocs.Client{Host: testClient.Host, Realm: testClient.Realm}, Abort: abort}
		request := n.append(nil, notice)
		with = append(with, request)
		without = append(without, questioned(t, calls, request)...)
	}
	for _, frame := range with {
		m := parse(t, frame)
		if id, found := m.Find(diameter.AuthApplicationID); !found || id.Uint32() != diameter.AppCreditControl || m.Application != diameter.AppCreditControl {
			t.Errorf("command %d flags %02x: Auth-Application-Id %v %d", m.Command, m.Flags, found, id.Uint32())
		}
	}
	for _, frame := range without {
		m := parse(t, frame)
		if _, found := m.Find(diameter.AuthApplicationID); found || m.Request() {
			t.Errorf("command %d flags %02x has Auth-Application-Id", m.Command, m.Flags)
		}
	}
	if len(with) != 8 || len(without) != 2 {
		t.Errorf("%d and %d messages were looked at", len(with), len(without))
	}
}
