package gy

import (
	"context"
	"testing"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/ocs"
)

// atOnce answers every step with the same outcome.
type atOnce struct{ outcome ocs.Outcome }

func (a atOnce) Submit(_ *ocs.Step, done func(ocs.Outcome)) { done(a.outcome) }

// BenchmarkServe is what one CCR-U of a call costs between the validated bytes
// and the answer's bytes, without the books.
func BenchmarkServe(b *testing.B) {
	r := call("1", ocs.Update, 1, ask(threshold(50)))
	m := parse(b, r.Append(nil, diameter.Header{}))
	asShipped(b)
	tariff := testTariff()
	s := NewServer(ServerConfig{Local: testLocal, Tariff: func() *ocs.Tariff { return tariff }, SharedDatabase: true}, atOnce{slice(0)})
	b.ReportAllocs()
	for b.Loop() {
		s.Serve(context.Background(), peer.Remote{Tolerate: diameter.Lenient}, m, func([]byte) {})
	}
}
