// Package vpnlogic is the service logic of the virtual private network (in the
// intelligent-network sense): it knows calls and nothing of SIP, Diameter or
// SQL.
//
// A call attempt is screened against an immutable [Directory]; if its payer is
// prepaid, the call machine charges it step by step through a [Charger]; a
// [Leg] connects, monitors and releases it; one [CallRecord] is written for
// every attempt. The machine is pure: (state, event) → (state, actions), with
// the points in call of ITU-T Q.1224 as states. [Service] runs one goroutine a
// call, which owns the machine and does the I/O.
package vpnlogic
