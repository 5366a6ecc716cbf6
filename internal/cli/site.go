package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/perchserver/perch/internal/config/edit"
	"github.com/perchserver/perch/internal/config/merge"
	"github.com/perchserver/perch/internal/listen"
	"github.com/perchserver/perch/internal/plan"
)

func (p *Process) siteCommand() *cobra.Command {
	return p.group("site", "Add, list and remove sites",
		`Edit the sites of an applicationHost.config: perch.config in the current folder,
or the file of --config. A change is checked as "perch check" does before it is
written, and a running host takes it over by itself.`,
		p.siteAdd(), p.siteList(), p.siteRemove())
}

// newSite is a site that is to be added.
type newSite struct {
	name, path, pool   string
	cert, passwordFile string
	id                 uint32
	urls               []string
}

func (p *Process) siteAdd() *cobra.Command {
	var file sitesFlag
	var s newSite
	c := &cobra.Command{
		Use:   "add NAME --path DIR --listen URL",
		Short: "Add a site",
		Long: `Add a site with one application, the folder of --path, at the listening URLs.
They are those of "perch run", but for unix sockets. The file is made if it is
not there. A --pool that is not there is added, too.

https://localhost and names below localhost get a development certificate when
no other is named; see perch trust. The password of a PFX file is read from the
file of --cert-password-file whenever the certificate is: it has to stay there.`,
		Example: "  perch site add shop --path ./shop --listen http://shop.localhost:8080\n" +
			"  perch site add shop --path /srv/shop --listen https://shop.example --cert shop.pem --config /etc/perch/applicationHost.config\n" +
			"  perch site add shop --path ./shop --listen https://shop.example --cert shop.pfx --cert-password-file shop.password",
		Args: args(1, 1, "the name of a site"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := file.input()
			if err != nil {
				return err
			}
			s.name = args[0]
			return p.addSite(cmd, in, s)
		},
	}
	file.add(c)
	c.Flags().StringVar(&s.path, "path", "", "`folder` of the site's application")
	c.Flags().StringArrayVarP(&s.urls, "listen", "l", nil, "listening `URL`, repeatable")
	c.Flags().StringVar(&s.pool, "pool", "", "application `pool` (default: that of applicationDefaults, else none)")
	c.Flags().StringVar(&s.cert, "cert", "", "certificate of its https URLs: a PEM or PFX `FILE`, FILE,KEYFILE, or a folder")
	c.Flags().StringVar(&s.passwordFile, "cert-password-file", "", "`file` with the password of the PFX file of --cert")
	c.Flags().Uint32Var(&s.id, "id", 0, "`number` of the site (default: the next)")
	return c
}

func (p *Process) addSite(cmd *cobra.Command, in plan.Input, s newSite) error {
	if s.path == "" || len(s.urls) == 0 {
		return usageError{errors.New("a site needs a --path and a --listen"), "such as `perch site add shop --path ./shop --listen http://shop.localhost:8080`"}
	}
	bindings, err := parseListen(s.urls)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(bindings, overTLS) {
		if err := leaveOut(cmd, "cert", "cert-password-file"); err != nil {
			return err
		}
	}
	if s.cert == "" {
		if err := needsCert(cmd); err != nil {
			return err
		}
	}
	var entries []edit.Step
	for _, b := range bindings {
		if b.Path != "" {
			return usageError{fmt.Errorf("%s: a site has no unix socket", b.URL), "give a URL such as http://shop.localhost:8080; `perch run DIR --listen unix:PATH` serves a folder on a socket"}
		}
		if s.cert == "" {
			if err := needCertificate(b); err != nil {
				return err
			}
		}
		steps, err := s.binding(b, in.Server)
		if err != nil {
			return err
		}
		entries = append(entries, steps...)
	}
	folder, err := folderFor(s.path, in.Server)
	if err != nil {
		return err
	}
	c := &change{in: in, file: in.Server, by: "perch site add", new: true}
	c.make = func(f *edit.File, now plan.Input) error {
		server, err := readServer(now)
		if err != nil {
			return err
		}
		if e, ok := named(server.sites(), "name", s.name); ok {
			return there("a site", s.name, e)
		}
		id := s.id
		if id == 0 {
			if id, err = server.nextID(); err != nil {
				return err
			}
		}
		pool := s.pool
		if pool == "" {
			pool = server.section().Child("applicationDefaults").Text("applicationPool")
		}
		if err := needPool(f, server, pool); err != nil {
			return err
		}
		path := sitesPath().Below(edit.Elem("site", "name", s.name, "id", strconv.FormatUint(uint64(id), 10)))
		steps := []edit.Path{path.Below(application("/", s.pool), edit.Elem("virtualDirectory", "path", "/", "physicalPath", folder))}
		for _, e := range entries {
			steps = append(steps, path.Below(edit.Elem("bindings"), e))
		}
		for _, step := range steps {
			if err := f.Ensure("", step); err != nil {
				return err
			}
		}
		c.done = fmt.Sprintf("site %s (id %d) added", s.name, id)
		if len(server.sites()) == 0 {
			c.done += "; `perch run --config " + in.Server + "` serves it"
		}
		return nil
	}
	return p.edit(c)
}

