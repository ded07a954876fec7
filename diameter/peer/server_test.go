package peer

import (
	"testing"
	"time"

	"gygate/diameter"
)

func TestRoundTrip(t *testing.T) {
	_, address := startServer(t, echo, nil)
	c := startClient(t, nil, Endpoint{Address: address})
	waitOpen(t, c)
	a, err := c.Do(within(t, 10*time.Second), ask(request{number: 3}))
	if err != nil {
		t.Fatal(err)
	}
	if a.Fault != nil || a.Message.ResultCode() != diameter.Success || a.From.Host != ocsHost {
		t.Errorf("answer %+v", a)
	}
}
