package ocstest

import (
	"testing"
	"time"

	"gygate/ocs"
)

// pair is two nodes on one store: what one of them remembers of a session the
// other must know.
type pair struct {
	*bench
	t       *testing.T
	nodes   [2]*Driver
	turn    int
	payer   ocs.Identity
	account ocs.Account
	id      string
	number  uint32
}

func (b *bench) pair(t *testing.T, money ocs.Money) *pair {
	p := &pair{bench: b, t: t, payer: NewPayer(), id: NewSession()}
	p.account = b.AddAccount(t, Prepaid(money), p.payer)
	tariff := converseTariff(t)
	for i := range p.nodes {
		p.nodes[i] = StartWith(t, b.store, func() *ocs.Tariff { return tariff }, ocs.EngineConfig{Sweep: -1})
	}
	return p
}

// do carries out the session's next step at one node, and its repeat at the other,
// which must be answered the same.
func (p *pair) do(s ocs.Step) ocs.Outcome {
	p.t.Helper()
	s.SessionID, s.Number, s.Payer = p.id, p.number, []ocs.Identity{p.payer}
	p.number++
	p.turn++
	o := p.nodes[p.turn%2].Do(s)
	if repeat := p.nodes[(p.turn+1)%2].Do(s); !repeat.Replayed || charging(repeat) != charging(o) {
		p.t.Errorf("%v, number %d answered\n%s, at the other node\n%s", s.Type, s.Number, charging(o), charging(repeat))
	}
	return o
}

// exerciseFinalUnits goes through the end of the credit, each step at the node that
// did not see the one before.
func exerciseFinalUnits(t *testing.T, b *bench) {
	p := b.pair(t, 200_000)
	step := func(kind ocs.StepType, used []ocs.Usage, wish *ocs.Units) ocs.ItemOutcome {
		t.Helper()
		o := p.do(ocs.Step{Type: kind, Service: Pooled, Items: []ocs.Item{For(OnNet, used, wish)}})
		if o.Refusal != "" || len(o.Items) != 1 {
			t.Fatalf("%+v", o)
		}
		return o.Items[0]
	}
	first := step(ocs.Initial, nil, Wish(0, 0))
	if first.Granted == nil || first.Granted.Quantity != 20 || !first.Final || first.FinalAction != ocs.FinalRedirect || first.Pool == nil {
		t.Errorf("the final grant: %+v", first)
	}
	if i := step(ocs.Update, Used(ocs.Seconds, 20), nil); i.Granted != nil || i.ValidFor == 0 {
		t.Errorf("its report: %+v", i)
	}
	if i := step(ocs.Update, nil, nil); i.Granted == nil || i.Granted.Quantity != 0 || !i.Final {
		t.Errorf("the client asks again: %+v", i)
	}
	p.holds(t, p.account.Key, 0, 0)
}

// exerciseRerating changes the price in mid-session, with use from before the
// session on top.
func exerciseRerating(t *testing.T, b *bench) {
	p := b.pair(t, 100_000_000)
	item := For(OnNet, Used(ocs.Seconds, 400), Wish(0, 0))
	p.do(ocs.Step{Type: ocs.Initial, Service: Voice, Called: "8613800000002", Habits: ocs.Habits{Interim: true}, Items: []ocs.Item{item}})
	item = For(OnNet, Used(ocs.Seconds, 5), Wish(0, 0))
	item.Rerated = true
	if o := p.do(ocs.Step{Type: ocs.Update, Called: "441632960001", Items: []ocs.Item{item}}); o.Cost != 4_050_000 || o.Items[0].Capped != 0 {
		t.Errorf("%+v", o)
	}
	if o := p.do(ocs.Step{Type: ocs.Update, Items: []ocs.Item{For(OnNet, Used(ocs.Seconds, 2), nil)}}); o.Cost != 4_110_000 {
		t.Errorf("%+v", o)
	}
	if o := p.do(ocs.Step{Type: ocs.Terminate, Items: []ocs.Item{For(OnNet, Used(ocs.Seconds, 3), nil)}}); o.Cost != 4_200_000 {
		t.Errorf("%+v", o)
	}
	p.holds(t, p.account.Key, 95_800_000, 0)
}

// exerciseSkip asks for sessions to end, without those that could not be ended.
func exerciseSkip(t *testing.T, b *bench) {
	payer := NewPayer()
	b.AddAccount(t, Prepaid(10_000_000), payer)
	config := b.config()
	config.Policy.Supervision = time.Nanosecond
	d := Start(t, b.store, config)
	var refs []ocs.SessionRef
	for range 3 {
		id := NewSession()
		refs = append(refs, ocs.SessionRef{Key: ocs.KeyOf(id)})
		d.Do(ocs.Step{SessionID: id, Type: ocs.Initial, Payer: []ocs.Identity{payer}, Service: Voice, Items: []ocs.Item{For(OnNet, nil, Wish(0, 0))}})
	}
	for skipped, want := range []int{3, 2, 1, 0} {
		list, err := b.store.Expired(t.Context(), 10, refs[:skipped])
		if err != nil || len(list) != want {
			t.Errorf("%d skipped: %+v, %v, want %d", skipped, list, err, want)
		}
	}
	if list, err := b.store.Expired(t.Context(), 1, refs[:1]); err != nil || len(list) != 1 || list[0].Step.Session == refs[0].Key {
		t.Errorf("one at the most: %+v, %v", list, err)
	}
	if n := d.Sweep(t.Context()); n != 3 {
		t.Errorf("%d sessions ended", n)
	}
}
