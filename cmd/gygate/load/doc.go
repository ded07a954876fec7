// Package load is a Diameter credit-control client that loads a charging system
// and measures it: sessions (CCR-I, CCR-U …, CCR-T) or events, in a closed loop
// (so many at a time) or an open one (so many a second, whatever the answers do).
//
// It is made to cost next to nothing beside what it measures. Each connection has
// one goroutine. It reads whatever has arrived, handles each answer where it lies in
// the buffer, puts the next request of that answer's session behind those that wait
// to be sent, and writes them all when no whole answer is left. Requests are encoded
// once, by gy.CCR.Append; afterwards only the fields that differ are written over. A
// request's Hop-by-Hop Identifier is the place of its session in a table. So there is
// no goroutine, map, channel or allocation for a request.
//
// Latency in the open loop counts from when a request should have been sent, not from
// when it was: a server that stalls is charged for all that had to wait.
package load
