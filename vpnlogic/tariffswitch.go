package vpnlogic

import "time"

// split divides the use of a request at the tariff switch that the server announced
// with its grant (RFC 8506 §8.20, conformance C-033). A report before the switch is
// whole, and so is one that begins after it.
func (m *machine) split(r *ChargeRequest) {
	c := &m.credit
	at := c.grant.SwitchAt
	if at.IsZero() || m.answeredAt.IsZero() || r.Type == ChargeInitial || !at.Before(r.At) {
		return
	}
	before := wholeSeconds(max(0, at.Sub(m.answeredAt))) - c.reported
	r.Split, r.UsedAfter = true, r.Used-min(max(0, before), r.Used)
	c.grant.SwitchAt = time.Time{} // told; what follows is after it
}
