package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/perchserver/perch/internal/certs/devca"
	"github.com/perchserver/perch/internal/certs/trust"
)

func (p *Process) trustCommand() *cobra.Command {
	var uninstall bool
	c := &cobra.Command{
		Use:   "trust",
		Short: "Let this machine trust development certificates",
		Long: `Let the programs of this machine trust the certificates that perch run shows
for https://localhost: make the authority behind them, if there is none yet, and
put it into the store of the system and those of the browsers. The authority can
vouch for localhost, names below it and loopback addresses alone, and its key
can be read by its owner alone.

The store of the system takes root; without it, trust tells the command to run.
--uninstall takes the authority out of the stores again.`,
		Args: args(0, 0, "no arguments"),
		RunE: func(*cobra.Command, []string) error { return p.trust(uninstall) },
	}
	c.Flags().BoolVar(&uninstall, "uninstall", false, "take the authority out of the stores again")
	return c
}

// trust prints one line for each store that was changed. What the user has to
// do himself is on standard error, as a command.
func (p *Process) trust(uninstall bool) error {
	folder, err := devca.Folder(p.getenv)
	if err != nil {
		return err
	}
	system := trust.Machine(p.getenv)
	change, verb := system.Remove, "forgotten by"
	if !uninstall {
		if _, err := devca.Open(folder); err != nil {
			return err
		}
		change, verb = system.Add, "trusted by"
	} else if _, err := os.Stat(devca.Find(folder)); errors.Is(err, os.ErrNotExist) {
		return nil // there never was one
	}
	done, err := change(devca.Find(folder))
	for _, store := range done {
		fmt.Fprintln(p.Stdout, verb+" "+store)
	}
	var byHand *trust.ByHand
	if errors.As(err, &byHand) {
		return fmt.Errorf("%w\nhint: %s", err, byHand.Command)
	}
	return err
}
