// Package sipload loads a SIP gateway with calls over UDP: callers and callees of
// its own, as lean as they can be, so that on a shared machine the gateway is
// measured and not the generator.
//
// [Run] places calls in a closed loop (so many at a time) or an open one (so many a
// second), or opens them all and holds them, and reports calls per second and the
// set-up time without the callee's share. What each end says is written with append
// and read by looking for the few headers that matter; there are no transactions, but
// an unanswered request is repeated as RFC 3261 wants it.
//
// The gateway has to send its calls to Config.Callee (sip.next_hop), to trust
// loopback, and to pass the header Session-ID (RFC 7989) through, by which a callee
// knows whose call it answers. [Plan] makes the numbers, and their groups, members
// and accounts as CSV.
package sipload
