package sipgw

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"gygate/vpnlogic"
	"gygate/vpnlogic/sipgw/phone"
)

// charger grants what a test says, over no wire.
type charger struct {
	grant  vpnlogic.Grant
	refuse *vpnlogic.ChargeAnswer

	mu    sync.Mutex
	asked []vpnlogic.ChargeRequest
}

func (c *charger) NewSession(context.Context) string { return "vpn.example;1;1" }

func (c *charger) Charge(_ context.Context, r vpnlogic.ChargeRequest) vpnlogic.ChargeAnswer {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, r)
	if c.refuse != nil {
		return *c.refuse
	}
	return vpnlogic.ChargeAnswer{Result: vpnlogic.ChargeGranted, Code: 2001, Grant: c.grant, SessionOpen: r.Type != vpnlogic.ChargeTerminate}
}

func (c *charger) types() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all strings.Builder
	for _, r := range c.asked {
		fmt.Fprint(&all, r.Type)
	}
	return all.String()
}

// recorder hands the call records out.
type recorder chan vpnlogic.CallRecord

func (r recorder) Record(_ context.Context, all ...vpnlogic.CallRecord) error {
	for _, record := range all {
		r <- record
	}
	return nil
}

// served is a gateway with the real service behind it: 6001 is prepaid, 6003
// is not, 6002 is called.
type served struct {
	g       *Gateway
	service *vpnlogic.Service
	charger *charger
	records recorder
	called  *phone.Answerer
	changes chan phone.Call
}

func serve(t *testing.T, c *charger, b phone.Behaviour) *served {
	t.Helper()
	directory, err := vpnlogic.NewDirectory(
		[]vpnlogic.Group{{ID: "acme", CountryCode: "86", AreaCode: "10", EscapeCode: "9"}},
		[]vpnlogic.Member{
			{Number: "8613800000001", Group: "acme", Short: "6001", Prepaid: true},
			{Number: "8613800000002", Group: "acme", Short: "6002"},
			{Number: "8613800000003", Group: "acme", Short: "6003"},
		}, []string{"112"})
	if err != nil {
		t.Fatal(err)
	}
	s := &served{charger: c, records: make(recorder, 10)}
	if b.Ring == 0 {
		b.Ring = ringTime
	}
	s.called, s.changes = startAnswerer(t, phone.AnswererConfig{Default: b})
	service := vpnlogic.NewService(vpnlogic.ServiceConfig{
		Directory: func() *vpnlogic.Directory { return directory }, Charger: c, Recorder: s.records,
	})
	s.service = service
	s.g = startGateway(t, serviceCalls{service}, func(c *Config) { c.NextHop = s.called.URI("") })
	return s
}

func (s *served) dial(t *testing.T, o phone.DialOptions) *dialled {
	t.Helper()
	o.Via = addrOf(s.g, "udp")
	return dial(t, o)
}

func (s *served) record(t *testing.T) vpnlogic.CallRecord {
	t.Helper()
	select {
	case r := <-s.records:
		return r
	case <-time.After(patience):
		t.Fatal("no call record")
		return vpnlogic.CallRecord{}
	}
}

func TestServedPrepaidCall(t *testing.T) {
	s := serve(t, &charger{grant: vpnlogic.Grant{Time: time.Minute}}, phone.Behaviour{})
	r := s.dial(t, phone.DialOptions{Talk: 100 * time.Millisecond}).wait(t)
	if r.Status != 200 || r.HungUp != phone.Self {
		t.Errorf("caller saw %+v", r)
	}
	end := waitCall(t, s.changes, hasEnded)
	if end.Number != "+8613800000002" || end.Caller != "6001" || end.Headers[chargedHeader] != chargedValue {
		t.Errorf("called phone saw %+v", end)
	}
	record := s.record(t)
	if record.Reason != vpnlogic.ReasonNormal || record.Status != 200 || record.ReleasedBy != "caller" || record.CallID != r.CallID {
		t.Errorf("record %+v", record)
	}
	// The talk time is that between the called leg's 200 and the BYE.
	if d := r.Talked() - record.Talked; d < -time.Second || d > time.Second || record.Talked < 100*time.Millisecond {
		t.Errorf("talked %v, the caller %v", record.Talked, r.Talked())
	}
	if s.charger.types() != "IT" {
		t.Errorf("charging requests %s, want I and T", s.charger.types())
	}
}

