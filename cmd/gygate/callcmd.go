package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"gygate/vpnlogic/sipgw/phone"
)

// callResult is what `gygate call --json` prints.
type callResult struct {
	CallID    string  `json:"call_id"`
	Connected bool    `json:"connected"`
	Status    int     `json:"status"`
	Reason    string  `json:"reason,omitempty"`
	Talked    float64 `json:"talked_seconds"`
	HungUp    string  `json:"hung_up,omitempty"` // self, peer
}

func newCallCommand(a *app) *cobra.Command {
	var o phone.DialOptions
	cmd := &cobra.Command{
		Use:   "call --from NUMBER --to DIALLED",
		Short: "Place a call with a test phone",
		Long: `Call is a SIP phone: it calls through a gygate, prints each message, talks, and hangs
up. It sends no audio. Exits with 1 when the call was not connected, with 3 when
nothing answered at all.`,
		Example: `  gygate call --from 493023125001 --to 6002 --talk 10s
  gygate call --from 493023125006 --to 004066969100 --via 127.0.0.1:5060 --json`,
		Args: cobra.NoArgs,
		RunE: a.run(func(c *invocation) error { return placeCall(c, o) }),
	}
	f := cmd.Flags()
	f.StringVar(&o.From, "from", "", "calling number, as the network asserts it")
	f.StringVar(&o.To, "to", "", "what is dialled: a short number, a public number, escape code and number")
	f.DurationVar(&o.Talk, "talk", 30*time.Second, "hang up so long after the answer; 0: leave it to the other side")
	f.StringVar(&o.Via, "via", "127.0.0.1:5060", "SIP address of the gygate, `HOST:PORT`")
	f.StringVar(&o.Network, "network", "udp", "udp or tcp")
	cobra.CheckErr(cmd.MarkFlagRequired("from"))
	cobra.CheckErr(cmd.MarkFlagRequired("to"))
	a.jsonFlag(cmd)
	return cmd
}

func placeCall(c *invocation, o phone.DialOptions) error {
	if o.Network != "udp" && o.Network != "tcp" {
		return usage("--network is udp or tcp, not %q", o.Network)
	}
	began := time.Now()
	if !c.json {
		o.OnEvent = func(at time.Time, text string) {
			fmt.Fprintf(c.out, "  %+8.3f  %s\n", at.Sub(began).Seconds(), text)
		}
	}
	r, err := phone.Dial(c.ctx, o)
	if err != nil {
		return exitWith(exitUnreachable, fmt.Errorf("no answer from %s over %s: does a gygate serve there? --via names another one: %w", o.Via, o.Network, err))
	}
	out := callResult{r.CallID, !r.AnsweredAt.IsZero(), r.Status, r.Reason, r.Talked().Seconds(), string(r.HungUp)}
	if err := c.show(out, "%s", out.text()); err != nil {
		return err
	}
	if !out.Connected {
		return refused("the call was not connected: %d %s", out.Status, out.Reason)
	}
	return nil
}

func (r callResult) text() string {
	if !r.Connected {
		return ""
	}
	by := map[string]string{"self": "we hung up", "peer": "the other side hung up"}[r.HungUp]
	if r.Reason != "" {
		by += ", Reason: " + r.Reason
	}
	return fmt.Sprintf("talked %.1f s; %s\n", r.Talked, by)
}
