// Package suite holds conversations with a charging system as a client has them:
// bytes over TCP, and after each step the account's balances.
//
// The system under test is gygate's server on a PostgreSQL database, or, with
// GYGATE_SUT=stock, a server made of go-diameter's own state machine. TestStock
// runs against both; the stock server must fail each of its rows. The other tests
// are of gygate alone.
//
// The traces and their numbers are those of the wire traces the project was
// written against; the goldens are messages of an independent encoder, shared with
// package diameter.
package suite
