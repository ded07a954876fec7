package vpnlogic

import (
	"testing"
)

func TestReleaseTable(t *testing.T) {
	for reason, row := range releaseTable {
		if row.q850 < 1 || row.q850 > 127 {
			t.Errorf("%s: Q.850 cause %d", reason, row.q850)
		}
		if reason != ReasonNormal && (row.status < 400 || row.status > 699) {
			t.Errorf("%s: SIP status %d refuses nothing", reason, row.status)
		}
		if row.text == "" {
			t.Errorf("%s: no text", reason)
		}
		if c := CauseOf(reason); c.Reason != reason || c.Q850 != row.q850 || c.Status != row.status || c.Text() != row.text {
			t.Errorf("%s: CauseOf gives %+v", reason, c)
		}
	}
	if c := CauseOf("never.heard"); c.Reason != "never.heard" || c.Status != 500 {
		t.Errorf("unknown reason: %+v", c)
	}
}

func TestCauseFromStatus(t *testing.T) {
	for status, want := range map[int]Cause{
		404: {ReasonUnallocated, 1, 404},
		484: {ReasonIncomplete, 28, 484},
		486: {ReasonBusy, 17, 486},
		600: {ReasonBusy, 17, 600},
		480: {ReasonUnavailable, 20, 480},
		408: {ReasonTimeout, 102, 408},
		603: {ReasonDeclined, 21, 603},
		488: {ReasonMediaFault, 65, 488},
		500: {ReasonRejected, 41, 500},
		302: {ReasonRejected, 41, 503}, // a redirection is not followed
		401: {ReasonRejected, 41, 503}, // a challenge is ours, not the caller's
		407: {ReasonRejected, 41, 503},
		0:   {ReasonRejected, 41, 503},
		999: {ReasonRejected, 41, 503},
	} {
		if got := CauseFromStatus(status); got != want {
			t.Errorf("%d: got %+v, want %+v", status, got, want)
		}
	}
}

// TestChargingCause: the result decides, the token only names.
func TestChargingCause(t *testing.T) {
	tests := []struct {
		answer ChargeAnswer
		want   Cause
	}{
		{ChargeAnswer{Result: ChargeRefused, Code: 4010, Reason: "authenticate.lost"}, Cause{"authenticate.lost", 21, 403}},
		{ChargeAnswer{Result: ChargeRefused, Code: 5030, Reason: "authenticate.unknown_subscriber"}, Cause{"authenticate.unknown_subscriber", 50, 403}},
		{ChargeAnswer{Result: ChargeNoCredit, Code: 4012, Reason: "authenticate.lost"}, Cause{"authenticate.lost", 21, 402}},
		{ChargeAnswer{Result: ChargeNoCredit, Code: 4012}, Cause{ReasonNoCredit, 21, 402}},
		{ChargeAnswer{Result: ChargeUnreachable}, Cause{ReasonUnreachable, 41, 503}},
		{ChargeAnswer{Result: ChargeFailed, Code: 5012}, Cause{ReasonFailed, 41, 503}},
		{ChargeAnswer{Result: ChargeFailed, SessionOpen: true}, Cause{ReasonBadAnswer, 41, 503}},
		{ChargeAnswer{Result: ChargeRefused, Reason: string(make([]byte, 65))}, Cause{ReasonRefused, 21, 403}},
	}
	for _, tt := range tests {
		if got := chargingCause(tt.answer); got != tt.want {
			t.Errorf("%+v: got %+v, want %+v", tt.answer, got, tt.want)
		}
	}
}
