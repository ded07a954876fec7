package main

import (
	"log/slog"
	"time"

	"gygate/vpnlogic"
)

// observers all see every event.
type observers []vpnlogic.Observer

func (all observers) Observe(e vpnlogic.CallEvent) {
	for _, one := range all {
		if one != nil {
			one.Observe(e)
		}
	}
}

// callLog writes one line for each call attempt, at its end, numbers masked.
type callLog struct{ logger *slog.Logger }

func (l callLog) Observe(e vpnlogic.CallEvent) {
	r := e.Record
	if r == nil {
		return
	}
	l.logger.Info("call ended", "call_id", r.CallID, "session", r.Session, "group", r.Group,
		"number", vpnlogic.Mask(r.Calling), "dialled", vpnlogic.Mask(r.Dialled), "class", string(r.Class),
		"charging", string(r.Charging), "talked", r.Talked.Round(time.Millisecond), "cost", r.Cost,
		"status", r.Status, "cause", r.Cause, "reason", r.Reason, "released_by", r.ReleasedBy, "trace_id", r.TraceID)
}
