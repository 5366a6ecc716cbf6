//go:build !windows && !darwin

package trust

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/perchserver/perch/internal/certs/devca"
)

// machine is a made-up one, with the tools given.
type machine struct {
	System
	ran   []string
	fails string // program that ends with an error
}

func newMachine(t *testing.T, may bool, tools ...string) *machine {
	t.Helper()
	m := &machine{}
	m.System = System{Root: t.TempDir(), Home: t.TempDir(), May: may,
		Look: func(program string) bool { return slices.Contains(tools, program) },
		Run: func(program string, args ...string) error {
			m.ran = append(m.ran, program+" "+strings.Join(args, " "))
			if program == m.fails {
				return errors.New(program + " does not work")
			}
			return nil
		}}
	return m
}

func (m *machine) folder(t *testing.T, under string, names ...string) string {
	t.Helper()
	dir := filepath.Join(append([]string{under}, names...)...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func authority(t *testing.T) string {
	t.Helper()
	a, err := devca.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return a.Path
}

// Every kind of system has a folder and a tool. What was added is taken out
// again.
func TestSystemStores(t *testing.T) {
	t.Parallel()
	path := authority(t)
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range anchors {
		m := newMachine(t, true, a.tool[0])
		dir := m.folder(t, m.Root, a.dir)
		done, err := m.Add(path)
		files, _ := filepath.Glob(filepath.Join(dir, "perch-development-*"+a.ext))
		if err != nil || len(files) != 1 || !slices.Equal(done, []string{"the system: " + files[0]}) ||
			!slices.Equal(m.ran, []string{strings.Join(append(slices.Clone(a.tool[:1]), strings.Join(a.tool[1:], " ")), " ")}) {
			t.Errorf("%s: %q, %v, ran %q, wrote %q", a.dir, done, err, m.ran, files)
			continue
		}
		if got, _ := os.ReadFile(files[0]); string(got) != string(want) {
			t.Errorf("%s holds %q", files[0], got)
		}
		if _, err := m.Remove(path); err != nil || len(m.ran) != 2 {
			t.Errorf("%s: %v, ran %q", a.dir, err, m.ran)
		}
		if _, err := os.Stat(files[0]); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there", files[0])
		}
	}
}

// Who may not change the system is told what to run, and changes nothing.
func TestByHand(t *testing.T) {
	t.Parallel()
	path := authority(t)
	m := newMachine(t, false, "update-ca-certificates")
	dir := m.folder(t, m.Root, "usr/local/share/ca-certificates")
	_, err := m.Add(path)
	var byHand *ByHand
	if !errors.As(err, &byHand) || len(m.ran) != 0 {
		t.Fatalf("%v, ran %q", err, m.ran)
	}
	want := fmt.Sprintf("sudo install -m 644 '%s' '%s/perch-development-", path, dir)
	if !strings.HasPrefix(byHand.Command, want) || !strings.HasSuffix(byHand.Command, "' && sudo update-ca-certificates") {
		t.Errorf("%s, want %s...", byHand.Command, want)
	}
	if _, err := m.Remove(path); err != nil {
		t.Errorf("nothing to remove, and %v", err)
	}
}

// Only stores that had the certificate are told, and where there is none,
// nothing is wrong.
func TestRemoveWhatIsNotThere(t *testing.T) {
	t.Parallel()
	path := authority(t)
	m := newMachine(t, false)
	if done, err := m.Remove(path); len(done) != 0 || err != nil {
		t.Errorf("no store: %q, %v", done, err)
	}
	m = newMachine(t, false, "update-ca-certificates", "certutil")
	m.folder(t, m.Root, "usr/local/share/ca-certificates")
	if err := os.WriteFile(filepath.Join(m.folder(t, m.Home, ".pki/nssdb"), "cert9.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m.fails = "certutil" // which is what it does when there is no such certificate
	if done, err := m.Remove(path); len(done) != 0 || err != nil {
		t.Errorf("stores without it: %q, %v", done, err)
	}
	m.fails = ""
	if done, err := m.Remove(path); len(done) != 1 || err != nil {
		t.Errorf("a browser with it: %q, %v", done, err)
	}
}

// Browsers have databases of their own; one store that fails does not keep
// the others.
func TestBrowsers(t *testing.T) {
	t.Parallel()
	path := authority(t)
	m := newMachine(t, true, "certutil", "update-ca-certificates")
	m.folder(t, m.Root, "usr/local/share/ca-certificates")
	for _, dir := range []string{".pki/nssdb", ".mozilla/firefox/a.default"} {
		if err := os.WriteFile(filepath.Join(m.folder(t, m.Home, dir), "cert9.db"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m.fails = "update-ca-certificates"
	done, err := m.Add(path)
	if len(done) != 2 || err == nil || !strings.Contains(err.Error(), "update-ca-certificates does not work") {
		t.Errorf("%q, %v", done, err)
	}
	if !strings.Contains(strings.Join(m.ran, "\n"), "certutil -A -d sql:"+filepath.Join(m.Home, ".pki/nssdb")+" -t C,, -n perch-development-") {
		t.Errorf("ran %q", m.ran)
	}
	m.Look = func(program string) bool { return program != "certutil" }
	m.fails = ""
	if done, err := m.Add(path); len(done) != 1 || err == nil || !strings.Contains(err.Error(), "install libnss3-tools") {
		t.Errorf("without certutil: %q, %v", done, err)
	}
}

func TestNoStore(t *testing.T) {
	t.Parallel()
	m := newMachine(t, true)
	if done, err := m.Add(authority(t)); len(done) != 0 || err == nil || !strings.Contains(err.Error(), "no store of this system is known") {
		t.Errorf("%q, %v", done, err)
	}
	noise := filepath.Join(t.TempDir(), "noise")
	if err := os.WriteFile(noise, []byte("noise"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{noise, noise + ".no"} {
		if _, err := m.Add(path); err == nil {
			t.Errorf("%s was added", path)
		}
	}
}
