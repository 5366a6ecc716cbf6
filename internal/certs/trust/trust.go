// Package trust puts the certificate of the development authority into the
// stores in which the programs of a machine look for whom to trust, and takes
// it out again, as mkcert and `dotnet dev-certs https --trust` do. It calls the
// system's own tools.
//
// internal/cli imports it; the authority is in internal/certs/devca.
package trust

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// System is the machine. The zero value is none: see Machine.
type System struct {
	Root   string                    // of the file system, "/"
	Home   string                    // of the user, absolute or empty
	May    bool                      // the user may change the stores of the system
	Look   func(program string) bool // whether a program is there
	Run    func(program string, args ...string) error
	Getenv func(name string) string
}

// Machine is the one that this runs on.
func Machine(getenv func(string) string) System {
	return System{Root: "/", Home: getenv("HOME"), May: os.Geteuid() <= 0, Getenv: getenv,
		Look: func(program string) bool { _, err := exec.LookPath(program); return err == nil },
		Run:  run,
	}
}

// run runs a tool to its end, which must be soon. What it says is part of the
// error.
func run(program string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// store is one place in which programs look for whom to trust.
type store struct {
	name   string      // what it is, with its place
	has    func() bool // nil: nobody can tell
	add    func() error
	remove func() error
}

// ByHand is what a user has to do who may not change a store.
type ByHand struct {
	Store   string
	Command string
}

func (e *ByHand) Error() string {
	return e.Store + " belongs to the system, and this user may not change it"
}

// certificate is what is to be trusted.
type certificate struct {
	path string
	der  []byte
	name string // its own in stores: of two users of a machine, each has one
}

func read(path string) (*certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s is no certificate", path)
	}
	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	sum := sha256.Sum256(block.Bytes)
	return &certificate{path, block.Bytes, "perch-development-" + hex.EncodeToString(sum[:4])}, nil
}

// Add lets all stores trust the certificate in a PEM file and returns their
// names. One that cannot be changed does not keep the others: the error joins
// what went wrong, *ByHand among it.
func (s System) Add(path string) (done []string, err error) {
	return s.each(path, func(store) bool { return true }, func(st store) error { return st.add() })
}

// Remove takes it out of the stores that have it, and returns their names.
func (s System) Remove(path string) (done []string, err error) {
	return s.each(path, func(st store) bool { return st.has == nil || st.has() }, func(st store) error { return st.remove() })
}

func (s System) each(path string, concerned func(store) bool, do func(store) error) (done []string, err error) {
	c, err := read(path)
	if err != nil {
		return nil, err
	}
	stores, errs := s.stores(c)
	for _, st := range stores {
		if !concerned(st) {
			continue
		}
		if err := do(st); err != nil {
			errs = append(errs, err)
		} else {
			done = append(done, st.name)
		}
	}
	return done, errors.Join(errs...)
}

// anchors are folders of certificates that the system trusts, each with the
// tool that makes it look there again.
var anchors = []struct {
	dir, ext string
	tool     []string
}{
	{"usr/local/share/ca-certificates", ".crt", []string{"update-ca-certificates"}},           // Debian, Alpine
	{"etc/pki/ca-trust/source/anchors", ".pem", []string{"update-ca-trust", "extract"}},       // Fedora, RHEL
	{"etc/ca-certificates/trust-source/anchors", ".crt", []string{"trust", "extract-compat"}}, // Arch
	{"usr/share/pki/trust/anchors", ".pem", []string{"update-ca-certificates"}},               // SUSE
}

// anchor returns the store of the system as a folder, nil if it has none.
func (s System) anchor(c *certificate) *store {
	for _, a := range anchors {
		dir := filepath.Join(s.Root, a.dir)
		if info, err := os.Stat(dir); err != nil || !info.IsDir() || !s.Look(a.tool[0]) {
			continue
		}
		path := filepath.Join(dir, c.name+a.ext)
		refresh := func() error { return s.Run(a.tool[0], a.tool[1:]...) }
		tool := strings.Join(a.tool, " ")
		return &store{
			name: "the system: " + path,
			has: func() bool {
				_, err := os.Stat(path)
				return !errors.Is(err, os.ErrNotExist)
			},
			add: func() error {
				if !s.May {
					return &ByHand{"the folder " + dir, "sudo install -m 644 '" + c.path + "' '" + path + "' && sudo " + tool}
				}
				text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.der})
				if err := os.WriteFile(path, text, 0o644); err != nil {
					return err
				}
				return refresh()
			},
			remove: func() error {
				if !s.May {
					return &ByHand{"the folder " + dir, "sudo rm '" + path + "' && sudo " + tool}
				}
				if err := os.Remove(path); err != nil {
					return err
				}
				return refresh()
			},
		}
	}
	return nil
}

// nss returns the databases of Firefox and Chromium, which look nowhere else.
func (s System) nss(c *certificate) (all []store, err error) {
	if s.Home == "" {
		return nil, nil
	}
	var dirs []string
	for _, pattern := range []string{".pki/nssdb", "snap/chromium/current/.pki/nssdb", ".mozilla/firefox/*",
		"snap/firefox/common/.mozilla/firefox/*", "Library/Application Support/Firefox/Profiles/*"} {
		found, _ := filepath.Glob(filepath.Join(s.Home, pattern, "cert9.db"))
		for _, f := range found {
			dirs = append(dirs, filepath.Dir(f))
		}
	}
	if len(dirs) > 0 && !s.Look("certutil") {
		return nil, fmt.Errorf("browsers trust what is in %s, which needs certutil: install libnss3-tools (Debian) or nss-tools (Fedora), and try again", dirs[0])
	}
	for _, dir := range dirs {
		db := "sql:" + dir
		all = append(all, store{
			name:   "browsers: " + dir,
			has:    func() bool { return s.Run("certutil", "-L", "-d", db, "-n", c.name) == nil },
			add:    func() error { return s.Run("certutil", "-A", "-d", db, "-t", "C,,", "-n", c.name, "-i", c.path) },
			remove: func() error { return s.Run("certutil", "-D", "-d", db, "-n", c.name) },
		})
	}
	return all, nil
}
