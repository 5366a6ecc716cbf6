package tls

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/perchserver/perch/test/harness"
)

// run runs a program of the system to its end and returns all that it wrote.
func run(t testing.TB, program string, in io.Reader, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		harness.Lack(t, "%s is not there", program)
	}
	ctx, cancel := context.WithTimeout(context.Background(), harness.Limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin = in
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return out.String(), err
}

// WebSockets pass, in both directions and in pieces, and what the client ends
// the application sees end.
func TestWebSocket(t *testing.T) {
	t.Parallel()
	h := harness.Go().Start(t, func(r *harness.Run) { r.Listen = []string{"https://127.0.0.1:0"} })
	ctx, cancel := context.WithTimeout(context.Background(), harness.Limit)
	defer cancel()
	c := h.WebSocket("/ws", nil)
	for _, n := range []int{1, 200, 70_000} {
		want := strings.Repeat("x", n)
		if err := c.Write(ctx, websocket.MessageText, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(ctx); err != nil || string(got) != want {
			t.Fatalf("%d bytes came back of %d: %v", len(got), n, err)
		}
	}
	if err := c.Close(websocket.StatusNormalClosure, "bye"); err != nil {
		t.Error(err)
	}
}

// A folder of files named after hosts serves as a Central Certificate Store
// does, and what is put into it is found.
func TestStore(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.file("one.test.pem", "one.test")
	a.file("_.two.test.pem", "*.two.test")
	h := harness.Start(t, harness.Run{Dir: files(t, "hello"), Listen: []string{"https://127.0.0.1:0"}, Flags: []string{"--cert", a.dir}, Roots: a.path})
	ask := func(name string) error {
		_, err := shake(h.Addr(), &tls.Config{RootCAs: a.pool(), ServerName: name})
		return err
	}
	for _, name := range []string{"one.test", "any.two.test"} {
		if err := ask(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := ask("three.test"); err == nil {
		t.Error("a certificate out of nothing")
	}
	a.file("three.test.pem", "three.test")
	if err := ask("three.test"); err != nil {
		t.Error(err)
	}
}

// A PFX file takes its password from a file or from the environment, and a
// wrong one is said, while the port goes on.
func TestPFX(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	pair := a.file("shop.pem", "shop.test")
	pfx := filepath.Join(a.dir, "shop.pfx")
	if out, err := run(t, "openssl", nil, "pkcs12", "-export", "-in", pair, "-inkey", pair, "-out", pfx, "-passout", "pass:secret"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	password := a.put("password", []byte("secret\n"))
	for name, r := range map[string]harness.Run{
		"file":        {Flags: []string{"--cert", pfx, "--cert-password-file", password}},
		"environment": {Flags: []string{"--cert", pfx}, Env: []string{"PERCH_CERT_PASSWORD=secret"}},
		"wrong":       {Flags: []string{"--cert", pfx}, Env: []string{"PERCH_CERT_PASSWORD=guess"}},
	} {
		r.Dir, r.Listen, r.Roots = files(t, "hello"), []string{"https://127.0.0.1:0"}, a.path
		h := harness.Start(t, r)
		_, err := shake(h.Addr(), &tls.Config{RootCAs: a.pool(), ServerName: "shop.test"})
		if (err == nil) != (name != "wrong") {
			t.Errorf("%s: %v", name, err)
		}
		if name == "wrong" {
			h.AwaitStderr("certificate of " + h.URL + ": " + pfx + ": the password is wrong")
		}
	}
}
