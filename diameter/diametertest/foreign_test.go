package diametertest_test

import (
	"bytes"
	"net"
	"sync"
	"testing"

	"github.com/fiorix/go-diameter/v4/diam"
	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"

	"gygate/diameter"
	"gygate/diameter/diametertest"
)

const session = "vpnas1.vpn.example;3973000001;17"

// grant answers a CCR with a minute.
func grant(ccr *diam.Message) *diam.Message {
	return diametertest.Reply(ccr, server, diameter.Success,
		diam.NewAVP(avp.AuthApplicationID, avp.Mbit, 0, datatype.Unsigned32(4)),
		diam.NewAVP(avp.CCRequestType, avp.Mbit, 0, datatype.Enumerated(1)),
		diam.NewAVP(avp.CCRequestNumber, avp.Mbit, 0, datatype.Unsigned32(0)),
		diam.NewAVP(avp.GrantedServiceUnit, avp.Mbit, 0, &diam.GroupedAVP{AVP: []*diam.AVP{
			diam.NewAVP(avp.CCTime, avp.Mbit, 0, datatype.Unsigned32(60)),
		}}),
	)
}

// initial is a CCR-Initial of the foreign client.
func initial(c *diametertest.ForeignClient) *diam.Message {
	ccr := c.NewCCR(session)
	for code, value := range map[uint32]datatype.Type{
		avp.OriginHost:        datatype.DiameterIdentity(client.Host),
		avp.OriginRealm:       datatype.DiameterIdentity(client.Realm),
		avp.DestinationRealm:  datatype.DiameterIdentity(server.Realm),
		avp.AuthApplicationID: datatype.Unsigned32(diameter.AppCreditControl),
		avp.ServiceContextID:  datatype.UTF8String("32276@3gpp.org"),
		avp.CCRequestType:     datatype.Enumerated(1),
		avp.CCRequestNumber:   datatype.Unsigned32(0),
	} {
		ccr.AddAVP(diam.NewAVP(code, avp.Mbit, 0, value))
	}
	return ccr
}

func TestForeignPeersTalk(t *testing.T) {
	address := diametertest.ServeForeign(t, server, grant)
	c := diametertest.DialForeign(t, address, client, nil)
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			cca, err := c.Do(initial(c))
			if err != nil {
				t.Error(err)
				return
			}
			if cca.Header.CommandFlags != diam.ProxiableFlag || cca.AVP[0].Code != avp.SessionID {
				t.Errorf("answer %s", cca)
			}
		})
	}
	wait.Wait()
}

// Our codec with the foreign server: capabilities, a golden CCR, a farewell.
func TestForeignServerReadsUs(t *testing.T) {
	d, err := diameter.NewDictionary()
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan *diam.Message, 1)
	address := diametertest.ServeForeign(t, server, func(ccr *diam.Message) *diam.Message {
		read <- ccr
		return grant(ccr)
	})
	p := diametertest.Dial(t, address, client)
	p.Connect()
	raw := golden(t, "G1")
	p.Send(raw)
	ccr, err := diameter.ParseMessage(raw)
	if err != nil {
		t.Fatal(err)
	}
	cca := p.ExpectAnswer(ccr.Header)
	if fault := d.Validate(cca, diameter.Mode{}); fault != nil {
		t.Error(fault)
	}
	if want, _ := ccr.Find(diameter.SessionID); !bytes.HasPrefix(cca.Body(), want.Raw) {
		t.Errorf("answer %x does not begin with the Session-Id", cca.Raw)
	}
	if again, err := (<-read).Serialize(); err != nil || !bytes.Equal(again, raw) {
		t.Errorf("the server read %x, %v", again, err)
	}
	dpr := p.Request(diameter.CmdDisconnectPeer, func(b []byte) []byte { return diameter.AppendUint32(b, diameter.DisconnectCause, 0) })
	p.ExpectAnswer(dpr)
}

// The foreign client with our codec, in both directions.
func TestForeignClientReadsUs(t *testing.T) {
	d, err := diameter.NewDictionary()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()

	type result struct {
		cca *diam.Message
		err error
	}
	answered := make(chan result, 1)
	go func() {
		c := diametertest.DialForeign(t, listener.Addr().String(), client, func(rar *diam.Message) *diam.Message {
			return diametertest.Reply(rar, client, diameter.LimitedSuccess)
		})
		cca, err := c.Do(initial(c))
		answered <- result{cca, err}
	}()

	p := diametertest.Accept(t, listener, server)
	cer := p.Welcome()
	ccr := p.ExpectRequest(diameter.CmdCreditControl)
	for _, m := range []diameter.Message{cer, ccr} {
		if fault := d.Validate(m, diameter.Mode{}); fault != nil {
			t.Error(fault)
		}
	}
	p.Answer(ccr, diameter.CreditLimitReached, nil)
	r := <-answered
	if r.err != nil {
		t.Fatal(r.err)
	}
	code, err := r.cca.FindAVP(avp.ResultCode, 0)
	if err != nil || code.Data != datatype.Unsigned32(diameter.CreditLimitReached) {
		t.Errorf("Result-Code %v, %v", code, err)
	}

	rar := p.Request(diameter.CmdReAuth, func(b []byte) []byte {
		b = diameter.AppendString(b, diameter.SessionID, session)
		return diameter.AppendUint32(b, diameter.ReAuthRequestType, 0)
	})
	if raa := p.ExpectAnswer(rar); d.Validate(raa, diameter.Mode{}) != nil {
		t.Errorf("RAA %x", raa.Raw)
	}
}
