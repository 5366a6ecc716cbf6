// Package static is the handler that answers with files of one folder, as
// IIS does with StaticFileModule and DefaultDocumentModule: MIME map, default
// documents, validators, ranges, hidden names.
//
// It is the last stage of the road for requests that no application takes.
// Only plan imports it.
//
// Every look-up of a file begins at the folder's path and never leaves the
// folder, so one that is replaced as a whole (a release put in its place by
// rename or by a symbolic link) is served from the next look-up on. What was
// found may be kept for a second in a Cache, which its maker closes; the
// handler itself has nothing to close.
package static

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/perchserver/perch/internal/exchange"
)

// Settings of one Handler. The zero value of each field but Root is useful.
type Settings struct {
	// Root is the absolute path of the folder. Symbolic links in it are
	// followed as long as they are relative and stay below Root.
	Root string

	// Prefix is the URL path that Root is mapped to; empty for the root of
	// the site. It is compared without regard to ASCII case.
	Prefix string

	// DefaultDocuments are the file names tried in order for a URL that ends
	// in a slash. Empty: such a URL is refused with 403.14.
	DefaultDocuments []string

	// HiddenSegments are the names that no segment of a URL path may have, in
	// any case, because files alone are not to have them. What is hidden from
	// everybody never comes here.
	HiddenSegments []string

	// Types are entries of the MIME map, before which the shipped ones yield.
	Types []Type

	// OwnTypesOnly drops the shipped MIME map: the configuration cleared it.
	OwnTypesOnly bool

	// IgnoreCase lets a name that does not exist stand for one that differs
	// in case alone, as on Windows. It reads the folder for each such name.
	IgnoreCase bool

	Cache    ClientCache
	OmitETag bool // clientCache setEtag="false"

	// Files holds what was asked for a moment ago. Nil: every request opens
	// its file.
	Files *Cache
}

// Type says what the files with an extension are. An empty MIME removes the
// extension from the map. The extension has its dot; "." stands for names
// without one, ".*" for every name that has no entry.
type Type struct{ Extension, MIME string }

// ClientCache is staticContent/clientCache: what clients may keep, how long.
type ClientCache struct {
	Mode    CacheMode
	MaxAge  time.Duration // for UseMaxAge, in whole seconds
	Expires string        // for UseExpires: an HTTP date, sent as it is
	Custom  string        // directives put before those of Mode
}

// CacheMode is the kind of caching that responses ask for.
type CacheMode int

// The modes, in the order of their IIS numbers.
const (
	NoControl CacheMode = iota
	DisableCache
	UseMaxAge
	UseExpires
)

// DefaultDocuments returns the list that IIS ships.
func DefaultDocuments() []string {
	return []string{"Default.htm", "Default.asp", "index.htm", "index.html", "iisstart.htm"}
}

const op = "serve file" // of every error of this package

// Handler serves the files of one folder. It is safe for concurrent use.
type Handler struct {
	root             string
	prefix           string
	defaultDocuments []string
	hidden           [][]byte
	types            mimeMap
	ignoreCase       bool
	omitETag         bool
	cacheControl     []byte // nil: no field
	expires          []byte // nil: no field

	files    *Cache
	salt     uint64    // spreads the paths of all handlers over files
	sections sync.Pool // of *io.SectionReader
}

// New returns a Handler. The folder need not exist yet.
func New(s Settings) (*Handler, error) {
	if !filepath.IsAbs(s.Root) {
		return nil, fmt.Errorf("serve files: folder %q is not an absolute path", s.Root)
	}
	types, err := newMIMEMap(s.Types, s.OwnTypesOnly)
	if err != nil {
		return nil, err
	}
	h := &Handler{
		root:             s.Root,
		prefix:           strings.TrimRight(s.Prefix, "/"),
		defaultDocuments: s.DefaultDocuments,
		types:            types,
		ignoreCase:       s.IgnoreCase,
		omitETag:         s.OmitETag,
		files:            s.Files,
		salt:             rand.Uint64(),
	}
	h.sections.New = func() any { return new(io.SectionReader) }
	for _, name := range s.HiddenSegments {
		h.hidden = append(h.hidden, []byte(name))
	}
	h.setCacheFields(s.Cache)
	return h, nil
}

