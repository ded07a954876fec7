package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"gygate/diameter"
	"gygate/diameter/gy"
	"gygate/diameter/peer"
	"gygate/ocs"
)

// pricePerSecond is the tariff of harness.TariffPerSecond.
const pricePerSecond = ocs.MoneyScale / 100

// requests are the CCRs the credit-control client sent before it died, in order.
type requests [][]byte

func readTap(path string) (requests, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all requests
	for _, line := range strings.Fields(string(b)) {
		frame, err := hex.DecodeString(line)
		if err != nil {
			return nil, err
		}
		all = append(all, frame)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no request was sent before the crash")
	}
	return all, nil
}

// cost is what all reported seconds cost, each request counted once: that must
// be debited in the end, whether its first sending was committed or its repeat.
func (r requests) cost() ocs.Money {
	counted := map[uint32]bool{}
	var seconds uint32
	for _, frame := range r {
		m, err := diameter.ParseMessage(frame)
		if err != nil {
			panic(err) // our own encoder wrote it
		}
		ccr, fault := gy.ParseCCR(m)
		if fault != nil {
			panic(fault)
		}
		if counted[ccr.Number] {
			continue
		}
		counted[ccr.Number] = true
		for _, s := range ccr.Services {
			for _, u := range s.Used {
				seconds += u.Time.Value
			}
		}
	}
	return ocs.Money(seconds) * pricePerSecond
}

// repeatLast sends the last request again with the T bit, over a connection of
// a relay, and tells the answer.
func (r requests) repeatLast(ctx context.Context, port int) (string, error) {
	dictionary, err := diameter.NewDictionary()
	if err != nil {
		return "", err
	}
	client, err := peer.NewClient(peer.ClientConfig{
		Local:      peer.Local{Host: "relay.interop.example", Realm: "interop.example", Product: "relay"},
		Peers:      []peer.Endpoint{{Address: fmt.Sprintf("127.0.0.1:%d", port)}},
		Dictionary: dictionary,
	}, nil)
	if err != nil {
		return "", err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- client.Run(running) }()
	defer func() {
		stop()
		<-ended
	}()
	if err := client.WaitOpen(ctx); err != nil {
		return "", err
	}
	last := r[len(r)-1]
	answer, err := client.Do(ctx, peer.Request{
		Encode:         func(b []byte, _ string) []byte { return append(b, last...) },
		Retransmission: true,
	})
	if err != nil {
		return "", err
	}
	return describe(answer.Message)
}

func describe(m diameter.Message) (string, error) {
	cca, fault := gy.ParseCCA(m)
	if fault != nil {
		return "", fault
	}
	text := fmt.Sprintf("CCA-%s #%d %d", "?IUTE"[cca.Type:cca.Type+1], cca.Number, cca.ResultCode)
	for _, s := range cca.Services {
		if s.Granted.Present {
			text += fmt.Sprintf(", granted %d s", s.Granted.Value.Time.Value)
		}
	}
	return text, nil
}
