package pgstore

import (
	"testing"
	"time"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// A rule that breaks over a session with a freeze takes neither the process nor
// the freeze with it.
func TestBrokenRuleKeepsTheFreeze(t *testing.T) {
	l := newLedger(t)
	tariff, broken := ocstest.Tariff(t), false
	d := ocstest.StartWith(t, l.Store, func() *ocs.Tariff {
		if broken {
			return nil
		}
		return tariff
	}, ocs.EngineConfig{Sweep: -1})
	payer := ocstest.NewPayer()
	a := l.AddAccount(t, ocstest.Prepaid(10_000_000), payer)
	open := ocs.Step{SessionID: ocstest.NewSession(), Type: ocs.Initial, Service: ocstest.Voice, Payer: []ocs.Identity{payer},
		At: time.Now(), Items: []ocs.Item{ocstest.For(ocstest.OnNet, nil, ocstest.Wish(0, 0))}}
	if o := d.Do(open); o.Refusal != "" {
		t.Fatalf("%+v", o)
	}
	end := ocs.Step{SessionID: open.SessionID, Type: ocs.Terminate, Number: 1, Items: []ocs.Item{ocstest.For(ocstest.OnNet, ocstest.Used(ocs.Seconds, 10), nil)}}
	broken = true
	if o := d.Do(end); o.Refusal != ocs.Internal {
		t.Errorf("%+v", o)
	}
	if b := l.account(t, a.Key).Balances[0]; b.Frozen != 600_000 {
		t.Errorf("%d frozen", b.Frozen)
	}
	l.audit(t)
	broken = false
	if o := d.Do(end); o.Refusal != "" || o.Cost != 100_000 {
		t.Errorf("%+v", o)
	}
	l.audit(t)
}
