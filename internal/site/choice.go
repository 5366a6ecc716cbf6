package site

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/perchserver/perch/internal/exchange"
)

// Choice is the list of handlers of a node (system.webServer/handlers). The
// first entry that matches serves the request (spec iis-front 4.2).
type Choice struct {
	Entries []Entry
	Folder  string // what the paths of Resource are below
	Prefix  string // the URL path that Folder is mapped to; empty: the root of the site
}

// Entry is one handler with its conditions.
type Entry struct {
	Path     string   // "*", "*.ext", "name.ext", "dir/*"; without regard to case
	Verbs    []string // empty: all
	Resource Resource
	Handler  exchange.Handler
}

// Resource is what must exist on disk for an entry to match.
type Resource uint8

// The kinds of resource.
const (
	Unspecified Resource = iota
	File
	Directory
	Either
)

// Refusals of the choice. Never written.
var (
	errNoHandler = &exchange.Error{Status: 404, SubStatus: 4, Op: "choose handler",
		Err: errors.New("no entry of the handlers section matches the path")}
	errNoVerb = &exchange.Error{Status: 405, Op: "choose handler",
		Err: errors.New("entries of the handlers section match the path, but not the method")}
)

// Serve implements exchange.Handler.
func (c *Choice) Serve(x *exchange.Exchange) error {
	i, err := c.Find(&x.Request)
	if err != nil {
		return err
	}
	return c.Entries[i].Handler.Serve(x)
}

// Find returns the number of the entry that serves a request.
func (c *Choice) Find(r *exchange.Request) (int, error) {
	pathMatched := false
	for i := range c.Entries {
		e := &c.Entries[i]
		if e.Path != "*" && !e.matches(&r.Target) {
			continue
		}
		if e.Resource != Unspecified && !e.exists(c, &r.Target) {
			continue
		}
		pathMatched = true
		if e.allows(r.Method) {
			return i, nil
		}
	}
	if pathMatched {
		return 0, errNoVerb
	}
	return 0, errNoHandler
}

func (e *Entry) allows(method string) bool {
	if len(e.Verbs) == 0 {
		return true
	}
	for _, v := range e.Verbs {
		if v == method {
			return true
		}
	}
	return false
}

// matches compares the pattern with the last segment of the path, or with
// all of it when the pattern has a slash.
func (e *Entry) matches(t *exchange.Target) bool {
	return e.matchesPath(t.Path) || t.HiddenSlash && e.matchesPath(t.Separated)
}

func (e *Entry) matchesPath(path []byte) bool {
	if pattern := strings.TrimPrefix(e.Path, "/"); strings.Contains(e.Path, "/") {
		return wildcard(pattern, path[1:])
	}
	return wildcard(e.Path, path[bytes.LastIndexByte(path, '/')+1:])
}

// wildcard matches s against a pattern of '*' (any bytes) and '?' (one),
// without regard to ASCII case. It goes back to the last '*' only, so its
// cost is bounded by the product of both lengths.
func wildcard(pattern string, s []byte) bool {
	p, star, mark := 0, -1, 0
	for i := 0; i < len(s); {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || fold(pattern[p]) == fold(s[i])):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

func fold(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// exists looks on disk. Only entries that ask for it pay for it.
func (e *Entry) exists(c *Choice, t *exchange.Target) bool {
	if t.HiddenSlash || len(t.Path) < len(c.Prefix) {
		return false
	}
	path := bytes.Trim(t.Path[len(c.Prefix):], "/")
	rel, err := filepath.Localize(string(path))
	if err != nil {
		if len(path) > 0 {
			return false
		}
		rel = "."
	}
	root, err := os.OpenRoot(c.Folder)
	if err != nil {
		return false
	}
	defer root.Close()
	info, err := root.Stat(rel)
	switch {
	case err != nil:
		return false
	case e.Resource == File:
		return info.Mode().IsRegular()
	case e.Resource == Directory:
		return info.IsDir()
	}
	return info.IsDir() || info.Mode().IsRegular()
}
