package pgstore

import (
	"testing"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// TestExercise runs the conformance suite for stores. Whenever the suite looks at
// the books, our own audit does so, too.
func TestExercise(t *testing.T) {
	ocstest.Exercise(t, func(t testing.TB) (ocs.Store, ocstest.Seeder) {
		l := newLedger(t)
		return l, audited{l}
	})
}

type audited struct{ *ledger }

func (a audited) Books(t testing.TB) ocstest.Books {
	t.Helper()
	a.audit(t)
	return a.ledger.Books(t)
}
