package daemon

import (
	"fmt"
	"os"
	"strings"

	"github.com/perchserver/perch/internal/admin"
	"github.com/perchserver/perch/internal/config"
)

// The requests to read the configuration again: because somebody wants it, or
// because a command has edited it. The answer is a Reloaded.
const (
	CommandReload = "reload"
	CommandEdited = "edited"
)

// Reloaded is what came of a reload.
type Reloaded struct {
	Pid int `json:"pid"` // of the host

	// Taken tells that the new configuration is the running one. Error says
	// why it is not.
	Taken bool   `json:"taken"`
	Error string `json:"error,omitempty"`

	// Failed tells that something is wrong: nothing was taken over, or parts
	// of the configuration have errors.
	Failed bool `json:"failed"`

	Problems config.Problems `json:"problems"`
	Text     string          `json:"text,omitempty"` // the problems for people
}

// startControl opens the control socket. A host serves without one as well.
func (d *Daemon) startControl() error {
	if d.opts.Control == "" {
		return nil
	}
	var err error
	if d.control, err = admin.Serve(d.opts.Control, d.subject(), d.command, d.opts.Log); err != nil {
		d.opts.Log.Warn("`perch reload` does not reach this host", "err", err)
	}
	return nil
}

// command obeys a request by the control socket.
func (d *Daemon) command(r admin.Request) (any, error) {
	c := change{asked: true}
	switch r.Command {
	case CommandReload:
		c.why = "perch reload"
	case CommandEdited:
		c.why, c.noticed = "edited by a command", true
	default:
		return nil, fmt.Errorf("this host does not know the command %q: it may be older than the program that asks", r.Command)
	}
	problems, err := d.reload(c)
	answer := Reloaded{Pid: os.Getpid(), Taken: err == nil, Failed: err != nil || problems.HasErrors(), Problems: problems}
	if problems == nil {
		answer.Problems = config.Problems{}
		if err != nil {
			answer.Error = err.Error()
		}
	}
	var text strings.Builder
	problems.WriteTo(&text)
	answer.Text = text.String()
	return answer, nil
}
