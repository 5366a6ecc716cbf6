package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/perchserver/perch/internal/config/recognize"
)

func (p *Process) initCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init [DIR]",
		Short: "Write a web.config for the application in a folder",
		Long: `Look at what DIR (the current folder if none is given) holds and write the
web.config that runs it, as "perch run" would do without one. A web.config that
is there already is left alone.`,
		Example: "  perch init ./publish",
		Args:    args(0, 1, "at most one folder"),
		RunE: func(_ *cobra.Command, args []string) error {
			folder, err := folderArgument(args)
			if err != nil {
				return err
			}
			found, err := recognize.Folder(folder)
			if err != nil {
				return err
			}
			file := webConfig(folder)
			if err := create(file, recognize.WebConfig(found)); err != nil {
				return err
			}
			fmt.Fprintln(p.Stdout, file)
			fmt.Fprintf(p.Stderr, "perch: %s\n", found.Why)
			return nil
		},
	}
}

// create writes a file that must not be there yet.
func create(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("write %s: there is one already, and it is left alone; `perch check` tells whether it is right", path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(path)
	}
	return err
}
