package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/perchserver/perch/internal/admin"
	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/config/edit"
	"github.com/perchserver/perch/internal/config/merge"
	"github.com/perchserver/perch/internal/config/store"
	"github.com/perchserver/perch/internal/daemon"
	"github.com/perchserver/perch/internal/plan"
)

// defaultConfig is the file of the commands that edit sites, where none is
// named.
const defaultConfig = "perch.config"

// lockTime is how long a change waits for another one.
const lockTime = 30 * time.Second

// refusedError is a change that would bring errors.
type refusedError struct{ config.Problems }

// change is a change of one configuration file.
type change struct {
	in   plan.Input // what the file is a part of
	file string     // absolute
	by   string     // command that does it
	done string     // what to tell
	new  bool       // the file may be made

	// make changes the file. now is the configuration with the file as it is
	// under the lock.
	make func(f *edit.File, now plan.Input) error

	// judge is asked of a change that brings no error to in. It may be nil.
	judge func(plan.Draft) error
}

// edit makes a change: under a lock, and only if it brings no new error. On
// standard error it tells in one line what happened.
func (p *Process) edit(c *change) error {
	c.in.Environ = p.Environ
	r, err := p.write(c, "")
	var included *edit.IncludedError
	if errors.As(err, &included) {
		c.file, c.new = filepath.Join(filepath.Dir(c.file), filepath.FromSlash(included.Name)), false
		r, err = p.write(c, included.Section)
	}
	switch {
	case err != nil:
		return err
	case !r.Written:
		fmt.Fprintf(p.Stderr, "perch: %s: nothing to change\n", c.file)
		return nil
	}
	kept := ""
	if r.Version != "" {
		kept = "; the version before is " + r.Version
	}
	taken, err := p.hand(c)
	fmt.Fprintf(p.Stderr, "perch: %s: %s%s%s\n", c.file, c.done, kept, taken)
	return err
}

// hand has a running host take a change of its applicationHost.config over, so
// that whoever made it is told of a port that is in use. A web.config is left
// to the host's watch, for which the writing of one is more than its content:
// the workers of the application are replaced.
func (p *Process) hand(c *change) (outcome string, err error) {
	if c.in.Server == "" || strings.EqualFold(filepath.Base(c.file), "web.config") {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), reloadTime)
	defer cancel()
	err = admin.Ask(ctx, admin.Folder(p.getenv), c.in.Server, admin.Request{Command: daemon.CommandEdited}, func(data json.RawMessage) error {
		var told struct { // of daemon.Reloaded
			Taken       bool
			Error, Text string
		}
		if err := json.Unmarshal(data, &told); err != nil {
			return fmt.Errorf("read the answer of the host: %w", err)
		}
		if told.Taken {
			outcome = "; the running host has taken it over"
			return nil
		}
		fmt.Fprint(p.Stderr, told.Text)
		if told.Error == "" {
			told.Error = "see above"
		}
		outcome = "; the running host goes on as before: " + told.Error
		return silentError{errors.New(told.Error)}
	})
	if errors.Is(err, admin.ErrNobody) {
		return "", nil
	}
	return outcome, err
}

// write makes a change of a file, which is the content of a section if one is
// named.
func (p *Process) write(c *change, section string) (store.Result, error) {
	var warnings config.Problems
	r, err := store.Change{Path: c.file, By: c.by, Wait: lockTime, Make: func(old []byte) ([]byte, error) {
		if old == nil && !c.new {
			return nil, fmt.Errorf("there is no file %s", c.file)
		}
		now := c.in
		now.Draft = &plan.Draft{Path: c.file, Data: old}
		if old == nil {
			now.Draft.Data = []byte(edit.Empty)
		}
		f, err := edit.ParseIncluded(c.file, section, now.Draft.Data)
		if err != nil {
			return nil, err
		}
		if err := c.make(f, now); err != nil {
			return nil, err
		}
		if string(f.Bytes()) == string(now.Draft.Data) {
			return old, nil
		}
		draft := plan.Draft{Path: c.file, Data: f.Bytes()}
		warnings, err = plan.CheckDraft(c.in, quiet(), draft)
		switch {
		case err == nil && warnings.HasErrors():
			err = refusedError{warnings}
		case err == nil && c.judge != nil:
			err = c.judge(draft)
		}
		return f.Bytes(), err
	}}.Do()
	if err == nil && r.Written {
		warnings.WriteTo(p.Stderr)
	}
	return r, err
}

