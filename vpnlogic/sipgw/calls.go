package sipgw

import (
	"context"
	"time"

	"gygate/vpnlogic"
)

// calls is the call service as the gateway uses it; it is a
// [vpnlogic.Service] in production.
type calls interface {
	// Begin hands a call request over. A nil call comes with the cause of an
	// immediate refusal.
	Begin(ctx context.Context, a vpnlogic.Attempt, leg vpnlogic.Leg) (call, *vpnlogic.Cause)
	// Shutdown releases all calls and waits until they are charged and recorded.
	Shutdown(ctx context.Context) error
}

// call takes the signalling events of one call, as [vpnlogic.Call] does. What
// the service wants done about an event comes back through the Leg.
type call interface {
	Ringing(at time.Time, status int)
	Answering() bool
	AnsweredBy(at time.Time, ioi string)
	Answered(at time.Time)
	Connected(at time.Time, number string)
	Failed(at time.Time, cause vpnlogic.Cause)
	Cancelled(at time.Time)
	HungUp(at time.Time, by vpnlogic.Party)
	Lost(at time.Time)
}

type serviceCalls struct{ *vpnlogic.Service }

func (s serviceCalls) Begin(ctx context.Context, a vpnlogic.Attempt, leg vpnlogic.Leg) (call, *vpnlogic.Cause) {
	c, refused := s.Service.Begin(ctx, a, leg)
	if refused != nil {
		return nil, refused
	}
	return c, nil
}