func TestServedCutOff(t *testing.T) {
	s := serve(t, &charger{grant: vpnlogic.Grant{Time: time.Second, Final: true}}, phone.Behaviour{})
	r := s.dial(t, phone.DialOptions{}).wait(t)
	if r.HungUp != phone.Peer || !strings.Contains(r.Reason, "charging.quota_end") {
		t.Errorf("caller saw %+v", r)
	}
	if end := waitCall(t, s.changes, hasEnded); end.HungUp != phone.Peer {
		t.Errorf("called phone saw %+v", end)
	}
	record := s.record(t)
	if record.Reason != vpnlogic.ReasonQuotaEnd || record.Talked > time.Second || record.Talked < 800*time.Millisecond {
		t.Errorf("record %+v, want 1 s of talk", record)
	}
}

func TestServedRefusals(t *testing.T) {
	lost := &vpnlogic.ChargeAnswer{Result: vpnlogic.ChargeRefused, Code: 4010, Reason: "authenticate.lost"}
	cases := []struct {
		name    string
		from    string
		to      string
		refuse  *vpnlogic.ChargeAnswer
		status  int
		reason  string
		charged string
	}{
		{"account lost", "+8613800000001", "6002", lost, 403, "authenticate.lost", "I"},
		{"no money", "+8613800000001", "6002", &vpnlogic.ChargeAnswer{Result: vpnlogic.ChargeNoCredit, Code: 4012}, 402, vpnlogic.ReasonNoCredit, "I"},
		{"no member", "+8613899999999", "6002", lost, 403, vpnlogic.ReasonNotAMember, ""},
		{"withheld", "anonymous", "6002", lost, 403, vpnlogic.ReasonNoCallingNumber, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, &charger{refuse: c.refuse}, phone.Behaviour{})
			r := s.dial(t, phone.DialOptions{From: c.from, To: c.to}).wait(t)
			if r.Status != c.status || !strings.Contains(r.Reason, fmt.Sprintf("text=%q", c.reason)) {
				t.Errorf("caller saw %+v", r)
			}
			record := s.record(t)
			if record.Reason != c.reason || record.Status != c.status {
				t.Errorf("record %+v", record)
			}
			if s.charger.types() != c.charged {
				t.Errorf("charging requests %q, want %q", s.charger.types(), c.charged)
			}
			if len(s.called.Calls()) > 0 {
				t.Error("the called phone rang")
			}
		})
	}
}

func TestServedWithoutPrepaid(t *testing.T) {
	s := serve(t, &charger{}, phone.Behaviour{HangUpAfter: ringTime})
	r := s.dial(t, phone.DialOptions{From: "+8613800000003"}).wait(t)
	if r.Status != 200 || r.HungUp != phone.Peer {
		t.Errorf("caller saw %+v", r)
	}
	end := waitCall(t, s.changes, hasEnded)
	if end.Caller != "6003" || end.Headers[chargedHeader] != "" {
		t.Errorf("called phone saw %+v", end)
	}
	if record := s.record(t); record.Charging != vpnlogic.ChargingNone || record.ReleasedBy != "called" {
		t.Errorf("record %+v", record)
	}
	if s.charger.types() != "" {
		t.Errorf("charging requests %s for a line without prepaid", s.charger.types())
	}
}

