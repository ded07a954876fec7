// Package fsm is the two state machines of a Diameter peer as pure functions: the
// peer machine of RFC 6733 §5.6 (State.On) and the watchdog of RFC 3539 §3.4.1
// (Watchdog.On). Each takes an event and returns the next state and what its owner,
// package peer, has to do. The rows of the RFCs' tables stand above the code that
// is their translation; names are the RFCs'.
package fsm
