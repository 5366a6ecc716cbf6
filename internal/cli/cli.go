// Package cli is the command line of perch: its commands, their flags and the
// PERCH_ variables that stand for them, what goes to which stream, and exit
// codes. On standard output there is nothing but the answer; everything else
// is on standard error.
//
// cmd/perch imports it. It uses internal/daemon to run, internal/plan to
// check, and the packages of the configuration.
package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/worker/spawn"
)

// Process is what the operating system gave this process.
type Process struct {
	Args    []string // with the program's own name
	Environ []string
	Stdout  io.Writer
	Stderr  *os.File
	Signals <-chan os.Signal
}

// The exit codes.
const (
	exitFine   = 0
	exitFailed = 1
	exitUsage  = 2
)

// guardianRole is the hidden command that plays the guardian's role. It is
// not part of the command tree: nobody calls it by hand, and the guardian
// should load as little as it can.
const guardianRole = "guardian-of-workers"

// Main runs the command that the arguments name and returns the exit code.
func Main(p Process) int {
	if len(p.Args) == 2 && p.Args[1] == guardianRole {
		return spawn.Serve(os.NewFile(3, "control"))
	}
	root := p.root()
	root.SetArgs(p.Args[1:])
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	err := root.Execute()
	if err == nil {
		return exitFine
	}
	var silent silentError
	var refused refusedError
	var problems config.Problems
	switch {
	case errors.As(err, &silent):
	case errors.As(err, &refused):
		refused.WriteTo(p.Stderr)
		fmt.Fprintln(p.Stderr, "perch: nothing was written: the configuration would have these errors")
	case errors.As(err, &problems):
		problems.WriteTo(p.Stderr)
		fmt.Fprintln(p.Stderr, "perch: the configuration cannot be used")
	default:
		fmt.Fprintf(p.Stderr, "perch: %v\n", err)
	}
	var usage usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(p.Stderr, "hint: %s\n", usage.hint)
		return exitUsage
	}
	return exitFailed
}

// usageError is a command line that makes no sense.
type usageError struct {
	error
	hint string
}

// silentError is a failure that has been told already.
type silentError struct{ error }

func (p *Process) root() *cobra.Command {
	var tellVersion bool
	root := &cobra.Command{
		Use:   "perch",
		Short: "Host published web applications, as IIS does, on any system",
		Long: `Perch hosts web applications the way IIS with the ASP.NET Core Module does.
Give it the folder that "dotnet publish" wrote, or any application with a
web.config, and it starts the application on the first request, keeps it
alive, and is the web server in front of it. "perch site add" puts several sites
into one file.

Every flag can be given as an environment variable: --listen as PERCH_LISTEN.
Exit codes: 0 fine, 1 failed, 2 bad usage.`,
		SilenceErrors: true,
		SilenceUsage:  true,

		SuggestionsMinimumDistance: 2,
		CompletionOptions:          cobra.CompletionOptions{HiddenDefaultCmd: true},
		Args:                       cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) > 0:
				return unknown(cmd, args[0])
			case tellVersion:
				p.printVersion()
				return nil
			}
			return cmd.Help()
		},
	}
	root.Flags().BoolVarP(&tellVersion, "version", "v", false, "tell the version, as perch version does")
	root.SetHelpCommand(helpCommand())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{flagError(err), "see `" + cmd.CommandPath() + " --help`"}
	})
	root.AddCommand(p.runCommand(), p.reloadCommand(), p.checkCommand(), p.explainCommand(), p.initCommand(),
		p.siteCommand(), p.appCommand(), p.vdirCommand(), p.setCommand(), p.unsetCommand(), p.unlockCommand(), p.trustCommand(), p.versionCommand())
	for _, c := range root.Commands() {
		p.fromEnvironment(c)
		for _, inner := range c.Commands() {
			p.fromEnvironment(inner)
		}
	}
	return root
}

func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Tell how a command is used",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			switch {
			case err != nil:
				return err
			case len(rest) > 0 && about.HasSubCommands():
				return unknown(about, rest[0])
			}
			about.InitDefaultHelpFlag() // is told, too
			return about.Help()
		},
	}
}

// unknown refuses a command that cmd does not have.
func unknown(cmd *cobra.Command, name string) error {
	hint := "`" + cmd.CommandPath() + " --help` lists the commands"
	near := cmd.SuggestionsFor(name)
	switch {
	case len(near) > 0:
		hint = "did you mean `" + cmd.CommandPath() + " " + near[0] + "`?"
	case cmd.HasParent():
	case name == "stop":
		hint = "Ctrl-C or the signal TERM stops `perch run`"
	case name == "list" || name == "status":
		hint = "`perch site list` lists the sites"
	default:
		hint += "; `perch run DIR` serves a folder"
	}
	return usageError{fmt.Errorf("there is no command %q", cmd.CommandPath()+" "+name), hint}
}

// flagError says what is wrong with the value of a flag as a user would.
func flagError(err error) error {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return err
	}
	expected := invalid.Unwrap().Error()
	switch invalid.GetFlag().Value.Type() {
	case "bool":
		expected = "it is true or false"
	case "uint32":
		expected = "it is a number from 0 to 4294967295"
	}
	return fmt.Errorf("--%s cannot be %q: %s", invalid.GetFlag().Name, invalid.GetValue(), expected)
}

// args refuses a wrong number of arguments, with the way out.
func args(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && len(args) <= most {
			return nil
		}
		given := fmt.Sprintf("%d arguments were", len(args))
		switch len(args) {
		case 0:
			given = "none was"
		case 1:
			given = fmt.Sprintf("%q was", args[0])
		}
		return usageError{fmt.Errorf("%s takes %s, and %s given", cmd.CommandPath(), what, given),
			"see `" + cmd.CommandPath() + " --help`"}
	}
}

// fromEnvironment lets PERCH_ variables stand for flags that are not given.
// A flag that may be repeated takes a list separated by white space. Such a flag
// does not count as changed: a variable is for many commands, and one that has no
// use for it passes over what it refuses on its command line.
func (p *Process) fromEnvironment(c *cobra.Command) {
	c.PreRunE = func(cmd *cobra.Command, _ []string) error {
		var failed error
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			name := variableOf(f.Name)
			value, ok := p.variable(name)
			if !ok || f.Changed || failed != nil {
				return
			}
			values := []string{value}
			if f.Value.Type() == "stringArray" {
				values = strings.Fields(value)
			}
			for _, v := range values {
				if err := cmd.Flags().Set(f.Name, v); err != nil {
					failed = usageError{fmt.Errorf("%s=%q: %w", name, value, flagError(err)), "see `" + cmd.CommandPath() + " --help`"}
				}
			}
			f.Changed = false
		})
		return failed
	}
}

func variableOf(flag string) string {
	return "PERCH_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// printJSON prints one answer for programs.
func (p *Process) printJSON(answer any) error {
	e := json.NewEncoder(p.Stdout)
	e.SetEscapeHTML(false)
	return e.Encode(answer)
}

func (p *Process) getenv(name string) string {
	value, _ := p.variable(name)
	return value
}

func (p *Process) variable(name string) (string, bool) {
	for _, e := range p.Environ {
		if value, ok := strings.CutPrefix(e, name+"="); ok && value != "" {
			return value, true
		}
	}
	return "", false
}
