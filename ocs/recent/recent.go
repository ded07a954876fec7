// Package recent remembers what was used lately, up to a limit, at the price of a
// map: no list to reorder, no allocation for each use.
package recent

// Map is a map that forgets what was not used for long. It holds two halves: when
// the young one is full it becomes the old one, and the old one is dropped with what
// nobody has asked for since. It is not safe for concurrent use.
type Map[K comparable, V any] struct {
	half       int
	young, old map[K]V
}

// New returns a map of at most limit entries, and of at least half as many of those
// used last.
func New[K comparable, V any](limit int) Map[K, V] {
	return Map[K, V]{half: max(1, limit/2), young: map[K]V{}}
}

// Get finds an entry, which counts as a use.
func (m *Map[K, V]) Get(k K) (V, bool) {
	v, ok := m.young[k]
	if ok {
		return v, true
	}
	if v, ok = m.old[k]; ok {
		m.Put(k, v)
	}
	return v, ok
}

// Put adds or replaces an entry.
func (m *Map[K, V]) Put(k K, v V) {
	if _, there := m.young[k]; !there && len(m.young) >= m.half {
		m.old, m.young = m.young, map[K]V{}
	}
	m.young[k] = v
}

// Drop removes an entry.
func (m *Map[K, V]) Drop(k K) {
	delete(m.young, k)
	delete(m.old, k)
}

// Clear removes all entries.
func (m *Map[K, V]) Clear() {
	clear(m.young)
	m.old = nil
}

// Each calls do for every entry, which is no use of it.
func (m *Map[K, V]) Each(do func(K, V)) {
	for k, v := range m.young {
		do(k, v)
	}
	for k, v := range m.old {
		if _, again := m.young[k]; !again {
			do(k, v)
		}
	}
}

// Len is the number of entries; one that was used again may count twice.
func (m *Map[K, V]) Len() int { return len(m.young) + len(m.old) }
