// Package repeats holds no code but tests: whatever a client repeats, it gets the
// charging part of the first answer again, and the money has moved once.
//
// They run two real charging nodes, built and started as an operator does, on one
// PostgreSQL, and kill one of them again and again with SIGKILL. `go test` makes a
// few thousand random repeats; with GYGATE_CONFORMANCE=1 there are 100,000.
package repeats
