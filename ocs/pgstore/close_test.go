package pgstore

import (
	"testing"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// A report that comes between the operator's order and the sweep is charged, but
// the session ends all the same; the final report is still charged then.
func TestReportAfterCloseSession(t *testing.T) {
	l := newLedger(t)
	policy := ocs.DefaultPolicy()
	d := ocstest.Start(t, l.Store, ocs.EngineConfig{Policy: policy, Sweep: -1})
	payer := ocstest.NewPayer()
	a := l.AddAccount(t, ocstest.Prepaid(10_000_000), payer)
	id := ocstest.NewSession()
	step := func(kind ocs.StepType, number uint32, used []ocs.Usage, wish *ocs.Units) ocs.Outcome {
		return d.Do(ocs.Step{SessionID: id, Type: kind, Number: number, Service: ocstest.Voice, Payer: []ocs.Identity{payer},
			Items: []ocs.Item{ocstest.For(ocstest.OnNet, used, wish)}})
	}
	step(ocs.Initial, 0, nil, ocstest.Wish(0, 0))
	if err := l.admin.CloseSession(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if o := step(ocs.Update, 1, ocstest.Used(ocs.Seconds, 10), ocstest.Wish(0, 0)); o.Refusal != "" || o.Cost != 100_000 {
		t.Fatalf("%+v", o)
	}
	if wants, err := l.Expired(t.Context(), 10, nil); err != nil || len(wants) != 1 {
		t.Fatalf("%d sessions to be ended (%v), want the one", len(wants), err)
	}
	step(ocs.Expire, 0, nil, nil)
	if b := l.account(t, a.Key).Balances[0]; b.Frozen != 0 || b.Amount != 9_900_000 || l.count(t, "session where closed_at is null") != 0 {
		t.Errorf("frozen %d of %d", b.Frozen, b.Amount)
	}
	if o := step(ocs.Update, 2, ocstest.Used(ocs.Seconds, 5), nil); o.Refusal != ocs.UnknownSession {
		t.Errorf("%+v", o)
	}
	for range 2 {
		if o := step(ocs.Terminate, 3, ocstest.Used(ocs.Seconds, 7), nil); o.Refusal != "" || o.Cost != 170_000 {
			t.Errorf("%+v", o)
		}
	}
	if o := step(ocs.Terminate, 4, ocstest.Used(ocs.Seconds, 7), nil); o.Refusal != ocs.UnknownSession {
		t.Errorf("a second final report: %+v", o)
	}
	l.audit(t)
}

// The final report that comes before the sweep is the only one.
func TestFinalReportAfterCloseSession(t *testing.T) {
	l := newLedger(t)
	d := ocstest.Start(t, l.Store, ocs.EngineConfig{Sweep: -1})
	payer := ocstest.NewPayer()
	a := l.AddAccount(t, ocstest.Prepaid(10_000_000), payer)
	id := ocstest.NewSession()
	report := []ocs.Item{ocstest.For(ocstest.OnNet, ocstest.Used(ocs.Seconds, 7), nil)}
	d.Do(ocs.Step{SessionID: id, Type: ocs.Initial, Service: ocstest.Voice, Payer: []ocs.Identity{payer},
		Items: []ocs.Item{ocstest.For(ocstest.OnNet, nil, ocstest.Wish(0, 0))}})
	if err := l.admin.CloseSession(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for number, want := range []ocs.Refusal{"", ocs.UnknownSession} {
		if o := d.Do(ocs.Step{SessionID: id, Type: ocs.Terminate, Number: uint32(number), Items: report}); o.Refusal != want {
			t.Errorf("%d: %+v", number, o)
		}
	}
	if b := l.account(t, a.Key).Balances[0]; b.Frozen != 0 || b.Amount != 9_930_000 {
		t.Errorf("frozen %d of %d", b.Frozen, b.Amount)
	}
	l.audit(t)
}
