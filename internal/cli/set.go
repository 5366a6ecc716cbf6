package cli

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/config/edit"
	"github.com/perchserver/perch/internal/config/schema"
	"github.com/perchserver/perch/internal/plan"
)

const settingForm = `a setting looks like system.webServer/webSocket/@enabled=false, or system.webServer/httpProtocol/customHeaders/add[@name='X']/@value=1`

// setting is what one argument of set or unset says.
type setting struct {
	path  edit.Path
	value string
	set   bool
}

// settingsFlags are the flags of set and unset.
type settingsFlags struct {
	server   serverFlag
	location string
	own      bool
}

func (f *settingsFlags) add(c *cobra.Command) {
	f.server.add(c)
	c.Flags().StringVar(&f.location, "location", "", "for this `path` alone: SITE or SITE/PATH with --config, else the path of a sub-folder or file")
	c.Flags().BoolVar(&f.own, "web-config", false, "with --config and --location: change the web.config of the folder there")
}

const settingsHelp = `
A setting is the names of section and elements with slashes between them, and
/@ATTRIBUTE at the end. An entry of a list is told by its attributes in
brackets: add[@name='X'], or add[@name='X' and @verb='GET']. Quote it for the
shell.

What is changed is the web.config of DIR, or the applicationHost.config of
--config. Where neither is given it is the perch.config in the current folder,
or else the web.config there. It is checked as "perch check" does
before it is written: a change that would bring an error is refused. The
web.config of a folder that the perch.config in the current folder has in a site
is checked as a part of that as well.`

func (p *Process) setCommand() *cobra.Command {
	var flags settingsFlags
	c := &cobra.Command{
		Use:   "set SETTING=VALUE... [DIR | --config FILE]",
		Short: "Change settings in a configuration file",
		Long: `Set attributes in a configuration file. Sections, elements and entries of lists
that are not there yet are made. A setting without a value is an element that
has to be there, such as system.webServer/httpProtocol/customHeaders/clear.
` + settingsHelp,
		Example: "  perch set system.webServer/aspNetCore/@startupTimeLimit=60 ./publish\n" +
			"  perch set \"system.webServer/httpProtocol/customHeaders/add[@name='X-Env']/@value=test\"\n" +
			"  perch set \"system.applicationHost/sites/site[@name='shop']/limits/@maxConnections=100\" --config perch.config\n" +
			"  perch set system.webServer/security/access/@sslFlags=Ssl --config perch.config --location shop/admin",
		Args: args(1, 1000, "settings and at most one folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("location") && flags.location == "" {
				return usageError{errors.New("--location '' is the file as a whole, as without it"), "leave it out; `perch unlock SECTION` lets the files below set a section"}
			}
			return p.changeSettings(flags, args, false)
		},
	}
	flags.add(c)
	return c
}

func (p *Process) unsetCommand() *cobra.Command {
	var flags settingsFlags
	c := &cobra.Command{
		Use:   "unset SETTING... [DIR | --config FILE]",
		Short: "Take settings out of a configuration file",
		Long: `Take attributes, elements, entries of lists or whole sections out of a
configuration file, so that what the files above say, or the default, holds
again. An element that has nothing left in it goes too, unless it says something
by being there.
` + settingsHelp,
		Example: "  perch unset system.webServer/aspNetCore/@startupTimeLimit ./publish\n" +
			"  perch unset \"system.webServer/httpProtocol/customHeaders/add[@name='X-Env']\"",
		Args: args(1, 1000, "settings and at most one folder"),
		RunE: func(_ *cobra.Command, args []string) error {
			return p.changeSettings(flags, args, true)
		},
	}
	flags.add(c)
	return c
}

