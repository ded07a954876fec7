package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"gygate/cmd/gygate/config"
)

// telemetryTimeout bounds the sending of the last spans and metrics.
const telemetryTimeout = 5 * time.Second

func newServeCommand(a *app) *cobra.Command {
	var role string
	var quickstart bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve calls and charging until Ctrl-C",
		Long: `Serve runs the charging system (Diameter server, role ocs), the VPN logic (SIP, role
vpn) or both with a real Diameter connection between them (role all). Without a DSN it
runs a private PostgreSQL in --data.

In two processes, both on one database (gygate migrate makes its tables), ocs.yaml lists
the VPN node under diameter.peers, vpn.yaml the charging system under charging.servers,
and one of them moves http.listen.

Ctrl-C ends it in order: new calls are refused, calls released and charged, peers
disconnected, steps answered, the database stopped. A second Ctrl-C forces the end.`,
		Example: `  gygate serve --quickstart
  gygate serve --config /etc/gygate/gygate.yaml
  gygate serve --role ocs --config ocs.yaml --dsn postgres://gygate@db.example/gygate
  gygate serve --role vpn --config vpn.yaml --dsn postgres://gygate@db.example/gygate`,
		Args: cobra.NoArgs,
		RunE: a.run(func(c *invocation) error {
			if quickstart && Role(role) != RoleAll {
				return usage("--quickstart needs --role all")
			}
			return c.serve(Role(role), quickstart)
		}),
	}
	cmd.Flags().StringVar(&role, "role", string(RoleAll), "all, ocs or vpn")
	cmd.Flags().BoolVar(&quickstart, "quickstart", false, "load the sample data, play a sample call and explain, then serve")
	return cmd
}

func (c *invocation) serve(role Role, quickstart bool) (err error) {
	if role != RoleAll && role != RoleOCS && role != RoleVPN {
		return usage("--role is all, ocs or vpn, not %q", role)
	}
	cfg, err := c.place.load()
	if err != nil {
		return err
	}
	if quickstart && c.place.config == "" {
		cfg.Telemetry.LogLevel = "warn" // the ladder is what a newcomer wants to read
	}
	defer tuneCollector()()
	telemetry, err := StartTelemetry(c.ctx, cfg.Telemetry, c.errs)
	if err != nil {
		return exitWith(exitConfig, err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), telemetryTimeout)
		defer cancel()
		err = errors.Join(err, telemetry.Shutdown(ctx))
	}()
	opt := Options{Role: role, Data: c.place.data, Logger: telemetry.Logger, Metrics: telemetry.Metrics, Say: c.out}
	if quickstart {
		return c.quickstart(cfg, opt)
	}
	m, err := New(c.ctx, cfg, opt)
	if err != nil {
		return err
	}
	m.WriteAddresses(c.out)
	return c.stopped(errors.Join(m.Run(c.ctx), m.Close()))
}

// stopped says the last line of an orderly end.
func (c *invocation) stopped(err error) error {
	if err == nil {
		fmt.Fprintln(c.out, "stopped in order: no call, no connection, no database of ours is left")
	}
	return exitWith(exitUnreachable, err)
}

// quickstart serves with the sample's phones around the gateway, and shows one
// prepaid call.
func (c *invocation) quickstart(cfg *config.Config, opt Options) (err error) {
	s, err := newStage(c.ctx, cfg, opt)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stopped(s.close())) }()
	s.main.WriteAddresses(c.out)
	if err := c.sampleCall(s); err != nil {
		return err
	}
	c.nextSteps(s)
	select {
	case <-c.ctx.Done():
		fmt.Fprintln(c.out, "stopping: releasing calls, telling peers, stopping the database …")
		return nil
	case err := <-s.ran: // a part failed
		s.ran <- err
		return nil
	}
}

// executable is how the person called us, for commands to copy.
func executable() string { return os.Args[0] }
