package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/perchserver/perch/internal/config/edit"
	"github.com/perchserver/perch/internal/config/schema"
	"github.com/perchserver/perch/internal/plan"
)

func (p *Process) unlockCommand() *cobra.Command {
	var file sitesFlag
	var location string
	c := &cobra.Command{
		Use:   "unlock SECTION",
		Short: "Let web.config files set a section that is locked",
		Long: `Let the web.config files of all sites, or of those at a --location, set a section
that an applicationHost.config locks, as "appcmd unlock config" does: the file is
perch.config in the current folder, or that of --config. It is made if it is not
there. For all sites the section is declared with overrideModeDefault="Allow",
for a location it is put into a <location overrideMode="Allow">.`,
		Example: "  perch unlock system.webServer/security/access\n" +
			"  perch unlock system.webServer/webSocket --location shop --config /etc/perch/applicationHost.config",
		Args: func(cmd *cobra.Command, given []string) error {
			for _, a := range given {
				if section, ok := strings.CutPrefix(a, "/section:"); ok {
					return usageError{fmt.Errorf("%q is how appcmd of IIS is told a section", strings.Join(given, " ")), "write `perch unlock " + section + "`, with --location SITE for one site alone"}
				}
			}
			return args(1, 1, "the name of a section")(cmd, given)
		},
		RunE: func(_ *cobra.Command, args []string) error {
			in, err := file.input()
			if err != nil {
				return err
			}
			section, err := lockable(args[0])
			if err != nil {
				return err
			}
			c := &change{in: in, file: in.Server, by: "perch unlock", new: location == ""}
			c.make = func(f *edit.File, now plan.Input) error {
				return c.unlock(f, now, section, strings.Trim(location, "/"))
			}
			return p.edit(c)
		},
	}
	file.add(c)
	c.Flags().StringVar(&location, "location", "", "for this `path` alone: SITE or SITE/PATH")
	return c
}

// lockable returns the section of a name.
func lockable(name string) (*schema.Section, error) {
	table := schema.Builtin()
	switch section := table.Section(name); {
	case section != nil && section.Where == schema.ServerOnly:
		return nil, fmt.Errorf("%s is about the server as a whole: no web.config can set it", name)
	case section != nil:
		return section, nil
	}
	hint := "such as system.webServer/security/access"
	if homes := table.Homes(name); len(homes) > 0 {
		hint = "did you mean " + homes[0] + "/" + name + "?"
	}
	return nil, usageError{fmt.Errorf("there is no section %q", name), hint}
}

// unlock opens a section at a location, "" being all sites. What would have no
// effect is an error.
func (c *change) unlock(f *edit.File, now plan.Input, section *schema.Section, location string) error {
	if location != "" {
		server, err := readServer(now)
		if err != nil {
			return err
		}
		name, _, _ := strings.Cut(location, "/")
		if _, err := server.site(name); err != nil {
			return err
		}
	}
	if by, err := plan.Locked(now, section.Path, location); err != nil || by == "" {
		return err
	}
	names := strings.Split(section.Path, "/")
	var err error
	if location == "" {
		path := edit.Path{Steps: []edit.Step{edit.Elem("configSections")}}
		for i, name := range names {
			kind := "sectionGroup"
			if i == len(names)-1 {
				kind = "section"
			}
			path = path.Below(edit.Elem(kind, "name", name))
		}
		err = f.Set("", path.At("overrideModeDefault"), "Allow")
	} else {
		path := edit.Path{Steps: []edit.Step{edit.Elem("location", "path", location, "overrideMode", "Allow")}}
		for _, name := range names {
			path = path.Below(edit.Elem(name))
		}
		err = f.Ensure("", path)
	}
	if err != nil {
		return err
	}
	now.Draft = &plan.Draft{Path: c.file, Data: f.Bytes()}
	by, err := plan.Locked(now, section.Path, location)
	if by != "" {
		return fmt.Errorf("%s stays locked: %s", section.Path, by)
	}
	c.done = section.Path + " unlocked"
	return err
}
