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

// What does not become a TLS connection is refused, cheaply and in time.
func TestRefusals(t *testing.T) {
	t.Parallel()
	dir := files(t, "hello")
	web := `<configuration><perch><limits headerWaitTimeout="00:00:02" /></perch></configuration>`
	if err := os.WriteFile(filepath.Join(dir, "web.config"), []byte(web), 0o644); err != nil {
		t.Fatal(err)
	}
	h := harness.Start(t, harness.Run{Dir: dir, Listen: []string{"https://127.0.0.1:0", "http://127.0.0.1:0"}})
	clear := h.Over(h.URLs[1])
	for name, send := range map[string]string{
		"silence":     "",
		"a beginning": "\x16\x03\x01\x02\x00\x01\x00",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := harness.Dial(t, h.Addr())
			begin := time.Now()
			c.Send(send)
			if got := c.All(); got != "" || time.Since(begin) > 10*time.Second {
				t.Errorf("%q after %v", got, time.Since(begin))
			}
		})
	}
	t.Run("clear text", func(t *testing.T) {
		t.Parallel()
		c := harness.Dial(t, h.Addr()).Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if r := c.Response("GET"); r.StatusCode != 400 || !strings.Contains(r.Text(), "This port expects TLS: use https instead of http") {
			t.Error(harness.Describe(r.StatusCode, r.Bytes))
		}
		if got := c.All(); got != "" {
			t.Errorf("then %q", got)
		}
	})
	t.Run("TLS on a clear port", func(t *testing.T) {
		t.Parallel()
		_, err := shake(clear.Addr(), &tls.Config{InsecureSkipVerify: true})
		if err == nil || !strings.Contains(err.Error(), "HTTP response to HTTPS client") && !strings.Contains(err.Error(), "does not look like a TLS handshake") {
			t.Error(err)
		}
	})
	t.Run("large ALPN", func(t *testing.T) {
		t.Parallel()
		var protocols []string
		for i := range 500 {
			protocols = append(protocols, fmt.Sprintf("%0200d", i)) // 100,000 bytes; the extension holds 65,535
		}
		for n, want := range map[int]string{100: "no application protocol", 320: ""} {
			if _, err := shake(h.Addr(), &tls.Config{InsecureSkipVerify: true, NextProtos: protocols[:n]}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%d protocols: %v", n, err)
			}
		}
		// As a record layer of its own would send it: a hello of 100,000 bytes.
		c := harness.Dial(t, h.Addr())
		c.Send("\x16\x03\x01\x40\x00\x01\x01\x86\xa0" + strings.Repeat("a", 16<<10-4))
		if got := c.All(); strings.Contains(got, "HTTP") || len(got) > 7 {
			t.Errorf("%q", got)
		}
	})
	t.Run("old versions", func(t *testing.T) {
		t.Parallel()
		_, err := shake(h.Addr(), &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
		if err == nil || !strings.Contains(err.Error(), "protocol version") {
			t.Error(err)
		}
	})
	t.Run("renegotiation", func(t *testing.T) {
		t.Parallel()
		out, err := run(t, "openssl", strings.NewReader("R\n"), "s_client", "-connect", h.Addr(), "-tls1_2", "-quiet", "-no_ign_eof")
		if err == nil || !strings.Contains(out, "RENEGOTIATING") || !strings.Contains(out, "alert unexpected message") {
			t.Errorf("%v: %s", err, out)
		}
	})
	// None of this hindered anybody.
	t.Cleanup(func() {
		if r := h.Get("/"); r.Text() != "hello" {
			t.Errorf("afterwards: %q", r.Text())
		}
	})
}
