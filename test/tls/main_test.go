// Package tls is about https: who is shown which certificate, what is refused
// in a handshake, and whether what works without TLS works with it, for the
// clients that people use. It is a suite against the built binary; nothing
// imports it.
package tls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/perchserver/perch/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// authority vouches for the certificates of a test.
type authority struct {
	t    testing.TB
	dir  string
	root *x509.Certificate
	key  *ecdsa.PrivateKey
	path string // of its certificate
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.root = &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.root.Subject.CommonName = "test authority"
	der, key := a.sign(a.root)
	a.root, a.key = parse(t, der), key
	a.path = a.write("authority.pem", "CERTIFICATE", der)
	return a
}

func parse(t testing.TB, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (a *authority) sign(set *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	by := a.key
	if by == nil {
		by = key
	}
	der, err := x509.CreateCertificate(rand.Reader, set, a.root, key.Public(), by)
	if err != nil {
		a.t.Fatal(err)
	}
	return der, key
}

// issue returns a certificate for names.
func (a *authority) issue(change func(*x509.Certificate), names ...string) ([]byte, *ecdsa.PrivateKey) {
	a.t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		a.t.Fatal(err)
	}
	set := &x509.Certificate{SerialNumber: serial, DNSNames: names, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	set.Subject.CommonName = fmt.Sprint(names)
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			set.IPAddresses = append(set.IPAddresses, ip)
		}
	}
	if change != nil {
		change(set)
	}
	return a.sign(set)
}

// file writes a certificate for names with its key, in one step, and returns
// the path.
func (a *authority) file(name string, names ...string) string {
	a.t.Helper()
	der, key := a.issue(nil, names...)
	return a.pair(name, der, key)
}

func (a *authority) pair(name string, der []byte, key *ecdsa.PrivateKey) string {
	a.t.Helper()
	certificate, private := encoded(a.t, der, key)
	return a.put(name, append(certificate, private...))
}

// encoded returns a certificate and its key in PEM form.
func encoded(t testing.TB, der []byte, key *ecdsa.PrivateKey) (certificate, private []byte) {
	t.Helper()
	text, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text})
}

// pfx is file for a PFX file.
func (a *authority) pfx(name, password string, names ...string) string {
	a.t.Helper()
	pair := a.file(name+".pair", names...)
	fresh := filepath.Join(a.dir, name+".fresh")
	if out, err := run(a.t, "openssl", nil, "pkcs12", "-export", "-in", pair, "-inkey", pair, "-out", fresh, "-passout", "pass:"+password); err != nil {
		a.t.Fatalf("%v: %s", err, out)
	}
	path := filepath.Join(a.dir, name)
	if err := os.Rename(fresh, path); err != nil {
		a.t.Fatal(err)
	}
	return path
}

func (a *authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	return a.put(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func (a *authority) put(name string, data []byte) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	if err := errors.Join(os.WriteFile(path+".new", data, 0o600), os.Rename(path+".new", path)); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// pool holds the authority.
func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.root)
	return pool
}

// shake does a handshake with a host and returns what was agreed.
func shake(addr string, set *tls.Config) (tls.ConnectionState, error) {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: harness.Limit}, "tcp", addr, set)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer c.Close()
	return c.ConnectionState(), nil
}

// files writes a folder of files to be served.
func files(t testing.TB, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "index.html"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// free returns a port of 127.0.0.1 for a host to listen on. It stays bound here
// until the test ends, so that the system gives it to nobody else; since that
// does not listen, the host may.
func free(t testing.TB) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	err = errors.Join(
		syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1),
		syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	at, nameErr := syscall.Getsockname(fd)
	if err := errors.Join(err, nameErr); err != nil {
		t.Fatal(err)
	}
	return at.(*syscall.SockaddrInet4).Port
}
