package cli

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/plan"
)

func (p *Process) checkCommand() *cobra.Command {
	var server serverFlag
	var asJSON bool
	c := &cobra.Command{
		Use:   "check [DIR | --config FILE]",
		Short: "Tell every problem of a configuration",
		Long: `Check the configuration of DIR, or of the sites of an applicationHost.config
(the perch.config in the current folder, or else that folder, if neither is
given), without serving it: the web.config of every application and those of
its sub-folders. Every problem is told as file:line:column with what was
expected and how to mend it, the errors first, and how many there are. Warnings name what Perch knows and does not do yet,
applications whose program cannot be run or that no handler leads to, handlers
that lead to none, sites and virtual directories that no request reaches,
bindings of other protocols, settings for sites that are not there, and folders
that could not be looked at. A file by which nothing would listen is an error.

The exit code is 1 if there is an error, and 0 if there are warnings at most.`,
		Example: "  perch check ./publish",
		Args:    args(0, 1, "at most one folder"),
		RunE: func(_ *cobra.Command, args []string) error {
			in, err := server.subject(args)
			if err != nil {
				return err
			}
			in.Environ = p.Environ
			problems, err := plan.Check(in, plan.Parts{Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				return fmt.Errorf("check %w", err)
			}
			return p.tellProblems(in, problems, asJSON)
		},
	}
	server.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print the problems as JSON")
	return c
}

// counted is how many problems of each kind there are.
func counted(problems config.Problems) string {
	many := func(n int, what string) string {
		if n != 1 {
			what += "s"
		}
		return strconv.Itoa(n) + " " + what
	}
	errs := 0
	for _, p := range problems {
		if p.Severity == config.Error {
			errs++
		}
	}
	return many(errs, "error") + ", " + many(len(problems)-errs, "warning")
}

// tellProblems prints the answer of check on standard output.
func (p *Process) tellProblems(in plan.Input, problems config.Problems, asJSON bool) error {
	if asJSON {
		if problems == nil {
			problems = config.Problems{}
		}
		err := p.printJSON(struct {
			Config   string          `json:"config,omitempty"`
			Folder   string          `json:"folder,omitempty"`
			Problems config.Problems `json:"problems"`
		}{in.Server, in.Folder, problems})
		if err != nil {
			return err
		}
	} else if len(problems) == 0 {
		fmt.Fprintf(p.Stdout, "%s: no problems\n", in.Server+in.Folder)
	} else {
		slices.SortStableFunc(problems, func(a, b config.Problem) int { return cmp.Compare(a.Severity, b.Severity) })
		if _, err := problems.WriteTo(p.Stdout); err != nil {
			return err
		}
		fmt.Fprintf(p.Stdout, "\n%s\n", counted(problems))
	}
	if problems.HasErrors() {
		return silentError{errors.New("the configuration has errors")}
	}
	return nil
}