// quiet is for plans that serve nobody.
func quiet() plan.Parts { return plan.Parts{Log: slog.New(slog.DiscardHandler)} }

// sitesFlag is the flag --config of the commands about sites.
type sitesFlag string

func (f *sitesFlag) add(c *cobra.Command) {
	c.Flags().StringVar((*string)(f), "config", defaultConfig, "applicationHost.config `FILE`")
}

// input returns the file of the flag as what is configured.
func (f sitesFlag) input() (plan.Input, error) {
	path, err := filepath.Abs(string(f))
	if err != nil {
		return plan.Input{}, fmt.Errorf("file %s: %w", f, err)
	}
	return plan.Input{Server: path}, nil
}

// server is the sites of an applicationHost.config, and its pools.
type server struct {
	settings *merge.Settings
	file     string
}

// readServer reads what a command is about.
func readServer(in plan.Input) (*server, error) {
	settings, err := plan.Server(in)
	if err != nil {
		return nil, err
	}
	return &server{settings, in.Server}, nil
}

func (s *server) section() merge.Element {
	return s.settings.Section("system.applicationHost/sites")
}

func (s *server) sites() []merge.Element { return s.section().Entries() }

// named returns the entry in which an attribute has a value, letter case
// aside.
func named(entries []merge.Element, attribute, value string) (merge.Element, bool) {
	for _, e := range entries {
		if strings.EqualFold(e.Text(attribute), value) {
			return e, true
		}
	}
	return merge.Element{}, false
}

// site returns the site of a name.
func (s *server) site(name string) (merge.Element, error) {
	if e, ok := named(s.sites(), "name", name); ok {
		return e, nil
	}
	return merge.Element{}, missing("site", name, s.sites(), "name", s.file)
}

// missing says that there is no entry of a name, and what may be meant.
func missing(what, name string, entries []merge.Element, attribute, file string) error {
	var names []string
	for _, e := range entries {
		names = append(names, e.Text(attribute))
	}
	err := fmt.Errorf("there is no %s %s in %s", what, name, file)
	if near := config.Nearest(name, names); near != "" {
		return fmt.Errorf("%w; did you mean %s?", err, near)
	}
	if len(names) > 0 && len(names) <= mostNamed {
		return fmt.Errorf("%w; there is %s", err, strings.Join(names, ", "))
	}
	return err
}

// mostNamed is how many entries are listed in a line.
const mostNamed = 10

// there says that there is an entry already.
func there(what, name string, e merge.Element) error {
	return fmt.Errorf("there is %s %s already, at %s; `perch set` changes it", what, name, e.Pos())
}

// sitesPath is the path of the section that has all sites.
func sitesPath() edit.Path {
	return edit.Path{Steps: []edit.Step{edit.Elem("system.applicationHost"), edit.Elem("sites")}}
}

// needPool adds the pool of an application to the file unless it is there.
func needPool(f *edit.File, s *server, name string) error {
	if name == "" {
		return nil
	}
	pools := s.settings.Section("system.applicationHost/applicationPools").Entries()
	if _, ok := named(pools, "name", name); ok {
		return nil
	}
	pool := edit.Path{Steps: []edit.Step{edit.Elem("system.applicationHost"), edit.Elem("applicationPools"), edit.Elem("add", "name", name)}}
	if err := f.Ensure("", pool); err != nil {
		return fmt.Errorf("add the pool %s: %w; add it first: perch set \"%s\" --config %s", name, err, pool, s.file)
	}
	return nil
}

// physicalPath returns a folder as applicationHost.config has it: what was
// given relative, and is below the file, stays relative to that, so that both
// may move together.
func physicalPath(path, file string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if rel, err := filepath.Rel(filepath.Dir(file), abs); err == nil && !filepath.IsAbs(path) && filepath.IsLocal(rel) {
		return rel, nil
	}
	return abs, nil
}

// group is a command that has only others in it.
func (p *Process) group(use, short, long string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use:   use,
		Short: short,
		Long:  long,
		Args:  cobra.ArbitraryArgs,

		SuggestionsMinimumDistance: 2,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknown(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	c.AddCommand(commands...)
	return c
}
