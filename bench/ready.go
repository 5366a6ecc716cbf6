package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// ready waits until the server answers as the case wants it: at least one
// request of its kind goes through, and the backend sees the fields that all
// proxies have to add. A server that does less is not measured.
func (i *instance) ready(ctx context.Context, c testCase) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for {
		err := i.check(ctx, c)
		if err == nil {
			return nil
		}
		select {
		case <-i.ended:
			return fmt.Errorf("%s ended: %s", i.server.title, i.said())
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer as it should: %w\n%s", i.server.title, err, i.said())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (i *instance) said() string {
	out, _ := os.ReadFile(i.output)
	return string(out[max(0, len(out)-2000):])
}

func (i *instance) check(ctx context.Context, c testCase) error {
	client := newClient(c.proto)
	defer client.CloseIdleConnections()
	body, err := i.ask(ctx, client, c, c.path, c.send)
	if err != nil {
		return err
	}
	if len(body) != c.reply {
		return fmt.Errorf("%s has %d bytes instead of %d", c.path, len(body), c.reply)
	}
	if c.kind != proxied {
		return nil
	}
	head, err := i.ask(ctx, client, c, "/fields", 0)
	if err != nil {
		return err
	}
	for _, name := range []string{"X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: " + c.proto.scheme() + "\r\n", "MS-ASPNETCORE-TOKEN: "} {
		if !strings.Contains(strings.ToLower(string(head)), "\r\n"+strings.ToLower(name)) {
			return fmt.Errorf("the backend sees no %q in %q", name, head)
		}
	}
	return nil
}

// tlsConfig is that of clients: what every server is to agree on, so that all
// do the same work. The certificate is looked at, not judged.
func tlsConfig(p protocol) *tls.Config {
	t := &tls.Config{
		ServerName: certified, InsecureSkipVerify: true,
		MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519},
	}
	if p == https2 {
		t.NextProtos = []string{"h2"}
	}
	return t
}

// newClient returns a client that speaks p and nothing else.
func newClient(p protocol) *http.Client {
	speaks := new(http.Protocols)
	speaks.SetHTTP1(p != https2)
	speaks.SetHTTP2(p == https2)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: tlsConfig(p), Protocols: speaks, DisableCompression: true}}
}

// ask sends one request, and wants 200 and the protocol of the case.
func (i *instance) ask(ctx context.Context, client *http.Client, c testCase, path string, send int) ([]byte, error) {
	method, upload := http.MethodGet, io.Reader(nil)
	if send > 0 {
		method, upload = http.MethodPost, strings.NewReader(strings.Repeat("perch on", send/8))
	}
	r, err := http.NewRequestWithContext(ctx, method, c.proto.scheme()+"://"+i.addr+path, upload)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", path, resp.Status)
	}
	if t := resp.TLS; t != nil && (t.Version != tls.VersionTLS13 || t.CipherSuite != tls.TLS_AES_128_GCM_SHA256) {
		return nil, fmt.Errorf("%s with %s, not TLS 1.3 with AES-128-GCM", tls.VersionName(t.Version), tls.CipherSuiteName(t.CipherSuite))
	}
	return io.ReadAll(resp.Body)
}
