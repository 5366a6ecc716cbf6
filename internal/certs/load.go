package certs

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"software.sslmate.com/src/go-pkcs12"
)

// Source says where certificates are.
type Source struct {
	// Path is a file in PEM form with the certificate and those of its
	// issuers, a PFX file, or a folder with one such file for each host.
	Path string

	// Key is the PEM file of the private key. Empty: it is in Path, or beside
	// it under the same name with the extension .key.
	Key string

	// Password opens PFX files. PasswordFile holds it instead, and is read
	// whenever a certificate is; an end of line behind it does not count.
	Password     string
	PasswordFile string
}

// files returns the files that the certificate of a source depends on, in the
// order in which they are read.
func (s *Source) files() []string {
	all := []string{s.Path}
	if s.Key != "" {
		all = append(all, s.Key)
	} else if beside := s.beside(); beside != "" {
		all = append(all, beside)
	}
	if s.PasswordFile != "" {
		all = append(all, s.PasswordFile)
	}
	return all
}

// beside is the key file next to Path, "" if there is none.
func (s *Source) beside() string {
	name := strings.TrimSuffix(s.Path, filepath.Ext(s.Path)) + ".key"
	if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() || name == s.Path {
		return ""
	}
	return name
}

// Try looks whether the source can be used as it is now. Of a folder it reads
// no more than the list of its files. Errors name the file.
func (s Source) Try() error {
	if s.PasswordFile != "" {
		if _, err := os.Stat(s.PasswordFile); err != nil {
			return fmt.Errorf("password of %s: %w", s.Path, err)
		}
	}
	info, err := os.Stat(s.Path)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		_, err = os.ReadDir(s.Path)
	default:
		_, err = s.load()
	}
	return err
}

// load reads the certificate of a source that is a file. Errors name the file.
func (s *Source) load() (*tls.Certificate, error) {
	data, err := os.ReadFile(s.Path)
	if err != nil {
		return nil, err
	}
	if !bytes.Contains(data, []byte("-----BEGIN ")) {
		return s.loadPFX(data)
	}
	chain, key, err := parsePEM(s.Path, data)
	if err != nil {
		return nil, err
	}
	keyFile := s.Path
	if key == nil || s.Key != "" {
		if keyFile = s.Key; keyFile == "" {
			if keyFile = s.beside(); keyFile == "" {
				return nil, fmt.Errorf("%s: there is no private key in it: name the file of the key, or put both into one", s.Path)
			}
		}
		if data, err = os.ReadFile(keyFile); err != nil {
			return nil, err
		}
		if _, key, err = parsePEM(keyFile, data); err != nil {
			return nil, err
		}
		if key == nil {
			return nil, fmt.Errorf("%s: there is no private key in it", keyFile)
		}
	}
	return join(s.Path, chain, keyFile, key)
}

// parsePEM returns what is of use in a PEM file; key is nil if there is none.
func parsePEM(name string, data []byte) (chain []*x509.Certificate, key crypto.Signer, err error) {
	for len(data) > 0 {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		switch {
		case block.Type == "CERTIFICATE":
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: certificate %d cannot be read: %w", name, len(chain)+1, err)
			}
			chain = append(chain, c)
		case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
			return nil, nil, fmt.Errorf("%s: the private key is encrypted, which is read from PFX files only: decrypt it, or make a PFX file of it", name)
		case strings.HasSuffix(block.Type, "PRIVATE KEY") && key == nil:
			if key, err = parseKey(block.Bytes); err != nil {
				return nil, nil, fmt.Errorf("%s: the private key cannot be read: %w", name, err)
			}
		}
	}
	return chain, key, nil
}

// parseKey reads a private key in any of the forms that are in use.
func parseKey(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		if rsa, e := x509.ParsePKCS1PrivateKey(der); e == nil {
			key, err = rsa, nil
		} else if ec, e := x509.ParseECPrivateKey(der); e == nil {
			key, err = ec, nil
		}
	}
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a key of type %T cannot sign", key)
	}
	return signer, nil
}

// ErrNoPassword is about a PFX file that takes a password, where none is named.
var ErrNoPassword = errors.New("it is locked with a password, and none was given")

func (s *Source) loadPFX(data []byte) (*tls.Certificate, error) {
	password := s.Password
	if s.PasswordFile != "" {
		text, err := os.ReadFile(s.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("password of %s: %w", s.Path, err)
		}
		password = strings.TrimRight(string(text), "\r\n")
	}
	key, leaf, issuers, err := pkcs12.DecodeChain(data, password)
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword) && password == "":
		return nil, fmt.Errorf("%s: %w", s.Path, ErrNoPassword)
	case errors.Is(err, pkcs12.ErrIncorrectPassword):
		return nil, fmt.Errorf("%s: the password is wrong", s.Path)
	case err != nil:
		return nil, fmt.Errorf("%s: it is neither a PEM nor a PFX file with one certificate and its key: %w", s.Path, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s: a key of type %T cannot sign", s.Path, key)
	}
	return join(s.Path, append([]*x509.Certificate{leaf}, issuers...), s.Path, signer)
}

// join makes a certificate of a chain and the key that belongs to one of it,
// which is shown first.
func join(file string, chain []*x509.Certificate, keyFile string, key crypto.Signer) (*tls.Certificate, error) {
	if len(chain) == 0 {
		return nil, fmt.Errorf("%s: there is no certificate in it", file)
	}
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok {
		return nil, fmt.Errorf("%s: keys of type %T are not known", keyFile, key)
	}
	c := &tls.Certificate{PrivateKey: key}
	for _, link := range chain {
		if c.Leaf == nil && public.Equal(link.PublicKey) {
			c.Leaf = link
			c.Certificate = append([][]byte{link.Raw}, c.Certificate...)
			continue
		}
		c.Certificate = append(c.Certificate, link.Raw)
	}
	switch {
	case c.Leaf == nil && file == keyFile:
		return nil, fmt.Errorf("%s: the private key does not belong to the certificate", file)
	case c.Leaf == nil:
		return nil, fmt.Errorf("%s: the private key does not belong to the certificate in %s", keyFile, file)
	}
	return c, nil
}
