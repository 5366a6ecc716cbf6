package certs

import (
	"crypto/tls"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// recheck is how often at most the files of a source are looked at.
const recheck = time.Second

// newSource makes a source work. A path that is not there yet is taken for a
// file.
func newSource(s Source, log *slog.Logger) source {
	if info, err := os.Stat(s.Path); err == nil && info.IsDir() {
		return &folder{source: s, log: log, files: make(map[string]*file)}
	}
	return &file{source: s, log: log}
}

// file is a certificate in files. It is read when it is first asked for, and
// again when one of them has changed. What was read last, and could be used,
// stays in use until then.
type file struct {
	source Source
	log    *slog.Logger
	found  bool // nobody has checked it when it is first read

	certificate atomic.Pointer[tls.Certificate] // the last that could be used
	checked     atomic.Int64                    // when the files were looked at, in Unix nanoseconds

	mu     sync.Mutex // held while reading
	stamps []stamp
	err    error // of the last reading
}

// stamp tells one state of a file from another.
type stamp struct {
	name string
	info fs.FileInfo // nil: it is not there
}

func stampOf(name string) stamp {
	info, err := os.Stat(name)
	if err != nil {
		return stamp{name, nil}
	}
	return stamp{name, info}
}

func (s stamp) same(o stamp) bool {
	if s.name != o.name || s.info == nil || o.info == nil {
		return s.name == o.name && s.info == nil && o.info == nil
	}
	return s.info.ModTime().Equal(o.info.ModTime()) && s.info.Size() == o.info.Size() && os.SameFile(s.info, o.info)
}

// find implements source.
func (f *file) find(name string, any bool) (*tls.Certificate, error) {
	c, err := f.get()
	if err != nil || any || fits(c, name) {
		return c, err
	}
	return nil, nil
}

func fits(c *tls.Certificate, name string) bool {
	return name != "" && c.Leaf.VerifyHostname(name) == nil
}

// get returns the certificate as the files have it, or had it when they could
// last be used. One caller looks at the files while the others go on.
func (f *file) get() (*tls.Certificate, error) {
	now := time.Now().UnixNano()
	c := f.certificate.Load()
	checked := f.checked.Load()
	if c != nil && (now-checked < int64(recheck) || !f.checked.CompareAndSwap(checked, now)) {
		return c, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if c == nil && f.err != nil && now-f.checked.Load() < int64(recheck) {
		return nil, f.err // many clients, and still no certificate
	}
	f.checked.Store(now)
	f.read()
	if c = f.certificate.Load(); c != nil {
		return c, nil
	}
	return nil, f.err
}

// read reads the files if they have changed. The state they are in is taken
// before, so that a change meanwhile is seen the next time.
func (f *file) read() {
	var stamps []stamp
	for _, name := range f.source.files() {
		stamps = append(stamps, stampOf(name))
	}
	if f.stamps != nil && sameStamps(stamps, f.stamps) {
		return
	}
	first := f.stamps == nil
	f.stamps = stamps
	c, err := f.source.load()
	f.err = err
	switch {
	case err == nil:
		f.certificate.Store(c)
		if first && !f.found {
			break
		}
		f.log.Info("certificate taken over", "file", f.source.Path, "names", names(c.Leaf), "expires", c.Leaf.NotAfter)
		if err := usable(c, time.Now()); err != nil {
			f.log.Warn("clients will refuse a certificate", "file", f.source.Path, "err", err)
		}
	case f.certificate.Load() != nil:
		f.log.Error("a changed certificate cannot be used; the one before stays", "err", err)
	case !first || f.found:
		f.log.Error("a certificate cannot be used", "err", err)
	}
}

func sameStamps(a, b []stamp) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !a[i].same(b[i]) {
			return false
		}
	}
	return true
}

// usable says why clients will refuse a certificate whoever is asked for.
func usable(c *tls.Certificate, now time.Time) error {
	switch {
	case now.After(c.Leaf.NotAfter):
		return fmt.Errorf("it expired on %s", c.Leaf.NotAfter.Format(time.DateOnly))
	case now.Before(c.Leaf.NotBefore):
		return fmt.Errorf("it is valid from %s on", c.Leaf.NotBefore.Format(time.DateOnly))
	}
	return nil
}

// check implements source.
func (f *file) check(host string) error {
	c, err := f.get()
	if err != nil {
		return err
	}
	if err := usable(c, time.Now()); err != nil {
		return fmt.Errorf("%s: clients will refuse it: %w", f.source.Path, err)
	}
	if host != "" && !fits(c, host) {
		return fmt.Errorf("%s: clients will refuse it: it is for %s", f.source.Path, names(c.Leaf))
	}
	return nil
}

// folder is a folder of certificates whose files are named after hosts, as
// in IIS's Central Certificate Store: shop.example.com.pfx, and
// _.example.com.pfx for all names below example.com. PEM files are taken too:
// .pem, or .crt beside .key.
type folder struct {
	source Source
	log    *slog.Logger

	mu    sync.Mutex
	files map[string]*file // those in use, by path
}

// extensions are those of a certificate in a folder, in the order in which
// they are looked for.
var extensions = []string{".pfx", ".pem", ".crt"}

// find implements source: first by the whole name, then by the wildcard of
// the domain above it (spec 1.5).
func (d *folder) find(name string, any bool) (*tls.Certificate, error) {
	if f := d.lookup(name); f != nil && !any {
		return f.get()
	}
	return nil, nil
}

// lookup returns the file for a name, nil if there is none.
func (d *folder) lookup(name string) *file {
	if !isHostName(name) {
		return nil
	}
	if f := d.open(name); f != nil {
		return f
	}
	if _, parent, ok := strings.Cut(name, "."); ok {
		return d.open("_." + parent)
	}
	return nil
}

// open returns the file with this name and one of the extensions, nil if
// there is none.
func (d *folder) open(name string) *file {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, ext := range extensions {
		path := filepath.Join(d.source.Path, name+ext)
		if f := d.files[path]; f != nil {
			return f
		}
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			s := d.source
			s.Path = path
			d.files[path] = &file{source: s, log: d.log, found: true}
			return d.files[path]
		}
	}
	return nil
}

// isHostName reports whether a name that came over the network can be the name
// of a file here.
func isHostName(name string) bool {
	if name == "" || len(name) > 253 || name[0] == '.' || name[0] == '_' {
		return false
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return !strings.Contains(name, "..")
}

// check implements source.
func (d *folder) check(host string) error {
	if _, err := os.ReadDir(d.source.Path); err != nil {
		return err
	}
	if host == "" {
		return nil
	}
	if f := d.lookup(host); f != nil {
		return f.check(host)
	}
	_, parent, _ := strings.Cut(host, ".")
	return fmt.Errorf("%s: there is no %s.pfx, .pem or .crt in it, nor _.%s", d.source.Path, host, parent)
}
