package devca

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func open(tb testing.TB, dir string) *Authority {
	tb.Helper()
	a, err := Open(dir)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// verify checks a certificate as a client does that trusts the authority.
func verify(a *Authority, c *tls.Certificate, name string) error {
	roots := x509.NewCertPool()
	roots.AddCert(a.root)
	_, err := c.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name})
	return err
}

// An authority is made once, kept, and its key is its owner's alone.
func TestOpen(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "perch")
	a := open(t, dir)
	b := open(t, dir)
	if !a.New || b.New || !a.root.Equal(b.root) || a.Path != Find(dir) {
		t.Errorf("new %v, then %v, the same %v", a.New, b.New, a.root.Equal(b.root))
	}
	c, err := a.Issue("localhost")
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(b, c, "localhost"); err != nil {
		t.Error(err)
	}
	if runtime.GOOS == "windows" {
		return // where the profile's access list keeps others out
	}
	for path, want := range map[string]os.FileMode{keyFile: 0o600, certificateFile: 0o644} {
		info, err := os.Stat(filepath.Join(dir, path))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}

// Any number of processes may be the first.
func TestOpenAtOnce(t *testing.T) {
	t.Parallel()
	for range 20 {
		dir := t.TempDir()
		all := make([]*Authority, 8)
		var opening sync.WaitGroup
		for i := range all {
			opening.Go(func() { all[i] = open(t, dir) })
		}
		opening.Wait()
		last := open(t, dir)
		for _, a := range all {
			c, err := a.Issue("localhost")
			if err != nil {
				t.Fatal(err)
			}
			if err := verify(last, c, "localhost"); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// What is there and cannot be used is not written over.
func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(dir string) error{
		"noise": func(dir string) error { return os.WriteFile(Find(dir), []byte("noise"), 0o600) },
		"another key": func(dir string) error {
			return os.Rename(filepath.Join(filepath.Dir(dir), "other", keyFile), filepath.Join(dir, keyFile))
		},
		"no authority": func(dir string) error {
			c, err := open(t, dir).Issue("localhost")
			if err != nil {
				return err
			}
			der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey.(*ecdsa.PrivateKey))
			if err != nil {
				return err
			}
			os.Remove(filepath.Join(dir, keyFile))
			if err := write(filepath.Join(dir, keyFile), "PRIVATE KEY", der, 0o600, os.Rename); err != nil {
				return err
			}
			return write(Find(dir), "CERTIFICATE", c.Certificate[0], 0o600, os.Rename)
		},
	} {
		base := t.TempDir()
		dir := filepath.Join(base, "a")
		open(t, dir)
		open(t, filepath.Join(base, "other"))
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		before, err := os.ReadFile(Find(dir))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); err == nil || !strings.HasPrefix(err.Error(), "development certificate: ") {
			t.Errorf("%s: %v", name, err)
		}
		if after, _ := os.ReadFile(Find(dir)); string(after) != string(before) {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

// Certificates are for localhost, what is below it and the loopback addresses;
// each name gets one, which is used again.
func TestIssue(t *testing.T) {
	t.Parallel()
	a := open(t, t.TempDir())
	for _, name := range []string{"", "localhost", "shop.localhost", "a.b.localhost", "evil.test", "notlocalhost"} {
		c, err := a.Issue(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, host := range []string{"localhost", "127.0.0.1", "::1"} {
			if err := verify(a, c, host); err != nil {
				t.Errorf("issued for %q: %v", name, err)
			}
		}
		if name == "" {
			continue
		}
		if err := verify(a, c, name); (err == nil) != Covers(name) {
			t.Errorf("%q: %v", name, err)
		}
		if again, _ := a.Issue(name); again != c {
			t.Errorf("%q: another one the second time", name)
		}
	}
	for i := range 2 * mostNames {
		if _, err := a.Issue(fmt.Sprint("n", i, ".localhost")); err != nil {
			t.Fatal(err)
		}
	}
	if len(a.issued) > mostNames {
		t.Errorf("%d certificates are kept", len(a.issued))
	}
}

// Whoever steals the key can do no harm outside of the machine: clients refuse
// whatever it signs for other names and addresses.
func TestConstraints(t *testing.T) {
	t.Parallel()
	a := open(t, t.TempDir())
	key, err := ownKey(filepath.Join(filepath.Dir(a.Path), keyFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range []x509.Certificate{
		{DNSNames: []string{"example.com"}},
		{DNSNames: []string{"localhost", "example.com"}},
		{DNSNames: []string{"localhost.example.com"}},
		{IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}},
		{IPAddresses: []net.IP{net.ParseIP("2001:db8::1")}},
		{DNSNames: []string{"localhost"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}},
	} {
		set.SerialNumber, set.NotAfter = serial(), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(nil, &set, a.root, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AddCert(a.root)
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: set.ExtKeyUsage}); err == nil {
			t.Errorf("trusted for %v %v %v", set.DNSNames, set.IPAddresses, set.ExtKeyUsage)
		}
	}
}

func TestFolder(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	for want, environ := range map[string]map[string]string{
		filepath.Join(home, "perch"):                    {"XDG_DATA_HOME": home, "HOME": "/no"},
		filepath.Join(home, ".local", "share", "perch"): {"HOME": home, "XDG_DATA_HOME": "relative"},
		filepath.Join(home, "Perch"):                    {"LOCALAPPDATA": home},
		"":                                              {"HOME": "relative"},
	} {
		got, err := Folder(func(name string) string { return environ[name] })
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%v: %q, %v, want %q", environ, got, err, want)
		}
	}
}
