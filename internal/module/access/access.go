// Package access is the module that keeps requests out which do not come over
// TLS, or without a certificate of the client, as the section access of
// system.webServer/security asks for (spec iis-front 4.11).
//
// internal/plan puts it into the chain of a node.
package access

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"

	"github.com/perchserver/perch/internal/exchange"
)

// Settings of one node. The zero value lets everybody in.
type Settings struct {
	TLS       bool // the request has to come over TLS
	Negotiate bool // a client certificate that is shown has to be good
	Require   bool // there has to be one; implies Negotiate

	// Authorities are those that the bindings of the site have clients verified
	// by, as in exchange.Conn.
	Authorities []string
}

// Module returns the module, nil if it has nothing to do.
func Module(set Settings) exchange.Module {
	if !set.TLS && !set.Negotiate && !set.Require {
		return nil
	}
	return func(next exchange.Handler) exchange.Handler {
		return exchange.HandlerFunc(func(x *exchange.Exchange) error {
			if err := set.judge(x); err != nil {
				return err
			}
			return next.Serve(x)
		})
	}
}

// Explain returns the refusal of a request that comes over TLS or not, by a
// handshake that asked for certificates of those authorities (empty: for none),
// from a client that shows a good one where it is asked.
func (set Settings) Explain(secure bool, authorities string) error {
	x := exchange.Exchange{Conn: &exchange.Conn{Authorities: authorities}}
	if secure {
		good := []*x509.Certificate{{}}
		x.Conn.TLS = &tls.ConnectionState{PeerCertificates: good, VerifiedChains: [][]*x509.Certificate{good}}
	}
	return set.judge(&x)
}

// judge returns the refusal of a request, nil if there is none.
func (set *Settings) judge(x *exchange.Exchange) error {
	s := x.Conn.TLS
	switch {
	case s == nil && set.TLS:
		return errClear
	case !set.Negotiate && !set.Require:
		return nil
	case s == nil && set.Require:
		return errNoCertificate
	case s == nil:
		return nil
	case !slices.Contains(set.Authorities, x.Conn.Authorities):
		return errMisdirected
	case len(s.PeerCertificates) == 0 && set.Require:
		return errNoCertificate
	case len(s.PeerCertificates) == 0 || len(s.VerifiedChains) > 0:
		return nil
	}
	if c := s.PeerCertificates[0]; x.Begin.After(c.NotAfter) || x.Begin.Before(c.NotBefore) {
		return errNotValidNow
	}
	return errUntrusted
}

// The refusals. Never written.
var (
	errClear = forbidden(4, "This page is reached over https alone", "the request did not come over TLS",
		"ask over https; or, to let http in, take Ssl out of sslFlags of the section system.webServer/security/access: `perch explain URL` tells where it is set")
	errNoCertificate = forbidden(7, "This page asks for a client certificate", "the client has shown no certificate",
		"give the client a certificate that is vouched for; or, to let others in, write SslNegotiateCert in place of SslRequireCert in sslFlags of the section system.webServer/security/access")
	errUntrusted   = forbidden(16, "The client certificate is not trusted", "nobody who is trusted vouches for the client's certificate")
	errNotValidNow = forbidden(17, "The client certificate has expired or is not yet valid", "the client's certificate is not valid now")

	// A client must not get into a site by a handshake with another, whose
	// idea of who is trusted may differ. RFC 9110 section 15.5.20: clients that
	// share connections between names come again on one of its own.
	errMisdirected = &exchange.Error{Status: 421, Op: "check access",
		Public: "This page asks for client certificates, and the connection was opened for another site",
		Err:    errors.New("the handshake did not ask for the client certificate of this site")}
)

func forbidden(sub int, public, why string, advice ...string) *exchange.Error {
	return &exchange.Error{Status: 403, SubStatus: sub, Op: "check access", Public: public, Err: errors.New(why), Advice: advice}
}
