package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/perchserver/perch/internal/config/edit"
	"github.com/perchserver/perch/internal/config/merge"
	"github.com/perchserver/perch/internal/plan"
)

// target is a site with a path in it, as "shop/api".
type target struct{ site, path string }

func parseTarget(text string) (target, error) {
	site, path, _ := strings.Cut(text, "/")
	if site == "" {
		return target{}, usageError{fmt.Errorf("%q names no site", text), "write SITE/PATH, such as shop/api"}
	}
	return target{site, "/" + strings.TrimSuffix(path, "/")}, nil
}

func (t target) String() string { return t.site + t.path }

// longest returns the longest application of a site that a path lies in,
// and the rest of the path, which begins with a slash.
func longest(site merge.Element, path string) (app merge.Element, rest string, ok bool) {
	length := -1
	for _, e := range site.Entries() {
		at := strings.TrimSuffix(e.Text("path"), "/")
		if len(at) > length && len(path) >= len(at) && strings.EqualFold(path[:len(at)], at) && (len(path) == len(at) || path[len(at)] == '/') {
			app, rest, length, ok = e, path[len(at):], len(at), true
		}
	}
	if rest == "" {
		rest = "/"
	}
	return app, rest, ok
}

func (p *Process) appCommand() *cobra.Command {
	return p.group("app", "Add, list and remove applications of sites",
		`Edit the applications of the sites of an applicationHost.config: perch.config in
the current folder, or the file of --config. An application is called SITE/PATH.`,
		p.appAdd(), p.appList(), p.appRemove())
}

func (p *Process) vdirCommand() *cobra.Command {
	return p.group("vdir", "Add, list and remove virtual directories of sites",
		`Edit the virtual directories of the sites of an applicationHost.config:
perch.config in the current folder, or the file of --config. A virtual directory
is called SITE/PATH; it belongs to the application with the longest path that
this begins with.`,
		p.vdirAdd(), p.vdirList(), p.vdirRemove())
}

// editTarget runs a change of one target. do is given the site.
func (p *Process) editTarget(file sitesFlag, by, text string, do func(c *change, f *edit.File, s *server, site merge.Element, t target) error) error {
	t, err := parseTarget(text)
	if err != nil {
		return err
	}
	in, err := file.input()
	if err != nil {
		return err
	}
	c := &change{in: in, file: in.Server, by: by}
	c.make = func(f *edit.File, now plan.Input) error {
		s, err := readServer(now)
		if err != nil {
			return err
		}
		site, err := s.site(t.site)
		if err != nil {
			return err
		}
		return do(c, f, s, site, target{site.Text("name"), t.path})
	}
	return p.edit(c)
}

func sitePath(t target) edit.Path { return sitesPath().Below(edit.Elem("site", "name", t.site)) }

// pathFlag is the flag --path, which has to be given.
func pathFlag(c *cobra.Command, path *string, what string) {
	c.Flags().StringVar(path, "path", "", "`folder` of the "+what)
}

func needPath(path, example string) error {
	if path != "" {
		return nil
	}
	return usageError{errors.New("the folder is missing: --path DIR"), "such as `" + example + "`"}
}

func (p *Process) appAdd() *cobra.Command {
	var file sitesFlag
	var path, pool string
	c := &cobra.Command{
		Use:     "add SITE/PATH --path DIR",
		Short:   "Add an application",
		Long:    "Add an application to a site. A --pool that is not there is added, too.",
		Example: "  perch app add shop/api --path ./shop-api",
		Args:    args(1, 1, "one SITE/PATH"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := needPath(path, "perch app add shop/api --path ./shop-api"); err != nil {
				return err
			}
			return p.editTarget(file, "perch app add", args[0], func(c *change, f *edit.File, s *server, site merge.Element, t target) error {
				if e, ok := named(site.Entries(), "path", t.path); ok {
					return there("an application", t.String(), e)
				}
				folder, err := folderFor(path, c.in.Server)
				if err != nil {
					return err
				}
				needed := pool
				for _, defaults := range []merge.Element{site.Child("applicationDefaults"), s.section().Child("applicationDefaults")} {
					if needed == "" {
						needed = defaults.Text("applicationPool")
					}
				}
				if err := needPool(f, s, needed); err != nil {
					return err
				}
				c.done = "application " + t.String() + " added"
				return f.Ensure("", sitePath(t).Below(application(t.path, pool), edit.Elem("virtualDirectory", "path", "/", "physicalPath", folder)))
			})
		},
	}
	file.add(c)
	pathFlag(c, &path, "application")
	c.Flags().StringVar(&pool, "pool", "", "application `pool` (default: that of applicationDefaults, else none)")
	return c
}

func (p *Process) appRemove() *cobra.Command {
	var file sitesFlag
	c := &cobra.Command{
		Use:     "remove SITE/PATH",
		Short:   "Remove an application",
		Long:    "Remove an application with its virtual directories. Its folders stay, as does its pool.",
		Example: "  perch app remove shop/api",
		Args:    args(1, 1, "one SITE/PATH"),
		RunE: func(_ *cobra.Command, args []string) error {
			return p.editTarget(file, "perch app remove", args[0], func(c *change, f *edit.File, s *server, site merge.Element, t target) error {
				if _, ok := named(site.Entries(), "path", t.path); !ok {
					return missing("application", t.path, site.Entries(), "path", "site "+t.site)
				}
				c.done = "application " + t.String() + " removed"
				_, err := f.Unset("", sitePath(t).Below(edit.Elem("application", "path", t.path)))
				return err
			})
		},
	}
	file.add(c)
	return c
}

