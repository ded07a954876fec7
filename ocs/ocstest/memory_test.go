package ocstest_test

import (
	"testing"

	"go.uber.org/goleak"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemory(t *testing.T) {
	ocstest.Exercise(t, func(testing.TB) (ocs.Store, ocstest.Seeder) {
		m := ocstest.NewMemory()
		return m, m
	})
}

func TestRandom(t *testing.T) {
	for seed := range uint64(8) {
		m := ocstest.NewMemory()
		ocstest.Random(t, m, m, ocstest.RandomConfig{Seed: seed, Rounds: 150, CheckEvery: 1})
	}
}
