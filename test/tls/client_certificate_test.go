package tls

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/perchserver/perch/test/harness"
)

// access is a web.config that asks for client certificates below a path, in
// front of nothing but files.
func access(location, flags string) string {
	return `<configuration><location path="` + location + `"><system.webServer><security><access sslFlags="` + flags + `" /></security></system.webServer></location></configuration>`
}

// of returns a client certificate of an authority.
func (a *authority) of(change func(*x509.Certificate), names ...string) tls.Certificate {
	der, key := a.issue(change, names...)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// The application sees the certificate of its client, if somebody who is
// trusted vouches for it, and never one that is only claimed in a field.
func TestClientCertificateReachesTheApplication(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	good := a.of(nil, "client")
	stranger := newAuthority(t).of(nil, "stranger")
	for _, app := range []harness.App{harness.DotNet(), harness.Go()} {
		t.Run(app.Name, func(t *testing.T) {
			t.Parallel()
			h := app.Start(t, func(r *harness.Run) {
				text, err := os.ReadFile(filepath.Join(r.Dir, "web.config"))
				if err != nil {
					t.Fatal(err)
				}
				asked := strings.Replace(string(text), "<system.webServer>", `<system.webServer><security><access sslFlags="SslNegotiateCert" /></security>`, 1)
				if err := os.WriteFile(filepath.Join(r.Dir, "web.config"), []byte(asked), 0o644); err != nil {
					t.Fatal(err)
				}
				r.Listen, r.Flags = []string{"https://127.0.0.1:0"}, []string{"--client-ca", a.path}
			})
			for name, tt := range map[string]struct {
				shown []tls.Certificate
				want  string // the field, or the status
			}{
				"none":      {nil, ""},
				"trusted":   {[]tls.Certificate{good}, base64.StdEncoding.EncodeToString(good.Certificate[0])},
				"untrusted": {[]tls.Certificate{stranger}, "403"},
			} {
				for _, protocol := range []string{"h2", "http/1.1"} {
					set := &tls.Config{RootCAs: h.Pool(), NextProtos: []string{protocol},
						GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
							if len(tt.shown) == 0 {
								return &tls.Certificate{}, nil
							}
							return &tt.shown[0], nil
						}}
					req, err := http.NewRequest("GET", h.URL+"/", nil)
					if err != nil {
						t.Fatal(err)
					}
					req.Header.Set("MS-ASPNETCORE-CLIENTCERT", "forged")
					c := client(h.Addr(), set)
					c.Transport.(*http.Transport).ForceAttemptHTTP2 = protocol == "h2"
					res, err := c.Do(req)
					if err != nil {
						t.Errorf("%s, %s: %v", name, protocol, err)
						continue
					}
					body, _ := io.ReadAll(res.Body)
					res.Body.Close()
					got := fmt.Sprint(res.StatusCode)
					if res.StatusCode == 200 {
						seen := &harness.Seen{}
						harness.Decode(t, &harness.Response{Response: res, Bytes: body}, seen)
						got = strings.Join(seen.Field("MS-ASPNETCORE-CLIENTCERT"), "; ")
					}
					if got != tt.want {
						t.Errorf("%s, %s: %.100s, want %.100s", name, protocol, got, tt.want)
					}
				}
			}
		})
	}
}

// Places of one site differ: the handshake asks for all, and a path decides.
func TestAccessOfPlaces(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	dir := files(t, "open")
	for name, text := range map[string]string{"web.config": access("in", "Ssl, SslNegotiateCert, SslRequireCert"), "in/index.html": "in"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h := harness.Start(t, harness.Run{Dir: dir, Listen: []string{"https://127.0.0.1:0", "http://127.0.0.1:0"}, Flags: []string{"--client-ca", a.path}})
	old := a.of(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }, "old")
	for name, tt := range map[string]struct {
		shown *tls.Certificate
		want  string
	}{
		"none":    {nil, "403.7"},
		"trusted": {ptr(a.of(nil, "client")), "200"},
		"foreign": {ptr(newAuthority(t).of(nil, "foreign")), "403.16"},
		"expired": {&old, "403.17"},
	} {
		set := &tls.Config{RootCAs: h.Pool()}
		if tt.shown != nil {
			set.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return tt.shown, nil }
		}
		c := client(h.Addr(), set)
		if got := status(t, c, h.URL+"/in/"); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
		if got := status(t, c, h.URL+"/"); got != "200" {
			t.Errorf("%s: the open part answers %s", name, got)
		}
	}
	clear := h.Over(h.URLs[1])
	if got := status(t, http.DefaultClient, clear.URL+"/in/"); got != "403.4" {
		t.Errorf("without TLS: %s", got)
	}
}

