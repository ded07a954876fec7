// Package ocstest holds what proves a store of the online charging system:
// Exercise runs any ocs.Store through the charging engine, Random and Converse
// throw seeded conversations at it, CheckBooks and Auditor test the cross-row
// truths of the books, and Memory is the reference store, as naive as can be.
package ocstest
