package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the build: -ldflags "-X main.version=v0.1.0".
var version = "devel"

// versionText is the version; of a build without one, the commit it was built
// from.
func versionText() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || version != "devel" {
		return version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return version + "+" + s.Value[:12]
		}
	}
	return version
}

func newVersionCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  gygate version\n  gygate version --json",
		Args:    cobra.NoArgs,
		RunE: a.run(func(c *invocation) error {
			if c.json {
				return printJSON(c.out, map[string]string{"version": versionText(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH})
			}
			_, err := fmt.Fprintf(c.out, "gygate %s (%s, %s/%s)\n", versionText(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		}),
	}
	a.jsonFlag(cmd)
	return cmd
}