func (h *Handler) setCacheFields(c ClientCache) {
	mode := ""
	switch c.Mode {
	case DisableCache:
		mode = "no-cache"
	case UseMaxAge:
		mode = "max-age=" + strconv.FormatInt(int64(c.MaxAge/time.Second), 10)
	case UseExpires:
		h.expires = []byte(c.Expires)
	}
	both := c.Custom
	if both != "" && mode != "" {
		both += ","
	}
	if both += mode; both != "" {
		h.cacheControl = []byte(both)
	}
}

// Serve answers x with a file, or with an error that names why not.
func (h *Handler) Serve(x *exchange.Exchange) error {
	if err := judgeMethod(&x.Request); err != nil {
		x.Response.Header.Set(exchange.Allow, allowed)
		return err
	}
	f := h.files.get(h, &x.Request.Target)
	if f == nil {
		x.Detach() // the disk may take its time
		born := h.files.now()
		var err error
		if f, err = h.lookUp(&x.Request.Target); err == errFolder {
			return redirect(x)
		} else if err != nil {
			return err
		}
		h.files.keep(f, x, born)
	}
	defer f.release()
	return h.respond(x, f)
}

// errFolder says that a target names a folder without the slash at its end.
// Never written.
var errFolder = errors.New("the path is that of a folder and has no slash at its end")

// Explain tells what a request is answered with: the path of a file, or an
// error. moved tells that it is sent on to the path with a slash at its end.
func (h *Handler) Explain(r *exchange.Request) (file string, moved bool, err error) {
	if err := judgeMethod(r); err != nil {
		return "", false, err
	}
	f, _, _, err := h.find(&r.Target)
	if err == errFolder {
		return "", true, nil
	}
	if err != nil {
		return "", false, err
	}
	defer f.Close()
	return f.Name(), false, nil
}

// judgeMethod refuses methods that are not for files.
func judgeMethod(r *exchange.Request) error {
	if r.Method != "GET" && r.Method != "HEAD" {
		return exchange.Errorf(405, 0, op, "method %s is not for files", r.Method)
	}
	return nil
}

// lookUp finds the file for a target on disk.
func (h *Handler) lookUp(t *exchange.Target) (*file, error) {
	f, info, mime, err := h.find(t)
	if err != nil {
		return nil, err
	}
	return h.newFile(f, info, mime), nil
}

// find opens the file for a target, and returns its media type.
func (h *Handler) find(t *exchange.Target) (*os.File, fs.FileInfo, []byte, error) {
	name, slash, err := h.name(t)
	if err != nil {
		return nil, nil, nil, err
	}
	root, err := os.OpenRoot(h.root)
	if err != nil {
		return nil, nil, nil, openError(err)
	}
	defer root.Close()

	f, info, err := h.open(root, name)
	if err != nil {
		return nil, nil, nil, err
	}
	if info.IsDir() {
		f.Close()
		if !slash {
			return nil, nil, nil, errFolder
		}
		if f, info, name, err = h.openDefault(root, name); err != nil {
			return nil, nil, nil, err
		}
	} else if slash {
		f.Close()
		return nil, nil, nil, exchange.Errorf(404, 0, op, "%s is a file and has nothing below it", name)
	}
	mime, err := h.judgeFile(name, info)
	if err != nil {
		f.Close()
		return nil, nil, nil, err
	}
	return f, info, mime, nil
}

// judgeFile returns the media type of a file that may be served.
func (h *Handler) judgeFile(name string, info fs.FileInfo) ([]byte, error) {
	if !info.Mode().IsRegular() {
		return nil, exchange.Errorf(404, 0, op, "%s is not a regular file", name)
	}
	if hasHiddenAttribute(info) {
		return nil, exchange.Errorf(404, 9, op, "%s has the hidden attribute", name)
	}
	mime := h.types.lookup(path.Base(name))
	if mime == nil {
		e := exchange.Errorf(404, 3, op, "no MIME type is configured for the extension of %s", name)
		extension := path.Ext(name)
		if extension == "" {
			extension = "." // in the section: of names without one
		}
		e.Advice = []string{"give it a type: `perch set \"system.webServer/staticContent/mimeMap[@fileExtension='" + extension + "']/@mimeType=TYPE\" \"" + h.root + "\"`"}
		return nil, e
	}
	return mime, nil
}

// Never written.
var (
	allowed     = []byte("GET, HEAD")
	bytesUnit   = []byte("bytes")
	headingHTML = []byte("text/html")
)