func (p *Process) vdirAdd() *cobra.Command {
	var file sitesFlag
	var path string
	c := &cobra.Command{
		Use:     "add SITE/PATH --path DIR",
		Short:   "Add a virtual directory",
		Long:    "Add a virtual directory to the application that the path lies in.",
		Example: "  perch vdir add shop/media --path /srv/media",
		Args:    args(1, 1, "one SITE/PATH"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := needPath(path, "perch vdir add shop/media --path /srv/media"); err != nil {
				return err
			}
			return p.editTarget(file, "perch vdir add", args[0], func(c *change, f *edit.File, s *server, site merge.Element, t target) error {
				app, rest, ok := longest(site, t.path)
				if !ok {
					return fmt.Errorf("the site %s has no application that %s lies in", t.site, t.path)
				}
				if e, ok := named(app.Entries(), "path", rest); ok {
					return there("a virtual directory", t.String(), e)
				}
				folder, err := folderFor(path, c.in.Server)
				if err != nil {
					return err
				}
				c.done = "virtual directory " + t.String() + " added"
				return f.Ensure("", sitePath(t).Below(edit.Elem("application", "path", app.Text("path")), edit.Elem("virtualDirectory", "path", rest, "physicalPath", folder)))
			})
		},
	}
	file.add(c)
	pathFlag(c, &path, "virtual directory")
	return c
}

func (p *Process) vdirRemove() *cobra.Command {
	var file sitesFlag
	c := &cobra.Command{
		Use:     "remove SITE/PATH",
		Short:   "Remove a virtual directory",
		Long:    "Remove a virtual directory. Its folder stays.",
		Example: "  perch vdir remove shop/media",
		Args:    args(1, 1, "one SITE/PATH"),
		RunE: func(_ *cobra.Command, args []string) error {
			return p.editTarget(file, "perch vdir remove", args[0], func(c *change, f *edit.File, s *server, site merge.Element, t target) error {
				app, rest, ok := longest(site, t.path)
				if !ok {
					return fmt.Errorf("the site %s has no application that %s lies in", t.site, t.path)
				}
				if _, ok := named(app.Entries(), "path", rest); !ok {
					return missing("virtual directory", rest, app.Entries(), "path", "application "+t.site+app.Text("path"))
				}
				c.done = "virtual directory " + t.String() + " removed"
				_, err := f.Unset("", sitePath(t).Below(edit.Elem("application", "path", app.Text("path")), edit.Elem("virtualDirectory", "path", rest)))
				return err
			})
		},
	}
	file.add(c)
	return c
}

func (p *Process) appList() *cobra.Command {
	return p.listCommand(`List the applications, one in a line: SITE/PATH, pool and folder. One that names
no pool (-) has one of its own, called like the site.`, "applications", "APPLICATION\tPOOL\tFOLDER",
		func(a listedApplication) []string {
			pool := a.Pool
			if pool == "" {
				pool = "-"
			}
			return []string{target{a.Site, a.Path}.String() + "\t" + pool + "\t" + a.folder()}
		})
}

func (p *Process) vdirList() *cobra.Command {
	return p.listCommand("List the virtual directories, one in a line: SITE/PATH and folder.", "virtual directories", "DIRECTORY\tFOLDER",
		func(a listedApplication) (lines []string) {
			for _, d := range a.Directories {
				lines = append(lines, target{a.Site, join(a.Path, d.Path)}.String()+"\t"+d.Physical)
			}
			return lines
		})
}

// join puts the path of a virtual directory behind that of its application.
func join(app, path string) string {
	if joined := strings.TrimSuffix(app, "/") + strings.TrimSuffix(path, "/"); joined != "" {
		return joined
	}
	return "/"
}

// listCommand lists something of the applications of all sites, or of one.
func (p *Process) listCommand(long, what, heads string, lines func(listedApplication) []string) *cobra.Command {
	var file sitesFlag
	var asJSON bool
	c := &cobra.Command{
		Use:   "list [SITE]",
		Short: "List the " + what,
		Long:  long,
		Args:  args(0, 1, "at most one site"),
		RunE: func(_ *cobra.Command, args []string) error {
			sites, err := p.listed(file)
			if err != nil {
				return err
			}
			found := []listedApplication{}
			known := len(args) == 0
			for _, s := range sites {
				if len(args) == 0 || strings.EqualFold(s.Name, args[0]) {
					found, known = append(found, s.Applications...), true
				}
			}
			if !known {
				return fmt.Errorf("there is no site %s in %s", args[0], file)
			}
			if asJSON {
				return p.printJSON(map[string]any{"applications": found})
			}
			var rows []string
			for _, a := range found {
				rows = append(rows, lines(a)...)
			}
			return p.printTable(heads, rows)
		},
	}
	file.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print the applications with their virtual directories as JSON")
	return c
}
