// Package ocstest holds what proves a store of the online charging system:
// Exercise runs any ocs.Store through the charging engine, CheckBooks tests the
// cross-row truths of the books on a snapshot, and Memory is the reference
// store, as naive as can be.
package ocstest
