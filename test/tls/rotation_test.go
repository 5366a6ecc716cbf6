package tls

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/perchserver/perch/test/harness"
)

// A certificate is replaced under load, in every form that it can have: no
// request fails, no connection that is open is dropped, and those that come see
// the new one.
func TestRotationUnderLoad(t *testing.T) {
	t.Parallel()
	for name, form := range map[string]struct {
		cert    func(a *authority) string           // what --cert names
		replace func(a *authority, h *harness.Host) // h is nil before it runs
		flags   func(a *authority) []string
	}{
		"PEM": {
			cert:    func(a *authority) string { return filepath.Join(a.dir, "shop.pem") },
			replace: func(a *authority, _ *harness.Host) { a.file("shop.pem", "shop.test") },
		},
		"two files": { // one after the other: the host meets what does not belong together
			cert: func(a *authority) string {
				return filepath.Join(a.dir, "shop.crt") + "," + filepath.Join(a.dir, "shop.key")
			},
			replace: func(a *authority, h *harness.Host) {
				der, key := a.issue(nil, "shop.test")
				cert, private := encoded(a.t, der, key)
				met := func() int {
					return strings.Count(h.Stderr(), "a changed certificate cannot be used; the one before stays")
				}
				before := 0
				if h != nil {
					before = met()
				}
				a.put("shop.crt", cert)
				if h != nil {
					harness.Eventually(a.t, func() bool { return met() > before }, "the host meets the certificate without its key")
				}
				a.put("shop.key", private)
			},
		},
		"PFX": {
			cert:    func(a *authority) string { return filepath.Join(a.dir, "shop.pfx") },
			replace: func(a *authority, _ *harness.Host) { a.pfx("shop.pfx", "secret", "shop.test") },
			flags: func(a *authority) []string {
				return []string{"--cert-password-file", a.put("password", []byte("secret\n"))}
			},
		},
		"folder": {
			cert:    func(a *authority) string { return a.dir },
			replace: func(a *authority, _ *harness.Host) { a.file("_.test.pem", "*.test") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAuthority(t)
			form.replace(a, nil)
			flags := []string{"--cert", form.cert(a)}
			if form.flags != nil {
				flags = append(flags, form.flags(a)...)
			}
			h := harness.Start(t, harness.Run{Dir: files(t, "hello"), Listen: []string{"https://127.0.0.1:0"}, Flags: flags, Roots: a.path})
			rotate(t, h, a, func() { form.replace(a, h) })
		})
	}
}

// asker asks again and again, over one version, on one connection or on a new
// one each time.
type asker struct {
	protocol string
	kept     bool

	mu    sync.Mutex
	shown map[string]bool // serial numbers of certificates
}

// rotate replaces a certificate under load.
func rotate(t *testing.T, h *harness.Host, a *authority, replace func()) {
	t.Helper()
	all := []*asker{{protocol: "HTTP/1.1"}, {protocol: "HTTP/2.0"}, {protocol: "HTTP/1.1", kept: true}, {protocol: "HTTP/2.0", kept: true}}
	ctx, stop := context.WithCancel(t.Context())
	var askers sync.WaitGroup
	for _, c := range all {
		c.shown = map[string]bool{}
		askers.Go(func() {
			if err := c.ask(ctx, h.Addr(), a); err != nil {
				t.Errorf("%s, kept %v: %v", c.protocol, c.kept, err)
				stop()
			}
		})
	}
	for want := range 3 {
		harness.Eventually(t, func() bool {
			return ctx.Err() != nil || all[0].count() > want && all[1].count() > want
		}, "new connections are shown certificate %d", want+1)
		replace()
	}
	stop()
	askers.Wait()
}

func (c *asker) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.shown)
}

// ask returns when ctx ends, or with what failed.
func (c *asker) ask(ctx context.Context, addr string, a *authority) error {
	for ctx.Err() == nil {
		if err := c.connection(ctx, addr, a); err != nil {
			return err
		}
	}
	return nil
}

// connection asks on one connection.
func (c *asker) connection(ctx context.Context, addr string, a *authority) error {
	conn, err := c.dial(ctx, addr, &tls.Config{RootCAs: a.pool(), ServerName: "shop.test"})
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer conn.Close()
	for again := true; again && ctx.Err() == nil; again = c.kept {
		if err := c.once(conn); err != nil {
			return err
		}
	}
	return nil
}

// connection is one that requests are made on, one after the other.
type connection interface {
	http.RoundTripper
	io.Closer
}

func (c *asker) dial(ctx context.Context, addr string, set *tls.Config) (connection, error) {
	if c.protocol == "HTTP/1.1" {
		nc, err := (&tls.Dialer{Config: set}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		return &first{nc.(*tls.Conn), bufio.NewReader(nc)}, nil
	}
	tr := client(addr, set).Transport.(*http.Transport)
	tr.Protocols = new(http.Protocols)
	tr.Protocols.SetHTTP2(true)
	return tr.NewClientConn(ctx, "https", "shop.test:443")
}

// first is a connection of HTTP/1.1 that is closed by the host alone. That of
// net/http closes itself when 50 ms pass before it knows that it has written
// a request that was answered.
type first struct {
	*tls.Conn
	in *bufio.Reader
}

func (f *first) RoundTrip(req *http.Request) (*http.Response, error) {
	f.SetDeadline(time.Now().Add(harness.Limit))
	if err := req.Write(f); err != nil {
		return nil, err
	}
	res, err := http.ReadResponse(f.in, req)
	if err == nil && res.Close {
		err = errors.New("the connection is closed behind the answer")
	}
	if err == nil {
		state := f.ConnectionState()
		res.TLS = &state
	}
	return res, err
}

// once makes one request.
func (c *asker) once(conn http.RoundTripper) error {
	limit, cancel := context.WithTimeout(context.Background(), harness.Limit)
	defer cancel()
	req, err := http.NewRequestWithContext(limit, "GET", "https://shop.test/", nil)
	if err != nil {
		return err
	}
	res, err := conn.RoundTrip(req)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil || string(body) != "hello" || res.Proto != c.protocol {
		return fmt.Errorf("%q over %s, %v", body, res.Proto, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shown[res.TLS.PeerCertificates[0].SerialNumber.String()] = true
	return nil
}
