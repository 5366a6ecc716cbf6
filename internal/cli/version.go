package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/perchserver/perch/internal/worker/spawn"
)

// version is what `perch version` tells.
type version struct {
	Version  string   `json:"version"`
	Revision string   `json:"revision,omitempty"`
	Go       string   `json:"go"`
	System   string   `json:"system"`
	Limits   []string `json:"limits,omitempty"` // what this system cannot do
}

func (p *Process) versionCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version",
		Short: "Tell the version, and what this system cannot do",
		Args:  args(0, 0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				return p.printJSON(thisVersion())
			}
			p.printVersion()
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the answer as JSON")
	return c
}

func (p *Process) printVersion() {
	v := thisVersion()
	fmt.Fprintf(p.Stdout, "perch %s (%s, %s)\n", v.Version, v.Go, v.System)
	for _, l := range v.Limits {
		fmt.Fprintf(p.Stdout, "not on this system: %s\n", l)
	}
}

func thisVersion() version {
	v := version{Version: "development", Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH, Limits: spawn.Limits()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if m := info.Main.Version; m != "" && m != "(devel)" {
		v.Version = m
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v.Revision = s.Value
		}
	}
	return v
}
