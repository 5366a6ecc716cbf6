package cli

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/plan"
)

func (p *Process) checkCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "check [DIR]",
		Short: "Tell every problem of a folder's configuration",
		Long: `Check the configuration of DIR (the current folder if none is given) without
serving it: its web.config and those of its sub-folders. Every problem is told
as file:line:column with what was expected and how to mend it. Warnings name
what Perch knows and does not do yet.

The exit code is 1 if there is an error, and 0 if there are warnings at most.`,
		Example: "  perch check ./publish",
		Args:    args(0, 1, "at most one folder"),
		RunE: func(_ *cobra.Command, args []string) error {
			folder, err := folderArgument(args)
			if err != nil {
				return err
			}
			problems, err := plan.Check(plan.Input{Folder: folder, Environ: p.Environ},
				plan.Parts{Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				return err
			}
			return p.tellProblems(folder, problems, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the problems as JSON")
	return c
}

// tellProblems prints the answer of check on standard output.
func (p *Process) tellProblems(folder string, problems config.Problems, asJSON bool) error {
	if asJSON {
		if problems == nil {
			problems = config.Problems{}
		}
		err := p.printJSON(struct {
			Folder   string          `json:"folder"`
			Problems config.Problems `json:"problems"`
		}{folder, problems})
		if err != nil {
			return err
		}
	} else if len(problems) == 0 {
		fmt.Fprintf(p.Stdout, "%s: no problems\n", folder)
	} else if _, err := problems.WriteTo(p.Stdout); err != nil {
		return err
	}
	if problems.HasErrors() {
		return silentError{errors.New("the configuration has errors")}
	}
	return nil
}
