package ocstest_test

import (
	"testing"
	"time"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// bookSessions is how many sessions one set of books holds: it is checked whole at
// their end, and the account of every step after the step.
const bookSessions = 1000

// happenings must each have occurred, or the test would prove less than it says.
var happenings = []string{
	"", "replayed", "gone", "at once", "final", "after final", "zero grant", "redirected", "overrun", "capped", "pool", "switch",
	"restart", "swept", "top-up", "block", "unblock", "close",
	"event 0: true", "event 0: false", "event 1: true", "event 1: false", "event 2: true", "event 3: true",
	string(ocs.UnknownSession), string(ocs.Free), string(ocs.Closed), string(ocs.Blocked), string(ocs.CreditLimit),
	string(ocs.Blocked) + " in an item", string(ocs.NoBalance) + " in an item", string(ocs.NotAvailable) + " in an item",
	string(ocs.Unrated) + " in an item", string(ocs.Free) + " in an item", string(ocs.Expired) + " in an item",
}

// TestConversations is acceptance 4: conversationBooks times bookSessions sessions.
func TestConversations(t *testing.T) {
	t.Attr("proves", "B-216")
	start := time.Date(2026, 3, 28, 20, 0, 0, 0, time.UTC) // the night in which summer time begins
	total := make(ocstest.Tally)
	for seed := range uint64(conversationBooks) {
		m := ocstest.NewMemory()
		now := start
		m.Now = func() time.Time { return now }
		for name, n := range ocstest.Converse(t, m, m, ocstest.ConverseConfig{
			Seed: seed, Sessions: bookSessions, Start: start, Advance: func(d time.Duration) { now = now.Add(d) },
		}) {
			total[name] += n
		}
		if t.Failed() {
			return
		}
	}
	for _, name := range happenings {
		if total[name] == 0 {
			t.Errorf("%q never happened", name)
		}
	}
	t.Log(total)
}

// plain hides everything of a store but what Seeder asks for.
type plain struct{ ocstest.Seeder }

// By the store's own clock, and with a store that shows nothing but its whole
// books, the same clients talk.
func TestConversationsByTheStoresClock(t *testing.T) {
	m := ocstest.NewMemory()
	tally := ocstest.Converse(t, m, plain{m}, ocstest.ConverseConfig{Seed: 1, Sessions: 200})
	for _, name := range []string{"", "replayed", "final", "overrun", "restart"} {
		if tally[name] == 0 {
			t.Errorf("%q never happened", name)
		}
	}
}