func (p *Process) changeSettings(flags settingsFlags, args []string, unset bool) error {
	var folder []string
	if last := args[len(args)-1]; isFolder(last) {
		args, folder = args[:len(args)-1], []string{last}
	}
	settings, err := parseSettings(args, unset)
	if err != nil {
		return err
	}
	if flags.location != "" && slices.ContainsFunc(settings, func(s setting) bool { return s.path.Steps[0].Name == "location" }) {
		return usageError{errors.New("a setting of a <location> and --location exclude each other: no <location> stands in another"), "leave --location out"}
	}
	in, err := flags.server.subject(folder)
	if err != nil {
		return err
	}
	c, location, err := flags.change(p, in)
	if err != nil {
		return err
	}
	c.by = "perch set"
	if unset {
		c.by = "perch unset"
	}
	if in.Server == "" {
		c.judge = p.hosted(c.by+" "+quoted(args), flags.location)
	}
	c.make = func(f *edit.File, now plan.Input) error {
		if err := knownSites(settings, now); err != nil && !unset {
			return err
		}
		changed := 0
		for _, s := range settings {
			before := string(f.Bytes())
			var err error
			switch {
			case !unset && len(s.path.Steps) == 1 && s.path.Steps[0].Name == "location" && !f.Has(edit.Path{Steps: s.path.Steps}):
				err = usageError{fmt.Errorf("there is no %s in %s, and one without a section would have no effect", edit.Path{Steps: s.path.Steps}, c.file),
					"`perch unlock SECTION` lets the files below set a section; `perch set SETTING --location PATH` makes a <location> with one"}
			case unset:
				_, err = f.Unset(location, s.path)
			case s.set:
				err = f.Set(location, s.path, s.value)
			default:
				err = f.Ensure(location, s.path)
			}
			if err != nil {
				return err
			}
			if string(f.Bytes()) != before {
				changed++
			}
		}
		if c.done = "1 setting changed"; changed != 1 {
			c.done = fmt.Sprintf("%d settings changed", changed)
		}
		return nil
	}
	return p.edit(c)
}

// site returns the name of the site that a setting is of.
func (s *setting) site() (name string, ok bool) {
	if len(s.path.Steps) < 3 || !strings.HasPrefix(s.path.String(), sitesPath().String()+"/site[") {
		return "", false
	}
	return s.of("name")
}

// of returns the value that a setting asks of an attribute of its site.
func (s *setting) of(attribute string) (value string, ok bool) {
	for _, a := range s.path.Steps[2].Where {
		if a.Name == attribute {
			return a.Value, true
		}
	}
	return "", false
}

