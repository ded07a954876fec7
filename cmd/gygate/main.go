// Command gygate is a Diameter Gy online charging gateway: the service logic of
// a virtual private network whose calls are charged over Diameter by an online
// charging system that keeps the money in PostgreSQL. One binary does all of it:
// it serves, provisions, verifies and shows itself. See gygate --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	// Output that nobody reads any more must not end the process on the spot, with
	// a database left running: writing then fails and the command winds down.
	signal.Ignore(syscall.SIGPIPE)
	// The first Ctrl-C ends the context, and everything winds down in order;
	// then the signal has its ordinary effect again, so a second one forces.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(execute(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// execute runs one command line and gives its exit code.
func execute(ctx context.Context, args []string, out, errs io.Writer) int {
	a := &app{out: out, errs: errs}
	root := a.newRoot()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errs)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(errs, "gygate:", err)
	if codeOf(err) == exitUsage {
		fmt.Fprintf(errs, "See %s --help.\n", cmd.CommandPath())
	}
	return codeOf(err)
}

// app is one run of the command line: its streams and its common flags.
type app struct {
	out, errs io.Writer
	place     place
	json      bool
}

// invocation is what a command's body works with.
type invocation struct {
	*app
	ctx  context.Context
	args []string
}

// run makes a cobra body of f. An error of the body is a refusal unless it says
// otherwise; an error from anywhere else is the command line's.
func (a *app) run(f func(*invocation) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := f(&invocation{app: a, ctx: cmd.Context(), args: args})
		if errors.Is(err, context.Canceled) && cmd.Context().Err() != nil {
			return exitWith(exitInterrupted, errors.New("interrupted"))
		}
		return exitWith(exitRefused, err)
	}
}

// jsonFlag gives a command that prints data its --json.
func (a *app) jsonFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON")
}

func (a *app) newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "gygate",
		Short: "Diameter Gy online charging gateway for prepaid VPN calls",
		Long: `gygate screens calls of a virtual private network (short numbers, closed groups),
charges those of prepaid lines over Diameter (RFC 8506, 3GPP Ro/Gy), and keeps the
money in PostgreSQL.

A command that needs the database takes --dsn, else GYGATE_DSN, else the
configuration file, else the embedded PostgreSQL of --data: one that serves is
used, one that is not running is started for the time of the command. Only serve,
demo and migrate make a new one or change its schema.

` + exitCodesHelp,
		Example: `  gygate serve --quickstart                     # everything, with sample data and a sample call
  gygate demo                                   # the scripted tour in its own folder
  gygate call --from 493023125001 --to 6002     # a call of your own
  gygate account show 493023125001
  gygate verify`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	a.place.flags(root)
	root.AddCommand(
		newServeCommand(a), newDemoCommand(a), newCallCommand(a),
		newAccountCommand(a), newGroupCommand(a), newMemberCommand(a), newTariffCommand(a), newServiceCommand(a),
		newSessionCommand(a), newRecordCommand(a), newEventCommand(a), newLoadCommand(a),
		newVerifyCommand(a), newMigrateCommand(a), newConfigCommand(a), newVersionCommand(a),
	)
	return root
}
