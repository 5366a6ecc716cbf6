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

Run it as the user who runs perch run: every user has an authority of its own,
root too. The store of the system takes root; to others, trust tells the command
to run for it.

--uninstall takes the authority out of all stores again. The authority itself
stays where it is, so that a later perch trust has nothing new to trust.`,
		Args:    args(0, 0, "no arguments"),
		Example: "  perch trust\n  perch trust --uninstall",
		RunE:    func(*cobra.Command, []string) error { return p.trust(uninstall) },
	}
	c.Flags().BoolVar(&uninstall, "uninstall", false, "take the authority out of all stores again")
	return c
}

// trust prints one line for each store that was changed. What the user has to
// do himself is on standard error, as a command.
func (p *Process) trust(uninstall bool) error {
	folder, err := devca.Folder(p.getenv)
	if err != nil {
		return err
	}
	if user := p.getenv("SUDO_USER"); user != "" && user != "root" && os.Geteuid() == 0 {
		fmt.Fprintf(p.Stderr, "perch: this is about the authority of root; %s has another, and perch trust without sudo is about that\n", user)
	}
	authority := devca.Find(folder)
	system := trust.Machine(p.getenv)
	change, verb := system.Remove, "no longer trusted by"
	if !uninstall {
		if _, err := devca.Open(folder); err != nil {
			return err
		}
		change, verb = system.Add, "trusted by"
	} else if _, err := os.Stat(authority); errors.Is(err, os.ErrNotExist) {
		fmt.Fprintf(p.Stderr, "perch: there is no authority in %s, and nothing to take out of the stores\n", folder)
		return nil
	}
	done, err := change(authority)
	if err == nil && len(done) == 0 {
		fmt.Fprintf(p.Stderr, "perch: no store of this machine has the authority %s\n", authority)
	}
	for _, store := range done {
		fmt.Fprintln(p.Stdout, verb+" "+store)
	}
	var byHand *trust.ByHand
	if errors.As(err, &byHand) {
		return fmt.Errorf("%w\nhint: %s", err, byHand.Command)
	}
	return err
}
