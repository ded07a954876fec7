package gy

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"sync"
	"testing"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/ocs"
)

// kept is a Submitter that keeps its steps, and answers when it is told to.
type kept struct {
	mu    sync.Mutex
	steps []*ocs.Step
	done  []func(ocs.Outcome)
}

func (k *kept) Submit(s *ocs.Step, done func(ocs.Outcome)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.steps, k.done = append(k.steps, s), append(k.done, done)
}

// lifetimeRequests have everything that a step may take out of a message.
func lifetimeRequests() (all []CCR) {
	payers := [][]Subscription{
		{{Kind: ocs.E164, Data: "+8613800000001"}},
		{{Kind: ocs.IMSI, Data: "460001234567890"}, {Kind: ocs.E164, Data: "tel:+8613800000001;npdi"}},
		{{Kind: ocs.SIPURI, Data: "sip:ada@VPN.example:5060;user=ip"}, {Kind: ocs.NAI, Data: "ada@VPN.example"}, {Kind: ocs.Private, Data: "ada"}},
	}
	services := [][]Service{
		{ask()},
		{used(50)},
		{carried(10, 1<<20), carried(3000, 1<<10), {RatingGroup: Some(uint32(4000)), Identifiers: []uint32{9, 7}}},
		{{RefundInformation: []byte("token of a debit"), Requested: Some(timeUnits(60))}},
	}
	for i, payer := range payers {
		for j, service := range services {
			for k, kind := range []ocs.StepType{ocs.Initial, ocs.Update, ocs.Terminate} {
				r := call(fmt.Sprintf("s%d-%d", i, j), kind, uint32(k), ask())
				r.Payer, r.Services, r.UserName = payer, service, fmt.Sprintf("user%d@vpn.example", j)
				r.OriginHost, r.OriginRealm = fmt.Sprintf("gw%d.vpn.example", k), fmt.Sprintf("realm%d.example", k)
				r.ServiceContextID = []string{ContextSIP, "ext.01." + ContextData, "unknown@EXAMPLE.org"}[(i+j+k)%3]
				r.Call.IMS = &IMSInformation{CalledParty: []string{"tel:+86-138-0000-0002", "sip:+8613800000003@vpn.example"}[j%2], CalledAsserted: "tel:+8613800000004"}
				all = append(all, r)
			}
		}
	}
	return all
}

// Nothing that outlives a request changes with the memory the request came in, and
// no request takes part in another: a step is what it was when the message is
// overwritten after the answer, and the answer when hundreds were read in between.
func TestLifetimes(t *testing.T) {
	requests := lifetimeRequests()
	tariff := testTariff()
	for _, from := range []peer.Remote{{Host: "gw1.vpn.example", Realm: "realm1.example"}, {Host: "relay.example", Relay: true, Trusted: true}} {
		from.Tolerate = diameter.Lenient
		alone := make([]*kept, len(requests))
		want := make([][]byte, len(requests))
		for i, r := range requests { // each by a server of its own, at leisure
			alone[i] = &kept{}
			s := NewServer(ServerConfig{Local: testLocal, Tariff: func() *ocs.Tariff { return tariff }}, alone[i])
			s.Serve(context.Background(), from, message(t, r), func(frame []byte) { want[i] = bytes.Clone(frame) })
			for _, done := range alone[i].done {
				done(slice(int64Money(i)))
			}
		}
		together := &kept{}
		s := NewServer(ServerConfig{Local: testLocal, Tariff: func() *ocs.Tariff { return tariff }}, together)
		got, raws := make([][]byte, len(requests)), make([][]byte, len(requests))
		var place []int // of the steps among the requests
		for i, r := range requests {
			m := message(t, r)
			raws[i] = m.Raw
			before := len(together.steps)
			s.Serve(context.Background(), from, m, func(frame []byte) { got[i] = bytes.Clone(frame) })
			if len(together.steps) > before {
				place = append(place, i)
			}
		}
		var lanes sync.WaitGroup
		for lane := range 2 {
			lanes.Go(func() {
				for n := lane; n < len(place); n += 2 {
					together.done[n](slice(int64Money(place[n])))
				}
			})
		}
		lanes.Wait()
		for _, raw := range raws {
			for i := range raw {
				raw[i] = 0xaa
			}
		}
		for i := range requests {
			if !bytes.Equal(got[i], want[i]) {
				t.Errorf("request %d from %s is answered\n%x, alone\n%x", i, from.Host, got[i], want[i])
			}
		}
		for n, i := range place {
			if !reflect.DeepEqual(together.steps[n], alone[i].steps[0]) {
				t.Errorf("step %d from %s is\n%+v, alone\n%+v", i, from.Host, together.steps[n], alone[i].steps[0])
			}
			if bytes.Contains(fmt.Append(nil, together.steps[n]), []byte{0xaa, 0xaa}) {
				t.Errorf("step %d from %s lives off its message: %+v", i, from.Host, together.steps[n])
			}
		}
		if len(place) < len(requests)/2 {
			t.Errorf("%d steps of %d requests", len(place), len(requests))
		}
	}
}

// int64Money makes the answers of requests differ.
func int64Money(i int) ocs.Money { return ocs.Money(1_000_000 * (i + 1)) }

// The hash of a request's content is stored and compared with what earlier versions
// stored: it never changes.
func TestContentHash(t *testing.T) {
	for name, want := range map[string]string{
		"G1": "6a72c7c10325caa9e2a322304739fd2f", "G11": "4fa8b4df2b18bab0a91dd07befc47530",
		"G12": "4fa8b4df2b18bab0a91dd07befc47530", "G13": "e1a52737e8ab6b677288d80dce83134e",
	} {
		got, fault := ParseCCR(message(t, requests[name]))
		if fault != nil || fmt.Sprintf("%x", got.Content) != want {
			t.Errorf("%s: %x, %v; want %s", name, got.Content, fault, want)
		}
	}
}
