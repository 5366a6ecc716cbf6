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

// A site is added with what IIS exports: a PFX file with a password.
func TestPFXOfNewSite(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.pfx("shop.pfx", "secret", "shop.test")
	a.put("password", []byte("secret\n"))
	a.put("guess", []byte("guess\n"))
	add := []string{"site", "add", "shop", "--path", files(t, "hello"), "-l", "https://shop.test:0", "--cert", "shop.pfx"}
	for _, c := range []struct {
		flags []string
		code  int
		want  []string
	}{
		{nil, 1, []string{"PC056", "none was given", "--cert-password-file FILE", "PERCH_CERT_PASSWORD is for `perch run --cert` alone"}},
		{[]string{"--cert-password-file", "guess"}, 1, []string{"PC056", "the password is wrong"}},
		{[]string{"--cert-password-file", "gone"}, 1, []string{"PC056", "password of ", "gone: no such file"}},
		{[]string{"--cert", "", "--cert-password-file", "password"}, 2, []string{"--cert-password-file is for the files of --cert"}},
		{[]string{"--cert-password-file", "password"}, 0, []string{"site shop (id 1) added"}},
	} {
		_, stderr, code := harness.CommandEnv(t, a.dir, []string{"PERCH_CERT_PASSWORD=secret"}, append(add[:len(add):len(add)], c.flags...)...)
		if code != c.code {
			t.Errorf("%v: code %d, want %d", c.flags, code, c.code)
		}
		for _, want := range c.want {
			if !strings.Contains(stderr, want) {
				t.Errorf("%v: nothing is said of %q in:\n%s", c.flags, want, stderr)
			}
		}
	}
	h := harness.Start(t, harness.Run{Config: filepath.Join(a.dir, "perch.config"), Lines: 1, Roots: a.path})
	_, port, _ := strings.Cut(strings.TrimPrefix(h.URL, "https://"), ":")
	if _, err := shake("127.0.0.1:"+port, &tls.Config{RootCAs: a.pool(), ServerName: "shop.test"}); err != nil {
		t.Error(err)
	}
}

// A PFX file takes its password from a file or from the environment. With a
// wrong one there is no start, since it was given on the command line.
func TestPFX(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	pfx := a.pfx("shop.pfx", "secret", "shop.test")
	password := a.put("password", []byte("secret\n"))
	for name, r := range map[string]harness.Run{
		"file":        {Flags: []string{"--cert", pfx, "--cert-password-file", password}},
		"environment": {Flags: []string{"--cert", pfx}, Env: []string{"PERCH_CERT_PASSWORD=secret"}},
		"wrong":       {Flags: []string{"--cert", pfx}, Env: []string{"PERCH_CERT_PASSWORD=guess"}},
	} {
		r.Dir, r.Listen, r.Roots = files(t, "hello"), []string{"https://127.0.0.1:0"}, a.path
		if name == "wrong" {
			if stderr, code := harness.Refused(t, r); code != 1 || !strings.Contains(stderr, "certificate of --cert "+pfx+": "+pfx+": the password is wrong") {
				t.Errorf("%d, %q", code, stderr)
			}
			continue
		}
		h := harness.Start(t, r)
		if _, err := shake(h.Addr(), &tls.Config{RootCAs: a.pool(), ServerName: "shop.test"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
