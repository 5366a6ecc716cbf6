package static

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/perchserver/perch/internal/exchange"
)

// name turns a target into the name of a file or folder below the root,
// slash-separated and "." for the root itself, and tells whether the path
// ended in a slash. Names that may not be served are refused with the error.
func (h *Handler) name(t *exchange.Target) (name string, slash bool, err error) {
	p := t.Path
	if len(p) < len(h.prefix) || !exchange.EqualFold(p[:len(h.prefix)], h.prefix) {
		return "", false, exchange.Errorf(404, 0, op, "the path is not below %s", h.prefix)
	}
	p = p[len(h.prefix):]
	if len(p) == 0 {
		return ".", false, nil
	}
	if p[0] != '/' {
		return "", false, exchange.Errorf(404, 0, op, "the path is not below %s", h.prefix)
	}
	if t.HiddenSlash {
		return "", false, exchange.Errorf(404, 0, op, "the path has an encoded slash, which no file name can have")
	}
	p = p[1:]
	if len(p) == 0 {
		return ".", true, nil
	}
	if p[len(p)-1] == '/' {
		p, slash = p[:len(p)-1], true
	}
	if err := h.judge(p); err != nil {
		return "", false, err
	}
	return string(p), slash, nil
}

// judge refuses names by what they are, before any file is looked for: the
// hidden ones, and those that a file system could read as another name.
func (h *Handler) judge(name []byte) error {
	first := true
	for segment := range bytes.SplitSeq(name, []byte{'/'}) {
		if why := unsafeSegment(segment); why != "" {
			return exchange.Errorf(404, 0, op, "segment %q %s", segment, why)
		}
		// RFC 8615: a well-known location is public whatever its dot says.
		wellKnown := first && string(segment) == ".well-known"
		if segment[0] == '.' && !wellKnown {
			return exchange.Errorf(404, 9, op, "segment %q begins with a dot and is hidden", segment)
		}
		for _, hidden := range h.hidden {
			if bytes.EqualFold(segment, hidden) {
				return exchange.Errorf(404, 8, op, "segment %q is hidden", segment)
			}
		}
		first = false
	}
	return nil
}

// unsafeSegment says what is wrong with a segment, "" if nothing is. Windows
// drops trailing dots and blanks, reads a stream's name behind a colon and
// knows each file by a short name too. Its file systems are mounted
// elsewhere, so all but the short names are refused on every system.
func unsafeSegment(s []byte) string {
	if len(s) == 0 || string(s) == "." || string(s) == ".." {
		return "is not a name"
	}
	for _, c := range s {
		switch {
		case c < ' ' || c == 0x7f:
			return "has a control character"
		case c == ':' || c == '\\':
			return "has a separator of another system"
		}
	}
	if last := s[len(s)-1]; last == '.' || last == ' ' {
		return "ends in a dot or a blank"
	}
	if isShortName(s) {
		return "looks like a short name"
	}
	return ""
}

// open opens a file or folder by its judged name, or the one that differs in
// case alone if that is asked for.
func (h *Handler) open(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	f, err := root.OpenFile(name, openFlags, 0)
	if err != nil && h.ignoreCase && isNotExist(err) {
		if other, ok := foldName(root, name); ok {
			// Another spelling may be a hidden name in letters that judge
			// does not take for the same.
			if err := h.judge([]byte(other)); err != nil {
				return nil, nil, err
			}
			f, err = root.OpenFile(other, openFlags, 0)
		}
	}
	if err != nil {
		return nil, nil, openError(err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, openError(err)
	}
	return f, info, nil
}

// foldName finds the name that differs from name in case alone. A segment
// that exists as it is written stands for itself; of several others, the
// first in byte order is taken.
func foldName(root *os.Root, name string) (string, bool) {
	found := ""
	for segment := range strings.SplitSeq(name, "/") {
		exact := path.Join(found, segment)
		if _, err := root.Lstat(exact); err == nil {
			found = exact
			continue
		}
		dir, err := root.Open(path.Join(".", found))
		if err != nil {
			return "", false
		}
		names, err := dir.Readdirnames(-1)
		dir.Close()
		if err != nil {
			return "", false
		}
		best := ""
		for _, n := range names {
			if strings.EqualFold(n, segment) && (best == "" || n < best) {
				best = n
			}
		}
		if best == "" {
			return "", false
		}
		found = path.Join(found, best)
	}
	return found, true
}