// binding returns the entries for one listening URL.
func (s *newSite) binding(b listen.Binding, file string) (steps []edit.Step, err error) {
	protocol := "http"
	if b.TLS {
		protocol = "https"
	}
	for _, information := range b.Information() {
		e := edit.Elem("binding", "protocol", protocol, "bindingInformation", information)
		if b.TLS && b.Host != "" { // shown to who asks for the name
			e.Where = append(e.Where, edit.Attr{Name: "sslFlags", Value: "1"})
		}
		if b.TLS && s.cert != "" {
			cert, key, _ := strings.Cut(s.cert, ",")
			for _, a := range []edit.Attr{{Name: "certificateFile", Value: cert}, {Name: "certificateKeyFile", Value: key}, {Name: "certificatePasswordFile", Value: s.passwordFile}} {
				if a.Value == "" {
					continue
				}
				if a.Value, err = physicalPath(a.Value, file); err != nil {
					return nil, err
				}
				e.Where = append(e.Where, a)
			}
		}
		steps = append(steps, e)
	}
	return steps, nil
}

// application returns the step of an application, with its pool if one is
// named.
func application(path, pool string) edit.Step {
	e := edit.Elem("application", "path", path)
	if pool != "" {
		e.Where = append(e.Where, edit.Attr{Name: "applicationPool", Value: pool})
	}
	return e
}

// folderFor returns the physicalPath of a folder, which has to be there.
func folderFor(path, file string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("folder %s: it does not exist", path)
	case err != nil:
		return "", fmt.Errorf("folder %s: %w", path, err)
	case !info.IsDir():
		return "", fmt.Errorf("folder %s: it is a file", path)
	}
	return physicalPath(path, file)
}

// nextID returns the number of a new site: behind all others, because that of
// a site that is gone may still be in the names of its logs.
func (s *server) nextID() (uint32, error) {
	var most int64
	for _, e := range s.sites() {
		most = max(most, e.Int("id"))
	}
	if most == math.MaxUint32 {
		return 0, errors.New("there is no number left behind those of the other sites; choose one with --id")
	}
	return uint32(most + 1), nil
}

func (p *Process) siteRemove() *cobra.Command {
	var file sitesFlag
	c := &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove a site",
		Long: `Remove a site with its bindings, applications and virtual directories. Its
folders stay, as do its pool and what is set for it in a <location>.`,
		Example: "  perch site remove shop",
		Args:    args(1, 1, "the name of a site"),
		RunE: func(_ *cobra.Command, args []string) error {
			in, err := file.input()
			if err != nil {
				return err
			}
			c := &change{in: in, file: in.Server, by: "perch site remove"}
			c.make = func(f *edit.File, now plan.Input) error {
				server, err := readServer(now)
				if err != nil {
					return err
				}
				e, err := server.site(args[0])
				if err != nil {
					return err
				}
				c.done = "site " + e.Text("name") + " removed"
				_, err = f.Unset("", sitesPath().Below(edit.Elem("site", "name", e.Text("name"))))
				return err
			}
			return p.edit(c)
		},
	}
	file.add(c)
	return c
}

// listedSite is a site as `perch site list` tells it.
type listedSite struct {
	Name         string              `json:"name"`
	ID           int64               `json:"id"`
	AutoStart    bool                `json:"autoStart"`
	Bindings     []listedBinding     `json:"bindings"`
	Applications []listedApplication `json:"applications"`
	Place        string              `json:"place"`
}

