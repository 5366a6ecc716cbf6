package static

import (
	"fmt"
	"strings"
)

// mimeMap finds the media type of a file name. Keys are extensions in lower
// case with their dot, "." for a name without one and ".*" for any.
type mimeMap struct {
	own     map[string][]byte // nil value: removed
	shipped map[string][]byte
}

// maxExtension is the length of the longest extension that can be looked up.
const maxExtension = 32

func newMIMEMap(types []Type, ownOnly bool) (mimeMap, error) {
	m := mimeMap{own: make(map[string][]byte, len(types))}
	if !ownOnly {
		m.shipped = shippedTypes
	}
	for _, t := range types {
		if !strings.HasPrefix(t.Extension, ".") || len(t.Extension) > maxExtension {
			return m, fmt.Errorf("serve files: %q is not a file name extension", t.Extension)
		}
		var mime []byte
		if t.MIME != "" {
			mime = []byte(t.MIME)
		}
		m.own[strings.ToLower(t.Extension)] = mime
	}
	return m, nil
}

// shippedTypes is defaultTypes by extension. Never written.
var shippedTypes = func() map[string][]byte {
	m := make(map[string][]byte)
	for _, t := range defaultTypes {
		mime := []byte(t.mime)
		for ext := range strings.FieldsSeq(t.extensions) {
			m["."+strings.ToLower(ext)] = mime
		}
	}
	return m
}()

// lookup returns the media type of a file, nil if it has none and must not be
// served. Of a name with several dots, the longest extension with an entry
// counts.
func (m *mimeMap) lookup(name string) []byte {
	dotted := false
	for i := 0; i < len(name); i++ {
		if name[i] != '.' {
			continue
		}
		dotted = true
		if mime, ok := m.get(name[i:]); ok {
			return mime
		}
	}
	if !dotted {
		if mime, ok := m.get("."); ok {
			return mime
		}
	}
	mime, _ := m.get(".*")
	return mime
}

func (m *mimeMap) get(ext string) (mime []byte, ok bool) {
	var buf [maxExtension]byte
	if len(ext) > len(buf) {
		return nil, false
	}
	for i := range len(ext) {
		c := ext[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		buf[i] = c
	}
	key := buf[:len(ext)]
	if mime, ok := m.own[string(key)]; ok {
		return mime, true
	}
	mime, ok = m.shipped[string(key)]
	return mime, ok
}
