// Package pgdirectory keeps the virtual private networks and the call records
// in PostgreSQL.
//
// [Provider] holds the current [vpnlogic.Directory] snapshot and renews it when
// the data changes; [Admin] changes the data; [Recorder] writes and reads call
// records. The tables are those of migration 0002.
package pgdirectory
