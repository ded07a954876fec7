// Package ocs is the online charging system: it knows money and nothing of
// Diameter, SIP or SQL.
//
// A charging request is a [Step]. It names a session, a payer and up to
// [ItemsMax] targets, and asks for any of the four published verbs in their
// fixed order: authenticate, debit, refund, reserve. The rules that decide a
// step are a pure function over a [WorkingSet]; the [Engine] resolves each step
// to an account, hands it to the account's lane, and lets the [Store] lock and
// load the working set, decide, store and commit, one transaction for a batch.
//
// Another service calls the same rules through [Prepaid].
//
// Standards: RFC 8506 (sections 5 to 7: what a credit-control server does),
// 3GPP TS 32.299 (section 5.2: reservation and debiting of units).
package ocs