type listedBinding struct {
	Protocol    string `json:"protocol"`
	Information string `json:"bindingInformation"`
	URL         string `json:"url,omitempty"` // of http and https
}

type listedApplication struct {
	Site        string            `json:"site"`
	Path        string            `json:"path"`
	Pool        string            `json:"pool,omitempty"`
	Directories []listedDirectory `json:"virtualDirectories"`
	Place       string            `json:"place"`
}

type listedDirectory struct {
	Path     string `json:"path"` // in the application
	Physical string `json:"physicalPath"`
	Place    string `json:"place"`
}

func listSite(e merge.Element) listedSite {
	s := listedSite{Name: e.Text("name"), ID: e.Int("id"), AutoStart: e.Bool("serverAutoStart"), Place: e.Pos().String(),
		Bindings: []listedBinding{}, Applications: []listedApplication{}}
	for _, b := range e.Child("bindings").Entries() {
		l := listedBinding{Protocol: b.Text("protocol"), Information: b.Text("bindingInformation")}
		if l.Protocol = strings.ToLower(l.Protocol); l.Protocol == "http" || l.Protocol == "https" {
			if parsed, err := listen.ParseInformation(l.Protocol, l.Information); err == nil {
				l.URL = parsed.URL
			}
		}
		s.Bindings = append(s.Bindings, l)
	}
	for _, a := range e.Entries() {
		s.Applications = append(s.Applications, listApplication(s.Name, a))
	}
	return s
}

func listApplication(site string, e merge.Element) listedApplication {
	a := listedApplication{Site: site, Path: e.Text("path"), Pool: e.Text("applicationPool"), Place: e.Pos().String(), Directories: []listedDirectory{}}
	for _, d := range e.Entries() {
		a.Directories = append(a.Directories, listedDirectory{d.Text("path"), d.Text("physicalPath"), d.Pos().String()})
	}
	return a
}

// folder returns the physical path of an application's root.
func (a *listedApplication) folder() string {
	if i := slices.IndexFunc(a.Directories, func(d listedDirectory) bool { return d.Path == "/" }); i >= 0 {
		return a.Directories[i].Physical
	}
	return ""
}

func (p *Process) siteList() *cobra.Command {
	var file sitesFlag
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List the sites",
		Long: `List the sites, one in a line: name, number, whether it is served (its
serverAutoStart), listening URLs and folder.`,
		Example: "  perch site list --config /etc/perch/applicationHost.config",
		Args:    args(0, 0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			sites, err := p.listed(file)
			if err != nil {
				return err
			}
			if asJSON {
				return p.printJSON(map[string]any{"sites": sites})
			}
			var rows []string
			for _, s := range sites {
				var urls []string
				for _, b := range s.Bindings {
					urls = append(urls, b.text())
				}
				folder := ""
				for i := range s.Applications {
					if s.Applications[i].Path == "/" {
						folder = s.Applications[i].folder()
					}
				}
				rows = append(rows, fmt.Sprintf("%s\t%d\t%t\t%s\t%s", s.Name, s.ID, s.AutoStart, strings.Join(urls, ","), folder))
			}
			return p.printTable("NAME\tID\tAUTOSTART\tURL\tFOLDER", rows)
		},
	}
	file.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print the sites as JSON")
	return c
}

// printTable prints rows in columns below their heads. Cells have tabs between
// them.
func (p *Process) printTable(heads string, rows []string) error {
	w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
	for _, row := range append([]string{heads}, rows...) {
		fmt.Fprintln(w, row)
	}
	return w.Flush()
}

// text tells a binding in one word.
func (b *listedBinding) text() string {
	if b.URL != "" {
		return b.URL
	}
	return b.Protocol + "/" + b.Information
}

// listed reads the sites of a file.
func (p *Process) listed(file sitesFlag) ([]listedSite, error) {
	in, err := file.input()
	if err != nil {
		return nil, err
	}
	in.Environ = p.Environ
	server, err := readServer(in)
	if err != nil {
		return nil, err
	}
	sites := []listedSite{}
	for _, e := range server.sites() {
		sites = append(sites, listSite(e))
	}
	return sites, nil
}
