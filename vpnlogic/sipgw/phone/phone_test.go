package phone

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
	"go.uber.org/goleak"
)

const (
	testT1   = 25 * time.Millisecond
	patience = 10 * time.Second
	ringTime = 20 * time.Millisecond
)

func TestMain(m *testing.M) {
	sip.SetTimers(testT1, 4*testT1, 4*testT1) // before the first packet
	code := m.Run()
	// A packet that the library reads in the moment its socket is closed makes
	// it open another socket for the answer, and keep that.
	stray := goleak.IgnoreAnyFunction("github.com/emiago/sipgo/sip.(*TransportUDP).readUDPConnection")
	if code == 0 {
		if err := goleak.Find(stray); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			code = 1
		}
	}
	os.Exit(code)
}

func answerer(t *testing.T, config AnswererConfig) (*Answerer, chan Call) {
	t.Helper()
	changes := make(chan Call, 100)
	config.OnChange = func(c Call) { changes <- c }
	a, err := NewAnswerer(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a, changes
}

func ended(t *testing.T, changes chan Call) Call {
	t.Helper()
	for {
		select {
		case c := <-changes:
			if !c.EndedAt.IsZero() {
				return c
			}
		case <-time.After(patience):
			t.Fatal("the call did not end")
		}
	}
}

func TestPhones(t *testing.T) {
	for _, network := range []string{"udp", "tcp"} {
		a, changes := answerer(t, AnswererConfig{Network: network, Default: Behaviour{Ring: ringTime}, Numbers: map[string]Behaviour{
			"+8613": {Ring: ringTime, Refuse: 486},
			"14":    {Ring: ringTime, HangUpAfter: ringTime},
			"15":    {NoAnswer: true},
			"16":    {EarlyMedia: true, NoAnswer: true},
		}})
		options := DialOptions{From: "6001", Via: a.Addr(), Network: network}
		t.Run("answered/"+network, func(t *testing.T) {
			o := options
			o.To, o.Talk, o.Headers = "12", 3*ringTime, []Header{{"Subject", "lunch"}}
			r, err := Dial(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if r.Status != 200 || r.HungUp != Self || !r.SDP || r.Talked() < o.Talk || r.Statuses[0].Code != 180 {
				t.Errorf("caller saw %+v", r)
			}
			c := ended(t, changes)
			if c.CallID != r.CallID || c.Number != "12" || c.Caller != "6001" || c.HungUp != Peer ||
				c.Headers["Subject"] != "lunch" || !strings.HasPrefix(c.Session, "v=0") || c.AnsweredAt.IsZero() {
				t.Errorf("called saw %+v", c)
			}
		})
		t.Run("busy/"+network, func(t *testing.T) {
			o := options
			o.To = "8613"
			r, err := Dial(t.Context(), o)
			if err != nil || r.Status != 486 || r.HungUp != "" || r.Talked() != 0 {
				t.Errorf("caller saw %+v, %v", r, err)
			}
			if c := ended(t, changes); c.Status != 486 || !c.AnsweredAt.IsZero() {
				t.Errorf("called saw %+v", c)
			}
		})
		t.Run("called hangs up/"+network, func(t *testing.T) {
			o := options
			o.To = "14"
			r, err := Dial(t.Context(), o)
			if err != nil || r.HungUp != Peer {
				t.Errorf("caller saw %+v, %v", r, err)
			}
			if c := ended(t, changes); c.HungUp != Self {
				t.Errorf("called saw %+v", c)
			}
		})
		for number, first := range map[string]string{"15": "180", "16": "183"} {
			t.Run("cancelled after "+first+"/"+network, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				o := options
				o.To = number
				o.OnEvent = func(_ time.Time, text string) {
					if strings.HasPrefix(text, first) {
						cancel()
					}
				}
				r, err := Dial(ctx, o)
				if err != nil || r.Status != 487 {
					t.Errorf("caller saw %+v, %v", r, err)
				}
				if c := ended(t, changes); c.Status != 487 {
					t.Errorf("called saw %+v", c)
				}
			})
		}
	}
}

func TestHangUpByContext(t *testing.T) {
	a, changes := answerer(t, AnswererConfig{Default: Behaviour{Ring: ringTime}})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := Dial(ctx, DialOptions{From: "6001", To: "12", Via: a.Addr(), OnEvent: func(_ time.Time, text string) {
		if text == "ACK" {
			cancel()
		}
	}})
	if err != nil || r.Status != 200 || r.HungUp != Self {
		t.Errorf("caller saw %+v, %v", r, err)
	}
	if c := ended(t, changes); c.HungUp != Peer {
		t.Errorf("called saw %+v", c)
	}
}

func TestAnswererCloses(t *testing.T) {
	a, _ := answerer(t, AnswererConfig{Default: Behaviour{Ring: ringTime}})
	r, err := Dial(t.Context(), DialOptions{From: "6001", To: "12", Via: a.Addr(), OnEvent: func(_ time.Time, text string) {
		if text == "ACK" {
			go a.Close()
		}
	}})
	if err != nil || r.HungUp != Peer {
		t.Errorf("caller saw %+v, %v", r, err)
	}
	a.Close()
	if calls := a.Calls(); len(calls) != 1 || calls[0].HungUp != Self || calls[0].EndedAt.IsZero() {
		t.Errorf("calls %+v", calls)
	}
}

func TestSetChangesALine(t *testing.T) {
	a, changes := answerer(t, AnswererConfig{Default: Behaviour{Ring: ringTime}})
	a.Set("+12", Behaviour{Ring: ringTime, Refuse: 603})
	r, err := Dial(t.Context(), DialOptions{From: "6001", To: "12", Via: a.Addr()})
	if err != nil || r.Status != 603 {
		t.Errorf("caller saw %+v, %v", r, err)
	}
	ended(t, changes)
}

func TestDialFaults(t *testing.T) {
	for name, o := range map[string]DialOptions{
		"no gateway": {From: "1", To: "2", Via: "127.0.0.1"},
		"network":    {From: "1", To: "2", Via: "127.0.0.1:5060", Network: "sctp"},
		"closed":     {From: "1", To: "2", Via: "127.0.0.1:1", Network: "tcp"},
		"silent":     {From: "1", To: "2", Via: "127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			if r, err := Dial(t.Context(), o); err == nil {
				t.Errorf("no error, result %+v", r)
			}
		})
	}
	if _, err := NewAnswerer(AnswererConfig{Network: "sctp"}); err == nil {
		t.Error("an answerer over SCTP")
	}
}
