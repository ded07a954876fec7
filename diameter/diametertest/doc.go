// Package diametertest holds Diameter peers for tests: Peer, which says and
// expects what a test tells it and can misbehave, and foreign peers made of
// go-diameter, a stack that is not ours.
package diametertest
