// Package gy maps between calls, money and bytes: it is the one place that
// knows vpnlogic, ocs and diameter at the same time.
//
// A Credit-Control-Request is a [CCR], its answer a [CCA]; each has one
// append-encoder and one single-pass parser, and both wire profiles: P-RFC
// (RFC 8506: units at command level) and P-3GPP (TS 32.299: units inside
// Multiple-Services-Credit-Control). [Server] turns a CCR into one ocs.Step and
// its ocs.Outcome into the CCA; [Client] turns a vpnlogic.ChargeRequest into a
// CCR and the CCA into a vpnlogic.ChargeAnswer. The decisions of both stand in
// the two tables of mapping.go: interrogation to prepaid verbs, refusal to
// Result-Code.
//
// The client also sends one-time events ([Client.Event]), repeats what carries
// money and has no answer, over its own death if it has a [Keeper], and answers
// through [CallServer] what a charging system asks of a running call.
package gy
