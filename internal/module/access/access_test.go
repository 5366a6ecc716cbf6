package access

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/exchange/exchangetest"
)

func TestModule(t *testing.T) {
	t.Parallel()
	now := time.Now()
	leaf := &x509.Certificate{NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	old := &x509.Certificate{NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)}
	young := &x509.Certificate{NotBefore: now.Add(time.Hour), NotAfter: now.Add(2 * time.Hour)}
	secure := &tls.ConnectionState{}
	with := func(c *x509.Certificate) *tls.ConnectionState {
		return &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c}}
	}
	trusted := with(leaf)
	trusted.VerifiedChains = [][]*x509.Certificate{{leaf}}
	tlsOnly := Settings{TLS: true}
	accept := Settings{Negotiate: true, Authorities: []string{"ours", "system"}}
	require := Settings{TLS: true, Negotiate: true, Require: true, Authorities: []string{"ours"}}
	for name, tt := range map[string]struct {
		set         Settings
		state       *tls.ConnectionState
		authorities string
		want        int // status and sub-status, 0: let in
	}{
		"clear, TLS wanted":             {tlsOnly, nil, "", 4034},
		"TLS, TLS wanted":               {tlsOnly, secure, "", 0},
		"TLS, not asked, bad one shown": {tlsOnly, with(leaf), "other", 0},
		"clear, accepted":               {accept, nil, "", 0},
		"none, accepted":                {accept, secure, "ours", 0},
		"trusted, accepted":             {accept, trusted, "system", 0},
		"untrusted, accepted":           {accept, with(leaf), "ours", 40316},
		"not asked, accepted":           {accept, secure, "", 4210},
		"clear, required":               {require, nil, "", 4034},
		"none, required":                {require, secure, "ours", 4037},
		"trusted, required":             {require, trusted, "ours", 0},
		"untrusted, required":           {require, with(leaf), "ours", 40316},
		"expired, required":             {require, with(old), "ours", 40317},
		"not yet valid, required":       {require, with(young), "ours", 40317},
		"trusted by others, required":   {require, trusted, "system", 4210},
		"required without TLS":          {Settings{Require: true}, nil, "", 4037},
	} {
		x, _ := exchangetest.New("GET", "/")
		x.Begin, x.Conn.TLS, x.Conn.Authorities = now, tt.state, tt.authorities
		in := false
		err := Module(tt.set)(exchange.HandlerFunc(func(*exchange.Exchange) error { in = true; return nil })).Serve(x)
		got := 0
		var refused *exchange.Error
		if errors.As(err, &refused) {
			got = refused.Status * 10
			if refused.SubStatus > 9 {
				got *= 10
			}
			got += refused.SubStatus
		}
		if got != tt.want || in != (tt.want == 0) {
			t.Errorf("%s: %v, let in %v, want %d", name, err, in, tt.want)
		}
	}
	if Module(Settings{Authorities: []string{"ours"}}) != nil {
		t.Error("a module that has nothing to do")
	}
}