func TestServedEmergency(t *testing.T) {
	s := serve(t, &charger{}, phone.Behaviour{HangUpAfter: ringTime})
	r := s.dial(t, phone.DialOptions{From: "+8613899999999", To: "112"}).wait(t)
	if r.Status != 200 {
		t.Errorf("caller saw %+v", r)
	}
	end := waitCall(t, s.changes, hasEnded)
	if end.Number != "112" || end.Caller != "+8613899999999" {
		t.Errorf("emergency centre saw %+v", end)
	}
	if s.charger.types() != "" {
		t.Error("an emergency call was charged")
	}
}

func TestServedUnansweredIsSettled(t *testing.T) {
	t.Run("busy", func(t *testing.T) {
		s := serve(t, &charger{grant: vpnlogic.Grant{Time: time.Minute}}, phone.Behaviour{Refuse: 486})
		if r := s.dial(t, phone.DialOptions{}).wait(t); r.Status != 486 || !strings.Contains(r.Reason, "cause=17") {
			t.Errorf("caller saw %+v", r)
		}
		if record := s.record(t); record.Talked != 0 || s.charger.types() != "IT" {
			t.Errorf("record %+v, charged %s", record, s.charger.types())
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		s := serve(t, &charger{grant: vpnlogic.Grant{Time: time.Minute}}, phone.Behaviour{NoAnswer: true})
		d := s.dial(t, phone.DialOptions{})
		d.expect(t, "180")
		d.cancel()
		if r := d.wait(t); r.Status != 487 {
			t.Errorf("caller saw %+v", r)
		}
		record := s.record(t)
		if record.Status != 487 || record.ReleasedBy != "caller" || s.charger.types() != "IT" {
			t.Errorf("record %+v, charged %s", record, s.charger.types())
		}
	})
}

// TestServedAbort: the charging system ends a call that is on: both phones hear BYE
// with the reason, and the last request says why.
func TestServedAbort(t *testing.T) {
	s := serve(t, &charger{grant: vpnlogic.Grant{Time: time.Minute}}, phone.Behaviour{})
	d := s.dial(t, phone.DialOptions{})
	d.expect(t, "ACK")
	answered := make(chan vpnlogic.Abortion, 1)
	s.service.Abort("vpn.example;1;1", func(a vpnlogic.Abortion) { answered <- a })
	if a := <-answered; a != vpnlogic.AbortAccepted {
		t.Errorf("answer %v", a)
	}
	if r := d.wait(t); r.HungUp != phone.Peer || !strings.Contains(r.Reason, vpnlogic.ReasonAborted) {
		t.Errorf("caller saw %+v", r)
	}
	if end := waitCall(t, s.changes, hasEnded); end.HungUp != phone.Peer {
		t.Errorf("called phone saw %+v", end)
	}
	record := s.record(t)
	last := s.charger.asked[len(s.charger.asked)-1]
	if s.charger.types() != "IT" || last.Cause.Reason != vpnlogic.ReasonAborted || record.ReleasedBy != "charging" {
		t.Errorf("charged %s, cause %v, record %+v", s.charger.types(), last.Cause, record)
	}
}

// TestServedReauthorize: a report is wanted while the phone rings: it goes out, and the
// call goes on.
func TestServedReauthorize(t *testing.T) {
	s := serve(t, &charger{grant: vpnlogic.Grant{Time: time.Minute}}, phone.Behaviour{NoAnswer: true})
	d := s.dial(t, phone.DialOptions{})
	d.expect(t, "180")
	answered := make(chan vpnlogic.Reauthorization, 1)
	s.service.Reauthorize("vpn.example;1;1", nil, func(r vpnlogic.Reauthorization) { answered <- r })
	if r := <-answered; r != vpnlogic.ReauthWillReport {
		t.Errorf("answer %v", r)
	}
	d.cancel()
	if r := d.wait(t); r.Status != 487 {
		t.Errorf("caller saw %+v", r)
	}
	s.record(t)
	if s.charger.types() != "IUT" || s.charger.asked[1].Report != vpnlogic.ReportForced || s.charger.asked[1].Used != 0 {
		t.Errorf("charged %s, report %+v", s.charger.types(), s.charger.asked[1])
	}
}
