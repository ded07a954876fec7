package gy

import (
	"context"
	"reflect"
	"testing"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/ocs"
	"gygate/vpnlogic"
)

// FuzzCCR: no bytes panic, every request is answered once, and what parses
// encodes to what parses the same.
func FuzzCCR(f *testing.F) {
	for _, name := range []string{"G1", "G4", "G11", "G13"} {
		f.Add(golden(f, name).Raw)
	}
	for _, r := range []CCR{
		event(ContextVoice, 2, Service{Requested: Some(ServiceUnits{Money: Some(Amount{Value: Decimal{500, -1}, Currency: 156})})}),
		event(ContextEvent, 1, Service{}, one([]byte("token"))),
	} {
		f.Add(r.Append(nil, diameter.Header{}))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := diameter.ParseMessage(raw)
		if err != nil || m.Command != diameter.CmdCreditControl {
			return
		}
		answered := 0
		NewServer(ServerConfig{Local: testLocal, Tariff: testTariff}, &books{outcomes: []ocs.Outcome{slice(0)}}).
			Serve(context.Background(), peer.Remote{Trusted: true}, m, func([]byte) { answered++ })
		if answered != 1 {
			t.Fatalf("answered %d times", answered)
		}
		first, fault := ParseCCR(m)
		if fault != nil {
			return
		}
		again := first.Append(nil, m.Header)
		if len(again) > diameter.MessageMax {
			return
		}
		second, fault := ParseCCR(parse(t, again))
		if fault != nil {
			t.Fatalf("%+v encodes to what does not parse: %v", first, fault)
		}
		first.Content, second.Content = [16]byte{}, [16]byte{}
		if !reflect.DeepEqual(first, second) {
			t.Fatalf("round trip of\n%+v\ngave\n%+v", first, second)
		}
	})
}

// FuzzCCA: an answer from anywhere is read without a panic, and grants time only
// when it says so.
func FuzzCCA(f *testing.F) {
	for _, name := range []string{"G2", "G3", "G8"} {
		f.Add(golden(f, name).Raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := diameter.ParseMessage(raw)
		if err != nil {
			return
		}
		c := NewClient(ClientConfig{Local: testClient}, nil)
		ccr := requests["G11"]
		s := session{}
		a := c.read(&ccr, &s, peer.Answer{Message: m}, nil)
		if a.Result != vpnlogic.ChargeGranted && a.Grant != (vpnlogic.Grant{}) || a.Grant.Time < 0 {
			t.Fatalf("%v grants %+v", a.Result, a.Grant)
		}
	})
}
