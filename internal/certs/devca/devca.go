// Package devca is the authority behind the certificates of a developer's
// machine, so that https://localhost just works: it is made once and kept for
// the user, its key readable by the owner alone, and it can vouch for nothing
// but localhost, names below it, and loopback addresses, whoever gets hold of
// the key.
//
// daemon issues certificates with it, cli shows it to the stores of the
// system (internal/certs/trust).
package devca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// The names of the files in the authority's folder.
const (
	certificateFile = "development-ca.pem"
	keyFile         = "development-ca-key.pem"
)

const (
	authorityTime = 10 * 365 * 24 * time.Hour
	leafTime      = 90 * 24 * time.Hour
	renewBefore   = 30 * 24 * time.Hour
	backdate      = time.Hour // clocks of containers and virtual machines differ

	// mostNames is for how many names certificates are kept. Whoever asks for
	// more makes work, and no memory.
	mostNames = 100
)

// Folder returns where the authority of a user is kept, given the environment
// variables.
func Folder(getenv func(string) string) (string, error) {
	if dir := getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "perch"), nil
	}
	if dir := getenv("LOCALAPPDATA"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "Perch"), nil
	}
	home := getenv("HOME")
	if !filepath.IsAbs(home) {
		return "", errors.New("neither HOME nor XDG_DATA_HOME says where to keep the development certificate")
	}
	return filepath.Join(home, ".local", "share", "perch"), nil
}

// Authority signs certificates.
type Authority struct {
	Path string // of its certificate, as a PEM file
	New  bool   // it was made just now

	root *x509.Certificate
	key  crypto.Signer

	mu     sync.Mutex
	leaf   *ecdsa.PrivateKey // of all certificates; made when one is first asked for
	issued map[string]*tls.Certificate
}

// Open returns the authority that is kept in a folder. If there is none, or
// its time is nearly over, a new one is made and kept.
func Open(folder string) (*Authority, error) {
	a, err := read(folder)
	if err == nil && time.Now().Add(renewBefore+leafTime).Before(a.root.NotAfter) {
		return a, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("development certificate: %w", err)
	}
	if err := create(folder); err != nil {
		return nil, fmt.Errorf("make a development certificate: %w", err)
	}
	if a, err = read(folder); err != nil {
		return nil, fmt.Errorf("development certificate: %w", err)
	}
	a.New = true
	return a, nil
}

// Find returns the path of the authority's certificate in a folder, whether
// it is there or not.
func Find(folder string) string { return filepath.Join(folder, certificateFile) }

func read(folder string) (*Authority, error) {
	path := Find(folder)
	pair, err := tls.LoadX509KeyPair(path, filepath.Join(folder, keyFile))
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !pair.Leaf.IsCA {
		return nil, fmt.Errorf("%s is not that of an authority: move it away, and a new one is made", path)
	}
	return &Authority{Path: path, root: pair.Leaf, key: key, issued: make(map[string]*tls.Certificate)}, nil
}

// create makes an authority. Of two processes that do so at the same time,
// both use the key of the first, so that whichever certificate is kept, it is
// right for both.
func create(folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	key, err := ownKey(filepath.Join(folder, keyFile))
	if err != nil {
		return err
	}
	set := template()
	der, err := x509.CreateCertificate(rand.Reader, set, set, key.Public(), key)
	if err != nil {
		return err
	}
	return write(Find(folder), "CERTIFICATE", der, 0o644, os.Rename)
}

// ownKey returns the key in a file, which is made if it is not there.
func ownKey(path string) (crypto.Signer, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		err = write(path, "PRIVATE KEY", der, 0o600, os.Link)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s is no PEM file: move it away, and a new one is made", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s: a key of type %T cannot sign", path, key)
	}
	return signer, nil
}

// template is the certificate of a new authority. The constraints are
// critical: a client that does not know them must not trust it at all.
func template() *x509.Certificate {
	now := time.Now()
	owner := "this user"
	if host, err := os.Hostname(); err == nil {
		owner = host
	}
	return &x509.Certificate{
		SerialNumber:                serial(),
		Subject:                     pkix.Name{Organization: []string{"Perch development certificate"}, CommonName: "Perch development authority of " + owner},
		NotBefore:                   now.Add(-backdate),
		NotAfter:                    now.Add(authorityTime),
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage:                 []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid:       true,
		IsCA:                        true,
		MaxPathLenZero:              true,
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         []string{"localhost"},
		PermittedIPRanges:           loopback(),
	}
}

// loopback is what RFC 1122 section 3.2.1.3 and RFC 4291 section 2.5.3 keep
// inside a machine.
func loopback() []*net.IPNet {
	return []*net.IPNet{
		{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)},
		{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)},
	}
}

func serial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b)
	return new(big.Int).SetBytes(b)
}

// write puts a whole PEM file in place.
func write(path, kind string, der []byte, mode fs.FileMode, place func(from, to string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".perch-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = errors.Join(f.Chmod(mode), pem.Encode(f, &pem.Block{Type: kind, Bytes: der}), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return place(f.Name(), path)
}

// Covers reports whether the authority can vouch for a host: localhost, a
// name below it.
func Covers(host string) bool {
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// Issue returns a certificate for localhost and the loopback addresses, and
// for name if it is one below localhost. It may be used by any number of
// goroutines.
func (a *Authority) Issue(name string) (*tls.Certificate, error) {
	if !Covers(name) {
		name = "localhost"
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.issued[name]; c != nil && time.Now().Add(renewBefore).Before(c.Leaf.NotAfter) {
		return c, nil
	}
	c, err := a.sign(name)
	if err != nil {
		return nil, fmt.Errorf("issue a development certificate for %s: %w", name, err)
	}
	if len(a.issued) < mostNames {
		a.issued[name] = c
	}
	return c, nil
}

func (a *Authority) sign(name string) (*tls.Certificate, error) {
	if a.leaf == nil {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		a.leaf = key
	}
	now := time.Now()
	names := []string{"localhost"}
	if name != "localhost" {
		names = append(names, name)
	}
	set := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{Organization: []string{"Perch development certificate"}},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(leafTime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     names,
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, set, a.root, a.leaf.Public(), a.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.leaf, Leaf: leaf}, nil
}
