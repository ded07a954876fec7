package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"gygate/cmd/gygate/config"
)

func newConfigCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Print an example configuration, or check one"}
	cmd.AddCommand(
		&cobra.Command{
			Use:     "example",
			Short:   "Print the complete, commented configuration; it holds the defaults",
			Example: "  gygate config example > gygate.yaml",
			Args:    cobra.NoArgs,
			RunE: a.run(func(c *invocation) error {
				_, err := c.out.Write(config.Example())
				return err
			}),
		},
		&cobra.Command{
			Use:   "check [FILE]",
			Short: "Check a configuration and print what would be in effect, secrets masked",
			Long: `Check reports every fault of the file at once, each with the path of its key, and
exits with 4. A good file is printed with all defaults filled in.`,
			Example: "  gygate config check gygate.yaml\n  gygate config check            # --config, or the defaults",
			Args:    cobra.MaximumNArgs(1),
			RunE:    a.run(checkConfig),
		},
	)
	return cmd
}

func checkConfig(c *invocation) error {
	path := c.place.config
	if len(c.args) == 1 {
		path = c.args[0]
	}
	cfg, err := config.Load(path)
	if err != nil {
		return exitWith(exitConfig, err)
	}
	if cfg.Database.DSN, err = cfg.Database.ResolveDSN(c.place.dsn); err != nil {
		return exitWith(exitConfig, err)
	}
	text, err := cfg.Effective()
	if err != nil {
		return fmt.Errorf("print configuration: %w", err)
	}
	_, err = c.out.Write(text)
	return err
}
