package plan

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/config/merge"
)

// Draft is a configuration file as it would be written.
type Draft struct {
	Path string // absolute
	Data []byte
}

// CheckDraft checks the whole configuration with a draft in it, and returns
// the problems that it would bring: those that the configuration does not have
// as it is. The error is for what cannot be served at all with the draft, but
// can without it.
func CheckDraft(in Input, parts Parts, d Draft) (config.Problems, error) {
	in.Every = true // what is new may come behind a hundred others
	drafted := in
	drafted.Draft = &d
	after, _, err := check(drafted, parts, mostVisited)
	if err == nil && len(after) == 0 {
		return nil, nil
	}
	var before config.Problems
	if _, missing := os.Stat(in.Server); in.Server != d.Path || !errors.Is(missing, fs.ErrNotExist) {
		var was error
		before, _, was = check(in, parts, mostVisited)
		if err != nil && (was == nil || was.Error() != err.Error()) {
			return nil, err
		}
	}
	known := make(map[string]int)
	for _, p := range before {
		known[sameness(p)]++
	}
	fresh := slices.DeleteFunc(after, func(p config.Problem) bool {
		known[sameness(p)]--
		return known[sameness(p)] >= 0
	})
	if unreadable(before, d.Path) && !unreadable(after, d.Path) {
		// It was mended, and what is seen now was there before.
		fresh = slices.DeleteFunc(fresh, func(p config.Problem) bool { return p.Severity == config.Error })
	}
	return fresh, nil
}

// sameness is what a problem keeps when lines before it come or go.
func sameness(p config.Problem) string { return string(p.Code) + " " + p.File + " " + p.Message }

// unreadable reports whether a file has an error that keeps others from being
// found.
func unreadable(problems config.Problems, path string) bool {
	return slices.ContainsFunc(problems, func(p config.Problem) bool {
		return p.Severity == config.Error && p.File == path && p.Code < config.DuplicateKey
	})
}

// Server reads an applicationHost.config, and returns its settings of the
// server as a whole: sites, pools, and defaults for them. The error is a
// config.Problems.
func Server(in Input) (*merge.Settings, error) {
	s, err := readServer(in, maphash.MakeSeed())
	if err != nil {
		return nil, err
	}
	return s.settings, nil
}

// Locked says what locks a section of an applicationHost.config against the
// web.config files of a location, such as "shop/api"; "" stands for those of
// all sites. It is empty if they may set it.
func Locked(in Input, section, at string) (by string, err error) {
	s, err := readServer(in, maphash.MakeSeed())
	if err != nil {
		return "", err
	}
	if at == "" {
		at = "?" // the name of no site
	}
	text := ""
	for _, name := range slices.Backward(strings.Split(section, "/")) {
		text = "<" + name + ">" + text + "</" + name + ">"
	}
	file, problems := merge.Source{Path: "web.config", Data: []byte("<configuration>" + text + "</configuration>"), Parent: s.file}.Load()
	if file == nil {
		return "", problems
	}
	_, problems = merge.Effective([]merge.Layer{{File: s.file}, {File: file, At: at, Application: true}}, at, nil)
	for _, p := range problems {
		if p.Code == config.LockedSection {
			return p.Hint, nil
		}
	}
	return "", nil
}

// Location returns the configuration path of a folder whose web.config is read,
// such as "shop/api". It is empty if the folder is in no site that is served.
func Location(in Input, parts Parts, folder string) string {
	p, err := Build(in, parts, nil)
	if err != nil {
		return ""
	}
	for _, s := range p.Sites {
		for i := range s.reader.mounts {
			m := &s.reader.mounts[i]
			rel, err := filepath.Rel(m.folder, folder)
			if err != nil || !filepath.IsLocal(rel) {
				continue
			}
			if at := path.Join(m.path, filepath.ToSlash(rel)); s.reader.physical(at) == folder && s.reader.mayConfigure(at) {
				return s.reader.at(at)
			}
		}
	}
	return ""
}

// Folder returns the folder that a configuration path such as "shop/api" leads
// to, whose web.config is read.
func Folder(in Input, parts Parts, at string) (string, error) {
	name, below, _ := strings.Cut(strings.Trim(at, "/"), "/")
	if below = "/" + below; path.Clean(below) != below {
		return "", fmt.Errorf("location %s: the path has an empty or a dot segment", at)
	}
	p, err := Build(in, parts, nil)
	if err != nil {
		return "", err
	}
	s := p.byName[strings.ToLower(name)]
	if s == nil {
		return "", fmt.Errorf("the site %s is not there, or is not served", name)
	}
	if s.reader.leadsOut(below) {
		return "", fmt.Errorf("location %s: no web.config is read there, because a link leads out of %s", at, s.reader.mount(below).folder)
	}
	if !s.reader.mayConfigure(below) {
		return "", fmt.Errorf("location %s: no web.config is read there, because allowSubDirConfig of its virtual directory or enableConfigurationOverride of its pool is false", at)
	}
	folder := s.reader.physical(below)
	if err := servable(folder); err != nil {
		return "", fmt.Errorf("location %s: %w", at, err)
	}
	return folder, nil
}
