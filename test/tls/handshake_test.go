package tls

import (
	"crypto/tls"
	"crypto/x509"
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

// Out of the box, https on localhost is served with a certificate of the
// development authority, whose key is its owner's alone.
func TestDevelopment(t *testing.T) {
	t.Parallel()
	h := harness.Start(t, harness.Run{Dir: files(t, "hello"), Listen: []string{"https://localhost:0", "https://127.0.0.1:0"}})
	for _, url := range h.URLs {
		if r := h.Over(url).Get("/"); r.Text() != "hello" || r.TLS.Version != tls.VersionTLS13 {
			t.Errorf("%s: %q", url, r.Text())
		}
	}
	info, err := os.Stat(filepath.Join(filepath.Dir(h.Roots()), "development-ca-key.pem"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v, %v", info, err)
	}
	h.AwaitStderr("made an authority for development certificates", h.Roots())
}

// serverFile writes an applicationHost.config with sites of one folder each,
// named after the text that they serve.
func serverFile(t testing.TB, sites map[string]string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("<configuration><system.applicationHost><sites>\n")
	for name, bindings := range sites {
		fmt.Fprintf(&b, `<site name="%s" id="%d"><application path="/"><virtualDirectory path="/" physicalPath="%s" /></application><bindings>%s</bindings></site>`+"\n",
			name, b.Len(), files(t, name), bindings)
	}
	b.WriteString("</sites></system.applicationHost></configuration>\n")
	path := filepath.Join(t.TempDir(), "applicationHost.config")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func https(port int, host, more string) string {
	return fmt.Sprintf(`<binding protocol="https" bindingInformation="127.0.0.1:%d:%s" %s />`, port, host, more)
}

// client returns one that comes to addr whoever it asks for.
func client(addr string, set *tls.Config) *http.Client {
	tr := &http.Transport{
		TLSClientConfig:   set,
		ForceAttemptHTTP2: true,
		DialContext:       harness.DialTo(addr),
	}
	return &http.Client{Transport: tr, Timeout: 2 * harness.Limit}
}

// Sites share a port: the handshake leads to the certificate, the Host field
// to the site. One whose certificate cannot be used does not hinder the
// others, and is named with file and binding.
func TestSitesOfOnePort(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	port := free(t)
	_, wrongKey := a.issue(nil, "broken.test")
	der, _ := a.issue(nil, "broken.test")
	broken := a.pair("broken.pem", der, wrongKey)
	old, oldKey := a.issue(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }, "old.test")
	locked := a.pfx("locked.pfx", "secret", "locked.test")
	config := serverFile(t, map[string]string{
		"one":    https(port, "one.test", `sslFlags="1" certificateFile="`+a.file("one.pem", "one.test")+`"`),
		"two":    https(port, "two.test", `sslFlags="5" certificateFile="`+a.file("two.pem", "two.test")+`"`),
		"wild":   https(port, "*.wild.test", `sslFlags="33" certificateFile="`+a.file("wild.pem", "*.wild.test")+`"`),
		"broken": https(port, "broken.test", `sslFlags="1" certificateFile="`+broken+`"`),
		"old":    https(port, "old.test", `sslFlags="1" certificateFile="`+a.pair("old.pem", old, oldKey)+`"`),
		"none":   https(port, "none.test", `sslFlags="1"`),
		"locked": https(port, "locked.test", `sslFlags="1" certificatePassword="guess" certificateFile="`+locked+`"`),
	})
	h := harness.Start(t, harness.Run{Config: config, Lines: 6, Roots: a.path})
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	for host, want := range map[string]string{"one.test": "one HTTP/2.0", "two.test": "two HTTP/1.1", "any.wild.test": "wild HTTP/2.0"} {
		res, err := client(addr, &tls.Config{RootCAs: a.pool()}).Get(fmt.Sprintf("https://%s:%d/", host, port))
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if got := string(body) + " " + res.Proto; got != want {
			t.Errorf("%s: %q, want %q", host, got, want)
		}
	}
	if s, err := shake(addr, &tls.Config{RootCAs: a.pool(), ServerName: "any.wild.test"}); err != nil || s.Version != tls.VersionTLS12 {
		t.Errorf("without TLS 1.3: %v", err)
	}
	for host, want := range map[string]string{
		"broken.test": "internal error", "locked.test": "internal error", "none.test": "unrecognized name", "nobody.test": "unrecognized name", "old.test": "expired",
		"127.0.0.1": "unrecognized name", // which no handshake names
	} {
		if _, err := shake(addr, &tls.Config{RootCAs: a.pool(), ServerName: host}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", host, err, want)
		}
	}
	h.AwaitStderr(
		fmt.Sprintf("certificate of https://broken.test:%d: %s: the private key does not belong to the certificate", port, broken),
		fmt.Sprintf("certificate of https://old.test:%d: ", port), "it expired on",
		fmt.Sprintf("certificate of https://locked.test:%d: %s: the password is wrong", port, locked),
		"PC055: the https binding of site none has no certificate")
}

// Without SNI in its sslFlags, a binding's certificate is that of the address:
// it is shown to whoever asks for nobody, or for somebody unknown.
func TestDefaultCertificate(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	mixed, legacy := free(t), free(t)
	config := serverFile(t, map[string]string{
		"named":  https(mixed, "named.test", `sslFlags="1" certificateFile="`+a.file("named.pem", "named.test")+`"`),
		"rest":   https(mixed, "", `certificateFile="`+a.file("rest.pem", "rest.test")+`"`),
		"legacy": https(legacy, "legacy.test", `certificateFile="`+a.file("legacy.pem", "legacy.test")+`"`),
	})
	harness.Start(t, harness.Run{Config: config, Lines: 3, Roots: a.path})
	for _, c := range []struct {
		port      int
		ask, want string
	}{
		{mixed, "named.test", "named.test"}, {mixed, "rest.test", "rest.test"}, {mixed, "unknown.test", "rest.test"}, {mixed, "", "rest.test"},
		{legacy, "legacy.test", "legacy.test"}, {legacy, "unknown.test", "legacy.test"}, {legacy, "", "legacy.test"},
	} {
		s, err := shake(fmt.Sprintf("127.0.0.1:%d", c.port), &tls.Config{InsecureSkipVerify: true, ServerName: c.ask})
		if err != nil || s.PeerCertificates[0].VerifyHostname(c.want) != nil {
			t.Errorf("asked for %q: %v, want the certificate of %s", c.ask, err, c.want)
		}
	}
}