func ptr[T any](v T) *T { return &v }

// status is that of a page with its sub-status, which pages tell to clients of
// the same machine.
func status(t testing.TB, c *http.Client, url string) string {
	t.Helper()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	prefix := fmt.Sprintf("%d.", res.StatusCode)
	if i := strings.Index(string(body), prefix); res.StatusCode != 200 && i >= 0 {
		end := i + len(prefix)
		for end < len(body) && body[end] >= '0' && body[end] <= '9' {
			end++
		}
		return strings.TrimSuffix(string(body[i:end]), ".")
	}
	return fmt.Sprint(res.StatusCode)
}

// Nobody gets into a site with a certificate that another site of the port
// trusts, by asking for one in the handshake and for the other in the request.
func TestMisdirected(t *testing.T) {
	t.Parallel()
	a, one, two := newAuthority(t), newAuthority(t), newAuthority(t)
	port := free(t)
	binding := func(host string, clients *authority) string {
		more := `sslFlags="1" certificateFile="` + a.file(host+".pem", host) + `"`
		if clients != nil {
			more += ` clientCertificateAuthorities="` + clients.path + `"`
		}
		return https(port, host, more)
	}
	config := serverFile(t, map[string]string{"one": binding("one.test", one), "two": binding("two.test", two), "open": binding("open.test", nil)})
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	const section = `<system.webServer><security><access sslFlags="Ssl,SslNegotiateCert,SslRequireCert" /></security></system.webServer></location>`
	text = []byte(strings.Replace(string(text), "</configuration>",
		`<location path="one">`+section+`<location path="two">`+section+"</configuration>", 1))
	if err := os.WriteFile(config, text, 0o644); err != nil {
		t.Fatal(err)
	}
	harness.Start(t, harness.Run{Config: config, Lines: 3, Roots: a.path})
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	shown := one.of(nil, "client")
	for _, tt := range []struct{ sni, host, want string }{
		{"one.test", "one.test", "200"}, {"one.test", "two.test", "421.0"}, {"two.test", "two.test", "403.16"},
		{"open.test", "one.test", "421.0"}, {"open.test", "open.test", "200"}, {"one.test", "open.test", "200"},
	} {
		c := client(addr, &tls.Config{RootCAs: a.pool(), ServerName: tt.sni,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &shown, nil }})
		if got := status(t, c, fmt.Sprintf("https://%s:%d/", tt.host, port)); got != tt.want {
			t.Errorf("handshake for %s, request for %s: %s, want %s", tt.sni, tt.host, got, tt.want)
		}
	}
}

// A site tells clients to come over https from now on, error pages included,
// and sends those there who did not.
func TestStrictTransportSecurity(t *testing.T) {
	t.Parallel()
	port, clearPort := free(t), free(t)
	config := strict(t, serverFile(t, map[string]string{"shop": https(port, "", "") +
		fmt.Sprintf(`<binding protocol="http" bindingInformation="127.0.0.1:%d:" />`, clearPort)}))
	h := harness.Start(t, harness.Run{Config: config, Lines: 2})
	urls := map[bool]string{}
	for _, u := range h.URLs {
		urls[strings.HasPrefix(u, "https:")] = u
	}
	for path, want := range map[string]int{"/": 200, "/no": 404} {
		r := h.Over(urls[true]).Get(path)
		if got := r.Header.Values("Strict-Transport-Security"); r.StatusCode != want || len(got) != 1 || got[0] != "max-age=31536000; includeSubDomains" {
			t.Errorf("%s: %d, %q", path, r.StatusCode, got)
		}
	}
	r := h.Over(urls[false]).Do("GET", "/a%20b?c", []string{"Host: shop.test:8080"}, nil)
	if r.StatusCode != 301 || r.Header.Get("Location") != "https://shop.test/a%20b?c" || r.Header.Get("Strict-Transport-Security") != "" {
		t.Errorf("%d to %q, %q", r.StatusCode, r.Header.Get("Location"), r.Header.Get("Strict-Transport-Security"))
	}
}

// strict gives the site of a configuration HSTS with redirection.
func strict(t *testing.T, config string) string {
	t.Helper()
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	harness.WriteFile(t, config, strings.Replace(string(text), "<bindings>",
		`<hsts enabled="true" max-age="31536000" includeSubDomains="true" redirectHttpToHttps="true" /><bindings>`, 1))
	return config
}
