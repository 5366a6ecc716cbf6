package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/perchserver/perch/internal/admin"
	"github.com/perchserver/perch/internal/daemon"
)

func (p *Process) reloadCommand() *cobra.Command {
	var server serverFlag
	var asJSON bool
	c := &cobra.Command{
		Use:   "reload [DIR | --config FILE]",
		Short: "Have a running host read its configuration again",
		Long: `Have the host that serves DIR, or the sites of an applicationHost.config (the
perch.config in the current folder, or else that folder, if neither is given),
read its configuration again. Requests in
flight, connections, and the workers of applications whose settings stay are
not touched. It has to run as the same user, or this command as that user.

A configuration that cannot be used leaves the running one as it is, and a part
with errors leaves that part. The exit code is 1 then, and every problem is
told as "perch check" does.`,
		Example: "  perch reload --config /etc/perch/applicationHost.config",
		Args:    args(0, 1, "at most one folder"),
		RunE: func(_ *cobra.Command, args []string) error {
			in, err := server.subject(args)
			if err != nil {
				return err
			}
			return p.reload(in.Server+in.Folder, asJSON)
		},
	}
	server.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print the answer as JSON")
	return c
}

// reloadTime bounds a reload: a host that takes longer is in trouble.
const reloadTime = 2 * time.Minute

func (p *Process) reload(subject string, asJSON bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), reloadTime)
	defer cancel()
	var answers []reloaded
	err := admin.Ask(ctx, admin.Folder(p.getenv), subject, admin.Request{Command: daemon.CommandReload}, func(data json.RawMessage) error {
		var answer reloaded
		if err := json.Unmarshal(data, &answer); err != nil {
			return fmt.Errorf("read the answer of the host: %w", err)
		}
		answers = append(answers, answer)
		return nil
	})
	failed := false
	for i := range answers {
		a := &answers[i]
		failed = failed || a.Failed
		if err := p.tellReload(subject, a, len(answers) > 1, asJSON); err != nil {
			return err
		}
	}
	switch {
	case errors.Is(err, admin.ErrNobody) && !exists(subject):
		return fmt.Errorf("reload %s: it does not exist", subject)
	case errors.Is(err, admin.ErrNobody):
		return fmt.Errorf("reload %s: %w, or not as this user", subject, err)
	case err != nil:
		return fmt.Errorf("reload %s: %w", subject, err)
	case failed:
		return silentError{errors.New("the configuration has errors")}
	}
	return nil
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return !errors.Is(err, fs.ErrNotExist)
}

// reloaded is the answer of one host.
type reloaded struct {
	daemon.Reloaded
	Problems json.RawMessage `json:"problems"` // to be printed as they are
}

// tellReload prints one answer, and whose it is where that is not all.
func (p *Process) tellReload(subject string, r *reloaded, several, asJSON bool) error {
	if asJSON {
		r.Text = ""
		return p.printJSON(r)
	}
	outcome := "taken over"
	switch {
	case !r.Taken && r.Error != "":
		outcome = "not taken over, the configuration before stays: " + r.Error
	case !r.Taken:
		outcome = "not taken over, the configuration before stays"
	case r.Failed:
		outcome = "parts with errors stay as they were; what else has changed is taken over"
	}
	text := r.Text
	if text != "" {
		text += "\n"
	}
	if several {
		subject += fmt.Sprintf(" (process %d)", r.Pid)
	}
	_, err := fmt.Fprintf(p.Stdout, "%s%s: %s\n", text, subject, outcome)
	return err
}
