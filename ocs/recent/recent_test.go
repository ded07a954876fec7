package recent_test

import (
	"testing"

	"gygate/ocs/recent"
)

func TestWhatIsUsedStays(t *testing.T) {
	const limit = 100
	m := recent.New[int, int](limit)
	m.Put(-1, 7)
	for i := range 10 * limit {
		m.Put(i, i)
		if v, ok := m.Get(-1); !ok || v != 7 {
			t.Fatalf("the entry that is always used is gone after %d", i)
		}
		if m.Len() > limit {
			t.Fatalf("%d entries, the limit is %d", m.Len(), limit)
		}
		for back := range limit/2 - 1 { // beside the one that is always used
			if _, ok := m.Get(i - back); !ok && back < i {
				t.Fatalf("entry %d is gone after %d", i-back, i)
			}
		}
	}
	if _, ok := m.Get(0); ok {
		t.Error("what nobody used is still there")
	}
}

func TestDropForgets(t *testing.T) {
	m := recent.New[int, int](4)
	for i := range 4 {
		m.Put(i, i)
	}
	for i := range 4 {
		m.Drop(i)
		if _, ok := m.Get(i); ok {
			t.Errorf("entry %d is still there", i)
		}
	}
}

func TestReplaceKeepsTheHalves(t *testing.T) {
	m := recent.New[int, int](2)
	m.Put(1, 1)
	m.Put(1, 2)
	if v, _ := m.Get(1); v != 2 || m.Len() != 1 {
		t.Errorf("got %d among %d entries", v, m.Len())
	}
}
