package ocs_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

func TestServiceOptionsCheck(t *testing.T) {
	number := func(n uint32) *uint32 { return &n }
	for name, o := range map[string]ocs.ServiceOptions{
		"no such action":      {FinalAction: 3},
		"redirect to nowhere": {FinalAction: ocs.FinalRedirect},
		"no such address":     {Redirect: &ocs.Redirect{Type: 4, Address: "x"}},
		"restricted to what":  {FinalAction: ocs.FinalRestrict},
		"no such bar":         {Bar: 3},
		"no such handling":    {FailureHandling: map[string]uint32{"": 3}},
		"no such debit":       {DebitFailure: number(2)},
	} {
		if o.Check() == nil {
			t.Errorf("%s: not refused", name)
		}
		if _, err := ocs.NewTariff(nil, []ocs.ServiceContext{{Name: ocstest.Voice, ServiceOptions: o}}); err == nil {
			t.Errorf("%s: not refused in a service", name)
		}
	}
	for _, o := range []ocs.ServiceOptions{
		{}, {FinalAction: ocs.FinalRedirect, Redirect: &ocs.Redirect{Type: 3, Address: "sip:topup@example"}},
		{FinalAction: ocs.FinalRestrict, Filters: []string{"permit in ip from any to 192.0.2.1"}},
		{FailureHandling: map[string]uint32{"vip": 1, "": 2}, DebitFailure: number(1), Bar: ocs.BarAsk},
	} {
		if err := o.Check(); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// logged collects what an engine logs.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// What an operator should look at is logged once, without any subscriber's number.
func TestAlarms(t *testing.T) {
	w := voice(t)
	log := &logged{}
	tariff := fixtureTariff(t)
	w.Driver = ocstest.StartWith(t, w.store, func() *ocs.Tariff { return tariff },
		ocs.EngineConfig{Sweep: -1, Logger: slog.New(slog.NewTextHandler(log, nil))})
	expect := func(text string, times int) {
		t.Helper()
		if n := strings.Count(log.String(), text); n != times {
			t.Errorf("%d times %q, want %d, in\n%s", n, text, times, log)
		}
	}
	s := w.step(ocs.Initial, ask(rgOnNet))
	s.Client = ocs.Client{Host: "a.example", Realm: "example"}
	w.do(s)
	other := s
	other.Client.Host = "b.example"
	w.refused(w.do(other), ocs.SessionExists)
	expect("Session-Id that is in use", 1)

	changed := s
	changed.Content = [16]byte{1}
	w.do(changed)
	expect("differs from the one it repeats", 1)

	w.refused(w.event(ocs.RefundAccount, unlinked(1, ocstest.Wish(ocs.Events, 1))), ocs.RefundTooLarge)
	expect("more than was debited", 1)

	w.terminate(seconds(rgOnNet, 4000))
	expect("more seconds were reported", 1)
	expect(w.payer.Value, 0)
}
