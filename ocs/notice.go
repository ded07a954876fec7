package ocs

import (
	"context"
	"time"
)

// Notice asks the client of an open session to come back at once (RAR) or to end
// the session (ASR), because something about the paying account has changed. It
// is raised in the transaction that made the change and delivered by whichever
// node reaches the client; a session has at most one, further reasons raise it
// again (conformance B-196).
type Notice struct {
	Session   SessionKey
	SubID     uint64
	Account   AccountKey
	SessionID string
	Service   string
	Client    Client // whom to ask: Host and Realm, through Relay when it is not connected
	Reason    NoticeReason
	// RatingGroup narrows the question to one group when only that one is
	// concerned (conformance B-191); nil: the whole session.
	RatingGroup *uint32
	// Attempt counts the sendings from 1. The first one of each raise is new;
	// EndToEnd is that of the sending it repeats, 0 when it repeats none.
	Attempt  int
	EndToEnd uint32
	// Raised counts the reasons; what is settled was raised so often.
	Raised int64
	// Abort is set by whoever sends it as an Abort-Session-Request: what the client
	// accepts then is the end of the session, not a report.
	Abort bool
}

// NoticeReason says what has changed.
type NoticeReason uint8

// The reasons, a stronger one replaces a weaker one that still waits.
const (
	NoticeTariff NoticeReason = 1 // prices or service contexts
	NoticeCredit NoticeReason = 2 // a top-up, or a flag, threshold or validity that no longer stands in the way
	NoticeBarred NoticeReason = 3 // blocked, reported lost, or closed
	NoticeEnd    NoticeReason = 4 // an operator has the session ended
)

// String names the reason for logs and metrics.
func (r NoticeReason) String() string {
	switch r {
	case NoticeTariff:
		return "tariff"
	case NoticeCredit:
		return "credit"
	case NoticeBarred:
		return "barred"
	case NoticeEnd:
		return "end"
	}
	return "unknown"
}

// NoticeResult says what came of one sending.
type NoticeResult uint8

// The results (RFC 8506 §5.5, RFC 6733 §8.3, §8.5; conformance B-192 to B-194, B-199).
const (
	// NoticeExpected: the client will report (RAA 2002) or end the session (ASA
	// 2001, 2002). When nothing has come after NoticeWait it is asked once more;
	// a session that should have ended is ended then.
	NoticeExpected NoticeResult = iota + 1
	// NoticeDone: a report was on its way already (RAA 2001). Nothing follows.
	NoticeDone
	// NoticeUnknown: the client has lost the session (5002). It is ended after
	// NoticeGrace, so that a report on its way still counts.
	NoticeUnknown
	// NoticeUndelivered: no answer, 3002, 3004 or 5012. It is sent once more with
	// the T bit; after that Validity-Time is the net.
	NoticeUndelivered
	// NoticeWithheld: the client is known not to act on it; nothing was sent.
	NoticeWithheld
)

// The times of a notice.
const (
	NoticeWait  = 10 * time.Second // for the report or the end that was promised
	NoticeGrace = 30 * time.Second // for a report of a session the client has lost
	NoticeLease = 15 * time.Second // a node that claimed a notice and died gives it up
	NoticeLife  = 2 * time.Minute  // what could not be delivered by then is dropped
)

// NoticeAttempts is how often one raise is sent at the most.
const NoticeAttempts = 2

// Notices is the port to the notices kept in the database. Implementations are
// safe for concurrent use by several nodes.
type Notices interface {
	// Claim takes up to limit due notices for the caller alone, for NoticeLease:
	// those whose client, or last relay, is one of hosts (Diameter identities with
	// an open connection to this node, in lower case); when relays is true also
	// those that wait so long that nobody else reaches them. Notices whose session
	// is over, or has reported since the last sending, are dropped on the way.
	Claim(ctx context.Context, hosts []string, relays bool, limit int) ([]Notice, error)
	// Settle says what came of a claimed notice; endToEnd is that of the sending.
	Settle(ctx context.Context, n Notice, r NoticeResult, endToEnd uint32) error
}
