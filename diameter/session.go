package diameter

import (
	"encoding/base64"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// sessionIDMade is the longest Session-Id we make, in octets: the trace
// context is left out rather than exceeding it.
const sessionIDMade = 128

// SessionIDs makes Session-Ids, "identity;high;low[;optional]" (RFC 6733 §8.8),
// for any number of goroutines.
type SessionIDs struct {
	identity string
	last     atomic.Uint64
}

// NewSessionIDs returns a generator for the node with that DiameterIdentity. It
// counts from start as an NTP time stamp: seconds in the high half, fractions
// in the low. So ids do not repeat across restarts as long as the clock does
// not go back and fewer than four thousand million are made in a second.
func NewSessionIDs(identity string, start time.Time) *SessionIDs {
	s := &SessionIDs{identity: identity}
	seconds := uint64(start.Unix() - ntpEpoch)
	fraction := uint64(start.Nanosecond()) << 32 / uint64(time.Second)
	s.last.Store(seconds<<32 | fraction)
	return s
}

// Next returns a new Session-Id. optional becomes its last element; it is left
// out when empty or when the whole would be longer than 128 octets.
func (s *SessionIDs) Next(optional string) string {
	n := s.last.Add(1)
	b := make([]byte, 0, sessionIDMade)
	b = append(append(b, s.identity...), ';')
	b = append(strconv.AppendUint(b, n>>32, 10), ';')
	b = strconv.AppendUint(b, n&(1<<32-1), 10)
	if optional != "" && len(b)+1+len(optional) <= sessionIDMade {
		b = append(append(b, ';'), optional...)
	}
	return string(b)
}

// tracePrefix marks the optional element that holds a trace context.
const tracePrefix = "t1."

// traceEncoding is strict, so that one context has one encoding only.
var traceEncoding = base64.RawURLEncoding.Strict()

// TraceElement returns the optional element of a Session-Id that carries the
// trace of a sampled call: "t1." and trace id, root span id and flags in
// base64url. It holds nothing about the subscriber.
func TraceElement(traceID [16]byte, spanID [8]byte, flags byte) string {
	var context [16 + 8 + 1]byte
	copy(context[:], traceID[:])
	copy(context[16:], spanID[:])
	context[24] = flags
	return tracePrefix + traceEncoding.EncodeToString(context[:])
}

// ParseTrace finds the trace context in a Session-Id. ok is false when there is
// none or when it is malformed or all zero. Only a trusted peer's may be used.
func ParseTrace(sessionID string) (traceID [16]byte, spanID [8]byte, flags byte, ok bool) {
	_, element, found := strings.Cut(sessionID, ";"+tracePrefix)
	if !found || strings.Count(sessionID[:len(sessionID)-len(element)], ";") < 3 {
		return traceID, spanID, 0, false
	}
	element, _, _ = strings.Cut(element, ";")
	var context [16 + 8 + 1]byte
	if len(element) != traceEncoding.EncodedLen(len(context)) {
		return traceID, spanID, 0, false
	}
	// The decoder skips line ends, hence the count.
	if n, err := traceEncoding.Decode(context[:], []byte(element)); err != nil || n != len(context) {
		return traceID, spanID, 0, false
	}
	copy(traceID[:], context[:])
	copy(spanID[:], context[16:])
	ok = traceID != [16]byte{} && spanID != [8]byte{}
	return traceID, spanID, context[24], ok
}