// openDefault opens the first default document that there is in a folder.
func (h *Handler) openDefault(root *os.Root, dir string) (*os.File, fs.FileInfo, string, error) {
	for _, doc := range h.defaultDocuments {
		name := path.Join(dir, doc)
		f, info, err := h.open(root, name)
		switch {
		case err == nil && info.IsDir():
			f.Close()
		case err == nil:
			return f, info, name, nil
		case exchange.AsError(err).Status != 404:
			return nil, nil, "", err
		}
	}
	return nil, nil, "", &exchange.Error{
		Status: 403, SubStatus: 14, Op: op,
		Public: "This folder has no default document, and listing folders is off.",
		Err:    fmt.Errorf("the folder %s has none of %s", filepath.Join(h.root, dir), strings.Join(h.defaultDocuments, ", ")),
		Advice: []string{"put one of them there, or name another: `perch set \"system.webServer/defaultDocument/files/add[@value='NAME']\" \"" + h.root + "\"`",
			"if an application is to answer here, its folder needs a web.config that names it: see `perch init --help`"},
	}
}

// redirect sends the client to the same URL with a slash at its end. The
// location is a path, so that the client keeps scheme and host as it knows
// them. It cannot begin with two slashes, which would name another host: a
// target has no empty segments.
func redirect(x *exchange.Exchange) error {
	t := &x.Request.Target
	location := make([]byte, 0, len(t.Forward)+len(t.Query)+2)
	location = append(append(location, t.Forward...), '/')
	if t.HasQuery {
		location = append(append(location, '?'), t.Query...)
	}
	const body = "<!DOCTYPE html>\r\n<title>Document Moved</title>\r\n<h1>Object Moved</h1>\r\n" +
		"<p>This document has moved to the same address with a slash at its end.</p>\r\n"
	x.Response.Status = 301
	x.Response.Length = int64(len(body))
	x.Response.Header.Add(exchange.ContentType, headingHTML)
	x.Response.Header.Add(exchange.Location, location)
	if err := x.Response.Writer.WriteHead(x); err != nil || x.Request.Method == "HEAD" {
		return err
	}
	_, err := io.WriteString(x.Response.Writer, body)
	return err
}

// respond answers with f, a part of it, or a precondition's result.
func (h *Handler) respond(x *exchange.Exchange, f *file) error {
	res := &x.Response
	res.Header.Add(exchange.LastModified, f.lastModified)
	res.Header.Add(exchange.AcceptRanges, bytesUnit)
	if f.etag != nil {
		res.Header.Add(exchange.ETag, f.etag)
	}
	if h.cacheControl != nil {
		res.Header.Add(exchange.CacheControl, h.cacheControl)
	}
	if h.expires != nil {
		res.Header.Add(exchange.Expires, h.expires)
	}
	v := validators{etag: f.etag, modified: f.modified.Truncate(time.Second)}
	switch v.judge(x) {
	case failed:
		return exchange.Errorf(412, 0, op, "the file is not the one that the client has")
	case notModified:
		res.Status, res.Length = 304, -1
		return res.Writer.WriteHead(x)
	}

	ranges, err := h.ranges(x, v, f.size)
	if err != nil {
		return err
	}
	if len(ranges) > 1 {
		return h.sendParts(x, f, ranges)
	}
	res.Header.Add(exchange.ContentType, f.mime)
	part := byteRange{0, f.size}
	res.Status = 200
	if len(ranges) == 1 {
		part = ranges[0]
		res.Status = 206
		res.Header.Add(exchange.ContentRange, part.appendContentRange(nil, f.size))
	}
	res.Length = part.length
	if err := res.Writer.WriteHead(x); err != nil || x.Request.Method == "HEAD" {
		return err
	}
	return h.send(res.Writer, f, part)
}

// send writes one range of f, from memory or from inside the kernel.
func (h *Handler) send(w exchange.Writer, f *file, part byteRange) error {
	if f.open == nil {
		_, err := w.Write(f.content[part.start:][:part.length])
		return err
	}
	if part.length == 0 {
		return nil
	}
	r := h.sections.Get().(*io.SectionReader)
	*r = *io.NewSectionReader(f.open, part.start, part.length)
	n, err := w.ReadFrom(r)
	*r = io.SectionReader{}
	h.sections.Put(r)
	if err == nil && n < part.length {
		err = exchange.Errorf(500, 0, op, "the file became shorter while it was sent")
	}
	return err
}
