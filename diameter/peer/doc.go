// Package peer is the Diameter transport layer: the RFC 6733 §5.6 peer machine
// under the RFC 3539 §3.4 watchdog, in both directions, over TCP, mutual TLS and
// SCTP.
//
// A Server accepts peers, gives their requests to a Handler and sends requests of
// its own to them; a Client keeps connections to several peers and sends requests
// with failover. One reader and one coalescing writer goroutine per connection;
// base messages (CER, DWR, DPR) never queue behind application requests.
package peer
