//go:build !race

package ocstest_test

// conversationBooks times bookSessions are the 100,000 sessions of acceptance 4.
const conversationBooks = 100
