package plan

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/perchserver/perch/internal/certs"
	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/site"
)

// Check reads the whole configuration, sub-folders included, and returns every
// problem. It starts nothing. The error is for what cannot be served at all.
func Check(in Input, parts Parts) (config.Problems, error) {
	problems, p, err := check(in, parts, mostVisited)
	if p != nil && p.server != nil {
		problems = append(p.server.nothingListens(p.server.defs), problems...)
	}
	return problems, err
}

// check is Check of so many folders of each site at most, of what is there: a
// file in which nothing listens may become one in which something does. The
// plan is nil if there is none.
func check(in Input, parts Parts, most int) (config.Problems, *Plan, error) {
	in.Checked = true
	p, err := Build(in, parts, nil)
	var problems config.Problems
	if errors.As(err, &problems) {
		return problems, nil, nil // the file of the server cannot be used
	}
	if err != nil {
		return nil, nil, err
	}
	for _, s := range p.Sites {
		v := visitor{reader: s.reader, most: most}
		root, _ := os.Stat(s.reader.physical("/"))
		s.reader.report = func(found config.Problems) {
			for _, problem := range found {
				in.add(&p.Problems, problem)
			}
		}
		v.visit("/", s.Applications[0].node, []os.FileInfo{root})
		p.Problems = append(p.Problems, s.badCertificates()...)
		p.Problems = append(p.Problems, s.badPrograms()...)
	}
	told := make(map[string]bool) // sites and their folders share files
	all := slices.DeleteFunc(p.Problems, func(p config.Problem) bool {
		line := p.String()
		defer func() { told[line] = true }()
		return told[line]
	})
	all.Sort()
	return all, p, nil
}

// badCertificates reads the certificates that the bindings of a site name.
func (s *Site) badCertificates() (all config.Problems) {
	for i, c := range s.def.shown {
		if c.source.Path == "" {
			continue
		}
		b := certs.Binding{URL: s.def.bindings[i].URL, Host: s.def.bindings[i].Host, Sources: []certs.Source{c.source},
			AskClient: s.asksClients, Authorities: c.authorities}
		for _, err := range certs.NewTable(slog.New(slog.DiscardHandler)).Apply([]certs.Binding{b}) {
			problem := c.bad
			problem.Message = err.Error()
			if errors.Is(err, certs.ErrNoPassword) {
				problem.Hint = "write the password into a file of its own, and name that: certificatePasswordFile=\"FILE\" on the binding, or `perch site add --cert-password-file FILE`;" +
					" the variable PERCH_CERT_PASSWORD is for `perch run --cert` alone"
			}
			all = append(all, problem)
		}
	}
	return all
}

// badPrograms looks whether the applications of a site could be started.
func (s *Site) badPrograms() (all config.Problems) {
	for _, a := range s.Applications {
		if a.Settings == nil || a.broken {
			continue
		}
		if advice, err := a.Settings.CheckCommand(); err != nil {
			problem := a.noProgram
			problem.Message = "the application " + a.Name + " cannot be started: " + err.Error()
			if len(advice) > 0 {
				problem.Hint = advice[0]
			}
			all = append(all, problem)
		}
	}
	return all
}

// visitor reads all folders of a site.
type visitor struct {
	reader  *reader
	visited int
	most    int // folders
}

// mostVisited bounds a check of folders that links have made endless.
const mostVisited = 10_000

// visit reads everything below a path. around are the folders that it lies in,
// its own the last: a link that leads back to one of them is told, and not
// followed.
func (v *visitor) visit(path string, above *site.Node, around []os.FileInfo) {
	if v.visited++; v.visited > v.most {
		if v.visited == v.most+1 {
			v.reader.report(config.Problems{{Code: config.TooManyFolders, Severity: config.Warning, Pos: config.Pos{File: v.reader.physical("/")},
				Message: fmt.Sprintf("the site has more than %d folders: those from %s on were not looked at", v.most, path)}})
		}
		return
	}
	node, names, err := v.reader.Open(path, above)
	if err != nil {
		v.reader.report(config.Problems{{Code: config.ClosedFolder, Severity: config.Warning, Pos: config.Pos{File: v.reader.physical(path)}, Message: exchange.AsError(err).Err.Error()}})
		return
	}
	for _, name := range names {
		at := join(path, name)
		folder := v.reader.physical(at)
		info, err := os.Stat(folder)
		around := around
		if strings.EqualFold(v.reader.mount(at).path, at) {
			around = nil // by no link: somebody wants it there
		}
		if err == nil && slices.ContainsFunc(around, func(o os.FileInfo) bool { return os.SameFile(o, info) }) {
			v.reader.report(config.Problems{{Code: config.LinkLoop, Severity: config.Warning, Pos: config.Pos{File: folder},
				Message: "the folder is one that it lies in, by a link: what is below it is read once"}})
			continue
		}
		if len(at) < 1024 {
			v.visit(at, node, append(around[:len(around):len(around)], info))
		}
	}
}
