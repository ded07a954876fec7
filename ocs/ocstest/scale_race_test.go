//go:build race

package ocstest_test

// conversationBooks: the race detector makes everything twenty times slower, so it
// sees the first books only; `make conformance` runs all of them without it.
const conversationBooks = 3
