package gy

import (
	"context"
	"testing"
	"testing/synctest"

	"gygate/diameter"
	"gygate/vpnlogic"
)

// Whoever has given a service its price need not wait for the block to end.
func TestRatingChangedEndsTheBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, w := newTestClient(t, ClientConfig{}, answering(CCA{ResultCode: diameter.RatingFailed}))
		client.Charge(context.Background(), initial("a"))
		w.say(answering(sixty()))
		if a := client.Charge(context.Background(), initial("b")); a.Result != vpnlogic.ChargeFailed || len(w.sent) != 1 {
			t.Errorf("before: %+v after %d requests", a, len(w.sent))
		}
		client.RatingChanged()
		if a := client.Charge(context.Background(), initial("c")); a.Result != vpnlogic.ChargeGranted {
			t.Errorf("after: %+v", a)
		}
	})
}