// knownSites refuses a setting of a site that is not there. Whoever gives an
// id as well wants to make one.
func knownSites(settings []setting, in plan.Input) error {
	made := make(map[string]bool)
	for i := range settings {
		s := &settings[i]
		if name, ok := s.site(); ok {
			_, id := s.of("id")
			made[name] = made[name] || id || len(s.path.Steps) == 3 && s.path.Attribute == "id"
		}
	}
	if len(made) == 0 || in.Server == "" {
		return nil
	}
	server, err := readServer(in)
	if err != nil {
		return nil // told when the change is checked
	}
	for i := range settings {
		if name, ok := settings[i].site(); ok && !made[name] {
			if _, err := server.site(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// hosted judges a change of a folder's web.config by the perch.config in the
// current folder, which may have the folder in a site, and lock there what the
// owner of a folder may set: the site would answer 500.19. command is what sets
// the same, but for its flags. Nil: there is no such file.
func (p *Process) hosted(command, location string) func(plan.Draft) error {
	if !isFile(defaultConfig) {
		return nil
	}
	return func(d plan.Draft) error {
		in, err := sitesFlag(defaultConfig).input()
		if err != nil {
			return err
		}
		in.Environ = p.Environ
		problems, err := plan.CheckDraft(in, quiet(), d)
		if err != nil || !problems.HasErrors() {
			return err
		}
		problems = slices.DeleteFunc(problems, func(p config.Problem) bool { return p.Severity != config.Error })
		at := plan.Location(in, quiet(), filepath.Dir(d.Path))
		for i := range problems {
			if locked := &problems[i]; at != "" && (locked.Code == config.LockedSection || locked.Code == config.LockedPart) {
				locked.Hint += fmt.Sprintf("; `%s --config %s --location %s` sets it there", command, defaultConfig, quoted([]string{path.Join(at, location)}))
			}
		}
		return refusedError{problems}
	}
}

// quoted writes arguments as one does in a shell.
func quoted(args []string) string {
	var all []string
	for _, a := range args {
		if strings.ContainsAny(a, " []'()&;*") {
			a = `"` + a + `"`
		}
		all = append(all, a)
	}
	return strings.Join(all, " ")
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

func isFolder(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// parseSettings reads all settings, and names all that are wrong.
func parseSettings(args []string, unset bool) (all []setting, err error) {
	var errs []error
	for _, text := range args {
		var s setting
		var err error
		s.path, s.value, s.set, err = edit.ParseSetting(text)
		switch {
		case err != nil:
		case unset && s.set:
			err = fmt.Errorf("%q has a value, and unset takes the setting away: leave out =%s", text, s.value)
		case !unset && !s.set && s.path.Attribute != "":
			err = fmt.Errorf("%q has no value: write %s=VALUE, or have `perch unset` take it away", text, text)
		default:
			err = known(text, s.path)
		}
		errs, all = append(errs, err), append(all, s)
	}
	if err := errors.Join(errs...); err != nil {
		if here := fromAppcmd(args); here != "" && !unset {
			return nil, usageError{fmt.Errorf("%q is how appcmd of IIS is told a setting", strings.Join(args, " ")), "write `perch set " + here + "`"}
		}
		return nil, usageError{err, settingForm}
	}
	if len(all) == 0 {
		return nil, usageError{errors.New("no setting is given"), settingForm}
	}
	return all, nil
}

// fromAppcmd returns, in the form of this command, what the arguments of
// `appcmd set config` set, such as /section:system.webServer/webSocket
// /enabled:false; or nothing if they are none.
func fromAppcmd(args []string) string {
	section := ""
	var all []string
	for _, a := range args {
		name, value, _ := strings.Cut(a, ":")
		attribute, ok := strings.CutPrefix(name, "/")
		switch {
		case name == "/section":
			section = value
		case ok && strings.Contains(name, "["):
			return "" // entries of lists, which are told in another way
		case ok && name != "/commit":
			path := strings.Split(attribute, ".") // of elements, and the attribute
			path[len(path)-1] = "@" + path[len(path)-1] + "=" + value
			all = append(all, section+"/"+strings.Join(path, "/"))
		}
	}
	if section == "" {
		return ""
	}
	return strings.Join(all, " ")
}

// known refuses what begins like no section, as the name of a folder that is
// not there does.
func known(text string, p edit.Path) error {
	first := p.Steps[0].Name
	table := schema.Builtin()
	if table.Section(first) != nil || table.Group(first) || first == "location" || first == "configSections" || p.Attribute != "" {
		return nil
	}
	err := fmt.Errorf("%q is neither a folder that is there nor a setting", text)
	if near := config.Nearest(first, append(table.Members(""), "location", "configSections")); near != "" {
		return fmt.Errorf("%w; did you mean %s?", err, near)
	}
	return err
}

// change returns the change of the file that the flags mean, and the path of
// the <location> in it.
func (f *settingsFlags) change(p *Process, in plan.Input) (*change, string, error) {
	c := &change{in: in, file: in.Server}
	switch {
	case f.own && (in.Server == "" || f.location == ""):
		return nil, "", usageError{errors.New("--web-config needs --config and --location"), "`perch set SETTING DIR` changes the web.config of DIR"}
	case in.Server == "":
		c.file, c.new = webConfig(in.Folder), true
		return c, f.location, nil
	case f.location == "":
		return c, "", nil
	}
	in.Environ = p.Environ
	server, err := readServer(in)
	if err != nil {
		return nil, "", err
	}
	name, _, _ := strings.Cut(strings.Trim(f.location, "/"), "/")
	if _, err := server.site(name); err != nil {
		return nil, "", fmt.Errorf("location %s: %w", f.location, err)
	}
	if !f.own {
		return c, f.location, nil
	}
	folder, err := plan.Folder(in, quiet(), f.location)
	if err != nil {
		return nil, "", err
	}
	c.file, c.new = webConfig(folder), true
	return c, "", nil
}

// webConfig returns the path of the web.config of a folder, whose name Windows
// compares without case.
func webConfig(folder string) string {
	path := filepath.Join(folder, "web.config")
	entries, _ := os.ReadDir(folder)
	for _, e := range entries {
		if e.Name() == "web.config" {
			return path
		}
	}
	for _, e := range entries {
		if strings.EqualFold(e.Name(), "web.config") {
			return filepath.Join(folder, e.Name())
		}
	}
	return path
}
